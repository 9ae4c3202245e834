//! The CSV form of price rows, as [`read_file`](super::read_file) reads it: for imports that append to a file.

use csv::{Terminator, WriterBuilder};

use crate::model::Timestamp;
use crate::pricing::rate::{Rate, short};

/// The columns of a price file, in the order in which [`write_csv`] writes them.
pub const COLUMNS: [&str; 18] = [
    "row_id",
    "platform",
    "model",
    "snapshot",
    "scope",
    "tier",
    "mode",
    "unit",
    "context_over",
    "per",
    "amount",
    "currency",
    "valid_from",
    "valid_to",
    "recorded_at",
    "source",
    "source_ref",
    "note",
];

/// Rows as a CSV file. Read as the same layer it gives the same rows; the layer is the file's, not the row's.
#[must_use]
pub fn write_csv<'a>(rates: impl IntoIterator<Item = &'a Rate>) -> String {
    let mut writer = WriterBuilder::new().terminator(Terminator::Any(b'\n')).from_writer(Vec::new());
    let instant = |at: Option<Timestamp>| at.map(short).unwrap_or_default();
    // Writing to memory can't fail.
    let _ = writer.write_record(COLUMNS);
    for rate in rates {
        let over = rate.context_over.map(|over| over.to_string()).unwrap_or_default();
        let _ = writer.write_record([
            rate.row_id.as_str(),
            &rate.platform,
            &rate.model,
            rate.snapshot.as_deref().unwrap_or_default(),
            &rate.scope.to_string(),
            &rate.tier,
            rate.mode.as_str(),
            rate.bucket.as_str(),
            &over,
            &rate.per.to_string(),
            &rate.amount.to_string(),
            &rate.currency,
            &instant(rate.valid_from),
            &instant(rate.valid_to),
            &short(rate.recorded_at),
            &rate.source,
            &rate.source_ref,
            &rate.note,
        ]);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
