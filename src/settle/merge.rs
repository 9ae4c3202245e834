//! Field precedence: who speaks for what. Tokens and status: the provider's log, then the gateway, then the client;
//! on one ancestor line the innermost with usage. Latency: each side in its own column. Attribution: the application
//! and its surrounding spans, then the gateway, then the provider.

use std::cmp::Reverse;

use super::count::Witnessed;
use crate::model::{Call, Observation, Outcome, RecordId, Tags, Usage, UsageStatus, Witness, fingerprint};

/// The witnesses in the order in which they speak for tokens, status and place.
pub fn ranked<'b, 'a>(witnesses: &'b [Witnessed<'a>]) -> Vec<&'b Witnessed<'a>> {
    let mut ranked: Vec<&Witnessed<'_>> = witnesses.iter().collect();
    ranked.sort_by_key(|witnessed| {
        let observation = witnessed.observation;
        (observation.witness, observation.usage.is_empty(), Reverse(witnessed.depth), observation.observation_id)
    });
    ranked
}

/// Who speaks for attribution, the application first, each with the spans around it.
pub fn voices<'a>(ranked: &[&Witnessed<'a>]) -> Vec<&'a Observation> {
    let around = |witnessed: &&Witnessed<'a>| {
        std::iter::once(witnessed.observation).chain(witnessed.context.iter().copied()).collect::<Vec<_>>()
    };
    ranked.iter().rev().flat_map(around).collect()
}

/// Who speaks for latency as the caller saw it: the application before the gateway, the outermost span of each first.
pub fn callers<'a>(speakers: &[&'a Observation]) -> Vec<&'a Observation> {
    let asks = |speaker: &&Observation| matches!(speaker.witness, Witness::Client | Witness::Gateway);
    speakers.iter().rev().copied().filter(asks).collect()
}

/// Who speaks for latency as the provider saw it.
pub fn providers<'a>(speakers: &[&'a Observation]) -> Vec<&'a Observation> {
    speakers.iter().copied().filter(|speaker| speaker.witness <= Witness::ProviderLog).collect()
}

/// Merges the witnesses of one call.
pub fn merge(witnesses: &[Witnessed<'_>]) -> Call {
    let ranked = ranked(witnesses);
    let speakers: Vec<&Observation> = ranked.iter().map(|witnessed| witnessed.observation).collect();
    let text = |field: fn(&Observation) -> &Option<String>| speakers.iter().find_map(|speaker| field(speaker).clone());
    let (usage, usage_status) = usage(&speakers);
    let status = status(&speakers);
    let mut call = Call {
        call_id: call_id(witnesses),
        ts: start(&speakers),
        platform: text(|o| &o.platform),
        request_model: text(|o| &o.request_model),
        response_model: text(|o| &o.response_model),
        deployment: text(|o| &o.deployment),
        region: text(|o| &o.region),
        served_region: text(|o| &o.served_region),
        account: text(|o| &o.account),
        resource: text(|o| &o.resource),
        operation: text(|o| &o.operation),
        streaming: speakers.iter().find_map(|speaker| speaker.streaming),
        tier: text(|o| &o.tier),
        outcome: status.outcome,
        http_status: status.http_status,
        error_code: status.error_code,
        finish_reason: text(|o| &o.finish_reason),
        conflict: status.conflict || tokens_differ(&speakers, &usage),
        usage,
        usage_status,
        provider_request_id: text(|o| &o.provider_request_id),
        response_id: text(|o| &o.response_id),
        chain_id: text(|o| &o.chain_id).or_else(|| text(|o| &o.trace_id)),
        observed_at: witnesses.iter().map(|witnessed| witnessed.observed_at).min().unwrap_or_default(),
        ..Call::default()
    };
    latency(&mut call, &speakers);
    attribution(&mut call, &ranked);
    let sources: std::collections::BTreeSet<_> = witnesses.iter().flat_map(|witnessed| &witnessed.sources).collect();
    call.witnesses = sources.into_iter().map(|source| (*source).to_owned()).collect();
    call
}

/// Derived from the smallest observation id, so it stays the same while witnesses with larger ids arrive.
fn call_id(witnesses: &[Witnessed<'_>]) -> RecordId {
    let smallest = witnesses.iter().map(|witnessed| witnessed.observation.observation_id).min().unwrap_or_default();
    fingerprint([b"call".as_slice(), &smallest.0])
}

/// The earliest start that a record states; one taken from the object it lay in counts only if there is no other.
fn start(speakers: &[&Observation]) -> crate::model::Timestamp {
    let stated = speakers.iter().filter(|speaker| !speaker.ts_assumed).map(|speaker| speaker.ts).min();
    stated.or_else(|| speakers.iter().map(|speaker| speaker.ts).min()).unwrap_or_default()
}

/// The counts of the best witness that has any; what it leaves out is filled from others that agree with it.
fn usage(speakers: &[&Observation]) -> (Usage, UsageStatus) {
    let measured =
        speakers.iter().find(|speaker| !speaker.usage.is_empty() && speaker.usage_status == UsageStatus::Measured);
    let Some(best) = measured.or_else(|| speakers.iter().find(|speaker| !speaker.usage.is_empty())) else {
        return (Usage::default(), UsageStatus::Missing);
    };
    let mut usage = best.usage;
    for other in speakers.iter().filter(|other| other.usage_status == UsageStatus::Measured) {
        let mut filled = usage;
        if usage.input.is_none() || usage.input == other.usage.input {
            filled.input = usage.input.or(other.usage.input);
            filled.cache_read = usage.cache_read.or(other.usage.cache_read);
            filled.cache_write = usage.cache_write.or(other.usage.cache_write);
            filled.cache_write_1h = usage.cache_write_1h.or(other.usage.cache_write_1h);
            filled.audio_input = usage.audio_input.or(other.usage.audio_input);
            filled.image_input = usage.image_input.or(other.usage.image_input);
        }
        if usage.output.is_none() || usage.output == other.usage.output {
            filled.output = usage.output.or(other.usage.output);
            filled.reasoning = usage.reasoning.or(other.usage.reasoning);
            filled.audio_output = usage.audio_output.or(other.usage.audio_output);
        }
        if filled.check().is_ok() {
            usage = filled;
        }
    }
    (usage, best.usage_status)
}

fn tokens_differ(speakers: &[&Observation], chosen: &Usage) -> bool {
    let differs = |own: Option<u64>, chosen: Option<u64>| own.is_some() && chosen.is_some() && own != chosen;
    speakers
        .iter()
        .filter(|speaker| speaker.usage_status == UsageStatus::Measured)
        .any(|speaker| differs(speaker.usage.input, chosen.input) || differs(speaker.usage.output, chosen.output))
}

#[derive(Default)]
struct Status {
    outcome: Outcome,
    http_status: Option<u16>,
    error_code: Option<String>,
    conflict: bool,
}

/// Two substantive log rows of one request that disagree leave the status open and are marked.
fn status(speakers: &[&Observation]) -> Status {
    let substantive = || speakers.iter().filter(|speaker| speaker.witness != Witness::Placeholder);
    let logged: std::collections::BTreeSet<_> = substantive()
        .filter(|speaker| speaker.witness == Witness::ProviderLog)
        .filter_map(|speaker| speaker.http_status)
        .collect();
    if logged.len() > 1 {
        return Status { conflict: true, ..Status::default() };
    }
    let known = |speaker: &&&Observation| speaker.outcome.is_some_and(|outcome| outcome != Outcome::Unknown);
    let speaker = substantive().find(known);
    let outcome = speaker.and_then(|speaker| speaker.outcome).unwrap_or_default();
    let failed = outcome != Outcome::Ok && outcome != Outcome::Unknown;
    let provider_says_ok = outcome == Outcome::Ok && speaker.is_some_and(|s| s.witness <= Witness::ProviderLog);
    let others_failed =
        substantive().filter(known).any(|s| matches!(s.outcome, Some(Outcome::Throttled | Outcome::ServerError)));
    Status {
        outcome,
        http_status: logged.first().copied().or_else(|| substantive().find_map(|speaker| speaker.http_status)),
        error_code: if failed { substantive().find_map(|speaker| speaker.error_code.clone()) } else { None },
        conflict: provider_says_ok && others_failed,
    }
}

fn latency(call: &mut Call, speakers: &[&Observation]) {
    let (providers, callers) = (providers(speakers), callers(speakers));
    call.provider_duration_ms = providers.iter().find_map(|speaker| speaker.duration_ms);
    call.provider_ttft_ms = providers.iter().find_map(|speaker| speaker.ttft_ms);
    call.duration_ms = callers.iter().find_map(|speaker| speaker.duration_ms);
    call.ttft_ms = callers.iter().find_map(|speaker| speaker.ttft_ms);
}

fn attribution(call: &mut Call, ranked: &[&Witnessed<'_>]) {
    let voices = voices(ranked);
    let text = |field: fn(&Observation) -> &Option<String>| voices.iter().find_map(|voice| field(voice).clone());
    call.service = text(|o| &o.service);
    call.environment = text(|o| &o.environment);
    call.team = text(|o| &o.team);
    call.feature = text(|o| &o.feature);
    call.cost_center = text(|o| &o.cost_center);
    call.principal = text(|o| &o.principal);
    call.user_id = text(|o| &o.user_id);
    call.session_id = text(|o| &o.session_id);
    call.gateway = text(|o| &o.gateway);
    let mut tags = Tags::new();
    for voice in voices.iter().rev() {
        tags.extend(voice.tags.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    call.tags = tags;
    // A trace is the caller's: the outermost span that has one.
    let traced = ranked.iter().rev().map(|witnessed| witnessed.observation).find(|o| o.trace_id.is_some());
    call.trace_id = traced.and_then(|observation| observation.trace_id.clone());
    call.span_id = traced.and_then(|observation| observation.span_id.clone());
}
