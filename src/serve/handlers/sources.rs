//! `GET /api/v1/sources`: state and completeness of each source.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::serve::ApiState;

/// All sources by name.
pub async fn list(State(state): State<ApiState>) -> Json<Value> {
    Json(json!({"sources": state.board.at(state.clock.now())}))
}
