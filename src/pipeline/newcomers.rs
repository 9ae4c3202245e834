//! Many records at once, a backfill: those that nothing in the archive can be linked to become calls without the archive
//! being read again, and are added to their slices.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};

use super::{PipelineError, Tables};
use crate::cores::heavy;
use crate::delta::NewFile;
use crate::ledger::{Archive, Calls, LedgerError};
use crate::model::{Call, HOUR_US, Interval, MINUTE_US, Observation, RecordId, SLICE_US, Timestamp};
use crate::settle::{Arrivals, LINK_COLUMNS, MARGIN_US, Newcomers, Rules, settle};

const DAY_US: i64 = 24 * HOUR_US;
/// Fewer records than this replace slices, which leaves fewer files.
pub const FROM_ROWS: usize = 10_000;
/// Observations that become calls at once: calls are wide, and only their columns are kept.
const PART_ROWS: usize = 4_000;
/// Parts that are computed at once.
const AT_ONCE: usize = 2;
/// Times with less than this between them are read as one.
const GAP_US: i64 = DAY_US;

/// Calls that are to be added to the ledger.
#[derive(Debug, Default)]
pub struct Entered {
    /// Files that hold them, one for each day.
    pub files: Vec<NewFile>,
    /// Their witnesses.
    pub absorbed: HashSet<RecordId>,
}

/// Tells newcomers from others among `observations`, if at least `from_rows` of them may be some. `edge` is where the
/// ledger ends.
///
/// # Errors
/// The store fails.
pub async fn sort_out(
    tables: &Tables,
    observations: Vec<Arc<Observation>>,
    edge: Timestamp,
    from_rows: usize,
) -> Result<Arrivals, PipelineError> {
    // What has left the archive can't be met in it any more; a slice that the horizon divides is computed when it passes.
    let whole = tables.archive.floor().await?.plus(2 * MARGIN_US).max(tables.calls.floor().await?.plus(SLICE_US));
    let behind = edge.floor(SLICE_US);
    let may_be = move |observation: &Observation| (whole..behind).contains(&observation.ts);
    let times: Vec<_> = observations.iter().filter(|one| may_be(one)).map(|one| one.ts).collect();
    if times.len() < from_rows {
        return Ok(Arrivals { others: observations, ..Arrivals::default() });
    }
    let around = neighbourhoods(times.into_iter());
    let work = move || Newcomers::new(observations, may_be);
    let newcomers = heavy(work).await.map_err(|_| PipelineError::Stopped)?;
    let newcomers = meet(&tables.archive, &around, newcomers).await?;
    let changes = move |observation: &Observation| observation.ts < edge.plus(MARGIN_US);
    heavy(move || newcomers.sort_out(changes)).await.map_err(|_| PipelineError::Stopped)
}

async fn meet(archive: &Archive, around: &[Interval], mut newcomers: Newcomers) -> Result<Newcomers, LedgerError> {
    for interval in around {
        archive.visit(*interval, &LINK_COLUMNS, |older| newcomers.meet(older)).await?;
    }
    Ok(newcomers)
}

/// Where those may lie that are linked to something at one of these times.
fn neighbourhoods(times: impl Iterator<Item = Timestamp>) -> Vec<Interval> {
    let mut around: Vec<Interval> = Vec::new();
    for minute in times.map(|ts| ts.floor(MINUTE_US)).collect::<BTreeSet<_>>() {
        let near = Interval { from: minute, to: minute.plus(MINUTE_US) }.widened(MARGIN_US);
        match around.last_mut() {
            Some(last) if near.from < last.to.plus(GAP_US) => last.to = near.to,
            _ => around.push(near),
        }
    }
    around
}

/// Computes and stores the calls of newcomers.
///
/// # Errors
/// The store fails.
pub async fn enter(
    calls: &Calls,
    newcomers: Vec<Vec<Arc<Observation>>>,
    rules: &Arc<Rules>,
    now: Timestamp,
) -> Result<Entered, PipelineError> {
    let columns = calls.table().schema().map_err(LedgerError::from)?;
    let work = parts(newcomers).into_iter().map(|part| {
        let (rules, columns) = (Arc::clone(rules), Arc::clone(&columns));
        async move { heavy(move || Part::of(&part, &rules, now, &columns)).await.map_err(|_| PipelineError::Stopped)? }
    });
    let mut parts = stream::iter(work).buffered(AT_ONCE);
    let (mut entered, mut days) = (Entered::default(), BTreeMap::<Timestamp, (Interval, Vec<RecordBatch>)>::new());
    while let Some(Part { batches, absorbed }) = parts.try_next().await? {
        entered.absorbed.extend(absorbed);
        for (run, batch) in batches {
            let (whole, batches) = days.entry(run.from.floor(DAY_US)).or_insert_with(|| (run, Vec::new()));
            *whole = Interval { from: whole.from.min(run.from), to: whole.to.max(run.to) };
            batches.push(batch);
        }
    }
    for (run, batches) in days.into_values() {
        entered.files.push(calls.write_encoded(run, batches).await?);
    }
    Ok(entered)
}

fn parts(groups: Vec<Vec<Arc<Observation>>>) -> Vec<Vec<Vec<Arc<Observation>>>> {
    let (mut parts, mut part, mut rows) = (Vec::new(), Vec::new(), 0);
    for group in groups {
        rows += group.len();
        part.push(group);
        if rows >= PART_ROWS {
            parts.push(std::mem::take(&mut part));
            rows = 0;
        }
    }
    parts.push(part);
    parts
}

/// The calls of some newcomers.
struct Part {
    /// By day, with the slices that they lie in.
    batches: Vec<(Interval, RecordBatch)>,
    /// Their witnesses.
    absorbed: Vec<RecordId>,
}

impl Part {
    fn of(
        groups: &[Vec<Arc<Observation>>],
        rules: &Rules,
        now: Timestamp,
        columns: &SchemaRef,
    ) -> Result<Self, PipelineError> {
        let (mut days, mut absorbed) = (BTreeMap::<Timestamp, Vec<Call>>::new(), Vec::new());
        for settled in groups.iter().flat_map(|group| settle(group, rules, now)) {
            absorbed.extend(settled.members);
            days.entry(settled.call.ts.floor(DAY_US)).or_default().push(settled.call);
        }
        let mut batches = Vec::with_capacity(days.len());
        for calls in days.into_values() {
            let starts = || calls.iter().map(|call| call.ts.floor(SLICE_US));
            if let (Some(from), Some(last)) = (starts().min(), starts().max()) {
                let batch = Calls::encode(columns, &calls.iter().collect::<Vec<_>>())?;
                batches.push((Interval { from, to: last.plus(SLICE_US) }, batch));
            }
        }
        Ok(Self { batches, absorbed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Row;
    use crate::model::{Outcome, Witness, fingerprint};
    use crate::settle::link_keys;

    #[test]
    fn the_columns_of_links_are_all_that_links_are_made_of() {
        let text = |name: &str| Some(format!("{name}-1234567"));
        let call = Observation {
            observation_id: fingerprint([b"x".as_slice()]),
            ts: Timestamp(1_790_000_000_990_000),
            witness: Witness::Client,
            provider_request_id: text("request"),
            response_id: text("response"),
            gateway_request_id: text("gateway"),
            trace_id: text("trace"),
            span_id: text("span"),
            parent_span_id: text("parent"),
            chain_id: text("chain"),
            service: text("shop"),
            outcome: Some(Outcome::Throttled),
            ..Observation::default()
        };
        let nameless = Observation { provider_request_id: None, response_id: None, ..call.clone() };
        for (observation, keys) in [(call, 6), (nameless, 6)] {
            let batch = Observation::encode(std::iter::once(&observation)).unwrap();
            let wanted: Vec<usize> = LINK_COLUMNS.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
            let read = Observation::decode(&batch.project(&wanted).unwrap()).unwrap();
            let expected: Vec<_> = link_keys(&observation).collect();
            assert_eq!(link_keys(&read[0]).collect::<Vec<_>>(), expected);
            assert_eq!(expected.len(), keys);
        }
    }

    #[test]
    fn times_that_lie_near_are_read_at_once() {
        let at = |hours: i64| Timestamp(20_000 * DAY_US + hours * HOUR_US);
        let around = neighbourhoods([at(5), at(0), at(100)].into_iter());
        let expected = [(0, 5), (100, 100)]
            .map(|(from, to)| Interval { from: at(from).plus(-MARGIN_US), to: at(to).plus(MINUTE_US + MARGIN_US) });
        assert_eq!(around, expected);
    }
}
