//! Metric data points of the GenAI conventions, kept as control totals: they repeat what spans say and are never added
//! to calls. Cumulative series stay as they are; `ts` is the series' start, so differences can be taken per series.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point};

use crate::model::{Normalized, ProviderMetric, RecordId, RecordRef, Tags, Timestamp, fingerprint};

use super::attribution::service_of;
use super::config::OtlpConfig;
use super::place;
use super::record::Attributes;

/// Attributes that are kept as dimensions; others are unbounded or personal.
const DIMENSIONS: [&str; 8] = [
    "gen_ai.token.type",
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "error.type",
    "server.address",
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
];

/// What the data points of all kinds have in common.
struct Point<'a> {
    attributes: &'a [KeyValue],
    start: u64,
    end: u64,
    count: Option<u64>,
    total: Option<f64>,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

/// Normalizes all data points of a request, in order.
pub(super) fn metrics(
    config: &OtlpConfig,
    request: &ExportMetricsServiceRequest,
    at: &RecordRef<'_>,
    out: &mut Vec<Normalized>,
) {
    for resource_metrics in &request.resource_metrics {
        let resource = resource_metrics.resource.as_ref().map(|r| r.attributes.as_slice()).unwrap_or_default();
        let resource = Attributes::new(resource);
        for scope_metrics in &resource_metrics.scope_metrics {
            for metric in &scope_metrics.metrics {
                if !metric.name.starts_with("gen_ai.") || metric.name.len() > 128 {
                    out.push(Normalized::Skipped("other_metric"));
                    continue;
                }
                let (temporality, points) = points(metric);
                if points.is_empty() {
                    out.push(Normalized::Skipped("empty_metric"));
                }
                for point in &points {
                    out.push(row(config, &resource, metric, temporality, point, at));
                }
            }
        }
    }
}

/// Temporality (1 delta, 2 cumulative, 0 neither) and the data points.
fn points<'a>(metric: &'a Metric) -> (i32, Vec<Point<'a>>) {
    let number = |value: Option<&number_data_point::Value>| match value {
        Some(number_data_point::Value::AsDouble(n)) => Some(*n),
        Some(number_data_point::Value::AsInt(n)) => n.to_string().parse().ok(),
        None => None,
    };
    let histogram = |attributes, start, end, count, total, (minimum, maximum)| Point {
        attributes,
        start,
        end,
        count: Some(count),
        total,
        minimum,
        maximum,
    };
    let single = |points: &'a [NumberDataPoint]| {
        let point = |p: &'a NumberDataPoint| Point {
            attributes: &p.attributes,
            start: p.start_time_unix_nano,
            end: p.time_unix_nano,
            count: None,
            total: number(p.value.as_ref()),
            minimum: None,
            maximum: None,
        };
        points.iter().map(point).collect::<Vec<_>>()
    };
    match &metric.data {
        Some(Data::Histogram(data)) => {
            let points = data.data_points.iter().map(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano);
                histogram(&p.attributes, times.0, times.1, p.count, p.sum, (p.min, p.max))
            });
            (data.aggregation_temporality, points.collect())
        }
        Some(Data::ExponentialHistogram(data)) => {
            let points = data.data_points.iter().map(|p| {
                let times = (p.start_time_unix_nano, p.time_unix_nano);
                histogram(&p.attributes, times.0, times.1, p.count, p.sum, (p.min, p.max))
            });
            (data.aggregation_temporality, points.collect())
        }
        Some(Data::Sum(data)) => (data.aggregation_temporality, single(&data.data_points)),
        Some(Data::Gauge(data)) => (0, single(&data.data_points)),
        Some(Data::Summary(_)) | None => (0, Vec::new()),
    }
}

fn row(
    config: &OtlpConfig,
    resource: &Attributes<'_>,
    metric: &Metric,
    temporality: i32,
    point: &Point<'_>,
    at: &RecordRef<'_>,
) -> Normalized {
    let attributes = Attributes::new(point.attributes);
    let end = Timestamp::from_unix_nanos(point.end);
    let Some(ts) = Timestamp::from_unix_nanos(point.start).or(end).filter(|ts| *ts >= Timestamp::EARLIEST) else {
        return Normalized::rejected("bad_time", "metric data point without a time");
    };
    if is_of_tokens(metric) && is_absurd(point) {
        return Normalized::rejected("absurd_tokens", "token metric with a total that can't be true");
    }
    let short = |text: String| text.chars().take(256).collect::<String>();
    let mut dimensions: Tags =
        DIMENSIONS.iter().filter_map(|key| Some(((*key).to_owned(), short(attributes.text(key)?)))).collect();
    // Words of earlier versions.
    if let Some(kind) = dimensions.get_mut("gen_ai.token.type") {
        match kind.as_str() {
            "prompt" => "input".clone_into(kind),
            "completion" => "output".clone_into(kind),
            _ => {}
        }
    }
    let service = service_of(resource).or_else(|| config.attributes.get("service").cloned());
    dimensions.extend(service.map(|service| ("service.name".to_owned(), short(service))));
    let kind = match temporality {
        1 => "delta",
        2 => "cumulative",
        _ => "value",
    };
    dimensions.insert("temporality".to_owned(), kind.to_owned());
    // The whole attribute list makes a series; the parts that are dropped still keep two series apart.
    let series = series(&attributes, resource);
    dimensions.insert("series".to_owned(), RecordId(series).to_string());
    let times = [point.start.to_le_bytes(), point.end.to_le_bytes()].concat();
    let total: Option<f64> = plain(point.total);
    let count = point.count.and_then(|n| n.to_string().parse::<f64>().ok());
    Normalized::Metric(Box::new(ProviderMetric {
        metric_id: fingerprint([b"otlp.metric".as_slice(), metric.name.as_bytes(), &series, &times]),
        source: at.source.to_owned(),
        observed_at: at.observed_at,
        ts,
        interval_s: point.end.checked_sub(point.start).filter(|_| point.start > 0).map(|nanos| nanos / 1_000_000_000),
        platform: attributes
            .first_text(&["gen_ai.provider.name", "gen_ai.system"])
            .and_then(|name| place::platform_of(&name))
            .map(Into::into),
        model: attributes.first_text(&["gen_ai.response.model", "gen_ai.request.model"]).map(short),
        name: metric.name.clone(),
        unit: (!metric.unit.is_empty()).then(|| short(metric.unit.clone())),
        count,
        total,
        minimum: plain(point.minimum),
        maximum: plain(point.maximum),
        average: total.zip(count).filter(|(_, count)| *count > 0.0).map(|(total, count)| total / count),
        dimensions,
        ..ProviderMetric::default()
    }))
}

/// No service uses as many tokens in all its life.
const ABSURD: f64 = 1e15;

fn is_of_tokens(metric: &Metric) -> bool {
    metric.unit.contains("token") || metric.name.ends_with("token.usage") || metric.name.ends_with("tokens")
}

/// True for a total or number of samples that one wrong byte made: added up, it would hide all the others.
fn is_absurd(point: &Point<'_>) -> bool {
    let total = point.total.is_some_and(|total| !(0.0..ABSURD).contains(&total));
    total || point.count.is_some_and(|count| count >= 1_000_000_000_000_000)
}

/// A finite number; fractions with twelve digits, because the last ones differ between the encodings of one request.
fn plain(number: Option<f64>) -> Option<f64> {
    let number = number.filter(|n| n.is_finite())?;
    if number.fract() == 0.0 { Some(number) } else { format!("{number:.11e}").parse().ok() }
}

/// A hash over all scalar attributes of the data point and its resource, whatever their order.
fn series(attributes: &Attributes<'_>, resource: &Attributes<'_>) -> [u8; 16] {
    let mut pairs: Vec<String> = [attributes, resource]
        .iter()
        .enumerate()
        .flat_map(|(place, list)| {
            list.keys().map(move |key| {
                let value = list.raw(key).map(str::to_owned).or_else(|| list.text(key)).unwrap_or_default();
                format!("{place}\u{0}{key}\u{0}{value}")
            })
        })
        .collect();
    pairs.sort_unstable();
    fingerprint(pairs.iter().map(String::as_bytes)).0
}
