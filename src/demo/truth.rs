//! What the made-up traffic really was: the numbers that a right meter must arrive at.

use std::collections::BTreeMap;

/// Totals of one platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformTruth {
    /// Attempts that reached the provider; each is one call.
    pub calls: u64,
    /// Calls that did not succeed.
    pub failed: u64,
    /// All input tokens, cached ones included.
    pub input_tokens: u64,
    /// All output tokens, reasoning included.
    pub output_tokens: u64,
    /// Calls that left a record in the cloud's log and a span elsewhere: one call with several witnesses.
    pub seen_twice: u64,
}

/// Requests and tokens of those that are no calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Requests.
    pub requests: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl Beside {
    const fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
    }
}

/// Totals of a batch, or of several added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoTruth {
    /// By `gen_ai.provider.name` value.
    pub platforms: BTreeMap<&'static str, PlatformTruth>,
    /// Requests of which the gateway tried a second platform; both attempts are calls.
    pub failovers: u64,
    /// Failovers whose second attempt succeeded.
    pub rescued: u64,
    /// Requests that the gateway answered from its cache, and the tokens of those answers: no calls.
    pub cached: Beside,
    /// What the service reports that sends metrics only: no calls, because nothing tells them one by one.
    pub metered: Beside,
}

impl DemoTruth {
    /// Calls of all platforms.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.platforms.values().map(|one| one.calls).sum()
    }

    /// Adds the totals of `other`.
    pub fn add(&mut self, other: &Self) {
        for (name, part) in &other.platforms {
            let sum = self.platforms.entry(name).or_default();
            sum.calls += part.calls;
            sum.failed += part.failed;
            sum.input_tokens += part.input_tokens;
            sum.output_tokens += part.output_tokens;
            sum.seen_twice += part.seen_twice;
        }
        self.failovers += other.failovers;
        self.rescued += other.rescued;
        self.cached.add(other.cached);
        self.metered.add(other.metered);
    }
}
