//! Which try of its request a call is. Tries of one request share a chain that somebody named, or follow each other below
//! one span; each that reached a provider and left a record is a call of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::count::{LINK_WINDOW_US, Witnessed};
use crate::model::{Call, Outcome};

/// What tries of one request have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// A gateway says so.
    Named(String),
    /// Spans with one parent: trace and parent.
    Siblings(String, String),
}

/// Tries before one that are looked at.
const MOST_TRIES: usize = 100;
/// Clocks of one process; a try begins when the one before it has ended.
const TOLERANCE_US: i64 = 5_000;
/// Tag of a call: tries at the provider that left no record of their own.
const HIDDEN: &str = "retries";
/// The same of a whole chain, on all its calls; the one that was answered came after them.
const HIDDEN_IN_CHAIN: &str = "chain_retries";

/// The chains that a call may be part of, by any of its witnesses.
pub fn chains(witnesses: &[Witnessed<'_>]) -> BTreeSet<Chain> {
    let mut chains = BTreeSet::new();
    for span in witnesses.iter().map(|witnessed| witnessed.observation) {
        chains.extend(span.chain_id.clone().map(Chain::Named));
        if let (Some(trace), Some(parent)) = (&span.trace_id, &span.parent_span_id) {
            chains.insert(Chain::Siblings(trace.clone(), parent.clone()));
        }
    }
    chains
}

/// Numbers the tries: the first is 1, and each follows failed ones only. One that somebody counted although it left no
/// record counts too. Nothing further back than the window of a link is looked at, so that a slice of the ledger depends
/// on its neighbourhood only.
pub fn number(calls: &mut [(Call, BTreeSet<Chain>)]) {
    let mut by_chain: BTreeMap<&Chain, Vec<usize>> = BTreeMap::new();
    for (index, (_, chains)) in calls.iter().enumerate() {
        chains.iter().for_each(|chain| by_chain.entry(chain).or_default().push(index));
    }
    let mut before = vec![0_u16; calls.len()];
    for (chain, mut members) in by_chain {
        members.sort_unstable_by_key(|index| calls.get(*index).map(|(call, _)| (call.ts, call.call_id)));
        for at in 0..members.len() {
            // Nobody tries more often; a trace of thousands must not cost their square.
            let earlier = members.iter().take(at).rev().take(MOST_TRIES);
            let Some((own, (call, _))) = members.get(at).and_then(|own| Some((own, calls.get(*own)?))) else {
                continue;
            };
            let failed =
                earlier.filter_map(|index| calls.get(*index)).take_while(|(other, _)| leads_to(chain, other, call));
            let count =
                failed.fold(0_u16, |sum, (other, _)| sum.saturating_add(1).saturating_add(hidden(other, HIDDEN)));
            if let Some(before) = before.get_mut(*own) {
                *before = count.max(*before);
            }
        }
    }
    for ((call, _), before) in calls.iter_mut().zip(before) {
        let own = if call.outcome == Outcome::Ok {
            hidden(call, HIDDEN).max(hidden(call, HIDDEN_IN_CHAIN))
        } else {
            hidden(call, HIDDEN)
        };
        call.attempt = Some(before.saturating_add(own).saturating_add(1));
    }
}

fn hidden(call: &Call, tag: &str) -> u16 {
    call.tags.get(tag).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Whether `next` may be another try after `call`.
fn leads_to(chain: &Chain, call: &Call, next: &Call) -> bool {
    let failed = !matches!(call.outcome, Outcome::Ok | Outcome::Unknown);
    let ended = || {
        let took = call.duration_ms.or(call.provider_duration_ms).unwrap_or(0.0);
        let took = std::time::Duration::try_from_secs_f64(took / 1e3).unwrap_or_default();
        call.ts.0.saturating_add(i64::try_from(took.as_micros()).unwrap_or(i64::MAX))
    };
    failed
        && next.ts.0 - call.ts.0 <= LINK_WINDOW_US
        // What runs beside it is other work below the same span.
        && (matches!(chain, Chain::Named(_))
            || (call.operation == next.operation && ended() <= next.ts.0 + TOLERANCE_US))
}
