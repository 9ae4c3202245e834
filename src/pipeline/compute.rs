//! Computing slices of the ledger from the archive.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::{PipelineError, RecentKeys, Tables};
use crate::cores::heavy;
use crate::model::{Call, Interval, Observation, RecordId, SLICE_US, Timestamp};
use crate::settle::{MARGIN_US, News, Rules, Slices, slices};

/// Tag of a call that came after its observations had left the archive.
const LATE_TAG: &str = "late";

/// What a settle has to look at.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Slices that pass the horizon: written whatever they hold.
    pub passing: BTreeSet<Timestamp>,
    /// All slices to compute; of the others those are written that the news change.
    pub candidates: BTreeSet<Timestamp>,
    /// The horizon after this settle.
    pub horizon: Timestamp,
}

/// The slices of a run that are to be replaced.
#[derive(Clone, Debug, Default)]
pub struct Computed {
    /// Which.
    pub slices: BTreeSet<Timestamp>,
    /// Their calls; an empty slice has no entry.
    pub calls: BTreeMap<Timestamp, Vec<Call>>,
    /// Keys of the observations in slices that pass.
    pub keys: RecentKeys,
    /// News that became witnesses of calls in the run.
    pub absorbed: HashSet<RecordId>,
}

/// Computes one run.
///
/// # Errors
/// The store fails.
pub async fn compute(
    tables: &Tables,
    run: Interval,
    scope: &Scope,
    news: Arc<News>,
    rules: Arc<Rules>,
    now: Timestamp,
) -> Result<Computed, PipelineError> {
    let within = Interval { from: run.from, to: run.to.min(scope.horizon) };
    let around = run.widened(MARGIN_US);
    let observations: Vec<Arc<Observation>> = tables.archive.read(around).await?.into_iter().map(Arc::new).collect();
    let floor = tables.archive.floor().await?;
    // Also what lies beside the run: a late witness may belong to a call there.
    let existing = if around.from < floor { Some(tables.calls.read(around).await?) } else { None };
    let passing: BTreeSet<Timestamp> = scope.passing.iter().filter(|start| run.contains(**start)).copied().collect();
    let work = move || {
        let mut keys = RecentKeys::default();
        let fresh = observations.iter().filter(|o| passing.contains(&o.ts.floor(SLICE_US)));
        fresh.for_each(|observation| keys.add(observation));
        let shared = observations.clone();
        let Slices { calls, mut touched, absorbed, straddling } = match existing {
            None => slices(observations, within, &news, &rules, now),
            Some(existing) => beyond_archive(observations, existing, within, &news, &rules, now),
        };
        // Also of a run that ends before the horizon: a call of its last minutes may reach over it.
        shared.iter().filter(|o| straddling.contains(&o.observation_id)).for_each(|o| keys.add(o));
        touched.extend(passing);
        let calls = calls.into_iter().filter(|(start, _)| touched.contains(start)).collect();
        Computed { slices: touched, calls, keys, absorbed }
    };
    heavy(work).await.map_err(|_| PipelineError::Stopped)
}

/// Slices whose observations have left the archive can't be computed. What still arrives for them is merged with the
/// ledger: a call that is there stays as it is, another is added and marked late.
fn beyond_archive(
    observations: Vec<Arc<Observation>>,
    existing: Vec<Call>,
    within: Interval,
    news: &News,
    rules: &Rules,
    now: Timestamp,
) -> Slices {
    type Id<'a> = (u8, &'a str, &'a str);
    fn ids(call: &Call) -> impl Iterator<Item = Id<'_>> {
        let span = call.trace_id.as_deref().zip(call.span_id.as_deref()).map(|(trace, span)| (2, trace, span));
        let id = |kind: u8, id: &Option<String>| id.clone().map(|_| kind);
        let request = id(0, &call.provider_request_id).zip(call.provider_request_id.as_deref());
        let response = id(1, &call.response_id).zip(call.response_id.as_deref());
        let named = [request, response].into_iter().flatten().map(|(kind, id)| (kind, id, ""));
        named.chain(span)
    }
    let computed = slices(observations, within, news, rules, now);
    let known: HashSet<_> = existing.iter().map(|call| call.call_id).collect();
    let linked: HashSet<Id<'_>> = existing.iter().flat_map(ids).collect();
    let is_new = |call: &&Call| !known.contains(&call.call_id) && !ids(call).any(|id| linked.contains(&id));
    let mut added: Vec<Call> = Vec::new();
    for start in &computed.touched {
        added.extend(computed.calls.get(start).into_iter().flatten().filter(is_new).cloned());
    }
    let touched = added.iter().map(|call| call.ts.floor(SLICE_US)).collect();
    for call in &mut added {
        call.tags.insert(LATE_TAG.to_owned(), "true".to_owned());
    }
    let mut calls: BTreeMap<Timestamp, Vec<Call>> = BTreeMap::new();
    for call in existing.into_iter().filter(|call| within.contains(call.ts)).chain(added) {
        calls.entry(call.ts.floor(SLICE_US)).or_default().push(call);
    }
    for calls in calls.values_mut() {
        calls.sort_by_key(|call| (call.ts, call.call_id));
    }
    Slices { calls, touched, ..computed }
}
