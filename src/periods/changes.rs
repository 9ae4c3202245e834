//! What changed of closed months since they were posted.
//!
//! A call that is new or computed anew has a new `settled_at`: only slices in which that or the number of calls differs
//! from the copy are read and compared, call by call.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{PeriodError, Periods, rows};
use crate::finance::ask::{Ask, during};
use crate::finance::chargeback::Corrected;
use crate::finance::period::{Closed, Reason, changes};
use crate::ledger::View;
use crate::model::{Call, Interval, RecordId, SLICE_US, Timestamp};
use crate::query::{report_rows, summed_lines};

/// Calls that are compared at once, about.
const CALLS_AT_ONCE: u64 = 100_000;
/// So many calls that did not change are read rather than asking once more.
const READ_THROUGH: u64 = 10_000;
/// Changed calls that are kept in memory.
const MOST: u64 = 2_000_000;

/// Calls of closed months that differ from what was posted.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// By reason: as posted, and as they are.
    by_reason: BTreeMap<Reason, (Vec<Call>, Vec<Call>)>,
    count: BTreeMap<Reason, u64>,
}

/// What a later close posted of a month.
struct Posted {
    /// Calls that it says something about.
    ids: HashSet<RecordId>,
    /// As it posted them.
    calls: Vec<Call>,
    /// Slices in which they are or were.
    slices: BTreeSet<Timestamp>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_reason.is_empty()
    }

    /// Changed calls by reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.count.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count)).collect()
    }

    fn add(&mut self, before: Vec<Call>, after: Vec<Call>) -> Result<(), PeriodError> {
        for change in changes(before, after) {
            let own = self.by_reason.entry(change.reason).or_default();
            own.0.extend(change.before);
            own.1.extend(change.after);
            *self.count.entry(change.reason).or_default() += 1;
        }
        let all = self.count.values().sum();
        if all > MOST { Err(PeriodError::TooMuchChanged(all)) } else { Ok(()) }
    }
}

/// Number of calls and the time of settling, by slice.
type Slices = BTreeMap<Timestamp, (u64, Option<Timestamp>)>;

/// Intervals that hold the slices that differ: few questions, each with few enough calls.
fn reads(differ: &BTreeSet<Timestamp>, then: &Slices, now: &Slices) -> Vec<Interval> {
    let held =
        |slices: &Slices, from: Timestamp, to: Timestamp| slices.range(from..to).map(|(_, (calls, _))| calls).sum();
    let calls = |from, to| -> u64 { u64::max(held(then, from, to), held(now, from, to)) };
    let mut reads: Vec<Interval> = Vec::new();
    for slice in differ {
        let end = slice.plus(SLICE_US);
        match reads.last_mut() {
            Some(run) if calls(run.to, *slice) <= READ_THROUGH && calls(run.from, end) <= CALLS_AT_ONCE => run.to = end,
            _ => reads.push(Interval { from: *slice, to: end }),
        }
    }
    reads
}

/// The folder of what was corrected for a reason.
fn folder(closed: &Closed, reason: Reason, side: &str) -> String {
    format!("{}/{}/{side}", closed.folder, reason.as_str())
}

/// The reasons for which a close posted something.
fn reasons(closed: &Closed) -> impl Iterator<Item = Reason> {
    Reason::ALL.into_iter().filter(|reason| closed.corrected_calls.contains_key(reason.as_str()))
}

impl Periods {
    /// What differs now from what the closes posted.
    pub(super) async fn compare(&self, closed: &[Closed], live: &View) -> Result<Changes, PeriodError> {
        let mut all = Changes::default();
        let floor = live.calls.floor().await?;
        for (at, month) in closed.iter().enumerate() {
            // What the retention has removed did not change.
            let within = Interval { from: month.interval().from.max(floor), to: month.interval().to };
            if within.from >= within.to {
                continue;
            }
            let copy = self.copy_of(month, live).await?;
            let (then, now) = (self.slices(&copy, within).await?, self.slices(live, within).await?);
            let mut differ: BTreeSet<Timestamp> =
                then.keys().chain(now.keys()).filter(|slice| then.get(slice) != now.get(slice)).copied().collect();
            let mut posted = Vec::new();
            for later in closed.iter().skip(at + 1) {
                let one = self.posted_by(later, within, live).await?;
                differ.extend(&one.slices);
                posted.push(one);
            }
            for run in reads(&differ, &then, &now) {
                let run = Interval { from: run.from.max(within.from), to: run.to.min(within.to) };
                let mut before = rows::calls(&self.engine, &copy, run).await?;
                for later in &posted {
                    before.retain(|call| !later.ids.contains(&call.call_id));
                    before.extend(later.calls.iter().filter(|call| run.contains(call.ts)).cloned());
                }
                all.add(before, rows::calls(&self.engine, live, run).await?)?;
            }
        }
        Ok(all)
    }

    /// The copied calls of a closed month.
    pub(super) async fn copy_of(&self, closed: &Closed, live: &View) -> Result<View, PeriodError> {
        rows::open(&self.store.within(&closed.folder)?, live).await
    }

    /// Number of calls and the time of settling, by slice.
    async fn slices(&self, view: &View, within: Interval) -> Result<Slices, PeriodError> {
        let sql = format!(
            "SELECT date_bin(INTERVAL '{} seconds', ts) AS slice, count(*) AS calls, max(settled_at) AS settled \
             FROM calls WHERE {} GROUP BY 1",
            SLICE_US / 1_000_000,
            during(within)
        );
        let read = report_rows(&self.engine, view, &sql, |row| Some((row.instant(0)?, (row.count(1), row.instant(2)))));
        Ok(read.await?.into_iter().collect())
    }

    async fn posted_by(&self, later: &Closed, within: Interval, live: &View) -> Result<Posted, PeriodError> {
        let mut posted = Posted { ids: HashSet::new(), calls: Vec::new(), slices: BTreeSet::new() };
        for reason in reasons(later) {
            for side in ["before", "after"] {
                let view = rows::open(&self.store.within(&folder(later, reason, side))?, live).await?;
                let calls = rows::calls(&self.engine, &view, within).await?;
                posted.ids.extend(calls.iter().map(|call| call.call_id));
                posted.slices.extend(calls.iter().map(|call| call.ts.floor(SLICE_US)));
                if side == "after" {
                    posted.calls.extend(calls);
                }
            }
        }
        Ok(posted)
    }

    /// Keeps what changed with a close that posts it.
    pub(super) async fn keep_changes(&self, changes: &Changes, folder_of: &str) -> Result<(), PeriodError> {
        for (reason, (before, after)) in &changes.by_reason {
            for (side, calls) in [("before", before), ("after", after)] {
                let into = self.store.within(&format!("{folder_of}/{}/{side}", reason.as_str()))?;
                rows::write(calls, &into).await?;
            }
        }
        Ok(())
    }

    /// The sums of what changed, for a report that posts it.
    pub(super) async fn corrected(
        &self,
        changes: &Changes,
        closed: &[Closed],
        ask: &Ask,
        live: &View,
    ) -> Result<Vec<Corrected>, PeriodError> {
        let mut all = Vec::new();
        for (reason, (before, after)) in &changes.by_reason {
            let (before, after) = (rows::in_memory(before, live)?, rows::in_memory(after, live)?);
            all.extend(self.summed(*reason, &before, &after, closed, ask).await?);
        }
        Ok(all)
    }

    /// The same of what a close posted.
    pub(super) async fn corrected_by(
        &self,
        month: &Closed,
        closed: &[Closed],
        ask: &Ask,
        live: &View,
    ) -> Result<Vec<Corrected>, PeriodError> {
        let mut all = Vec::new();
        for reason in reasons(month) {
            let side = |side| self.store.within(&folder(month, reason, side));
            let (before, after) = (rows::open(&side("before")?, live).await?, rows::open(&side("after")?, live).await?);
            all.extend(self.summed(reason, &before, &after, closed, ask).await?);
        }
        Ok(all)
    }

    async fn summed(
        &self,
        reason: Reason,
        before: &View,
        after: &View,
        closed: &[Closed],
        ask: &Ask,
    ) -> Result<Vec<Corrected>, PeriodError> {
        let mut all = Vec::new();
        for month in closed.iter().filter(|closed| closed.month < ask.month) {
            let ask = ask.about(month.month);
            let before = summed_lines(&self.engine, before, &ask).await?;
            let after = summed_lines(&self.engine, after, &ask).await?;
            if !before.is_empty() || !after.is_empty() {
                all.push(Corrected { of: month.month, reason, before, after });
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_read_together_as_long_as_that_is_little() {
        let at = |number: i64| Timestamp(number * SLICE_US);
        let slices =
            |of: &[(i64, u64)]| -> Slices { of.iter().map(|(number, calls)| (at(*number), (*calls, None))).collect() };
        let then = slices(&[(0, 10), (1, 9_000), (2, 10), (3, 60_000), (4, 10), (5, 99_000), (6, 5_000)]);
        let now = slices(&[(0, 11), (2, 10)]);
        let differ = [0, 2, 4, 5, 6].map(at).into();
        let expected = [(0, 3), (4, 6), (6, 7)].map(|(from, to)| Interval { from: at(from), to: at(to) });
        assert_eq!(reads(&differ, &then, &now), expected);
    }
}
