//! A small reader for the stringified dictionaries that gateways put into attributes: Python `repr` text
//! (`{'a': None, 'b': (1, 2)}`, also `Usage(a=1)`), and JSON, which is nearly a subset. It evaluates nothing.
//!
//! Size, depth and number of nodes are limited, so hostile text costs little; what it can't read is `None`.

use std::borrow::Cow;

/// Longest text that is read, bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 24;
/// Most values that are read.
const MAX_NODES: usize = 20_000;

/// A value of a dictionary; text without escapes is borrowed. Numbers stay text, so that no digit is lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree<'a> {
    /// `None`, `null` and everything that is not understood.
    Null,
    /// `True`, `true`, ….
    Bool(bool),
    /// A number as it was written.
    Number(Cow<'a, str>),
    /// Text without its quotes.
    Text(Cow<'a, str>),
    /// A list, tuple or set.
    List(Vec<Self>),
    /// A dictionary or an object's fields, in order.
    Map(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Tree<'a> {
    /// Reads one value; `None` where the text is too long, too deep or not a value.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut reader = Reader { rest: text.trim(), nodes: 0 };
        let tree = reader.value(0)?;
        reader.space();
        reader.rest.is_empty().then_some(tree)
    }

    /// The field of a dictionary; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value).filter(|v| **v != Self::Null)
            }
            _ => None,
        }
    }

    /// True where a dictionary has the field and its value is null.
    pub(super) fn is_null_at(&self, key: &str) -> bool {
        matches!(self, Self::Map(entries) if entries.iter().any(|(name, value)| name == key && *value == Self::Null))
    }

    /// The field that a path of keys leads to.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |tree, key| tree.get(key))
    }

    /// A count behind the first of several paths that has one.
    pub(super) fn count(&self, paths: &[&[&str]]) -> Option<u64> {
        paths.iter().find_map(|path| match self.at(path)? {
            Self::Number(text) | Self::Text(text) => super::record::parse_count(text),
            _ => None,
        })
    }

    /// Non-empty text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// Text of any scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(_) => self.text(),
            Self::Number(text) => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// Entries of a list; none for everything else.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Entries of a dictionary; none for everything else.
    pub(super) fn entries(&self) -> &[(Cow<'a, str>, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        // Mostly there is one blank or none.
        let rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
        let more = rest.bytes().next().is_some_and(|byte| byte <= b' ' || !byte.is_ascii());
        self.rest = if more { rest.trim_start() } else { rest };
    }

    fn take(&mut self, expected: char) -> bool {
        self.space();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.space();
        self.rest.chars().next()
    }

    fn value(&mut self, depth: usize) -> Option<Tree<'a>> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return None;
        }
        match self.peek()? {
            '{' => self.braces(depth),
            '[' => self.list('[', ']', depth),
            '(' => self.list('(', ')', depth),
            '\'' | '"' => self.text().map(Tree::Text),
            '-' | '+' | '0'..='9' => Some(self.number()),
            '<' => {
                // `<Type.NAME: 'value'>`, `<object at 0x…>`: an object that has no readable form.
                let (_, rest) = self.rest.split_once('>')?;
                self.rest = rest;
                Some(Tree::Null)
            }
            c if c.is_alphabetic() || c == '_' => self.word(depth),
            _ => None,
        }
    }

    fn braces(&mut self, depth: usize) -> Option<Tree<'a>> {
        self.take('{');
        let mut entries = Vec::with_capacity(8);
        let mut items = Vec::new();
        while !self.take('}') {
            let key = self.value(depth + 1)?;
            if self.take(':') {
                let value = self.value(depth + 1)?;
                match key {
                    Tree::Text(name) | Tree::Number(name) => entries.push((name, value)),
                    _ => {}
                }
            } else {
                items.push(key);
            }
            if !self.take(',') && self.peek()? != '}' {
                return None;
            }
        }
        Some(if items.is_empty() { Tree::Map(entries) } else { Tree::List(items) })
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Option<Tree<'a>> {
        self.take(open);
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value(depth + 1)?);
            if !self.take(',') && self.peek()? != close {
                return None;
            }
        }
        Some(Tree::List(items))
    }

    fn number(&mut self) -> Tree<'a> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
        let (number, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len())).unwrap_or((self.rest, ""));
        self.rest = rest;
        Tree::Number(Cow::Borrowed(number))
    }

    /// A bare word: a constant, or the name of a class with its fields in parentheses.
    fn word(&mut self, depth: usize) -> Option<Tree<'a>> {
        let word = self.name()?;
        if self.peek() != Some('(') {
            return Some(match word {
                "True" | "true" => Tree::Bool(true),
                "False" | "false" => Tree::Bool(false),
                _ => Tree::Null,
            });
        }
        self.take('(');
        let mut fields = Vec::new();
        while !self.take(')') {
            let before = self.rest;
            match self.name() {
                Some(name) if self.take('=') => fields.push((Cow::Borrowed(name), self.value(depth + 1)?)),
                _ => {
                    self.rest = before;
                    self.value(depth + 1)?;
                }
            }
            if !self.take(',') && self.peek()? != ')' {
                return None;
            }
        }
        Some(Tree::Map(fields))
    }

    fn name(&mut self) -> Option<&'a str> {
        self.space();
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
        let (name, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let quote = self.rest.chars().next()?;
        let inner = self.rest.get(quote.len_utf8()..)?;
        let ends = u8::try_from(quote).ok()?;
        let plain = inner.bytes().position(|byte| byte == ends || byte == b'\\')?;
        let (text, rest) = inner.split_at_checked(plain)?;
        if let Some(rest) = rest.strip_prefix(quote) {
            self.rest = rest;
            return Some(Cow::Borrowed(text));
        }
        self.escaped(text, rest, quote).map(Cow::Owned)
    }

    /// The rest of a text from its first backslash on.
    fn escaped(&mut self, before: &str, from: &'a str, quote: char) -> Option<String> {
        let mut chars = from.char_indices();
        let mut text = before.to_owned();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => text.push(escape(&mut chars, 4)?),
                    'x' => text.push(escape(&mut chars, 2)?),
                    'U' => text.push(escape(&mut chars, 8)?),
                    other => text.push(other),
                },
                c if c == quote => {
                    self.rest = from.get(at + c.len_utf8()..)?;
                    return Some(text);
                }
                c => text.push(c),
            }
        }
        None
    }
}

/// A character from its hex digits; halves of surrogate pairs become the replacement character.
fn escape(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let mut code = 0_u32;
    for _ in 0..digits {
        code = code.checked_mul(16)?.checked_add(chars.next()?.1.to_digit(16)?)?;
    }
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_python_and_json_dictionaries() {
        let python =
            Tree::parse("{'a': None, 'b': {'c': 12, 'd': [True, 'it\\'s']}, 'e': (1, 2.0), \"f\": -3}").unwrap();
        assert_eq!(python.count(&[&["b", "c"]]), Some(12));
        assert!(python.is_null_at("a"));
        assert_eq!(python.at(&["b", "d"]).unwrap().items()[1].text(), Some("it's"));
        assert_eq!(python.count(&[&["f"], &["b", "c"]]), Some(12));
        let json = Tree::parse(r#"{"a": null, "b": {"c": "12"}, "d": "\u00e4\n"}"#).unwrap();
        assert_eq!(json.count(&[&["b", "c"]]), Some(12));
        assert_eq!(json.get("d").unwrap().text(), Some("ä"));
    }

    #[test]
    fn reads_objects_and_opaque_values() {
        let tree =
            Tree::parse("Usage(prompt_tokens=5, details=Details(cached=None, n=3), x=<Kind.A: 'a'>, y=1e3)").unwrap();
        assert_eq!(tree.count(&[&["prompt_tokens"]]), Some(5));
        assert_eq!(tree.count(&[&["details", "n"]]), Some(3));
        assert_eq!(tree.count(&[&["y"]]), Some(1000));
        assert_eq!(tree.get("x"), None);
        assert_eq!(Tree::parse("{1, 2}").unwrap().items().len(), 2);
    }

    #[test]
    fn refuses_hostile_text_without_a_panic() {
        for text in ["", "{", "{'a'", "{'a':", "'\\", "'\\u12", "[[", "{'a': 1,, }", "a(", "a(b=", "<", "{é: 1}x", "'é"]
        {
            assert_eq!(Tree::parse(text), None, "{text}");
        }
        assert_eq!(Tree::parse(&"[".repeat(100_000)), None);
        assert_eq!(Tree::parse(&format!("[{}]", "1,".repeat(100_000))), None);
        assert_eq!(Tree::parse(&" ".repeat(MAX_BYTES + 1)), None);
        let odd: String = (0..0x3000_u32).filter_map(char::from_u32).collect();
        for at in 0..odd.chars().count() {
            let _ = Tree::parse(&odd.chars().skip(at).take(9).collect::<String>());
        }
    }
}
