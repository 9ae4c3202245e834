//! How budgets stand: asks their spend of one moment and hands it to the pure part.

use super::reports::{ReportFailure, capacity_use, report_rows};
use super::{Engine, QueryError};
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::budget::{Plan, Spend, Status};
use crate::finance::calendar::Month;
use crate::finance::capacity::{hours, hours_of};
use crate::finance::chargeback::ReportError;
use crate::ledger::View;
use crate::model::{Interval, Timestamp};

/// How a budget stands in a month; in that of now by default.
///
/// # Errors
/// The spend can't be asked.
pub async fn budget_status(
    engine: &Engine,
    view: &View,
    plan: &Plan,
    month: Option<Month>,
    terms: &Terms,
    now: Timestamp,
) -> Result<Status, ReportFailure> {
    let month = month.unwrap_or_else(|| plan.zone.month(now));
    let spends = report_rows(engine, view, &plan.spend_sql(month), |row| {
        Some(Spend { at: row.instant(0)?, currency: row.text(1), cost: row.money(2), unpriced_calls: row.count(3) })
    })
    .await?;
    let mut parts = Vec::new();
    if !terms.commitments.is_empty() {
        let (from, to) = plan.span(month);
        let span = hours_of(Interval { from, to }, now);
        let ask = Ask::new("2026-01", &plan.columns().join(","), None, None);
        let ask = ask.map_err(|error| QueryError::Invalid(error.to_string()))?;
        let used = capacity_use(engine, view, &ask, span).await?;
        parts = hours(&terms.commitments, engine.prices(), &used, &ask.by, span).map_err(ReportError::from)?;
    }
    Ok(plan.status(month, &spends, &parts, &terms.exchange, now))
}
