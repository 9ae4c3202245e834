//! Files that people edit by hand, TOML and CSV alike, as rows of text whose lines are known, so that every mistake can
//! be told with file, line and what to write instead. Nothing is applied of a file with a mistake: readers collect all
//! [`Problem`]s and give rows only without any. Pure: text in, rows out.

mod csv;
mod field;
mod hash;
#[cfg(test)]
mod tests;
mod toml;

use std::collections::BTreeMap;
use std::fmt;

pub use csv::read_csv;
pub use field::{Fields, nearest};
pub use hash::{canonical_line, content_hash, sha256};
pub use toml::read_toml;

/// A mistake in a file, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.hint)
    }
}

/// Where a row stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    /// A mistake here.
    #[must_use]
    pub fn problem(&self, what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { file: self.file.clone(), line: self.line, what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What stands under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Its line.
    pub line: usize,
    /// The text as written; several for a list.
    pub texts: Vec<String>,
}

/// Named cells. A table inside a TOML table has dotted names: `when.tag.team`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its first line.
    pub line: usize,
    /// The cells that are not empty.
    pub cells: BTreeMap<String, Cell>,
}

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Names that stand above all tables of a TOML file.
    pub top: Row,
    /// Rows by the name of their table: `[[price]]` is `price`; a CSV file has one table without a name.
    pub tables: BTreeMap<String, Vec<Row>>,
    /// The columns of a CSV file.
    pub columns: Vec<String>,
}
