//! The HTTP API: SQL, named queries, state of the sources, health and metrics; and the board, a page on it.

mod board;
mod encode;
mod error;
mod handlers;
mod router;

use std::sync::Arc;

use arc_swap::ArcSwap;
pub use encode::{Format, csv, json_rows};
pub use error::ApiError;
use metrics_exporter_prometheus::PrometheusHandle;
pub use router::{router, serve_api};

use crate::clock::Clock;
use crate::finance::Terms;
use crate::finance::budget::Plan;
use crate::ledger::View;
use crate::periods::Periods;
use crate::query::{Engine, NamedQueries};
use crate::telemetry::SourceBoard;

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    /// The view to answer from.
    pub view: Arc<ArcSwap<View>>,
    /// Answers statements.
    pub engine: Engine,
    /// What reports need beside the ledger.
    pub terms: Arc<Terms>,
    /// Closed months.
    pub periods: Periods,
    /// What may be spent.
    pub budgets: Arc<Vec<Plan>>,
    /// Tells whether a month has ended.
    pub clock: Arc<dyn Clock>,
    /// Named queries.
    pub queries: Arc<NamedQueries>,
    /// State of the sources.
    pub board: SourceBoard,
    /// Renders metrics.
    pub metrics: PrometheusHandle,
}
