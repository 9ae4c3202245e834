//! The meter: one task that owns the hot set and the tail, takes in every commit (its own at once, other writers' by
//! following their journals), settles when it holds the role, and swaps the view that queries read.

mod running;
mod task;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use self::task::{TAIL_LIMIT_ROWS, Task};
use super::{Loaded, PipelineError, Portion, Settler, Tables};
use crate::clock::Clock;
use crate::journal::{Commit, Tail};
use crate::ledger::{Retention, View};
use crate::model::MINUTE_US;
use crate::settle::Rules;
use crate::store::Store;

/// The view that queries read; swapped whole.
pub type SharedView = Arc<ArcSwap<View>>;
/// Set while what is not settled fills the memory; whoever appends to the journal looks at it.
pub type Brake = Arc<AtomicBool>;

/// How a meter works.
#[derive(Clone, Copy, Debug)]
pub struct MeterOptions {
    /// Whether this process takes the settle role when it is free.
    pub settles: bool,
    /// Time between two settles when nothing is late.
    pub settle_every: Duration,
    /// How far the horizon stays behind now, microseconds.
    pub hot_us: i64,
    /// Observations to keep in memory; with more the horizon moves closer.
    pub hot_rows: usize,
    /// What is kept for how long.
    pub retention: Retention,
}

impl Default for MeterOptions {
    fn default() -> Self {
        Self {
            settles: true,
            settle_every: Duration::from_secs(60),
            hot_us: 15 * MINUTE_US,
            hot_rows: 250_000,
            retention: Retention::default(),
        }
    }
}

impl MeterOptions {
    /// How long a holder of the settle role may show no sign of life.
    #[must_use]
    pub fn lease(&self) -> Duration {
        (self.settle_every * 3).clamp(Duration::from_secs(5), Duration::from_secs(180))
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
    /// Reads the state of the store, starts the task, and returns when the first view stands. Commits of the writer `own`
    /// come through `commits`, those of others are followed in the store.
    ///
    /// # Errors
    /// The store fails.
    pub async fn start(
        store: &Store,
        rules: Arc<Rules>,
        clock: Arc<dyn Clock>,
        options: MeterOptions,
        commits: mpsc::UnboundedReceiver<Commit>,
        own: Option<Arc<str>>,
        brake: Brake,
    ) -> Result<Self, PipelineError> {
        let mut settler = Settler::new(store, Tables::open(store).await?, options.retention, options.lease());
        if options.settles {
            work_off(&mut settler, &rules, &*clock, options).await?;
        }
        let loaded = Loaded::read(store).await?;
        settler.tables = loaded.tables.clone();
        let view: SharedView = Arc::new(ArcSwap::from_pointee(loaded.tables.view(None, Vec::new(), &[], &Tail::new())));
        let task = Task::new(store, rules, clock, options, settler, loaded, own, Arc::clone(&view), brake);
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

/// A journal that is longer than the memory should hold (an import died) is settled in portions first.
async fn work_off(
    settler: &mut Settler,
    rules: &Arc<Rules>,
    clock: &dyn Clock,
    options: MeterOptions,
) -> Result<(), PipelineError> {
    loop {
        match settler.settle_portion(TAIL_LIMIT_ROWS, clock.now(), options.hot_us, rules, true).await {
            Ok(Portion::Settled(rows)) => info!(rows, "settled a part of a long journal"),
            Ok(Portion::Small) | Err(PipelineError::RoleTaken) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
