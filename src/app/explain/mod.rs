//! `polymeter explain`: the spans and records of a call as a tree, what joined or left out each, and where every figure
//! comes from. Also beside a running server.

mod gather;
mod json;
mod tree;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::{StoreOptions, existing_store, rules};
use crate::clock::{Clock, SystemClock};
use crate::model::{Call, Observation, RecordId};
use crate::pipeline::load_view;
use crate::query::{Engine, Limits};
use crate::settle::{CallExplained, Explanation, Rules, Seen, explain as explained, group};
use crate::store::Store;
use gather::{Evidence, Gathered};

/// What to explain.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Everything in one trace, by its id.
    Trace(String),
    /// One call, by its id.
    Call(String),
}

/// Explains on standard output.
///
/// # Errors
/// There is no store, or nothing in it has this id.
pub async fn explain(options: StoreOptions, subject: &Subject, json: bool) -> anyhow::Result<()> {
    let store = existing_store(&options.data).await?;
    let rules = rules::rules(&store, &options.said).await?;
    let view = load_view(&store, &rules, SystemClock.now()).await?;
    let engine = Engine::new(limits(), Arc::clone(&rules))?;
    let evidence = Evidence { engine: &engine, view: &view };
    let (gathered, wanted) = match subject {
        Subject::Trace(id) => {
            let id = hex(id, 32, "a trace id")?;
            (evidence.of_trace(&id).await?, None)
        }
        Subject::Call(id) => {
            let id = hex(id, 32, "a call id")?;
            (evidence.of_call(&id).await?, RecordId::parse(&id))
        }
    };
    if gathered.observations.is_empty() {
        bail!(NO_RECORD);
    }
    let (explanation, wanted) = match wanted {
        None => (explained(gathered.observations, &rules), None),
        Some(wanted) => own(gathered.observations, &rules, wanted),
    };
    let ids: Vec<String> = explanation.calls.iter().map(|explained| explained.call.call_id.to_string()).collect();
    let settled = evidence.calls(&ids).await?.into_iter().map(|row| (row.call_id, row)).collect();
    let Gathered { deliveries, incomplete, .. } = gathered;
    let answer = Answer { explanation, settled, wanted, deliveries, incomplete };
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &json::told(&answer))?;
        return Ok(writeln!(out)?);
    }
    Ok(tree::write(&mut out, &answer)?)
}

const NO_RECORD: &str = "the store holds no record of it; ids are shown by `polymeter sql \"SELECT call_id, trace_id FROM \
    calls\"`, and observations are kept for the time of [retention] only";

/// Long lists of long ids, and nobody else who waits.
fn limits() -> Limits {
    Limits { rows: gather::MOST, text_bytes: 1 << 20, time: Duration::from_secs(300), ..Limits::default() }
}

/// A call as its records tell it by these rules, and its row in the ledger.
///
/// # Errors
/// The store has no record of it, or there is no such call by these rules.
pub(super) async fn explained_call(
    store: &Store,
    rules: &Arc<Rules>,
    id: &str,
) -> anyhow::Result<(CallExplained, Option<Call>)> {
    let view = load_view(store, rules, SystemClock.now()).await?;
    let engine = Engine::new(limits(), Arc::clone(rules))?;
    let evidence = Evidence { engine: &engine, view: &view };
    let id = hex(id, 32, "a call id")?;
    let wanted = RecordId::parse(&id).context("this is no call id")?;
    let gathered = evidence.of_call(&id).await?;
    if gathered.observations.is_empty() {
        bail!(NO_RECORD);
    }
    let (explanation, _) = own(gathered.observations, rules, wanted);
    let explained = explanation.calls.into_iter().find(|explained| explained.call.call_id == wanted);
    let explained = explained.context("its records make no such call any more; see `polymeter explain --call`")?;
    Ok((explained, evidence.calls(&[id]).await?.pop()))
}

/// What is shown.
struct Answer {
    explanation: Explanation,
    /// The rows of `calls`.
    settled: HashMap<RecordId, Call>,
    /// The only call that is shown, if one was asked for.
    wanted: Option<RecordId>,
    /// How often each record was delivered.
    deliveries: HashMap<RecordId, usize>,
    /// Said where there is more than is shown.
    incomplete: Option<String>,
}

impl Answer {
    /// How often a record was delivered, at least by each of its sources.
    fn deliveries(&self, seen: &Seen) -> usize {
        self.deliveries.get(&seen.observation.observation_id).copied().unwrap_or(0).max(seen.sources.len())
    }

    fn is_wanted(&self, call: &Call) -> bool {
        self.wanted.is_none_or(|id| id == call.call_id)
    }
}

/// What is linked to a call, without strangers that the search met on its way. With other rules than it was settled by,
/// there may be no such call any more: then all of it.
fn own(observations: Vec<Arc<Observation>>, rules: &Rules, wanted: RecordId) -> (Explanation, Option<RecordId>) {
    for group in group(observations.clone()) {
        let explanation = explained(group, rules);
        if explanation.calls.iter().any(|explained| explained.call.call_id == wanted) {
            return (explanation, Some(wanted));
        }
    }
    (explained(observations, rules), None)
}

/// Lower-case hex of this length.
fn hex(text: &str, length: usize, what: &str) -> anyhow::Result<String> {
    let id = text.trim().to_ascii_lowercase().replace('-', "");
    if id.len() != length || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("'{text}' is not {what}: it has {length} hex digits");
    }
    Ok(id)
}

/// The columns in which the settled row differs from what its observations say today.
fn differing(settled: &Call, today: &Call) -> Vec<&'static str> {
    let columns: [(&str, bool); 9] = [
        ("ts", settled.ts == today.ts),
        ("outcome", settled.outcome == today.outcome),
        ("usage", settled.usage == today.usage && settled.usage_status == today.usage_status),
        ("model", settled.model == today.model && settled.publisher == today.publisher),
        ("platform", settled.platform == today.platform && settled.region == today.region),
        ("cost", settled.cost == today.cost && settled.list_cost == today.list_cost),
        ("team", settled.team == today.team && settled.feature == today.feature),
        ("attempt", settled.attempt == today.attempt),
        ("witnesses", settled.witnesses == today.witnesses),
    ];
    columns.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}
