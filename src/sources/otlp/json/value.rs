//! Fields of OTLP/JSON objects: each getter knows both spellings of its key; null is absent, absent is the default.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};

use super::JsonError;
use crate::model::Flaws;

/// An object with the getters of this file.
pub(super) type Object = Map<String, Value>;

/// A field's spellings: `lowerCamelCase`, then `snake_case`.
pub(super) type Key = (&'static str, &'static str);

/// The field's value; `None` where it is absent or null.
pub(super) fn field(object: &Object, key: Key) -> Option<&Value> {
    object.get(key.0).or_else(|| object.get(key.1)).filter(|value| !value.is_null())
}

/// A repeated message. Tolerant: what can't be read of it is left out and counted, because one damaged element must not
/// cost those beside it.
pub(super) fn list<T>(
    object: &Object,
    key: Key,
    flaws: &mut Flaws,
    mut read: impl FnMut(&Object, &mut Flaws) -> Result<T, JsonError>,
) -> Vec<T> {
    let wrong = JsonError::WrongType { field: key.0, expected: "a list of objects" };
    let mut read = |item: &Value| match item {
        Value::Object(map) => read(map, flaws).inspect_err(|error| flaws.leave_out(error.code(), key.0)).ok(),
        _ => {
            flaws.leave_out(wrong.code(), key.0);
            None
        }
    };
    match field(object, key) {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().filter_map(read).collect(),
        // One element without its list, or nothing that can be read.
        Some(item) => read(item).into_iter().collect(),
    }
}

/// A single message.
pub(super) fn message<T>(
    object: &Object,
    key: Key,
    read: impl FnOnce(&Object) -> Result<T, JsonError>,
) -> Result<Option<T>, JsonError> {
    match field(object, key) {
        None => Ok(None),
        Some(Value::Object(map)) => read(map).map(Some),
        Some(_) => Err(JsonError::WrongType { field: key.0, expected: "an object" }),
    }
}

/// Text.
pub(super) fn text(object: &Object, key: Key) -> Result<String, JsonError> {
    match field(object, key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(JsonError::WrongType { field: key.0, expected: "text" }),
    }
}

/// An unsigned integer, as a number or as text.
pub(super) fn unsigned(object: &Object, key: Key) -> Result<u64, JsonError> {
    let value = field(object, key);
    let number = match value {
        None => Some(0),
        Some(Value::Number(number)) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    number.ok_or(JsonError::WrongType { field: key.0, expected: "an unsigned integer" })
}

fn whole(number: f64) -> Option<u64> {
    let fits = number.fract() == 0.0 && (0.0..1.8e19).contains(&number);
    if fits { format!("{number:.0}").parse().ok() } else { None }
}

/// A floating point number; also as text, `NaN` and the infinities included.
pub(super) fn double(object: &Object, key: Key) -> Result<Option<f64>, JsonError> {
    match field(object, key) {
        None => Ok(None),
        Some(value) => as_double(value).map(Some).ok_or(JsonError::WrongType { field: key.0, expected: "a number" }),
    }
}

fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// An enum, as a number or as the name of one of `names` (by its position).
pub(super) fn enumeration(object: &Object, key: Key, names: &[&str]) -> Result<i32, JsonError> {
    let wrong = JsonError::WrongType { field: key.0, expected: "an enum's number or name" };
    match field(object, key) {
        None => Ok(0),
        Some(Value::Number(number)) => number.as_i64().and_then(|n| i32::try_from(n).ok()).ok_or(wrong),
        Some(Value::String(text)) => {
            let by_name = names.iter().position(|name| name.eq_ignore_ascii_case(text.trim()));
            let number = by_name.and_then(|at| i32::try_from(at).ok()).or_else(|| text.trim().parse().ok());
            number.ok_or(wrong)
        }
        Some(_) => Err(wrong),
    }
}

/// An id as bytes: hex of any case by the protocol, base64 by those who use a plain protobuf library.
pub(super) fn id(object: &Object, key: Key, bytes: usize) -> Result<Vec<u8>, JsonError> {
    let text = text(object, key)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() != bytes * 2
        && let Some(decoded) = base64(text)
        && decoded.len() == bytes
    {
        return Ok(decoded);
    }
    hex(text).filter(|id| id.len() <= 32).ok_or(JsonError::BadId(key.0))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.filter_map(|pair| Some((pair.first()? << 4) | pair.last()?)).collect())
}

/// Standard or URL-safe base64, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for c in text.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = ((bits << 6) | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// An attribute list. Tolerant like [`any_value`]: an entry that can't be read is absent.
pub(super) fn attributes(object: &Object, flaws: &mut Flaws) -> Vec<KeyValue> {
    pairs(object, ("attributes", "attributes"), flaws)
}

fn pairs(object: &Object, key: Key, flaws: &mut Flaws) -> Vec<KeyValue> {
    let Some(Value::Array(items)) = field(object, key) else {
        if field(object, key).is_some() {
            flaws.mend("wrong_type");
        }
        return Vec::new();
    };
    let mut read = |item: &Value| {
        let pair = item.as_object().and_then(|map| key_value(map, flaws));
        if pair.is_none() {
            flaws.mend("wrong_type");
        }
        pair
    };
    items.iter().filter_map(&mut read).collect()
}

fn key_value(object: &Object, flaws: &mut Flaws) -> Option<KeyValue> {
    let Some(Value::String(key)) = field(object, ("key", "key")) else { return None };
    let value = field(object, ("value", "value")).and_then(Value::as_object).map(|map| any_value(map, flaws));
    Some(KeyValue { key: key.clone(), value, ..KeyValue::default() })
}

/// An attribute's value. Tolerant: a value that can't be read is absent, because one odd attribute must not cost the
/// request. Depth is bounded by the JSON parser.
fn any_value(object: &Object, flaws: &mut Flaws) -> AnyValue {
    let get = |key: Key| field(object, key);
    let value = if let Some(value) = get(("stringValue", "string_value")) {
        match value {
            Value::String(text) => Some(Any::StringValue(text.clone())),
            Value::Number(number) => Some(Any::StringValue(number.to_string())),
            Value::Bool(truth) => Some(Any::StringValue(truth.to_string())),
            _ => None,
        }
    } else if let Some(value) = get(("boolValue", "bool_value")) {
        match value {
            Value::Bool(truth) => Some(Any::BoolValue(*truth)),
            Value::String(text) => text.trim().to_ascii_lowercase().parse().ok().map(Any::BoolValue),
            _ => None,
        }
    } else if let Some(value) = get(("intValue", "int_value")) {
        match value {
            Value::Number(number) => number.as_i64().map(Any::IntValue).or(number.as_f64().map(Any::DoubleValue)),
            Value::String(text) => text.trim().parse().ok().map(Any::IntValue),
            _ => None,
        }
    } else if let Some(value) = get(("doubleValue", "double_value")) {
        as_double(value).map(Any::DoubleValue)
    } else if let Some(Value::Object(map)) = get(("arrayValue", "array_value")) {
        let items = field(map, ("values", "values")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let values = items.iter().filter_map(Value::as_object).map(|map| any_value(map, flaws)).collect();
        Some(Any::ArrayValue(ArrayValue { values }))
    } else if let Some(Value::Object(map)) = get(("kvlistValue", "kvlist_value")) {
        Some(Any::KvlistValue(KeyValueList { values: pairs(map, ("values", "values"), flaws) }))
    } else if let Some(Value::String(text)) = get(("bytesValue", "bytes_value")) {
        base64(text).map(Any::BytesValue)
    } else {
        None
    };
    AnyValue { value }
}

/// The `resource` of a resource's group.
pub(super) fn resource(object: &Object, flaws: &mut Flaws) -> Option<Resource> {
    let read = |map: &Object| Ok(Resource { attributes: attributes(map, flaws), ..Resource::default() });
    let resource = message(object, ("resource", "resource"), read);
    or_absent(resource, flaws)
}

/// The `scope` of a scope's group.
pub(super) fn scope(object: &Object, flaws: &mut Flaws) -> Option<InstrumentationScope> {
    let read = |map: &Object| {
        Ok(InstrumentationScope {
            name: or_absent(text(map, ("name", "name")), flaws),
            version: or_absent(text(map, ("version", "version")), flaws),
            attributes: attributes(map, flaws),
            ..InstrumentationScope::default()
        })
    };
    let scope = message(object, ("scope", "scope"), read);
    or_absent(scope, flaws)
}

/// A field of what is worth keeping without it.
pub(super) fn or_absent<T: Default>(field: Result<T, JsonError>, flaws: &mut Flaws) -> T {
    field.unwrap_or_else(|error| {
        flaws.mend(if matches!(error, JsonError::BadId(_)) { "malformed_id" } else { "wrong_type" });
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn ids_are_hex_of_any_case_or_base64() {
        let bytes = vec![0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89];
        for text in ["abcdef0123456789", "ABCDEF0123456789", "q83vASNFZ4k=", "q83vASNFZ4k"] {
            let map = object(&format!("{{\"spanId\": \"{text}\"}}"));
            assert_eq!(id(&map, ("spanId", "span_id"), 8), Ok(bytes.clone()), "{text}");
        }
        for text in ["xyz", "é", "abc", "!!!!!!!!!!!!"] {
            let map = object(&format!("{{\"span_id\": \"{text}\"}}"));
            assert_eq!(id(&map, ("spanId", "span_id"), 8), Err(JsonError::BadId("spanId")), "{text}");
        }
    }

    #[test]
    fn numbers_come_as_text_or_numbers_and_enums_as_names() {
        let map = object(
            r#"{"a": "18446744073709551615", "b": 18446744073709551615, "c": 1.7e18, "d": -1, "e": "SPAN_KIND_CLIENT"}"#,
        );
        assert_eq!(unsigned(&map, ("a", "a")), Ok(u64::MAX));
        assert_eq!(unsigned(&map, ("b", "b")), Ok(u64::MAX));
        assert_eq!(unsigned(&map, ("c", "c")), Ok(1_700_000_000_000_000_000));
        assert!(unsigned(&map, ("d", "d")).is_err());
        assert_eq!(enumeration(&map, ("e", "e"), &["X", "SPAN_KIND_CLIENT"]), Ok(1));
        assert!(enumeration(&map, ("e", "e"), &["X"]).is_err());
    }
}
