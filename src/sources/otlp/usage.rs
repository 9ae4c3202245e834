//! Token counts as clients write them, and their one canonical form. The same key means input *with* cached tokens in
//! one library and *without* them in another, so every reader says which of both it saw.

use crate::model::{Tags, Usage};

/// What a reported input count covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Basis {
    /// Tokens read from or written to a cache are part of it.
    Inclusive,
    /// It counts fresh tokens only.
    Exclusive,
    /// The library is not known: decided by arithmetic where that is possible, else assumed and marked.
    #[default]
    Unknown,
}

/// Counts before they are brought to the canonical form; absent is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Counts as written.
    pub(super) usage: Usage,
    /// The reported total: never a count by itself, but a proof of what the others cover.
    pub(super) total: Option<u64>,
    /// What `usage.input` covers.
    pub(super) basis: Basis,
}

/// Tag of counts whose meaning neither the library nor the numbers decide; the value says what was assumed.
pub(super) const ASSUMED_TAG: &str = "usage_assumed";

impl Counts {
    /// Fills what is absent from a second reading of the same call on the same basis.
    pub(super) fn fill(&mut self, other: &Usage) {
        let own = &mut self.usage;
        own.input = own.input.or(other.input);
        own.cache_read = own.cache_read.or(other.cache_read);
        own.cache_write = own.cache_write.or(other.cache_write);
        own.cache_write_1h = own.cache_write_1h.or(other.cache_write_1h);
        own.output = own.output.or(other.output);
        own.reasoning = own.reasoning.or(other.reasoning);
        own.audio_input = own.audio_input.or(other.audio_input);
        own.audio_output = own.audio_output.or(other.audio_output);
        own.image_input = own.image_input.or(other.image_input);
        own.images = own.images.or(other.images);
    }

    /// The canonical counts. Where the numbers themselves prove the basis wrong (a part larger than its whole), the
    /// numbers win; what nothing proves is tagged.
    pub(super) fn canonical(self, tags: &mut Tags) -> Usage {
        let mut usage = self.usage;
        let cached = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
        if let (Some(reasoning), Some(output)) = (usage.reasoning, usage.output)
            && (reasoning > output || self.proves(&[usage.input, usage.output, usage.reasoning], reasoning))
        {
            usage.output = Some(output.saturating_add(reasoning));
        }
        match usage.input {
            None if cached > 0 => {
                // A lone cache count is a lower bound of the input, no more: the whole input is not known.
                usage.cache_read = None;
                usage.cache_write = None;
                usage.cache_write_1h = None;
                tags.insert(ASSUMED_TAG.to_owned(), "cache_without_input".to_owned());
            }
            Some(input) if cached > 0 => {
                let parts = [usage.input, usage.cache_read, usage.cache_write, usage.output];
                let proven = cached > input || (self.basis == Basis::Unknown && self.proves(&parts, cached));
                if proven || self.basis == Basis::Exclusive {
                    usage.input = Some(input.saturating_add(cached));
                } else if self.basis == Basis::Unknown {
                    tags.insert(ASSUMED_TAG.to_owned(), "input_includes_cache".to_owned());
                }
            }
            _ => {}
        }
        usage
    }

    /// True where the reported total is the sum of `parts`, so that `part` stands beside the others and not inside one.
    fn proves(&self, parts: &[Option<u64>], part: u64) -> bool {
        let sum = parts.iter().flatten().try_fold(0_u64, |sum, n| sum.checked_add(*n));
        part > 0 && self.total.is_some() && self.total == sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(input: u64, basis: Basis) -> Counts {
        Counts { usage: Usage { input: Some(input), cache_read: Some(2000), ..Usage::default() }, total: None, basis }
    }

    #[test]
    fn arithmetic_decides_where_the_library_is_unknown() {
        let mut tags = Tags::new();
        assert_eq!(counts(3000, Basis::Unknown).canonical(&mut tags).input, Some(3000));
        assert_eq!(tags.get(ASSUMED_TAG).map(String::as_str), Some("input_includes_cache"));
        let mut tags = Tags::new();
        assert_eq!(counts(300, Basis::Unknown).canonical(&mut tags).input, Some(2300));
        assert_eq!(counts(300, Basis::Inclusive).canonical(&mut tags).input, Some(2300));
        assert_eq!(counts(3000, Basis::Inclusive).canonical(&mut tags).input, Some(3000));
        assert_eq!(counts(3000, Basis::Exclusive).canonical(&mut tags).input, Some(5000));
        let with_total = |basis| Counts { total: Some(5000), ..counts(3000, basis) };
        assert_eq!(with_total(Basis::Unknown).canonical(&mut tags).input, Some(5000));
        assert_eq!(with_total(Basis::Inclusive).canonical(&mut tags).input, Some(3000));
        assert!(tags.is_empty());
    }

    #[test]
    fn reasoning_beside_the_output_is_added_only_where_the_numbers_prove_it() {
        let counts = |output, reasoning, total| Counts {
            usage: Usage { input: Some(50), output: Some(output), reasoning: Some(reasoning), ..Usage::default() },
            total,
            basis: Basis::Inclusive,
        };
        let output = |counts: Counts| counts.canonical(&mut Tags::new()).output;
        assert_eq!(output(counts(900, 832, Some(950))), Some(900));
        assert_eq!(output(counts(900, 832, None)), Some(900));
        assert_eq!(output(counts(900, 832, Some(1782))), Some(1732));
        assert_eq!(output(counts(56, 200, None)), Some(256));
        assert_eq!(output(counts(56, 0, Some(106))), Some(56));
    }

    #[test]
    fn cached_tokens_without_an_input_say_nothing() {
        let lone = Usage { cache_read: Some(5), cache_write: Some(1), output: Some(2), ..Usage::default() };
        let mut tags = Tags::new();
        let usage = Counts { usage: lone, ..Counts::default() }.canonical(&mut tags);
        assert_eq!(usage, Usage { output: Some(2), ..Usage::default() });
        assert_eq!(tags.get(ASSUMED_TAG).map(String::as_str), Some("cache_without_input"));
    }
}
