//! `ExportMetricsServiceRequest` of OTLP/JSON, as far as control totals need it.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary,
};
use serde_json::Value;

use super::JsonError;
use super::value::{
    Key, Object, attributes, double, enumeration, field, list, message, or_absent, resource, scope, text, unsigned,
};
use crate::model::Flaws;

const TEMPORALITIES: [&str; 3] =
    ["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];
const POINTS: Key = ("dataPoints", "data_points");
const START: Key = ("startTimeUnixNano", "start_time_unix_nano");
const END: Key = ("timeUnixNano", "time_unix_nano");

/// Reads a request; buckets, exemplars and quantiles are ballast and not decoded. A metric or data point with a wrong
/// figure is left out: a total is right or none.
pub(super) fn request(object: &Object, flaws: &mut Flaws) -> ExportMetricsServiceRequest {
    let resource_metrics = list(object, ("resourceMetrics", "resource_metrics"), flaws, |map, flaws| {
        Ok(ResourceMetrics {
            resource: resource(map, flaws),
            scope_metrics: list(map, ("scopeMetrics", "scope_metrics"), flaws, |map, flaws| {
                Ok(ScopeMetrics {
                    scope: scope(map, flaws),
                    metrics: list(map, ("metrics", "metrics"), flaws, metric),
                    ..ScopeMetrics::default()
                })
            }),
            ..ResourceMetrics::default()
        })
    });
    ExportMetricsServiceRequest { resource_metrics }
}

fn metric(object: &Object, flaws: &mut Flaws) -> Result<Metric, JsonError> {
    Ok(Metric {
        name: text(object, ("name", "name"))?,
        unit: or_absent(text(object, ("unit", "unit")), flaws),
        data: data(object, flaws)?,
        ..Metric::default()
    })
}

fn data(object: &Object, flaws: &mut Flaws) -> Result<Option<Data>, JsonError> {
    let histogram = message(object, ("histogram", "histogram"), |map| {
        Ok(Data::Histogram(Histogram {
            data_points: list(map, POINTS, flaws, histogram_point),
            aggregation_temporality: temporality(map)?,
        }))
    })?;
    let exponential = message(object, ("exponentialHistogram", "exponential_histogram"), |map| {
        Ok(Data::ExponentialHistogram(ExponentialHistogram {
            data_points: list(map, POINTS, flaws, exponential_point),
            aggregation_temporality: temporality(map)?,
        }))
    })?;
    let sum = message(object, ("sum", "sum"), |map| {
        Ok(Data::Sum(Sum {
            data_points: list(map, POINTS, flaws, number_point),
            aggregation_temporality: temporality(map)?,
            is_monotonic: field(map, ("isMonotonic", "is_monotonic")) == Some(&Value::Bool(true)),
        }))
    })?;
    let gauge = message(object, ("gauge", "gauge"), |map| {
        Ok(Data::Gauge(Gauge { data_points: list(map, POINTS, flaws, number_point) }))
    })?;
    let summary = message(object, ("summary", "summary"), |_| Ok(Data::Summary(Summary::default())))?;
    Ok(histogram.or(exponential).or(sum).or(gauge).or(summary))
}

fn temporality(object: &Object) -> Result<i32, JsonError> {
    enumeration(object, ("aggregationTemporality", "aggregation_temporality"), &TEMPORALITIES)
}

fn histogram_point(object: &Object, flaws: &mut Flaws) -> Result<HistogramDataPoint, JsonError> {
    Ok(HistogramDataPoint {
        attributes: attributes(object, flaws),
        start_time_unix_nano: unsigned(object, START)?,
        time_unix_nano: unsigned(object, END)?,
        count: unsigned(object, ("count", "count"))?,
        sum: double(object, ("sum", "sum"))?,
        min: double(object, ("min", "min"))?,
        max: double(object, ("max", "max"))?,
        ..HistogramDataPoint::default()
    })
}

fn exponential_point(object: &Object, flaws: &mut Flaws) -> Result<ExponentialHistogramDataPoint, JsonError> {
    Ok(ExponentialHistogramDataPoint {
        attributes: attributes(object, flaws),
        start_time_unix_nano: unsigned(object, START)?,
        time_unix_nano: unsigned(object, END)?,
        count: unsigned(object, ("count", "count"))?,
        sum: double(object, ("sum", "sum"))?,
        min: double(object, ("min", "min"))?,
        max: double(object, ("max", "max"))?,
        ..ExponentialHistogramDataPoint::default()
    })
}

fn number_point(object: &Object, flaws: &mut Flaws) -> Result<NumberDataPoint, JsonError> {
    let integer = match field(object, ("asInt", "as_int")) {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let value = match integer {
        Some(number) => Some(Number::AsInt(number)),
        None => double(object, ("asDouble", "as_double"))?.map(Number::AsDouble),
    };
    Ok(NumberDataPoint {
        attributes: attributes(object, flaws),
        start_time_unix_nano: unsigned(object, START)?,
        time_unix_nano: unsigned(object, END)?,
        value,
        ..NumberDataPoint::default()
    })
}
