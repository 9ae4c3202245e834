//! Record in, control totals out. Pure: the same bytes give the same rows.

use rust_decimal::Decimal;

use super::config::ReportConfig;
use super::record::{Outcome, Record};
use crate::model::{Normalized, RecordRef, Timestamp, platform};
use crate::sources::LogFormat;
use crate::sources::usage_report::{Bucket, Group, decimal, parse};

/// Buckets of the reports as a [`LogFormat`].
#[derive(Clone, Debug, Default)]
pub struct AnthropicUsage {
    config: ReportConfig,
}

impl AnthropicUsage {
    /// Buckets of the organization that `config` names.
    #[must_use]
    pub const fn new(config: ReportConfig) -> Self {
        Self { config }
    }
}

impl LogFormat for AnthropicUsage {
    fn name(&self) -> &'static str {
        "anthropic-usage"
    }

    fn wants(&self, _: &str) -> bool {
        true
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        let record: Record<'_> = match parse(record) {
            Ok(record) => record,
            Err(rejected) => return out.push(rejected),
        };
        let times = (Timestamp::parse(&record.bucket.starting_at), Timestamp::parse(&record.bucket.ending_at));
        let (Some(start), Some(end)) = times else {
            return out.push(Normalized::rejected("bad_time", "the bucket has no readable start and end"));
        };
        let account = self.config.account.as_deref();
        let bucket = Bucket { platform: platform::ANTHROPIC, report: &record.report, account, start, end, at };
        bucket.tell(&record.bucket.results, result, out);
    }
}

fn result(bucket: &Bucket<'_>, outcome: &Outcome<'_>, out: &mut Vec<Normalized>) {
    let mut group = Group { model: outcome.model.clone(), ..Group::default() };
    for (key, value) in [
        ("workspace_id", &outcome.workspace_id),
        ("service_tier", &outcome.service_tier),
        ("description", &outcome.description),
    ] {
        group.dimensions.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    let written = outcome.cache_creation.as_ref();
    let counts = [
        ("uncached_input_tokens", outcome.uncached_input_tokens),
        ("cache_read_input_tokens", outcome.cache_read_input_tokens),
        ("ephemeral_5m_input_tokens", written.and_then(|written| written.ephemeral_5m_input_tokens)),
        ("ephemeral_1h_input_tokens", written.and_then(|written| written.ephemeral_1h_input_tokens)),
        ("output_tokens", outcome.output_tokens),
    ];
    out.extend(bucket.counts(&group, &counts));
    if let Some(amount) = outcome.amount.filter(|amount| amount.get() != "null") {
        let dollars = decimal(amount).and_then(|cents| cents.checked_div(Decimal::ONE_HUNDRED));
        out.push(bucket.cost(&group, dollars, outcome.currency.as_deref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &str) -> Vec<Normalized> {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let at = RecordRef { source: "u", object: "o", position: 0, object_time: now, observed_at: now };
        let mut out = Vec::new();
        AnthropicUsage::default().normalize(record.as_bytes(), &at, &mut out);
        out
    }

    fn bucket(report: &str, results: &str) -> String {
        format!(
            r#"{{"report":"{report}","bucket":{{"starting_at":"2026-11-21T09:00:00Z","ending_at":"2026-11-21T10:00:00Z","results":[{results}]}}}}"#
        )
    }

    #[test]
    fn an_hour_of_a_model_and_workspace_becomes_a_row_for_each_counter() {
        let out = read(&bucket(
            "messages",
            r#"{"uncached_input_tokens":1500,"cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},"cache_read_input_tokens":200,"output_tokens":500,"server_tool_use":{"web_search_requests":10},"api_key_id":null,"workspace_id":"wrkspc_1","model":"claude-sonnet-4-20250514","service_tier":"standard","context_window":null}"#,
        ));
        let found: Vec<_> = out
            .iter()
            .map(|row| match row {
                Normalized::Metric(metric) => (metric.name.as_str(), metric.total),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            found,
            [
                ("uncached_input_tokens", Some(1500.0)),
                ("cache_read_input_tokens", Some(200.0)),
                ("ephemeral_5m_input_tokens", Some(500.0)),
                ("ephemeral_1h_input_tokens", Some(1000.0)),
                ("output_tokens", Some(500.0))
            ]
        );
        let Normalized::Metric(one) = &out[0] else { panic!() };
        assert_eq!((one.platform.as_deref(), one.interval_s), (Some("anthropic"), Some(3600)));
        assert_eq!(one.dimensions["workspace_id"], "wrkspc_1");
    }

    #[test]
    fn cents_become_dollars_exactly() {
        let text = r#"{"currency":"USD","amount":"123.78912","workspace_id":null,"description":"Claude Sonnet 4 Usage - Input Tokens","cost_type":"tokens","model":"claude-sonnet-4-20250514","token_type":"uncached_input_tokens"}"#;
        let Normalized::Metric(one) = &read(&bucket("costs", text))[0] else { panic!() };
        assert_eq!((one.name.as_str(), one.total), ("cost", None));
        assert_eq!(one.dimensions["amount"], "1.2378912");
    }

    #[test]
    fn what_can_not_be_true_is_set_aside() {
        for (text, reason) in [
            ("{}".to_owned(), "not_a_bucket"),
            (bucket("messages", "").replace("2026-11-21T09", "x"), "bad_time"),
            (bucket("messages", "").replace("2026-11-21T09", "2026-11-21T11"), "bad_time"),
            (bucket("costs", r#"{"amount":"much"}"#), "bad_amount"),
        ] {
            let out = read(&text);
            assert!(
                matches!(out.as_slice(), [Normalized::Rejected(reject)] if reject.reason == reason),
                "{reason} {out:?}"
            );
        }
        assert!(matches!(read(&bucket("messages", "")).as_slice(), [Normalized::Skipped("empty_bucket")]));
    }
}
