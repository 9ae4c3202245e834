//! Everything in the store that may belong to the same calls: from the ids of what is known to what bears one of them,
//! until nothing new turns up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::bail;
use arrow::array::RecordBatch;

use crate::columns::Row;
use crate::ledger::View;
use crate::model::{Call, Observation, RecordId, Timestamp};
use crate::query::{Engine, Params};
use crate::settle::LINK_WINDOW_US;

/// Most observations that are explained at once.
pub const MOST: usize = 20_000;
/// Most ids of one kind that are asked for at once.
pub const IDS: usize = 500;
/// From a span to its gateway's record to the provider's log and back: more steps only meet strangers.
const STEPS: usize = 6;

/// A store that can be asked.
pub struct Evidence<'a> {
    pub engine: &'a Engine,
    pub view: &'a View,
}

type Found = BTreeMap<(RecordId, String), Arc<Observation>>;

impl Evidence<'_> {
    /// The answer to a statement.
    pub async fn ask(&self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let mut answer = self.engine.run(self.view, sql, Params::None).await?;
        let batches = answer.collect().await?;
        if answer.truncated() {
            bail!("there are more than {MOST} records of it");
        }
        Ok(batches)
    }

    /// What belongs to the calls of a trace.
    pub async fn of_trace(&self, trace_id: &str) -> anyhow::Result<Vec<Arc<Observation>>> {
        self.around(&format!("trace_id = '{trace_id}'")).await
    }

    /// What belongs to a call.
    pub async fn of_call(&self, call_id: &str) -> anyhow::Result<Vec<Arc<Observation>>> {
        let mut calls = Vec::new();
        for batch in self.ask(&format!("SELECT * FROM calls WHERE call_id = '{call_id}'")).await? {
            calls.append(&mut Call::decode(&batch)?);
        }
        let Some(call) = calls.first() else { return Ok(Vec::new()) };
        let near = between(call.ts, call.ts);
        let mut ids = vec![format!("ts = {}", instant(call.ts))];
        let named = [
            ("trace_id", &call.trace_id),
            ("provider_request_id", &call.provider_request_id),
            ("response_id", &call.response_id),
        ];
        ids.extend(named.into_iter().filter_map(|(column, id)| Some(equals(column, [id.as_deref()?]))));
        self.around(&format!("{near} AND ({})", ids.join(" OR "))).await
    }

    async fn around(&self, first: &str) -> anyhow::Result<Vec<Arc<Observation>>> {
        let mut found = Found::new();
        let mut condition = Some(first.to_owned());
        for _ in 0..STEPS {
            let Some(asked) = condition else { break };
            let before = found.len();
            for batch in self.ask(&format!("SELECT * FROM observations WHERE {asked}")).await? {
                let rows = Observation::decode(&batch)?.into_iter().map(Arc::new);
                found.extend(rows.map(|row| ((row.observation_id, row.source.clone()), row)));
            }
            condition = if found.len() > before { next(&found) } else { None };
        }
        Ok(found.into_values().collect())
    }
}

/// What bears an id of what was found.
fn next(found: &Found) -> Option<String> {
    let times = || found.values().map(|observation| observation.ts);
    let near = between(times().min()?, times().max()?);
    let ids = |of: fn(&Observation) -> &Option<String>| -> BTreeSet<&str> {
        found.values().filter_map(|observation| of(observation).as_deref()).take(IDS).collect()
    };
    let mut conditions: Vec<String> = [
        ("trace_id", ids(|o| &o.trace_id)),
        ("provider_request_id", ids(|o| &o.provider_request_id)),
        ("response_id", ids(|o| &o.response_id)),
        ("gateway_request_id", ids(|o| &o.gateway_request_id)),
        ("chain_id", ids(|o| &o.chain_id)),
    ]
    .into_iter()
    .filter(|(_, ids)| !ids.is_empty())
    .map(|(column, ids)| equals(column, ids))
    .collect();
    // What failed without an id may have been told twice, at the same moment.
    let nameless = found.values().filter(|o| {
        o.outcome.is_some() && o.service.is_some() && o.provider_request_id.is_none() && o.response_id.is_none()
    });
    conditions.extend(nameless.take(20).map(|o| {
        let (from, to) = (instant(o.ts.plus(-50_000)), instant(o.ts.plus(50_000)));
        let service = equals("service", o.service.as_deref());
        format!("({service} AND outcome <> 'ok' AND ts BETWEEN {from} AND {to})")
    }));
    (!conditions.is_empty()).then(|| format!("{near} AND ({})", conditions.join(" OR ")))
}

/// Where a link can reach.
fn between(first: Timestamp, last: Timestamp) -> String {
    let reach = 2 * LINK_WINDOW_US;
    format!("ts BETWEEN {} AND {}", instant(first.plus(-reach)), instant(last.plus(reach)))
}

fn instant(at: Timestamp) -> String {
    format!("TIMESTAMP '{at}'")
}

fn equals<'a>(column: &str, ids: impl IntoIterator<Item = &'a str>) -> String {
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    format!("{column} IN ({})", listed(&ids))
}

/// Text literals; ids come from strangers.
pub fn listed(ids: &[String]) -> String {
    ids.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}
