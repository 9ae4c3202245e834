//! The wire format, field for field.
//!
//! Usage and costs: OpenAI API reference, "Usage" (<https://platform.openai.com/docs/api-reference/usage>).

use serde::Deserialize;
use serde_json::value::RawValue;

/// A bucket of a report, as the transport hands it over.
#[derive(Deserialize)]
pub struct Record<'a> {
    /// Which report.
    pub report: String,
    /// The bucket as it came.
    #[serde(borrow)]
    pub bucket: Bucket<'a>,
}

/// `bucket`.
#[derive(Deserialize)]
pub struct Bucket<'a> {
    /// Seconds since 1970.
    pub start_time: i64,
    /// Seconds since 1970.
    pub end_time: i64,
    /// One for each group.
    #[serde(borrow, default, alias = "result")]
    pub results: Vec<Outcome<'a>>,
}

/// A result of usage or of costs. Counts of one hour may exceed 32 bits, not 63.
#[derive(Deserialize)]
pub struct Outcome<'a> {
    /// Includes cached tokens.
    pub input_tokens: Option<u64>,
    /// Part of the input.
    pub input_cached_tokens: Option<u64>,
    /// All output.
    pub output_tokens: Option<u64>,
    /// Part of the input, by the field's older meaning.
    pub input_audio_tokens: Option<u64>,
    /// Part of the output, by the field's older meaning.
    pub output_audio_tokens: Option<u64>,
    /// Requests.
    pub num_model_requests: Option<u64>,
    /// Where it was grouped by it.
    pub model: Option<String>,
    /// Where it was grouped by it.
    pub project_id: Option<String>,
    /// Where it was grouped by it.
    pub line_item: Option<String>,
    /// Of costs.
    #[serde(borrow)]
    pub amount: Option<Amount<'a>>,
}

/// `amount`.
#[derive(Deserialize)]
pub struct Amount<'a> {
    /// In whole units of the currency; a number, in some answers text.
    #[serde(borrow)]
    pub value: Option<&'a RawValue>,
    /// Lower-case.
    pub currency: Option<String>,
}
