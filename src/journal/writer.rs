//! Group commit: everything that waits goes into one object, the next one starts when the last is durable.

use std::sync::Arc;
use std::time::Duration;

use object_store::{Error as StoreErr, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use super::follow::newest_of;
use super::{Commit, JournalError, JournalObject, Positions, object_name};
use crate::model::Rows;
use crate::store::Store;
use crate::telemetry::{crash_point, metrics};

/// Rows that one object holds at most; a larger append is still one object.
const MAX_GROUP_ROWS: usize = 50_000;
/// Rows that may wait for a commit; beyond that `append` waits (back-pressure).
const MAX_WAITING_ROWS: usize = 400_000;
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
}

impl Journal {
    /// Opens the writer `writer` and continues behind its newest object. Every commit is also sent to `commits`.
    ///
    /// # Errors
    /// The store can't be listed or the newest object is damaged.
    pub async fn open(
        store: &Store,
        writer: &str,
        commits: mpsc::UnboundedSender<Commit>,
    ) -> Result<Self, JournalError> {
        let newest = newest_of(store, writer).await?;
        let (sequence, positions) = newest.map_or((0, Positions::new()), |object| (object.sequence, object.positions));
        let (requests, inbox) = mpsc::channel(1024);
        let writer: Arc<str> = writer.into();
        let positions_at_start = Arc::new(positions.clone());
        let task = Writer {
            store: store.clone(),
            writer: Arc::clone(&writer),
            sequence,
            positions,
            commits,
            doubtful: Vec::new(),
        };
        #[expect(clippy::disallowed_methods, reason = "ends by itself when the last handle is dropped")]
        tokio::spawn(task.run(inbox));
        Ok(Self {
            requests,
            waiting: Arc::new(Semaphore::new(MAX_WAITING_ROWS)),
            writer,
            positions: positions_at_start,
        })
    }

    /// This writer's id.
    #[must_use]
    pub fn writer(&self) -> &Arc<str> {
        &self.writer
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

    /// Makes rows and positions durable together and returns the sequence number of their object. Cancel-safe in the
    /// sense that a dropped call may or may not have been committed.
    ///
    /// # Errors
    /// The store failed several times (try again later; redelivery is harmless) or the journal has stopped.
    pub async fn append(&self, rows: Rows, positions: Positions) -> Result<u64, Arc<JournalError>> {
        let permits = u32::try_from(rows.len().clamp(1, MAX_WAITING_ROWS)).unwrap_or(u32::MAX);
        let stopped = || Arc::new(JournalError::Stopped);
        let _permit = self.waiting.acquire_many(permits).await.map_err(|_| stopped())?;
        let (done, outcome) = oneshot::channel();
        self.requests.send(Request { rows, positions, done }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

struct Writer {
    store: Store,
    writer: Arc<str>,
    sequence: u64,
    positions: Positions,
    commits: mpsc::UnboundedSender<Commit>,
    /// Objects that may have landed under the next sequence number although the store answered with an error.
    doubtful: Vec<(Vec<u8>, Arc<Rows>, Positions)>,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let interval = self.store.commit_interval();
        let mut last = Instant::now().checked_sub(interval).unwrap_or_else(Instant::now);
        while let Some(first) = inbox.recv().await {
            tokio::time::sleep_until(last + interval).await;
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
        let mut rows = Rows::default();
        let mut positions = self.positions.clone();
        for request in group {
            rows.append(std::mem::take(&mut request.rows));
            positions.append(&mut request.positions);
        }
        let rows = Arc::new(rows);
        loop {
            let sequence = self.sequence + 1;
            let bytes = encode(&self.writer, sequence, &positions, &rows).await?;
            self.doubtful.push((bytes, Arc::clone(&rows), positions.clone()));
            crash_point("journal.before_put");
            let landed = self.place(sequence).await?;
            crash_point("journal.after_put");
            // Something of ours stands under this number: it may be an earlier group whose outcome was unknown.
            let ours = landed + 1 == self.doubtful.len();
            let (_, landed_rows, landed_positions) = self.doubtful.swap_remove(landed);
            self.sequence = sequence;
            self.positions = landed_positions;
            let commit = Commit { writer: Arc::clone(&self.writer), sequence, rows: landed_rows };
            // Without a receiver (a one-shot import that settles later) the object itself is enough.
            let _ = self.commits.send(commit);
            self.doubtful.clear();
            if ours {
                return Ok(sequence);
            }
        }
    }

    /// Makes the newest doubtful object durable under `sequence`; returns the index of the one that stands there.
    async fn place(&self, sequence: u64) -> Result<usize, JournalError> {
        let name = object_name(&self.writer, sequence);
        let path = self.store.path(&name);
        let newest = self.doubtful.len() - 1;
        let mut pause = Duration::from_millis(50);
        let mut attempt = 1;
        loop {
            let Some((bytes, ..)) = self.doubtful.get(newest) else { return Err(JournalError::Stopped) };
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let failed = match self.store.objects().put_opts(&path, bytes.clone().into(), options).await {
                Ok(_) => return Ok(newest),
                Err(StoreErr::AlreadyExists { .. }) => return self.identify(&path, sequence).await,
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

    async fn identify(&self, path: &object_store::path::Path, sequence: u64) -> Result<usize, JournalError> {
        let store = |source| JournalError::Store { object: path.to_string(), source };
        let found = self.store.objects().get(path).await.map_err(store)?.bytes().await.map_err(store)?;
        self.doubtful
            .iter()
            .position(|(bytes, ..)| bytes.as_slice() == found.as_ref())
            .ok_or_else(|| JournalError::Foreign { writer: self.writer.to_string(), sequence })
    }
}

async fn encode(
    writer: &Arc<str>,
    sequence: u64,
    positions: &Positions,
    rows: &Arc<Rows>,
) -> Result<Vec<u8>, JournalError> {
    let object =
        JournalObject { writer: writer.to_string(), sequence, positions: positions.clone(), rows: Rows::clone(rows) };
    tokio::task::spawn_blocking(move || object.encode()).await.map_err(|_| JournalError::Stopped)?.map_err(Into::into)
}
