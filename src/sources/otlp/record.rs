//! The wire form of a span as far as it is read here: ids as hex text, and the span with everything around it.
//! See <https://opentelemetry.io/docs/specs/otlp/> and <https://opentelemetry.io/docs/specs/semconv/gen-ai/>.

use std::cell::OnceCell;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

pub(super) use super::attributes::{Attributes, Family, clean, parse_count};
use super::pyrepr::Tree;

/// Text of one attribute of a short list, as events have.
pub(super) fn attribute_of<'a>(list: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let entry = list.iter().find(|entry| entry.key == key)?;
    match entry.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An id as lower-case hex; `None` where it is empty, all zero or longer than any id.
pub(super) fn hex_id(bytes: &[u8]) -> Option<String> {
    if bytes.len() > 32 || bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    Some(text)
}

/// One span with everything around it that a dialect may look at.
#[derive(Debug)]
pub(super) struct SpanView<'a> {
    /// Attributes of the resource that sent it.
    pub(super) resource: &'a Attributes<'a>,
    /// Name of the instrumentation scope, `""` if none.
    pub(super) scope: &'a str,
    /// Version of the instrumentation scope, `""` if none.
    pub(super) scope_version: &'a str,
    /// The span.
    pub(super) span: &'a Span,
    /// The span's attributes.
    pub(super) attributes: Attributes<'a>,
    /// LiteLLM's `hidden_params`, read when first asked for.
    hidden_params: OnceCell<Option<Tree<'a>>>,
}

/// `Status.code` of a failed span.
const STATUS_ERROR: i32 = 2;
/// `SpanKind` of a request that came in.
const KIND_SERVER: i32 = 2;
/// `SpanKind` of a request that went out.
const KIND_CLIENT: i32 = 3;

impl<'a> SpanView<'a> {
    /// A view of a span within its scope and resource.
    pub(super) fn new(resource: &'a Attributes<'a>, scope: Option<&'a InstrumentationScope>, span: &'a Span) -> Self {
        Self {
            resource,
            scope: scope.map_or("", |scope| scope.name.as_str()),
            scope_version: scope.map_or("", |scope| scope.version.as_str()),
            span,
            attributes: Attributes::new(&span.attributes),
            hidden_params: OnceCell::new(),
        }
    }

    /// LiteLLM's `hidden_params`: JSON text of some kilobytes that several readers need.
    pub(super) fn hidden_params(&self) -> Option<&Tree<'a>> {
        self.hidden_params.get_or_init(|| self.attributes.tree("hidden_params")).as_ref()
    }

    /// True where the span says that it failed; unset means that it did not.
    pub(super) fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == STATUS_ERROR)
    }

    /// True for the serving side of a request.
    pub(super) const fn is_server(&self) -> bool {
        self.span.kind == KIND_SERVER
    }

    /// True for the asking side of a request.
    pub(super) const fn is_client(&self) -> bool {
        self.span.kind == KIND_CLIENT
    }

    /// Milliseconds from the span's start to its first event of that name; `None` where it lies before the start.
    pub(super) fn event_after_ms(&self, name: &str) -> Option<f64> {
        let event = self.span.events.iter().find(|event| event.name == name)?;
        let nanos = event.time_unix_nano.checked_sub(self.span.start_time_unix_nano)?;
        u32::try_from(nanos / 1000).ok().map(|us| f64::from(us) / 1000.0)
    }
}
