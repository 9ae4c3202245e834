//! Months of a time zone. Everything is stored in UTC; a report asks what day it was where its readers are.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde::{Deserialize, Serialize};

use crate::model::{Interval, MINUTE_US, Timestamp};

/// Version of the IANA database that months are computed with.
pub const CALENDAR: &str = chrono_tz::IANA_TZDB_VERSION;

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Tz);

/// What is wrong with a month or a zone, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Not `2026-10`.
    #[error("'{0}' is no month; write it as 2026-10")]
    Month(String),
    /// Not in the database.
    #[error("there is no time zone '{0}'; did you mean '{1}'?")]
    Zone(String, &'static str),
}

/// A calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    year: i32,
    month: u32,
}

impl Zone {
    /// UTC: what providers bill by.
    pub const UTC: Self = Self(Tz::UTC);

    /// The calendar day of an instant.
    #[must_use]
    pub fn day(self, at: Timestamp) -> NaiveDate {
        let utc = DateTime::from_timestamp_micros(at.0).unwrap_or(DateTime::UNIX_EPOCH);
        utc.with_timezone(&self.0).date_naive()
    }

    /// The month of an instant.
    #[must_use]
    pub fn month(self, at: Timestamp) -> Month {
        let day = self.day(at);
        Month { year: day.year(), month: day.month() }
    }

    /// The first instant of a day. Where clocks go back over midnight, the first time that the day begins; where they jump
    /// over it, the instant of the jump.
    fn start(self, day: NaiveDate) -> Timestamp {
        let midnight = NaiveDateTime::new(day, NaiveTime::MIN);
        for minutes in 0..=24 * 60 {
            match self.0.from_local_datetime(&(midnight + Duration::minutes(minutes))) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return Timestamp(at.timestamp_micros()),
                LocalResult::None => {}
            }
        }
        // A zone that changed the day at the date line skipped this one.
        day.succ_opt().map_or(Timestamp(midnight.and_utc().timestamp_micros()), |next| self.start(next))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl FromStr for Zone {
    type Err = CalendarError;
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        text.parse::<Tz>().map(Self).map_err(|_| {
            let like = |zone: &&Tz| {
                let (zone, text) = (zone.name().to_ascii_lowercase(), text.to_ascii_lowercase());
                let city = strsim::jaro_winkler(zone.rsplit('/').next().unwrap_or_default(), &text);
                strsim::jaro_winkler(&zone, &text).max(city)
            };
            let nearest = TZ_VARIANTS.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
            CalendarError::Zone(text.to_owned(), nearest.map_or("UTC", |zone| zone.name()))
        })
    }
}

impl Month {
    /// The one before.
    #[must_use]
    pub const fn previous(self) -> Self {
        match self.month {
            1 => Self { year: self.year - 1, month: 12 },
            month => Self { year: self.year, month: month - 1 },
        }
    }

    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { year: self.year, month: month + 1 },
        }
    }

    /// From its first instant in a zone to the first of the next month.
    #[must_use]
    pub fn interval(self, zone: Zone) -> Interval {
        Interval { from: zone.start(self.first()), to: zone.start(self.next().first()) }
    }

    /// An instant in its middle: where an exchange rate for the month holds, whatever zone its days were written in.
    #[must_use]
    pub fn middle(self, zone: Zone) -> Timestamp {
        let Interval { from, to } = self.interval(zone);
        Timestamp(from.0 + (to.0 - from.0) / 2).floor(MINUTE_US)
    }

    fn first(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.year, self.month, 1).unwrap_or_default()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = CalendarError;
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let wrong = || CalendarError::Month(text.to_owned());
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(wrong());
        }
        let (year, month) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        if !(1970..=9998).contains(&year) || !(1..=12).contains(&month) {
            return Err(wrong());
        }
        Ok(Self { year, month })
    }
}

impl TryFrom<String> for Zone {
    type Error = CalendarError;
    fn try_from(text: String) -> Result<Self, CalendarError> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

impl TryFrom<String> for Month {
    type Error = CalendarError;
    fn try_from(text: String) -> Result<Self, CalendarError> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_month_is_that_of_its_zone() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let october: Month = "2026-10".parse().unwrap();
        // Summer time at its start, winter time at its end.
        let expected = Interval { from: at("2026-09-30T22:00:00Z"), to: at("2026-10-31T23:00:00Z") };
        assert_eq!(october.interval(berlin), expected);
        assert_eq!(october.next().interval(berlin).from, expected.to);
        assert_eq!(
            (october.previous().to_string(), "2026-01".parse::<Month>().unwrap().previous().to_string()),
            ("2026-09".to_owned(), "2025-12".to_owned())
        );
        // Clocks in Asunción jumped over the midnight that October 2017 began with; Apia skipped the 30th of December 2011.
        let asuncion: Zone = "America/Asuncion".parse().unwrap();
        assert_eq!("2017-10".parse::<Month>().unwrap().interval(asuncion).from, at("2017-10-01T04:00:00Z"));
        assert_eq!(
            "Pacific/Apia".parse::<Zone>().unwrap().start(NaiveDate::from_ymd_opt(2011, 12, 30).unwrap()),
            at("2011-12-30T10:00:00Z")
        );
    }

    #[test]
    fn mistakes_come_with_what_to_write() {
        for wrong in ["2026", "2026-13", "26-10", "2026-1", "2026-10-01", "", "+026-10"] {
            assert_eq!(wrong.parse::<Month>(), Err(CalendarError::Month(wrong.to_owned())));
        }
        assert_eq!(
            "Berlin".parse::<Zone>().unwrap_err().to_string(),
            "there is no time zone 'Berlin'; did you mean 'Europe/Berlin'?"
        );
    }

    proptest! {
        #[test]
        fn every_instant_is_in_its_month(us in 0_i64..4_000_000_000_000_000, zone in 0..TZ_VARIANTS.len()) {
            let (at, zone) = (Timestamp(us), Zone(TZ_VARIANTS[zone]));
            prop_assert!(zone.month(at).interval(zone).contains(at), "{at} {zone}");
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "says how many samples were checked")]
    fn agrees_with_the_published_periods() {
        let root = std::env::var_os("POLYMETER_SAMPLES")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/samples"), PathBuf::from);
        let Ok(text) = std::fs::read_to_string(root.join("pricing/allocation.json")) else {
            eprintln!("skipped: pricing/allocation.json is absent");
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let cases = file["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == "period");
        let mut count = 0;
        for case in cases {
            let text = |part: &str, key: &str| case[part][key].as_str().unwrap();
            let (zone, at): (Zone, _) = (text("input", "time_zone").parse().unwrap(), at(text("input", "instant")));
            let found = (zone.month(at).to_string(), zone.day(at).to_string());
            assert_eq!(
                found,
                (text("expected", "period").to_owned(), text("expected", "day").to_owned()),
                "{}",
                case["id"]
            );
            count += 1;
        }
        eprintln!("{count} of {count} period cases");
    }
}
