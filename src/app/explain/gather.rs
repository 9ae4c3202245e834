//! Everything in the store that may belong to the same calls: from the ids of what is known to what bears one of them,
//! until nothing new turns up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::columns::Row as _;
use crate::ledger::View;
use crate::model::{Call, Observation, Outcome, RecordId, Timestamp};
use crate::query::{Engine, Params};
use crate::settle::LINK_WINDOW_US;

/// Most observations that are explained at once.
pub const MOST: usize = 20_000;
/// Most ids of one kind that are asked for at once; more are asked for one lot after the other.
const IDS: usize = 500;
/// Most moments that are asked for at once.
const MOMENTS: usize = 20;
/// From a span to its gateway's record to the provider's log and back: more steps only meet strangers.
const STEPS: usize = 6;

/// How far from each other in time witnesses of a call are, with one between them.
const REACH_US: i64 = 2 * LINK_WINDOW_US;

/// A store that can be asked.
pub struct Evidence<'a> {
    pub engine: &'a Engine,
    pub view: &'a View,
}

/// A row of `observations`: record, source, when it was read, what time it has. A record that was delivered again has
/// several, which may differ.
type Row = (RecordId, String, Timestamp, Timestamp);

/// What was found.
pub struct Gathered {
    /// Every row that differs from the others.
    pub observations: Vec<Arc<Observation>>,
    /// How often each record was delivered.
    pub deliveries: HashMap<RecordId, usize>,
    /// Said where there is more than is shown.
    pub incomplete: Option<String>,
}

impl Evidence<'_> {
    /// The answer to a statement, and whether it was cut.
    async fn answer(&self, sql: &str) -> anyhow::Result<(Vec<RecordBatch>, bool)> {
        let mut answer = self.engine.run(self.view, sql, Params::None).await?;
        let batches = answer.collect().await?;
        Ok((batches, answer.truncated()))
    }

    /// Rows of `calls`.
    pub async fn calls(&self, ids: &[String]) -> anyhow::Result<Vec<Call>> {
        let mut calls = Vec::new();
        // A list that is empty is no SQL.
        for ids in ids.chunks(IDS) {
            let (batches, _) = self.answer(&format!("SELECT * FROM calls WHERE call_id IN ({})", listed(ids))).await?;
            for batch in batches {
                calls.append(&mut Call::decode(&batch)?);
            }
        }
        Ok(calls)
    }

    /// What belongs to the calls of a trace.
    pub async fn of_trace(&self, trace_id: &str) -> anyhow::Result<Gathered> {
        let mut search = Search::new(self, "ts".to_owned());
        search.asked.insert(("trace_id", trace_id.to_owned()), (Timestamp(i64::MIN), Timestamp(i64::MAX)));
        search.around(&[format!("trace_id = '{trace_id}'")]).await
    }

    /// What belongs to a call.
    pub async fn of_call(&self, call_id: &str) -> anyhow::Result<Gathered> {
        let calls = self.calls(&[call_id.to_owned()]).await?;
        let Some(call) = calls.first() else {
            return Ok(Gathered { observations: Vec::new(), deliveries: HashMap::new(), incomplete: None });
        };
        let near = between(call.ts, call.ts);
        let named = [
            ("provider_request_id", &call.provider_request_id),
            ("response_id", &call.response_id),
            ("trace_id", &call.trace_id),
        ];
        let ids = named.iter().filter_map(|(column, id)| Some(equals(column, [id.as_deref()?])));
        let mut first: Vec<String> = ids.map(|condition| format!("{near} AND {condition}")).collect();
        if first.is_empty() {
            // Of a call without an id no witness has one; others of its moment are strangers.
            let nameless = named.map(|(column, _)| format!("{column} IS NULL")).join(" AND ");
            first.push(format!("ts = {} AND {nameless}", instant(call.ts)));
        }
        // Where there is too much, what is nearest.
        let order = format!("abs(CAST(ts AS BIGINT) - {}), ts", call.ts.0);
        Search::new(self, order).around(&first).await
    }
}

/// What was found, and what was asked for to find it.
struct Search<'a> {
    evidence: &'a Evidence<'a>,
    order: String,
    found: BTreeMap<Row, (Arc<Observation>, usize)>,
    /// Ids by column, and the time in which each was looked for.
    asked: HashMap<(&'static str, String), Span>,
    /// Records whose moment was looked at.
    moments: HashSet<RecordId>,
    incomplete: Option<String>,
}

/// From and to.
type Span = (Timestamp, Timestamp);

impl<'a> Search<'a> {
    fn new(evidence: &'a Evidence<'a>, order: String) -> Self {
        Self {
            evidence,
            order,
            found: BTreeMap::new(),
            asked: HashMap::new(),
            moments: HashSet::new(),
            incomplete: None,
        }
    }

    async fn around(mut self, first: &[String]) -> anyhow::Result<Gathered> {
        for condition in first {
            self.take(condition, true).await?;
        }
        for _ in 0..STEPS {
            let conditions = self.next();
            if conditions.is_empty() || self.incomplete.is_some() {
                break;
            }
            for condition in &conditions {
                self.take(condition, false).await?;
            }
        }
        let mut deliveries = HashMap::new();
        for ((id, ..), (_, times)) in &self.found {
            *deliveries.entry(*id).or_default() += times;
        }
        let observations = self.found.into_values().map(|(observation, _)| observation).collect();
        Ok(Gathered { observations, deliveries, incomplete: self.incomplete })
    }

    /// Takes in what a statement finds, unless there is enough.
    async fn take(&mut self, condition: &str, is_first: bool) -> anyhow::Result<()> {
        let before = self.found.len();
        if self.incomplete.is_some() {
            return Ok(());
        }
        if before >= MOST {
            self.incomplete = Some(format!("showing {before} records; there may be more that belong to them"));
            return Ok(());
        }
        let order = &self.order;
        let sql = format!("SELECT * FROM observations WHERE {condition} ORDER BY {order} LIMIT {}", MOST + 1);
        let (batches, cut) = self.evidence.answer(&sql).await?;
        // Each statement finds all copies of what it finds; several statements find the same rows.
        let mut times: HashMap<Row, usize> = HashMap::new();
        for batch in batches {
            for row in Observation::decode(&batch)? {
                let key = (row.observation_id, row.source.clone(), row.observed_at, row.ts);
                let here = times.entry(key.clone()).or_default();
                *here += 1;
                let entry = self.found.entry(key).or_insert_with(|| (Arc::new(row), 0));
                entry.1 = entry.1.max(*here);
            }
        }
        if cut {
            let sql = format!("SELECT count(*) AS n FROM observations WHERE {condition}");
            let all: i64 = self.evidence.answer(&sql).await?.0.iter().filter_map(number).sum();
            self.incomplete = Some(if is_first && before == 0 {
                format!("showing the first {MOST} of {all} records")
            } else {
                format!("showing {} records; there are more that belong to them", self.found.len())
            });
        }
        Ok(())
    }

    /// What bears an id of what was found, and was not asked for yet.
    fn next(&mut self) -> Vec<String> {
        let mut borne: BTreeMap<(&'static str, &str), Span> = BTreeMap::new();
        for (observation, _) in self.found.values() {
            let ids = [
                ("trace_id", &observation.trace_id),
                ("provider_request_id", &observation.provider_request_id),
                ("response_id", &observation.response_id),
                ("gateway_request_id", &observation.gateway_request_id),
                ("chain_id", &observation.chain_id),
            ];
            for (column, id) in ids {
                let Some(id) = id.as_deref() else { continue };
                let (from, to) = borne.entry((column, id)).or_insert((observation.ts, observation.ts));
                (*from, *to) = ((*from).min(observation.ts), (*to).max(observation.ts));
            }
        }
        let mut open: BTreeMap<&'static str, Vec<(Span, String)>> = BTreeMap::new();
        for ((column, id), (from, to)) in borne {
            let span = (from.plus(-REACH_US), to.plus(REACH_US));
            let asked = self.asked.get(&(column, id.to_owned()));
            if asked.is_none_or(|asked| span.0 < asked.0 || span.1 > asked.1) {
                open.entry(column).or_default().push((span, id.to_owned()));
            }
        }
        let mut conditions = self.moments();
        for (column, mut ids) in open {
            // What is near in time is asked for together.
            ids.sort_unstable();
            for ids in ids.chunks(IDS) {
                let from = ids.iter().map(|(span, _)| span.0).min().unwrap_or_default();
                let to = ids.iter().map(|(span, _)| span.1).max().unwrap_or_default();
                let listed = equals(column, ids.iter().map(|(_, id)| id.as_str()));
                conditions.push(format!("{} AND {listed}", within(from, to)));
                for (_, id) in ids {
                    let asked = self.asked.entry((column, id.clone())).or_insert((from, to));
                    *asked = (asked.0.min(from), asked.1.max(to));
                }
            }
        }
        conditions
    }

    /// What failed without an id may have been told twice, at the same moment.
    fn moments(&mut self) -> Vec<String> {
        let mut conditions = Vec::new();
        for (o, _) in self.found.values() {
            let is_nameless = o.outcome.is_some_and(|outcome| outcome != Outcome::Ok)
                && o.service.is_some()
                && o.provider_request_id.is_none()
                && o.response_id.is_none();
            if is_nameless && self.moments.insert(o.observation_id) {
                let service = equals("service", o.service.as_deref());
                let moment = within(o.ts.plus(-50_000), o.ts.plus(50_000));
                conditions.push(format!("({service} AND outcome <> 'ok' AND {moment})"));
            }
        }
        conditions.chunks(MOMENTS).map(|some| some.join(" OR ")).collect()
    }
}

fn number(batch: &RecordBatch) -> Option<i64> {
    batch.columns().first()?.as_primitive_opt::<Int64Type>()?.values().first().copied()
}

/// Where a link can reach.
fn between(first: Timestamp, last: Timestamp) -> String {
    within(first.plus(-REACH_US), last.plus(REACH_US))
}

fn within(from: Timestamp, to: Timestamp) -> String {
    format!("ts BETWEEN {} AND {}", instant(from), instant(to))
}

fn instant(at: Timestamp) -> String {
    format!("TIMESTAMP '{at}'")
}

fn equals<'a>(column: &str, ids: impl IntoIterator<Item = &'a str>) -> String {
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    format!("{column} IN ({})", listed(&ids))
}

/// Text literals; ids come from strangers.
fn listed(ids: &[String]) -> String {
    ids.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}
