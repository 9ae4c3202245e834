//! Following a configured source: list, read what is new or has grown, commit rows and position together, repeat.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Ingest;
use super::ingest::{IngestError, ObjectTotals};
use crate::collect::backoff::Backoff;
use crate::collect::{ObjectEntry, Objects};
use crate::journal::Positions;
use crate::model::HOUR_US;
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Position {
    objects: BTreeMap<String, Done>,
}

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
    let stored = ingest.journal.positions_at_start().get(&name).cloned();
    let mut position: Position = stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
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
        let done = position.objects.get(&key).cloned().unwrap_or_default();
        let held = done.offset < done.size && !may_grow(ingest, entry);
        if done.size == entry.size && done.etag == entry.etag && !held {
            continue;
        }
        let from = start_of(&done, entry);
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
    if failed == 0 {
        board.complete(name, started);
    }
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
    let mut next = position.clone();
    let growing = may_grow(ingest, entry);
    // Of an object at rest everything was read, line end or not.
    let read_to = |totals: ObjectTotals| if growing { totals.complete_to } else { entry.size };
    let totals = ingest
        .object(
            objects,
            entry,
            from,
            growing,
            |totals| {
                let done = Done { size: entry.size, etag: entry.etag.clone(), offset: read_to(totals) };
                next.objects.insert(key.clone(), done);
                Positions::from([(name, serde_json::to_string(&next).unwrap_or_default())])
            },
            |_| {},
        )
        .await?;
    *position = next;
    info!(source.id = %ingest.source, object.key = %key, records = totals.totals.records, "object read");
    Ok(totals.totals)
}
