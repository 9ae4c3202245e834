//! One settle: the journal's tail into the archive, the touched slices of the ledger computed anew or added to, the
//! journal trimmed. Every step can be repeated: what a mark says is done is not done again, and what the ledger does not
//! cover is still in the journal.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryFutureExt, TryStreamExt, stream, try_join};
use tracing::{info, warn};

use super::compute::{Computed, Scope, compute};
use super::newcomers;
use super::tables::append;
use super::{PipelineError, RecentKeys, Role, Tables};
use crate::cores::heavy;
use crate::delta::NewFile;
use crate::journal::{self, Commit, JournalError, Missing, Tail};
use crate::ledger::{Pins, Retention, UpkeepReport, upkeep_archive, upkeep_calls, upkeep_log};
use crate::model::{HOUR_US, Interval, MINUTE_US, Observation, RecordId, SLICE_US, Timestamp, runs};
use crate::settle::{Arrivals, MARGIN_US, News, Rules, around};
use crate::store::Store;
use crate::telemetry::crash_point;

/// Runs that are computed at once.
const RUNS_AT_ONCE: usize = 2;
/// Observations that one run should hold at most.
const RUN_ROWS: usize = 200_000;
/// Settles between two upkeeps, and before the first, so that a process that never lives long does some too.
const UPKEEP_EVERY: u32 = 50;
const UPKEEP_FIRST: u32 = 5;
/// Tries to read the journal while another process trims it.
const TAIL_ATTEMPTS: u32 = 5;
/// Merges that one upkeep does beside the traffic.
const UPKEEP_MERGES: usize = 4;

/// What a settle did.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The tables after it.
    pub tables: Tables,
    /// The horizon after it.
    pub horizon: Timestamp,
    /// Highest journal sequence that the ledger covers, of each writer in the tail.
    pub covered: Tail,
    /// Observations that this settle took from the journal; what else is covered another process settled.
    pub own: HashSet<RecordId>,
    /// Those of them that became witnesses of calls in the ledger.
    pub absorbed: HashSet<RecordId>,
}

/// What became of a portion of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// This many rows were settled; there may be more.
    Settled(usize),
    /// There is nothing to do, or less than was asked for.
    Small,
}

/// The keys that a settle left for the next.
#[derive(Debug)]
struct Recent {
    horizon: Timestamp,
    /// Version of the ledger: another process may have settled since.
    version: u64,
    keys: RecentKeys,
}

/// What one settle is to put into the ledger.
#[derive(Default)]
struct Written {
    /// Slices to replace.
    slices: BTreeSet<Timestamp>,
    /// Files that hold them.
    files: Vec<NewFile>,
    /// Keys of the observations in the slices that pass.
    keys: RecentKeys,
    /// News that became witnesses of calls in the ledger.
    absorbed: HashSet<RecordId>,
}

/// Settles; one for a process.
#[derive(Debug)]
pub struct Settler {
    pub(super) store: Store,
    /// The newest tables.
    pub tables: Tables,
    /// The claim to the role.
    pub role: Role,
    retention: Retention,
    /// Keys of what later observations may be linked to in the ledger.
    recent: Option<Recent>,
    /// What the archive of a store of the first format covered: its ledger has no marks of its own.
    inherited: Tail,
    upgraded: bool,
    /// What the ledger covered before the last settle: other processes had the time since then to read it.
    trimmable: Tail,
    /// What an interrupted settle of the first format may have left out.
    left: BTreeSet<Timestamp>,
    settles: u32,
    /// Merges that the upkeep beside the traffic does; none where days are still being filled.
    pub merges: usize,
    /// How many must arrive at once to be looked through for newcomers.
    pub newcomers_from: usize,
}

impl Settler {
    /// A settler over these tables.
    #[must_use]
    pub fn new(store: &Store, tables: Tables, retention: Retention, lease: Duration) -> Self {
        Self {
            store: store.clone(),
            tables,
            role: Role::new(store, lease),
            retention,
            recent: None,
            inherited: Tail::new(),
            upgraded: false,
            trimmable: Tail::new(),
            left: BTreeSet::new(),
            settles: 0,
            merges: UPKEEP_MERGES,
            newcomers_from: newcomers::FROM_ROWS,
        }
    }

    /// Settles `tail` and moves the horizon to `horizon`, if the role is ours or free.
    ///
    /// # Errors
    /// [`PipelineError::RoleTaken`]; or the store fails, and everything that landed is recognised next time.
    pub async fn settle(
        &mut self,
        tail: &[Commit],
        horizon: Timestamp,
        rules: &Arc<Rules>,
        now: Timestamp,
    ) -> Result<Settled, PipelineError> {
        self.tables.refresh().await?;
        if !self.role.claim(&mut self.tables).await? {
            return Err(PipelineError::RoleTaken);
        }
        self.upgrade().await?;
        let outcome = self.settle_held(tail, horizon, rules, now).await;
        if outcome.is_err() {
            // It is done all over from the start: what landed in the archive may not be in the ledger.
            self.recent = None;
            self.upgraded = false;
        }
        outcome
    }

    /// Makes the store one of this version, once.
    pub(super) async fn upgrade(&mut self) -> Result<(), PipelineError> {
        if !self.upgraded {
            // Before anything is committed: a commit of ours would look like one that was not settled.
            self.left = self.tables.left_by_first_format().await?;
            if self.tables.calls.basis().await?.is_some_and(|basis| basis.archive_1.is_some()) {
                self.inherited = self.tables.covered(&self.store).await?;
            }
            self.tables.upgrade(&self.store).await?;
            self.upgraded = true;
        }
        Ok(())
    }

    async fn settle_held(
        &mut self,
        tail: &[Commit],
        horizon: Timestamp,
        rules: &Arc<Rules>,
        now: Timestamp,
    ) -> Result<Settled, PipelineError> {
        self.role.check(&self.tables).await?;
        // Other processes had the time since the last settle to read what it covered.
        let trimmable = self.tables.covered(&self.store).await?;
        let writers: BTreeSet<String> = tail.iter().map(|commit| commit.writer.to_string()).collect();
        // Another process may have settled a part of it.
        let is_covered = |commit: &&Commit| trimmable.get(&*commit.writer).is_some_and(|mark| commit.sequence <= *mark);
        let tail: Vec<Commit> = tail.iter().filter(|commit| !is_covered(commit)).cloned().collect();
        let covered = journal::highest(&tail);
        // A process that died may have left what it wrote unsynced, and nothing may be built on that.
        self.tables.make_durable().await?;
        journal::make_durable(&self.store, &covered).await?;
        append(&mut self.tables.quarantine, &tail, |commit| commit.rows.quarantined.iter().collect()).await?;
        append(&mut self.tables.metrics, &tail, |commit| commit.rows.metrics.iter().collect()).await?;
        let previous = self.tables.horizon().await?;
        let horizon = previous.map_or(horizon, |previous| previous.max(horizon));
        let Arrivals { newcomers, others, slices, beside } = self.sort_out(&tail, previous.unwrap_or(horizon)).await?;
        crash_point("settle.before_archive");
        let entering = newcomers::enter(&self.tables.calls, newcomers, rules, now);
        let archiving = append(&mut self.tables.archive, &tail, |commit| {
            commit.rows.observations.iter().map(Arc::as_ref).collect()
        });
        let (entered, ()) = try_join!(entering, archiving.map_err(PipelineError::from))?;
        crash_point("settle.after_archive");
        let scope = self.scope(&others, slices, previous, horizon, rules).await?;
        let news = News::of(others.iter().chain(&beside));
        let Written { slices, mut files, keys, mut absorbed } = self.compute_all(&scope, news, rules, now).await?;
        files.extend(entered.files);
        absorbed.extend(entered.absorbed);
        let calls: usize = files.iter().map(NewFile::rows).sum();
        crash_point("settle.before_ledger");
        let mut marks = std::mem::take(&mut self.inherited);
        marks.extend(covered);
        let based = self.tables.calls.table().version();
        self.tables.calls.replace(&slices, files, horizon, &marks).await?;
        self.left.clear();
        crash_point("settle.after_ledger");
        self.remember(previous, based, horizon, keys, &tail, &absorbed);
        let own = tail.iter().flat_map(|commit| &commit.rows.observations).map(|o| o.observation_id).collect();
        self.trimmable = trimmable;
        info!(settle.slices = slices.len(), settle.calls = calls, settle.horizon = %horizon, "settled");
        self.settles += 1;
        // For all writers that the caller knows of: another process may have covered more of them.
        let mut covered = Tail::new();
        for writer in writers {
            let mark = self.tables.covered_of(&writer).await?;
            covered.insert(writer, mark);
        }
        Ok(Settled { tables: self.tables.clone(), horizon, covered, own, absorbed })
    }

    /// What can wait until the calls are shown: trims the journal and, now and then, does the upkeep. What fails here is
    /// done next time; true if nothing did.
    pub async fn tidy(&mut self, now: Timestamp) -> bool {
        let trimmable = std::mem::take(&mut self.trimmable);
        if let Err(error) = journal::trim(&self.store, &trimmable).await {
            warn!(error = &error as &dyn std::error::Error, "the journal can't be trimmed, will retry");
        }
        crash_point("settle.after_trim");
        if self.settles % UPKEEP_EVERY == UPKEEP_FIRST
            && let Err(error) = self.upkeep(now, self.merges).await
        {
            self.recent = None;
            warn!(error = &error as &dyn std::error::Error, "upkeep failed, will retry");
            return false;
        }
        if let Some(recent) = &mut self.recent {
            recent.version = self.tables.calls.table().version();
        }
        true
    }

    /// What the ledger does not cover. Objects that another process trims meanwhile are covered when it is asked again;
    /// what is missing even then was removed by somebody.
    async fn read_tail(&mut self, rows: usize) -> Result<Vec<Commit>, PipelineError> {
        let mut attempt = 1;
        loop {
            self.tables.refresh().await?;
            let covered = self.tables.covered(&self.store).await?;
            let missing = if attempt == TAIL_ATTEMPTS { Missing::Skip } else { Missing::Refuse };
            match journal::read_tail(&self.store, &covered, rows, missing).await {
                Ok((tail, _)) => return Ok(tail),
                Err(JournalError::Gap { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => return Err(error.into()),
            }
            attempt += 1;
        }
    }

    /// Highest sequence of each writer in the journal.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn journal_heads(&self) -> Result<Tail, PipelineError> {
        Ok(journal::heads(&self.store).await?)
    }

    /// Whether the ledger in hand covers the journal up to `heads`.
    ///
    /// # Errors
    /// The log can't be read.
    pub async fn covers(&self, heads: &Tail) -> Result<bool, PipelineError> {
        for (writer, head) in heads {
            if self.tables.covered_of(writer).await? < *head {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Settles at most about `rows` rows of what the journal holds. `only_full` leaves a smaller rest to others.
    ///
    /// # Errors
    /// As [`Settler::settle`].
    pub async fn settle_portion(
        &mut self,
        rows: usize,
        now: Timestamp,
        hot_us: i64,
        rules: &Arc<Rules>,
        only_full: bool,
    ) -> Result<Portion, PipelineError> {
        let tail = self.read_tail(rows).await?;
        let found: usize = tail.iter().map(|commit| commit.rows.len()).sum();
        if found < if only_full { rows } else { 1 } {
            // An empty object still has to be covered: somebody waits for it.
            if only_full || tail.is_empty() {
                return Ok(Portion::Small);
            }
        }
        self.settle_tail(tail, now, hot_us, rules).await
    }

    /// Settles what is in memory of the journal: the oldest that the ledger does not cover of each writer in it, without a
    /// gap.
    ///
    /// # Errors
    /// As [`Settler::settle`].
    pub async fn settle_tail(
        &mut self,
        tail: Vec<Commit>,
        now: Timestamp,
        hot_us: i64,
        rules: &Arc<Rules>,
    ) -> Result<Portion, PipelineError> {
        let found = tail.iter().map(|commit| commit.rows.len()).sum();
        self.settle(&tail, now.plus(-hot_us).floor(SLICE_US), rules, now).await?;
        drop(tail);
        self.tidy(now).await;
        Ok(Portion::Settled(found))
    }

    /// Tells newcomers from others. What an interrupted settle of the first format left is all computed.
    async fn sort_out(&self, tail: &[Commit], edge: Timestamp) -> Result<Arrivals, PipelineError> {
        let observations = tail.iter().flat_map(|commit| &commit.rows.observations).cloned().collect();
        let from_rows = if self.left.is_empty() { self.newcomers_from } else { usize::MAX };
        newcomers::sort_out(&self.tables, observations, edge, from_rows).await
    }

    /// What to compute: the slices that pass the horizon, `slices`, and the surroundings of observations that may change
    /// settled ones.
    async fn scope(
        &mut self,
        arrived: &[Arc<Observation>],
        slices: BTreeSet<Timestamp>,
        previous: Option<Timestamp>,
        horizon: Timestamp,
        rules: &Arc<Rules>,
    ) -> Result<Scope, PipelineError> {
        let mut passing: BTreeSet<Timestamp> = match previous {
            // After a clock was set right this may be decades, of which few days hold anything.
            Some(previous) => self.filled(Interval { from: previous.floor(SLICE_US), to: horizon })?,
            None => BTreeSet::new(),
        };
        let mut disturbing: BTreeSet<Timestamp> = BTreeSet::new();
        for minute in &self.left {
            // Nobody knows what of it the ledger holds: all of it is written.
            passing.extend(around(*minute));
        }
        passing.retain(|start| *start < horizon);
        let mut close = Vec::new();
        let edge = previous.unwrap_or(horizon);
        for observation in arrived {
            if observation.ts < edge {
                disturbing.insert(observation.ts.floor(MINUTE_US));
            } else if observation.ts < edge.plus(MARGIN_US) {
                close.push(observation);
            }
        }
        if previous.is_none() {
            disturbing.extend(close.iter().map(|observation| observation.ts.floor(MINUTE_US)));
        } else if !close.is_empty() {
            let recent = self.recent_keys(edge, rules).await?;
            disturbing.extend(close.iter().filter(|o| recent.concern(o)).map(|o| o.ts.floor(MINUTE_US)));
        }
        let mut candidates = slices;
        candidates.extend(&passing);
        candidates.extend(disturbing.into_iter().flat_map(around));
        // What is not to be kept does not come back with a late record beside it.
        let floor = self.tables.calls.floor().await?;
        candidates.retain(|start| *start < horizon && *start >= floor);
        Ok(Scope { passing, candidates, horizon })
    }

    /// Keys of what is settled within the margin before the horizon, and of what lies behind it and belongs to a settled
    /// call; read from the archive if it is not in memory, or if another process has settled since.
    async fn recent_keys(&mut self, horizon: Timestamp, rules: &Arc<Rules>) -> Result<&RecentKeys, PipelineError> {
        let version = self.tables.calls.table().version();
        if self.recent.as_ref().is_none_or(|recent| recent.horizon != horizon || recent.version != version) {
            let near = Interval { from: horizon, to: horizon }.widened(MARGIN_US);
            let read: Vec<_> = self.tables.archive.read(near).await?.into_iter().map(Arc::new).collect();
            let rules = Arc::clone(rules);
            let work = move || RecentKeys::of(&read, horizon, &rules);
            let keys = heavy(work).await.map_err(|_| PipelineError::Stopped)?;
            self.recent = Some(Recent { horizon, version, keys });
        }
        self.recent.as_ref().map(|recent| &recent.keys).ok_or(PipelineError::Stopped)
    }

    fn remember(
        &mut self,
        previous: Option<Timestamp>,
        based: u64,
        horizon: Timestamp,
        fresh: RecentKeys,
        tail: &[Commit],
        absorbed: &HashSet<RecordId>,
    ) {
        // Only with the keys before it is the new set complete; another process may have settled more at that horizon.
        let before = self.recent.take();
        let before = before.filter(|recent| Some(recent.horizon) == previous && recent.version == based);
        let Some(Recent { mut keys, .. }) = before else { return };
        keys.merge(fresh);
        let from = horizon.plus(-MARGIN_US);
        for observation in tail.iter().flat_map(|commit| &commit.rows.observations) {
            let settled = observation.ts < horizon || absorbed.contains(&observation.observation_id);
            if settled && observation.ts >= from {
                keys.add(observation);
            }
        }
        keys.forget_before(from);
        self.recent = Some(Recent { horizon, version: self.tables.calls.table().version(), keys });
    }

    /// Computes the scope run by run and stores what the ledger is to take.
    async fn compute_all(
        &self,
        scope: &Scope,
        news: News,
        rules: &Arc<Rules>,
        now: Timestamp,
    ) -> Result<Written, PipelineError> {
        let at_most = self.slices_at_once()?;
        let news = Arc::new(news);
        let work = self.runs(&scope.candidates, at_most).await?.into_iter().map(|run| {
            let (rules, news) = (Arc::clone(rules), Arc::clone(&news));
            async move {
                let computed = compute(&self.tables, run, scope, news, rules, now).await?;
                let files = self.write(&computed).await?;
                Ok::<_, PipelineError>((files, computed))
            }
        });
        let mut all = Written::default();
        let mut parts = stream::iter(work).buffered(RUNS_AT_ONCE);
        while let Some((files, Computed { slices, keys, absorbed, .. })) = parts.try_next().await? {
            all.files.extend(files);
            all.slices.extend(slices);
            all.keys.merge(keys);
            all.absorbed.extend(absorbed);
        }
        Ok(all)
    }

    /// Runs of slices, none of which lies on both sides of what the archive still holds whole.
    pub(super) async fn runs(
        &self,
        slices: &BTreeSet<Timestamp>,
        at_most: usize,
    ) -> Result<Vec<Interval>, PipelineError> {
        let whole = self.tables.archive.floor().await?.plus(MARGIN_US);
        let (above, below) = slices.iter().partition(|start| **start >= whole);
        Ok([below, above].iter().flat_map(|part| runs(part, at_most)).collect())
    }

    /// A run holds a bearable number of observations, whatever the traffic.
    pub(super) fn slices_at_once(&self) -> Result<usize, PipelineError> {
        let a_day = usize::try_from(24 * HOUR_US / SLICE_US).unwrap_or(1);
        let per_slice = (self.tables.archive.busiest_day_rows()? / a_day).max(1);
        Ok((RUN_ROWS / per_slice).clamp(3, a_day))
    }

    /// Stores the calls of the slices to replace, neighbours in one file.
    pub(super) async fn write(&self, computed: &Computed) -> Result<Vec<NewFile>, PipelineError> {
        let mut files = Vec::new();
        let filled = computed.slices.iter().filter(|start| computed.calls.contains_key(start)).copied().collect();
        for run in runs(&filled, usize::MAX) {
            let calls: Vec<_> = computed.calls.range(run.from..run.to).flat_map(|(_, calls)| calls).collect();
            files.push(self.tables.calls.write(run, &calls).await?);
        }
        Ok(files)
    }

    /// Retention, merged files, checkpoints, removal of what is replaced: at most `merges` merges of each table.
    ///
    /// # Errors
    /// The store fails; what was done stays done.
    pub async fn upkeep(&mut self, now: Timestamp, merges: usize) -> Result<UpkeepReport, PipelineError> {
        let pins = Pins::read(&self.store).await?;
        self.tables.make_durable().await?;
        journal::trim(&self.store, &self.tables.covered(&self.store).await?).await?;
        let keep = &self.retention;
        let mut report = upkeep_archive(&mut self.tables.archive, keep, &pins, now, merges).await?;
        let left = report.left;
        report.add(&upkeep_calls(&mut self.tables.calls, keep, &pins, now, merges).await?);
        report.left += left;
        for table in [self.tables.quarantine.table_mut(), self.tables.metrics.table_mut()] {
            let log = upkeep_log(table, keep, &pins).await?;
            report.removed_log_entries += log.removed_log_entries;
            report.removed_files += log.removed_files;
        }
        Ok(report)
    }
}
