//! Spans of instrumented applications: OpenTelemetry's botocore instrumentation in front of Bedrock, and its GenAI
//! instrumentation in front of the gateway, agents with an `invoke_agent` span above.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::bedrock::{error_code, fresh_input};
use super::company::Kind;
use super::gateway::{self, finish, session};
use super::request::{Attempt, Ending, Request, Via};
use super::rng::Rng;
use super::spans::{Emitter, Position, Spans, double, flag, int, list, span, text};
use crate::model::{SECOND_US, Timestamp};

const AGENT_SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Adds every span that tells about `request`, those of the gateway included.
pub(super) fn spans(out: &mut Spans, rng: &mut Rng, request: &Request) {
    match request.via {
        Via::Direct => {}
        Via::Sdk => {
            for attempt in &request.attempts {
                botocore(out, rng, request, attempt);
            }
        }
        Via::Gateway => {
            gateway::spans(out, rng, request, None);
        }
        Via::SdkAndGateway => client(out, rng, request),
    }
}

/// The application's own span, above the gateway's.
fn client(out: &mut Spans, rng: &mut Rng, request: &Request) {
    let agent = (request.feature.kind == Kind::Agent).then(|| rng.span_id());
    let at = Position { trace: request.trace_id, span: rng.span_id(), parent: agent };
    let (begin, end) = gateway::spans(out, rng, request, Some(at.span));
    let (begin, end) = (begin.plus(-2000 - rng.below_us(6000)), end.plus(2000 + rng.below_us(6000)));
    let emitter = emitter(request, "opentelemetry.util.genai.handler", "0.4b0", AGENT_SCHEMA);
    let Some(attempt) = request.attempts.last() else {
        return;
    };
    let status = (!attempt.ending.is_answer()).then(|| Err(format!("Error code: {}", attempt.ending.status())));
    let name = format!("chat {}", attempt.place.group);
    let mut made = span(&name, SpanKind::Client, at, (begin, end), status);
    made.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", attempt.place.group),
        text("gen_ai.provider.name", "openai"),
        text("server.address", "llm-gateway.acme.internal"),
        int("server.port", 4000),
        text("gen_ai.conversation.id", session(request)),
    ];
    if request.streamed {
        made.attributes.push(flag("gen_ai.request.stream", true));
    }
    if attempt.ending.is_answer() {
        made.attributes.extend([
            list("gen_ai.response.finish_reasons", finish(attempt.ending)),
            text("gen_ai.response.model", attempt.place.group),
            text("gen_ai.response.id", attempt.response_id.as_str()),
            int("gen_ai.usage.input_tokens", attempt.usage.input.unwrap_or(0)),
            int("gen_ai.usage.output_tokens", attempt.usage.output.unwrap_or(0)),
        ]);
        if request.streamed {
            let first_us = attempt.start.plus(attempt.first_token_us).0.saturating_sub(begin.0);
            made.attributes.push(double("gen_ai.response.time_to_first_chunk", seconds(first_us)));
        }
    } else {
        let class = match attempt.ending {
            Ending::Throttled => "openai.RateLimitError",
            Ending::Broken => "openai.InternalServerError",
            Ending::TimedOut => "openai.APITimeoutError",
            _ => "openai.BadRequestError",
        };
        made.attributes.push(text("error.type", class));
    }
    out.push(emitter, made);
    if let Some(agent) = agent {
        let above = Position { trace: request.trace_id, span: agent, parent: None };
        out.push(emitter, agent_span(request, above, (begin.plus(-3000), end.plus(4000))));
    }
}

fn agent_span(request: &Request, at: Position, times: (Timestamp, Timestamp)) -> Span {
    let name = format!("invoke_agent {}", request.feature.name);
    let mut made = span(&name, SpanKind::Internal, at, times, None);
    made.attributes = vec![
        text("gen_ai.operation.name", "invoke_agent"),
        text("gen_ai.agent.name", request.feature.name),
        text("gen_ai.conversation.id", session(request)),
    ];
    made
}

/// The span around a Bedrock call, with the request id that the invocation log carries too.
fn botocore(out: &mut Spans, rng: &mut Rng, request: &Request, attempt: &Attempt) {
    let emitter = emitter(
        request,
        "opentelemetry.instrumentation.botocore.bedrock-runtime",
        "0.66b2",
        "https://opentelemetry.io/schemas/1.11.0",
    );
    let at = Position { trace: request.trace_id, span: rng.span_id(), parent: None };
    let times = (attempt.start.plus(-1000 - rng.below_us(4000)), attempt.end().plus(1000 + rng.below_us(3000)));
    let method = if request.streamed { "ConverseStream" } else { "Converse" };
    let answered = attempt.ending.is_answer() || attempt.ending == Ending::Filtered;
    let code = (!answered).then(|| error_code(attempt));
    let status = code.map(|code| {
        Err(format!("An error occurred ({code}) when calling the {method} operation (reached max retries: 0)"))
    });
    let mut made = span(&format!("chat {}", attempt.place.model), SpanKind::Client, at, times, status);
    made.attributes = vec![
        text("rpc.system", "aws-api"),
        text("rpc.service", "Bedrock Runtime"),
        text("rpc.method", method),
        text("cloud.region", attempt.place.region),
        text("server.address", format!("bedrock-runtime.{}.amazonaws.com", attempt.place.region)),
        int("server.port", 443),
        text("gen_ai.system", "aws.bedrock"),
        text("gen_ai.request.model", attempt.place.model),
        text("gen_ai.operation.name", "chat"),
        text("aws.request_id", attempt.request_id.as_str()),
        int("retry_attempts", 0),
        int("http.status_code", if answered { 200 } else { u64::from(attempt.ending.status()) }),
    ];
    match code {
        Some(code) => made.attributes.push(text("error.type", code)),
        None => bedrock_answer(&mut made.attributes, attempt),
    }
    out.push(emitter, made);
}

/// Counts as botocore's instrumentation copies them from the answer: input without the cached part.
fn bedrock_answer(attributes: &mut Vec<KeyValue>, attempt: &Attempt) {
    let usage = attempt.usage;
    attributes.push(int("gen_ai.usage.input_tokens", fresh_input(attempt)));
    attributes.push(int("gen_ai.usage.output_tokens", usage.output.unwrap_or(0)));
    if let (Some(read), Some(written)) = (usage.cache_read, usage.cache_write) {
        attributes.push(int("gen_ai.usage.cache_read.input_tokens", read));
        attributes.push(int("gen_ai.usage.cache_creation.input_tokens", written));
    }
    let reason = match attempt.ending {
        Ending::ToolUse => "tool_use",
        Ending::CutOff => "max_tokens",
        Ending::Filtered => "guardrail_intervened",
        _ => "end_turn",
    };
    attributes.push(list("gen_ai.response.finish_reasons", reason));
}

fn emitter(request: &Request, scope: &'static str, scope_version: &'static str, schema_url: &'static str) -> Emitter {
    Emitter { service: request.feature.service, environment: request.environment(), scope, scope_version, schema_url }
}

fn seconds(us: i64) -> f64 {
    let one = f64::from(u32::try_from(SECOND_US).unwrap_or(1));
    f64::from(u32::try_from(us.max(0)).unwrap_or(u32::MAX)) / one
}
