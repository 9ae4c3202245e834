//! Rows as Arrow columns: the one place that says how a field of the model is stored. Journal objects, Delta tables
//! and the hot set all use it, so they can't disagree.

mod cell;
mod ids;
mod tables;

pub use ids::{ID_COLUMNS, stored, stored_schema};
pub use tables::Row;

/// Why a batch can't be read as rows.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    /// A column has another type than the one it is stored as.
    #[error("column {column} has type {found}, expected {expected}")]
    Type {
        /// Column name.
        column: &'static str,
        /// Type in the batch.
        found: String,
        /// Type it is stored as.
        expected: String,
    },
    /// A cell holds a value that its type can't have.
    #[error("column {column} holds a value that can't be read")]
    Value {
        /// Column name.
        column: &'static str,
    },
    /// A column of the table is not in the rows.
    #[error("a column is missing")]
    Missing,
    /// Arrow refused.
    #[error("arrow")]
    Arrow(#[from] arrow::error::ArrowError),
}
