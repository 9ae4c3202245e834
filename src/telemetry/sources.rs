//! The status board of sources: what each is doing, how far it is complete, what went wrong last.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use crate::model::Timestamp;

/// State of one source. Instants are UTC; `None` means not yet.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// `bedrock`, `azure`, `otlp`.
    pub kind: String,
    /// What it reads.
    pub location: String,
    /// `starting`, `running`, `retrying`.
    pub state: &'static str,
    /// Everything that the source held up to here is in polymeter.
    pub complete_to: Option<String>,
    /// Seconds since then, when the board was looked at.
    pub lag_s: Option<i64>,
    /// When something was last read.
    pub last_record_at: Option<String>,
    /// Records read since start.
    pub records: u64,
    /// Records set aside since start.
    pub quarantined: u64,
    /// Objects that could not be read and are tried again.
    pub failed_objects: u64,
    /// The last error, without content.
    pub last_error: Option<String>,
    /// Live Tail of a log group, where it is switched on. It has no say in the other fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_tail: Option<LiveTailStatus>,
}

/// State of a Live Tail.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LiveTailStatus {
    /// `starting`, `running`, `retrying`.
    pub state: &'static str,
    /// Why the last session broke off or none began.
    pub last_error: Option<String>,
}

/// Shared board; cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct SourceBoard(Arc<RwLock<BTreeMap<String, SourceStatus>>>);

impl SourceBoard {
    /// Changes the entry of a source, making it if needed.
    pub fn update(&self, name: &str, change: impl FnOnce(&mut SourceStatus)) {
        let mut board = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(board.entry(name.to_owned()).or_default());
    }

    /// Notes that a source is complete up to `at`.
    pub fn complete(&self, name: &str, at: Timestamp) {
        super::metrics::source_complete(name, at.0);
        self.update(name, |status| {
            status.state = "running";
            status.complete_to = Some(at.to_string());
        });
    }

    /// All entries, with their lag at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> BTreeMap<String, SourceStatus> {
        let mut all = self.all();
        for status in all.values_mut() {
            let complete = status.complete_to.as_deref().and_then(Timestamp::parse);
            status.lag_s = complete.map(|at| now.0.saturating_sub(at.0).max(0) / 1_000_000);
        }
        all
    }

    /// All entries.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, SourceStatus> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Name and completeness of each source.
    #[must_use]
    pub fn complete_to(&self) -> BTreeMap<String, Option<String>> {
        self.all().into_iter().map(|(name, status)| (name, status.complete_to)).collect()
    }
}
