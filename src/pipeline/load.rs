//! The state of a store at one moment, from its tables and its journal: for the start of the daemon and for processes
//! that only read.

use std::sync::Arc;
use std::time::Duration;

use super::{HotSet, MARGIN_US, PipelineError, Tables};
use crate::journal::{Commit, Follower, Tail};
use crate::ledger::{LedgerError, View};
use crate::model::{Observation, Timestamp};
use crate::settle::Rules;
use crate::store::Store;

/// Tries to read a moment while another process settles.
const ATTEMPTS: usize = 20;

/// A store's state: tables, what is hot of the archive, and the journal's tail beyond it.
#[derive(Debug)]
pub struct Loaded {
    /// The tables; the archive at the version that the ledger was computed from.
    pub tables: Tables,
    /// The horizon of the ledger.
    pub horizon: Option<Timestamp>,
    /// Archived observations that hot calls may be made of.
    pub recent: Vec<Arc<Observation>>,
    /// Journal objects beyond the archive.
    pub tail: Vec<Commit>,
    /// Highest sequence seen of each writer.
    pub seen: Tail,
}

impl Loaded {
    /// Reads one consistent moment: if a settle commits meanwhile, it is read again.
    ///
    /// # Errors
    /// The store fails.
    pub async fn read(store: &Store) -> Result<Self, PipelineError> {
        let mut attempt = 1;
        loop {
            let loaded = Self::read_once(store).await;
            let mut calls = match &loaded {
                Ok(loaded) => loaded.tables.calls.clone(),
                Err(_) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(_) => return loaded,
            };
            let version = calls.table().version();
            calls.table_mut().refresh().await.map_err(LedgerError::from)?;
            if calls.table().version() == version || attempt == ATTEMPTS {
                return loaded;
            }
            attempt += 1;
        }
    }

    async fn read_once(store: &Store) -> Result<Self, PipelineError> {
        let mut tables = Tables::open(store).await?;
        let basis = tables.calls.basis().await?;
        // The ledger was computed from this version; what came later is still in the journal.
        let version = basis.map_or(0, |(version, _)| version);
        tables.archive.table_mut().load_version(version).await.map_err(LedgerError::from)?;
        let horizon = basis.map(|(_, horizon)| horizon);
        let recent = match horizon {
            Some(horizon) => tables.archive.read(horizon.plus(-2 * MARGIN_US), Timestamp(i64::MAX)).await?,
            None => Vec::new(),
        };
        let mut follower = Follower::new(store.clone(), tables.watermarks(store).await?, None);
        let tail = follower.poll().await?;
        let seen = follower.seen().clone();
        Ok(Self { tables, horizon, recent: recent.into_iter().map(Arc::new).collect(), tail, seen })
    }

    /// The hot set of this moment.
    #[must_use]
    pub fn hot(&self, rules: &Rules) -> HotSet {
        let mut hot = HotSet::from_archive(self.recent.clone(), self.horizon, rules);
        for commit in &self.tail {
            for observation in &commit.rows.observations {
                hot.add(Arc::new(observation.clone()));
            }
        }
        hot
    }
}

/// The view of a store for a process that only reads it.
///
/// # Errors
/// The store fails.
pub async fn load_view(store: &Store, rules: &Rules, now: Timestamp) -> Result<View, PipelineError> {
    let loaded = Loaded::read(store).await?;
    let (hot, _) = loaded.hot(rules).batches(rules, now)?;
    Ok(loaded.tables.view(loaded.horizon, hot, &loaded.tail))
}
