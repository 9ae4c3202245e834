//! `AzureOpenAIRequestUsage`: tokens and latencies of one request, for OpenAI's models; no caller, usually no status.

use super::naming::{Operation, counts_cache_apart};
use super::record::BadCount;
use super::row::{Row, before, finish, set_time, set_usage, tag};
use crate::model::{Normalized, Observation, Outcome, Usage, Witness};

const DIALECT: &str = "azure.request_usage";

/// Normalizes a row of the category `AzureOpenAIRequestUsage`, or its bare properties.
pub fn normalize(row: &Row<'_>) -> Normalized {
    finish(observe(row))
}

fn observe(row: &Row<'_>) -> Result<Observation, BadCount> {
    let mut observation = row.observation(DIALECT, Witness::ProviderUsage);
    let (deployment, model) = (row.text("modelDeploymentName"), row.text("modelName"));
    let usage = read(row, counts_cache_apart(model.as_deref(), deployment.as_deref()))?;
    let operation = row.top.text("operationName");

    observation.provider_request_id = row.correlation();
    observation.http_status = row.status("resultSignature");
    observation.outcome = observation.http_status.map(Outcome::from_http_status);
    observation.streaming = match row.text("streamType").map(|kind| kind.to_ascii_lowercase()).as_deref() {
        Some("streaming") => Some(true),
        Some("non-streaming" | "nonstreaming") => Some(false),
        _ => None,
    };
    observation.operation = operation.as_deref().and_then(|name| Operation::parse(name).canonical());
    observation.principal = row.text("callerObjectId").or_else(|| row.text("objectId"));
    observation.model_version = row.text("modelVersion");
    observation.ttft_ms = row.millis("timeToFirstTokenMs");
    observation.duration_ms = row.millis("timeToLastTokenMs");
    row.name_model(&mut observation, deployment, model);
    set_usage(&mut observation, usage);
    tag(&mut observation, "azure.operation", operation);

    // The row is emitted after the last token.
    let start = row.time().map(|time| before(time, observation.duration_ms.unwrap_or(0.0)));
    set_time(&mut observation, start, row.at);
    let substance = [
        observation.deployment.clone(),
        observation.response_model.clone(),
        observation.usage.input.map(|n| n.to_string()),
        observation.usage.cache_read.map(|n| n.to_string()),
        observation.usage.output.map(|n| n.to_string()),
        observation.ttft_ms.map(|ms| ms.to_string()),
        observation.duration_ms.map(|ms| ms.to_string()),
        observation.http_status.map(|status| status.to_string()),
    ];
    observation.observation_id = row.id(DIALECT, observation.provider_request_id.as_deref(), &substance);
    Ok(observation)
}

/// OpenAI's prompt holds what was read from the cache; Claude's does not.
fn read(row: &Row<'_>, cache_apart: bool) -> Result<Usage, BadCount> {
    let prompt = row.count("promptTokens")?;
    let cached = row.count("cachedTokens")?;
    let written = row.count("cacheWriteTokens")?;
    let output = row.count("generatedTokens")?.or(row.count("completionTokens")?);
    let image_input = row.count("inputImageTokens")?;
    let usage = if cache_apart {
        Usage::from_disjoint(prompt, cached, written, output)
    } else {
        Usage { input: prompt, cache_read: cached, cache_write: written, output, ..Usage::default() }
    };
    Ok(Usage { image_input, ..usage })
}
