//! What can go wrong with a table.

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;

use super::parquet_file::FileError;
use crate::store::StoreError;

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The Delta library refused; the table is unchanged.
    #[error("table {table}")]
    Delta {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A scan failed.
    #[error("table {table} can't be read")]
    Scan {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<DataFusionError>,
    },
    /// A data file can't be encoded.
    #[error("table {table}")]
    File {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A data file can't be stored.
    #[error("data file {path}")]
    Put {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The store can't be listed or read.
    #[error("{path} can't be listed or read")]
    List {
        /// What.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// Another process committed since this version was read.
    #[error("table {table}: another process committed meanwhile")]
    Overtaken {
        /// Which table.
        table: &'static str,
    },
    /// The table has columns that this program does not know.
    #[error(
        "table {table} was written by a newer polymeter: it has the column '{column}'; use that version or a newer one"
    )]
    Newer {
        /// Which table.
        table: &'static str,
        /// First unknown column.
        column: String,
    },
    /// The location is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A background task died.
    #[error("interrupted")]
    Interrupted,
}
