//! `GET /api/v1/reports/budgets?month=…&format=json|csv`,
//! `GET /api/v1/reports/chargeback?month=…&by=…&tz=…&currency=…&basis=posted|restated&format=json|csv`,
//! `GET /api/v1/reports/what-if?month=…&platform=…&contract=…&by=…&tz=…&format=json|csv`,
//! `GET /api/v1/reports/variance?month=…&against=…&by=…&tz=…&format=json|csv` and `GET /api/v1/periods`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::finance::ask::{Ask, AskError};
use crate::finance::budget;
use crate::finance::calendar::{CalendarError, Month};
use crate::finance::chargeback::Report;
use crate::finance::grid::pretty;
use crate::finance::what_if::Target;
use crate::periods::{Basis, Moment, PeriodError};
use crate::query::{
    Known, ReportFailure, budget_status, chargeback as ask_chargeback, variance as ask_variance, what_if as ask_what_if,
};
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

type Given = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// Who pays what for a month.
pub async fn chargeback(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    let Query(given) = given?;
    let csv = known(&given, &["month", "by", "tz", "currency", "basis", "format"])?;
    let ask = ask(&given)?;
    let basis = match given.get("basis").map(String::as_str) {
        None | Some("posted") => Basis::Posted,
        Some("restated") => Basis::Restated,
        Some(other) => {
            let error = format!("there is no basis '{other}'");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_report", error).hint("posted or restated"));
        }
    };
    let view = state.view.load_full();
    let (complete_to, now) = (state.board.complete_to(), state.clock.now());
    let form = if csv { "csv" } else { "json" };
    let write = |report: &Report| if csv { report.whole_grid().csv() } else { pretty(&report.json()) }.into_bytes();
    let bytes = if guest.caller.scope.is_some() {
        if given.contains_key("basis") && basis == Basis::Posted {
            guest.sees_all("what was posted for a month")?;
        }
        // Of what the ledger says today: nothing of it is kept, and what was kept is everybody's.
        let known = Known { complete_to, now, delivered: None };
        write(&ask_chargeback(&guest.engine(&state), &view, ask, &state.terms, known).await?)
    } else {
        let moment = Moment { live: &view, terms: &state.terms, complete_to: &complete_to, now };
        state.periods.written(ask, basis, moment, form, |report| Ok(write(report))).await?
    };
    let media = if csv { "text/csv" } else { "application/json" };
    Ok(([(header::CONTENT_TYPE, media)], bytes).into_response())
}

/// What was closed and opened again.
pub async fn periods(State(state): State<ApiState>, guest: Guest) -> Result<Json<Value>, ApiError> {
    guest.sees_all("what was closed")?;
    let entries = state.periods.entries().await?;
    Ok(Json(serde_json::json!({ "periods": entries })))
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
    let report = ask_variance(&guest.engine(&state), &view, ask, against).await?;
    Ok(if csv { as_csv(report.grid().csv()) } else { as_json(report.json()) })
}

/// What the calls of a month would have cost elsewhere.
pub async fn what_if(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    let Query(given) = given?;
    let names = ["month", "by", "tz", "format", "platform", "contract", "account", "model", "scope", "region", "tier"];
    let csv = known(&given, &names)?;
    let of = |name: &str| given.get(name).cloned();
    let target = Target {
        platform: of("platform"),
        contract: of("contract"),
        account: of("account"),
        model: of("model"),
        scope: of("scope"),
        region: of("region"),
        tier: of("tier"),
    };
    let target = target.checked().map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "missing_parameter", error.to_string())
            .hint("add platform=aws.bedrock or contract=ID")
    })?;
    if target.contract.is_some() {
        guest.sees_all("a contract")?;
    }
    let mut given = given;
    given.entry("by".to_owned()).or_insert_with(|| "platform,model".to_owned());
    let ask = ask(&given)?;
    let view = state.view.load_full();
    let report = ask_what_if(&guest.engine(&state), &view, ask, target, state.clock.now()).await?;
    Ok(if csv { as_csv(report.grid().csv()) } else { as_json(report.json()) })
}

/// How the budgets of the configuration stand.
pub async fn budgets(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    guest.sees_all("budgets")?;
    let Query(given) = given?;
    let csv = known(&given, &["month", "format"])?;
    let month = given.get("month").map(|month| month.parse()).transpose();
    let month: Option<Month> = month.map_err(|error: CalendarError| wrong(&error.into()))?;
    let (view, now) = (state.view.load_full(), state.clock.now());
    let mut statuses = Vec::new();
    for plan in state.budgets.iter() {
        statuses.push(budget_status(&guest.engine(&state), &view, plan, month, &state.terms, now).await?);
    }
    Ok(if csv { as_csv(budget::grid(&statuses).csv()) } else { as_json(budget::report_json(&statuses, now)) })
}

fn ask(given: &BTreeMap<String, String>) -> Result<Ask, ApiError> {
    let of = |name: &str| given.get(name).map(String::as_str);
    let month = of("month").ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "missing_parameter", "which month?").hint("add month=2026-10")
    })?;
    Ask::new(month, of("by").unwrap_or("team"), of("tz"), of("currency")).map_err(|error| wrong(&error))
}

/// Whether CSV is asked for; a parameter that is not known would silently not hold.
pub fn known(given: &BTreeMap<String, String>, names: &[&str]) -> Result<bool, ApiError> {
    known_names(given, names)?;
    csv_asked(given)
}

/// Refuses a parameter that there is not.
pub fn known_names(given: &BTreeMap<String, String>, names: &[&str]) -> Result<(), ApiError> {
    if let Some(name) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let error =
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_parameter", format!("there is no parameter '{name}'"));
        return Err(error.hint(format!("there are {}", names.join(", "))));
    }
    Ok(())
}

fn csv_asked(given: &BTreeMap<String, String>) -> Result<bool, ApiError> {
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

/// What is wrong with a question.
pub fn wrong(error: &AskError) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_report", error.to_string())
        .hint("for example month=2026-10&by=team,model&tz=Europe/Berlin&currency=EUR")
}

fn as_json(value: Value) -> Response {
    Json(value).into_response()
}

/// Comma-separated.
pub fn as_csv(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/csv")], text).into_response()
}

impl From<PeriodError> for ApiError {
    fn from(error: PeriodError) -> Self {
        match error {
            PeriodError::Report(failure) => failure.into(),
            PeriodError::TooMuchChanged(_)
            | PeriodError::Damaged { .. }
            | PeriodError::OtherPrices { .. }
            | PeriodError::OtherBook { .. }
            | PeriodError::Close(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_report", error.to_string()),
            other => Self::internal(&other),
        }
    }
}

impl From<ReportFailure> for ApiError {
    fn from(failure: ReportFailure) -> Self {
        match failure {
            ReportFailure::Query(error) => error.into(),
            other => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_report", other.to_string()),
        }
    }
}
