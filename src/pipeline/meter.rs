//! The meter: one task that owns the hot set and the tail, takes in every commit (its own at once, other writers' by
//! following their journals), settles when it holds the role, and swaps the view that queries read.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, warn};

use super::{HotSet, Loaded, MARGIN_US, PipelineError, SettleOutcome, Tables};
use crate::clock::Clock;
use crate::journal::{Commit, Follower};
use crate::ledger::View;
use crate::model::{MINUTE_US, RecordId, Timestamp};
use crate::settle::Rules;
use crate::store::Store;
use crate::telemetry::metrics;

/// The view that queries read; swapped whole.
pub type SharedView = Arc<ArcSwap<View>>;

/// Shortest time between two swaps of the view.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);
/// Tail rows at which a settle starts whatever the clock says.
const TAIL_LIMIT_ROWS: usize = 200_000;

/// How a meter works.
#[derive(Clone, Copy, Debug)]
pub struct MeterOptions {
    /// Whether this process settles; only one may for a store on a local disk.
    pub settles: bool,
    /// Time between two settles when nothing is late.
    pub settle_every: Duration,
    /// How far the horizon stays behind now, microseconds.
    pub hot_us: i64,
}

impl Default for MeterOptions {
    fn default() -> Self {
        Self { settles: true, settle_every: Duration::from_secs(60), hot_us: 15 * MINUTE_US }
    }
}

enum Order {
    Settle(oneshot::Sender<Result<(), String>>),
    Stop(oneshot::Sender<()>),
}

/// Handle of the meter's task.
#[derive(Clone, Debug)]
pub struct Meter {
    orders: mpsc::Sender<Order>,
    view: SharedView,
}

impl Meter {
    /// Reads the state of the store, starts the task, and returns when the first view stands.
    ///
    /// # Errors
    /// The store fails.
    pub async fn start(
        store: &Store,
        rules: Arc<Rules>,
        clock: Arc<dyn Clock>,
        options: MeterOptions,
        commits: mpsc::UnboundedReceiver<Commit>,
        own_writer: Option<Arc<str>>,
    ) -> Result<Self, PipelineError> {
        let loaded = Loaded::read(store).await?;
        let hot = loaded.hot(&rules);
        let follower = Follower::new(store.clone(), loaded.seen.clone(), own_writer);
        let shown = loaded.tables.clone();
        let mut newest = loaded.tables;
        newest.refresh().await?;
        let unsettled = if options.settles { newest.unsettled(store).await? } else { BTreeSet::new() };
        let placeholder = shown.view(loaded.horizon, Vec::new(), &loaded.tail);
        let view: SharedView = Arc::new(ArcSwap::from_pointee(placeholder));
        let late = loaded.horizon.is_some_and(|horizon| is_late(&loaded.tail, horizon)) || !unsettled.is_empty();
        let mut task = Task {
            store: store.clone(),
            rules,
            clock,
            options,
            follower,
            hot,
            tail: loaded.tail,
            shown,
            newest,
            horizon: loaded.horizon,
            unsettled,
            late,
            dirty: true,
            view: Arc::clone(&view),
            running: None,
            waiting: Vec::new(),
            last_settle: Instant::now(),
            last_took: Duration::ZERO,
        };
        task.publish();
        let (orders, inbox) = mpsc::channel(16);
        #[expect(clippy::disallowed_methods, reason = "ended and awaited through Meter::stop")]
        tokio::spawn(task.run(commits, inbox));
        Ok(Self { orders, view })
    }

    /// The view that queries read.
    #[must_use]
    pub fn view(&self) -> SharedView {
        Arc::clone(&self.view)
    }

    /// Settles everything that is in the journal now; returns when it can be queried.
    ///
    /// # Errors
    /// The settle failed (what it says), or the meter has stopped.
    pub async fn settle_now(&self) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let stopped = |_| "the meter has stopped".to_owned();
        self.orders.send(Order::Settle(done)).await.map_err(|_| "the meter has stopped".to_owned())?;
        outcome.await.map_err(stopped)?
    }

    /// Ends the task after a settle under way.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            // An error means that it has stopped already.
            let _ = stopped.await;
        }
    }
}

fn is_late(tail: &[Commit], horizon: Timestamp) -> bool {
    tail.iter().any(|commit| commit.rows.observations.iter().any(|observation| observation.ts < horizon))
}

/// Who waits for a settle.
type Waiting = Vec<oneshot::Sender<Result<(), String>>>;

/// A settle under way.
struct Running {
    settling: JoinHandle<Result<SettleOutcome, PipelineError>>,
    /// Commits of the tail that it took.
    taken: usize,
    waiting: Waiting,
}

/// A settle that has ended.
struct Ended {
    outcome: Result<SettleOutcome, PipelineError>,
    taken: usize,
    waiting: Waiting,
}

struct Task {
    store: Store,
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
    options: MeterOptions,
    follower: Follower,
    hot: HotSet,
    tail: Vec<Commit>,
    /// The tables as the view shows them.
    shown: Tables,
    /// The tables to settle on.
    newest: Tables,
    horizon: Option<Timestamp>,
    unsettled: BTreeSet<Timestamp>,
    late: bool,
    dirty: bool,
    view: SharedView,
    running: Option<Running>,
    waiting: Waiting,
    last_settle: Instant,
    last_took: Duration,
}

impl Task {
    async fn run(mut self, mut commits: mpsc::UnboundedReceiver<Commit>, mut inbox: mpsc::Receiver<Order>) {
        let follow_every =
            if self.store.local().is_some() { Duration::from_millis(200) } else { Duration::from_secs(1) };
        let mut follow = interval(follow_every);
        let mut publish = interval(PUBLISH_EVERY);
        follow.set_missed_tick_behavior(MissedTickBehavior::Delay);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut own_open = true;
        let stopped = loop {
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
                _ = publish.tick() => {
                    if self.dirty {
                        self.publish();
                    }
                }
                outcome = settled(&mut self.running) => self.finish(outcome),
            }
            self.maybe_settle();
        };
        if self.running.is_some() {
            let outcome = settled(&mut self.running).await;
            self.finish(outcome);
        }
        if let Some(done) = stopped {
            // The one who asked may have gone.
            let _ = done.send(());
        }
    }

    fn take(&mut self, commit: Commit) {
        for observation in &commit.rows.observations {
            self.hot.add(Arc::new(observation.clone()));
            self.late |= self.horizon.is_some_and(|horizon| observation.ts < horizon);
        }
        // An import ends with an empty object and waits until it is settled.
        self.late |= commit.rows.is_empty();
        self.dirty = true;
        self.tail.push(commit);
    }

    async fn poll_others(&mut self) {
        match self.follower.poll().await {
            Ok(commits) => commits.into_iter().for_each(|commit| self.take(commit)),
            Err(error) => warn!(error = %error, "journal can't be followed, will retry"),
        }
    }

    fn tail_rows(&self) -> usize {
        self.tail.iter().map(|commit| commit.rows.len()).sum()
    }

    fn maybe_settle(&mut self) {
        if !self.options.settles {
            for done in self.waiting.drain(..) {
                // The one who asked may have gone.
                let _ = done.send(Err("this process does not settle".to_owned()));
            }
            return;
        }
        if self.running.is_some() {
            return;
        }
        let rested = self.last_settle.elapsed();
        // A new store needs a horizon, or everything would be kept in memory.
        let first = self.horizon.is_none() && self.last_took.is_zero();
        let eager = (self.last_took * 2).clamp(Duration::from_millis(500), self.options.settle_every);
        let due = first
            || !self.waiting.is_empty()
            || (rested >= self.options.settle_every && (!self.tail.is_empty() || self.hot_passes_horizon()))
            || (rested >= eager && (self.late || self.tail_rows() >= TAIL_LIMIT_ROWS));
        if due {
            self.start_settle();
        }
    }

    fn next_horizon(&self) -> Timestamp {
        let wanted = self.clock.now().plus(-self.options.hot_us).floor(MINUTE_US);
        self.horizon.map_or(wanted, |horizon| horizon.max(wanted))
    }

    fn hot_passes_horizon(&self) -> bool {
        !self.view.load().hot.is_empty()
    }

    fn start_settle(&mut self) {
        let horizon = self.next_horizon();
        let taken = self.tail.len();
        let tail = self.tail.clone();
        let unsettled = self.unsettled.clone();
        let (store, rules, now) = (self.store.clone(), Arc::clone(&self.rules), self.clock.now());
        let tables = self.newest.clone();
        self.late = false;
        self.last_settle = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "held in `running` and awaited before the task ends")]
        let settling = tokio::spawn(async move { tables.settle(&store, &tail, unsettled, horizon, &rules, now).await });
        self.running = Some(Running { settling, taken, waiting: std::mem::take(&mut self.waiting) });
    }

    fn finish(&mut self, ended: Ended) {
        let Ended { outcome, taken, waiting } = ended;
        self.last_took = self.last_settle.elapsed();
        self.last_settle = Instant::now();
        metrics::settle(self.last_took, outcome.is_ok());
        let answer = match outcome {
            Ok(outcome) => {
                let settled: HashSet<RecordId> = self
                    .tail
                    .drain(..taken)
                    .flat_map(|commit| commit.rows.observations.iter().map(|o| o.observation_id).collect::<Vec<_>>())
                    .collect();
                let new: HashSet<RecordId> =
                    self.tail.iter().flat_map(|commit| &commit.rows.observations).map(|o| o.observation_id).collect();
                self.unsettled.clear();
                self.horizon = Some(outcome.horizon);
                // What came meanwhile was compared with the old horizon.
                self.late |= is_late(&self.tail, outcome.horizon);
                let rules = Arc::clone(&self.rules);
                self.hot.settled(self.horizon, MARGIN_US, &rules, |o| {
                    settled.contains(&o.observation_id) || !new.contains(&o.observation_id)
                });
                self.shown = outcome.tables.clone();
                self.newest = outcome.tables;
                self.report_files();
                self.publish();
                Ok(())
            }
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "settle failed, will retry");
                self.late = true;
                Err(format!("{error}"))
            }
        };
        for done in waiting {
            // The one who asked may have gone.
            let _ = done.send(answer.clone());
        }
    }

    fn report_files(&self) {
        for (name, files) in
            [("observations", self.newest.archive.table().files()), ("calls", self.newest.calls.table().files())]
        {
            metrics::table_files(name, files.map_or(0, |files| files.len()));
        }
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        let made = tokio::task::block_in_place(|| self.hot.batches(&self.rules, now));
        let (hot, calls) = match made {
            Ok(made) => made,
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "hot set can't be shown");
                return;
            }
        };
        metrics::hot(self.tail_rows(), calls, self.horizon.map_or(0, |horizon| horizon.0));
        self.view.store(Arc::new(self.shown.view(self.horizon, hot, &self.tail)));
        self.dirty = false;
    }
}

/// Resolves when the settle under way ends; never if there is none.
async fn settled(running: &mut Option<Running>) -> Ended {
    let Some(settle) = running else { return std::future::pending().await };
    let outcome = (&mut settle.settling).await.unwrap_or(Err(PipelineError::Stopped));
    let (taken, waiting) = running.take().map_or((0, Vec::new()), |settle| (settle.taken, settle.waiting));
    Ended { outcome, taken, waiting }
}
