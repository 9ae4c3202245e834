//! `GET /api/v1/reports/reconcile?month=…&platform=…&by=…&tolerance_tokens=0.1%25&tolerance_cost=0.5%25&format=json|csv`
//! and `GET /api/v1/reports/reconcile/calls?from=…&to=…&left=…&right=…`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::reports::{as_csv, known, wrong};
use crate::finance::bill::{CallOptions, ReconcileAsk, ReconcileError};
use crate::finance::calendar::CalendarError;
use crate::model::{HOUR_US, Interval, SECOND_US, Timestamp};
use crate::query::{CallsAsk, Speakers, reconcile_bills, reconcile_calls};
use crate::serve::guest::Guest;
use crate::serve::{ApiError, ApiState};

type Given = Result<Query<BTreeMap<String, String>>, QueryRejection>;

/// How far two clocks may be apart, seconds.
const WIDEST_S: u32 = 3600;

/// Longer times are for the command line: the archive is read for them.
const LONGEST_US: i64 = 31 * 24 * HOUR_US;

/// A month's bills against what was metered.
pub async fn bills(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    guest.sees_all("a bill")?;
    let Query(given) = given?;
    let csv = known(&given, &["month", "platform", "by", "tolerance_tokens", "tolerance_cost", "format"])?;
    let of = |name: &str| given.get(name).map(String::as_str);
    let month = of("month").ok_or_else(|| invalid("which month?", "add month=2026-10"))?;
    let month = month.parse().map_err(|error: CalendarError| wrong(&error.into()))?;
    let ask = ReconcileAsk { platform: of("platform").map(str::to_owned), ..ReconcileAsk::month(month) };
    let ask = asked(ask, of)
        .map_err(|error| invalid(error.to_string(), "for example by=account,model,day&tolerance_tokens=0.1%25"))?;
    let view = state.view.load_full();
    let commitments = &state.terms.commitments;
    let report = reconcile_bills(&state.engine, &view, commitments, ask, state.clock.now()).await?;
    Ok(if csv { as_csv(report.whole_grid().csv()) } else { Json(report.json()).into_response() })
}

fn asked<'a>(mut ask: ReconcileAsk, of: impl Fn(&str) -> Option<&'a str>) -> Result<ReconcileAsk, ReconcileError> {
    if let Some(by) = of("by") {
        ask = ask.by(by)?;
    }
    if let Some(text) = of("tolerance_tokens") {
        ask = ask.tokens(text)?;
    }
    if let Some(text) = of("tolerance_cost") {
        ask = ask.cost(text)?;
    }
    Ok(ask)
}

/// Calls of one kind of witness against those of another.
pub async fn calls(State(state): State<ApiState>, guest: Guest, given: Given) -> Result<Response, ApiError> {
    guest.sees_all("what two logs say")?;
    let Query(given) = given?;
    let csv = known(&given, &["from", "to", "left", "right", "platform", "window_s", "format"])?;
    let of = |name: &str| given.get(name).map(String::as_str);
    let instant = |name: &str| {
        let text = of(name).unwrap_or_default();
        let read = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
        read.ok_or_else(|| invalid(format!("{name} is no instant"), "for example from=2026-10-01&to=2026-10-02"))
    };
    let within = Interval { from: instant("from")?, to: instant("to")? };
    if within.to <= within.from || within.to.0.saturating_sub(within.from.0) > LONGEST_US {
        return Err(invalid("to must lie behind from, at most 31 days", "longer times: `polymeter reconcile calls`"));
    }
    let side = |name: &str, usual: &str| {
        Speakers::parse(of(name).unwrap_or(usual)).map_err(|what| invalid(what, "for example left=gateway,client"))
    };
    let window = of("window_s").map_or(Ok(60), str::parse::<u32>);
    let window = window.ok().filter(|window| *window <= WIDEST_S);
    let window =
        window.ok_or_else(|| invalid("window_s is no number of seconds up to 3600", "for example window_s=60"))?;
    let ask = CallsAsk {
        within,
        left: side("left", "gateway,client")?,
        right: side("right", "provider_log,provider_usage")?,
        platform: of("platform").map(str::to_owned),
        options: CallOptions { window_us: i64::from(window) * SECOND_US },
    };
    let view = state.view.load_full();
    let report = reconcile_calls(&view, state.engine.rules(), ask).await?;
    Ok(if csv { as_csv(report.grid().csv()) } else { Json(report.json()).into_response() })
}

fn invalid(message: impl Into<String>, hint: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_report", message.into()).hint(hint)
}
