//! Takes dates and versions off a name, one at a time, until it is a known name; a name that never is but has a known
//! family's shape is resolved by rule.

use std::borrow::Cow;
use std::sync::Arc;

use super::data::Tables;

/// No public model name is longer.
const LONGEST: usize = 96;

/// A resolved name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Index of the publisher.
    pub publisher: usize,
    /// Canonical name.
    pub model: Arc<str>,
    /// The edition that was taken off, or that the spelling stands for.
    pub snapshot: Option<Arc<str>>,
    /// The name is in the catalogue, not only of a known shape.
    pub known: bool,
}

/// Resolves `name` (lower-case, without path and vendor). `vendor` is the publisher that a prefix proved.
pub(super) fn resolve(name: &str, vendor: Option<usize>, tables: &Tables) -> Option<Name> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '@' | '[' | ']' | '+');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
        return None;
    }
    let spelled = respell(name);
    let mut rest: &str = &spelled;
    let mut snapshot: Option<&str> = None;
    let mut version_taken = false;
    loop {
        if let Some(known) = tables.names.get(rest)
            && vendor.is_none_or(|vendor| vendor == known.publisher)
        {
            let snapshot = known.snapshot.clone().or_else(|| snapshot.map(Into::into));
            return Some(Name { publisher: known.publisher, model: Arc::clone(&known.model), snapshot, known: true });
        }
        match strip(rest, vendor.is_some(), &mut version_taken) {
            Some((shorter, edition)) => {
                rest = shorter;
                snapshot = edition.or(snapshot);
            }
            None => break,
        }
    }
    if !rest.chars().next().is_some_and(|c| c.is_ascii_alphanumeric()) || rest.contains([':', '@', '[', ']', '+']) {
        return None;
    }
    let publisher = vendor.or_else(|| tables.family(rest))?;
    Some(Name { publisher, model: rest.into(), snapshot: snapshot.map(Into::into), known: false })
}

/// One suffix shorter, and the edition it named.
fn strip<'a>(name: &'a str, vendor: bool, version_taken: &mut bool) -> Option<(&'a str, Option<&'a str>)> {
    if let Some((head, tail)) = name.split_once('@') {
        let edition = tail.starts_with(|c: char| c.is_ascii_digit()).then_some(tail);
        return non_empty(head, edition);
    }
    if let Some((head, _)) = name.split_once('[') {
        return non_empty(head, None); // `claude-…[1m]`: a client's mark for its context window
    }
    if let Some((head, tail)) = name.rsplit_once(':') {
        // `:0`, `:0:200k` of Bedrock; `:free`, `:beta` of routers.
        let version = tail.starts_with(|c: char| c.is_ascii_digit());
        let head = if version { strip_bare_version(head) } else { head };
        return non_empty(head, None);
    }
    for suffix in ["-latest", "-maas", "-default"] {
        if let Some(head) = name.strip_suffix(suffix) {
            return non_empty(head, None);
        }
    }
    let (head, tail) = name.rsplit_once('-')?;
    if !*version_taken
        && is_version(tail)
        && head.contains('-')
        && (vendor || name.starts_with("claude-") || matches!(tail, "v0" | "v1"))
    {
        *version_taken = true;
        return non_empty(head, None);
    }
    edition(name).and_then(|(head, edition)| non_empty(head, Some(edition)))
}

/// `gpt-oss-120b-1:0` writes its version without a `v`.
fn strip_bare_version(head: &str) -> &str {
    match head.rsplit_once('-') {
        Some((name, "1")) if name.ends_with('b') => name,
        _ => head,
    }
}

fn non_empty<'a>(head: &'a str, edition: Option<&'a str>) -> Option<(&'a str, Option<&'a str>)> {
    (!head.is_empty()).then_some((head, edition))
}

fn is_version(tail: &str) -> bool {
    tail.strip_prefix('v').is_some_and(|digits| digits.len() <= 2 && is_digits(digits, 1..=2))
}

fn is_digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A date at the end: `-20250514`, `-2024-08-06`, `-08-2024`, `-05-06`, `-0613`, `-002`.
fn edition(name: &str) -> Option<(&str, &str)> {
    let (head, last) = name.rsplit_once('-')?;
    let whole = |head: &str| name.get(head.len().saturating_add(1)..);
    let plausible_day = is_digits(last, 8..=8) && (last.starts_with("20") || last.starts_with("19"));
    if plausible_day {
        return Some((head, last));
    }
    if is_digits(last, 2..=2)
        && let Some((before, middle)) = head.rsplit_once('-')
        && is_digits(middle, 2..=2)
    {
        if let Some((first, year)) = before.rsplit_once('-')
            && is_digits(year, 4..=4)
        {
            return whole(first).map(|date| (first, date));
        }
        return whole(before).map(|date| (before, date));
    }
    if is_digits(last, 4..=4) {
        if last.starts_with("20")
            && let Some((before, middle)) = head.rsplit_once('-')
            && is_digits(middle, 2..=2)
        {
            return whole(before).map(|date| (before, date));
        }
        return Some((head, last));
    }
    (is_digits(last, 3..=3) && last.starts_with("00")).then_some((head, last))
}

/// One spelling for names that makers and platforms write differently.
pub(super) fn respell(name: &str) -> Cow<'_, str> {
    if let Some(rest) = name.strip_prefix("gpt-35") {
        return Cow::Owned(format!("gpt-3.5{rest}"));
    }
    if let Some(rest) = name.strip_prefix("claude-") {
        return claude(name, rest);
    }
    if let Some(rest) = name.strip_prefix("deepseek.") {
        return Cow::Owned(format!("deepseek-{rest}"));
    }
    let llama = name.strip_prefix("meta-").unwrap_or(name);
    if let Some(rest) = llama.strip_prefix("llama")
        && rest.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
    {
        let rest = rest.trim_start_matches('-').replace('.', "-");
        return Cow::Owned(format!("llama{rest}"));
    }
    for maker in ["cohere-", "ai21-"] {
        if let Some(rest) = name.strip_prefix(maker) {
            return Cow::Borrowed(rest);
        }
    }
    Cow::Borrowed(name)
}

/// True for `3-5-sonnet…` and `sonnet-4…`: nothing to move.
fn in_order(rest: &str) -> bool {
    let digit = |text: &str| text.bytes().next().filter(u8::is_ascii_digit);
    match digit(rest) {
        Some(major) => major <= b'3',
        None => rest.split_once('-').and_then(|(_, version)| digit(version)).is_some_and(|major| major > b'3'),
    }
}

/// Claude: dashes in versions (`4.5`), the version before the line's name up to 3, after it from 4 on.
fn claude<'a>(name: &'a str, rest: &str) -> Cow<'a, str> {
    let plain =
        rest.starts_with('v') || rest.starts_with("2.") || rest.starts_with("1.") || rest.starts_with("instant");
    if plain {
        return Cow::Borrowed(name);
    }
    if !rest.contains('.') && in_order(rest) {
        return Cow::Borrowed(name);
    }
    let dashed = rest.replace('.', "-");
    let mut words = dashed.split('-').peekable();
    let mut version: Vec<&str> = Vec::new();
    let mut line: Option<&str> = None;
    let mut tail: Vec<&str> = Vec::new();
    for word in words.by_ref() {
        if is_digits(word, 1..=1) && version.len() < 2 && tail.is_empty() {
            version.push(word);
        } else if line.is_none() && tail.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()) {
            line = Some(word);
        } else {
            tail.push(word);
        }
    }
    let (Some(line), Some(major)) = (line, version.first()) else { return Cow::Owned(format!("claude-{dashed}")) };
    let new_order = !matches!(*major, "1" | "2" | "3");
    let mut out = String::with_capacity(name.len());
    out.push_str("claude");
    let head: Vec<&str> = if new_order {
        std::iter::once(line).chain(version.iter().copied()).collect()
    } else {
        version.iter().copied().chain(std::iter::once(line)).collect()
    };
    for word in head.into_iter().chain(tail) {
        out.push('-');
        out.push_str(word);
    }
    Cow::Owned(out)
}
