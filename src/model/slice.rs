//! Slices: the unit in which the ledger is computed and replaced.

use std::collections::BTreeSet;

use super::{HOUR_US, MINUTE_US, Timestamp};

/// Length of a slice, microseconds of event time: short enough that a late record costs little, long enough that a day
/// is a hundred and forty files at most.
pub const SLICE_US: i64 = 10 * MINUTE_US;

const DAY_US: i64 = 24 * HOUR_US;

/// `from <= instant < to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// First instant.
    pub from: Timestamp,
    /// First instant behind it.
    pub to: Timestamp,
}

impl Interval {
    /// Everything.
    pub const ALL: Self = Self { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };

    /// Whether it holds `at`.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// Whether the two have an instant in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }

    /// Longer by `us` on both sides.
    #[must_use]
    pub const fn widened(&self, us: i64) -> Self {
        Self { from: self.from.plus(us.saturating_neg()), to: self.to.plus(us) }
    }

    /// The starts of its slices.
    pub fn slices(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let to = self.to;
        std::iter::successors(Some(self.from.floor(SLICE_US)), |start| Some(start.plus(SLICE_US)))
            .take_while(move |start| *start < to)
    }

    /// The parts of it that none of `slices` covers, each inside one day.
    #[must_use]
    pub fn without(&self, slices: &BTreeSet<Timestamp>) -> Vec<Self> {
        let left: BTreeSet<_> = self.slices().filter(|start| !slices.contains(start)).collect();
        runs(&left, usize::MAX)
    }
}

/// Neighbouring slices together, at most `at_most`, never beyond a day.
#[must_use]
pub fn runs(slices: &BTreeSet<Timestamp>, at_most: usize) -> Vec<Interval> {
    let most_us = i64::try_from(at_most).unwrap_or(i64::MAX).saturating_mul(SLICE_US);
    let mut runs: Vec<Interval> = Vec::new();
    for start in slices {
        let end = start.plus(SLICE_US);
        match runs.last_mut() {
            Some(run)
                if run.to == *start
                    && run.from.floor(DAY_US) == start.floor(DAY_US)
                    && end.0.saturating_sub(run.from.0) <= most_us =>
            {
                run.to = end;
            }
            _ => runs.push(Interval { from: *start, to: end }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_neighbours_inside_a_day() {
        let day = Timestamp(20_000 * DAY_US);
        let slices: BTreeSet<_> = [-1, 0, 1, 2, 5].iter().map(|n| day.plus(n * SLICE_US)).collect();
        let lengths = |at_most| -> Vec<i64> {
            runs(&slices, at_most).iter().map(|run| (run.to.0 - run.from.0) / SLICE_US).collect()
        };
        assert_eq!(lengths(usize::MAX), [1, 3, 1]);
        assert_eq!(lengths(2), [1, 2, 1, 1]);
        let hour = Interval { from: day, to: day.plus(HOUR_US) };
        let left = hour.without(&slices);
        assert_eq!(left.iter().map(|part| (part.to.0 - part.from.0) / SLICE_US).collect::<Vec<_>>(), [2]);
        assert_eq!(hour.slices().count(), 6);
    }
}
