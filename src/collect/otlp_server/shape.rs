//! The messages of the protocol as far as they are walked without decoding them.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::Signal;

/// A kind of message.
pub(super) struct Shape {
    /// Its size in memory.
    pub size: usize,
    /// Which fields hold text.
    texts: &'static [u32],
    /// Which fields hold messages, and of which kind.
    messages: &'static [(u32, &'static Shape)],
}

macro_rules! shapes {
    ($($name:ident: $size:expr, [$($text:literal),*], [$($field:literal $of:ident),*];)*) => {
        $(static $name: Shape =
            Shape { size: $size, texts: &[$($text),*], messages: &[$(($field, &$of)),*] };)*
    };
}

shapes! {
    TRACES: 0, [], [1 RESOURCE_SPANS];
    RESOURCE_SPANS: size_of::<ResourceSpans>(), [3], [1 RESOURCE, 2 SCOPE_SPANS];
    SCOPE_SPANS: size_of::<ScopeSpans>(), [3], [1 SCOPE, 2 SPAN];
    SPAN: size_of::<Span>(), [3, 5], [9 KEY_VALUE, 11 EVENT, 13 LINK, 15 STATUS];
    EVENT: size_of::<Event>(), [2], [3 KEY_VALUE];
    LINK: size_of::<Link>(), [3], [4 KEY_VALUE];
    // Within its span.
    STATUS: 0, [2], [];

    METRICS: 0, [], [1 RESOURCE_METRICS];
    RESOURCE_METRICS: size_of::<ResourceMetrics>(), [3], [1 RESOURCE, 2 SCOPE_METRICS];
    SCOPE_METRICS: size_of::<ScopeMetrics>(), [3], [1 SCOPE, 2 METRIC];
    METRIC: size_of::<Metric>(), [1, 2, 3], [5 NUMBERS, 7 NUMBERS, 9 HISTOGRAM, 10 EXPONENTIAL, 11 SUMMARY, 12 KEY_VALUE];
    NUMBERS: 0, [], [1 NUMBER_POINT];
    HISTOGRAM: 0, [], [1 HISTOGRAM_POINT];
    EXPONENTIAL: 0, [], [1 EXPONENTIAL_POINT];
    SUMMARY: 0, [], [1 SUMMARY_POINT];
    NUMBER_POINT: size_of::<NumberDataPoint>(), [], [7 KEY_VALUE, 5 EXEMPLAR];
    HISTOGRAM_POINT: size_of::<HistogramDataPoint>(), [], [9 KEY_VALUE, 8 EXEMPLAR];
    EXPONENTIAL_POINT: size_of::<ExponentialHistogramDataPoint>(), [], [1 KEY_VALUE, 8 BUCKETS, 9 BUCKETS, 11 EXEMPLAR];
    SUMMARY_POINT: size_of::<SummaryDataPoint>(), [], [7 KEY_VALUE, 6 QUANTILE];
    // Its counts are packed: each byte may be one.
    BUCKETS: size_of::<Buckets>(), [], [2 PACKED];
    PACKED: 0, [], [];
    QUANTILE: size_of::<ValueAtQuantile>(), [], [];
    EXEMPLAR: size_of::<Exemplar>(), [], [7 KEY_VALUE];

    LOGS: 0, [], [1 RESOURCE_LOGS];
    RESOURCE_LOGS: size_of::<ResourceLogs>(), [3], [1 RESOURCE, 2 SCOPE_LOGS];
    SCOPE_LOGS: size_of::<ScopeLogs>(), [3], [1 SCOPE, 2 LOG];
    LOG: size_of::<LogRecord>(), [3, 12], [5 ANY_VALUE, 6 KEY_VALUE];

    RESOURCE: size_of::<Resource>(), [], [1 KEY_VALUE, 3 ENTITY];
    ENTITY: size_of::<EntityRef>(), [1, 2, 3, 4], [];
    SCOPE: size_of::<InstrumentationScope>(), [1, 2], [3 KEY_VALUE];
    KEY_VALUE: size_of::<KeyValue>(), [1], [2 ANY_VALUE];
    ANY_VALUE: size_of::<AnyValue>(), [1], [5 ARRAY, 6 LIST];
    ARRAY: 0, [], [1 ANY_VALUE];
    LIST: 0, [], [1 KEY_VALUE];
}

impl Shape {
    /// Of a request.
    pub fn of_request(signal: Signal) -> &'static Self {
        match signal {
            Signal::Traces => &TRACES,
            Signal::Metrics => &METRICS,
            Signal::Logs => &LOGS,
        }
    }

    /// Of the message in this field.
    pub fn message(&self, field: u32) -> Option<&'static Self> {
        self.messages.iter().find(|(known, _)| *known == field).map(|(_, shape)| *shape)
    }

    /// True for a field of text.
    pub fn is_text(&self, field: u32) -> bool {
        self.texts.contains(&field)
    }

    /// True for a list of numbers, which is written as a message is.
    pub fn is_packed(&self) -> bool {
        std::ptr::eq(self, &raw const PACKED)
    }
}
