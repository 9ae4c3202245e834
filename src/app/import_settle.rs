//! The settling half of an import: in portions, beside the reading; left to a server that holds the role.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::HOT_US;
use super::import::Seen;
use crate::clock::Clock;
use crate::journal::Commit;
use crate::pipeline::{PipelineError, Portion, Settler};
use crate::settle::Rules;

/// Rows after which an import settles, and that it settles at once.
pub const SETTLE_ROWS: usize = 25_000;
/// Rows that are handed over in memory at most, or one commit; what is beyond is read back from the journal.
const HELD_ROWS: usize = 4 * SETTLE_ROWS;
/// Files of the ledger beyond which an import merges some in the end, and merges that it does.
const MANY_FILES: usize = 200;
const MERGES: usize = 16;
/// Pause between two looks at what there is to settle.
const PAUSE: Duration = Duration::from_millis(200);

/// What the import has committed and not settled, as far as it is in memory: to read it back costs as much as to write it.
#[derive(Debug)]
pub struct Held {
    inbox: mpsc::UnboundedReceiver<Commit>,
    /// Oldest first.
    commits: VecDeque<Commit>,
    rows: usize,
    /// Commits were left out, and more are until the others are taken: there is one gap at a time.
    overflowed: bool,
}

impl Held {
    /// Holds what comes from the journal's writer.
    pub const fn new(inbox: mpsc::UnboundedReceiver<Commit>) -> Self {
        Self { inbox, commits: VecDeque::new(), rows: 0, overflowed: false }
    }

    fn hold(&mut self, commit: Commit) {
        let fits = self.commits.is_empty() || (!self.overflowed && self.rows + commit.rows.len() <= HELD_ROWS);
        self.overflowed = !fits;
        if fits {
            self.rows += commit.rows.len();
            self.commits.push_back(commit);
        }
    }

    fn pop(&mut self) -> Option<Commit> {
        let commit = self.commits.pop_front()?;
        self.rows -= commit.rows.len();
        Some(commit)
    }

    /// The oldest, about a portion, if they are what follows `covered`. Less than half a portion, as at the end of an
    /// import, is left to the journal.
    fn portion(&mut self, covered: u64) -> Option<Vec<Commit>> {
        while let Ok(commit) = self.inbox.try_recv() {
            self.hold(commit);
        }
        while self.commits.front().is_some_and(|commit| commit.sequence <= covered) {
            self.pop();
        }
        if self.rows < SETTLE_ROWS / 2 || self.commits.front()?.sequence != covered + 1 {
            return None;
        }
        let (mut portion, mut rows): (Vec<Commit>, _) = (Vec::new(), 0);
        while rows < SETTLE_ROWS
            && let Some(commit) = self.commits.front()
            && portion.last().is_none_or(|last| last.sequence + 1 == commit.sequence)
        {
            rows += commit.rows.len();
            portion.extend(self.pop());
        }
        Some(portion)
    }

    /// Lets go of everything: somebody else settles it.
    fn leave(&mut self) {
        self.commits.clear();
        self.rows = 0;
    }

    /// Takes in what comes while `work` goes on, so that it does not pile up unseen.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(commit) = self.inbox.recv() => self.hold(commit),
            }
        }
    }
}

/// Settles in portions what is read.
pub struct Settling {
    /// Does it.
    pub settler: Settler,
    /// By these rules.
    pub rules: Arc<Rules>,
    /// For `settled_at`.
    pub clock: Arc<dyn Clock>,
    /// Who writes what is read.
    pub writer: String,
    /// What that is.
    pub held: Held,
    /// How many rows are settled, or are left to another process to settle.
    pub settled: watch::Sender<usize>,
}

impl Settling {
    /// Returns when the ledger covers the last object, once that is known.
    ///
    /// # Errors
    /// The store fails.
    pub async fn run(mut self, seen: Arc<Seen>, mut last: watch::Receiver<Option<u64>>) -> anyhow::Result<()> {
        loop {
            let (end, settled) = (*last.borrow(), *self.settled.borrow());
            if let Some(end) = end {
                self.settler.tables.refresh().await?;
                if self.settler.tables.covered_of(&self.writer).await? >= end {
                    self.settle_others().await?;
                    self.merge_if_many().await;
                    let mut tables = self.settler.tables.clone();
                    return Ok(self.settler.role.release(&mut tables).await?);
                }
            }
            if end.is_some() || seen.count() >= settled + SETTLE_ROWS {
                let rows = self.portion().await?;
                // What an earlier import or another process left is settled too. Where somebody else settles, nobody waits.
                let settled = if rows > 0 { (settled + rows).min(seen.count()) } else { seen.count() };
                self.settled.send_replace(settled);
                if rows > 0 {
                    if rows >= self.settler.newcomers_from {
                        // A backfill, to its end: its last records are no different from those before.
                        self.settler.newcomers_from = 1;
                    }
                    continue;
                }
            }
            // The sender is dropped early only if reading failed; then there is nothing more to wait for.
            let change = self.held.meanwhile(tokio::time::timeout(PAUSE, last.changed())).await;
            let gone = change.is_ok_and(|changed| changed.is_err());
            if gone && last.borrow().is_none() {
                return Ok(());
            }
        }
    }

    /// What an earlier import that was killed left under another name, and no more than is there now.
    async fn settle_others(&mut self) -> anyhow::Result<()> {
        let heads = self.settler.journal_heads().await?;
        while !self.settler.covers(&heads).await? && self.portion().await? > 0 {}
        Ok(())
    }

    /// Objects that each hold many days leave many small files.
    async fn merge_if_many(&mut self) {
        let many = self.settler.tables.calls.table().files().is_ok_and(|files| files.len() > MANY_FILES);
        if many && let Err(error) = self.settler.upkeep(self.clock.now(), MERGES).await {
            warn!(error = &error as &dyn std::error::Error, "files can't be merged; `polymeter maintain` tries again");
        }
    }

    /// Settles a portion and returns its rows. Tries again what another process on the same object store may have
    /// overtaken.
    async fn portion(&mut self) -> anyhow::Result<usize> {
        let covered = self.settler.tables.covered_of(&self.writer).await?;
        let mut held = self.held.portion(covered);
        let mut attempt = 1;
        loop {
            let (now, rules) = (self.clock.now(), Arc::clone(&self.rules));
            let settled = match held.take() {
                Some(tail) => self.held.meanwhile(self.settler.settle_tail(tail, now, HOT_US, &rules)).await,
                None => {
                    let work = self.settler.settle_portion(SETTLE_ROWS, now, HOT_US, &rules, false);
                    self.held.meanwhile(work).await
                }
            };
            match settled {
                Ok(Portion::Settled(rows)) => return Ok(rows),
                Ok(Portion::Small) => return Ok(0),
                Err(PipelineError::RoleTaken) => {
                    self.held.leave();
                    return Ok(0);
                }
                Err(error) if attempt == 5 => {
                    return Err(error).context(
                        "settling failed; the records are in the journal and are settled by the next serve or import",
                    );
                }
                Err(_) => self.held.meanwhile(tokio::time::sleep(Duration::from_millis(200 * attempt))).await,
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Observation, Rows};

    fn commit(sequence: u64, rows: usize) -> Commit {
        let one = Arc::new(Observation::default());
        let observations = vec![one; rows];
        let rows = Arc::new(Rows { observations, ..Rows::default() });
        Commit { writer: "import-0".into(), sequence, rows }
    }

    fn sequences(portion: Option<Vec<Commit>>) -> Option<Vec<u64>> {
        portion.map(|commits| commits.iter().map(|commit| commit.sequence).collect())
    }

    #[test]
    fn only_what_follows_the_ledger_is_taken_from_memory() {
        let (sender, inbox) = mpsc::unbounded_channel();
        let mut held = Held::new(inbox);
        for sequence in 3..=8 {
            sender.send(commit(sequence, SETTLE_ROWS / 2)).unwrap();
        }
        // An earlier import left something that is not settled.
        assert_eq!(sequences(held.portion(1)), None);
        assert_eq!(sequences(held.portion(2)), Some(vec![3, 4]));
        // Another process has settled some.
        assert_eq!(sequences(held.portion(6)), Some(vec![7, 8]));
        sender.send(commit(9, SETTLE_ROWS / 2 - 1)).unwrap();
        assert_eq!(sequences(held.portion(8)), None, "too little");
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_journal() {
        let (sender, inbox) = mpsc::unbounded_channel();
        let mut held = Held::new(inbox);
        for sequence in 1..=100 {
            sender.send(commit(sequence, SETTLE_ROWS)).unwrap();
        }
        for covered in 0..4 {
            assert_eq!(sequences(held.portion(covered)), Some(vec![covered + 1]));
        }
        assert!(held.portion(4).is_none() && held.rows == 0);
        for sequence in 101..=103 {
            sender.send(commit(sequence, SETTLE_ROWS)).unwrap();
        }
        assert_eq!(sequences(held.portion(4)), None, "read from the journal until there is no gap");
        assert_eq!(sequences(held.portion(101)), Some(vec![102]));
    }

    #[tokio::test]
    async fn what_comes_while_nothing_is_settled_is_bounded() {
        let (sender, inbox) = mpsc::unbounded_channel();
        let mut held = Held::new(inbox);
        for sequence in 1..=10 {
            sender.send(commit(sequence, SETTLE_ROWS)).unwrap();
        }
        held.meanwhile(tokio::time::sleep(Duration::from_millis(10))).await;
        assert!(held.inbox.is_empty());
        assert_eq!(held.rows, HELD_ROWS);
        held.leave();
        assert_eq!((held.rows, held.commits.len()), (0, 0));
        sender.send(commit(11, SETTLE_ROWS)).unwrap();
        assert_eq!(sequences(held.portion(10)), Some(vec![11]), "the other has gone");
    }
}
