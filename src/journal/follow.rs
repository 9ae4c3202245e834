//! Following the journals of other writers. Numbers have no gaps, so the next object is asked for by its name: nothing is
//! listed but the names of writers, now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use super::read::{Found, find, is_set_aside, list_of, writers};
use super::{Commit, JournalError, Tail};
use crate::store::Store;
use crate::telemetry::metrics;

/// Pause between two looks for new writers and for gaps.
const DISCOVER_EVERY: Duration = Duration::from_secs(1);
/// Objects that one poll takes of one writer.
const AT_MOST: u64 = 500;

/// Follows the objects of all writers but one.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    seen: Tail,
    except: Option<Arc<str>>,
    discovered: Option<Instant>,
}

impl Follower {
    /// Follows from behind `seen`, leaving out the writer `except` (whose commits come directly).
    #[must_use]
    pub const fn new(store: Store, seen: Tail, except: Option<Arc<str>>) -> Self {
        Self { store, seen, except, discovered: None }
    }

    /// Highest sequence number handed out of each writer.
    #[must_use]
    pub const fn seen(&self) -> &Tail {
        &self.seen
    }

    /// Gives up on objects that nobody holds any more, neither journal nor archive: goes on behind the gap.
    pub fn skip_to(&mut self, writer: &str, next: u64) {
        error!(journal.writer = writer, next, "journal objects are missing that were never settled");
        metrics::journal_damaged();
        self.seen.insert(writer.to_owned(), next.saturating_sub(1));
    }

    /// The objects that were added since the last call, in order and without gaps per writer. A damaged object is set
    /// aside, logged and counted, and what lies behind it is still read.
    ///
    /// # Errors
    /// The store can't be listed or read: nothing of the writer in question counts as seen. [`JournalError::Gap`] if
    /// objects were settled and trimmed by somebody else before they were seen here.
    pub async fn poll(&mut self) -> Result<Vec<Commit>, JournalError> {
        let discover = self.discovered.is_none_or(|at| at.elapsed() >= DISCOVER_EVERY);
        let known: BTreeSet<String> =
            if discover { writers(&self.store).await? } else { self.seen.keys().cloned().collect() };
        let (mut commits, mut failed) = (Vec::new(), None);
        for writer in known {
            if self.except.as_deref() == Some(writer.as_str()) {
                continue;
            }
            // One writer's trouble must not keep back the others.
            if let Err(error) = self.poll_writer(&writer, discover, &mut commits).await {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            // What was read counts as seen, so it must be handed out; the error comes again with the next call.
            return if commits.is_empty() { Err(error) } else { Ok(commits) };
        }
        if discover {
            self.discovered = Some(Instant::now());
        }
        Ok(commits)
    }

    async fn poll_writer(
        &mut self,
        writer: &str,
        discover: bool,
        commits: &mut Vec<Commit>,
    ) -> Result<(), JournalError> {
        let first = *self.seen.entry(writer.to_owned()).or_insert(0) + 1;
        for next in first..first.saturating_add(AT_MOST) {
            match find(&self.store, writer, next).await? {
                Found::Object(object) => {
                    commits.push(Commit { writer: writer.into(), sequence: next, rows: Arc::new(object.rows) });
                }
                Found::SetAside => {}
                Found::Nothing if discover && self.is_behind(writer, next).await? => {
                    if !is_set_aside(&self.store, writer, next).await? {
                        return Err(JournalError::Gap { writer: writer.to_owned(), sequence: next });
                    }
                }
                Found::Nothing => break,
            }
            self.seen.insert(writer.to_owned(), next);
        }
        Ok(())
    }

    /// Whether there are objects behind one that is not there.
    async fn is_behind(&self, writer: &str, missing: u64) -> Result<bool, JournalError> {
        let objects = list_of(&self.store, writer).await?;
        let behind = objects.last().is_some_and(|newest| newest.sequence > missing);
        // It may have been created after it was asked for and before the listing.
        Ok(behind && !objects.iter().any(|object| object.sequence == missing))
    }
}
