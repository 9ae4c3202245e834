//! Metrics that a shipper already took from the Metrics REST API and renamed: one event per combination of dimensions,
//! with all its metrics below `azure.open_ai` in snake case.
//! <https://www.elastic.co/docs/reference/integrations/azure_openai>

use super::metrics::{finish, new, read_values, seconds, set_dimension};
use super::naming;
use super::record::{Fields, text};
use crate::model::{Normalized, RecordRef, Timestamp};

/// True for an event of the shipper that holds metrics.
pub fn is_event(fields: &Fields<'_>) -> bool {
    fields.object("azure").is_some_and(|azure| azure.object("open_ai").is_some())
}

/// All metrics of one event.
pub fn event(fields: &Fields<'_>, at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
    let before = out.len();
    let azure = fields.object("azure").unwrap_or_default();
    let resource = azure.object("resource").and_then(|resource| resource.text("id")).map(|id| id.to_ascii_lowercase());
    let time = fields.text("@timestamp").as_deref().and_then(Timestamp::parse);
    let cloud = fields.object("cloud").and_then(|cloud| cloud.text("region"));
    let metrics = azure.object("open_ai").unwrap_or_default();
    for (name, values) in metrics.iter() {
        let Some(values) = Fields::parse(values.get()) else { continue };
        let mut metric = new(at, name, resource.clone());
        if !read_values(&values, &mut metric) {
            continue;
        }
        metric.interval_s = azure.text("timegrain").as_deref().and_then(seconds);
        metric.region = cloud.as_deref().and_then(naming::region);
        metric.account = metric.account.or_else(|| azure.text("subscription_id").map(|id| id.to_ascii_lowercase()));
        if let Some(dimensions) = azure.object("dimensions") {
            for (key, value) in dimensions.iter() {
                if let Some(value) = text(value) {
                    set_dimension(&mut metric, key, value);
                }
            }
        }
        out.push(finish(metric, time));
    }
    if out.len() == before {
        out.push(Normalized::Skipped("empty_metrics"));
    }
}
