//! `GET /api/v1/sources`: state and completeness of each source.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

/// All sources by name.
pub async fn list(State(state): State<ApiState>, guest: Guest) -> Result<Json<Value>, ApiError> {
    guest.sees_all("the state of the sources")?;
    Ok(Json(json!({"sources": state.board.at(state.clock.now())})))
}
