//! One request of the made-up company, before any provider writes it down: who asks, where it goes, what comes back.

use super::company::{FEATURES, Feature, Kind, Place, Platform};
use super::rng::Rng;
use super::scenario::Scenario;
use super::text::{ANSWERS, PROMPTS};
use super::truth::DemoTruth;
use crate::model::{SECOND_US, Timestamp, Usage};

/// No attempt takes longer.
const LONGEST_US: i64 = 90 * SECOND_US;

/// Share of the questions to the gateway that are asked again while its cache knows the answer, per mille.
const CACHED: u64 = 40;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The model said all it had to say.
    Finished,
    /// The answer was cut at its limit.
    CutOff,
    /// The model asks for a tool.
    ToolUse,
    /// Refused for load.
    Throttled,
    /// The provider failed.
    Broken,
    /// The request was at fault.
    BadRequest,
    /// A filter or guardrail stepped in.
    Filtered,
    /// No answer in time.
    TimedOut,
}

impl Ending {
    /// True where the model answered.
    pub(super) const fn is_answer(self) -> bool {
        matches!(self, Self::Finished | Self::CutOff | Self::ToolUse)
    }

    /// True where another platform may help.
    pub(super) const fn can_be_rescued(self) -> bool {
        matches!(self, Self::Throttled | Self::Broken)
    }

    /// HTTP status that stands for it.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Finished | Self::CutOff | Self::ToolUse => 200,
            Self::Throttled => 429,
            Self::Broken => 503,
            Self::BadRequest | Self::Filtered => 400,
            Self::TimedOut => 408,
        }
    }
}

/// Which way a request takes to the provider, and who of those on the way tells about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Straight to the cloud; only its log tells.
    Direct,
    /// Straight to the cloud from an instrumented application.
    Sdk,
    /// Through the gateway.
    Gateway,
    /// Through the gateway from an instrumented application.
    SdkAndGateway,
}

impl Via {
    /// True where the gateway is on the way.
    pub(super) const fn gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::SdkAndGateway)
    }
}

/// One try at one provider. Durations in microseconds as the provider sees them.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) place: &'static Place,
    pub(super) start: Timestamp,
    pub(super) duration_us: i64,
    pub(super) first_token_us: i64,
    pub(super) ending: Ending,
    /// Empty where there is no answer.
    pub(super) usage: Usage,
    /// Id that the cloud's log and the response header share.
    pub(super) request_id: String,
    /// Id in the answer, as the gateway's caller sees it.
    pub(super) response_id: String,
}

impl Attempt {
    /// When the last byte came.
    pub(super) const fn end(&self) -> Timestamp {
        self.start.plus(self.duration_us)
    }
}

/// One request: its attempts in time order, one unless the gateway failed over.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) feature: &'static Feature,
    pub(super) staging: bool,
    pub(super) streamed: bool,
    pub(super) via: Via,
    pub(super) user: u64,
    pub(super) session: u64,
    pub(super) prompt: &'static str,
    pub(super) answer: &'static str,
    pub(super) call_id: String,
    pub(super) trace_id: [u8; 16],
    pub(super) attempts: Vec<Attempt>,
}

/// The room that a request has: it ends at `end`, begins after `earliest`, and tries at most `attempts` times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) earliest: Timestamp,
    pub(super) end: Timestamp,
    pub(super) attempts: u64,
}

impl Request {
    /// Makes up a request; `None` only if there is no feature to choose.
    pub(super) fn make(rng: &mut Rng, scenario: &Scenario, room: Room) -> Option<Self> {
        let feature = rng.weighted(FEATURES, |feature| feature.weight)?;
        let place = rng.weighted(feature.places, |(_, weight)| *weight).map(|(place, _)| *place)?;
        let mut request = Self {
            feature,
            staging: rng.chance(80),
            streamed: rng.chance(feature.streamed),
            via: way(rng, feature, place),
            user: rng.below(900),
            session: rng.below(100_000),
            prompt: rng.pick(&PROMPTS),
            answer: rng.pick(&ANSWERS),
            call_id: rng.uuid(),
            trace_id: rng.trace_id(),
            attempts: Vec::with_capacity(1),
        };
        let first = request.attempt(rng, scenario, place, room.end);
        let failed = first.ending.can_be_rescued();
        request.attempts.push(first);
        if failed && request.via.gateway() && room.attempts > 1 && rng.chance(950) {
            let others: Vec<_> =
                feature.rescue.iter().filter(|other| other.platform_name() != place.platform_name()).collect();
            if let Some(other) = rng.weighted(&others, |_| 1) {
                request.via = Via::Gateway;
                let second = request.attempt(rng, scenario, other, room.end);
                request.attempts.push(second);
            }
        }
        request.settle_times(rng, room);
        Some(request)
    }

    /// Adds what really happened to `truth`.
    pub(super) fn count(&self, truth: &mut DemoTruth) {
        for attempt in &self.attempts {
            let sum = truth.platforms.entry(attempt.place.platform_name()).or_default();
            sum.calls += 1;
            sum.failed += u64::from(!attempt.ending.is_answer());
            sum.input_tokens += attempt.usage.input.unwrap_or(0);
            sum.output_tokens += attempt.usage.output.unwrap_or(0);
            sum.seen_twice += u64::from(attempt.place.is_logged() && self.via != Via::Direct);
        }
        if self.attempts.len() > 1 {
            truth.failovers += 1;
            truth.rescued += u64::from(self.attempts.last().is_some_and(|last| last.ending.is_answer()));
        }
    }

    /// The same question asked again in (`from`, `to`], so that the gateway has the answer in its cache; `None` for most.
    pub(super) fn again(&self, rng: &mut Rng, from: Timestamp, to: Timestamp) -> Option<Self> {
        let [attempt] = self.attempts.as_slice() else { return None };
        let repeats = self.via.gateway() && self.feature.kind != Kind::Agent && attempt.ending.is_answer();
        let earliest = attempt.end().max(from).plus(SECOND_US);
        let room_us = to.0.saturating_sub(earliest.0).saturating_sub(SECOND_US);
        if !repeats || room_us <= 0 || !rng.chance(CACHED) {
            return None;
        }
        let mut again = Self {
            via: Via::Gateway,
            call_id: rng.uuid(),
            trace_id: rng.trace_id(),
            attempts: Vec::new(),
            ..self.clone()
        };
        let (start, duration_us) = (earliest.plus(rng.below_us(room_us)), 2000 + rng.below_us(6000));
        let response_id = format!("chatcmpl-{}", rng.uuid());
        let request_id = String::new();
        let first_token_us = duration_us;
        again.attempts.push(Attempt { start, duration_us, first_token_us, response_id, request_id, ..attempt.clone() });
        Some(again)
    }

    /// Adds an answer from the cache to `truth`.
    pub(super) fn count_cached(&self, truth: &mut DemoTruth) {
        for attempt in &self.attempts {
            truth.cached.requests += 1;
            truth.cached.input_tokens += attempt.usage.input.unwrap_or(0);
            truth.cached.output_tokens += attempt.usage.output.unwrap_or(0);
        }
    }

    /// The name of the environment.
    pub(super) const fn environment(&self) -> &'static str {
        if self.staging { "staging" } else { "prod" }
    }

    fn attempt(&self, rng: &mut Rng, scenario: &Scenario, place: &'static Place, at: Timestamp) -> Attempt {
        let weather = scenario.weather(place, at);
        let ending = self.ending(rng, place, (weather.throttled, weather.broken));
        let usage = if ending.is_answer() { usage(rng, self.feature, place) } else { Usage::default() };
        let ms = match ending {
            Ending::Throttled => rng.around(90, 50),
            Ending::Broken => rng.around(1500, 60),
            Ending::BadRequest => rng.around(60, 40),
            Ending::Filtered => rng.around(350, 40),
            Ending::TimedOut => 60_000,
            Ending::Finished | Ending::CutOff | Ending::ToolUse => {
                rng.around(place.first_token_ms, 45) + usage.input.unwrap_or(0) / 60
            }
        };
        let first = i64::try_from(ms).unwrap_or(0) * 1000 + rng.below_us(1000);
        let speed = rng.around(place.tokens_per_s, 18).max(1);
        let rest = i64::try_from(usage.output.unwrap_or(0) * 1_000_000 / speed).unwrap_or(0);
        let slow = |us: i64| us.saturating_mul(weather.slowness).min(LONGEST_US);
        let response_id = match place.platform {
            Platform::OpenAi | Platform::Azure { .. } => format!("chatcmpl-{}", rng.token(29)),
            Platform::Bedrock { .. } | Platform::Anthropic => format!("chatcmpl-{}", rng.uuid()),
        };
        Attempt {
            place,
            start: at,
            duration_us: slow(first.saturating_add(rest)),
            first_token_us: slow(first),
            ending,
            usage,
            request_id: request_id(rng, place),
            response_id,
        }
    }

    fn ending(&self, rng: &mut Rng, place: &Place, (throttled, broken): (u64, u64)) -> Ending {
        let feature = self.feature;
        let filters = feature.kind != Kind::Embeddings
            && match place.platform {
                Platform::Azure { .. } => true,
                // The gateway has no guardrail on its calls.
                Platform::Bedrock { .. } => !self.via.gateway(),
                Platform::OpenAi | Platform::Anthropic => false,
            };
        let lot = rng.below(1000);
        if lot < throttled {
            Ending::Throttled
        } else if lot < throttled + broken {
            Ending::Broken
        } else if lot >= 993 {
            Ending::BadRequest
        } else if lot >= 990 && filters {
            Ending::Filtered
        } else if lot == 989 && feature.kind != Kind::Embeddings {
            Ending::TimedOut
        } else if feature.kind == Kind::Agent && rng.chance(450) {
            Ending::ToolUse
        } else if feature.kind == Kind::Chat && rng.chance(15) {
            Ending::CutOff
        } else {
            Ending::Finished
        }
    }

    /// Puts the attempts one after the other so that everything about them fits into the room.
    fn settle_times(&mut self, rng: &mut Rng, room: Room) {
        // What gateway and application add before, between and after the attempts.
        const AROUND_US: i64 = 200_000;
        let count = i64::try_from(self.attempts.len()).unwrap_or(1).max(1);
        let room_us = room.end.0.saturating_sub(room.earliest.0);
        let longest = (room_us / count).saturating_sub(2 * AROUND_US).max(1000);
        let mut end = room.end.plus(-AROUND_US);
        for attempt in self.attempts.iter_mut().rev() {
            attempt.duration_us = attempt.duration_us.min(longest);
            attempt.first_token_us = attempt.first_token_us.min(attempt.duration_us);
            attempt.start = end.plus(-attempt.duration_us);
            end = attempt.start.plus(-30_000 - rng.below_us(60_000));
        }
    }
}

fn way(rng: &mut Rng, feature: &Feature, place: &Place) -> Via {
    if feature.team.is_none() {
        Via::Direct
    } else if !place.is_logged() || rng.chance(333) {
        let instrumented = feature.kind != Kind::Embeddings && rng.chance(350);
        if instrumented { Via::SdkAndGateway } else { Via::Gateway }
    } else if place.is_claude() && rng.chance(200) {
        Via::Sdk
    } else {
        Via::Direct
    }
}

fn usage(rng: &mut Rng, feature: &Feature, place: &Place) -> Usage {
    let input = rng.around(feature.input_tokens, 55).min(150_000);
    if feature.kind == Kind::Embeddings {
        return Usage { input: Some(input), ..Usage::default() };
    }
    let output = rng.around(feature.output_tokens, 60).min(8000);
    let share = 55 + rng.below(40);
    let prefix = if input >= 1024 && rng.chance(feature.cached) { input * share / 100 } else { 0 };
    let mut usage = Usage { input: Some(input), output: Some(output), ..Usage::default() };
    match place.platform {
        Platform::Azure { .. } | Platform::OpenAi => usage.cache_read = Some(prefix / 128 * 128),
        Platform::Bedrock { .. } | Platform::Anthropic if place.is_claude() && prefix > 0 => {
            // A warm cache is read and grows by the new turn; a cold one is written.
            let warm = rng.chance(850);
            usage.cache_read = Some(if warm { prefix } else { 0 });
            usage.cache_write = Some(if warm { (input - prefix) / 3 } else { prefix });
        }
        Platform::Bedrock { .. } | Platform::Anthropic => (usage.cache_read, usage.cache_write) = (Some(0), Some(0)),
    }
    if place.platform == Platform::OpenAi {
        let thoughts = if place.reasons { (64 * (2 + rng.around(12, 60))).min(16_000) } else { 0 };
        usage.reasoning = Some(thoughts);
        usage.output = Some(output + thoughts);
    }
    usage
}

fn request_id(rng: &mut Rng, place: &Place) -> String {
    match place.platform {
        Platform::Azure { .. } | Platform::Bedrock { .. } => rng.uuid(),
        Platform::OpenAi => format!("req_{:016x}{:016x}", rng.next(), rng.next()),
        Platform::Anthropic => format!("req_01{}", rng.token(22)),
    }
}
