//! A service that tells of its calls by metrics only: what each hour took, as OpenTelemetry's GenAI metrics have it.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::rng::Rng;
use super::scenario::Scenario;
use super::spans::text;
use super::text::nanos;
use super::truth::DemoTruth;
use crate::model::{HOUR_US, Timestamp};

const SERVICE: &str = "doc-classifier";
/// Hours that are reported at once at most.
const LONGEST_HOURS: i64 = 24;

/// The report on the whole hours that end in (`from`, `to`]; `None` where there is none.
pub(super) fn report(
    rng: &mut Rng,
    truth: &mut DemoTruth,
    from: Timestamp,
    to: Timestamp,
) -> Option<ExportMetricsServiceRequest> {
    let (first, last) = (from.0.div_euclid(HOUR_US), to.0.div_euclid(HOUR_US));
    let hours = last.saturating_sub(first).min(LONGEST_HOURS);
    let whole = u64::try_from(hours).ok().filter(|hours| *hours > 0)?;
    let end = Timestamp(last.saturating_mul(HOUR_US));
    let times = (end.plus(hours.saturating_mul(-HOUR_US)), end);
    let requests = rng.around(whole * (60 + Scenario::load(end) / 50), 15);
    let (input, output) = (requests * rng.around(1100, 20), requests * rng.around(25, 20));
    let milliseconds = requests * rng.around(600, 20);
    truth.metered.requests += requests;
    truth.metered.input_tokens += input;
    truth.metered.output_tokens += output;
    let tokens = vec![
        point(times, requests, float(input), Some("input")),
        point(times, requests, float(output), Some("output")),
    ];
    let metrics = vec![
        histogram("gen_ai.client.token.usage", "{token}", tokens),
        histogram(
            "gen_ai.client.operation.duration",
            "s",
            vec![point(times, requests, float(milliseconds) / 1000.0, None)],
        ),
    ];
    let scope =
        InstrumentationScope { name: "opentelemetry.instrumentation.openai_v2".to_owned(), ..Default::default() };
    let attributes = vec![
        text("telemetry.sdk.language", "python"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("service.name", SERVICE),
        text("deployment.environment.name", "prod"),
    ];
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    Some(ExportMetricsServiceRequest { resource_metrics })
}

fn histogram(name: &str, unit: &str, data_points: Vec<HistogramDataPoint>) -> Metric {
    let aggregation_temporality = i32::from(AggregationTemporality::Delta);
    let data = Some(Data::Histogram(Histogram { data_points, aggregation_temporality }));
    Metric { name: name.to_owned(), unit: unit.to_owned(), data, ..Metric::default() }
}

fn point(
    (start, end): (Timestamp, Timestamp),
    count: u64,
    sum: f64,
    token_type: Option<&'static str>,
) -> HistogramDataPoint {
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "gpt-4.1-mini"),
        text("gen_ai.response.model", "gpt-4.1-mini-2025-04-14"),
    ];
    attributes.extend(token_type.map(|kind| text("gen_ai.token.type", kind)));
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: nanos(start),
        time_unix_nano: nanos(end),
        count,
        sum: Some(sum),
        ..HistogramDataPoint::default()
    }
}

fn float(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
