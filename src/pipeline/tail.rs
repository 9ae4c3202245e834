//! Following a configured source: list, read what is new or has grown, commit rows and position together, repeat.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Ingest;
use super::ingest::{IngestError, ObjectTotals};
use crate::collect::backoff::Backoff;
use crate::collect::{ObjectEntry, Objects};
use crate::journal::Positions;
use crate::model::{HOUR_US, Rows};
use crate::telemetry::{SourceBoard, metrics};

/// An object that was changed this recently may be changed again: its last line may be cut.
const GROWING_US: i64 = 2 * HOUR_US;

/// How a source is followed.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// Pause between two listings.
    pub poll_every: Duration,
}

/// Position of a source: what was read of each object.
type Position = BTreeMap<String, Done>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    size: u64,
    etag: Option<String>,
    offset: u64,
}

/// Follows the objects at `location` until `cancel`. Failures are retried with growing pauses and shown on the board.
pub async fn tail_source(
    ingest: Ingest,
    location: String,
    options: TailOptions,
    board: SourceBoard,
    cancel: CancellationToken,
) {
    let name = ingest.source.to_string();
    let stored = ingest.journal.positions_at_start().of(&name);
    let mut position: Position =
        stored.filter_map(|(key, done)| Some((key.to_owned(), serde_json::from_str(done).ok()?))).collect();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    board.update(&name, |status| {
        status.kind = ingest.format.name().to_owned();
        status.location.clone_from(&location);
        status.state = "starting";
    });
    loop {
        let pause = tokio::select! {
            () = cancel.cancelled() => return,
            swept = sweep(&ingest, &location, &mut position, &board) => match swept {
                Ok(()) => {
                    backoff.reset();
                    options.poll_every
                }
                Err(error) => {
                    metrics::source_error(&name);
                    let pause = backoff.pause();
                    let text = crate::telemetry::chain(&error);
                    warn!(source.id = %name, error = %text, retry_ms = pause.as_millis(), "source can't be read, will retry");
                    board.update(&name, |status| {
                        status.state = "retrying";
                        status.last_error = Some(text);
                    });
                    pause
                }
            },
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn sweep(
    ingest: &Ingest,
    location: &str,
    position: &mut Position,
    board: &SourceBoard,
) -> Result<(), IngestError> {
    let name = &*ingest.source;
    let started = ingest.clock.now();
    let objects = Objects::open(location).await?;
    let (entries, explicit) = objects.list().await?;
    let mut failed = 0;
    for entry in entries.iter().filter(|entry| explicit || ingest.format.wants(entry.path.as_ref())) {
        let key = entry.path.to_string();
        let done = position.get(&key).cloned().unwrap_or_default();
        let held = done.offset < done.size && !may_grow(ingest, entry);
        if done.size == entry.size && done.etag == entry.etag && !held {
            continue;
        }
        let from = start_of(&done, entry);
        if from > 0 && from == entry.size {
            // It grew between the listing and the reading, so all of it was read then.
            position.insert(key, Done { size: entry.size, etag: entry.etag.clone(), offset: from });
            continue;
        }
        match read(ingest, &objects, entry, from, position).await {
            Ok(totals) => board.update(name, |status| {
                status.records += totals.records;
                status.quarantined += totals.quarantined;
                status.last_record_at = Some(ingest.clock.now().to_string());
            }),
            Err(error @ IngestError::Pipeline(_)) => return Err(error),
            Err(error) => {
                failed += 1;
                metrics::source_error(name);
                let text = crate::telemetry::chain(&error);
                warn!(source.id = %name, object.key = %key, error = %text, "object can't be read, will retry");
                board.update(name, |status| status.last_error = Some(text));
            }
        }
    }
    board.update(name, |status| status.failed_objects = failed);
    forget_gone(ingest, &entries, position).await?;
    if failed == 0 {
        board.complete(name, started);
    }
    Ok(())
}

/// Objects that are no longer there (a lifecycle rule removed them) need not be remembered.
async fn forget_gone(ingest: &Ingest, entries: &[ObjectEntry], position: &mut Position) -> Result<(), IngestError> {
    let there: HashSet<&str> = entries.iter().map(|entry| entry.path.as_ref()).collect();
    let gone: Vec<String> = position.keys().filter(|key| !there.contains(key.as_str())).cloned().collect();
    if gone.is_empty() {
        return Ok(());
    }
    let mut changes = Positions::default();
    for key in &gone {
        changes.forget(&ingest.source, key);
        position.remove(key);
    }
    ingest.journal.append_patiently(Rows::default(), changes).await.map_err(super::PipelineError::from)?;
    Ok(())
}

/// An object that grew is read on from its last whole line, as is one whose cut line is not waited for any longer; one
/// that changed otherwise was made anew. Compressed objects are written once, so a change means a new object.
fn start_of(done: &Done, entry: &ObjectEntry) -> u64 {
    let same = entry.size > done.size || (entry.size == done.size && entry.etag == done.etag);
    if same && !is_compressed(entry) { done.offset } else { 0 }
}

fn is_compressed(entry: &ObjectEntry) -> bool {
    entry.path.as_ref().ends_with(".gz")
}

fn may_grow(ingest: &Ingest, entry: &ObjectEntry) -> bool {
    !is_compressed(entry) && ingest.clock.now().0.saturating_sub(entry.modified.0) < GROWING_US
}

async fn read(
    ingest: &Ingest,
    objects: &Objects,
    entry: &ObjectEntry,
    from: u64,
    position: &mut Position,
) -> Result<super::Totals, IngestError> {
    let key = entry.path.to_string();
    let name = ingest.source.to_string();
    let growing = may_grow(ingest, entry);
    let mut done = Done { size: entry.size, etag: entry.etag.clone(), offset: entry.size };
    let note = |totals: ObjectTotals| {
        // Of an object at rest everything was read, line end or not.
        if growing {
            done.offset = totals.complete_to;
        }
        let mut changes = Positions::default();
        changes.set(&name, &key, serde_json::to_string(&done).unwrap_or_default());
        changes
    };
    let totals = ingest.object(objects, entry, from, growing, note, |_| {}).await?;
    position.insert(key.clone(), done);
    info!(source.id = %ingest.source, object.key = %key, records = totals.totals.records, "object read");
    Ok(totals.totals)
}
