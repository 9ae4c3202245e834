//! Why a call is what it is: who spoke of it, what joined or left out each, and where every figure comes from. The same
//! functions decide here as when a call is settled; this only writes down what they did.

use std::collections::HashMap;
use std::sync::Arc;

use super::count::{LeftOut, Rule, Witnessed};
use super::{Rules, as_said, attempts, count, group, merge, one_call};
use crate::catalog::ModelIdentity;
use crate::model::{Call, Observation, RecordId, Timestamp};
use crate::pricing::Priced;

/// What became of some observations.
#[derive(Debug)]
pub struct Explanation {
    /// The calls, by start.
    pub calls: Vec<CallExplained>,
    /// Every record once, by start.
    pub seen: Vec<Seen>,
}

/// A call and how it came to be.
#[derive(Debug)]
pub struct CallExplained {
    /// The call as it is settled.
    pub call: Call,
    /// Its witnesses in the order in which they speak for tokens and status.
    pub witnesses: Vec<RecordId>,
    /// Why they are one call.
    pub joined: Vec<Joined>,
    /// Where its columns come from.
    pub figures: Vec<Figure>,
    /// How it came to its price.
    pub priced: Priced,
    /// As its witnesses tell it, before anybody is named to pay for it.
    pub said: Call,
    /// What its model names were understood as.
    pub identity: ModelIdentity,
}

/// Two observations that are one call.
#[derive(Debug)]
pub struct Joined {
    /// One.
    pub a: RecordId,
    /// The other.
    pub b: RecordId,
    /// Why.
    pub rule: Rule,
}

/// A column of a call.
#[derive(Debug)]
pub struct Figure {
    /// Its name.
    pub column: &'static str,
    /// What it holds.
    pub value: String,
    /// Who said so; `None` where it is derived from other columns.
    pub from: Option<RecordId>,
}

/// A record and what became of it.
#[derive(Debug)]
pub struct Seen {
    /// The record.
    pub observation: Arc<Observation>,
    /// Which sources delivered it.
    pub sources: Vec<String>,
    /// Why it is no witness of a call.
    pub left_out: Option<LeftOut>,
}

/// Explains the calls that these observations speak of. `observations` must hold everything that could be linked to
/// them.
#[must_use]
pub fn explain(observations: Vec<Arc<Observation>>, rules: &Rules) -> Explanation {
    let mut all = Explanation { calls: Vec::new(), seen: Vec::new() };
    for group in group(observations) {
        let unique = count::unique(&group);
        let counted = count::calls(&unique);
        let id = |place: usize| unique.get(place).map_or(RecordId::default(), |o| o.observation.observation_id);
        let mut home = HashMap::new();
        let (mut calls, mut details) = (Vec::new(), Vec::new());
        for (number, witnesses) in counted.calls.iter().enumerate() {
            home.extend(witnesses.iter().map(|witnessed| (witnessed.observation.observation_id, number)));
            let made = one_call(witnesses, rules, Timestamp::default());
            calls.push((made.call, attempts::chains(witnesses)));
            details.push((merge::ranked(witnesses), made.priced, as_said(witnesses, rules), made.identity));
        }
        attempts::number(&mut calls);
        for (number, ((call, _), (ranked, priced, said, identity))) in calls.into_iter().zip(details).enumerate() {
            let joined = counted.joined.iter().map(|(a, b, rule)| Joined { a: id(*a), b: id(*b), rule: *rule });
            all.calls.push(CallExplained {
                witnesses: ranked.iter().map(|witnessed| witnessed.observation.observation_id).collect(),
                joined: joined.filter(|joined| home.get(&joined.a) == Some(&number)).collect(),
                figures: figures(&call, &ranked),
                call,
                priced,
                said,
                identity,
            });
        }
        all.seen.extend(unique.iter().zip(counted.left_out).map(|(witnessed, left_out)| Seen {
            observation: Arc::new(witnessed.observation.clone()),
            sources: witnessed.sources.iter().map(|source| (*source).to_owned()).collect(),
            left_out,
        }));
    }
    all.calls.sort_by_key(|explained| (explained.call.ts, explained.call.call_id));
    all.seen.sort_by_key(|seen| (seen.observation.ts, seen.observation.observation_id));
    all
}

/// What a column holds, in an observation and in a call.
struct Column {
    name: &'static str,
    said: fn(&Observation) -> Option<String>,
    holds: fn(&Call) -> Option<String>,
}

macro_rules! columns {
    ($($name:literal = $($path:ident).+;)+) => {
        &[$(Column {
            name: $name,
            said: |o| o.$($path).+.as_ref().map(ToString::to_string),
            holds: |c| c.$($path).+.as_ref().map(ToString::to_string),
        }),+]
    };
}

/// Tokens, status, place and ids: the provider, then the gateway, then the client.
const SPOKEN: &[Column] = columns! {
    "platform" = platform;
    "request_model" = request_model;
    "response_model" = response_model;
    "deployment" = deployment;
    "region" = region;
    "served_region" = served_region;
    "account" = account;
    "resource" = resource;
    "operation" = operation;
    "streaming" = streaming;
    "tier" = tier;
    "http_status" = http_status;
    "error_code" = error_code;
    "finish_reason" = finish_reason;
    "input_tokens" = usage.input;
    "cache_read_tokens" = usage.cache_read;
    "cache_write_tokens" = usage.cache_write;
    "cache_write_1h_tokens" = usage.cache_write_1h;
    "output_tokens" = usage.output;
    "reasoning_tokens" = usage.reasoning;
    "audio_input_tokens" = usage.audio_input;
    "audio_output_tokens" = usage.audio_output;
    "image_input_tokens" = usage.image_input;
    "images" = usage.images;
    "provider_request_id" = provider_request_id;
    "response_id" = response_id;
    "chain_id" = chain_id;
};

/// The outcome, which a call always has.
const OUTCOME: &[Column] = &[Column {
    name: "outcome",
    said: |o| o.outcome.map(|outcome| outcome.to_string()),
    holds: |c| Some(c.outcome.to_string()),
}];

/// As the caller saw it.
const FELT: &[Column] = columns! {
    "duration_ms" = duration_ms;
    "ttft_ms" = ttft_ms;
};

/// As the provider saw it.
const SERVED: &[Column] = &[
    Column {
        name: "provider_duration_ms",
        said: |o| o.duration_ms.map(|ms| ms.to_string()),
        holds: |c| c.provider_duration_ms.map(|ms| ms.to_string()),
    },
    Column {
        name: "provider_ttft_ms",
        said: |o| o.ttft_ms.map(|ms| ms.to_string()),
        holds: |c| c.provider_ttft_ms.map(|ms| ms.to_string()),
    },
];

/// Who pays: the application and the spans around it, then the gateway, then the provider.
const ATTRIBUTED: &[Column] = columns! {
    "service" = service;
    "environment" = environment;
    "team" = team;
    "feature" = feature;
    "cost_center" = cost_center;
    "principal" = principal;
    "user_id" = user_id;
    "session_id" = session_id;
    "gateway" = gateway;
};

/// Who said what the call holds: the first in the order of precedence whose word it is.
fn figures(call: &Call, ranked: &[&Witnessed<'_>]) -> Vec<Figure> {
    let speakers: Vec<&Observation> = ranked.iter().map(|witnessed| witnessed.observation).collect();
    let start: Vec<&Observation> = speakers.iter().copied().filter(|speaker| speaker.ts == call.ts).collect();
    let first = start.first().map(|speaker| speaker.observation_id);
    let mut figures = vec![Figure { column: "ts", value: call.ts.to_string(), from: first }];
    let parts = [
        (OUTCOME, speakers.clone()),
        (SPOKEN, speakers.clone()),
        (FELT, merge::callers(&speakers)),
        (SERVED, merge::providers(&speakers)),
        (ATTRIBUTED, merge::voices(ranked)),
    ];
    for (columns, order) in parts {
        for column in columns {
            let Some(value) = (column.holds)(call) else { continue };
            let from = order.iter().find(|speaker| (column.said)(speaker).as_ref() == Some(&value));
            figures.push(Figure { column: column.name, value, from: from.map(|speaker| speaker.observation_id) });
        }
    }
    figures
}
