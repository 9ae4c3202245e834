//! `RequestResponse`: one row per request until 2025, usually two since, one of them a placeholder.

use super::naming::{Operation, counts_cache_apart};
use super::record::BadCount;
use super::row::{Row, before, finish, mark_cache_apart, set_time, set_usage, tag};
use crate::model::{Normalized, Observation, Outcome, Timestamp, Usage, Witness};

const DIALECT: &str = "azure.request_response";

/// Normalizes a row of the category `RequestResponse`.
pub fn normalize(row: &Row<'_>) -> Normalized {
    let operation = row.top.text("operationName").map(|name| Operation::parse(&name));
    let counts = match Counts::read(row) {
        Ok(counts) => counts,
        Err(error) => return finish(Err(error)),
    };
    if is_call(row, operation.as_ref(), &counts) {
        finish(Ok(observe(row, operation.as_ref(), &counts)))
    } else {
        Normalized::Skipped("not_a_call")
    }
}

/// Counts as written. `None` where the row does not say.
struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    cached: Option<u64>,
}

impl Counts {
    fn read(row: &Row<'_>) -> Result<Self, BadCount> {
        let completion = row.count("completionTokens")?.or(row.count("generatedTokens")?);
        Ok(Self { prompt: row.count("promptTokens")?, completion, cached: row.count("cachedTokens")? })
    }

    fn any(&self) -> bool {
        [self.prompt, self.completion].iter().flatten().any(|n| *n > 0)
    }

    /// Both counts are there and 0.
    const fn are_zero(&self) -> bool {
        matches!((self.prompt, self.completion), (Some(0), Some(0)))
    }

    /// `None` everywhere for a good answer with two zeros: no model answers an empty prompt with nothing, so the zeros
    /// stand for counts that the row does not have (they lie on another row of the request).
    fn usage(&self, status: Option<u16>, cache_apart: bool) -> Usage {
        let failed = status.is_some_and(|status| status >= 400);
        if !(self.any() || failed && self.are_zero()) {
            return Usage::default();
        }
        if cache_apart {
            return Usage::from_disjoint(self.prompt, self.cached, None, self.completion);
        }
        Usage { input: self.prompt, cache_read: self.cached, output: self.completion, ..Usage::default() }
    }
}

/// A row speaks of a model call if its operation is inference or it names a model, deployment or counts.
fn is_call(row: &Row<'_>, operation: Option<&Operation>, counts: &Counts) -> bool {
    if counts.any() {
        return true;
    }
    let names_model = ["modelDeploymentName", "modelName"].iter().any(|name| row.text(name).is_some());
    match operation {
        Some(Operation::Managing) => false,
        Some(Operation::Inference(_)) => true,
        Some(Operation::Other(_)) | None => names_model || row.text("streamType").is_some(),
    }
}

fn observe(row: &Row<'_>, operation: Option<&Operation>, counts: &Counts) -> Observation {
    let mut observation = row.observation(DIALECT, Witness::ProviderLog);
    let status = row.status("resultSignature");
    let written_ms = row.top.number("durationMs").or_else(|| row.properties.number("durationMs"));
    let (start, end) = (row.instant("requestTime"), row.instant("responseTime"));
    let ticks_ms = start.zip(end).map(|(start, end)| end.millis_since(start)).filter(|ms| *ms >= 0.0);
    let elapsed_ms = ticks_ms.or(written_ms.filter(|ms| *ms >= 0.0));
    let streaming = streaming(row);

    observation.provider_request_id = row.correlation();
    observation.http_status = status;
    observation.outcome = status.map(Outcome::from_http_status);
    observation.streaming = streaming;
    observation.operation = operation.and_then(Operation::canonical);
    observation.principal = row.text("callerObjectId").or_else(|| row.text("objectId"));
    observation.model_version = row.text("modelVersion");
    // Family and vendor of the model are the catalog's business.
    let (deployment, model) = (row.text("modelDeploymentName"), row.text("modelName"));
    row.name_model(&mut observation, deployment.clone(), model.clone());
    tag(&mut observation, "azure.operation", row.top.text("operationName"));

    if is_placeholder(row, status, written_ms, ticks_ms, counts) {
        // It says 200 even where the request ended with 429 on its other row.
        observation.witness = Witness::Placeholder;
        observation.outcome = None;
    } else {
        let cache_apart = counts_cache_apart(model.as_deref(), deployment.as_deref());
        set_usage(&mut observation, counts.usage(status, cache_apart));
        mark_cache_apart(&mut observation, cache_apart);
        if streaming == Some(true) {
            // The clock of a stream stops when the response begins.
            tag(&mut observation, "azure.time_to_response_ms", elapsed_ms.map(|ms| ms.to_string()));
        } else {
            observation.duration_ms = elapsed_ms;
        }
    }
    // `time` is when the row was emitted, after the response: only a stand-in for the ticks.
    let emitted = row.time().map(|time| before(time, elapsed_ms.unwrap_or(0.0)));
    set_time(&mut observation, start.or(emitted), row.at);
    observation.observation_id = identify(row, &observation, written_ms, (start, end), counts);
    observation
}

fn streaming(row: &Row<'_>) -> Option<bool> {
    match row.text("streamType")?.to_ascii_lowercase().as_str() {
        "streaming" | "stream" | "true" => Some(true),
        "non-streaming" | "nonstreaming" | "non_streaming" | "false" => Some(false),
        _ => None,
    }
}

/// The empty 200 beside the row that says how a request went: no time passed and nothing was counted. Where the row has
/// no counts at all, nothing else may speak for it either: no time between the ticks, no answer.
fn is_placeholder(
    row: &Row<'_>,
    status: Option<u16>,
    written_ms: Option<f64>,
    ticks_ms: Option<f64>,
    counts: &Counts,
) -> bool {
    let instant = |ms: f64| ms.abs() < 1.0;
    if status != Some(200) || counts.any() {
        return false;
    }
    let no_time = written_ms.map_or(ticks_ms.is_some_and(instant), instant);
    let silent = ticks_ms.is_none_or(instant) && row.millis("responseLength").is_none_or(instant);
    no_time && (counts.are_zero() || silent)
}

fn identify(
    row: &Row<'_>,
    observation: &Observation,
    written_ms: Option<f64>,
    ticks: (Option<Timestamp>, Option<Timestamp>),
    counts: &Counts,
) -> crate::model::RecordId {
    let number = |name: &str| row.millis(name).map(|n| n.to_string());
    let substance = [
        row.top.text("operationName"),
        observation.http_status.map(|status| status.to_string()),
        written_ms.map(|ms| ms.to_string()),
        ticks.0.map(|at| at.0.to_string()),
        ticks.1.map(|at| at.0.to_string()),
        number("requestLength"),
        number("responseLength"),
        observation.deployment.clone(),
        observation.response_model.clone(),
        row.text("streamType"),
        counts.prompt.map(|n| n.to_string()),
        counts.completion.map(|n| n.to_string()),
    ];
    row.id(DIALECT, observation.provider_request_id.as_deref(), &substance)
}
