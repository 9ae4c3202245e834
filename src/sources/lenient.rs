//! Reading JSON that may hold anything: a field of an unexpected type counts as absent, an unknown one is stepped over,
//! the last of two equal keys holds. What isn't asked for is skipped without being built.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A count that is there but can't be one: negative, fractional, beyond 63 bits, or no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCount;

/// One small value, kept as the JSON text that it is; nothing where the field is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw<'a>(Option<&'a RawValue>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

impl<'a> Raw<'a> {
    /// The JSON text; `None` where the field is absent or null.
    pub fn json(self) -> Option<&'a str> {
        self.0.map(RawValue::get).filter(|json| *json != "null")
    }

    /// A string's content, or a number or boolean as it is written; `None` for all else and for blank strings.
    pub fn text(self) -> Option<String> {
        let json = self.json()?;
        let text = match json.bytes().next()? {
            b'"' => string(json)?,
            b'{' | b'[' => return None,
            _ => json.to_owned(),
        };
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// A word that the format itself defines (a stop reason, an action): at most 64 letters, digits and `_-./:`. Text
    /// that reads otherwise could be content and counts as absent.
    pub fn word(self) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
        self.json().filter(|json| json.starts_with('"'))?;
        self.text().filter(|text| text.len() <= 64 && text.chars().all(fits))
    }

    /// A whole number of at least 0, also where it is written as `12.0` or `"12"`.
    ///
    /// # Errors
    /// [`BadCount`] where something else stands there; absent, null and blank are `Ok(None)`.
    pub fn count(self) -> Result<Option<u64>, BadCount> {
        if let Some(Ok(count)) = self.json().map(str::parse::<u32>) {
            return Ok(Some(count.into()));
        }
        let Some(text) = self.text() else {
            return if self.json().is_none_or(|json| json.starts_with('"')) { Ok(None) } else { Err(BadCount) };
        };
        let text = text.trim();
        let exact = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text)).map_err(|_| BadCount)?;
        if !exact.fract().is_zero() {
            return Err(BadCount);
        }
        let signed = i64::try_from(exact).map_err(|_| BadCount)?;
        u64::try_from(signed).map(Some).map_err(|_| BadCount)
    }

    /// A number of milliseconds of at least 0; everything else is `None`.
    pub fn millis(self) -> Option<f64> {
        self.text()?.trim().parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms >= 0.0)
    }
}

/// The content of a JSON string.
fn string(json: &str) -> Option<String> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(json).ok() } else { Some(inside.to_owned()) }
}

/// A type that picks its fields out of a JSON object and ignores the rest.
pub trait Fields<'de>: Default {
    /// Takes the value of `key` from `map`, or steps over it; must consume it either way.
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error>;

    /// Takes the elements where an array stands instead of an object.
    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    /// Takes the text where a string stands instead of an object.
    fn string(&mut self, _text: &str) {}
}

/// Steps over the value of a field.
pub fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// Reads `T` from an object, and its default from any other value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lenient<T>(pub T);

impl<'de, T: Fields<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData)).map(Lenient)
    }
}

/// Reads the value of a field as a `T`.
pub fn take<'de, T: Fields<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<T, A::Error> {
    map.next_value::<Lenient<T>>().map(|value| value.0)
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Fields<'de>> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::default();
        while let Some(Key(key)) = map.next_key()? {
            value.field(&key, &mut map)?;
        }
        Ok(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut value = T::default();
        value.elements(&mut seq)?;
        Ok(value)
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        let mut value = T::default();
        value.string(text);
        Ok(value)
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }
}

/// A key as bytes: what isn't UTF-8 is no key that we know, and no reason to stop.
struct Key<'de>(Cow<'de, [u8]>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_bytes<E>(self, key: &'de [u8]) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_vec())))
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key.as_bytes())))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.as_bytes().to_vec())))
    }
}

/// The text with everything replaced that a strict reader stumbles over inside strings: bytes that aren't UTF-8 and
/// halves of surrogate pairs, as they are left where somebody cut a text in the middle of a character.
pub fn repair(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some((before, after)) = rest.split_once('\\') {
        repaired.push_str(before);
        let low = after.get(5..).and_then(|next| next.strip_prefix('\\')).and_then(code_unit);
        let (kept, replaced) = match (code_unit(after), low) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (11, false),
            (Some(0xD800..=0xDFFF), _) => (5, true),
            _ => (after.chars().next().map_or(0, char::len_utf8), false),
        };
        let (escape, next) = after.split_at_checked(kept).unwrap_or((after, ""));
        repaired.push('\\');
        repaired.push_str(if replaced { "ufffd" } else { escape });
        rest = next;
    }
    repaired.push_str(rest);
    repaired
}

/// The code unit of `uXXXX` at the start of `text`.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}
