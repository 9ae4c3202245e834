//! `GET /api/v1/queries` and `GET /api/v1/queries/{name}?param=…&format=…`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::sql::{Form, answer, format_of, tagged};
use crate::query::Page;
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

/// What can be asked by name.
pub async fn list(State(state): State<ApiState>) -> Json<Value> {
    Json(json!({"queries": state.queries.all().collect::<Vec<_>>()}))
}

/// The answer of a named query.
pub async fn run(
    State(state): State<ApiState>,
    guest: Guest,
    Path(name): Path<String>,
    given: Result<Query<BTreeMap<String, String>>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(mut given) = given?;
    let format = format_of(given.remove("format").as_deref(), &headers)?;
    let page = page(&mut given)?;
    let query = state.queries.get(&name).ok_or_else(|| {
        let nearest = state
            .queries
            .all()
            .max_by(|a, b| strsim::jaro_winkler(&a.name, &name).total_cmp(&strsim::jaro_winkler(&b.name, &name)));
        let error = ApiError::new(StatusCode::NOT_FOUND, "unknown_query", format!("there is no query '{name}'"));
        error.hint(format!("did you mean '{}'? GET /api/v1/queries lists all", nearest.map_or("", |query| &query.name)))
    })?;
    let (sql, params) = query.bind(&given)?;
    Ok(tagged(answer(&state, &guest, &sql, params, Form { format, page }).await?, &headers))
}

/// Which rows of the answer are wanted.
fn page(given: &mut BTreeMap<String, String>) -> Result<Page, ApiError> {
    let mut number = |name: &str| {
        let wrong = |_| {
            let error = format!("'{name}' is no number of rows");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_parameter", error).hint("for example limit=100&offset=200")
        };
        given.remove(name).map(|text| text.parse::<usize>().map_err(wrong)).transpose()
    };
    // More than any answer has, and what the engine can count to.
    let skip = number("offset")?.unwrap_or(0).min(usize::try_from(i64::MAX).unwrap_or(usize::MAX));
    Ok(Page { most: number("limit")?, skip })
}
