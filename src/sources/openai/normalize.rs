//! Record in, control totals out. Pure: the same bytes give the same rows.

use super::config::UsageConfig;
use super::record::{Outcome, Record};
use crate::model::{Normalized, RecordRef, SECOND_US, Timestamp, platform};
use crate::sources::LogFormat;
use crate::sources::usage_report::{Bucket, Group, decimal, parse};

/// Buckets of the reports as a [`LogFormat`].
#[derive(Clone, Debug, Default)]
pub struct OpenAiUsage {
    config: UsageConfig,
}

impl OpenAiUsage {
    /// Buckets of the organization that `config` names.
    #[must_use]
    pub const fn new(config: UsageConfig) -> Self {
        Self { config }
    }
}

impl LogFormat for OpenAiUsage {
    fn name(&self) -> &'static str {
        "openai-usage"
    }

    fn wants(&self, _: &str) -> bool {
        true
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        let record: Record<'_> = match parse(record) {
            Ok(record) => record,
            Err(rejected) => return out.push(rejected),
        };
        let instant = |seconds: i64| Timestamp(seconds.saturating_mul(SECOND_US));
        let bucket = Bucket {
            platform: platform::OPENAI,
            report: &record.report,
            account: self.config.account.as_deref(),
            start: instant(record.bucket.start_time),
            end: instant(record.bucket.end_time),
            at,
        };
        bucket.tell(&record.bucket.results, result, out);
    }
}

fn result(bucket: &Bucket<'_>, outcome: &Outcome<'_>, out: &mut Vec<Normalized>) {
    let mut group = Group { model: outcome.model.clone(), ..Group::default() };
    for (key, value) in [("project_id", &outcome.project_id), ("line_item", &outcome.line_item)] {
        group.dimensions.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    if bucket.report == "embeddings" {
        group.dimensions.insert("operation".to_owned(), "embeddings".to_owned());
    }
    let counts = [
        ("num_model_requests", outcome.num_model_requests),
        ("input_tokens", outcome.input_tokens),
        ("input_cached_tokens", outcome.input_cached_tokens),
        ("output_tokens", outcome.output_tokens),
        ("input_audio_tokens", outcome.input_audio_tokens),
        ("output_audio_tokens", outcome.output_audio_tokens),
    ];
    out.extend(bucket.counts(&group, &counts));
    if let Some(amount) = &outcome.amount
        && let Some(value) = amount.value.filter(|value| value.get() != "null")
    {
        out.push(bucket.cost(&group, decimal(value), amount.currency.as_deref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &str) -> Vec<Normalized> {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let at = RecordRef { source: "u", object: "o", position: 0, object_time: now, observed_at: now };
        let mut out = Vec::new();
        OpenAiUsage::default().normalize(record.as_bytes(), &at, &mut out);
        out
    }

    fn bucket(report: &str, results: &str) -> String {
        format!(
            r#"{{"report":"{report}","bucket":{{"object":"bucket","start_time":1795255200,"end_time":1795258800,"results":[{results}]}}}}"#
        )
    }

    #[test]
    fn an_hour_of_a_model_and_project_becomes_a_row_for_each_counter() {
        let text = bucket(
            "completions",
            r#"{"object":"organization.usage.completions.result","input_tokens":1000,"output_tokens":500,"input_cached_tokens":800,"num_model_requests":5,"project_id":"proj_a","user_id":null,"model":"gpt-4o-2024-08-06","batch":null}"#,
        );
        let out = read(&text);
        let found: Vec<_> = out
            .iter()
            .map(|row| match row {
                Normalized::Metric(metric) => (metric.name.as_str(), metric.total, metric.interval_s),
                other => panic!("{other:?}"),
            })
            .collect();
        let hour = Some(3600);
        assert_eq!(
            found,
            [
                ("num_model_requests", Some(5.0), hour),
                ("input_tokens", Some(1000.0), hour),
                ("input_cached_tokens", Some(800.0), hour),
                ("output_tokens", Some(500.0), hour)
            ]
        );
        let Normalized::Metric(one) = &out[0] else { panic!() };
        assert_eq!((one.platform.as_deref(), one.model.as_deref()), (Some("openai"), Some("gpt-4o-2024-08-06")));
        assert_eq!(one.dimensions["project_id"], "proj_a");
        // Read again with another count, it is the same row.
        let Normalized::Metric(again) = &read(&text.replace(":5,", ":6,"))[0] else { panic!() };
        assert_eq!((again.metric_id, again.total), (one.metric_id, Some(6.0)));
    }

    #[test]
    fn costs_are_exact() {
        let text = r#"{"object":"organization.costs.result","amount":{"value":0.1234567890123456789,"currency":"usd"},"line_item":"gpt-4o, input","project_id":null}"#;
        let Normalized::Metric(one) = &read(&bucket("costs", text))[0] else { panic!() };
        assert_eq!((one.name.as_str(), one.total, one.unit.as_deref()), ("cost", None, Some("USD")));
        assert_eq!(one.dimensions["amount"], "0.1234567890123456789");
    }

    #[test]
    fn what_can_not_be_true_is_set_aside() {
        for (text, reason) in [
            ("[]".to_owned(), "not_a_bucket"),
            (bucket("completions", r#"{"input_tokens":-1}"#), "not_a_bucket"),
            (bucket("completions", r#"{"input_tokens":9000000000000000}"#), "impossible_total"),
            (bucket("costs", r#"{"amount":{"value":"x"}}"#), "bad_amount"),
            (bucket("completions", "").replace("1795255200", "99999999999"), "bad_time"),
        ] {
            let out = read(&text);
            assert!(
                matches!(out.as_slice(), [Normalized::Rejected(reject)] if reject.reason == reason),
                "{reason} {out:?}"
            );
        }
        assert!(matches!(read(&bucket("completions", "")).as_slice(), [Normalized::Skipped("empty_bucket")]));
    }
}
