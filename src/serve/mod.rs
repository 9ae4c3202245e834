//! What tools and people ask: the HTTP API (SQL, named queries, reports, state of the sources, health and metrics), the board,
//! which is a page on it, and the PostgreSQL wire. All ask the same engine over the same view, as the same callers.

mod board;
mod body;
mod encode;
mod error;
mod etag;
mod guest;
mod handlers;
mod listen;
mod pg;
mod router;
mod shrink;
mod stream;
mod writer;

use std::sync::Arc;

use arc_swap::ArcSwap;
pub use encode::{Format, json_rows};
pub use error::ApiError;
use metrics_exporter_prometheus::PrometheusHandle;
pub use pg::serve_pg;
pub use router::{router, serve_api};
pub use writer::Writer;

use crate::access::{Audit, Directory};
use crate::clock::Clock;
use crate::finance::Terms;
use crate::finance::budget::Plan;
use crate::ledger::View;
use crate::periods::Periods;
use crate::query::{Engine, NamedQueries};
use crate::telemetry::SourceBoard;

/// Who may ask, and where questions are written down.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Everybody who is known; everybody else may ask where there is none.
    pub directory: Option<Arc<Directory>>,
    /// Who asked what.
    pub audit: Audit,
}

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    /// The view to answer from.
    pub view: Arc<ArcSwap<View>>,
    /// Who may ask.
    pub access: Admission,
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
