//! The state of a store at one moment, from its tables and its journal: for the start of the daemon, for a process that
//! has lost the thread, and for processes that only read.

use std::sync::Arc;
use std::time::Duration;

use super::{HotSet, PipelineError, Tables};
use crate::journal::{Commit, JournalError, Missing, Tail, read_tail};
use crate::ledger::{LedgerError, View};
use crate::model::{Interval, Observation, Timestamp};
use crate::settle::{MARGIN_US, News, Rules};
use crate::store::Store;

/// Tries to read a moment while another process settles.
const ATTEMPTS: usize = 20;

/// A store's state: tables, what is hot of the archive, and what the ledger does not cover yet.
#[derive(Debug)]
pub struct Loaded {
    /// The tables.
    pub tables: Tables,
    /// The horizon of the ledger.
    pub horizon: Option<Timestamp>,
    /// Archived observations that hot calls may be made of and that the ledger covers.
    pub recent: Vec<Arc<Observation>>,
    /// Journal objects that the ledger does not cover.
    pub tail: Vec<Commit>,
    /// Highest sequence seen of each writer.
    pub seen: Tail,
    /// Highest sequence of each writer that the archive holds.
    pub archived: Tail,
}

impl Loaded {
    /// Reads one consistent moment: if a settle commits meanwhile, it is read again.
    ///
    /// # Errors
    /// The store fails.
    pub async fn read(store: &Store) -> Result<Self, PipelineError> {
        let mut attempt = 1;
        loop {
            let loaded = Self::read_once(store, attempt == ATTEMPTS).await;
            match &loaded {
                Ok(loaded) if attempt == ATTEMPTS || !loaded.is_old().await? => {}
                Err(PipelineError::Ledger(error)) if error.is_newer() => {}
                Err(PipelineError::Journal(JournalError::Newer { .. })) => {}
                Err(_) if attempt == ATTEMPTS => {}
                _ => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            }
            return loaded;
        }
    }

    async fn is_old(&self) -> Result<bool, LedgerError> {
        Ok(self.tables.calls.table().is_behind().await?)
    }

    async fn read_once(store: &Store, last_try: bool) -> Result<Self, PipelineError> {
        let tables = Tables::open(store).await?;
        let horizon = tables.horizon().await?;
        let covered = tables.covered(store).await?;
        // Neither journal nor ledger has it, and waiting did not help.
        let missing = if last_try { Missing::Skip } else { Missing::Refuse };
        let (tail, seen) = read_tail(store, &covered, usize::MAX, missing).await?;
        let archived = tables.archived(seen.keys().map(String::as_str)).await?;
        let recent = match horizon {
            Some(horizon) => {
                let near = Interval { from: horizon.plus(-MARGIN_US), to: Timestamp(i64::MAX) };
                let read = tables.archive.read(near).await?.into_iter().map(Arc::new).collect();
                // What the archive holds beyond the ledger is in the tail too.
                let ahead = tail.iter().filter(|commit| archived.get(&*commit.writer) >= Some(&commit.sequence));
                News::of(ahead.flat_map(|commit| &commit.rows.observations)).known(read)
            }
            None => Vec::new(),
        };
        Ok(Self { tables, horizon, recent, tail, seen, archived })
    }

    /// The hot set of this moment, with room for about `room` observations.
    #[must_use]
    pub fn hot(&self, room: usize, rules: &Rules) -> HotSet {
        let mut hot = HotSet::from_archive(self.recent.clone(), self.horizon, room, rules);
        for observation in self.tail.iter().flat_map(|commit| &commit.rows.observations) {
            hot.add(Arc::clone(observation));
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
    let (hot, _) = loaded.hot(usize::MAX, rules).batches(rules, now)?;
    Ok(loaded.tables.view(loaded.horizon, hot, &loaded.tail, &loaded.archived))
}
