//! The only retry loop: exponential with a cap and jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double up to a cap, each shortened by up to a half at random so that many callers spread out.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    cap: Duration,
    first: Duration,
}

impl Backoff {
    /// Starts at `first` and never pauses longer than `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { next: first, cap, first }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.cap);
        let random = u32::try_from(RandomState::new().hash_one(0) % 512).unwrap_or(0);
        pause - pause / 1024 * random
    }

    /// Starts over after a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause()).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)));
        assert!(pauses[7] >= Duration::from_millis(500));
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
