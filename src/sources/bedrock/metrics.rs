//! What CloudWatch counted of Bedrock (`AWS/Bedrock`): control totals, never calls. One record is one series: its name,
//! its dimensions and its sums by the minute.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::BedrockConfig;
use crate::model::{Normalized, ProviderMetric, RecordRef, Reject, SECOND_US, Timestamp, fingerprint, platform};
use crate::sources::LogFormat;

/// The namespace of the metrics.
pub const METRICS_NAMESPACE: &str = "AWS/Bedrock";
/// What is counted of calls and tokens.
const CALLS: [&str; 9] = [
    "Invocations",
    "InvocationClientErrors",
    "InvocationServerErrors",
    "InvocationThrottles",
    "InputTokenCount",
    "OutputTokenCount",
    "CacheReadInputTokens",
    "CacheWriteInputTokens",
    "OutputImageCount",
];
/// Whether the logs arrive: the only sign of lost records.
const DELIVERY: &str = "ModelInvocation";

/// A series as the transport hands it over.
#[derive(Deserialize)]
struct Record {
    metric: String,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
    period_s: u64,
    /// Start (seconds since 1970) and sum.
    sums: Vec<(i64, f64)>,
}

/// Series of `AWS/Bedrock` as a [`LogFormat`].
#[derive(Clone, Debug, Default)]
pub struct BedrockMetrics {
    config: BedrockConfig,
}

impl BedrockMetrics {
    /// Metrics of the account and Region that `config` names: the series themselves name neither.
    #[must_use]
    pub const fn new(config: BedrockConfig) -> Self {
        Self { config }
    }

    /// Whether a series is a control total: one for each model, or for all of them; finer ones would count again.
    #[must_use]
    pub fn wants_series(name: &str, dimensions: &[(String, String)]) -> bool {
        let delivery = name.starts_with(DELIVERY) && (name.ends_with("Success") || name.ends_with("Failure"));
        let by_model = matches!(dimensions, [(only, _)] if only == "ModelId");
        delivery || (CALLS.contains(&name) && by_model)
    }
}

impl LogFormat for BedrockMetrics {
    fn name(&self) -> &'static str {
        "bedrock-metrics"
    }

    fn wants(&self, _: &str) -> bool {
        true
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        let record: Record = match serde_json::from_slice(record) {
            Ok(record) => record,
            Err(error) => {
                let detail = format!("no series of a metric: {:?} error", error.classify());
                return out.push(Normalized::Rejected(Reject { reason: "not_a_series", detail }));
            }
        };
        let before = out.len();
        for (start_s, sum) in &record.sums {
            out.push(self.point(&record, *start_s, *sum, at));
        }
        if out.len() == before {
            out.push(Normalized::Skipped("empty_metrics"));
        }
    }
}

impl BedrockMetrics {
    fn point(&self, record: &Record, start_s: i64, sum: f64, at: &RecordRef<'_>) -> Normalized {
        let ts = Timestamp(start_s.saturating_mul(SECOND_US));
        let reject = |reason, detail: &str| Normalized::Rejected(Reject { reason, detail: detail.to_owned() });
        if ts < Timestamp::EARLIEST || ts > at.observed_at {
            return reject("bad_time", "the interval lies in the future or before 2020");
        }
        if !sum.is_finite() || !(0.0..1e15).contains(&sum) {
            return reject("impossible_total", "the sum is negative, not finite or 10^15 and more");
        }
        let mut dimensions = record.dimensions.clone();
        let model = dimensions.remove("ModelId").filter(|model| !model.starts_with("Across all"));
        let BedrockConfig { account, region } = self.config.clone();
        let start = start_s.to_string();
        let mut id = vec!["bedrock.metric", at.source, &record.metric, &start];
        id.extend([account.as_deref().unwrap_or_default(), region.as_deref().unwrap_or_default()]);
        id.extend(record.dimensions.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        Normalized::Metric(Box::new(ProviderMetric {
            metric_id: fingerprint(id.iter().map(|part| part.as_bytes())),
            source: at.source.to_owned(),
            observed_at: at.observed_at,
            ts,
            interval_s: Some(record.period_s),
            platform: Some(platform::BEDROCK.to_owned()),
            account,
            region,
            model,
            name: record.metric.clone(),
            unit: Some("Count".to_owned()),
            total: Some(sum),
            dimensions: dimensions.into_iter().collect(),
            ..ProviderMetric::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &str) -> Vec<Normalized> {
        let config = BedrockConfig { account: Some("111122223333".to_owned()), region: Some("us-east-1".to_owned()) };
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let at = RecordRef { source: "m", object: "o", position: 0, object_time: now, observed_at: now };
        let mut out = Vec::new();
        BedrockMetrics::new(config).normalize(record.as_bytes(), &at, &mut out);
        out
    }

    #[test]
    fn a_series_becomes_a_row_for_each_minute() {
        let out = read(
            r#"{"metric":"InputTokenCount","dimensions":{"ModelId":"eu.anthropic.claude-sonnet-4-5-20250929-v1:0"},"period_s":60,"sums":[[1795255200,120.0],[1795255260,7.0]]}"#,
        );
        let [Normalized::Metric(one), Normalized::Metric(two)] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!((one.total, two.total), (Some(120.0), Some(7.0)));
        assert_eq!(one.account.as_deref(), Some("111122223333"));
        assert_eq!(one.model.as_deref(), Some("eu.anthropic.claude-sonnet-4-5-20250929-v1:0"));
        assert!(one.dimensions.is_empty() && one.metric_id != two.metric_id);
    }

    #[test]
    fn what_can_not_be_true_is_set_aside() {
        let sums = |sums: &str| read(&format!(r#"{{"metric":"Invocations","period_s":60,"sums":[{sums}]}}"#));
        for bad in ["[1795255200,-1.0]", "[1795255200,1e300]", "[1,1.0]", "[99999999999,1.0]"] {
            assert!(matches!(sums(bad).as_slice(), [Normalized::Rejected(_)]), "{bad}");
        }
        assert!(matches!(sums("").as_slice(), [Normalized::Skipped(_)]));
        assert!(matches!(read("[]").as_slice(), [Normalized::Rejected(_)]));
    }

    #[test]
    fn finer_series_are_left_out() {
        let of = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect::<Vec<_>>();
        assert!(BedrockMetrics::wants_series("Invocations", &of(&["ModelId"])));
        assert!(!BedrockMetrics::wants_series("Invocations", &of(&["BucketedStepSize", "ModelId"])));
        assert!(!BedrockMetrics::wants_series("Invocations", &[]));
        assert!(!BedrockMetrics::wants_series("InvocationLatency", &of(&["ModelId"])));
        assert!(BedrockMetrics::wants_series("ModelInvocationLogsS3DeliveryFailure", &of(&["Across all model IDs"])));
    }
}
