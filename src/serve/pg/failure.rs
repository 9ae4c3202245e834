//! Errors with the SQLSTATE that drivers decide on, and our hint.

use pgwire::error::{ErrorInfo, PgWireError};
use tracing::error;

use crate::query::QueryError;

/// An error that ends a statement.
pub fn failure(code: &str, message: impl Into<String>, hint: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(info("ERROR", code, message, hint)))
}

/// An error that ends the connection.
pub fn fatal(code: &str, message: impl Into<String>, hint: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(info("FATAL", code, message, hint)))
}

/// What an error or notice says.
pub fn info(severity: &str, code: &str, message: impl Into<String>, hint: impl Into<String>) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_owned(), code.to_owned(), message.into());
    info.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
    info.severity_nonlocalized = Some(severity.to_owned());
    info
}

/// What of the engine's errors a client sees.
pub fn of_query(query: &QueryError) -> PgWireError {
    let message = query.to_string();
    let lower = message.to_lowercase();
    let code = match query {
        QueryError::Invalid(_) if lower.contains("error parsing") => "22P02",
        QueryError::Invalid(_) if lower.contains("parser") || lower.starts_with("expected") => "42601",
        QueryError::Invalid(_) if lower.contains("table") && lower.contains("not found") => "42P01",
        QueryError::Invalid(_) if lower.contains("no field named") => "42703",
        QueryError::Invalid(_) if lower.contains("function") => "42883",
        QueryError::Invalid(_) if lower.contains("divide by zero") => "22012",
        QueryError::Invalid(_) if lower.contains("cast") || lower.contains("parsing") => "22P02",
        QueryError::Invalid(_) if lower.contains("more than") || lower.contains("longer than") => "54000",
        QueryError::Invalid(_) => "42000",
        QueryError::Forbidden(_) => "25006",
        QueryError::OutOfScope(_) => "42501",
        QueryError::Timeout(_) => "57014",
        QueryError::TooLarge => "53200",
        QueryError::Internal(source) => {
            error!(error = &**source as &dyn std::error::Error, "query failed inside");
            "XX000"
        }
    };
    failure(code, message, query.hint())
}

/// The code of an error, for the audit log.
pub fn code_of(error: &PgWireError) -> String {
    match error {
        PgWireError::UserError(info) => info.code.clone(),
        PgWireError::QueryCanceled => "57014".to_owned(),
        _ => "XX000".to_owned(),
    }
}
