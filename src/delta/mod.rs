//! Delta tables: the only module that names the Delta library. It opens and creates tables, writes Parquet files,
//! commits with transaction marks and decides what an error of a commit means.
//!
//! Guarantee: [`Table::commit`] returns `Ok` only if its change is in the table's log; on any error of the library it
//! reloads and looks for its own marks before it reports one, because an error may have landed.

mod error;
mod file;
mod parquet_file;
#[cfg(test)]
mod power_tests;
mod table;
mod upkeep;

pub use error::DeltaError;
pub use file::{DataFile, NewFile};
pub use parquet_file::FileError;
pub use table::{Change, Marks, Table, unique_number};
pub use upkeep::{LogUpkeep, Removed};
