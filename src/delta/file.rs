//! Data files: stored ones, and those that a table holds.

use deltalake::kernel::Add;

/// A data file that is stored but not yet part of the table.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub(super) add: Add,
    pub(super) rows: usize,
}

impl NewFile {
    /// Rows in it.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }
}

/// An active file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Relative to the table: `day=<day>/<name>.parquet`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Rows in it.
    pub rows: usize,
}

impl DataFile {
    /// The day whose rows it holds, as text.
    #[must_use]
    pub fn day(&self) -> &str {
        self.path.split_once('=').and_then(|(_, rest)| rest.split_once('/')).map_or("", |(day, _)| day)
    }

    /// Its name without folder and ending.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".parquet").unwrap_or(name)
    }
}
