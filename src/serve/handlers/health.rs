//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

/// The process is alive.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// A view stands and can be queried (the listener opens only then).
pub async fn readyz(State(state): State<ApiState>) -> String {
    let view = state.view.load();
    let horizon = view.horizon.map_or_else(|| "none yet".to_owned(), |horizon| horizon.to_string());
    format!("ready\nhorizon {horizon}\n")
}

/// Prometheus text.
pub async fn metrics(State(state): State<ApiState>, guest: Guest) -> Result<impl IntoResponse, ApiError> {
    guest.sees_all("the metrics")?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()))
}
