//! One shape of error: `{"error":{"code","message","hint"}}`, with the right status and nothing internal.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::error;

use super::guest::Code;
use crate::query::QueryError;

/// An error as a client sees it.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl ApiError {
    /// An error with a stable code and text for people.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None }
    }

    /// Our fault: the log says what, the client does not need to know.
    pub fn internal(source: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = source, "a request failed inside");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request failed inside")
            .hint("the log of polymeter says why")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "invalid_query_string", rejection.body_text())
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::Invalid(_) => StatusCode::BAD_REQUEST,
            QueryError::Forbidden(_) | QueryError::OutOfScope(_) => StatusCode::FORBIDDEN,
            QueryError::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            QueryError::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
            QueryError::Internal(source) => {
                error!(error = &**source as &dyn std::error::Error, "query failed inside");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.code(), error.to_string()).hint(error.hint())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message, "hint": self.hint}});
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(Code(self.code));
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body is not read: nothing else can be asked on this connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
