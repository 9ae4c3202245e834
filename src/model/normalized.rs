//! What a normalizer makes of one record, and the rows that travel through the journal.

use std::sync::Arc;

use super::{HOUR_US, Observation, ProviderMetric, RecordId, Timestamp, fingerprint};

/// Where a record was read: enough to find it again.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Name of the configured source.
    pub source: &'a str,
    /// Object, file, stream or peer.
    pub object: &'a str,
    /// Byte offset of the record in the (decompressed) object, or its index in a request.
    pub position: u64,
    /// Time of the object; stands in for a record without a readable time.
    pub object_time: Timestamp,
    /// When it was read.
    pub observed_at: Timestamp,
}

/// Why a record was set aside. `reason` is a stable word for counters, `detail` is for people and quotes no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Stable word: `not_json`, `bad_time`, `cache_exceeds_input`, …
    pub reason: &'static str,
    /// What exactly, without any content of the record.
    pub detail: String,
}

/// What a normalizer makes of one record (a record may give several).
#[derive(Clone, Debug, PartialEq)]
pub enum Normalized {
    /// It speaks about a model call.
    Observation(Box<Observation>),
    /// It is a provider's counter.
    Metric(Box<ProviderMetric>),
    /// A known non-call; the word says which kind.
    Skipped(&'static str),
    /// It can't be true or can't be read.
    Rejected(Reject),
}

impl Normalized {
    /// A record that can't be true or can't be read, and why.
    #[must_use]
    pub fn rejected(reason: &'static str, detail: impl Into<String>) -> Self {
        Self::Rejected(Reject { reason, detail: detail.into() })
    }
}

/// A record that could not be normalised: visible, counted, never dropped silently. It holds no content of the record,
/// only where to find it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quarantined {
    /// Deterministic from source, object and position.
    pub quarantine_id: RecordId,
    /// When it was set aside.
    pub observed_at: Timestamp,
    /// Time of the object that holds it.
    pub ts: Timestamp,
    /// Name of the configured source.
    pub source: String,
    /// Object, file, stream or peer.
    pub object: String,
    /// Byte offset or index in it.
    pub position: u64,
    /// Length of the record in bytes.
    pub bytes: u64,
    /// Stable word.
    pub reason: String,
    /// What exactly.
    pub detail: String,
    /// When the record was read again and taken in; `None` while it is still set aside.
    pub resolved_at: Option<Timestamp>,
}

impl Quarantined {
    /// The quarantine row for the record at `at`; `nth` tells several of one record apart.
    #[must_use]
    pub fn new(at: &RecordRef<'_>, nth: u64, bytes: u64, reject: Reject) -> Self {
        let (position, nth) = (at.position.to_le_bytes(), nth.to_le_bytes());
        let id = [at.source.as_bytes(), at.object.as_bytes(), &position, &nth, reject.reason.as_bytes()];
        Self {
            quarantine_id: fingerprint(id),
            observed_at: at.observed_at,
            ts: at.object_time,
            source: at.source.to_owned(),
            object: at.object.to_owned(),
            position: at.position,
            bytes,
            reason: reject.reason.to_owned(),
            detail: reject.detail,
            resolved_at: None,
        }
    }
}

/// Rows of all kinds that one commit carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// What sources said about calls; shared with whoever merges them.
    pub observations: Vec<Arc<Observation>>,
    /// Providers' counters.
    pub metrics: Vec<ProviderMetric>,
    /// Records set aside.
    pub quarantined: Vec<Quarantined>,
}

impl Rows {
    /// True where there is nothing to keep.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.observations.is_empty() && self.metrics.is_empty() && self.quarantined.is_empty()
    }

    /// Number of rows of all kinds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.observations.len() + self.metrics.len() + self.quarantined.len()
    }

    /// About how many bytes these rows take in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        // Texts and tags of a row lie beside it and are about as large again.
        let observations = self.observations.len() * size_of::<Observation>() * 2;
        observations + (self.metrics.len() + self.quarantined.len()) * 1024
    }

    /// Takes over all rows of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.observations.append(&mut other.observations);
        self.metrics.append(&mut other.metrics);
        self.quarantined.append(&mut other.quarantined);
    }
}

/// Clocks that run ahead by more than this are damaged.
const FUTURE_TOLERANCE_US: i64 = 24 * HOUR_US;

/// The last judgement over an observation: what can't be true is rejected with its reason.
#[must_use]
pub fn judge(observation: Observation) -> Normalized {
    if observation.ts < Timestamp::EARLIEST || observation.ts > observation.observed_at.plus(FUTURE_TOLERANCE_US) {
        return Normalized::rejected("bad_time", format!("call time {} is out of range", observation.ts));
    }
    if let Err(error) = observation.usage.check() {
        return Normalized::rejected(error.code(), format!("{error}: {:?}", observation.usage));
    }
    Normalized::Observation(Box::new(observation))
}
