//! Closed months of a store: their log, their copied rows, the reports that were made of them, and what changed since.
//!
//! ```text
//! periods/log/000001.json              one entry for each close and reopening, created once, never changed
//! periods/2026-10-<unique>/calls/      the month's calls: a Delta table of its own
//!                          late_data/before/calls/  after/calls/   what was corrected of earlier months, as posted, as it is
//!                          price_change/…  mapping_fix/…
//!                          rules.json          the texts of prices and rules
//!                          reports/<question>.<form>    each report as it was made first
//! ```
//!
//! The entry in the log is the close: what lies in a folder that no entry names is left over from a close that did not end.
//! Nothing else in the store is needed to make a report of a closed month again, so merging files, retention and the
//! removal of old files can't break one.

mod changes;
mod close;
mod focus;
mod kept;
mod log;
mod report;
mod rows;

use std::sync::{Arc, Mutex, PoisonError};

pub use changes::Changes;
pub use close::{CloseRequest, Planned, Progress};
pub use focus::{FocusFile, FocusForm};
pub use kept::{KeptReport, Verdict};
pub use report::{Basis, Moment};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::finance::Terms;
use crate::finance::calendar::Month;
use crate::finance::chargeback::ReportError;
use crate::finance::period::{Books, CloseError, Closed};
use crate::ledger::{LedgerError, View};
use crate::model::Timestamp;
use crate::query::{Engine, QueryError, ReportFailure};
use crate::settle::Rules;
use crate::store::{Store, StoreError};

/// What was in force when a month was closed.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// What reports need.
    pub terms: Terms,
    /// Names and prices.
    pub rules: Arc<Rules>,
}

/// Reads the texts of prices and rules that a close keeps.
pub type PinnedOf = Arc<dyn Fn(&[u8]) -> Result<Pinned, String> + Send + Sync>;

/// The months of a store.
#[derive(Clone)]
pub struct Periods {
    store: Store,
    engine: Engine,
    pinned_of: PinnedOf,
    /// Whether reports of closed months are kept when they are made.
    keeps: bool,
    /// One comparison at a time: each may hold many calls.
    comparing: Arc<tokio::sync::Mutex<()>>,
    /// What changed of closed months, for the moment of the ledger that was asked last.
    changed: Arc<Mutex<Option<Compared>>>,
}

/// What changed, and of which moment that is true.
type Compared = (Seen, Arc<Changes>);

/// Equal as long as nothing that decides about changes is different.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    closes: Vec<String>,
    ledger: u64,
    /// Calls of closed months in memory: how many, and a sum that tells them apart.
    hot: (usize, i64),
}

/// Why nothing can be said or done about a month.
#[derive(Debug, thiserror::Error)]
pub enum PeriodError {
    /// It may not be closed or opened.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// There is no report.
    #[error(transparent)]
    Report(#[from] ReportFailure),
    /// The tables.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The objects beside them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process closed or reopened a month meanwhile.
    #[error("another process closed or reopened a month at the same moment; look at `polymeter periods` and try again")]
    Overtaken,
    /// Reports would name prices that the calls do not have.
    #[error(
        "{calls} calls of {month} cost something else by the prices in force than the ledger says (for example {}); \
         `polymeter resettle` over the month applies them first, `polymeter prices explain --call ID` shows one",
        examples.join(", ")
    )]
    OtherPrices {
        /// The month.
        month: Month,
        /// How many.
        calls: u64,
        /// Some of their ids.
        examples: Vec<String>,
    },
    /// What prices are needed for was not made when the month was closed.
    #[error(
        "this was not asked of {month} before, and needs the price book it was closed with, which has another bundled list: \
         polymeter {polymeter} can make it, and keeps it for every later version"
    )]
    OtherBook {
        /// The month.
        month: Month,
        /// Who closed it.
        polymeter: String,
    },
    /// More changed than is posted as corrections.
    #[error(
        "{0} calls of closed months changed, which is more than is posted as corrections; open the latest month again with \
         `polymeter reopen`, and close it anew"
    )]
    TooMuchChanged(u64),
    /// What a close kept was changed or is not there.
    #[error("{object} is damaged: {detail}; a closed month is never made of other data")]
    Damaged {
        /// Which object.
        object: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A report can't be written in its form.
    #[error("the report can't be written")]
    Form(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<QueryError> for PeriodError {
    fn from(error: QueryError) -> Self {
        Self::Report(error.into())
    }
}

impl From<ReportError> for PeriodError {
    fn from(error: ReportError) -> Self {
        Self::Report(error.into())
    }
}

impl Periods {
    /// The months of a store, asked with this engine.
    #[must_use]
    pub fn new(store: Store, engine: Engine, pinned_of: PinnedOf) -> Self {
        Self { store, engine, pinned_of, keeps: true, comparing: Arc::default(), changed: Arc::default() }
    }

    /// The same for whoever may only look: what is kept is handed out, nothing else is kept.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Which months are closed.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn books(&self) -> Result<Books, PeriodError> {
        Ok(Books::new(log::read(&self.store).await?))
    }

    /// What changed of closed months since they and the later ones were posted.
    ///
    /// # Errors
    /// The store fails, or too much changed.
    pub async fn changes(&self, closed: &[Closed], live: &View) -> Result<Arc<Changes>, PeriodError> {
        let seen = Seen {
            closes: closed.iter().map(|closed| closed.folder.clone()).collect(),
            ledger: live.calls.table().version(),
            hot: closed.last().map_or((0, 0), |latest| hot_before(&live.hot, latest.interval().to)),
        };
        let _one = self.comparing.lock().await;
        // A value whose writer died is whole: it is replaced at once.
        let kept = self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, changes)) = kept.filter(|(at, _)| *at == seen) {
            return Ok(changes);
        }
        let changes = Arc::new(self.compare(closed, live).await?);
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some((seen, Arc::clone(&changes)));
        Ok(changes)
    }
}

/// Calls that start before an instant.
fn hot_before(hot: &[RecordBatch], to: Timestamp) -> (usize, i64) {
    let starts = hot.iter().filter_map(|batch| batch.column_by_name("ts"));
    let starts = starts.filter_map(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let early = starts.flat_map(|column| column.values().iter().filter(|start| **start < to.0));
    early.fold((0, 0), |(count, sum), start| (count + 1, sum.wrapping_add(*start)))
}
