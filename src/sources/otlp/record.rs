//! The wire form of a span as far as it is read here: a tolerant view over attribute lists, and ids as hex text.
//!
//! Only keys that are asked for by name are ever read, so prompts and completions beside them stay where they are.
//! Types are folded because clients disagree: booleans come as `"True"`, counts as doubles or text, lists as JSON
//! text, and `""` stands for null. See <https://opentelemetry.io/docs/specs/otlp/> and
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/>.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::pyrepr::Tree;

/// Longest text that is taken for a name or id; longer ones are content or damage.
const TEXT_LIMIT: usize = 1024;

/// A view over one attribute list; the first of equal keys counts.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    list: &'a [KeyValue],
    index: HashMap<&'a str, &'a Value>,
}

impl<'a> Attributes<'a> {
    /// Indexes the list; entries without a value are absent.
    pub(super) fn new(list: &'a [KeyValue]) -> Self {
        let mut index = HashMap::with_capacity(list.len());
        for entry in list {
            if let Some(value) = entry.value.as_ref().and_then(|v| v.value.as_ref()) {
                index.entry(entry.key.as_str()).or_insert(value);
            }
        }
        Self { list, index }
    }

    /// Keys in the order of the list.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.list.iter().map(|entry| entry.key.as_str())
    }

    /// True where the key is there with any value, `""` included.
    pub(super) fn has(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// True where a key begins with one of the prefixes.
    pub(super) fn has_prefix(&self, prefixes: &[&str]) -> bool {
        self.keys().any(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }

    /// Raw text of a string attribute without a limit, for readers that parse it and keep none of it.
    pub(super) fn raw(&self, key: &str) -> Option<&'a str> {
        match self.index.get(key)? {
            Value::StringValue(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Text of a scalar, trimmed; `None` for `""`, `"None"`, lists, bytes and anything too long for a name.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        scalar_text(self.index.get(key)?)
    }

    /// The first text among several spellings.
    pub(super) fn first_text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }

    /// A count: not negative, whole; from an integer, a whole double or text of either.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        match self.index.get(key)? {
            Value::IntValue(n) => u64::try_from(*n).ok(),
            Value::DoubleValue(n) => whole(*n),
            Value::StringValue(text) => parse_count(text),
            _ => None,
        }
    }

    /// The first count among several spellings.
    pub(super) fn first_count(&self, keys: &[&str]) -> Option<u64> {
        keys.iter().find_map(|key| self.count(key))
    }

    /// A finite number from any numeric type or text of one.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        let number = match self.index.get(key)? {
            Value::DoubleValue(n) => *n,
            Value::IntValue(n) => n.to_string().parse().ok()?,
            Value::StringValue(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// A truth value, also from `"True"`, `"false"`, 1 and 0.
    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        match self.index.get(key)? {
            Value::BoolValue(truth) => Some(*truth),
            Value::IntValue(n) => match n {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
            Value::StringValue(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The first truth value among several spellings.
    pub(super) fn first_truth(&self, keys: &[&str]) -> Option<bool> {
        keys.iter().find_map(|key| self.truth(key))
    }

    /// First entry of a list that came as an array, as JSON or Python text, or as one plain word.
    pub(super) fn first_item(&self, key: &str) -> Option<String> {
        self.items(key).into_iter().next()
    }

    /// Texts of a list, in any of the forms of [`Self::first_item`].
    pub(super) fn items(&self, key: &str) -> Vec<String> {
        match self.index.get(key) {
            Some(Value::ArrayValue(array)) => {
                array.values.iter().filter_map(|v| v.value.as_ref()).filter_map(scalar_text).collect()
            }
            Some(Value::StringValue(text)) if text.trim_start().starts_with('[') => Tree::parse(text)
                .map(|tree| tree.items().iter().filter_map(|item| item.text()).map(str::to_owned).collect())
                .unwrap_or_default(),
            Some(value) => scalar_text(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A structured value: a JSON or Python dictionary as text, or a native key/value list.
    pub(super) fn tree(&self, key: &str) -> Option<Tree> {
        match self.index.get(key)? {
            Value::StringValue(text) => Tree::parse(text),
            Value::KvlistValue(list) => Some(Tree::Map(
                list.values
                    .iter()
                    .filter_map(|entry| Some((entry.key.clone(), tree_of(entry.value.as_ref()?, 0)?)))
                    .collect(),
            )),
            _ => None,
        }
    }
}

/// Depth to which native nested values are read.
const NATIVE_DEPTH: usize = 8;

fn tree_of(value: &AnyValue, depth: usize) -> Option<Tree> {
    if depth > NATIVE_DEPTH {
        return None;
    }
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => Tree::Text(text.clone()),
        Value::BoolValue(truth) => Tree::Bool(*truth),
        Value::IntValue(n) => Tree::Number(n.to_string()),
        Value::DoubleValue(n) => Tree::Number(n.to_string()),
        Value::ArrayValue(array) => {
            Tree::List(array.values.iter().filter_map(|item| tree_of(item, depth + 1)).collect())
        }
        Value::KvlistValue(list) => Tree::Map(
            list.values
                .iter()
                .filter_map(|entry| Some((entry.key.clone(), tree_of(entry.value.as_ref()?, depth + 1)?)))
                .collect(),
        ),
        _ => return None,
    })
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::StringValue(text) => clean(text),
        Value::IntValue(n) => Some(n.to_string()),
        Value::DoubleValue(n) if n.is_finite() => Some(n.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Trimmed text; `None` where it is empty, stands for null or is too long for a name.
pub(super) fn clean(text: &str) -> Option<String> {
    let text = text.trim();
    let null = matches!(text, "" | "None" | "null" | "undefined");
    (!null && text.len() <= TEXT_LIMIT).then(|| text.to_owned())
}

/// A count in text: `"12"` or `"12.0"`.
pub(super) fn parse_count(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| whole(text.parse().ok()?))
}

fn whole(number: f64) -> Option<u64> {
    let fits = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    if fits { format!("{number:.0}").parse().ok() } else { None }
}

/// An id as lower-case hex; `None` where it is empty, all zero or longer than any id.
pub(super) fn hex_id(bytes: &[u8]) -> Option<String> {
    if bytes.len() > 32 || bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Some(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
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
}

/// `Status.code` of a failed span.
const STATUS_ERROR: i32 = 2;
/// `SpanKind` of a request that came in.
const KIND_SERVER: i32 = 2;
/// `SpanKind` of a request that went out.
const KIND_CLIENT: i32 = 3;

impl SpanView<'_> {
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
