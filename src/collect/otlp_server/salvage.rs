//! What can be kept of a protobuf request that does not decode. The decoder refuses the whole of it for one text that is
//! no UTF-8 in one attribute of one span; here texts are mended, and what still does not decode is left out alone. A
//! request whose own framing is broken stays refused: nothing tells where its groups begin.
//!
//! The three signals are alike: groups by resource, within them groups by scope, within them spans, metrics or records.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use super::Signal;
use super::shape::Shape;
use crate::model::{Flaws, readable};

/// Deepest message below a span that is kept, well within what the decoder takes: lists of lists of forty levels.
const DEEPEST: usize = 80;
const DAMAGED: &str = "bad_protobuf";

/// The request without what does not decode; `None` where it is none.
pub(super) fn mended(signal: Signal, body: &[u8], flaws: &mut Flaws) -> Option<Vec<u8>> {
    let shape = Shape::of_request(signal);
    let group = Group { signal, shape: shape.message(1)?, level: 0 };
    let (mut left, mut out) = (body, Vec::new());
    while !left.is_empty() {
        let field = Field::next(&mut left)?;
        match (field.number, field.content) {
            (1, Some(content)) => put(&mut out, 1, &group.mended(content, flaws)),
            (1, None) => return None,
            _ => out.extend_from_slice(field.whole),
        }
    }
    Some(out)
}

/// A group by resource (level 0) or by scope (level 1).
struct Group {
    signal: Signal,
    shape: &'static Shape,
    level: usize,
}

impl Group {
    fn mended(&self, body: &[u8], flaws: &mut Flaws) -> Vec<u8> {
        let (mut left, mut out) = (body, Vec::new());
        while !left.is_empty() {
            // Behind broken framing nothing can be told apart; what stood before it is kept.
            let Some(field) = Field::next(&mut left) else {
                flaws.leave_out(DAMAGED, self.members());
                break;
            };
            match (field.number, field.content) {
                (1, Some(content)) => match self.whose(content, flaws) {
                    Some(whose) => put(&mut out, 1, &whose),
                    None => flaws.mend(if self.level == 0 { "damaged_resource" } else { "damaged_scope" }),
                },
                (2, Some(content)) => match self.member(content, flaws) {
                    Some(member) => put(&mut out, 2, &member),
                    None => flaws.leave_out(DAMAGED, self.members()),
                },
                (2, None) => flaws.leave_out(DAMAGED, self.members()),
                (3, Some(content)) => put(&mut out, 3, text(content, flaws).as_bytes()),
                (1 | 3, None) => flaws.mend("wrong_type"),
                _ => out.extend_from_slice(field.whole),
            }
        }
        out
    }

    /// The resource or scope.
    fn whose(&self, body: &[u8], flaws: &mut Flaws) -> Option<Vec<u8>> {
        let whose = message(body, self.shape.message(1)?, 0, flaws)?;
        let decodes = match self.level {
            0 => Resource::decode(whose.as_slice()).is_ok(),
            _ => InstrumentationScope::decode(whose.as_slice()).is_ok(),
        };
        decodes.then_some(whose)
    }

    /// A group by scope, or a span, metric or record that decodes.
    fn member(&self, body: &[u8], flaws: &mut Flaws) -> Option<Vec<u8>> {
        let shape = self.shape.message(2)?;
        if self.level == 0 {
            return Some(Self { shape, level: 1, ..*self }.mended(body, flaws));
        }
        // What was mended in vain is not told.
        let mut own = Flaws::default();
        let member = message(body, shape, 0, &mut own)?;
        let decodes = match self.signal {
            Signal::Traces => Span::decode(member.as_slice()).is_ok(),
            Signal::Metrics => Metric::decode(member.as_slice()).is_ok(),
            Signal::Logs => LogRecord::decode(member.as_slice()).is_ok(),
        };
        flaws.add(if decodes { &own } else { return None });
        Some(member)
    }

    const fn members(&self) -> &'static str {
        match (self.level, self.signal) {
            (0, Signal::Traces) => "scope_spans",
            (0, Signal::Metrics) => "scope_metrics",
            (0, Signal::Logs) => "scope_logs",
            (_, Signal::Traces) => "spans",
            (_, Signal::Metrics) => "metrics",
            (_, Signal::Logs) => "log_records",
        }
    }
}

/// A message with its texts mended and cut where it is too deep; `None` where its framing is broken.
fn message(body: &[u8], shape: &Shape, depth: usize, flaws: &mut Flaws) -> Option<Vec<u8>> {
    let (mut left, mut out) = (body, Vec::new());
    while !left.is_empty() {
        let field = Field::next(&mut left)?;
        let below = shape.message(field.number).filter(|below| !below.is_packed());
        match (field.content, below) {
            (Some(content), _) if shape.is_text(field.number) => {
                put(&mut out, field.number, text(content, flaws).as_bytes());
            }
            (Some(_), Some(_)) if depth == DEEPEST => {
                flaws.mend("nested_too_deeply");
                put(&mut out, field.number, &[]);
            }
            (Some(content), Some(below)) => put(&mut out, field.number, &message(content, below, depth + 1, flaws)?),
            _ => out.extend_from_slice(field.whole),
        }
    }
    Some(out)
}

fn text<'a>(bytes: &'a [u8], flaws: &mut Flaws) -> std::borrow::Cow<'a, str> {
    let text = readable(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        flaws.mend("invalid_utf8");
    }
    text
}

fn put(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(u64::try_from(content.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(content);
}

/// A field as it is written.
struct Field<'a> {
    number: u32,
    /// Key and value.
    whole: &'a [u8],
    /// The value, where it has a length.
    content: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// Takes the next field off; `None` where there is no whole one.
    fn next(left: &mut &'a [u8]) -> Option<Self> {
        let all = *left;
        let (number, kind) = decode_key(left).ok()?;
        let mut content = None;
        if kind == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(left).ok()?).ok()?;
            let (taken, rest) = left.split_at_checked(length)?;
            (content, *left) = (Some(taken), rest);
        } else {
            skip_field(kind, number, left, DecodeContext::default()).ok()?;
        }
        // The protocol has no groups. Left out, they can't be nested deeper than the decoder goes.
        let kept = if kind == WireType::StartGroup { 0 } else { all.len() - left.len() };
        Some(Self { number, whole: all.get(..kept)?, content })
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, ResourceMetrics, ScopeMetrics,
        exponential_histogram_data_point::Buckets, metric,
    };
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};

    use super::*;

    fn attribute(key: &str, value: AnyValue) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
    }

    fn word(text: &str) -> AnyValue {
        AnyValue { value: Some(Value::StringValue(text.to_owned())) }
    }

    fn span(name: &str) -> Span {
        Span {
            name: name.to_owned(),
            trace_id: vec![7; 16],
            attributes: vec![attribute("k", word("MARK value"))],
            status: Some(Status { message: "MARK status".to_owned(), code: 2 }),
            ..Span::default()
        }
    }

    /// Two resources, the first with two scopes of two spans.
    fn request() -> ExportTraceServiceRequest {
        let scope = |name: &str, spans: &[&str]| ScopeSpans {
            scope: Some(InstrumentationScope { name: format!("MARK {name}"), ..InstrumentationScope::default() }),
            spans: spans.iter().map(|name| span(name)).collect(),
            schema_url: "MARK url".to_owned(),
        };
        let resource = |name: &str, scope_spans| ResourceSpans {
            resource: Some(Resource { attributes: vec![attribute("service.name", word(name))], ..Resource::default() }),
            scope_spans,
            schema_url: "MARK url".to_owned(),
        };
        let first = vec![scope("a", &["one", "two"]), scope("b", &["three", "four"])];
        let resource_spans = vec![resource("MARK first", first), resource("second", vec![scope("c", &["five"])])];
        ExportTraceServiceRequest { resource_spans }
    }

    fn names(request: &ExportTraceServiceRequest) -> Vec<&str> {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect()
    }

    /// The bytes with the nth place of `mark` overwritten.
    fn overwrite(body: &[u8], mark: &[u8], nth: usize, by: &[u8]) -> Option<Vec<u8>> {
        let mut places = body.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
        let (at, _) = places.nth(nth)?;
        Some([&body[..at], by, &body[at + by.len()..]].concat())
    }

    fn salvaged(body: &[u8]) -> Option<(ExportTraceServiceRequest, u64, Vec<&'static str>)> {
        let mut flaws = Flaws::default();
        let mended = mended(Signal::Traces, body, &mut flaws)?;
        let lost = flaws.left_out().map(|(_, count)| count).sum();
        let decoded = ExportTraceServiceRequest::decode(mended.as_slice()).unwrap();
        Some((decoded, lost, flaws.mended().map(|(what, _)| what).collect()))
    }

    #[test]
    fn what_is_whole_comes_through_as_it_is() {
        let mut flaws = Flaws::default();
        let whole = request().encode_to_vec();
        assert_eq!(mended(Signal::Traces, &whole, &mut flaws), Some(whole));
        let positive = Some(Buckets { bucket_counts: vec![1, 2, 300], ..Buckets::default() });
        let data_points = vec![ExponentialHistogramDataPoint { positive, sum: Some(1.5), ..Default::default() }];
        let data = metric::Data::ExponentialHistogram(ExponentialHistogram { data_points, ..Default::default() });
        let metrics = vec![Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let whole = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        assert_eq!(mended(Signal::Metrics, &whole, &mut flaws), Some(whole));
        assert!(flaws.is_empty());
    }

    #[test]
    fn a_text_that_is_none_costs_no_span() {
        let whole = request().encode_to_vec();
        let mut places = 0;
        while let Some(damaged) = overwrite(&whole, b"MARK", places, b"\xff\xfe\xc3\x28") {
            assert!(ExportTraceServiceRequest::decode(damaged.as_slice()).is_err());
            let (kept, lost, mended) = salvaged(&damaged).unwrap();
            assert_eq!(names(&kept), ["one", "two", "three", "four", "five"]);
            assert_eq!((lost, mended), (0, vec!["invalid_utf8"]));
            places += 1;
        }
        assert_eq!(places, 19, "the texts of spans, statuses, scopes and resources");
    }

    #[test]
    fn a_span_that_does_not_decode_costs_no_other() {
        let whole = request().encode_to_vec();
        // The key of the name becomes one of a number, and the key of an attribute one of a group without an end.
        for (from, to) in [(b"\x2a\x03two", b"\x28\x03two"), (b"\x2a\x03two", b"\x4b\x03two")] {
            let damaged = overwrite(&whole, from, 0, to).unwrap();
            assert!(ExportTraceServiceRequest::decode(damaged.as_slice()).is_err());
            let (kept, lost, _) = salvaged(&damaged).unwrap();
            assert_eq!((names(&kept), lost), (vec!["one", "three", "four", "five"], 1));
        }
        // A length that reaches beyond its span.
        let damaged = overwrite(&whole, b"\x2a\x03two", 0, b"\x2a\x7ftwo").unwrap();
        assert_eq!(salvaged(&damaged).map(|(kept, lost, _)| (names(&kept).len(), lost)), Some((4, 1)));
    }

    #[test]
    fn a_value_that_is_too_deep_is_cut() {
        let mut value = word("deep");
        for _ in 0..200 {
            value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let mut deep = request();
        deep.resource_spans[0].scope_spans[0].spans[0].attributes.push(attribute("deep", value));
        let body = deep.encode_to_vec();
        assert!(ExportTraceServiceRequest::decode(body.as_slice()).is_err());
        let (kept, lost, mended) = salvaged(&body).unwrap();
        assert_eq!((names(&kept).len(), lost, mended), (5, 0, vec!["nested_too_deeply"]));
        assert_eq!(kept.resource_spans[0].scope_spans[0].spans[0].attributes.len(), 2);
    }

    #[test]
    fn groups_of_wrong_types_cost_themselves_and_broken_outer_framing_everything() {
        let whole = request().encode_to_vec();
        let group = |content: &[u8]| {
            let mut out = Vec::new();
            put(&mut out, 1, content);
            out
        };
        // A resource and a group by scope that are numbers, and framing that breaks within a group.
        for (bad, expected) in [(&b"\x08\x01\x10\x01"[..], 1), (b"\x12\x7f", 1), (b"\x12\x02\x12\x05", 1)] {
            let (kept, lost, _) = salvaged(&[&group(bad), &whole[..]].concat()).unwrap();
            assert_eq!((names(&kept).len(), lost), (5, expected), "{bad:?}");
        }
        for broken in [&b"\x0a"[..], b"\x0a\x05abc", b"\x08\x01", b"\x01garbage", b"{\"resourceSpans\": []}"] {
            assert!(salvaged(&[broken, b"\x0f"].concat()).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn what_comes_out_decodes_whatever_went_in() {
        let whole = request().encode_to_vec();
        for at in 0..whole.len() {
            let _ = salvaged(&whole[..at]);
            for by in [0x00, 0x01, 0x07, 0x08, 0x0b, 0x0c, 0x12, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 8] {
                let mut damaged = whole.clone();
                damaged[at] = by;
                let _ = salvaged(&damaged);
            }
        }
        let groups = [[0x4b; 90], [0x4c; 90]].concat();
        let mut deep = Vec::new();
        put(&mut deep, 2, &groups);
        for _ in 0..2 {
            let inner = std::mem::take(&mut deep);
            put(&mut deep, if inner.len() < 185 { 2 } else { 1 }, &inner);
        }
        assert!(salvaged(&[deep, whole].concat()).is_some_and(|(kept, ..)| names(&kept).len() >= 5));
    }
}
