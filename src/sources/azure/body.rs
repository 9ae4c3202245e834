//! Bodies that API Management logged: read for id, model, counts, tier and error codes; no text ever leaves this module.
//!
//! Shapes: OpenAI chat completions, OpenAI responses, Anthropic messages, each whole or as the lines of an event stream.
//! <https://learn.microsoft.com/azure/ai-foundry/openai/reference>, <https://docs.claude.com/en/api/messages>

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::naming::counts_cache_apart;
use super::record::{Fields, nested, status};
use crate::model::Usage;

/// What a body says. `None` where it does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    /// `chatcmpl-…`, `resp_…`, `msg_…`.
    pub id: Option<String>,
    /// Model that the body names.
    pub model: Option<String>,
    /// Canonical service tier.
    pub tier: Option<String>,
    /// Whether a stream was asked for, or the body is one.
    pub streaming: Option<bool>,
    /// Code of the error, else of its inner error.
    pub error_code: Option<String>,
    /// Status that the error names.
    pub error_status: Option<u16>,
    /// True where the error says that a content filter stopped the call.
    pub filtered: bool,
    counts: Counts,
}

/// Counts as the body writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    reasoning: Option<u64>,
    audio_input: Option<u64>,
    audio_output: Option<u64>,
    image_input: Option<u64>,
}

impl Body {
    /// Reads a logged body: an object, JSON text, or the text of an event stream. Nothing readable gives an empty body.
    #[must_use]
    pub fn read(value: &RawValue) -> Self {
        let Some(text) = nested(value) else { return Self::default() };
        let text: Cow<'_, str> = text;
        let text = text.trim();
        if text.starts_with('{') {
            return Fields::parse(text).map(|fields| Self::of(&fields, 0)).unwrap_or_default();
        }
        let mut whole = Self::default();
        for line in text.lines() {
            let Some(event) = line.strip_prefix("data:").and_then(|data| Fields::parse(data.trim())) else { continue };
            whole.merge(Self::of(&event, 0));
            whole.streaming = Some(true);
        }
        whole
    }

    /// True where the body is an answer of a model.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.counts != Counts::default() && self.model.is_some()
    }

    /// The counts in canonical form. `model` decides where the body names none.
    #[must_use]
    pub fn usage(&self, model: Option<&str>) -> Usage {
        let c = self.counts;
        let anthropic = c.cache_read.is_some()
            || c.cache_write.is_some()
            || counts_cache_apart(self.model.as_deref().or(model), None);
        if anthropic {
            let usage = Usage::from_disjoint(c.input, c.cache_read.or(c.cached), c.cache_write, c.output);
            return Usage { cache_write_1h: c.cache_write_1h.filter(|_| c.cache_write.is_some()), ..usage };
        }
        Usage {
            input: c.input,
            cache_read: c.cached,
            output: c.whole_output(self.model.as_deref().or(model)),
            reasoning: c.reasoning,
            audio_input: c.audio_input,
            audio_output: c.audio_output,
            image_input: c.image_input,
            ..Usage::default()
        }
    }

    fn of(fields: &Fields<'_>, depth: u8) -> Self {
        let mut body = Self {
            id: fields.word("id"),
            model: fields.word("model"),
            tier: fields.word("service_tier").and_then(|tier| tier_of(&tier)),
            streaming: fields.truth("stream"),
            counts: fields.object("usage").map(|usage| Counts::of(&usage)).unwrap_or_default(),
            ..Self::default()
        };
        if let Some(error) = fields.object("error") {
            let inner = error.object("innererror").or_else(|| error.object("inner_error"));
            let inner = inner.and_then(|inner| inner.word("code"));
            let code = error.word("code").or_else(|| error.word("type"));
            let is_filter = |code: &Option<String>| {
                code.as_deref().is_some_and(|code| {
                    ["content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation"]
                        .iter()
                        .any(|known| code.eq_ignore_ascii_case(known))
                })
            };
            body.filtered = is_filter(&code) || is_filter(&inner);
            body.error_status = error.get("status").and_then(status);
            body.error_code = code.or(inner);
        }
        // Event streams wrap the answer: `response.completed` of OpenAI, `message_start` of Anthropic.
        if depth == 0 {
            for name in ["response", "message"] {
                if let Some(inner) = fields.object(name) {
                    body.merge(Self::of(&inner, 1));
                }
            }
        }
        body
    }

    /// Takes over what a later part of a stream says: ids from the first that has one, counts from the last.
    fn merge(&mut self, later: Self) {
        // The id of an event is not the id of the answer, so an answer inside the event goes first.
        self.id = later.id.filter(|_| later.model.is_some() || self.id.is_none()).or_else(|| self.id.take());
        self.model = self.model.take().or(later.model);
        self.tier = later.tier.or_else(|| self.tier.take());
        self.streaming = self.streaming.or(later.streaming);
        self.error_code = self.error_code.take().or(later.error_code);
        self.error_status = self.error_status.or(later.error_status);
        self.filtered |= later.filtered;
        self.counts.merge(later.counts);
    }
}

impl Counts {
    fn of(usage: &Fields<'_>) -> Self {
        // A count that is none is left out: the body is only a further witness of it.
        let count = |fields: &Fields<'_>, name: &str| fields.count(name).ok().flatten();
        let detail = |names: [&str; 2], name: &str| {
            names.iter().find_map(|object| usage.object(object).and_then(|fields| count(&fields, name)))
        };
        let input_details = ["prompt_tokens_details", "input_tokens_details"];
        let output_details = ["completion_tokens_details", "output_tokens_details"];
        let either = |a: &str, b: &str| count(usage, a).or_else(|| count(usage, b));
        let creation = usage.object("cache_creation");
        Self {
            input: either("prompt_tokens", "input_tokens"),
            output: either("completion_tokens", "output_tokens"),
            total: count(usage, "total_tokens"),
            cached: detail(input_details, "cached_tokens"),
            cache_read: count(usage, "cache_read_input_tokens"),
            cache_write: count(usage, "cache_creation_input_tokens"),
            cache_write_1h: creation.and_then(|fields| count(&fields, "ephemeral_1h_input_tokens")),
            reasoning: detail(output_details, "reasoning_tokens"),
            audio_input: detail(input_details, "audio_tokens"),
            audio_output: detail(output_details, "audio_tokens"),
            image_input: detail(input_details, "image_tokens"),
        }
    }

    fn merge(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.total = later.total.or(self.total);
        self.cached = later.cached.or(self.cached);
        self.cache_read = later.cache_read.or(self.cache_read);
        self.cache_write = later.cache_write.or(self.cache_write);
        self.cache_write_1h = later.cache_write_1h.or(self.cache_write_1h);
        self.reasoning = later.reasoning.or(self.reasoning);
        self.audio_input = later.audio_input.or(self.audio_input);
        self.audio_output = later.audio_output.or(self.audio_output);
        self.image_input = later.image_input.or(self.image_input);
    }

    /// xAI counts reasoning outside the completion but inside the total: reasoning is added where the three add up to
    /// the total exactly, or where a Grok model reasoned more than its completion could hold.
    fn whole_output(&self, model: Option<&str>) -> Option<u64> {
        let (Some(output), Some(reasoning)) = (self.output, self.reasoning) else { return self.output };
        let sum = output.checked_add(reasoning);
        let adds_up = self.total.is_some() && self.input.zip(sum).and_then(|(a, b)| a.checked_add(b)) == self.total;
        let is_grok = || model.is_some_and(|model| model.to_ascii_lowercase().starts_with("grok"));
        if adds_up || reasoning > output && is_grok() {
            return sum;
        }
        self.output
    }
}

fn tier_of(tier: &str) -> Option<String> {
    match tier.to_ascii_lowercase().as_str() {
        "default" | "standard" => Some("standard".to_owned()),
        known @ ("priority" | "flex" | "batch") => Some(known.to_owned()),
        _ => None,
    }
}
