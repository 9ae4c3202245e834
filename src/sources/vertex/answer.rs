//! What is taken from answers: ids, counts, codes and stop reasons. Everything else is stepped over without being built.

use serde::de::{MapAccess, SeqAccess};

use super::record::within;
use crate::sources::lenient::{Fields, Lenient, Raw, repair, skip, take};

/// What answers say about a call. Of several, as a stream has them, the last that says something about a point holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Gemini's `responseId`, Claude's `id`.
    pub id: Option<String>,
    /// Gemini's `modelVersion`, Claude's `model`.
    pub model: Option<String>,
    /// Gemini's counts.
    pub gemini: GeminiUsage,
    /// Claude's counts.
    pub claude: ClaudeUsage,
    /// Why it stopped.
    pub stop: Option<String>,
    /// Why the prompt was refused.
    pub blocked: Option<String>,
    /// `error.code`.
    pub error_code: Option<String>,
    /// `error.status`, or Claude's `error.type`.
    pub error_name: Option<String>,
    /// A count that is none.
    pub bad: bool,
}

impl Answer {
    fn absorb(&mut self, later: Self) {
        let last = |kept: &mut Option<String>, later: Option<String>| *kept = later.or_else(|| kept.take());
        if self.id.is_none() {
            self.id = later.id;
        }
        last(&mut self.model, later.model);
        last(&mut self.stop, later.stop);
        last(&mut self.blocked, later.blocked);
        last(&mut self.error_code, later.error_code);
        last(&mut self.error_name, later.error_name);
        self.gemini.absorb(later.gemini);
        self.claude.absorb(later.claude);
        self.bad |= later.bad;
    }
}

impl<'de> Fields<'de> for Answer {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"responseId" | b"id" => self.id = map.next_value::<Raw<'_>>()?.word(),
            b"modelVersion" | b"model" => self.model = map.next_value::<Raw<'_>>()?.word(),
            b"usageMetadata" => {
                let usage: GeminiUsage = take(map)?;
                self.bad |= usage.bad;
                self.gemini = usage;
            }
            b"usage" => {
                let usage: ClaudeUsage = take(map)?;
                self.bad |= usage.bad;
                self.claude.absorb(usage);
            }
            b"candidates" => self.stop = take::<Candidates, A>(map)?.0.or_else(|| self.stop.take()),
            b"stop_reason" => self.stop = map.next_value::<Raw<'_>>()?.word().or_else(|| self.stop.take()),
            b"promptFeedback" => self.blocked = take::<Feedback, A>(map)?.0,
            b"error" => {
                let error: Failure = take(map)?;
                self.error_code = error.code;
                self.error_name = error.name;
            }
            // Events of Claude's streams hold the same one level down.
            b"message" | b"delta" => {
                let part: Self = take(map)?;
                self.absorb(part);
            }
            _ => skip(map)?,
        }
        Ok(())
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while let Some(part) = seq.next_element::<Lenient<Self>>()? {
            self.absorb(part.0);
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        *self = answers(text);
    }
}

/// The answers in a text: JSON, or the events of a stream, whose data are JSON. Anything else says nothing.
fn answers(text: &str) -> Answer {
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        let strict = serde_json::from_str::<Lenient<Answer>>(text).ok();
        let found = strict.or_else(|| serde_json::from_str(&repair(text.as_bytes())).ok());
        return found.map(|found: Lenient<Answer>| found.0).unwrap_or_default();
    }
    let mut all = Answer::default();
    for data in text.lines().filter_map(|line| line.trim().strip_prefix("data:")) {
        if let Some(part) = within::<Answer>(data.trim()) {
            all.absorb(part);
        }
    }
    all
}

/// `response_payload`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload(pub Answer);

impl<'de> Fields<'de> for Payload {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        self.0.field(key, map)
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        self.0.elements(seq)
    }

    fn string(&mut self, text: &str) {
        self.0.string(text);
    }
}

/// `usageMetadata`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GeminiUsage {
    /// `promptTokenCount`: includes what was cached.
    pub prompt: Option<u64>,
    /// `toolUsePromptTokenCount`: results of tools, beside the prompt.
    pub tool: Option<u64>,
    /// `cachedContentTokenCount`: part of the prompt.
    pub cached: Option<u64>,
    /// `candidatesTokenCount`: without thoughts.
    pub candidates: Option<u64>,
    /// `thoughtsTokenCount`.
    pub thoughts: Option<u64>,
    /// Of the prompt: audio and images.
    pub input_details: Details,
    /// Of the candidates: audio.
    pub output_details: Details,
    /// `trafficType`.
    pub traffic: Option<Traffic>,
    /// A count that is none.
    pub bad: bool,
}

impl GeminiUsage {
    const fn absorb(&mut self, later: Self) {
        // The counts of a stream's chunks grow: the last is the whole.
        let says = later.prompt.is_some() || later.candidates.is_some() || later.thoughts.is_some();
        if says {
            *self = later;
        }
    }
}

impl<'de> Fields<'de> for GeminiUsage {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        let slot = match key {
            b"promptTokenCount" => &mut self.prompt,
            b"toolUsePromptTokenCount" => &mut self.tool,
            b"cachedContentTokenCount" => &mut self.cached,
            b"candidatesTokenCount" => &mut self.candidates,
            b"thoughtsTokenCount" => &mut self.thoughts,
            b"promptTokensDetails" => return take(map).map(|details| self.input_details = details),
            b"candidatesTokensDetails" => return take(map).map(|details| self.output_details = details),
            b"trafficType" => {
                self.traffic = map.next_value::<Raw<'_>>()?.word().as_deref().and_then(Traffic::of);
                return Ok(());
            }
            _ => return skip(map),
        };
        match map.next_value::<Raw<'_>>()?.count() {
            Ok(count) => *slot = count,
            Err(_) => self.bad = true,
        }
        Ok(())
    }
}

/// How a call was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// By the token.
    OnDemand,
    /// By the token, first in line.
    Priority,
    /// By the token, last in line.
    Flex,
    /// By capacity.
    Provisioned,
}

impl Traffic {
    fn of(word: &str) -> Option<Self> {
        match word {
            "ON_DEMAND" => Some(Self::OnDemand),
            "ON_DEMAND_PRIORITY" => Some(Self::Priority),
            "ON_DEMAND_FLEX" => Some(Self::Flex),
            "PROVISIONED_THROUGHPUT" => Some(Self::Provisioned),
            _ => None,
        }
    }

    /// The tier's name in the tables.
    pub const fn tier(self) -> &'static str {
        match self {
            Self::OnDemand => "standard",
            Self::Priority => "priority",
            Self::Flex => "flex",
            Self::Provisioned => "provisioned",
        }
    }
}

/// Counts by modality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// `AUDIO`.
    pub audio: Option<u64>,
    /// `IMAGE`.
    pub image: Option<u64>,
}

impl<'de> Fields<'de> for Details {
    fn field<A: MapAccess<'de>>(&mut self, _: &[u8], map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while let Some(Lenient(Detail { modality, count })) = seq.next_element()? {
            match modality.as_deref() {
                Some("AUDIO") => self.audio = count,
                Some("IMAGE") => self.image = count,
                _ => {}
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Detail {
    modality: Option<String>,
    count: Option<u64>,
}

impl<'de> Fields<'de> for Detail {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"modality" => self.modality = map.next_value::<Raw<'_>>()?.word(),
            b"tokenCount" => self.count = map.next_value::<Raw<'_>>()?.count().unwrap_or(None),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// Claude's `usage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaudeUsage {
    /// `input_tokens`: without what was cached.
    pub input: Option<u64>,
    /// `cache_read_input_tokens`.
    pub cache_read: Option<u64>,
    /// `cache_creation_input_tokens`.
    pub cache_write: Option<u64>,
    /// `cache_creation.ephemeral_1h_input_tokens`.
    pub cache_write_1h: Option<u64>,
    /// `output_tokens`.
    pub output: Option<u64>,
    /// A count that is none.
    pub bad: bool,
}

impl ClaudeUsage {
    /// Counts of a stream come at its start and at its end; each later one holds.
    fn absorb(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.cache_read = later.cache_read.or(self.cache_read);
        self.cache_write = later.cache_write.or(self.cache_write);
        self.cache_write_1h = later.cache_write_1h.or(self.cache_write_1h);
        self.output = later.output.or(self.output);
        self.bad |= later.bad;
    }
}

impl<'de> Fields<'de> for ClaudeUsage {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        let slot = match key {
            b"input_tokens" => &mut self.input,
            b"cache_read_input_tokens" => &mut self.cache_read,
            b"cache_creation_input_tokens" => &mut self.cache_write,
            b"output_tokens" => &mut self.output,
            b"ephemeral_1h_input_tokens" => &mut self.cache_write_1h,
            b"cache_creation" => {
                self.cache_write_1h = take::<Self, A>(map)?.cache_write_1h;
                return Ok(());
            }
            _ => return skip(map),
        };
        match map.next_value::<Raw<'_>>()?.count() {
            Ok(count) => *slot = count,
            Err(_) => self.bad = true,
        }
        Ok(())
    }
}

/// `candidates`: why the first one stopped.
#[derive(Default)]
struct Candidates(Option<String>);

impl<'de> Fields<'de> for Candidates {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"finishReason" => self.0 = map.next_value::<Raw<'_>>()?.word(),
            _ => skip(map)?,
        }
        Ok(())
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while let Some(Lenient(Self(stop))) = seq.next_element()? {
            self.0 = self.0.take().or(stop);
        }
        Ok(())
    }
}

/// `promptFeedback`: why the prompt was refused.
#[derive(Default)]
struct Feedback(Option<String>);

impl<'de> Fields<'de> for Feedback {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"blockReason" => self.0 = map.next_value::<Raw<'_>>()?.word(),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// The names of errors are `RESOURCE_EXHAUSTED`, or `overloaded_error`; anything else could be content.
fn is_name(word: &str) -> bool {
    word.ends_with("_error") || word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// `error`.
#[derive(Default)]
struct Failure {
    code: Option<String>,
    name: Option<String>,
}

impl<'de> Fields<'de> for Failure {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"code" => self.code = map.next_value::<Raw<'_>>()?.text().filter(|code| code.len() <= 8),
            b"status" | b"type" => self.name = map.next_value::<Raw<'_>>()?.word().filter(|word| is_name(word)),
            _ => skip(map)?,
        }
        Ok(())
    }
}
