//! `GET /api/v1/reports/chargeback?month=…&by=…&tz=…&currency=…&format=json|csv` and
//! `GET /api/v1/reports/variance?month=…&against=…&by=…&tz=…&format=json|csv`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::finance::ask::{Ask, AskError};
use crate::query::{Ledger, ReportFailure, chargeback as ask_chargeback, variance as ask_variance};
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

type Given = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// Who pays what for a month.
pub async fn chargeback(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    let Query(given) = given?;
    let csv = known(&given, &["month", "by", "tz", "currency", "format"])?;
    let ask = ask(&given)?;
    let view = state.view.load_full();
    let ledger = Ledger { engine: &state.engine, view: &view, caller: &guest.caller };
    let (complete_to, now) = (state.board.complete_to(), state.clock.now());
    let report = ask_chargeback(ledger, ask, &state.terms, complete_to, now).await?;
    Ok(if csv { as_csv(report.whole_grid().csv()) } else { as_json(report.json()) })
}

/// Why a month differs from another.
pub async fn variance(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    let Query(given) = given?;
    let csv = known(&given, &["month", "against", "by", "tz", "format"])?;
    let ask = ask(&given)?;
    let against = given.get("against").map_or(Ok(ask.month.previous()), |month| month.parse());
    let against = against.map_err(|error| wrong(&error.into()))?;
    if against == ask.month {
        return Err(wrong(&AskError::SameMonth));
    }
    let view = state.view.load_full();
    let ledger = Ledger { engine: &state.engine, view: &view, caller: &guest.caller };
    let report = ask_variance(ledger, ask, against).await?;
    Ok(if csv { as_csv(report.grid().csv()) } else { as_json(report.json()) })
}

fn ask(given: &BTreeMap<String, String>) -> Result<Ask, ApiError> {
    let of = |name: &str| given.get(name).map(String::as_str);
    let month = of("month").ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "missing_parameter", "which month?").hint("add month=2026-10")
    })?;
    Ask::new(month, of("by").unwrap_or("team"), of("tz"), of("currency")).map_err(|error| wrong(&error))
}

/// Whether CSV is asked for; a parameter that is not known would silently not hold.
fn known(given: &BTreeMap<String, String>, names: &[&str]) -> Result<bool, ApiError> {
    if let Some(name) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let error =
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_parameter", format!("there is no parameter '{name}'"));
        return Err(error.hint(format!("there are {}", names.join(", "))));
    }
    match given.get("format").map(String::as_str) {
        None | Some("json") => Ok(false),
        Some("csv") => Ok(true),
        Some(other) => {
            let error =
                ApiError::new(StatusCode::BAD_REQUEST, "unknown_format", format!("there is no format '{other}'"));
            Err(error.hint("json or csv; `polymeter report` also writes xlsx and parquet"))
        }
    }
}

fn wrong(error: &AskError) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_report", error.to_string())
        .hint("for example month=2026-10&by=team,model&tz=Europe/Berlin&currency=EUR")
}

fn as_json(value: Value) -> Response {
    Json(value).into_response()
}

fn as_csv(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/csv")], text).into_response()
}

impl From<ReportFailure> for ApiError {
    fn from(failure: ReportFailure) -> Self {
        match failure {
            ReportFailure::Query(error) => error.into(),
            other => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_report", other.to_string()),
        }
    }
}
