//! Calls as tables of their own: the copy that a close keeps, and calls in memory, both as a view that reports ask.

use std::collections::BTreeSet;

use crate::columns::Row as _;
use crate::delta::NewFile;
use crate::finance::ask::during;
use crate::journal::Tail;
use crate::ledger::{Calls, LedgerError, View, with_day};
use crate::model::{Call, HOUR_US, Interval, Timestamp};
use crate::query::{Engine, Params, QueryError, report_rows};
use crate::store::Store;

use super::PeriodError;

/// Calls that are read at once, about.
const CALLS_AT_ONCE: u64 = 100_000;

/// Writes the calls that a view shows in an interval as the table `calls` of another location; says how many.
pub(super) async fn copy(
    engine: &Engine,
    view: &View,
    within: Interval,
    into: &Store,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, PeriodError> {
    let mut table = Calls::open_or_create(into).await?;
    let (mut files, mut copied) = (Vec::new(), 0_u64);
    for run in runs(engine, view, within).await? {
        let calls = calls(engine, view, run).await?;
        files.extend(by_day(&table, &calls).await?);
        copied += u64::try_from(calls.len()).unwrap_or(u64::MAX);
        progress(copied);
    }
    table.replace(&BTreeSet::new(), files, within.to, &Tail::new()).await?;
    Ok(copied)
}

/// Writes calls that are in memory, likewise.
pub(super) async fn write(calls: &[Call], into: &Store) -> Result<(), PeriodError> {
    let mut table = Calls::open_or_create(into).await?;
    let mut sorted: Vec<Call> = calls.to_vec();
    sorted.sort_by_key(|call| (call.ts, call.call_id));
    let files = by_day(&table, &sorted).await?;
    table.replace(&BTreeSet::new(), files, Timestamp(i64::MAX), &Tail::new()).await?;
    Ok(())
}

/// Files of calls that are sorted by start, one for each day.
async fn by_day(table: &Calls, sorted: &[Call]) -> Result<Vec<NewFile>, LedgerError> {
    let (mut files, mut left) = (Vec::new(), sorted);
    while let Some(first) = left.first() {
        let day = first.ts.day();
        let (own, others) = left.split_at(left.partition_point(|call| call.ts.day() == day));
        let to = own.last().map_or(first.ts, |last| last.ts).plus(1);
        files.push(table.write(Interval { from: first.ts, to }, &own.iter().collect::<Vec<_>>()).await?);
        left = others;
    }
    Ok(files)
}

/// A view of such a table; what it does not hold is that of `live`.
pub(super) async fn open(from: &Store, live: &View) -> Result<View, PeriodError> {
    let gone = || PeriodError::Damaged { object: from.display(), detail: "its calls are not there".to_owned() };
    let calls = Calls::open(from).await?.ok_or_else(gone)?;
    // Behind every call that is in it.
    let horizon = Some(Timestamp::parse("9999-01-01T00:00:00Z").unwrap_or_default());
    Ok(View { calls, horizon, hot: Vec::new(), superseded: Vec::new(), tail: Vec::new(), ..live.clone() })
}

/// A view of calls in memory.
pub(super) fn in_memory(calls: &[Call], live: &View) -> Result<View, LedgerError> {
    let hot = with_day(&calls.iter().collect::<Vec<_>>())?;
    Ok(View { horizon: None, hot: vec![hot], superseded: Vec::new(), tail: Vec::new(), ..live.clone() })
}

/// The calls that a view shows in an interval, in their order.
pub(super) async fn calls(engine: &Engine, view: &View, within: Interval) -> Result<Vec<Call>, PeriodError> {
    let sql = format!("SELECT * FROM calls WHERE {} ORDER BY ts, call_id", during(within));
    let mut answer = engine.run(view, &sql, Params::None).await?;
    let mut calls = Vec::new();
    while let Some(batch) = answer.next().await? {
        calls.extend(Call::decode(&batch).map_err(|source| LedgerError::Columns { table: Call::TABLE, source })?);
    }
    if answer.truncated() {
        return Err(QueryError::TooLarge.into());
    }
    Ok(calls)
}

/// Runs of hours that hold few enough calls to be read at once.
async fn runs(engine: &Engine, view: &View, within: Interval) -> Result<Vec<Interval>, PeriodError> {
    let sql = format!(
        "SELECT date_trunc('hour', ts) AS hour, count(*) AS calls FROM calls WHERE {} GROUP BY 1 ORDER BY 1",
        during(within)
    );
    let hours = report_rows(engine, view, &sql, |row| Some((row.instant(0)?, row.count(1)))).await?;
    let mut runs: Vec<(Interval, u64)> = Vec::new();
    for (hour, calls) in hours {
        let hour = Interval { from: hour.max(within.from), to: hour.plus(HOUR_US).min(within.to) };
        match runs.last_mut() {
            Some((run, held)) if *held + calls <= CALLS_AT_ONCE => {
                (run.to, *held) = (hour.to, *held + calls);
            }
            _ => runs.push((hour, calls)),
        }
    }
    Ok(runs.into_iter().map(|(run, _)| run).collect())
}
