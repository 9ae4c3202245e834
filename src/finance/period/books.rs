//! The months of a store: which are closed, and what may be done with one.

use super::record::{Closed, Entry};
use crate::finance::calendar::{Month, Zone};
use crate::model::{HOUR_US, Timestamp};

/// Witnesses of a call come within an hour; what is closed sooner is corrected at once.
const SETTLED_US: i64 = HOUR_US;

/// Why a month can't be closed or opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// It goes on.
    #[error("{month} has not ended in {zone}: it can be closed from {from} on")]
    NotEnded {
        /// The month.
        month: Month,
        /// Its zone.
        zone: Zone,
        /// When it can be closed.
        from: Timestamp,
    },
    /// It is.
    #[error("{month} is closed already; `polymeter reopen --month {month} --reason …` opens it again")]
    Closed {
        /// The month.
        month: Month,
    },
    /// Months are closed in their order.
    #[error("{before} is still open; months are closed in their order, close it first")]
    Gap {
        /// The first that is open.
        before: Month,
    },
    /// Months before the first close are history.
    #[error(
        "{month} lies before {first}, the first month that was closed; what came before stays as the ledger has it"
    )]
    Before {
        /// The month.
        month: Month,
        /// The first one.
        first: Month,
    },
    /// All months are of one calendar.
    #[error(
        "the months of this store are those of {zone}; say --tz {zone}, or open the closed ones again to change the calendar"
    )]
    OtherZone {
        /// Of the closed months.
        zone: Zone,
    },
    /// Nothing to open.
    #[error("{month} is not closed")]
    Open {
        /// The month.
        month: Month,
    },
    /// Corrections of it are posted in a later month.
    #[error(
        "{month} can't be opened again while {latest} is closed; reopen {latest} first, or leave both: what changed is posted \
         as a correction in the month that is open"
    )]
    NotLatest {
        /// The month.
        month: Month,
        /// The latest closed one.
        latest: Month,
    },
}

/// What a month is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Open.
    Open,
    /// Open, and the one that corrections of closed months are posted in.
    TakesCorrections,
    /// Closed.
    Closed(&'a Closed),
    /// Asked for in another calendar than that of the closed months.
    OtherCalendar(Zone),
}

/// The closed months of a store, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    closed: Vec<Closed>,
}

impl Books {
    /// From all entries of the log, in their order.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut closed: Vec<Closed> = Vec::new();
        for entry in entries {
            match entry {
                Entry::Closed(one) => closed.push(*one),
                Entry::Reopened(one) => closed.retain(|closed| closed.month != one.month),
            }
        }
        closed.sort_by_key(|closed| closed.month);
        Self { closed }
    }

    /// The closed months, the earliest first.
    #[must_use]
    pub fn closed(&self) -> &[Closed] {
        &self.closed
    }

    /// What a month of a zone is.
    #[must_use]
    pub fn state(&self, month: Month, zone: Zone) -> State<'_> {
        let Some(latest) = self.closed.last() else { return State::Open };
        if latest.time_zone != zone {
            return State::OtherCalendar(latest.time_zone);
        }
        match self.closed.iter().find(|closed| closed.month == month) {
            Some(closed) => State::Closed(closed),
            None if month == latest.month.next() => State::TakesCorrections,
            None => State::Open,
        }
    }

    /// Whether a month may be closed now.
    ///
    /// # Errors
    /// Why not.
    pub fn may_close(&self, month: Month, zone: Zone, now: Timestamp) -> Result<(), CloseError> {
        if let (Some(first), Some(latest)) = (self.closed.first(), self.closed.last()) {
            if latest.time_zone != zone {
                return Err(CloseError::OtherZone { zone: latest.time_zone });
            }
            if self.closed.iter().any(|closed| closed.month == month) {
                return Err(CloseError::Closed { month });
            }
            if month < first.month {
                return Err(CloseError::Before { month, first: first.month });
            }
            if month != latest.month.next() {
                return Err(CloseError::Gap { before: latest.month.next() });
            }
        }
        let from = month.interval(zone).to.plus(SETTLED_US);
        if now < from { Err(CloseError::NotEnded { month, zone, from }) } else { Ok(()) }
    }

    /// The close of a month that may be opened again.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_reopen(&self, month: Month) -> Result<&Closed, CloseError> {
        match self.closed.iter().find(|closed| closed.month == month).zip(self.closed.last()) {
            None => Err(CloseError::Open { month }),
            Some((_, latest)) if latest.month != month => Err(CloseError::NotLatest { month, latest: latest.month }),
            Some((closed, _)) => Ok(closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finance::period::Reopened;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    fn closed(text: &str, zone: &str) -> Entry {
        let (month, time_zone): (Month, Zone) = (month(text), zone.parse().unwrap());
        let interval = month.interval(time_zone);
        Entry::Closed(Box::new(Closed {
            month,
            time_zone,
            from: interval.from.to_string(),
            to: interval.to.to_string(),
            closed_at: interval.to.plus(7 * 24 * HOUR_US).to_string(),
            by: "controller".to_owned(),
            note: String::new(),
            polymeter: "0".to_owned(),
            calendar: "2026a".to_owned(),
            rules_version: String::new(),
            prices_version: String::new(),
            tables: Default::default(),
            folder: format!("periods/{text}"),
            files: Vec::new(),
            calls: 1,
            totals: Vec::new(),
            corrected_calls: Default::default(),
            sources: Vec::new(),
            set_aside: Vec::new(),
            complete_to: Default::default(),
            accepted: Vec::new(),
        }))
    }

    fn reopened(text: &str) -> Entry {
        let text_of = str::to_owned;
        Entry::Reopened(Reopened {
            month: month(text),
            at: text_of("2026-12-01T00:00:00Z"),
            by: text_of("a"),
            reason: text_of("b"),
        })
    }

    const LATER: Timestamp = Timestamp(1_800_000_000_000_000);

    #[test]
    fn months_are_closed_in_their_order_and_in_one_calendar() {
        let books = Books::default();
        assert_eq!(books.may_close(month("2026-09"), Zone::UTC, LATER), Ok(()));
        let ends = Timestamp::parse("2026-10-01T00:59:59Z").unwrap();
        let early = books.may_close(month("2026-09"), Zone::UTC, ends).unwrap_err();
        assert!(early.to_string().contains("2026-10-01T01:00:00"), "{early}");

        let books = Books::new([closed("2026-09", "UTC"), closed("2026-10", "UTC")]);
        let error = |name, zone: &str| books.may_close(month(name), zone.parse().unwrap(), LATER).unwrap_err();
        assert_eq!(error("2026-10", "UTC"), CloseError::Closed { month: month("2026-10") });
        assert_eq!(error("2026-12", "UTC"), CloseError::Gap { before: month("2026-11") });
        assert_eq!(error("2026-08", "UTC"), CloseError::Before { month: month("2026-08"), first: month("2026-09") });
        assert_eq!(error("2026-11", "Europe/Berlin"), CloseError::OtherZone { zone: Zone::UTC });
        assert_eq!(books.may_close(month("2026-11"), Zone::UTC, LATER), Ok(()));
    }

    #[test]
    fn only_the_latest_month_is_opened_again() {
        let entries = [closed("2026-09", "UTC"), closed("2026-10", "UTC")];
        let books = Books::new(entries.clone());
        assert!(matches!(books.may_reopen(month("2026-09")), Err(CloseError::NotLatest { .. })));
        assert!(matches!(books.may_reopen(month("2026-11")), Err(CloseError::Open { .. })));
        assert_eq!(books.may_reopen(month("2026-10")).unwrap().folder, "periods/2026-10");
        let books = Books::new(entries.into_iter().chain([reopened("2026-10")]));
        assert_eq!(books.closed().len(), 1);
        assert_eq!(books.may_close(month("2026-10"), Zone::UTC, LATER), Ok(()));
    }

    #[test]
    fn the_month_behind_the_latest_takes_the_corrections() {
        let books = Books::new([closed("2026-09", "UTC")]);
        assert!(matches!(books.state(month("2026-09"), Zone::UTC), State::Closed(_)));
        assert_eq!(books.state(month("2026-10"), Zone::UTC), State::TakesCorrections);
        assert_eq!(books.state(month("2026-11"), Zone::UTC), State::Open);
        assert_eq!(books.state(month("2026-08"), Zone::UTC), State::Open);
        let berlin = "Europe/Berlin".parse().unwrap();
        assert_eq!(books.state(month("2026-09"), berlin), State::OtherCalendar(Zone::UTC));
        assert_eq!(Books::default().state(month("2026-09"), berlin), State::Open);
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for entry in [closed("2026-09", "Europe/Berlin"), reopened("2026-09")] {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
        }
    }
}
