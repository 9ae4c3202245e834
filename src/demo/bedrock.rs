//! Bedrock model invocation log records (Amazon Bedrock User Guide, "Monitor model invocation using CloudWatch Logs and
//! Amazon S3"): one line of JSON per attempt.

use std::fmt::Write;

use super::company::{Kind, Platform};
use super::request::{Attempt, Ending, Request, Via};
use super::rng::Rng;
use super::text::{json, whole_second};

/// The account that an environment runs in.
pub(super) const fn account(staging: bool) -> &'static str {
    if staging { "210987654321" } else { "123456789012" }
}

/// Appends the record of `attempt`, with its line feed.
pub(super) fn line(out: &mut String, rng: &mut Rng, request: &Request, attempt: &Attempt) {
    let Platform::Bedrock { runs_in } = attempt.place.platform else {
        return;
    };
    let place = attempt.place;
    let account = account(request.staging);
    let native = request.feature.kind == Kind::Embeddings
        || (request.via == Via::Direct && place.is_claude() && attempt.ending != Ending::Filtered && rng.chance(300));
    let operation = match (native, request.streamed) {
        (false, false) => "Converse",
        (false, true) => "ConverseStream",
        (true, false) => "InvokeModel",
        (true, true) => "InvokeModelWithResponseStream",
    };
    let _ = write!(
        out,
        r#"{{"timestamp":"{}","accountId":"{account}","region":"{}","requestId":"{}","operation":"{operation}","modelId":"#,
        whole_second(attempt.start),
        place.region,
        attempt.request_id,
    );
    let spelled_as_arn = !request.via.gateway() && rng.chance(400);
    let _ = match (spelled_as_arn, runs_in.is_empty()) {
        (false, _) => write!(out, r#""{}""#, place.model),
        (true, false) => {
            write!(out, r#""arn:aws:bedrock:{}:{account}:inference-profile/{}""#, place.region, place.model)
        }
        (true, true) => write!(out, r#""arn:aws:bedrock:{}::foundation-model/{}""#, place.region, place.model),
    };
    identity(out, request, account);
    let inner = attempt.ending.is_answer() || attempt.ending == Ending::Filtered;
    if inner {
        metadata(out, rng, request);
        input(out, request, attempt, native);
        output(out, rng, request, attempt, native);
        if !runs_in.is_empty() && attempt.ending != Ending::Filtered {
            let _ = write!(out, r#","inferenceRegion":"{}""#, rng.pick(runs_in));
        }
    } else {
        let _ = write!(out, r#","errorCode":"{}""#, error_code(attempt));
    }
    out.push_str(",\"schemaType\":\"ModelInvocationLog\",\"schemaVersion\":\"1.0\"}\n");
}

/// The exception that stands for a failed attempt: the same in the log and in the caller's span.
pub(super) fn error_code(attempt: &Attempt) -> &'static str {
    match attempt.ending {
        Ending::Throttled => "ThrottlingException",
        Ending::TimedOut => "ModelTimeoutException",
        Ending::Broken if attempt.request_id.starts_with(|digit: char| digit.is_ascii_digit()) => {
            "ServiceUnavailableException"
        }
        Ending::Broken => "InternalServerException",
        _ => "ValidationException",
    }
}

fn identity(out: &mut String, request: &Request, account: &str) {
    // The gateway calls under a role of its own, so that its log does not tell the team.
    let (role, session) = match request.feature.team {
        _ if request.via.gateway() => ("llm-gateway", "litellm"),
        Some(team) => (team.role, request.feature.service),
        None => ("data-science-notebooks", request.feature.service),
    };
    let _ = write!(out, r#","identity":{{"arn":"arn:aws:sts::{account}:assumed-role/{role}/{session}"}}"#);
}

fn metadata(out: &mut String, rng: &mut Rng, request: &Request) {
    if let Some(team) = request.feature.team
        && !request.via.gateway()
        && rng.chance(880)
    {
        let _ = write!(
            out,
            r#","requestMetadata":{{"team":"{}","feature":"{}","environment":"{}"}}"#,
            team.name,
            request.feature.name,
            request.environment()
        );
    }
}

/// The input without the cached part, as Bedrock counts it.
pub(super) fn fresh_input(attempt: &Attempt) -> u64 {
    let usage = attempt.usage;
    let cached = usage.cache_read.unwrap_or(0) + usage.cache_write.unwrap_or(0);
    usage.input.unwrap_or(0).saturating_sub(cached)
}

fn input(out: &mut String, request: &Request, attempt: &Attempt, native: bool) {
    let prompt = json(request.prompt);
    out.push_str(r#","input":{"inputContentType":"application/json","inputBodyJson":"#);
    let _ = match (request.feature.kind, native) {
        (Kind::Embeddings, _) => write!(out, r#"{{"inputText":{prompt},"dimensions":1024,"normalize":true}}"#),
        (_, true) => write!(
            out,
            r#"{{"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,"temperature":0.2,"messages":[{{"role":"user","content":[{{"type":"text","text":{prompt}}}]}}]}}"#
        ),
        (Kind::Agent, false) => write!(
            out,
            r#"{{"messages":[{{"role":"user","content":[{{"text":{prompt}}}]}}],"system":[{{"text":"You help customers of an outdoor shop."}}],"inferenceConfig":{{"maxTokens":4096}},"toolConfig":{{"tools":[{{"toolSpec":{{"name":"order_status","description":"Looks up an order","inputSchema":{{"json":{{"type":"object","properties":{{"order":{{"type":"string"}}}}}}}}}}}}]}}}}"#
        ),
        (Kind::Chat, false) => write!(
            out,
            r#"{{"messages":[{{"role":"user","content":[{{"text":{prompt}}}]}}],"inferenceConfig":{{"maxTokens":2048,"temperature":0.2}}}}"#
        ),
    };
    let _ = write!(out, r#","inputTokenCount":{}"#, fresh_input(attempt));
    if let (Some(read), Some(written)) = (attempt.usage.cache_read, attempt.usage.cache_write) {
        let _ = write!(out, r#","cacheReadInputTokenCount":{read},"cacheWriteInputTokenCount":{written}"#);
    }
    out.push('}');
}

fn output(out: &mut String, rng: &mut Rng, request: &Request, attempt: &Attempt, native: bool) {
    out.push_str(r#","output":{"outputContentType":"application/json","outputBodyJson":"#);
    let tokens = attempt.usage.output.unwrap_or(0);
    match (request.feature.kind, native, request.streamed) {
        (Kind::Embeddings, ..) => {
            let _ = write!(
                out,
                r#"{{"embedding":[0.0{},-0.0{}],"inputTextTokenCount":{}}}}}"#,
                rng.below(9999),
                rng.below(9999),
                fresh_input(attempt)
            );
            return;
        }
        (_, false, _) => converse(out, rng, request, attempt),
        (_, true, false) => message(out, rng, request, attempt),
        (_, true, true) => chunks(out, rng, request, attempt),
    }
    let _ = write!(out, r#","outputTokenCount":{tokens}}}"#);
}

/// The body of Converse; ConverseStream is logged in the same aggregated form.
fn converse(out: &mut String, rng: &mut Rng, request: &Request, attempt: &Attempt) {
    let (fresh, tokens) = (fresh_input(attempt), attempt.usage.output.unwrap_or(0));
    let text = if attempt.ending == Ending::Filtered {
        json("Sorry, this cannot be answered here.")
    } else {
        json(request.answer)
    };
    let _ = write!(out, r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":{text}}}"#);
    if attempt.ending == Ending::ToolUse {
        let _ = write!(
            out,
            r#",{{"toolUse":{{"toolUseId":"tooluse_{}","name":"order_status","input":{{"order":"A-{}"}}}}}}"#,
            rng.token(22),
            rng.below(90_000)
        );
    }
    let stop = match attempt.ending {
        Ending::ToolUse => "tool_use",
        Ending::CutOff => "max_tokens",
        Ending::Filtered => "guardrail_intervened",
        _ => "end_turn",
    };
    let _ = write!(
        out,
        r#"]}}}},"stopReason":"{stop}","metrics":{{"latencyMs":{}}},"usage":{{"inputTokens":{fresh},"outputTokens":{tokens},"totalTokens":{}"#,
        attempt.duration_us / 1000,
        attempt.usage.input.unwrap_or(0) + tokens
    );
    if let (Some(read), Some(written)) = (attempt.usage.cache_read, attempt.usage.cache_write) {
        let _ = write!(out, r#","cacheReadInputTokens":{read},"cacheWriteInputTokens":{written}"#);
    }
    out.push_str("}}");
}

fn native_stop(ending: Ending) -> &'static str {
    match ending {
        Ending::ToolUse => "tool_use",
        Ending::CutOff => "max_tokens",
        _ => "end_turn",
    }
}

/// The native body of Claude: no latency in it.
fn message(out: &mut String, rng: &mut Rng, request: &Request, attempt: &Attempt) {
    let _ = write!(
        out,
        r#"{{"id":"msg_bdrk_01{}","type":"message","role":"assistant","model":"{}","content":[{{"type":"text","text":{}}}],"stop_reason":"{}","stop_sequence":null,"usage":{{"input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"output_tokens":{}}}}}"#,
        rng.token(22),
        attempt.place.answers_as,
        json(request.answer),
        native_stop(attempt.ending),
        fresh_input(attempt),
        attempt.usage.cache_write.unwrap_or(0),
        attempt.usage.cache_read.unwrap_or(0),
        attempt.usage.output.unwrap_or(0)
    );
}

/// The native chunks of a streamed Claude answer; the last one carries the latencies.
fn chunks(out: &mut String, rng: &mut Rng, request: &Request, attempt: &Attempt) {
    let (fresh, tokens) = (fresh_input(attempt), attempt.usage.output.unwrap_or(0));
    let (read, written) = (attempt.usage.cache_read.unwrap_or(0), attempt.usage.cache_write.unwrap_or(0));
    let _ = write!(
        out,
        r#"[{{"type":"message_start","message":{{"id":"msg_bdrk_01{}","type":"message","role":"assistant","model":"{}","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{fresh},"cache_creation_input_tokens":{written},"cache_read_input_tokens":{read},"output_tokens":1}}}}}},"#,
        rng.token(22),
        attempt.place.answers_as
    );
    let _ = write!(
        out,
        r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"text","text":""}}}},{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{}}}}},{{"type":"content_block_stop","index":0}},"#,
        json(request.answer)
    );
    let _ = write!(
        out,
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{}","stop_sequence":null}},"usage":{{"output_tokens":{tokens}}}}},{{"type":"message_stop","amazon-bedrock-invocationMetrics":{{"inputTokenCount":{fresh},"outputTokenCount":{tokens},"invocationLatency":{},"firstByteLatency":{},"cacheReadInputTokenCount":{read},"cacheWriteInputTokenCount":{written}}}}}]"#,
        native_stop(attempt.ending),
        attempt.duration_us / 1000,
        attempt.first_token_us / 1000
    );
}
