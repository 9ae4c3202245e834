//! The meter's task.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use super::running::{Ended, Running, Waiting, Work, answer, settled};
use super::{Brake, MeterOptions, Order, SharedView};
use crate::clock::Clock;
use crate::journal::{Commit, Follower, JournalError, Tail};
use crate::model::{MINUTE_US, RecordId, SLICE_US, Timestamp};
use crate::pipeline::{HotSet, Loaded, PipelineError, Settled, Settler, Tables};
use crate::settle::Rules;
use crate::store::Store;
use crate::telemetry::metrics;

/// Shortest time between two swaps of the view.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// Pause between two looks at whether another process has settled.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Tail rows at which a settle starts whatever the clock says.
pub(super) const TAIL_LIMIT_ROWS: usize = 200_000;
/// Tail rows beyond which nothing more is taken in until a settle has caught up.
const BRAKE_ROWS: usize = 1_000_000;
/// Longest wait for the store beside the traffic.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a settle that failed or that another process may do.
const REST: Duration = Duration::from_secs(2);
/// Shortest time between two settles that do not wait for their turn, unless turns are shorter.
const EAGER_EVERY: Duration = Duration::from_millis(500);
/// The horizon never comes closer to now than this.
const LEAST_HOT_US: i64 = MINUTE_US;

fn is_late(tail: &[Commit], horizon: Timestamp) -> bool {
    tail.iter().any(|commit| commit.rows.observations.iter().any(|observation| observation.ts < horizon))
}

/// Observations that stay in memory after a settle. As many again may come before there is pressure; if what is settled
/// filled all the memory, every new one would be pressure.
const fn room(options: &MeterOptions) -> usize {
    options.hot_rows / 2
}

pub(super) struct Task {
    store: Store,
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
    options: MeterOptions,
    own: Option<Arc<str>>,
    follower: Follower,
    hot: HotSet,
    /// Highest sequence of our own writer that is in the tail or settled.
    own_seen: u64,
    /// What the ledger of the view does not cover.
    tail: Vec<Commit>,
    /// Of the tail, what the archive of the view holds already.
    archived: Tail,
    /// The tables as the view shows them.
    shown: Tables,
    horizon: Option<Timestamp>,
    /// Nothing while it settles.
    settler: Option<Settler>,
    late: bool,
    dirty: bool,
    view: SharedView,
    brake: Brake,
    running: Option<Running>,
    waiting: Waiting,
    last_settle: Instant,
    last_took: Duration,
    last_publish: Instant,
    /// After a settle that could not be.
    rest_until: Instant,
}

impl Task {
    /// A task that shows what was loaded.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the task, and this is where it is put together")]
    pub(super) fn new(
        store: &Store,
        rules: Arc<Rules>,
        clock: Arc<dyn Clock>,
        options: MeterOptions,
        settler: Settler,
        loaded: Loaded,
        own: Option<Arc<str>>,
        view: SharedView,
        brake: Brake,
    ) -> Self {
        let hot = loaded.hot(room(&options), &rules);
        let late = loaded.horizon.is_some_and(|horizon| is_late(&loaded.tail, horizon));
        let own_seen = own.as_ref().and_then(|own| loaded.seen.get(&**own).copied()).unwrap_or(0);
        let mut task = Self {
            store: store.clone(),
            rules,
            clock,
            options,
            follower: Follower::new(store.clone(), loaded.seen, own.clone()),
            own,
            hot,
            own_seen,
            tail: loaded.tail,
            archived: loaded.archived,
            shown: loaded.tables,
            horizon: loaded.horizon,
            settler: Some(settler),
            late,
            dirty: true,
            view,
            brake,
            running: None,
            waiting: Vec::new(),
            last_settle: Instant::now(),
            last_took: Duration::ZERO,
            last_publish: Instant::now(),
            rest_until: Instant::now(),
        };
        task.publish();
        task
    }

    pub(super) async fn run(mut self, mut commits: mpsc::UnboundedReceiver<Commit>, mut inbox: mpsc::Receiver<Order>) {
        let follow_every =
            if self.store.local().is_some() { Duration::from_millis(200) } else { Duration::from_secs(1) };
        let (mut follow, mut watch) = (interval(follow_every), interval(WATCH_EVERY));
        follow.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut own_open = true;
        let stopped = loop {
            let publish_at = self.last_publish + PUBLISH_EVERY;
            tokio::select! {
                commit = commits.recv(), if own_open => match commit {
                    Some(commit) => self.take(commit),
                    None => own_open = false,
                },
                order = inbox.recv() => match order {
                    Some(Order::Settle(done)) => {
                        // What this process journaled before the order must be in it.
                        while let Ok(commit) = commits.try_recv() {
                            self.take(commit);
                        }
                        self.poll_others().await;
                        self.waiting.push(done);
                    }
                    Some(Order::Stop(done)) => break Some(done),
                    None => break None,
                },
                _ = follow.tick() => self.poll_others().await,
                _ = watch.tick() => self.watch().await,
                () = sleep_until(publish_at), if self.dirty => self.publish(),
                ended = settled(&mut self.running) => self.finish(ended).await,
            }
            self.maybe_settle();
        };
        while self.running.is_some() {
            let ended = settled(&mut self.running).await;
            self.finish(ended).await;
        }
        if let Some(settler) = &mut self.settler {
            let mut tables = settler.tables.clone();
            if let Err(error) = settler.role.release(&mut tables).await {
                warn!(error = %error, "the settle role could not be given back, others wait for the lease to end");
            }
        }
        if let Some(done) = stopped {
            // The one who asked may have gone.
            let _ = done.send(());
        }
    }

    fn take(&mut self, commit: Commit) {
        if self.own.as_deref() == Some(&*commit.writer) {
            if commit.sequence <= self.own_seen {
                return;
            }
            self.own_seen = commit.sequence;
        }
        for observation in &commit.rows.observations {
            self.late |= self.hot.add(Arc::clone(observation));
        }
        // An import ends with an empty object and waits until it is settled.
        self.late |= commit.rows.observations.is_empty();
        self.dirty = true;
        self.tail.push(commit);
        self.brake.store(self.tail_rows() > BRAKE_ROWS, Ordering::Relaxed);
    }

    async fn poll_others(&mut self) {
        match self.follower.poll().await {
            Ok(commits) => commits.into_iter().for_each(|commit| self.take(commit)),
            // Another process settled and trimmed what was not read here yet: it is in the tables.
            Err(JournalError::Gap { writer, sequence }) => {
                if self.reload().await && self.follower.seen().get(&writer).copied().unwrap_or(0) < sequence {
                    self.follower.skip_to(&writer, sequence + 1);
                }
            }
            Err(error) => warn!(error = %error, "journal can't be followed, will retry"),
        }
    }

    /// Whether another process has settled: then its tables are shown.
    async fn watch(&mut self) {
        let Some(settler) = self.settler.as_mut().filter(|_| self.running.is_none()) else { return };
        settler.role.yield_to_others();
        let (mut tables, before) = (self.shown.clone(), self.shown.calls.table().version());
        let newer = async {
            if !tables.calls.table().is_behind().await? {
                return Ok(false);
            }
            tables.refresh().await?;
            Ok::<_, crate::ledger::LedgerError>(tables.calls.table().version() > before)
        };
        let newer = tokio::time::timeout(STORE_PATIENCE, newer).await;
        let Ok(newer) = newer else { return warn!("the store does not answer, will retry") };
        match newer {
            Ok(false) => {}
            Ok(true) => {
                settler.tables = tables.clone();
                self.follow(tables).await;
            }
            Err(error) => warn!(error = %error, "the tables can't be followed, will retry"),
        }
    }

    /// Shows tables that another process has written.
    async fn follow(&mut self, tables: Tables) {
        let marks = async {
            let horizon = tables.horizon().await?;
            let covered = tables.covered(&self.store).await?;
            let archived = tables.archived(covered.keys().map(String::as_str)).await?;
            Ok::<_, PipelineError>((horizon, covered, archived))
        };
        let (horizon, covered, archived) = match marks.await {
            Ok(marks) => marks,
            Err(error) => return warn!(error = %error, "the tables can't be followed, will retry"),
        };
        if covered.iter().any(|(writer, mark)| *mark > self.seen(writer)) {
            self.reload().await;
            return;
        }
        // The archive may be ahead of the ledger, because the other one is settling again.
        self.archived.extend(archived);
        if self.advance(tables, horizon, &covered, &HashSet::new()) {
            self.reload().await;
        }
    }

    /// Highest sequence of a writer that came here.
    fn seen(&self, writer: &str) -> u64 {
        let own = self.own.as_deref() == Some(writer);
        if own { self.own_seen } else { self.follower.seen().get(writer).copied().unwrap_or(0) }
    }

    /// Starts again from the store, as a new process would.
    /// True if that was possible.
    async fn reload(&mut self) -> bool {
        let loaded = match Loaded::read(&self.store).await {
            Ok(loaded) => loaded,
            Err(error) => {
                warn!(error = %error, "the store can't be read again, will retry");
                return false;
            }
        };
        info!("read the store again, another process has settled");
        self.hot = loaded.hot(room(&self.options), &self.rules);
        if let Some(own) = &self.own {
            self.own_seen = self.own_seen.max(loaded.seen.get(&**own).copied().unwrap_or(0));
        }
        self.late = loaded.horizon.is_some_and(|horizon| is_late(&loaded.tail, horizon));
        self.follower = Follower::new(self.store.clone(), loaded.seen, self.own.clone());
        if let Some(settler) = &mut self.settler {
            settler.tables = loaded.tables.clone();
        }
        (self.tail, self.archived, self.shown, self.horizon) =
            (loaded.tail, loaded.archived, loaded.tables, loaded.horizon);
        self.brake.store(self.tail_rows() > BRAKE_ROWS, Ordering::Relaxed);
        self.publish();
        true
    }

    fn tail_rows(&self) -> usize {
        self.tail.iter().map(|commit| commit.rows.len()).sum()
    }

    fn maybe_settle(&mut self) {
        if !self.options.settles {
            answer(std::mem::take(&mut self.waiting), &Err("this process does not settle".to_owned()));
            return;
        }
        if self.running.is_some() || Instant::now() < self.rest_until {
            return;
        }
        let rested = self.last_settle.elapsed();
        // A new store needs a horizon, or everything would be kept in memory.
        let first = self.horizon.is_none() && self.last_took.is_zero();
        let eager = (self.last_took * 2).max(EAGER_EVERY).min(self.options.settle_every);
        let full = || self.tail_rows() >= TAIL_LIMIT_ROWS || self.hot.members() > self.options.hot_rows;
        let due = first
            || !self.waiting.is_empty()
            || (rested >= self.options.settle_every && (!self.tail.is_empty() || self.hot_passes_horizon()))
            || (rested >= eager && !self.tail.is_empty() && (self.late || full()));
        if due {
            self.start_settle();
        }
    }

    /// On the edge of a slice, so that each is written once; under pressure at any minute, so that memory is bounded.
    fn next_horizon(&self) -> Timestamp {
        let now = self.clock.now();
        let relaxed = now.plus(-self.options.hot_us);
        let members = self.hot.members();
        let wanted = if members <= self.options.hot_rows {
            relaxed.floor(SLICE_US)
        } else {
            let share = i64::try_from(room(&self.options).saturating_mul(1000) / members.max(1)).unwrap_or(1000);
            // Of the time that they fill now: under steady pressure that is much less than what was asked for.
            let filled =
                self.horizon.map_or(self.options.hot_us, |horizon| (now.0 - horizon.0).min(self.options.hot_us));
            let hot_us = (filled / 1000).saturating_mul(share).max(LEAST_HOT_US);
            now.plus(-hot_us).floor(MINUTE_US)
        };
        self.horizon.map_or(wanted, |horizon| horizon.max(wanted))
    }

    fn hot_passes_horizon(&self) -> bool {
        Some(self.next_horizon()) > self.horizon && !self.view.load().hot.is_empty()
    }

    fn start_settle(&mut self) {
        let horizon = self.next_horizon();
        let Some(mut settler) = self.settler.take() else { return };
        let tail = self.tail.clone();
        let (rules, now) = (Arc::clone(&self.rules), self.clock.now());
        self.late = false;
        self.last_settle = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "held in `running` and awaited before the task ends")]
        let settling = tokio::spawn(async move {
            let outcome = settler.settle(&tail, horizon, &rules, now).await;
            (settler, Work::Settled(Box::new(outcome)))
        });
        self.running = Some(Running { settling, waiting: std::mem::take(&mut self.waiting) });
    }

    /// After the calls are shown, so that nobody waits for it.
    fn start_tidying(&mut self) {
        let Some(mut settler) = self.settler.take() else { return };
        let now = self.clock.now();
        #[expect(clippy::disallowed_methods, reason = "held in `running` and awaited before the task ends")]
        let settling = tokio::spawn(async move {
            let clean = settler.tidy(now).await;
            (settler, Work::Tidied(clean))
        });
        self.running = Some(Running { settling, waiting: Vec::new() });
    }

    async fn finish(&mut self, ended: Ended) {
        if let Some((settler, Work::Tidied(clean))) = ended.outcome {
            if clean {
                // Files were merged: the same calls, in other places. Otherwise the next look at the store tells.
                self.shown = settler.tables.clone();
                self.report();
                self.publish();
            }
            self.settler = Some(settler);
            return;
        }
        // Who asked while it ran waits for the next: what was journaled meanwhile is not in this one.
        let waiting = ended.waiting;
        self.last_took = self.last_settle.elapsed();
        self.last_settle = Instant::now();
        let Some((settler, Work::Settled(outcome))) = ended.outcome else {
            return self.start_over(waiting);
        };
        self.settler = Some(settler);
        match *outcome {
            Ok(Settled { tables, horizon, covered, own, absorbed }) => {
                metrics::settle(self.last_took, true);
                if covered.iter().any(|(writer, mark)| *mark > self.seen(writer)) {
                    // Another process settled between the view and this settle, something that was not seen here.
                    self.reload().await;
                } else {
                    self.archived.extend(covered.clone());
                    let alone = own.difference(&absorbed).copied().collect();
                    if self.advance(tables, Some(horizon), &covered, &alone) {
                        self.reload().await;
                    }
                }
                answer(waiting, &Ok(()));
                self.start_tidying();
            }
            Err(PipelineError::RoleTaken) => {
                self.late = true;
                self.rest_until = Instant::now() + REST;
                self.watch().await;
                // The holder may have settled meanwhile what is asked for.
                let done = self.tail.is_empty();
                answer(waiting, &if done { Ok(()) } else { Err(PipelineError::RoleTaken.to_string()) });
            }
            Err(error) => {
                metrics::settle(self.last_took, false);
                error!(error = &error as &dyn std::error::Error, "settle failed, will retry");
                self.late = true;
                self.rest_until = Instant::now() + REST;
                answer(waiting, &Err(format!("{error}")));
            }
        }
    }

    /// The settling task died: a new settler on fresh tables takes over.
    fn start_over(&mut self, waiting: Waiting) {
        metrics::settle(self.last_took, false);
        error!("the settling task died, starting over");
        let settler = Settler::new(&self.store, self.shown.clone(), self.options.retention, self.options.lease());
        self.settler = Some(settler);
        self.late = true;
        answer(waiting, &Err("the settling task died".to_owned()));
    }

    /// The view moves on to `tables`, which cover the journal up to `covered` (and whose archive holds it up to
    /// `self.archived`): ledger, horizon and hot set change together. True if only the store knows where something
    /// belongs.
    fn advance(
        &mut self,
        tables: Tables,
        horizon: Option<Timestamp>,
        covered: &Tail,
        alone: &HashSet<RecordId>,
    ) -> bool {
        let is_covered = |commit: &Commit| covered.get(&*commit.writer).is_some_and(|mark| commit.sequence <= *mark);
        let ids = |commit: &Commit| commit.rows.observations.iter().map(|o| o.observation_id).collect::<Vec<_>>();
        let settled: HashSet<RecordId> = self.tail.iter().filter(|commit| is_covered(commit)).flat_map(ids).collect();
        self.tail.retain(|commit| !is_covered(commit));
        let new: HashSet<RecordId> = self.tail.iter().flat_map(ids).collect();
        self.horizon = horizon;
        // What came meanwhile was compared with the old horizon.
        self.late |= horizon.is_some_and(|horizon| is_late(&self.tail, horizon));
        let rules = Arc::clone(&self.rules);
        let unknown = self.hot.settled(horizon, room(&self.options), &rules, alone, |o| {
            settled.contains(&o.observation_id) || !new.contains(&o.observation_id)
        });
        self.shown = tables;
        self.brake.store(self.tail_rows() > BRAKE_ROWS, Ordering::Relaxed);
        self.report();
        self.publish();
        unknown
    }

    fn report(&self) {
        for table in [self.shown.archive.table(), self.shown.calls.table()] {
            let files = table.files().unwrap_or_default();
            metrics::table_files(table.name(), files.len(), files.iter().map(|file| file.bytes).sum());
        }
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        let made = tokio::task::block_in_place(|| self.hot.batches(&self.rules, now));
        self.last_publish = Instant::now();
        let (hot, calls) = match made {
            Ok(made) => made,
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "hot set can't be shown");
                return;
            }
        };
        let oldest = self.tail.iter().flat_map(|commit| &commit.rows.observations).map(|o| o.observed_at).min();
        let lag_us = oldest.map_or(0, |oldest| now.0 - oldest.0);
        metrics::hot(self.tail_rows(), self.hot.members(), calls, self.horizon.map_or(0, |horizon| horizon.0), lag_us);
        let mut view = self.shown.view(self.horizon, hot, &self.tail, &self.archived);
        view.superseded = self.hot.superseded().collect();
        self.view.store(Arc::new(view));
        self.dirty = false;
    }
}
