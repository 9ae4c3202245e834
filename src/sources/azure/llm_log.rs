//! `GatewayLlmLogs` of API Management: tokens of a request, and the messages cut into numbered parts.
//!
//! The counts lie on one row, the one with the deployment; further rows of the request carry text only. Event Hub
//! payloads were seen without a deployment, so there a row with counts that is no later part speaks as well.

use super::gateway::gateway_name;
use super::naming::{Operation, counts_cache_apart};
use super::record::{BadCount, word};
use super::row::{Row, finish, mark_cache_apart, set_time, set_usage, tag};
use crate::model::{Normalized, Observation, Usage, Witness};

const DIALECT: &str = "azure.apim_llm";

/// Normalizes a row of the category `GatewayLlmLogs`.
pub fn normalize(row: &Row<'_>) -> Normalized {
    match Counts::read(row) {
        Err(error) => finish(Err(error)),
        Ok(counts) => {
            let request_id = row.text("requestId").as_deref().and_then(word);
            if request_id.is_none() && !counts.any() {
                return Normalized::Skipped("probe");
            }
            let deployment = row.text("deploymentName");
            let later_part = row.count("sequenceNumber").ok().flatten().is_some_and(|n| n > 0);
            if deployment.is_none() && (later_part || !counts.any()) {
                return Normalized::Skipped("message_part");
            }
            finish(Ok(observe(row, counts, request_id, deployment)))
        }
    }
}

/// Counts as written. `None` where the row does not say.
#[derive(Clone, Copy)]
struct Counts {
    prompt: Option<u64>,
    cached: Option<u64>,
    completion: Option<u64>,
}

impl Counts {
    fn read(row: &Row<'_>) -> Result<Self, BadCount> {
        Ok(Self {
            prompt: row.count("promptTokens")?,
            cached: row.count("promptCachedTokens")?,
            completion: row.count("completionTokens")?,
        })
    }

    fn any(self) -> bool {
        [self.prompt, self.cached, self.completion].iter().flatten().any(|n| *n > 0)
    }

    /// Claude's prompt excludes what was read from the cache, the others' includes it. Nothing but zeros stands for
    /// counts that the gateway did not see.
    fn usage(self, cache_apart: bool) -> Usage {
        if !self.any() {
            Usage::default()
        } else if cache_apart {
            Usage::from_disjoint(self.prompt, self.cached, None, self.completion)
        } else {
            Usage { input: self.prompt, cache_read: self.cached, output: self.completion, ..Usage::default() }
        }
    }
}

fn observe(row: &Row<'_>, counts: Counts, request_id: Option<String>, deployment: Option<String>) -> Observation {
    let mut observation = row.observation(DIALECT, Witness::Gateway);
    let model = row.text("modelName");
    let operation = row.text("operationName").filter(|name| !name.to_ascii_lowercase().starts_with("microsoft."));

    observation.gateway = Some(gateway_name(row));
    observation.gateway_request_id = row.correlation();
    observation.response_id = request_id;
    observation.operation = match operation.as_deref().map(Operation::parse) {
        Some(Operation::Inference(name)) => Some(name.to_owned()),
        _ => None,
    };
    let cache_apart = counts_cache_apart(model.as_deref(), deployment.as_deref());
    set_usage(&mut observation, counts.usage(cache_apart));
    mark_cache_apart(&mut observation, cache_apart);
    // `isStreamCompletion` is not reliable, so the gateway's other log decides whether it was a stream.
    row.name_model(&mut observation, deployment, model);
    tag(&mut observation, "azure.operation", operation);
    set_time(&mut observation, row.time(), row.at);

    let request = observation.gateway_request_id.clone().or_else(|| observation.response_id.clone());
    let substance = [
        observation.response_id.clone(),
        row.text("sequenceNumber"),
        observation.deployment.clone(),
        observation.response_model.clone(),
        counts.prompt.map(|n| n.to_string()),
        counts.cached.map(|n| n.to_string()),
        counts.completion.map(|n| n.to_string()),
    ];
    observation.observation_id = row.id(DIALECT, request.as_deref(), &substance);
    observation
}
