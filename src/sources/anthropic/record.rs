//! The wire format, field for field.
//!
//! Anthropic's Admin API: "Get Messages Usage Report" and "Get Cost Report"
//! (<https://platform.claude.com/docs/en/api/admin-api/usage-cost/get-messages-usage-report>).

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
    /// RFC 3339.
    pub starting_at: String,
    /// RFC 3339.
    pub ending_at: String,
    /// One for each group.
    #[serde(borrow, default)]
    pub results: Vec<Outcome<'a>>,
}

/// A result of usage or of costs.
#[derive(Deserialize)]
pub struct Outcome<'a> {
    /// Neither read from nor written to a cache.
    pub uncached_input_tokens: Option<u64>,
    /// Read from a cache.
    pub cache_read_input_tokens: Option<u64>,
    /// Written to a cache.
    pub cache_creation: Option<CacheCreation>,
    /// All output.
    pub output_tokens: Option<u64>,
    /// Where it was grouped by it.
    pub model: Option<String>,
    /// Where it was grouped by it; null for the default workspace.
    pub workspace_id: Option<String>,
    /// Where it was grouped by it.
    pub service_tier: Option<String>,
    /// Where it was grouped by it.
    pub description: Option<String>,
    /// Of costs: in hundredths of the currency, a decimal as text.
    #[serde(borrow)]
    pub amount: Option<&'a RawValue>,
    /// Of costs.
    pub currency: Option<String>,
}

/// `cache_creation`.
#[derive(Deserialize)]
pub struct CacheCreation {
    /// For five minutes.
    pub ephemeral_5m_input_tokens: Option<u64>,
    /// For an hour.
    pub ephemeral_1h_input_tokens: Option<u64>,
}
