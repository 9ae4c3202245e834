//! Azure OpenAI diagnostics as lines of a storage blob (Azure Monitor, "Resource logs"; categories `RequestResponse` and
//! `AzureOpenAIRequestUsage` of Microsoft.CognitiveServices/accounts): up to three rows per attempt.

use std::fmt::Write;

use super::company::{Kind, Platform};
use super::request::{Attempt, Ending, Request};
use super::rng::Rng;
use super::text::{azure_time, json, millis, ticks};
use crate::model::Timestamp;

/// The last row about an attempt is written no later than this after its end, microseconds.
pub(super) const LATEST_ROW_US: i64 = 2_900_000;

/// Appends the rows of `attempt`, each with the instant that decides its place among the others of a blob.
pub(super) fn rows(out: &mut Vec<(Timestamp, String)>, rng: &mut Rng, request: &Request, attempt: &Attempt) {
    let Some(row) = Row::new(request, attempt) else {
        return;
    };
    // In 2026 most requests leave a second, empty row; a few leave no usage row.
    let refused = attempt.ending == Ending::Throttled;
    if refused || rng.chance(940) {
        let properties = row.request_response(request, attempt, Form::Placeholder);
        out.push(row.line(rng, "RequestResponse", "ShoeboxCallResult", Some((200, 0)), &properties, attempt));
    }
    let shown_us =
        if request.streamed && attempt.ending.is_answer() { attempt.first_token_us } else { attempt.duration_us };
    let properties = row.request_response(request, attempt, Form::Substantive { shown_us });
    let result = Some((attempt.ending.status(), shown_us / 1000));
    out.push(row.line(rng, "RequestResponse", "ShoeboxCallResult", result, &properties, attempt));
    if attempt.ending.is_answer() && rng.chance(985) {
        let properties = row.usage(request, attempt);
        out.push(row.line(
            rng,
            "AzureOpenAIRequestUsage",
            "ShoeboxAzureOpenAIRequestUsage",
            None,
            &properties,
            attempt,
        ));
    }
}

/// The path of an account in an environment.
pub(super) fn resource(account: &str, staging: bool) -> String {
    let (group, end) = if staging { ("RG-AI-STAGING", "-STG") } else { ("RG-AI-PROD", "") };
    format!(
        "/SUBSCRIPTIONS/8A3E9D10-4B7C-4E52-9F16-2D5C7B8E0F31/RESOURCEGROUPS/{group}/PROVIDERS/\
         MICROSOFT.COGNITIVESERVICES/ACCOUNTS/{}{end}",
        account.to_ascii_uppercase()
    )
}

/// Which of the two `RequestResponse` rows.
enum Form {
    /// 200, no time, no tokens, whatever happened.
    Placeholder,
    /// What happened; the time shown is that to the response's start where it is streamed.
    Substantive { shown_us: i64 },
}

/// What the rows of one attempt have in common.
struct Row {
    resource: String,
    location: &'static str,
    operation: &'static str,
    deployment: &'static str,
    version: &'static str,
}

impl Row {
    fn new(request: &Request, attempt: &Attempt) -> Option<Self> {
        let Platform::Azure { account, deployment, version, .. } = attempt.place.platform else {
            return None;
        };
        Some(Self {
            resource: resource(account, request.staging),
            location: attempt.place.region,
            operation: match request.feature.kind {
                Kind::Embeddings => "Embeddings_Create",
                Kind::Chat | Kind::Agent => "ChatCompletions_Create",
            },
            deployment,
            version,
        })
    }

    fn request_response(&self, request: &Request, attempt: &Attempt, form: Form) -> String {
        // Calls by key, as the gateway makes them, carry no object id.
        let object_id = request.feature.team.filter(|_| !request.via.gateway()).map_or("", |team| team.object_id);
        let usage = attempt.usage;
        let (response_time, response_length, input, output) = match form {
            Form::Placeholder => (attempt.start, 0, 0, 0),
            Form::Substantive { shown_us } => {
                let length = match attempt.ending {
                    Ending::Finished | Ending::CutOff | Ending::ToolUse if request.streamed => 0,
                    Ending::Finished | Ending::CutOff | Ending::ToolUse => 640 + 5 * usage.output.unwrap_or(1200),
                    Ending::Filtered => 1412,
                    _ => 259,
                };
                (attempt.start.plus(shown_us), length, usage.input.unwrap_or(0), usage.output.unwrap_or(0))
            }
        };
        format!(
            r#"{{"apiName":"Azure OpenAI API version 2024-10-21","requestTime":{},"requestLength":{},"responseTime":{},"responseLength":{response_length},"objectId":"{object_id}","callerObjectId":"{object_id}","streamType":"{}","modelDeploymentName":"{}","modelName":"{}","modelVersion":"{}","promptTokens":{input},"completionTokens":{output}}}"#,
            ticks(attempt.start),
            420 + 4 * usage.input.unwrap_or(request.feature.input_tokens),
            ticks(response_time),
            stream_type(request),
            self.deployment,
            attempt.place.model,
            self.version,
        )
    }

    fn usage(&self, request: &Request, attempt: &Attempt) -> String {
        let usage = attempt.usage;
        format!(
            r#"{{"modelDeploymentName":"{}","modelName":"{}","modelVersion":"{}","streamType":"{}","promptTokens":[{}],"cachedTokens":[{}],"generatedTokens":[{}],"timeToFirstTokenMs":{},"timeToLastTokenMs":{}}}"#,
            self.deployment,
            attempt.place.model,
            self.version,
            stream_type(request),
            usage.input.unwrap_or(0),
            usage.cache_read.unwrap_or(0),
            usage.output.unwrap_or(0),
            millis(attempt.first_token_us),
            millis(attempt.duration_us),
        )
    }

    fn line(
        &self,
        rng: &mut Rng,
        category: &str,
        event: &str,
        result: Option<(u16, i64)>,
        properties: &str,
        attempt: &Attempt,
    ) -> (Timestamp, String) {
        let written = attempt.end().plus(280_000 + rng.below_us(LATEST_ROW_US - 280_000));
        let queued = written.plus(-40_000 - rng.below_us(60_000));
        let mut line = String::with_capacity(1100);
        let _ = write!(line, r#"{{ "EnqueueTime": "{}""#, azure_time(queued));
        if result.is_some() {
            line.push_str(r#", "callerIpAddress": "203.0.113.***""#);
        }
        let _ = write!(line, r#", "category": "{category}", "correlationId": "{}""#, attempt.request_id);
        if let Some((_, ms)) = result {
            let _ = write!(line, r#", "durationMs": {ms}"#);
        }
        let _ = write!(
            line,
            r#", "event": "{event}", "location": "{}", "operationName": "{}", "properties": {}, "resourceId": "{}""#,
            self.location,
            self.operation,
            json(properties),
            self.resource
        );
        if let Some((status, _)) = result {
            let _ = write!(line, r#", "resultSignature": "{status}""#);
        }
        let _ = write!(line, r#", "time": "{}Z", "Tenant": "{}"}}"#, azure_time(written), self.location);
        line.push('\n');
        // Blobs are in order of receipt, which is not that of time.
        (written.plus(rng.below_us(8_000_000)), line)
    }
}

const fn stream_type(request: &Request) -> &'static str {
    if request.streamed { "Streaming" } else { "Non-Streaming" }
}
