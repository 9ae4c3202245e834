//! `polymeter explain`: the spans and records of a call as a tree, what joined or left out each, and where every figure
//! comes from. Also beside a running server.

mod gather;
mod json;
mod tree;

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;

use super::{StoreOptions, existing_store, rules};
use crate::clock::{Clock, SystemClock};
use crate::columns::Row;
use crate::model::{Call, RecordId};
use crate::pipeline::load_view;
use crate::query::{Engine, Limits};
use crate::settle::explain as explained;
use gather::Evidence;

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
    let rules = rules::rules(&store, options.principals.clone()).await?;
    let view = load_view(&store, &rules, SystemClock.now()).await?;
    let engine = Engine::new(Limits { rows: gather::MOST, ..Limits::default() }, Arc::clone(&rules))?;
    let evidence = Evidence { engine: &engine, view: &view };
    let (observations, wanted) = match subject {
        Subject::Trace(id) => {
            let id = hex(id, 32, "a trace id")?;
            (evidence.of_trace(&id).await?, None)
        }
        Subject::Call(id) => {
            let id = hex(id, 32, "a call id")?;
            (evidence.of_call(&id).await?, RecordId::parse(&id))
        }
    };
    if observations.is_empty() {
        bail!(
            "the store holds no record of it; ids are shown by `polymeter sql \"SELECT call_id, trace_id FROM calls\"`, \
             and observations are kept for the time of [retention] only"
        );
    }
    let explanation = explained(observations, &rules);
    let ids: Vec<String> = explanation.calls.iter().map(|explained| explained.call.call_id.to_string()).collect();
    let mut settled = Vec::new();
    // A list that is empty is no SQL.
    for ids in ids.chunks(gather::IDS) {
        let rows = format!("SELECT * FROM calls WHERE call_id IN ({})", gather::listed(ids));
        for batch in evidence.ask(&rows).await? {
            settled.append(&mut Call::decode(&batch)?);
        }
    }
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &json::told(&explanation, &settled, wanted))?;
        return Ok(writeln!(out)?);
    }
    Ok(tree::write(&mut out, &explanation, &settled, wanted)?)
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
