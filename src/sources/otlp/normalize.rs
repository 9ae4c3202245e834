//! Spans in, rows out. Pure: what one span becomes depends on that span, its scope and resource, and, for plain spans
//! only, on whether it lies between LLM spans of the same request.

use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::model::{
    Normalized, Observation, RecordId, RecordRef, Timestamp, Usage, UsageStatus, Witness, fingerprint, judge, platform,
};

use super::config::OtlpConfig;
use super::dialects::{self, Dialect, Draft, Role};
use super::record::{Attributes, Family, SpanView, hex_id};
use super::{attribution, outcome, place};

/// Longest walk over plain spans; longer ones and cycles end there.
const MAX_STEPS: usize = 64;
/// Dialect of plain spans that are kept because an ancestor line passes through them.
const BRIDGE: &str = "otlp.bridge";

/// Normalizes all spans of a request, in order.
pub(super) fn traces(
    config: &OtlpConfig,
    request: &ExportTraceServiceRequest,
    at: &RecordRef<'_>,
    out: &mut Vec<Normalized>,
) {
    let mut spoken: Vec<(usize, &Span)> = Vec::new();
    let mut plain: Vec<(usize, &Span)> = Vec::new();
    for resource_spans in &request.resource_spans {
        let resource = resource_spans.resource.as_ref().map(|r| r.attributes.as_slice()).unwrap_or_default();
        let resource = Attributes::new(resource);
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.as_ref();
            for span in &scope_spans.spans {
                let view = SpanView::new(&resource, scope, span);
                if let Some(dialect) = dialects::detect(&view) {
                    spoken.push((out.len(), span));
                    out.push(one(config, dialect, &view, at));
                } else if has_llm_path(&view) {
                    out.push(context_of(span, at));
                } else {
                    plain.push((out.len(), span));
                    out.push(Normalized::Skipped("not_llm"));
                }
            }
        }
    }
    bridge(&spoken, &plain, at, out);
}

/// Normalizes one span.
fn one<'a>(config: &OtlpConfig, dialect: Dialect, view: &SpanView<'a>, at: &RecordRef<'_>) -> Normalized {
    let role = dialects::classify(dialect, view);
    if role == Role::Pending {
        return Normalized::Skipped("pending_span");
    }
    let mut draft = Draft { observation: base(view.span, at), ..Draft::default() };
    dialect.name().clone_into(&mut draft.observation.dialect);
    draft.observation.gateway = dialect.gateway().map(str::to_owned);
    if !view.scope_version.is_empty() {
        let version = view.scope_version.chars().take(64).collect();
        draft.observation.tags.insert("otlp.scope_version".to_owned(), version);
    }
    attribution::fill_resource(view, &mut draft.observation);
    if dialect.gateway().is_some() {
        // The resource is the gateway, not the caller.
        draft.observation.service = None;
    }
    match role {
        Role::Call => read_call(dialect, view, &mut draft, true),
        Role::NotACall(event) => {
            read_call(dialect, view, &mut draft, true);
            draft.observation.witness = Witness::NotACall;
            draft.observation.tags.insert("gateway_event".to_owned(), event.to_owned());
        }
        Role::Raw => {
            dialects::read_raw(view, &mut draft);
            finish(view, &mut draft, true);
            draft.observation.witness = Witness::Context;
        }
        Role::UsageForParent => {
            read_call(dialect, view, &mut draft, false);
            draft.observation.witness = Witness::Context;
            draft.observation.duration_ms = None;
            draft.observation.tags.insert("usage_for_parent".to_owned(), "true".to_owned());
        }
        Role::Context | Role::Pending => {
            dialects::read_context(dialect, view, &mut draft.observation);
            draft.observation.witness = Witness::Context;
        }
    }
    if is_sampled(&view.span.trace_state) {
        draft.observation.tags.insert("otlp.sampled".to_owned(), "true".to_owned());
    }
    attribution::fill(view, &mut draft.observation);
    attribution::fill_defaults(&config.attributes, &mut draft.observation);
    let mut observation = draft.observation;
    observation.observation_id = identity(view, &observation);
    judge(observation)
}

/// True where the trace state says that only a part of the traces is exported (`ot=th:…`, threshold above 0). See
/// <https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/>.
fn is_sampled(trace_state: &str) -> bool {
    let vendor = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="));
    let threshold = vendor.and_then(|list| list.split(';').find_map(|entry| entry.strip_prefix("th:")));
    threshold.is_some_and(|threshold| threshold.chars().any(|c| c != '0'))
}

/// Ids, times and provenance, which every span has.
fn base(span: &Span, at: &RecordRef<'_>) -> Observation {
    let start = Timestamp::from_unix_nanos(span.start_time_unix_nano);
    let end = Timestamp::from_unix_nanos(span.end_time_unix_nano);
    let duration = start.zip(end).map(|(start, end)| end.millis_since(start)).filter(|ms| *ms >= 0.0);
    Observation {
        source: at.source.to_owned(),
        observed_at: at.observed_at,
        ts: start.unwrap_or_default(),
        trace_id: hex_id(&span.trace_id),
        span_id: hex_id(&span.span_id),
        parent_span_id: hex_id(&span.parent_span_id).filter(|_| span.parent_span_id != span.span_id),
        duration_ms: duration,
        ..Observation::default()
    }
}

fn read_call<'a>(dialect: Dialect, view: &SpanView<'a>, draft: &mut Draft<'a>, with_outcome: bool) {
    dialects::read(dialect, view, draft);
    draft.observation.witness = if dialect.gateway().is_some() { Witness::Gateway } else { Witness::Client };
    finish(view, draft, with_outcome);
}

/// Decides platform, outcome and usage from everything that was read.
fn finish(view: &SpanView<'_>, draft: &mut Draft<'_>, with_outcome: bool) {
    let observation = &mut draft.observation;
    let place = place::decide(draft.provider.as_deref(), &draft.hosts);
    observation.platform = place.platform;
    observation.region = observation.region.take().or(place.region);
    observation.deployment = observation.deployment.take().or(place.deployment);
    if observation.platform.as_deref() == Some(platform::AZURE_OPENAI) && observation.deployment.is_none() {
        // Azure OpenAI is asked for a deployment where others are asked for a model.
        observation.deployment.clone_from(&observation.request_model);
    }
    if with_outcome {
        outcome::fill(view, observation);
    }
    let usage = if draft.no_counts { Usage::default() } else { draft.counts.canonical(&mut observation.tags) };
    observation.usage = usage;
    observation.usage_status = if usage.is_empty() {
        UsageStatus::Missing
    } else if draft.estimated {
        UsageStatus::Estimated
    } else {
        UsageStatus::Measured
    };
}

/// The id that a second delivery of the span has too.
fn identity(view: &SpanView<'_>, observation: &Observation) -> RecordId {
    if let (Some(trace), Some(span)) = (&observation.trace_id, &observation.span_id) {
        return fingerprint([b"otlp".as_slice(), trace.as_bytes(), span.as_bytes()]);
    }
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let number = |field: Option<u64>| field.map(|n| n.to_string()).unwrap_or_default();
    let parts = [
        "otlp.no_id".to_owned(),
        text(&observation.trace_id),
        text(&observation.span_id),
        view.scope.to_owned(),
        view.span.name.clone(),
        view.span.start_time_unix_nano.to_string(),
        view.span.end_time_unix_nano.to_string(),
        text(&observation.request_model),
        text(&observation.response_id),
        text(&observation.provider_request_id),
        number(observation.usage.input),
        number(observation.usage.output),
        text(&observation.service),
    ];
    fingerprint(parts.iter().map(String::as_bytes))
}

/// Ends of the URL paths of LLM interfaces.
const LLM_PATHS: [&str; 12] = [
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/converse",
    "/converse-stream",
    "/invoke",
    "/invoke-with-response-stream",
    "/rerank",
    ":generatecontent",
    ":streamgeneratecontent",
    ":predict",
];

/// True for a plain HTTP span of an LLM interface: the line from an application's call to a gateway's passes through.
fn has_llm_path(view: &SpanView<'_>) -> bool {
    if !view.attributes.has_family(&[Family::Transport]) {
        return false;
    }
    ["url.full", "http.url", "url.path", "http.target", "http.route"].iter().any(|key| {
        let url = view.attributes.raw(key).unwrap_or_default();
        let path = url.split(['?', '#']).next().unwrap_or_default().as_bytes();
        LLM_PATHS.iter().any(|end| {
            path.len() >= end.len() && path.split_at(path.len() - end.len()).1.eq_ignore_ascii_case(end.as_bytes())
        })
    })
}

/// A plain span as context: ids and times, nothing else.
fn context_of(span: &Span, at: &RecordRef<'_>) -> Normalized {
    let mut observation = base(span, at);
    let (Some(trace), Some(id)) = (&observation.trace_id, &observation.span_id) else {
        return Normalized::Skipped("not_llm");
    };
    observation.observation_id = fingerprint([b"otlp".as_slice(), trace.as_bytes(), id.as_bytes()]);
    BRIDGE.clone_into(&mut observation.dialect);
    observation.witness = Witness::Context;
    judge(observation)
}

/// Trace and span.
type SpanKey<'a> = (&'a [u8], &'a [u8]);

fn key_of(span: &Span) -> SpanKey<'_> {
    (&span.trace_id, &span.span_id)
}

fn parent_of(span: &Span) -> Option<SpanKey<'_>> {
    (!span.parent_span_id.is_empty()).then_some((&span.trace_id, &span.parent_span_id))
}

/// Keeps the plain spans that lie below a call or above a gateway's call of the same request: the ancestor line from
/// one layer's call to the other's passes through them.
fn bridge(all: &[(usize, &Span)], plain: &[(usize, &Span)], at: &RecordRef<'_>, out: &mut [Normalized]) {
    if plain.is_empty() || all.is_empty() {
        return;
    }
    let spans: HashMap<SpanKey<'_>, (usize, &Span)> =
        plain.iter().map(|(row, span)| (key_of(span), (*row, *span))).collect();
    let mut calls: HashSet<SpanKey<'_>> = HashSet::new();
    let mut kept: HashMap<usize, &Span> = HashMap::new();
    for (row, span) in all {
        let Some(Normalized::Observation(call)) = out.get(*row) else { continue };
        if !call.is_call() {
            continue;
        }
        calls.insert(key_of(span));
        if call.gateway.is_none() {
            continue;
        }
        let mut above = parent_of(span);
        for _ in 0..MAX_STEPS {
            let Some((row, span)) = above.and_then(|parent| spans.get(&parent)) else { break };
            kept.insert(*row, span);
            above = parent_of(span);
        }
    }
    for (row, span) in plain {
        let mut above = parent_of(span);
        for _ in 0..MAX_STEPS {
            let Some(parent) = above else { break };
            if calls.contains(&parent) {
                kept.insert(*row, span);
                break;
            }
            above = spans.get(&parent).and_then(|(_, span)| parent_of(span));
        }
    }
    for (row, span) in kept {
        if let Some(slot) = out.get_mut(row)
            && let judged @ Normalized::Observation(_) = context_of(span, at)
        {
            *slot = judged;
        }
    }
}
