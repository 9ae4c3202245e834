//! What is taken from the bodies of a call: numbers, flags and the provider's own words. Everything else is stepped
//! over without being built; no text of a prompt or completion is ever copied.
//!
//! Shapes: the Converse response (API reference, `Converse`), the native responses of the models (user guide,
//! "Inference request parameters and response fields for foundation models"), and for streams the array of their
//! chunks.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use crate::sources::lenient::{Fields, Lenient, Raw, skip, take};

/// Which keys an input body has. The value of none is kept, except the number of images asked for.
#[derive(Clone, Debug, Default)]
pub struct InputBody {
    /// `messages`, or Cohere's `message`.
    pub messages: bool,
    /// `documents`.
    pub documents: bool,
    /// `query`.
    pub query: bool,
    /// `imageGenerationConfig`, `text_prompts` or a task of an image model.
    pub image: bool,
    /// `videoGenerationConfig`.
    pub video: bool,
    /// `inputText` (Titan).
    pub input_text: bool,
    /// `textGenerationConfig` (Titan), `prompt`.
    pub prompt: bool,
    /// `texts`, `embeddingConfig`, `embeddingTypes`, …: only embedding models take them.
    pub embedding: bool,
    /// `imageGenerationConfig.numberOfImages`, if it is a count.
    pub images: Option<u64>,
}

impl<'de> Fields<'de> for InputBody {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"imageGenerationConfig" => {
                self.image = true;
                self.images = take::<ImageConfig, A>(map)?.count;
                return Ok(());
            }
            b"messages" | b"message" | b"chat_history" => self.messages = true,
            b"documents" => self.documents = true,
            b"query" => self.query = true,
            b"text_prompts"
            | b"textToImageParams"
            | b"imageVariationParams"
            | b"inPaintingParams"
            | b"outPaintingParams"
            | b"backgroundRemovalParams"
            | b"colorGuidedGenerationParams" => self.image = true,
            b"videoGenerationConfig" | b"textToVideoParams" => self.video = true,
            b"inputText" => self.input_text = true,
            b"prompt" | b"textGenerationConfig" => self.prompt = true,
            b"texts" | b"embeddingConfig" | b"embeddingTypes" | b"embedding_types" | b"singleEmbeddingParams" => {
                self.embedding = true;
            }
            _ => {}
        }
        skip(map)
    }

    fn string(&mut self, text: &str) {
        if let Some(inner) = within_string(text) {
            *self = inner;
        }
    }
}

#[derive(Default)]
struct ImageConfig {
    count: Option<u64>,
}

impl<'de> Fields<'de> for ImageConfig {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"numberOfImages" => self.count = map.next_value::<Raw<'_>>()?.count().unwrap_or(None),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// What an output body says about the call. Of an array (the chunks of a stream), the last chunk that says something
/// about a point holds. `None` where nothing does.
#[derive(Clone, Debug, Default)]
pub struct OutputBody {
    /// True for an array of chunks.
    pub chunked: bool,
    /// Whole duration, milliseconds: `metrics.latencyMs`, or the stream's `invocationLatency`.
    pub latency_ms: Option<f64>,
    /// Time to the first byte, milliseconds; streams of native chunks only.
    pub first_byte_ms: Option<f64>,
    /// Why the model stopped, in the model's own word.
    pub stop_reason: Option<String>,
    /// True: a guardrail intervened. False: one ran and did not. `None`: no sign of any.
    pub guardrail: Option<bool>,
    /// Tokens written to the one-hour cache; a split of the record's own count, never added to it.
    pub cache_write_1h: Option<u64>,
    /// Reasoning tokens; part of the record's output count.
    pub reasoning: Option<u64>,
    /// Tier that served the call, as written.
    pub tier: Option<String>,
    /// `performanceConfig.latency`, as written.
    pub performance: Option<String>,
    /// The model's own id of its answer (`msg_…`, `chatcmpl-…`).
    pub response_id: Option<String>,
    /// True where the body holds an embedding.
    pub embedding: bool,
    /// Number of images in the body.
    pub images: Option<u64>,
}

impl OutputBody {
    fn absorb(&mut self, later: Self) {
        self.latency_ms = later.latency_ms.or(self.latency_ms);
        self.first_byte_ms = later.first_byte_ms.or(self.first_byte_ms);
        self.guardrail = match (self.guardrail, later.guardrail) {
            (None, None) => None,
            (before, after) => Some(before == Some(true) || after == Some(true)),
        };
        self.cache_write_1h = later.cache_write_1h.or(self.cache_write_1h);
        self.reasoning = later.reasoning.or(self.reasoning);
        replace(&mut self.stop_reason, later.stop_reason);
        replace(&mut self.tier, later.tier);
        replace(&mut self.performance, later.performance);
        if self.response_id.is_none() {
            self.response_id = later.response_id;
        }
        self.embedding |= later.embedding;
        self.images = later.images.or(self.images);
    }

    fn stopped(&mut self, reason: Option<String>) {
        if reason.as_deref() == Some("guardrail_intervened") {
            self.guardrail = Some(true);
        }
        replace(&mut self.stop_reason, reason);
    }
}

impl<'de> Fields<'de> for OutputBody {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            // Parts that hold the same facts one level down: Claude's `message_start` and `message_delta`, and the
            // events `messageStop` and `metadata` of the Converse and Nova streams.
            b"message" | b"delta" | b"messageStop" | b"metadata" => {
                let part: Part = take(map)?;
                self.absorb(part.0);
            }
            _ => return fact(self, key, map),
        }
        Ok(())
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        self.chunked = true;
        while let Some(Lenient(chunk)) = seq.next_element::<Lenient<Chunk>>()? {
            self.absorb(chunk.0);
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        if let Some(inner) = within_string(text) {
            *self = inner;
        }
    }
}

/// One element of a stream's array: an object as an output body is, or a bare string such as `[DONE]`.
#[derive(Default)]
struct Chunk(OutputBody);

impl<'de> Fields<'de> for Chunk {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        self.0.field(key, map)
    }
}

/// The inside of a part: the same facts, no further level, so that no nesting of the input can be too deep.
#[derive(Default)]
struct Part(OutputBody);

impl<'de> Fields<'de> for Part {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        fact(&mut self.0, key, map)
    }
}

fn fact<'de, A: MapAccess<'de>>(body: &mut OutputBody, key: &[u8], map: &mut A) -> Result<(), A::Error> {
    match key {
        b"stopReason" | b"stop_reason" | b"finish_reason" | b"completionReason" => {
            body.stopped(map.next_value::<Raw<'_>>()?.word());
        }
        // Titan, OpenAI and Mistral, Cohere, AI21 keep it in a list of answers.
        b"results" | b"choices" | b"generations" | b"outputs" | b"completions" => {
            body.stopped(take::<Answers, A>(map)?.stop_reason);
        }
        b"metrics" => body.latency_ms = take::<Metrics, A>(map)?.latency_ms.or(body.latency_ms),
        b"amazon-bedrock-invocationMetrics" => {
            let metrics: Metrics = take(map)?;
            body.latency_ms = metrics.latency_ms.or(body.latency_ms);
            body.first_byte_ms = metrics.first_byte_ms.or(body.first_byte_ms);
        }
        b"amazon-bedrock-guardrailAction" => {
            if let Some(action) = map.next_value::<Raw<'_>>()?.word() {
                let intervened = action.to_ascii_uppercase().contains("INTERVENED");
                body.guardrail = Some(intervened || body.guardrail == Some(true));
            }
        }
        b"trace" | b"amazon-bedrock-trace" => {
            if take::<Trace, A>(map)?.guardrail {
                body.guardrail = Some(body.guardrail == Some(true));
            }
        }
        b"usage" => {
            let usage: BodyUsage = take(map)?;
            body.cache_write_1h = usage.cache_write_1h.or(body.cache_write_1h);
            body.reasoning = usage.reasoning.or(body.reasoning);
            replace(&mut body.tier, usage.tier);
        }
        b"serviceTier" | b"service_tier" => replace(&mut body.tier, take::<Tier, A>(map)?.name),
        b"performanceConfig" => replace(&mut body.performance, take::<Performance, A>(map)?.latency),
        b"id" => {
            let known = |id: &String| ["msg_", "chatcmpl-", "cmpl-", "resp_"].iter().any(|start| id.starts_with(start));
            if let Some(id) = map.next_value::<Raw<'_>>()?.word().filter(known) {
                body.response_id = Some(id);
            }
        }
        b"embedding" | b"embeddings" | b"embeddingsByType" => {
            body.embedding = true;
            skip(map)?;
        }
        b"images" | b"artifacts" => body.images = take::<Length, A>(map)?.0,
        _ => skip(map)?,
    }
    Ok(())
}

/// `metrics` (Converse) and `amazon-bedrock-invocationMetrics` (last chunk of a stream). The token counts in the latter
/// repeat those of the record and are not read.
#[derive(Default)]
struct Metrics {
    latency_ms: Option<f64>,
    first_byte_ms: Option<f64>,
}

impl<'de> Fields<'de> for Metrics {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"latencyMs" | b"invocationLatency" => self.latency_ms = map.next_value::<Raw<'_>>()?.millis(),
            b"firstByteLatency" => self.first_byte_ms = map.next_value::<Raw<'_>>()?.millis(),
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Trace {
    guardrail: bool,
}

impl<'de> Fields<'de> for Trace {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        self.guardrail |= key == b"guardrail";
        skip(map)
    }
}

/// A list of answers; the last stop reason holds.
#[derive(Default)]
struct Answers {
    stop_reason: Option<String>,
}

impl<'de> Fields<'de> for Answers {
    fn field<A: MapAccess<'de>>(&mut self, _key: &[u8], map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while let Some(Lenient(answer)) = seq.next_element::<Lenient<Answer>>()? {
            replace(&mut self.stop_reason, answer.0);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Answer(Option<String>);

impl<'de> Fields<'de> for Answer {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"stop_reason" | b"stopReason" | b"finish_reason" | b"completionReason" | b"reason" => {
                replace(&mut self.0, map.next_value::<Raw<'_>>()?.word());
            }
            // AI21 writes `finishReason: {reason}`.
            b"finishReason" => replace(&mut self.0, take::<Reason, A>(map)?.0),
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Reason(Option<String>);

impl<'de> Fields<'de> for Reason {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"reason" => self.0 = map.next_value::<Raw<'_>>()?.word(),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// The split of counts that the record holds as a whole (API reference, `TokenUsage` and `CacheDetail`; Anthropic,
/// "Prompt caching"; OpenAI, `usage`). The totals in it are not read.
#[derive(Default)]
struct BodyUsage {
    cache_write_1h: Option<u64>,
    reasoning: Option<u64>,
    tier: Option<String>,
}

impl<'de> Fields<'de> for BodyUsage {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"cacheDetails" => self.cache_write_1h = take::<CacheDetails, A>(map)?.0.or(self.cache_write_1h),
            b"cache_creation" => self.cache_write_1h = take::<Details, A>(map)?.cache_write_1h.or(self.cache_write_1h),
            b"completion_tokens_details" | b"output_tokens_details" => {
                self.reasoning = take::<Details, A>(map)?.reasoning.or(self.reasoning);
            }
            b"service_tier" => self.tier = map.next_value::<Raw<'_>>()?.word(),
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Details {
    cache_write_1h: Option<u64>,
    reasoning: Option<u64>,
}

impl<'de> Fields<'de> for Details {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"ephemeral_1h_input_tokens" => {
                self.cache_write_1h = map.next_value::<Raw<'_>>()?.count().unwrap_or(None);
            }
            b"reasoning_tokens" => self.reasoning = map.next_value::<Raw<'_>>()?.count().unwrap_or(None),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// `[{ttl, inputTokens}]`: tokens written to the cache by time to live; the sum of the one-hour entries, 0 where all
/// entries are shorter, `None` where there is no entry.
#[derive(Default)]
struct CacheDetails(Option<u64>);

impl<'de> Fields<'de> for CacheDetails {
    fn field<A: MapAccess<'de>>(&mut self, _key: &[u8], map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while let Some(Lenient(detail)) = seq.next_element::<Lenient<CacheDetail>>()? {
            if let (Some(ttl), Some(tokens)) = (detail.ttl, detail.tokens) {
                let tokens = if ttl == "1h" { tokens } else { 0 };
                self.0 = Some(self.0.unwrap_or(0).saturating_add(tokens));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct CacheDetail {
    ttl: Option<String>,
    tokens: Option<u64>,
}

impl<'de> Fields<'de> for CacheDetail {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"ttl" => self.ttl = map.next_value::<Raw<'_>>()?.word(),
            b"inputTokens" => self.tokens = map.next_value::<Raw<'_>>()?.count().unwrap_or(None),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// `serviceTier`: `{"type": "flex"}` (Converse) or a bare word.
#[derive(Default)]
pub struct Tier {
    /// The tier as written.
    pub name: Option<String>,
}

impl<'de> Fields<'de> for Tier {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"type" => self.name = map.next_value::<Raw<'_>>()?.word(),
            _ => skip(map)?,
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        let fits = text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        self.name = fits.then(|| text.to_owned()).filter(|name| !name.is_empty());
    }
}

/// `performanceConfig`: `{"latency": "standard" | "optimized"}`.
#[derive(Default)]
pub struct Performance {
    /// The kind of latency as written.
    pub latency: Option<String>,
}

impl<'de> Fields<'de> for Performance {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"latency" => self.latency = map.next_value::<Raw<'_>>()?.word(),
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// The length of an array.
#[derive(Default)]
struct Length(Option<u64>);

impl<'de> Fields<'de> for Length {
    fn field<A: MapAccess<'de>>(&mut self, _key: &[u8], map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        let mut length = 0_u64;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length = length.saturating_add(1);
        }
        self.0 = Some(length).filter(|length| *length > 0);
        Ok(())
    }
}

/// A body that was written as a string of JSON.
fn within_string<T: for<'de> Fields<'de>>(text: &str) -> Option<T> {
    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str::<Lenient<T>>(text).ok())?.map(|body| body.0)
}

fn replace(slot: &mut Option<String>, later: Option<String>) {
    if later.is_some() {
        *slot = later;
    }
}
