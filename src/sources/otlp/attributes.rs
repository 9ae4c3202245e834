//! A tolerant view over one attribute list.
//!
//! Only keys that are asked for by name are ever read, so prompts and completions beside them stay where they are.
//! Types are folded because clients disagree: booleans come as `"True"`, counts as doubles or text, lists as JSON
//! text, and `""` stands for null.
//!
//! The list is walked once: a small table of positions answers every look-up, and the families of keys that were met
//! spare those that can't succeed. Nothing is copied for a key that nobody asks for.

use std::borrow::Cow;
use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::pyrepr::Tree;

/// Longest text that is taken for a name or id; longer ones are content or damage.
const TEXT_LIMIT: usize = 1024;
/// Depth to which native nested values are read.
const NATIVE_DEPTH: usize = 8;
/// Slots of the small table, and the longest list that it serves. A longer one gets a hash map whose order nobody can
/// foresee, so that made-up keys can't make it slow.
const SLOTS: usize = 256;
const SMALL: usize = 128;

/// First segments of keys that conventions own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Family {
    /// `gen_ai.*`
    GenAi = 1,
    /// `llm.*`
    Llm = 2,
    /// `ai.*`
    Ai = 4,
    /// `litellm.*`
    LiteLlm = 8,
    /// `langfuse.*`
    Langfuse = 16,
    /// `langsmith.*`
    LangSmith = 32,
    /// `traceloop.*`
    Traceloop = 64,
    /// `tensorzero.*`
    TensorZero = 128,
    /// `agw.*`, `agentgateway.*`
    AgentGateway = 256,
    /// `http.*`, `url.*`, `db.*`: what was done is something else than a call, or said on a lower level.
    Transport = 512,
    /// `openinference.*`
    OpenInference = 1024,
}

impl Family {
    fn of(key: &str) -> Option<Self> {
        let is = |head: &str| key.strip_prefix(head).is_some_and(|rest| rest.starts_with('.'));
        // By the first letter, because every key of every span passes here.
        let (heads, family) = match key.as_bytes().first()? {
            b'g' => (&["gen_ai"][..], Self::GenAi),
            b'l' if is("llm") => return Some(Self::Llm),
            b'l' if is("litellm") => return Some(Self::LiteLlm),
            b'l' if is("langfuse") => return Some(Self::Langfuse),
            b'l' => (&["langsmith"][..], Self::LangSmith),
            b'a' if is("ai") => return Some(Self::Ai),
            b'a' => (&["agw", "agentgateway"][..], Self::AgentGateway),
            b't' if is("traceloop") => return Some(Self::Traceloop),
            b't' => (&["tensorzero"][..], Self::TensorZero),
            b'h' | b'u' | b'd' => (&["http", "url", "db"][..], Self::Transport),
            b'o' => (&["openinference"][..], Self::OpenInference),
            _ => return None,
        };
        heads.iter().any(|head| is(head)).then_some(family)
    }
}

/// Where to find a key.
#[expect(clippy::large_enum_variant, reason = "lives on the stack while one span is read; a box would cost more")]
#[derive(Debug)]
enum Index<'a> {
    /// Open addressing: position in the list plus one, 0 is free.
    Small([u8; SLOTS]),
    Large(HashMap<&'a str, &'a Value>),
}

/// A view over one attribute list; the first of equal keys counts.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    list: &'a [KeyValue],
    index: Index<'a>,
    families: u16,
}

fn value_of(entry: &KeyValue) -> Option<&Value> {
    entry.value.as_ref()?.value.as_ref()
}

/// A slot from the key's length and its last eight bytes, which is where keys of one family differ.
fn slot(key: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = key.as_bytes();
    let tail = bytes.last_chunk::<8>().map_or_else(
        || bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        |chunk| u64::from_le_bytes(*chunk),
    );
    let length = u64::try_from(bytes.len()).unwrap_or(0);
    usize::try_from((tail ^ (length << 57)).wrapping_mul(ODD) >> 56).unwrap_or(0)
}

impl<'a> Attributes<'a> {
    /// Indexes the list; entries without a value are absent.
    pub(super) fn new(list: &'a [KeyValue]) -> Self {
        let families = list.iter().filter_map(|entry| Family::of(&entry.key)).fold(0, |all, one| all | one as u16);
        let index = if list.len() > SMALL {
            let mut map = HashMap::with_capacity(list.len());
            for (entry, value) in list.iter().filter_map(|entry| Some((entry, value_of(entry)?))) {
                map.entry(entry.key.as_str()).or_insert(value);
            }
            Index::Large(map)
        } else {
            let mut slots = [0_u8; SLOTS];
            for (number, entry) in (1_u8..).zip(list).filter(|(_, entry)| value_of(entry).is_some()) {
                let mut at = slot(&entry.key);
                // Half of the slots stay free, so a free or equal one is met.
                while let Some(taken) = slots.get_mut(at) {
                    if *taken == 0 {
                        *taken = number;
                    } else if list.get(usize::from(*taken) - 1).is_none_or(|other| other.key != entry.key) {
                        at = (at + 1) % SLOTS;
                        continue;
                    }
                    break;
                }
            }
            Index::Small(slots)
        };
        Self { list, index, families }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        match &self.index {
            Index::Large(map) => map.get(key).copied(),
            Index::Small(slots) => {
                let mut at = slot(key);
                loop {
                    let entry = self.list.get(usize::from(*slots.get(at)?).checked_sub(1)?)?;
                    if entry.key == key {
                        return value_of(entry);
                    }
                    at = (at + 1) % SLOTS;
                }
            }
        }
    }

    /// Keys in the order of the list.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.list.iter().map(|entry| entry.key.as_str())
    }

    /// True where the key is there with any value, `""` included.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// True where a key of one of the families is there.
    pub(super) fn has_family(&self, families: &[Family]) -> bool {
        families.iter().any(|family| self.families & *family as u16 != 0)
    }

    /// True where a key begins with one of the prefixes, which lie within the family.
    pub(super) fn has_prefix(&self, family: Family, prefixes: &[&str]) -> bool {
        self.has_family(&[family]) && self.keys().any(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }

    /// Raw text of a string attribute without a limit, for readers that parse it and keep none of it.
    pub(super) fn raw(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::StringValue(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Text of a scalar, trimmed; `None` for `""`, `"None"`, lists, bytes and anything too long for a name.
    pub(super) fn word(&self, key: &str) -> Option<Cow<'a, str>> {
        scalar_text(self.get(key)?)
    }

    /// [`Self::word`] of one's own.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.word(key).map(Cow::into_owned)
    }

    /// True where the text of a scalar is one of `words`, whatever its case.
    pub(super) fn is_any(&self, key: &str, words: &[&str]) -> bool {
        self.word(key).is_some_and(|text| words.iter().any(|word| word.eq_ignore_ascii_case(&text)))
    }

    /// The first text among several spellings.
    pub(super) fn first_text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }

    /// A count: not negative, whole; from an integer, a whole double or text of either.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
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
        let number = match self.get(key)? {
            Value::DoubleValue(n) => *n,
            Value::IntValue(n) => n.to_string().parse().ok()?,
            Value::StringValue(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// A truth value, also from `"True"`, `"false"`, 1 and 0.
    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::BoolValue(truth) => Some(*truth),
            Value::IntValue(n) => match n {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
            Value::StringValue(text) => {
                let text = text.trim();
                let is = |words: [&str; 2]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
                if is(["true", "1"]) {
                    Some(true)
                } else if is(["false", "0"]) {
                    Some(false)
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// The first truth value among several spellings.
    pub(super) fn first_truth(&self, keys: &[&str]) -> Option<bool> {
        keys.iter().find_map(|key| self.truth(key))
    }

    /// First entry of a list that came as an array, as JSON or Python text, or as one plain word.
    pub(super) fn first_item(&self, key: &str) -> Option<String> {
        self.items(key, 1).into_iter().next()
    }

    /// The first texts of a list, in any of the forms of [`Self::first_item`].
    pub(super) fn items(&self, key: &str, limit: usize) -> Vec<String> {
        match self.get(key) {
            Some(Value::ArrayValue(array)) => {
                let values = array.values.iter().filter_map(|v| v.value.as_ref());
                values.filter_map(scalar_text).map(Cow::into_owned).take(limit).collect()
            }
            Some(Value::StringValue(text)) if text.trim_start().starts_with('[') => Tree::parse(text)
                .map(|tree| tree.items().iter().filter_map(Tree::text).take(limit).map(str::to_owned).collect())
                .unwrap_or_default(),
            Some(value) => scalar_text(value).map(Cow::into_owned).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A structured value: a JSON or Python dictionary as text, or a native key/value list.
    pub(super) fn tree(&self, key: &str) -> Option<Tree<'a>> {
        match self.get(key)? {
            Value::StringValue(text) => Tree::parse(text),
            Value::KvlistValue(list) => Some(map_of(&list.values, 0)),
            _ => None,
        }
    }
}

fn map_of(list: &[KeyValue], depth: usize) -> Tree<'_> {
    let pairs = list
        .iter()
        .filter_map(|entry| Some((Cow::Borrowed(entry.key.as_str()), tree_of(entry.value.as_ref()?, depth)?)));
    Tree::Map(pairs.collect())
}

fn tree_of(value: &AnyValue, depth: usize) -> Option<Tree<'_>> {
    if depth > NATIVE_DEPTH {
        return None;
    }
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => Tree::Text(Cow::Borrowed(text)),
        Value::BoolValue(truth) => Tree::Bool(*truth),
        Value::IntValue(n) => Tree::Number(Cow::Owned(n.to_string())),
        Value::DoubleValue(n) => Tree::Number(Cow::Owned(n.to_string())),
        Value::ArrayValue(array) => {
            Tree::List(array.values.iter().filter_map(|item| tree_of(item, depth + 1)).collect())
        }
        Value::KvlistValue(list) => map_of(&list.values, depth + 1),
        _ => return None,
    })
}

fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::StringValue(text) => clean(text).map(Cow::Borrowed),
        Value::IntValue(n) => Some(Cow::Owned(n.to_string())),
        Value::DoubleValue(n) if n.is_finite() => Some(Cow::Owned(n.to_string())),
        Value::BoolValue(true) => Some(Cow::Borrowed("true")),
        Value::BoolValue(false) => Some(Cow::Borrowed("false")),
        _ => None,
    }
}

/// Trimmed text; `None` where it is empty, stands for null or is too long for a name.
pub(super) fn clean(text: &str) -> Option<&str> {
    let text = text.trim();
    let null = matches!(text, "" | "None" | "null" | "undefined");
    (!null && text.len() <= TEXT_LIMIT).then_some(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(keys: impl Iterator<Item = String>) -> Vec<KeyValue> {
        let value = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
        keys.map(|key| KeyValue { value: value(&key), key, ..KeyValue::default() }).collect()
    }

    #[test]
    fn finds_every_key_of_lists_of_any_length() {
        for length in [0, 1, 7, SMALL, SMALL + 1, 3 * SMALL] {
            let attributes = list((0..length).map(|n| format!("gen_ai.key.{n}.tokens")));
            let view = Attributes::new(&attributes);
            for n in 0..length {
                let key = format!("gen_ai.key.{n}.tokens");
                assert_eq!(view.raw(&key), Some(key.as_str()), "{length}");
            }
            for absent in ["", "gen_ai", "gen_ai.key.-1.tokens"] {
                assert!(!view.has(absent), "{length} {absent}");
            }
        }
    }

    #[test]
    fn the_first_of_equal_keys_counts_and_keys_without_value_are_absent() {
        let mut attributes = list(["a.b", "a.b"].into_iter().map(str::to_owned));
        attributes[1].value = Some(AnyValue { value: Some(Value::IntValue(2)) });
        attributes.insert(0, KeyValue { key: "a.b".to_owned(), ..KeyValue::default() });
        assert_eq!(Attributes::new(&attributes).text("a.b").as_deref(), Some("a.b"));
    }

    #[test]
    fn families_are_told_by_the_first_segment() {
        let attributes = list(["gen_ai.usage.input_tokens", "airport.code", "llmx.y"].into_iter().map(str::to_owned));
        let view = Attributes::new(&attributes);
        assert!(view.has_family(&[Family::Ai, Family::GenAi]));
        assert!(!view.has_family(&[Family::Ai, Family::Llm]));
        assert!(view.has_prefix(Family::GenAi, &["gen_ai.usage."]) && !view.has_prefix(Family::GenAi, &["gen_ai.x"]));
    }
}
