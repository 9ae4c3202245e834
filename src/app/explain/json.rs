//! An explanation for programs.

use serde_json::{Value, json};

use super::tree::{left_out, rule};
use super::{Answer, differing};

/// All of it; texts as they are stored.
pub fn told(answer: &Answer) -> Value {
    let Answer { explanation, settled, .. } = answer;
    let calls = explanation.calls.iter().filter(|explained| answer.is_wanted(&explained.call));
    let calls: Vec<Value> = calls
        .map(|explained| {
            let call = &explained.call;
            let row = settled.get(&call.call_id);
            json!({
                "call_id": call.call_id.to_string(),
                "model": call.model,
                "publisher": call.publisher,
                "attempt": call.attempt,
                "conflict": call.conflict,
                "usage_status": call.usage_status.to_string(),
                "cost": call.cost.map(|cost| cost.0.normalize().to_string()),
                "currency": call.currency,
                "cost_status": call.cost_status.to_string(),
                "in_calls": row.is_some(),
                "differs": row.map(|row| differing(row, call)),
                "witnesses": explained.witnesses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "joined": explained.joined.iter().map(|joined| json!({
                    "a": joined.a.to_string(), "b": joined.b.to_string(), "rule": rule(joined.rule),
                })).collect::<Vec<_>>(),
                "figures": explained.figures.iter().map(|figure| json!({
                    "column": figure.column, "value": figure.value, "from": figure.from.map(|id| id.to_string()),
                })).collect::<Vec<_>>(),
                "price": explained.priced.lines.iter().map(|line| json!({
                    "bucket": line.bucket.as_str(), "quantity": line.quantity, "rate_id": line.rate_id,
                    "unit_price": line.unit_price.map(|price| price.to_string()),
                    "cost": line.cost.map(|cost| cost.0.normalize().to_string()),
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let records: Vec<Value> = explanation
        .seen
        .iter()
        .map(|seen| {
            let o = &seen.observation;
            json!({
                "observation_id": o.observation_id.to_string(),
                "ts": o.ts.to_string(),
                "dialect": o.dialect,
                "witness": o.witness.to_string(),
                "sources": seen.sources,
                "deliveries": answer.deliveries(seen),
                "trace_id": o.trace_id,
                "span_id": o.span_id,
                "parent_span_id": o.parent_span_id,
                "left_out": seen.left_out.map(|reason| left_out(reason, o)),
            })
        })
        .collect();
    json!({"calls": calls, "records": records, "incomplete": answer.incomplete})
}
