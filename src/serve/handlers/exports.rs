//! `GET /api/v1/exports/focus?month=…&format=csv|parquet|manifest&granularity=day|hour&partial=true`.

use std::collections::BTreeMap;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::reports::{known_names, wrong};
use crate::finance::focus::{FocusAsk, FocusVersion};
use crate::periods::{FocusForm, Moment};
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

type Given = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// A month as FOCUS. `manifest` tells what the CSV has and what it has not.
pub async fn focus(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    guest.sees_all("an export of all charges")?;
    let Query(given) = given?;
    known_names(&given, &["month", "format", "granularity", "version", "partial", "billing_account"])?;
    let of = |name: &str| given.get(name).map(String::as_str);
    let parquet = match of("format") {
        None | Some("csv" | "manifest") => false,
        Some("parquet") => true,
        Some(other) => {
            return Err(refused("unknown_format", format!("there is no format '{other}'"), "csv, parquet or manifest"));
        }
    };
    let ask = ask(&given)?;
    let view = state.view.load_full();
    let complete_to = state.board.complete_to();
    let moment = Moment { live: &view, terms: &state.terms, complete_to: &complete_to, now: state.clock.now() };
    let form = if parquet { FocusForm::Parquet } else { FocusForm::Csv };
    let made = state.periods.focus(&ask, form, moment).await?;
    if of("format") == Some("manifest") {
        return Ok(([(header::CONTENT_TYPE, "application/json")], made.manifest).into_response());
    }
    let media = if parquet { "application/vnd.apache.parquet" } else { "text/csv" };
    let name = ask.file_name(form.ending());
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::HeaderName::from_static("x-polymeter-sha256"), made.sha256()),
    ];
    Ok((headers, made.bytes).into_response())
}

fn ask(given: &BTreeMap<String, String>) -> Result<FocusAsk, ApiError> {
    let of = |name: &str| given.get(name).map(String::as_str);
    let month =
        of("month").ok_or_else(|| refused("missing_parameter", "which month?".to_owned(), "add month=2026-10"))?;
    let month = month.parse().map_err(|error: crate::finance::calendar::CalendarError| wrong(&error.into()))?;
    let hourly = match of("granularity") {
        None | Some("day") => false,
        Some("hour") => true,
        Some(other) => return Err(refused("invalid_report", format!("'{other}' is no granularity"), "day or hour")),
    };
    let version = of("version").map_or(Ok(FocusVersion::default()), str::parse);
    let version =
        version.map_err(|()| refused("invalid_report", "there is no such version".to_owned(), "1.2, 1.3 or 1.4"))?;
    let mut billing_accounts = BTreeMap::new();
    for pair in of("billing_account").into_iter().flat_map(|pairs| pairs.split(',')) {
        let Some((platform, id)) = pair.split_once('=') else {
            return Err(refused("invalid_report", format!("'{pair}' names no payer"), "aws.bedrock=999900001111"));
        };
        billing_accounts.insert(platform.to_owned(), id.to_owned());
    }
    let partial = matches!(of("partial"), Some("true" | "1"));
    Ok(FocusAsk { hourly, version, billing_accounts, partial, ..FocusAsk::month(month) })
}

fn refused(code: &'static str, message: String, hint: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, code, message).hint(hint)
}
