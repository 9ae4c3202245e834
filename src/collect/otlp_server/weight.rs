//! How much memory a request takes once it is decoded, estimated before it is. Two bytes are a span, and a span is
//! hundreds of bytes in memory: 64 MiB of them would be gigabytes.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::Signal;
use super::shape::Shape;

/// A text or list of bytes beside its content.
const LEAF_BYTES: usize = 32;
/// Any other field.
const FIELD_BYTES: usize = 8;
/// What one brace or bracket of JSON becomes: most are attributes and their values, few are spans.
const JSON_OPEN_BYTES: usize = 96;
/// What one more member or element becomes beside its text.
const JSON_MORE_BYTES: usize = 16;
/// As deep as prost decodes.
const DEPTH: u32 = 100;

/// Bytes that a protobuf request takes when it is decoded.
pub(super) fn of_protobuf(signal: Signal, body: &[u8]) -> usize {
    of_message(body, Shape::of_request(signal), 0)
}

/// Up to the first damage, as the decoder goes.
fn of_message(mut body: &[u8], shape: &'static Shape, depth: u32) -> usize {
    if shape.is_packed() {
        return body.len().saturating_mul(FIELD_BYTES);
    }
    let mut total = shape.size;
    while !body.is_empty() {
        let Ok((field, kind)) = decode_key(&mut body) else { break };
        total = total.saturating_add(FIELD_BYTES);
        let skip = match kind {
            WireType::Varint => match decode_varint(&mut body) {
                Ok(_) => 0,
                Err(_) => break,
            },
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            // What is in a group is counted as if it stood here: too much, and nothing can hide in it.
            WireType::StartGroup | WireType::EndGroup => 0,
            WireType::LengthDelimited => match decode_varint(&mut body).map(usize::try_from) {
                Ok(Ok(length)) => {
                    let Some(inner) = body.get(..length) else { break };
                    total = total.saturating_add(match shape.message(field) {
                        Some(shape) if depth < DEPTH => of_message(inner, shape, depth + 1),
                        _ => LEAF_BYTES + length,
                    });
                    length
                }
                _ => break,
            },
        };
        let Some(rest) = body.get(skip..) else { break };
        body = rest;
    }
    total
}

/// Bytes that a JSON request takes when it is decoded.
pub(super) fn of_json(body: &[u8]) -> usize {
    let cost = |byte: &u8| match byte {
        b'{' | b'[' => JSON_OPEN_BYTES,
        b',' => JSON_MORE_BYTES,
        _ => 0,
    };
    body.iter().map(cost).fold(body.len(), usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric,
    };
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;

    fn spans(spans: Vec<Span>) -> Vec<u8> {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    #[test]
    fn many_small_things_weigh_what_they_become() {
        let empty = spans(vec![Span::default(); 1000]);
        assert!(empty.len() < 3000 && of_protobuf(Signal::Traces, &empty) >= 1000 * size_of::<Span>());
        let values = ArrayValue { values: vec![AnyValue::default(); 1000] };
        let array = AnyValue { value: Some(Value::ArrayValue(values)) };
        let list = KeyValueList { values: vec![KeyValue { value: Some(array), ..KeyValue::default() }] };
        let nested = AnyValue { value: Some(Value::KvlistValue(list)) };
        let attributes = vec![KeyValue { value: Some(nested), ..KeyValue::default() }];
        let event = Event { attributes, ..Event::default() };
        let deep = spans(vec![Span { events: vec![event], ..Span::default() }]);
        assert!(of_protobuf(Signal::Traces, &deep) >= 1000 * size_of::<AnyValue>());

        let positive = Some(Buckets { bucket_counts: vec![0; 1000], ..Buckets::default() });
        let data_points = vec![ExponentialHistogramDataPoint { positive, ..Default::default() }];
        let data = metric::Data::ExponentialHistogram(ExponentialHistogram { data_points, ..Default::default() });
        let metrics = vec![Metric { data: Some(data), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let buckets = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        assert!(of_protobuf(Signal::Metrics, &buckets) >= 8000);
    }

    #[test]
    fn ordinary_things_weigh_a_few_times_their_size() {
        let attribute = |n: usize| KeyValue {
            key: format!("gen_ai.request.attribute.{n}"),
            value: Some(AnyValue { value: Some(Value::StringValue("some ordinary value".to_owned())) }),
            ..KeyValue::default()
        };
        let span = Span {
            name: "chat gpt-4o".to_owned(),
            trace_id: vec![1; 16],
            attributes: (0..20).map(attribute).collect(),
            ..Span::default()
        };
        let body = spans(vec![span; 100]);
        let weight = of_protobuf(Signal::Traces, &body);
        assert!((body.len()..5 * body.len()).contains(&weight), "{weight} of {}", body.len());
        // Of short attributes the largest request still fits the budget.
        let text = br#"{"key":"gen_ai.system","value":{"stringValue":"openai"}},"#;
        assert!((2 * text.len()..7 * text.len()).contains(&of_json(text)), "{} of {}", of_json(text), text.len());
    }

    #[test]
    fn damage_ends_it_and_a_group_hides_nothing() {
        for damaged in
            [&b"\x0a"[..], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x05abc", b"\x09ab", b"\x07"]
        {
            assert!(of_protobuf(Signal::Traces, damaged) < 1000, "{damaged:?}");
        }
        let empty = spans(vec![Span::default(); 100]);
        let group = [b"\x1b\x1c".as_slice(), &empty].concat();
        assert!(of_protobuf(Signal::Traces, &group) >= 100 * size_of::<Span>());
    }
}
