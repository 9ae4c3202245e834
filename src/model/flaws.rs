//! What of a request could not be taken as it was sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{RecordId, Reject};

/// What was left out of a request and what was mended in it, so that the rest could be kept. Numbers, not places: a
/// request of a few megabytes can hold a million damaged elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    /// Hash of the request, which tells it from others that leave the same behind.
    pub request: RecordId,
    left_out: BTreeMap<(&'static str, &'static str), u64>,
    mended: BTreeMap<&'static str, u64>,
}

impl Flaws {
    /// True where everything was taken as it came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left_out.is_empty() && self.mended.is_empty()
    }

    /// Counts an element of `field` that is lost.
    pub fn leave_out(&mut self, reason: &'static str, field: &'static str) {
        *self.left_out.entry((reason, field)).or_default() += 1;
    }

    /// Counts something that was kept in another form than it was sent in.
    pub fn mend(&mut self, what: &'static str) {
        *self.mended.entry(what).or_default() += 1;
    }

    /// Counts what `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (lost, count) in &other.left_out {
            *self.left_out.entry(*lost).or_default() += count;
        }
        for (what, count) in &other.mended {
            *self.mended.entry(what).or_default() += count;
        }
    }

    /// What was lost: a rejection for all elements of the same kind, and their number.
    pub fn left_out(&self) -> impl Iterator<Item = (Reject, u64)> {
        self.left_out.iter().map(|((reason, field), count)| {
            (Reject { reason, detail: format!("{count} of `{field}` can't be read") }, *count)
        })
    }

    /// What was mended, and how often.
    pub fn mended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.mended.iter().map(|(what, count)| (*what, *count))
    }
}

/// Text of bytes that should be UTF-8: what is not becomes one replacement character for each stretch of it.
#[must_use]
pub fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let goes_on = chunk.valid().is_empty() && text.ends_with(char::REPLACEMENT_CHARACTER);
        if !chunk.invalid().is_empty() && !goes_on {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_no_text_become_one_character() {
        assert_eq!(readable(b"plain"), "plain");
        assert_eq!(readable(b"a\xff\xfe\x80b\xc3"), "a\u{fffd}b\u{fffd}");
        assert_eq!(readable("a\u{fffd}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(readable(&[0xff; 1000]), "\u{fffd}", "it does not grow");
    }

    #[test]
    fn equal_flaws_are_one_rejection_with_their_number() {
        let mut flaws = Flaws::default();
        assert!(flaws.is_empty());
        for field in ["spans", "spans", "scopeSpans"] {
            flaws.leave_out("bad_otlp_json", field);
        }
        let left_out: Vec<_> = flaws.left_out().map(|(reject, count)| (reject.detail, count)).collect();
        assert_eq!(
            left_out,
            [("1 of `scopeSpans` can't be read".to_owned(), 1), ("2 of `spans` can't be read".to_owned(), 2)]
        );
        assert_eq!(flaws.mended().count(), 0);
    }
}
