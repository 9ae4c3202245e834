//! Token counts in the one canonical form: input includes everything read from or written to a cache, output includes
//! reasoning. Absent is `None`, never 0.

use std::fmt;
use std::str::FromStr;

/// More tokens than any context window; a larger number is a damaged record.
const ABSURD_TOKENS: u64 = 1_000_000_000;

/// Token counts of one call. Each `Option` is `None` where the record does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input tokens, those read from and written to a cache included.
    pub input: Option<u64>,
    /// Subset of `input` that was read from a cache.
    pub cache_read: Option<u64>,
    /// Subset of `input` that was written to a cache.
    pub cache_write: Option<u64>,
    /// Subset of `cache_write` that is kept for an hour.
    pub cache_write_1h: Option<u64>,
    /// All output tokens, reasoning included.
    pub output: Option<u64>,
    /// Subset of `output` spent on reasoning.
    pub reasoning: Option<u64>,
    /// Subset of `input` that is audio.
    pub audio_input: Option<u64>,
    /// Subset of `output` that is audio.
    pub audio_output: Option<u64>,
    /// Subset of `input` that is images.
    pub image_input: Option<u64>,
    /// Images made.
    pub images: Option<u64>,
}

/// Why a set of counts cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Cached tokens are part of the input, so they can't exceed it.
    #[error("cache tokens exceed input tokens")]
    CacheExceedsInput,
    /// Reasoning is part of the output, so it can't exceed it.
    #[error("reasoning tokens exceed output tokens")]
    ReasoningExceedsOutput,
    /// The one-hour share is part of the cache write.
    #[error("one-hour cache write exceeds cache write")]
    HourExceedsWrite,
    /// No model takes or gives that many.
    #[error("absurd token count")]
    Absurd,
}

impl UsageError {
    /// The stable word for counters and the quarantine.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CacheExceedsInput => "cache_exceeds_input",
            Self::ReasoningExceedsOutput => "reasoning_exceeds_output",
            Self::HourExceedsWrite => "hour_exceeds_write",
            Self::Absurd => "absurd_tokens",
        }
    }
}

impl Usage {
    /// The canonical form of counts that a provider reports side by side: `fresh` input is neither read from nor
    /// written to a cache. The total is `None` only if all three are.
    #[must_use]
    pub fn from_disjoint(fresh: Option<u64>, read: Option<u64>, write: Option<u64>, output: Option<u64>) -> Self {
        let parts = [fresh, read, write];
        let input = if parts.iter().all(Option::is_none) {
            None
        } else {
            Some(parts.iter().flatten().fold(0_u64, |sum, n| sum.saturating_add(*n)))
        };
        Self { input, cache_read: read, cache_write: write, output, ..Self::default() }
    }

    /// True where nothing at all was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True where every reported count is 0 or nothing was reported.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.counts().iter().flatten().all(|n| *n == 0)
    }

    /// Checks the identities between the counts.
    ///
    /// # Errors
    /// The first identity that does not hold.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.counts().iter().flatten().any(|n| *n > ABSURD_TOKENS) {
            return Err(UsageError::Absurd);
        }
        let cached = self.cache_read.unwrap_or(0) + self.cache_write.unwrap_or(0);
        if self.input.is_some_and(|input| cached > input) || (self.input.is_none() && cached > 0) {
            return Err(UsageError::CacheExceedsInput);
        }
        if self.reasoning.unwrap_or(0) > self.output.unwrap_or(u64::MAX) {
            return Err(UsageError::ReasoningExceedsOutput);
        }
        if self.cache_write_1h.unwrap_or(0) > self.cache_write.unwrap_or(0) {
            return Err(UsageError::HourExceedsWrite);
        }
        Ok(())
    }

    fn counts(&self) -> [Option<u64>; 10] {
        [
            self.input,
            self.cache_read,
            self.cache_write,
            self.cache_write_1h,
            self.output,
            self.reasoning,
            self.audio_input,
            self.audio_output,
            self.image_input,
            self.images,
        ]
    }
}

/// How far the counts can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UsageStatus {
    /// Counted by the provider.
    Measured,
    /// Estimated by a client or gateway.
    Estimated,
    /// The record holds none.
    #[default]
    Missing,
}

impl UsageStatus {
    /// The column value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Estimated => "estimated",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for UsageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UsageStatus {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Measured, Self::Estimated, Self::Missing].into_iter().find(|s| s.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_counts_add_up_and_absence_stays_absent() {
        let usage = Usage::from_disjoint(Some(3), Some(24_479), Some(52), Some(7));
        assert_eq!(usage.input, Some(24_534));
        assert_eq!(Usage::from_disjoint(None, None, None, Some(1)).input, None);
        assert!(usage.check().is_ok());
    }

    #[test]
    fn refuses_subsets_larger_than_their_whole() {
        let cache = Usage { input: Some(5), cache_read: Some(6), ..Usage::default() };
        assert_eq!(cache.check(), Err(UsageError::CacheExceedsInput));
        let reasoning = Usage { output: Some(5), reasoning: Some(6), ..Usage::default() };
        assert_eq!(reasoning.check(), Err(UsageError::ReasoningExceedsOutput));
        assert_eq!(Usage { output: Some(u64::MAX), ..Usage::default() }.check(), Err(UsageError::Absurd));
    }
}
