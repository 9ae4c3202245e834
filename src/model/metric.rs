//! A provider's own counter, kept as a control total: compared with calls, never added to them.

use super::{RecordId, Tags, Timestamp};

/// One value of a provider metric over one interval. `None` means that the record does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProviderMetric {
    /// Deterministic from source, resource, name, dimensions and interval.
    pub metric_id: RecordId,
    /// Name of the configured source.
    pub source: String,
    /// When polymeter read it.
    pub observed_at: Timestamp,
    /// Start of the interval, UTC.
    pub ts: Timestamp,
    /// Length of the interval, seconds.
    pub interval_s: Option<u64>,
    /// Who served and billed.
    pub platform: Option<String>,
    /// Cloud account or subscription.
    pub account: Option<String>,
    /// Resource path, lower-case.
    pub resource: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Azure deployment.
    pub deployment: Option<String>,
    /// Model as the provider names it.
    pub model: Option<String>,
    /// Metric name as the provider writes it.
    pub name: String,
    /// Unit, where the record names one.
    pub unit: Option<String>,
    /// Number of samples.
    pub count: Option<f64>,
    /// Sum over the interval.
    pub total: Option<f64>,
    /// Smallest sample.
    pub minimum: Option<f64>,
    /// Largest sample.
    pub maximum: Option<f64>,
    /// Mean of the samples.
    pub average: Option<f64>,
    /// Further dimensions.
    pub dimensions: Tags,
}
