//! The settled tables together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::PipelineError;
use crate::columns::Row;
use crate::journal::{self, Commit, Journal, Tail};
use crate::ledger::{Archive, Bills, Calls, LedgerError, SideTable, View, check_format, mark_format};
use crate::model::{Call, MINUTE_US, Observation, ProviderMetric, Quarantined, Timestamp};
use crate::store::Store;

/// The settled tables, each at one version.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `calls`.
    pub calls: Calls,
    /// `observations`.
    pub archive: Archive,
    /// `quarantine`.
    pub quarantine: SideTable<Quarantined>,
    /// `provider_metrics`.
    pub metrics: SideTable<ProviderMetric>,
    /// The providers' bills.
    pub bills: Bills,
}

impl Tables {
    /// Opens or creates all tables. The ledger first: whatever it covers is in the tables that are opened after it.
    ///
    /// # Errors
    /// The store fails, or it is newer than this program.
    pub async fn open(store: &Store) -> Result<Self, LedgerError> {
        check_format(store).await?;
        Ok(Self {
            calls: Calls::open_or_create(store).await?,
            archive: Archive::open_or_create(store).await?,
            quarantine: SideTable::open_or_create(store).await?,
            metrics: SideTable::open_or_create(store).await?,
            bills: Bills::new(store),
        })
    }

    /// Opens the journal of a writer behind everything that these tables know of it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn journal(
        &self,
        store: &Store,
        writer: &str,
        commits: Option<mpsc::UnboundedSender<Commit>>,
    ) -> Result<Journal, PipelineError> {
        let settled = self.highest_of(writer).await?;
        Ok(Journal::open(store, writer, settled, commits).await?)
    }

    /// Makes an older store one of this version: columns that it lacks are added.
    ///
    /// # Errors
    /// The store fails.
    pub async fn upgrade(&mut self, store: &Store) -> Result<(), LedgerError> {
        self.calls.table_mut().add_columns(&Call::schema()).await?;
        self.archive.table_mut().add_columns(&Observation::schema()).await?;
        self.quarantine.table_mut().add_columns(&Quarantined::schema()).await?;
        self.metrics.table_mut().add_columns(&ProviderMetric::schema()).await?;
        mark_format(store).await
    }

    /// Moves all tables to their newest versions.
    ///
    /// # Errors
    /// The store fails.
    pub async fn refresh(&mut self) -> Result<(), LedgerError> {
        self.calls.table_mut().refresh().await?;
        self.archive.table_mut().refresh().await?;
        self.quarantine.table_mut().refresh().await?;
        Ok(self.metrics.table_mut().refresh().await?)
    }

    /// Makes what other processes committed outlast a power cut.
    ///
    /// # Errors
    /// The store fails.
    pub async fn make_durable(&mut self) -> Result<(), LedgerError> {
        self.calls.table_mut().make_durable().await?;
        self.archive.table_mut().make_durable().await?;
        self.quarantine.table_mut().make_durable().await?;
        Ok(self.metrics.table_mut().make_durable().await?)
    }

    /// The horizon of the ledger; `None` before the first settle.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn horizon(&self) -> Result<Option<Timestamp>, LedgerError> {
        Ok(self.calls.basis().await?.map(|basis| basis.horizon))
    }

    /// Highest journal sequence of a writer that the ledger covers.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn covered_of(&self, writer: &str) -> Result<u64, LedgerError> {
        let first_format = self.calls.basis().await?.is_some_and(|basis| basis.archive_1.is_some());
        if first_format { self.archive.watermark(writer).await } else { self.calls.watermark(writer).await }
    }

    /// Highest journal sequence of a writer that any table knows.
    ///
    /// # Errors
    /// A log can't be read.
    pub async fn highest_of(&self, writer: &str) -> Result<u64, LedgerError> {
        let marks = [
            self.calls.watermark(writer).await?,
            self.archive.watermark(writer).await?,
            self.quarantine.watermark(writer).await?,
            self.metrics.watermark(writer).await?,
        ];
        Ok(marks.into_iter().max().unwrap_or(0))
    }

    /// Highest journal sequence of each writer that the ledger covers.
    ///
    /// # Errors
    /// The store fails.
    pub async fn covered(&self, store: &Store) -> Result<Tail, PipelineError> {
        let mut covered = Tail::new();
        for writer in journal::writers(store).await? {
            let mark = self.covered_of(&writer).await?;
            covered.insert(writer, mark);
        }
        Ok(covered)
    }

    /// Highest journal sequence of each of these writers that the archive holds.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn archived(&self, writers: impl IntoIterator<Item = &str>) -> Result<Tail, LedgerError> {
        let mut archived = Tail::new();
        for writer in writers {
            archived.insert(writer.to_owned(), self.archive.watermark(writer).await?);
        }
        Ok(archived)
    }

    /// Starts of observations that the ledger may not know although no journal holds them: only after a settle of the
    /// first format was interrupted.
    ///
    /// # Errors
    /// The store fails.
    pub async fn left_by_first_format(&self) -> Result<BTreeSet<Timestamp>, LedgerError> {
        let behind = self.calls.basis().await?.and_then(|basis| basis.archive_1);
        if behind.is_none_or(|version| version == self.archive.table().version()) {
            return Ok(BTreeSet::new());
        }
        Ok(self.archive.starts().await?.into_iter().map(|ts| ts.floor(MINUTE_US)).collect())
    }

    /// The view of these tables with what is not settled yet; `archived` says which commits of the tail the archive
    /// holds already.
    #[must_use]
    pub fn view(&self, horizon: Option<Timestamp>, hot: Vec<RecordBatch>, tail: &[Commit], archived: &Tail) -> View {
        let beyond = |commit: &&Commit| commit.sequence > archived.get(&*commit.writer).copied().unwrap_or(0);
        View {
            calls: self.calls.clone(),
            horizon,
            hot,
            superseded: Vec::new(),
            archive: self.archive.clone(),
            quarantine: self.quarantine.clone(),
            metrics: self.metrics.clone(),
            tail: tail.iter().filter(beyond).map(|commit| Arc::clone(&commit.rows)).collect(),
            bills: self.bills.clone(),
        }
    }
}

/// Appends the rows of commits that the table does not hold yet; commits nothing where there are none.
pub(super) async fn append<R: Row + Send + Sync + 'static>(
    table: &mut SideTable<R>,
    tail: &[Commit],
    rows: impl Fn(&Commit) -> Vec<&R>,
) -> Result<(), LedgerError> {
    let mut marks: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut new, mut covered) = (Vec::new(), Tail::new());
    for commit in tail {
        let writer: &str = &commit.writer;
        let mark = match marks.get(writer) {
            Some(mark) => *mark,
            None => *marks.entry(writer).or_insert(table.watermark(writer).await?),
        };
        let of_commit = rows(commit);
        if commit.sequence > mark && !of_commit.is_empty() {
            new.extend(of_commit);
            covered.insert(writer.to_owned(), commit.sequence);
        }
    }
    if new.is_empty() { Ok(()) } else { table.append(&new, &covered).await.map(drop) }
}
