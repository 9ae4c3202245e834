//! Request-response logs of Vertex AI: one row per call of Gemini (`generateContent`) or of Claude (`rawPredict`), which
//! Vertex writes to a BigQuery table; read from exports of that table as JSON lines, and from entries of Cloud Logging
//! whose `jsonPayload` is such a row.
//!
//! Metered: tokens as the answer itself counts them. Gemini's prompt includes what was cached, its candidates exclude its
//! thoughts; Claude's input excludes what was cached. Latency, status, labels of the request as tags.
//!
//! Not metered: audit log entries of the same calls. They have no tokens and no id in common with the rows, so that each
//! would be a second call.
//!
//! Promises: of requests nothing but labels is read, of answers nothing but ids, counts, codes and stop reasons.

mod answer;
mod config;
mod normalize;
mod record;
#[cfg(test)]
mod tests;

pub use config::VertexConfig;

use super::LogFormat;
use crate::model::{Normalized, RecordRef};

/// Names that an object with rows may have: exports of BigQuery and of Cloud Logging, also compressed.
const ENDINGS: [&str; 5] = [".json", ".jsonl", ".ndjson", ".log", ".gz"];

/// Request-response logs as a [`LogFormat`].
#[derive(Clone, Debug, Default)]
pub struct VertexLog {
    config: VertexConfig,
}

impl VertexLog {
    /// A reader of rows from the place that `config` describes.
    #[must_use]
    pub const fn new(config: VertexConfig) -> Self {
        Self { config }
    }
}

impl LogFormat for VertexLog {
    fn name(&self) -> &'static str {
        "vertex"
    }

    fn wants(&self, key: &str) -> bool {
        let key = key.to_ascii_lowercase();
        // BigQuery may leave out the ending altogether.
        let name = key.rsplit('/').next().unwrap_or_default();
        !name.contains('.') || ENDINGS.iter().any(|ending| name.ends_with(ending))
    }

    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
        normalize::normalize(&self.config, record, at, out);
    }
}
