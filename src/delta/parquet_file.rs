//! One Parquet file: settings, bytes, and the statistics that the log keeps of it.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::model::Timestamp;

/// Rows of one row group: small enough to skip, large enough to compress.
const ROW_GROUP_ROWS: usize = 131_072;
/// Columns that single rows are looked up by.
const LOOKED_UP: [&str; 6] =
    ["call_id", "observation_id", "provider_request_id", "response_id", "trace_id", "chain_id"];

/// Columns that queries filter by in ranges or few values: only these have statistics in the file.
const FILTERED: [&str; 9] =
    ["platform", "model", "team", "service", "environment", "account", "region", "outcome", "source"];

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The writer refused.
    #[error("can't write Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
}

fn properties(rows: usize) -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let ndv = u64::try_from(rows.min(ROW_GROUP_ROWS)).unwrap_or(u64::MAX);
    let builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from("ts"), EnabledStatistics::Page);
    let builder = FILTERED.iter().fold(builder, |builder, name| {
        builder.set_column_statistics_enabled(ColumnPath::from(*name), EnabledStatistics::Chunk)
    });
    LOOKED_UP
        .iter()
        .fold(builder, |builder, name| {
            let path = ColumnPath::from(*name);
            // Random ids: a dictionary only costs, a bloom filter finds.
            builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_max_ndv(path, ndv)
        })
        .build()
}

/// The bytes of a Parquet file with these rows. Blocking: call it off the runtime.
///
/// # Errors
/// The writer refused.
pub fn encode(batch: &RecordBatch) -> Result<Vec<u8>, FileError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties(batch.num_rows())))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// The statistics of the Delta log: number of rows and range of `ts`, in milliseconds rounded outwards as the
/// protocol wants it.
pub fn statistics(batch: &RecordBatch) -> String {
    let range = batch
        .column_by_name("ts")
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .and_then(|ts| Some((arrow::compute::min(ts)?, arrow::compute::max(ts)?)));
    let Some((min, max)) = range else { return format!("{{\"numRecords\":{}}}", batch.num_rows()) };
    let millis = |us: i64| Timestamp(us.div_euclid(1000) * 1000);
    serde_json::json!({
        "numRecords": batch.num_rows(),
        "minValues": {"ts": millis(min).to_string()},
        "maxValues": {"ts": millis(max.saturating_add(999)).to_string()},
        "nullCount": {"ts": 0},
    })
    .to_string()
}
