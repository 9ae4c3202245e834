//! The wire format: JSON objects whose fields are looked up by name and read leniently.
//!
//! One record reaches us in several spellings: camelCase with `properties` as object or as JSON text (Event Hub, blob),
//! PascalCase columns (resource-specific tables of Log Analytics), camelCase with a type suffix (`properties_s` in the
//! table `AzureDiagnostics`). So names are compared without case and suffix, and nothing but the fields asked for is
//! ever decoded.
//!
//! Documentation:
//! - common schema: <https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs-schema>
//! - blob and Event Hub envelopes: <https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs>
//! - Azure OpenAI categories: <https://learn.microsoft.com/azure/ai-foundry/openai/monitor-openai-reference>
//! - `GatewayLogs`: <https://learn.microsoft.com/azure/api-management/gateway-log-schema-reference>
//! - `GatewayLlmLogs`: <https://learn.microsoft.com/azure/azure-monitor/reference/tables/apimanagementgatewayllmlog>
//! - metrics: <https://learn.microsoft.com/rest/api/monitor/metrics/list>
//!
//! The `properties` of `RequestResponse` and `AzureOpenAIRequestUsage` are not documented by the vendor.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest text that is taken for a name or an id, in bytes; resource ids are the longest of them.
const LONGEST_TEXT: usize = 1024;
/// Longest text that is taken for a word, in bytes.
const LONGEST_WORD: usize = 200;

/// A JSON object whose values are decoded only when asked for.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A relevant number that is none: negative, fractional, of another type, or several where one is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCount;

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'a> Fields<'a> {
    /// Reads an object; `None` if the text is none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads the object that a field holds; `None` if it holds none.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        Self::parse(self.get(name)?.get())
    }

    /// The elements of the array that a field holds; `None` if it holds none.
    #[must_use]
    pub fn array(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        array(self.get(name)?)
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// The value of a field, whatever its spelling; `None` if absent or null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, value)| is_spelling(key, name) && value.get() != "null").map(|(_, value)| *value)
    }

    /// True where the field is there and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A short text; see [`text`].
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// A text without blanks; see [`word`].
    #[must_use]
    pub fn word(&self, name: &str) -> Option<String> {
        self.text(name).and_then(|text| word(&text))
    }

    /// A count; see [`count`].
    ///
    /// # Errors
    /// [`BadCount`] if there is something that is no count.
    pub fn count(&self, name: &str) -> Result<Option<u64>, BadCount> {
        self.get(name).map_or(Ok(None), count)
    }

    /// A finite number; see [`number`].
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(number)
    }

    /// A truth value, also as text.
    #[must_use]
    pub fn truth(&self, name: &str) -> Option<bool> {
        match self.get(name).and_then(text)?.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

/// The elements of an array; `None` if the value is none.
#[must_use]
pub fn array(value: &RawValue) -> Option<Vec<&RawValue>> {
    if value.get().starts_with('[') { serde_json::from_str(value.get()).ok() } else { None }
}

/// The text of an object that a value holds, either directly or as JSON text; any other text as it is.
#[must_use]
pub fn nested(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'{' | b'[' => Some(Cow::Borrowed(json)),
        b'"' => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
        _ => None,
    }
}

/// A short text or the digits of a number, trimmed; `None` if empty, too long for a name or of another type.
#[must_use]
pub fn text(value: &RawValue) -> Option<String> {
    let json = value.get();
    // No escape is longer than six bytes per byte: what is longer can't be short text, so it is never decoded.
    if json.len() > 6 * LONGEST_TEXT {
        return None;
    }
    let text = match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(json).ok()?,
        b'{' | b'[' => return None,
        _ => json.to_owned(),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.len() > LONGEST_TEXT { None } else { Some(trimmed.to_owned()) }
}

/// The text if it is one word of the kind that ids, models and error codes are made of. Guards what is taken out of
/// bodies: a sentence is never a word.
#[must_use]
pub fn word(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+=".contains(c);
    let trimmed = text.trim();
    let fits = !trimmed.is_empty() && trimmed.len() <= LONGEST_WORD && trimmed.chars().all(is_part);
    fits.then(|| trimmed.to_owned())
}

/// A count: a whole number that is not negative, also as text or as the one element of an array. `None` if null, empty
/// or a dash. Numbers beyond 64 bits become the largest, which the judgement over the usage refuses.
///
/// # Errors
/// [`BadCount`] for anything else.
pub fn count(value: &RawValue) -> Result<Option<u64>, BadCount> {
    match single(value)? {
        Some(digits) => parse_count(&digits).map(Some),
        None => Ok(None),
    }
}

/// A finite number, also as text or as the one element of an array.
#[must_use]
pub fn number(value: &RawValue) -> Option<f64> {
    single(value).ok().flatten()?.parse::<f64>().ok().filter(|n| n.is_finite())
}

/// 100 ns ticks as a 64-bit integer; a number in floating notation (a column of type double) is read as well as it can.
#[must_use]
pub fn ticks(value: &RawValue) -> Option<i64> {
    let digits = single(value).ok().flatten()?;
    digits.parse::<i64>().ok().or_else(|| format!("{:.0}", digits.parse::<f64>().ok()?).parse::<i64>().ok())
}

/// An HTTP status, number or text; `None` if out of range.
#[must_use]
pub fn status(value: &RawValue) -> Option<u16> {
    let status = u16::try_from(count(value).ok().flatten()?).ok()?;
    (100..=599).contains(&status).then_some(status)
}

fn is_spelling(key: &str, name: &str) -> bool {
    key.eq_ignore_ascii_case(name)
        || (key.len() == name.len() + 2
            && key.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
            && matches!(key.get(name.len()..), Some("_s" | "_d" | "_b" | "_g" | "_t")))
}

/// The text of the one scalar that a value holds, out of its array and quotes.
fn single(value: &RawValue) -> Result<Option<String>, BadCount> {
    let value = match array(value) {
        None => value,
        Some(elements) => match elements.as_slice() {
            [] => return Ok(None),
            [one] => *one,
            _ => return Err(BadCount),
        },
    };
    let json = value.get();
    let text = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(json).map_err(|_| BadCount)?,
        Some(b'{' | b'[' | b't' | b'f') => return Err(BadCount),
        _ => json.to_owned(),
    };
    let trimmed = text.trim();
    Ok(if matches!(trimmed, "" | "-" | "null") { None } else { Some(trimmed.to_owned()) })
}

fn parse_count(digits: &str) -> Result<u64, BadCount> {
    if let Ok(count) = digits.parse::<u64>() {
        return Ok(count);
    }
    let number = digits.parse::<f64>().map_err(|_| BadCount)?;
    if number.is_nan() || number < 0.0 || (number.is_finite() && number.fract() > 0.0) {
        return Err(BadCount);
    }
    Ok(format!("{:.0}", number.abs()).parse::<u64>().unwrap_or(u64::MAX))
}
