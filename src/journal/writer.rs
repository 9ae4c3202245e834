//! Group commit: everything that waits goes into one object, the next one starts when the last is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::{Error as StoreErr, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::encode::CHECKSUM_LEN;
use super::positions::{Carried, State};
use super::read::newest_of;
use super::{Commit, JournalError, JournalObject, Positions, object_name};
use crate::model::Rows;
use crate::store::{FULL_ROWS, Store};
use crate::telemetry::{crash_point, metrics};

/// Rows that one object holds at most; a larger append is still one object.
const MAX_GROUP_ROWS: usize = 50_000;
/// Bytes of rows in memory that may wait for a commit.
const MAX_WAITING_BYTES: usize = 256 << 20;
/// How long an append waits for its turn before it is told to come back.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Tries to make one object durable before its callers are told.
const ATTEMPTS: u32 = 4;

struct Request {
    rows: Rows,
    positions: Positions,
    done: oneshot::Sender<Result<u64, Arc<JournalError>>>,
}

/// The writing end of the journal, for one writer id. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Journal {
    requests: mpsc::Sender<Request>,
    waiting: Arc<Semaphore>,
    writer: Arc<str>,
    positions: Arc<Positions>,
    braked: Arc<AtomicBool>,
    batch_rows: usize,
}

impl Journal {
    /// Opens the writer `writer` and continues behind its newest object and behind `settled`, the highest number that
    /// the tables know of it. Every commit is also sent to `commits`, if there is somebody to follow them.
    ///
    /// # Errors
    /// The store can't be listed or read.
    pub async fn open(
        store: &Store,
        writer: &str,
        settled: u64,
        commits: Option<mpsc::UnboundedSender<Commit>>,
    ) -> Result<Self, JournalError> {
        let (newest, state) = newest_of(store, writer).await?;
        if newest < settled {
            // A number that the tables cover would be taken for settled and never be looked at.
            warn!(
                journal.writer = writer,
                newest, settled, "objects of the journal were removed, continuing behind the tables"
            );
        }
        let sequence = newest.max(settled);
        let (requests, inbox) = mpsc::channel(1024);
        let writer: Arc<str> = writer.into();
        let positions = Arc::new(state.positions.clone());
        let task = Writer {
            store: store.clone(),
            writer: Arc::clone(&writer),
            sequence,
            state,
            commits,
            doubtful: Vec::new(),
        };
        #[expect(clippy::disallowed_methods, reason = "ends by itself when the last handle is dropped")]
        tokio::spawn(task.run(inbox));
        let waiting = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Ok(Self { requests, waiting, writer, positions, braked: Arc::default(), batch_rows: store.commit_rows() })
    }

    /// This writer's id.
    #[must_use]
    pub fn writer(&self) -> &Arc<str> {
        &self.writer
    }

    /// Rows that one append should carry at most.
    #[must_use]
    pub const fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// Resolves when the journal can take no more: another process claims its writer.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }

    /// Where the sources stood when the writer was opened.
    #[must_use]
    pub fn positions_at_start(&self) -> &Positions {
        &self.positions
    }

    /// While it is set, appends fail with [`JournalError::Busy`]: what is not settled yet fills the memory.
    #[must_use]
    pub fn brake(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.braked)
    }

    /// Makes rows and positions durable together and returns the sequence number of their object. Cancel-safe in the
    /// sense that a dropped call may or may not have been committed.
    ///
    /// # Errors
    /// The store failed several times or too much waits (try again later; redelivery is harmless), or the journal has
    /// stopped.
    pub async fn append(&self, rows: Rows, positions: Positions) -> Result<u64, Arc<JournalError>> {
        if self.braked.load(Ordering::Relaxed) && !rows.is_empty() {
            return Err(Arc::new(JournalError::Busy));
        }
        let turn = timeout(MAX_WAIT, self.waiting.acquire_many(weight(&rows, &positions))).await;
        let _permit = turn.map_err(|_| Arc::new(JournalError::Busy))?.map_err(|_| stopped())?;
        self.send(rows, positions).await
    }

    /// Like [`Journal::append`] for those who can wait: sources that are read again from where they stand.
    ///
    /// # Errors
    /// The store failed several times, or the journal has stopped.
    pub async fn append_patiently(&self, rows: Rows, positions: Positions) -> Result<u64, Arc<JournalError>> {
        while self.braked.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let _permit = self.waiting.acquire_many(weight(&rows, &positions)).await.map_err(|_| stopped())?;
        self.send(rows, positions).await
    }

    async fn send(&self, rows: Rows, positions: Positions) -> Result<u64, Arc<JournalError>> {
        let (done, outcome) = oneshot::channel();
        self.requests.send(Request { rows, positions, done }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

fn stopped() -> Arc<JournalError> {
    Arc::new(JournalError::Stopped)
}

/// Bytes of memory, as permits.
fn weight(rows: &Rows, positions: &Positions) -> u32 {
    u32::try_from((rows.weight() + positions.weight()).clamp(1, MAX_WAITING_BYTES)).unwrap_or(u32::MAX)
}

struct Writer {
    store: Store,
    writer: Arc<str>,
    sequence: u64,
    state: State,
    commits: Option<mpsc::UnboundedSender<Commit>>,
    /// Checksums of objects that may have landed under the next sequence number although the store answered with an
    /// error.
    doubtful: Vec<Vec<u8>>,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let interval = self.store.commit_interval();
        let mut last = Instant::now().checked_sub(interval).unwrap_or_else(Instant::now);
        while let Some(first) = inbox.recv().await {
            if first.rows.len() < FULL_ROWS {
                tokio::time::sleep_until(last + interval).await;
            }
            let mut group = vec![first];
            let mut rows = group.iter().map(|request| request.rows.len()).sum::<usize>();
            while rows < MAX_GROUP_ROWS {
                let Ok(request) = inbox.try_recv() else { break };
                rows += request.rows.len();
                group.push(request);
            }
            last = Instant::now();
            let outcome = self.commit(&mut group).await.map_err(Arc::new);
            metrics::journal_commit(last.elapsed(), rows, outcome.is_ok());
            let foreign = matches!(outcome.as_ref().map_err(AsRef::as_ref), Err(JournalError::Foreign { .. }));
            for request in group {
                // A caller that went away needs no answer.
                let _ = request.done.send(outcome.clone());
            }
            if foreign {
                error!(journal.writer = %self.writer, "another process writes under this writer id, stopping");
                return;
            }
        }
    }

    async fn commit(&mut self, group: &mut [Request]) -> Result<u64, JournalError> {
        let (mut rows, mut changes) = (Rows::default(), Positions::default());
        for request in group {
            rows.append(std::mem::take(&mut request.rows));
            changes.merge(std::mem::take(&mut request.positions));
        }
        let rows = Arc::new(rows);
        loop {
            let sequence = self.sequence + 1;
            let carried = self.state.carry(changes.clone());
            let bytes = encode(&self.writer, sequence, carried.clone(), &rows).await?;
            let checksum = bytes.get(bytes.len().saturating_sub(CHECKSUM_LEN)..).unwrap_or_default().to_vec();
            self.doubtful.push(checksum);
            crash_point("journal.before_put");
            let landed = self.place(sequence, bytes).await?;
            crash_point("journal.after_put");
            match landed {
                None => {
                    self.landed(sequence, &carried, rows);
                    return Ok(sequence);
                }
                // An earlier group, whose callers were told that its outcome is unknown, stands under this number.
                Some(earlier) => self.landed(sequence, &earlier.carried, Arc::new(earlier.rows)),
            }
        }
    }

    fn landed(&mut self, sequence: u64, carried: &Carried, rows: Arc<Rows>) {
        self.sequence = sequence;
        self.state.take(sequence, carried);
        self.doubtful.clear();
        if let Some(commits) = &self.commits {
            // Without a receiver the object itself is enough.
            let _ = commits.send(Commit { writer: Arc::clone(&self.writer), sequence, rows });
        }
    }

    /// Makes the newest doubtful object durable under `sequence`; returns the other one of ours that stands there, if
    /// one does.
    async fn place(&self, sequence: u64, bytes: Vec<u8>) -> Result<Option<JournalObject>, JournalError> {
        let name = object_name(&self.writer, sequence);
        let path = self.store.path(&name);
        let bytes = bytes::Bytes::from(bytes);
        let mut pause = Duration::from_millis(50);
        let mut attempt = 1;
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let failed = match self.store.objects().put_opts(&path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(None),
                Err(StoreErr::AlreadyExists { .. }) => return self.identify(&path, sequence, &bytes).await,
                Err(error) => error,
            };
            if attempt == ATTEMPTS {
                return Err(JournalError::Store { object: name, source: failed });
            }
            warn!(journal.object = %name, attempt, error = %failed, "journal commit failed, will retry under the same number");
            tokio::time::sleep(pause).await;
            pause *= 3;
            attempt += 1;
        }
    }

    async fn identify(
        &self,
        path: &object_store::path::Path,
        sequence: u64,
        ours: &[u8],
    ) -> Result<Option<JournalObject>, JournalError> {
        let store = |source| JournalError::Store { object: path.to_string(), source };
        let found = self.store.objects().get(path).await.map_err(store)?.bytes().await.map_err(store)?;
        if found.as_ref() == ours {
            return Ok(None);
        }
        let foreign = || JournalError::Foreign { writer: self.writer.to_string(), sequence };
        let checksum = found.get(found.len().saturating_sub(CHECKSUM_LEN)..).unwrap_or_default();
        if !self.doubtful.iter().any(|ours| ours.as_slice() == checksum) {
            return Err(foreign());
        }
        JournalObject::decode(&found).map(Some).map_err(|_| foreign())
    }
}

async fn encode(writer: &Arc<str>, sequence: u64, carried: Carried, rows: &Arc<Rows>) -> Result<Vec<u8>, JournalError> {
    let object = JournalObject { writer: writer.to_string(), sequence, carried, rows: Rows::clone(rows) };
    tokio::task::spawn_blocking(move || object.encode()).await.map_err(|_| JournalError::Stopped)?.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::model::Observation;

    /// An object store bills each request, and a backfill has many rows.
    #[tokio::test]
    async fn few_rows_wait_for_others_and_many_do_not() {
        let store = Store::open("s3://bucket/data").await.unwrap().wrapped(|_| Arc::new(InMemory::new()));
        let journal = Journal::open(&store, "writer", 0, None).await.unwrap();
        let append = async |rows: usize| {
            let one = Arc::new(Observation::default());
            let observations = vec![one; rows];
            let start = Instant::now();
            journal.append(Rows { observations, ..Rows::default() }, Positions::default()).await.unwrap();
            start.elapsed()
        };
        append(1).await;
        let (many, few) = (append(FULL_ROWS).await, append(1).await);
        assert!(many < few, "{many:?}, {few:?}");
    }
}
