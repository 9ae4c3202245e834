//! What the usage reports of OpenAI and Anthropic have in common: buckets of time with results, each a set of counters
//! beside what it was grouped by.

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use crate::model::{Normalized, ProviderMetric, RecordRef, Reject, Tags, Timestamp, fingerprint};

/// What a bucket is, and whose.
pub struct Bucket<'a> {
    /// Platform of the counters.
    pub platform: &'static str,
    /// Which report.
    pub report: &'a str,
    /// Account, where the operator names it.
    pub account: Option<&'a str>,
    /// Start.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// Where it was read.
    pub at: &'a RecordRef<'a>,
}

/// What one result was grouped by.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The model.
    pub model: Option<String>,
    /// All else.
    pub dimensions: Tags,
}

impl Bucket<'_> {
    /// Whether its times can be true.
    pub fn check(&self) -> Result<(), Reject> {
        let fits = self.start >= Timestamp::EARLIEST && self.start < self.end && self.start <= self.at.observed_at;
        let detail = || "the bucket lies in the future or before 2020, or ends before it begins".to_owned();
        if fits { Ok(()) } else { Err(Reject { reason: "bad_time", detail: detail() }) }
    }

    /// A counter. The same bucket has the same id whenever it is read: a later reading takes the place of an earlier one.
    pub fn count(&self, group: &Group, name: &str, total: f64) -> Normalized {
        if !total.is_finite() || !(0.0..1e15).contains(&total) {
            let detail = "a total is negative, not finite or 10^15 and more".to_owned();
            return Normalized::Rejected(Reject { reason: "impossible_total", detail });
        }
        let mut metric = self.metric(group, name, "Count");
        metric.total = Some(total);
        Normalized::Metric(Box::new(metric))
    }

    /// An amount of money, exact: as text among the dimensions, because totals are no exact numbers.
    pub fn amount(&self, group: &Group, name: &str, amount: Decimal, currency: &str) -> Normalized {
        let mut metric = self.metric(group, name, currency);
        metric.dimensions.insert("amount".to_owned(), amount.normalize().to_string());
        Normalized::Metric(Box::new(metric))
    }

    fn metric(&self, group: &Group, name: &str, unit: &str) -> ProviderMetric {
        let seconds = self.end.0.saturating_sub(self.start.0) / 1_000_000;
        let (start, length) = (self.start.0.to_string(), seconds.to_string());
        let mut id = vec!["usage_report", self.platform, self.at.source, self.report, name, &start, &length];
        id.extend([group.model.as_deref().unwrap_or_default(), self.account.unwrap_or_default()]);
        id.extend(group.dimensions.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]));
        ProviderMetric {
            metric_id: fingerprint(id.iter().map(|part| part.as_bytes())),
            source: self.at.source.to_owned(),
            observed_at: self.at.observed_at,
            ts: self.start,
            interval_s: u64::try_from(seconds).ok(),
            platform: Some(self.platform.to_owned()),
            account: self.account.map(str::to_owned),
            model: group.model.clone(),
            name: name.to_owned(),
            unit: Some(unit.to_owned()),
            dimensions: group.dimensions.clone(),
            ..ProviderMetric::default()
        }
    }
}

/// A number as it is written, also within quotes; exact.
pub fn decimal(value: &RawValue) -> Option<Decimal> {
    let text = value.get().trim().trim_matches('"');
    text.parse().or_else(|_| Decimal::from_scientific(text)).ok()
}
