//! Composition: from configuration to concrete parts, tasks and an orderly end. The only module that knows them all.

mod ask;
mod attribute;
mod bills;
mod budgets;
mod check_live;
mod dashboards;
mod demo;
mod explain;
mod export;
mod followers;
mod import;
mod import_logs;
mod import_settle;
mod journal;
mod maintain;
mod periods;
mod prices;
mod quarantine;
mod receivers;
mod reconcile;
mod report;
mod report_files;
mod rules;
mod serve;
mod shell;
mod sql;
mod top;
mod whole_files;

pub use attribute::{TestSubject, attribute_test};
pub use bills::{BillOptions, bill_import, bill_list};
pub use check_live::check_live;
pub use dashboards::{DashboardOptions, dashboards};
pub use explain::{Subject, explain};
pub use export::export_focus;
pub use followers::follower;
pub use import::{ImportKind, ImportOptions, ImportSummary, import, import_again};
pub use journal::journal_inspect;
pub use maintain::{audit, maintain, resettle};
pub use periods::{CloseOptions, close, periods_list, periods_verify, reopen};
pub use prices::{
    PriceQuestion, PriceUpdate, prices_check, prices_diff, prices_explain, prices_explain_call, prices_list,
    prices_update,
};
pub use quarantine::{RetrySummary, quarantine_list, quarantine_retry, quarantine_show, tell_retry};
pub use reconcile::{reconcile, reconcile_calls};
pub use report::{ReportFormat, ReportOutput, report_budgets, report_chargeback, report_variance, report_what_if};
pub use serve::{ServeOptions, serve};
pub use sql::{SqlFormat, SqlOptions, sql};
pub use top::{TopOptions, top};

use std::path::Path;

use anyhow::bail;

use crate::config::Said;
use crate::model::MINUTE_US;
use crate::store::Store;

/// How far the horizon of a command that settles lies behind now.
const HOT_US: i64 = 15 * MINUTE_US;

/// A store, and what settling needs from the configuration.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Data location.
    pub data: String,
    /// Prices and who pays, where a configuration says it.
    pub said: Said,
}

/// Opens a store that must be there already.
async fn existing_store(data: &str) -> anyhow::Result<Store> {
    let local = !data.contains("://");
    if local && !Path::new(data).join("calls").is_dir() {
        bail!("there is no data in '{data}' yet; run `polymeter serve` or `polymeter import` first, or give --data");
    }
    Ok(Store::open(data).await?)
}
