//! From sources to the settled tables: ingest (records to journal), the hot set (the merged tail), settle (journal to
//! archive to ledger), and the meter that owns the state and swaps the view that queries read.

mod audit;
mod compute;
mod follow;
mod hot;
mod ingest;
mod load;
mod meter;
mod newcomers;
mod otlp_sink;
#[cfg(test)]
mod power_tests;
mod recent;
mod role;
mod settle;
#[cfg(test)]
mod settle_tests;
mod tables;

pub use audit::{Audit, Change, Difference, Sums};
#[cfg(feature = "kafka")]
pub use follow::KafkaTail;
pub use follow::{
    AzureMonitorTail, Follow, LogGroupTail, MetricsTail, ObjectsTail, Pauses, QueueTail, Reaching, Report, Station,
    Sweeps, UsageReports, UsageReportsTail, follow, import_log_group,
};
pub use hot::HotSet;
pub use ingest::{Ingest, IngestError, ObjectTotals, Record, Totals};
pub use load::{Loaded, load_view};
pub use meter::{Brake, Meter, MeterOptions, SharedView};
pub use otlp_sink::OtlpSink;
pub use recent::RecentKeys;
pub use role::Role;
pub use settle::{Portion, Settled, Settler};
pub use tables::Tables;

use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::store::StoreError;

/// Why the pipeline can't go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal, told to several callers at once.
    #[error(transparent)]
    SharedJournal(#[from] std::sync::Arc<JournalError>),
    /// The settled tables.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The location.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process settles.
    #[error("another process holds the settle role of this store")]
    RoleTaken,
    /// The file that stands for the role.
    #[error("the settle lock can't be opened")]
    Lock {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A task ended before its time.
    #[error("the pipeline has stopped")]
    Stopped,
}
