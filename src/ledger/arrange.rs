//! Which files to merge: decided from their names and sizes alone. Each row is written once when it is settled and about
//! once more when its day is over, whatever the number of commits.

use std::collections::BTreeMap;

use super::calls::range_of;
use crate::delta::DataFile;
use crate::model::{HOUR_US, Interval, SLICE_US, Timestamp};

/// Rows of a merged file: a few row groups; also what one merge holds in memory.
pub const TARGET_ROWS: usize = 262_144;
/// Small files of one day of the archive that make a merge worth while: a merged file is left alone while its day lasts, so
/// this does not decide how often a row is written, only how many files there are, which every commit pays for.
const ARCHIVE_SMALL_FILES: usize = 64;
/// Files of a day that is over, beyond which they are merged.
const CLOSED_DAY_FILES: usize = 8;
/// A day is over this long after its end: what is late by days has mostly come.
const CLOSED_AFTER_US: i64 = 3 * 24 * HOUR_US;
/// After this long a day is packed as tightly as it can be.
const PACKED_AFTER_US: i64 = 30 * 24 * HOUR_US;

/// Files to merge into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The files.
    pub files: Vec<DataFile>,
    /// The slices of a merged file of the ledger.
    pub range: Option<Interval>,
}

fn by_day(files: Vec<DataFile>) -> BTreeMap<String, Vec<DataFile>> {
    let mut days: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        days.entry(file.day().to_owned()).or_default().push(file);
    }
    days
}

/// How long ago a day ended, microseconds; negative while it lasts.
fn age(day: &str, now: Timestamp) -> i64 {
    let end = Timestamp::parse(&format!("{day}T00:00:00Z")).map_or(now, |start| start.plus(24 * HOUR_US));
    now.0.saturating_sub(end.0)
}

/// Merges for the archive, whose files hold what arrived together.
#[must_use]
pub fn plan_archive(files: Vec<DataFile>, now: Timestamp) -> Vec<Merge> {
    let mut merges = Vec::new();
    for (day, files) in by_day(files) {
        let age = age(&day, now);
        let mut small: Vec<_> = files.into_iter().filter(|file| file.rows < TARGET_ROWS / 2).collect();
        let untouched = |file: &DataFile| file.name().starts_with("part-");
        let enough = if age >= PACKED_AFTER_US {
            small.len() > 1
        } else if age >= CLOSED_AFTER_US {
            small.len() > CLOSED_DAY_FILES
        } else {
            // What was merged before is left alone until the day is over.
            small.retain(untouched);
            small.len() >= ARCHIVE_SMALL_FILES
        };
        if enough {
            merges.extend(batches(small).into_iter().map(|files| Merge { files, range: None }));
        }
    }
    merges
}

/// Merges for the ledger, whose files hold runs of slices: neighbours are joined.
#[must_use]
pub fn plan_calls(files: Vec<DataFile>, now: Timestamp) -> Vec<Merge> {
    let mut merges = Vec::new();
    for (day, files) in by_day(files) {
        let age = age(&day, now);
        let most = if age >= PACKED_AFTER_US { 1 } else { CLOSED_DAY_FILES };
        let small: Vec<_> = files.into_iter().filter(|file| file.rows < TARGET_ROWS / 2).collect();
        if age < CLOSED_AFTER_US || small.len() <= most {
            continue;
        }
        let mut ranged: Vec<(Interval, DataFile)> =
            small.into_iter().filter_map(|file| Some((range_of(&file)?, file))).collect();
        ranged.sort_by_key(|(range, _)| *range);
        let mut rows = 0;
        let mut run: Vec<(Interval, DataFile)> = Vec::new();
        let mut close = |run: &mut Vec<(Interval, DataFile)>| {
            let ends = run.first().map(|first| first.0.from).zip(run.iter().map(|(range, _)| range.to).max());
            if let Some((from, to)) = ends.filter(|_| run.len() > 1) {
                let range = Some(Interval { from: from.floor(SLICE_US), to });
                merges.push(Merge { files: run.drain(..).map(|(_, file)| file).collect(), range });
            }
            run.clear();
        };
        for (range, file) in ranged {
            if rows + file.rows > TARGET_ROWS {
                close(&mut run);
                rows = 0;
            }
            rows += file.rows;
            run.push((range, file));
        }
        close(&mut run);
    }
    merges
}

/// Files in portions of about [`TARGET_ROWS`].
fn batches(files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    let mut batches: Vec<Vec<DataFile>> = Vec::new();
    let mut rows = 0;
    for file in files {
        match batches.last_mut() {
            Some(batch) if rows + file.rows <= TARGET_ROWS => {
                rows += file.rows;
                batch.push(file);
            }
            _ => {
                rows = file.rows;
                batches.push(vec![file]);
            }
        }
    }
    batches.retain(|batch| batch.len() > 1);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-03-02";

    fn file(name: &str, rows: usize) -> DataFile {
        DataFile { path: format!("day={DAY}/{name}.parquet"), bytes: 1, rows }
    }

    fn days_later(days: i64) -> Timestamp {
        Timestamp::parse("2026-03-03T00:00:00Z").unwrap().plus(days * 24 * HOUR_US)
    }

    #[test]
    fn the_archive_is_merged_when_small_files_pile_up() {
        let files = |n: usize| (0..n).map(|i| file(&format!("part-{i}"), 10)).collect::<Vec<_>>();
        assert!(plan_archive(files(ARCHIVE_SMALL_FILES - 1), days_later(0)).is_empty());
        let merges = plan_archive(files(ARCHIVE_SMALL_FILES), days_later(0));
        assert_eq!((merges.len(), merges[0].files.len()), (1, ARCHIVE_SMALL_FILES));
        // A merged file is not merged again while its day lasts.
        let mut with_merged = files(ARCHIVE_SMALL_FILES - 1);
        with_merged.push(file("merged-1", 1000));
        assert!(plan_archive(with_merged.clone(), days_later(0)).is_empty());
        assert_eq!(plan_archive(with_merged, days_later(4)).len(), 1);
        assert!(plan_archive(files(CLOSED_DAY_FILES), days_later(4)).is_empty());
        assert_eq!(plan_archive(files(2), days_later(31)).len(), 1);
    }

    #[test]
    fn the_ledger_joins_neighbours_of_a_day_that_is_over() {
        let start = Timestamp::parse("2026-03-02T00:00:00Z").unwrap();
        let slice = |n: i64, rows| {
            let from = start.plus(n * SLICE_US);
            file(&format!("run-{}-{}-x", from.0, from.plus(SLICE_US).0), rows)
        };
        let files: Vec<_> = (0..144).map(|n| slice(n, 10_000)).collect();
        assert!(plan_calls(files.clone(), days_later(2)).is_empty());
        let merges = plan_calls(files, days_later(4));
        assert_eq!(merges.iter().map(|merge| merge.files.len()).sum::<usize>(), 144);
        assert_eq!(merges.len(), 6);
        assert!(merges.windows(2).all(|pair| pair[0].range.unwrap().to <= pair[1].range.unwrap().from));
    }
}
