//! One folder per producer of records, always the same four files: `mod` (what it is and what it promises), `config`
//! (what an operator may set), `record` (the wire format, field for field), `normalize` (pure: record in, rows out).
//! Prompts and completions end here: no normalizer copies them anywhere.

pub mod anthropic;
pub mod azure;
pub mod bedrock;
#[cfg(test)]
mod fuzz;
mod lenient;
pub mod openai;
pub mod otlp;
mod usage_report;
pub mod vertex;

use crate::model::{Normalized, RecordRef};

/// A format of log records that lie in files, objects or log events, one JSON value each.
///
/// Contract: `normalize` is pure and never panics; it pushes at least one [`Normalized`] for every record, so that
/// nothing disappears uncounted; the same bytes give the same rows whatever `at` says about when they were read
/// (`at.object_time` matters only for a record without a readable time).
pub trait LogFormat: Send + Sync {
    /// Short name for counters and messages.
    fn name(&self) -> &'static str;

    /// True for objects that hold records, false for sidecars and markers that lie beside them.
    fn wants(&self, key: &str) -> bool;

    /// Normalizes one record: the bytes of one JSON value, or of a line that is none.
    fn normalize(&self, record: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>);
}
