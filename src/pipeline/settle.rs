//! One settle: the journal's tail into the archive, the touched slices of the ledger computed anew, the journal
//! trimmed. Every step can be repeated: what a mark says is done is not done again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use tracing::info;

use super::{MARGIN_US, PipelineError};
use crate::columns::Row;
use crate::journal::{self, Commit, Tail};
use crate::ledger::{Archive, Calls, LedgerError, SLICE_US, SideTable, SliceRows, View};
use crate::model::{ProviderMetric, Quarantined, Timestamp};
use crate::settle::{Rules, group, settle};
use crate::store::Store;
use crate::telemetry::crash_point;

/// Slices that are read from the archive at once.
const SLICES_AT_ONCE: usize = 6;

/// The settled tables, each at one version.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `observations`.
    pub archive: Archive,
    /// `calls`.
    pub calls: Calls,
    /// `quarantine`.
    pub quarantine: SideTable<Quarantined>,
    /// `provider_metrics`.
    pub metrics: SideTable<ProviderMetric>,
}

/// What a settle did.
#[derive(Clone, Debug)]
pub struct SettleOutcome {
    /// The tables after it.
    pub tables: Tables,
    /// The horizon after it.
    pub horizon: Timestamp,
    /// Highest settled journal sequence of each writer.
    pub settled: Tail,
}

impl Tables {
    /// Opens or creates all tables.
    ///
    /// # Errors
    /// The store fails.
    pub async fn open(store: &Store) -> Result<Self, LedgerError> {
        Ok(Self {
            archive: Archive::open_or_create(store).await?,
            calls: Calls::open_or_create(store).await?,
            quarantine: SideTable::open_or_create(store).await?,
            metrics: SideTable::open_or_create(store).await?,
        })
    }

    /// Moves all tables to their newest versions.
    ///
    /// # Errors
    /// The store fails.
    pub async fn refresh(&mut self) -> Result<(), LedgerError> {
        self.archive.table_mut().refresh().await?;
        self.calls.table_mut().refresh().await?;
        self.quarantine.table_mut().refresh().await?;
        Ok(self.metrics.table_mut().refresh().await?)
    }

    /// The view of these tables with what is hot and what lies in the journal beyond them.
    #[must_use]
    pub fn view(&self, horizon: Option<Timestamp>, hot: Vec<RecordBatch>, tail: &[Commit]) -> View {
        View {
            calls: self.calls.clone(),
            horizon,
            hot,
            archive: self.archive.clone(),
            quarantine: self.quarantine.clone(),
            metrics: self.metrics.clone(),
            tail: tail.iter().map(|commit| Arc::clone(&commit.rows)).collect(),
        }
    }

    /// Highest settled journal sequence of each writer.
    ///
    /// # Errors
    /// The store fails.
    pub async fn watermarks(&self, store: &Store) -> Result<Tail, PipelineError> {
        let mut marks = Tail::new();
        for writer in journal::writers(store).await? {
            let mark = self.archive.watermark(&writer).await?;
            marks.insert(writer, mark);
        }
        Ok(marks)
    }

    /// Settles `tail` and moves the horizon to `horizon`. `unsettled` are slices that an earlier, interrupted settle
    /// left to compute.
    ///
    /// # Errors
    /// The store fails; everything that landed is recognised next time.
    pub async fn settle(
        mut self,
        store: &Store,
        tail: &[Commit],
        unsettled: BTreeSet<Timestamp>,
        horizon: Timestamp,
        rules: &Arc<Rules>,
        now: Timestamp,
    ) -> Result<SettleOutcome, PipelineError> {
        let settled: Tail = tail.iter().fold(Tail::new(), |mut settled, commit| {
            let mark = settled.entry(commit.writer.to_string()).or_default();
            *mark = (*mark).max(commit.sequence);
            settled
        });
        self.refresh().await?;
        append_side(&mut self.quarantine, tail, |commit| &commit.rows.quarantined).await?;
        append_side(&mut self.metrics, tail, |commit| &commit.rows.metrics).await?;
        if !tail.is_empty() {
            let new = beyond_watermark(&self.archive, tail, |commit| &commit.rows.observations).await?;
            crash_point("settle.before_archive");
            self.archive.append(new, &settled).await?;
            crash_point("settle.after_archive");
        }
        let previous = self.calls.basis().await?.map(|(_, horizon)| horizon);
        let mut slices = touched(tail, previous, horizon);
        slices.extend(unsettled);
        let count = slices.len();
        let rows = self.compute(slices, horizon, rules, now).await?;
        let calls: usize = rows.values().map(Vec::len).sum();
        self.calls.replace(rows, self.archive.table().version(), horizon).await?;
        crash_point("settle.after_ledger");
        let trimmed = journal::trim(store, &settled).await?;
        crash_point("settle.after_trim");
        info!(settle.slices = count, settle.calls = calls, settle.trimmed = trimmed, settle.horizon = %horizon, "settled");
        Ok(SettleOutcome { tables: self, horizon, settled })
    }

    /// The calls of each slice before `horizon`, as a function of the archive.
    async fn compute(
        &self,
        slices: BTreeSet<Timestamp>,
        horizon: Timestamp,
        rules: &Arc<Rules>,
        now: Timestamp,
    ) -> Result<SliceRows, PipelineError> {
        let runs = runs(&slices);
        let computed = stream::iter(runs.into_iter().map(|run| self.compute_run(run, horizon, Arc::clone(rules), now)));
        let parts: Vec<SliceRows> = computed.buffered(2).try_collect().await?;
        Ok(parts.into_iter().flatten().collect())
    }

    async fn compute_run(
        &self,
        run: Vec<Timestamp>,
        horizon: Timestamp,
        rules: Arc<Rules>,
        now: Timestamp,
    ) -> Result<SliceRows, PipelineError> {
        let (Some(first), Some(last)) = (run.first().copied(), run.last().copied()) else {
            return Ok(SliceRows::new());
        };
        let observations = self.archive.read(first.plus(-MARGIN_US), last.plus(SLICE_US + MARGIN_US)).await?;
        let work = move || {
            let mut rows: SliceRows = run.into_iter().map(|start| (start, Vec::new())).collect();
            for group in group(observations.into_iter().map(Arc::new).collect()) {
                for settled in settle(&group, &rules, now) {
                    let start = settled.call.ts.floor(SLICE_US);
                    if settled.call.ts < horizon
                        && let Some(slice) = rows.get_mut(&start)
                    {
                        slice.push(settled.call);
                    }
                }
            }
            for slice in rows.values_mut() {
                slice.sort_by_key(|call| (call.ts, call.call_id));
            }
            rows
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PipelineError::Stopped)
    }

    /// The slices that an interrupted settle may have left behind: those of observations that are in the archive but
    /// not in the version that the ledger was computed from.
    ///
    /// # Errors
    /// The store fails.
    pub async fn unsettled(&self, store: &Store) -> Result<BTreeSet<Timestamp>, PipelineError> {
        let Some((basis, horizon)) = self.calls.basis().await? else {
            let all = self.archive.read(Timestamp(i64::MIN), Timestamp(i64::MAX)).await?;
            return Ok(all.iter().flat_map(|observation| around(observation.ts)).collect());
        };
        if basis == self.archive.table().version() {
            return Ok(BTreeSet::new());
        }
        let mut older = Archive::open_or_create(store).await?;
        older.table_mut().load_version(basis).await.map_err(LedgerError::from)?;
        let known: std::collections::HashSet<_> =
            older.table().files().map_err(LedgerError::from)?.into_iter().collect();
        let new: Vec<_> = self
            .archive
            .table()
            .files()
            .map_err(LedgerError::from)?
            .into_iter()
            .filter(|path| !known.contains(path))
            .collect();
        let starts = self.archive.starts_in(new).await?;
        Ok(starts.into_iter().filter(|ts| *ts < horizon.plus(MARGIN_US)).flat_map(around).collect())
    }
}

/// Rows of commits that the table does not hold yet.
async fn beyond_watermark<R: Row + Send + 'static>(
    table: &SideTable<R>,
    tail: &[Commit],
    rows: impl Fn(&Commit) -> &Vec<R>,
) -> Result<Vec<R>, LedgerError> {
    let mut marks: BTreeMap<&str, u64> = BTreeMap::new();
    let mut new = Vec::new();
    for commit in tail {
        let writer: &str = &commit.writer;
        let mark = match marks.get(writer) {
            Some(mark) => *mark,
            None => *marks.entry(writer).or_insert(table.watermark(writer).await?),
        };
        if commit.sequence > mark {
            new.extend(rows(commit).iter().cloned());
        }
    }
    Ok(new)
}

/// Tables beside the archive are committed only when there is something to add.
async fn append_side<R: Row + Send + 'static>(
    table: &mut SideTable<R>,
    tail: &[Commit],
    rows: impl Fn(&Commit) -> &Vec<R>,
) -> Result<(), LedgerError> {
    let new = beyond_watermark(table, tail, &rows).await?;
    if new.is_empty() {
        return Ok(());
    }
    let mut marks = Tail::new();
    for commit in tail.iter().filter(|commit| !rows(commit).is_empty()) {
        marks.insert(commit.writer.to_string(), commit.sequence);
    }
    table.append(new, &marks).await.map(drop)
}

/// The slices that a witness at `ts` may change.
fn around(ts: Timestamp) -> impl Iterator<Item = Timestamp> {
    [ts.plus(-MARGIN_US), ts, ts.plus(MARGIN_US)].into_iter().map(|ts| ts.floor(SLICE_US))
}

/// The slices to compute: those that pass the horizon now, and those that an observation of the tail touches.
fn touched(tail: &[Commit], previous: Option<Timestamp>, horizon: Timestamp) -> BTreeSet<Timestamp> {
    let mut slices = BTreeSet::new();
    if let Some(previous) = previous {
        let mut start = previous.floor(SLICE_US);
        // After a long pause nothing was hot in between: only the first and last of the slices can hold calls.
        while start < horizon && slices.len() < 48 {
            slices.insert(start);
            start = start.plus(SLICE_US);
        }
    }
    let late = tail.iter().flat_map(|commit| &commit.rows.observations).filter(|o| o.ts < horizon.plus(MARGIN_US));
    slices.extend(late.flat_map(|observation| around(observation.ts)));
    slices.retain(|start| *start < horizon);
    slices
}

/// Neighbouring slices together, at most [`SLICES_AT_ONCE`].
fn runs(slices: &BTreeSet<Timestamp>) -> Vec<Vec<Timestamp>> {
    let mut runs: Vec<Vec<Timestamp>> = Vec::new();
    for start in slices {
        match runs.last_mut() {
            Some(run) if run.len() < SLICES_AT_ONCE && run.last().is_some_and(|last| last.plus(SLICE_US) == *start) => {
                run.push(*start)
            }
            _ => runs.push(vec![*start]),
        }
    }
    runs
}
