//! What the usage reports of OpenAI and Anthropic have in common: buckets of time with results, each a set of counters
//! beside what it was grouped by.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Error;
use serde_json::value::RawValue;

use crate::model::{Normalized, ProviderMetric, RecordRef, SECOND_US, Tags, Timestamp, fingerprint};

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

/// A bucket as its report writes it, or why it is none.
///
/// # Errors
/// The record has another form.
pub fn parse<'a, T: Deserialize<'a>>(record: &'a [u8]) -> Result<T, Normalized> {
    let wrong = |error: Error| format!("no bucket of a report: {:?} error", error.classify());
    serde_json::from_slice(record).map_err(|error| Normalized::rejected("not_a_bucket", wrong(error)))
}

impl Bucket<'_> {
    /// What its results tell, one after the other.
    pub fn tell<T>(&self, results: &[T], result: impl Fn(&Self, &T, &mut Vec<Normalized>), out: &mut Vec<Normalized>) {
        if self.start < Timestamp::EARLIEST || self.start >= self.end || self.start > self.at.observed_at {
            let detail = "the bucket lies in the future or before 2020, or ends before it begins";
            return out.push(Normalized::rejected("bad_time", detail));
        }
        let before = out.len();
        results.iter().for_each(|one| result(self, one, out));
        if out.len() == before {
            out.push(Normalized::Skipped("empty_bucket"));
        }
    }

    /// The counters that a result has. The same bucket has the same id whenever it is read: a later reading takes the place
    /// of an earlier one.
    pub fn counts(&self, group: &Group, counts: &[(&str, Option<u64>)]) -> impl Iterator<Item = Normalized> {
        #[expect(clippy::cast_precision_loss, reason = "totals from 10^15 on are refused")]
        counts.iter().filter_map(|(name, count)| Some(self.count(group, name, (*count)? as f64)))
    }

    fn count(&self, group: &Group, name: &str, total: f64) -> Normalized {
        if !(0.0..1e15).contains(&total) {
            return Normalized::rejected("impossible_total", "a total is 10^15 and more");
        }
        let mut metric = self.metric(group, name, "Count");
        metric.total = Some(total);
        Normalized::Metric(Box::new(metric))
    }

    /// A cost, exact: as text among the dimensions, because totals are no exact numbers. Dollars where no currency is told.
    pub fn cost(&self, group: &Group, amount: Option<Decimal>, currency: Option<&str>) -> Normalized {
        let Some(amount) = amount else { return Normalized::rejected("bad_amount", "the amount is no number") };
        let mut metric = self.metric(group, "cost", &currency.unwrap_or("USD").to_ascii_uppercase());
        metric.dimensions.insert("amount".to_owned(), amount.normalize().to_string());
        Normalized::Metric(Box::new(metric))
    }

    fn metric(&self, group: &Group, name: &str, unit: &str) -> ProviderMetric {
        let seconds = self.end.0.saturating_sub(self.start.0) / SECOND_US;
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
