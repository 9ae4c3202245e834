//! Why a query was not answered.

use std::time::Duration;

use datafusion::error::DataFusionError;

use crate::ledger::LedgerError;

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The statement can't be read, or names what is not there.
    #[error("{0}")]
    Invalid(String),
    /// The statement would do more than read.
    #[error("only SELECT is allowed here: {0}")]
    Forbidden(String),
    /// The rows that somebody may see can't be told apart there.
    #[error("{0}")]
    OutOfScope(String),
    /// The query took too long.
    #[error("the query took longer than {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The query needs more memory than there is.
    #[error("the query needs more memory than it may use")]
    TooLarge,
    /// Our fault.
    #[error("the query failed inside")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl QueryError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Invalid(_) => {
                "SHOW TABLES lists tables and views, SHOW COLUMNS FROM calls what one has; docs/columns.md says what it means"
            }
            Self::Forbidden(_) => "SELECT, EXPLAIN, SHOW TABLES and SHOW COLUMNS are answered",
            Self::OutOfScope(_) => "ask the table calls; somebody without a row scope can ask the others",
            Self::Timeout(_) => "narrow the time range with ts >= … AND ts < …",
            Self::TooLarge => "group or filter before sorting and joining",
            Self::Internal(_) => "the log of polymeter says why",
        }
    }

    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_query",
            Self::Forbidden(_) => "read_only",
            Self::OutOfScope(_) => "out_of_scope",
            Self::Timeout(_) => "timeout",
            Self::TooLarge => "too_large",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<LedgerError> for QueryError {
    fn from(error: LedgerError) -> Self {
        Self::Internal(Box::new(error))
    }
}

/// What of an engine's error is the user's to see.
pub(super) fn classify(error: DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::TooLarge,
        // A mistake of the question; the engine takes it for its own.
        DataFusionError::Internal(text) if text.contains("Regular expression did not compile") => {
            let what = if text.contains("CompiledTooBig") { "is too large" } else { "can't be read" };
            QueryError::Invalid(format!("the regular expression {what}"))
        }
        // A plan tells of files.
        DataFusionError::Plan(text) if text.starts_with("Plan: ") => QueryError::Internal(Box::new(error)),
        DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_)
        | DataFusionError::ParquetError(_)
        | DataFusionError::Internal(_) => QueryError::Internal(Box::new(error)),
        root => QueryError::Invalid(first_line(&root.message())),
    }
}

/// Longest reason that is told.
const TOLD_CHARS: usize = 500;

pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(TOLD_CHARS).collect()
}
