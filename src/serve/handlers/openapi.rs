//! `GET /api/v1/openapi.json`: the description of this API, a file that is reviewed like code.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The description.
pub const DESCRIPTION: &str = include_str!("../openapi.json");

/// The description as it is.
pub async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION)
}
