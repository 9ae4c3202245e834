//! `polymeter import`: one-shot backfill through the same pipeline; returns when its records can be queried.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::import_logs::LogRange;
use super::import_settle::{Held, SETTLE_ROWS, Settling};
use super::rules;
use crate::clock::{Clock, SystemClock};
use crate::collect::{ObjectEntry, Objects};
use crate::config::{FormatConfig, Said};
use crate::journal::Positions;
use crate::ledger::Retention;
use crate::model::{Interval, Quarantined, RecordId, Rows, Timestamp};
use crate::pipeline::{Ingest, Settler, Tables, Totals};
use crate::sources::LogFormat;
use crate::sources::azure::{AzureConfig, AzureDiagnostics};
use crate::sources::bedrock::{BedrockConfig, BedrockLog};
use crate::sources::otlp::{OtlpConfig, OtlpSpans};
use crate::sources::vertex::{VertexConfig, VertexLog};
use crate::store::{FileLock, Store};

/// Pause between two plain lines of progress.
pub(super) const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Objects that are read at once: two cores are kept busy although each object waits for the disk in the end. More of
/// them spread what is settled at once over more of the time, and that costs more than waiting does.
const AT_ONCE: usize = 2;
/// Rows that reading may be ahead of settling: what is settled now, what is to be whole when its turn comes, and what is on
/// its way to the disk. What lies between the two is in the journal, and in memory.
const AHEAD_ROWS: usize = 2 * SETTLE_ROWS + SETTLE_ROWS / 8;
/// How long another holder of the settle role may show no sign of life.
const LEASE: Duration = Duration::from_secs(60);
/// Imports that may run beside each other on a local store.
const WRITERS: usize = 16;

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// Bedrock invocation logs.
    Bedrock,
    /// Azure diagnostics.
    Azure,
    /// OTLP/JSON files.
    Otlp,
    /// Request-response logs of Vertex AI.
    Vertex,
}

impl ImportKind {
    /// The kind of a configured source; `None` for counters, which lie nowhere.
    #[must_use]
    pub const fn of(format: &FormatConfig) -> Option<Self> {
        match format {
            FormatConfig::Bedrock(_) => Some(Self::Bedrock),
            FormatConfig::Azure(_) => Some(Self::Azure),
            FormatConfig::Otlp(_) => Some(Self::Otlp),
            FormatConfig::Vertex(_) => Some(Self::Vertex),
            FormatConfig::BedrockMetrics(_) | FormatConfig::OpenAiUsage(_) | FormatConfig::AnthropicUsage(_) => None,
        }
    }
}

/// What to import, from where, into what.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Format of the records.
    pub kind: ImportKind,
    /// Files, folders, `s3://`, `az://` or `gs://` prefixes, and log groups (`cloudwatch://`).
    pub locations: Vec<String>,
    /// Data location.
    pub data: String,
    /// Name of the source in `witnesses`; the kind by default.
    pub source: Option<String>,
    /// Prices and who pays, where a configuration says it.
    pub said: Said,
    /// What Azure deployments are.
    pub azure: AzureConfig,
    /// What is kept for how long.
    pub retention: Retention,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ImportSummary {
    /// Records read.
    pub records: u64,
    /// Observations made of them.
    pub observations: u64,
    /// Known non-calls.
    pub skipped: u64,
    /// Records set aside.
    pub quarantined: u64,
    /// Observations that the store held already, or that came twice in this import.
    pub duplicates: u64,
    /// Provider metrics made of them.
    pub metrics: u64,
    /// Objects read.
    pub objects: u64,
}

/// Imports and settles.
///
/// # Errors
/// A location, an object or the store can't be read or written.
pub async fn import(options: ImportOptions) -> anyhow::Result<ImportSummary> {
    Ok(run(options, None).await?.0)
}

/// Imports an object again because of the records in `set_aside`, and marks those of them as resolved that can be read
/// now; returns how many.
///
/// # Errors
/// A location, an object or the store can't be read or written.
pub async fn import_again(options: ImportOptions, set_aside: &[Quarantined]) -> anyhow::Result<usize> {
    Ok(run(options, Some(set_aside)).await?.1)
}

async fn run(options: ImportOptions, set_aside: Option<&[Quarantined]>) -> anyhow::Result<(ImportSummary, usize)> {
    let store = Store::open(&options.data).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let groups = options.locations.iter().filter(|location| LogRange::is(location));
    let groups = groups.map(|location| LogRange::parse(location, clock.now())).collect::<anyhow::Result<Vec<_>>>()?;
    if !groups.is_empty() && options.kind != ImportKind::Bedrock {
        bail!("a log group holds records of kind 'bedrock'");
    }
    let found = find(&options).await?;
    let (writer, _writer_lock) = writer(&store, &clock)?;
    let before = Tables::open(&store).await?;
    let (commits, inbox) = mpsc::unbounded_channel();
    let journal = before.journal(&store, &writer, Some(commits)).await?;
    rules::keep(&store, &options.said, SystemClock.now()).await?;
    let rules = rules::rules(&store, &options.said).await?;
    let mut settler = Settler::new(&store, before.clone(), options.retention, LEASE);
    // A day that is being filled would be merged again and again.
    settler.merges = 0;
    let (settled, pace) = watch::channel(0);
    let held = Held::new(inbox);
    let settling = Settling { settler, rules, clock: Arc::clone(&clock), writer: writer.clone(), held, settled };
    let seen = Arc::new(Seen::default());
    let (read, last) = watch::channel(None);
    #[expect(clippy::disallowed_methods, reason = "awaited below")]
    let settling = tokio::spawn(settling.run(Arc::clone(&seen), last));
    let progress = Progress::new(&found);
    let format = format(&options);
    let source = options.source.clone().unwrap_or_else(|| format.name().to_owned());
    let ingest = Ingest { source: source.as_str().into(), format, journal: journal.clone(), clock: Arc::clone(&clock) };
    let pace = Pace { seen: &seen, settled: pace };
    let (mut totals, objects) = read_all(&ingest, &found, &pace, &progress).await?;
    for group in &groups {
        totals.add(group.read(&ingest, async |rows| pace.take(rows).await).await?);
    }
    drop(ingest);
    progress.settling();
    let resolved = set_aside.map_or_else(Vec::new, |records| seen.resolved(records, clock.now()));
    let count = resolved.len();
    let end = Rows { quarantined: resolved, ..Rows::default() };
    read.send_replace(Some(journal.append_patiently(end, Positions::default()).await?));
    drop(journal);
    settling.await.context("settling was interrupted")??;
    let duplicates = seen.duplicates(&before).await?;
    progress.end();
    let summary = ImportSummary {
        records: totals.records,
        observations: totals.observations,
        skipped: totals.skipped,
        quarantined: totals.quarantined,
        duplicates,
        metrics: totals.metrics,
        objects,
    };
    Ok((summary, count))
}

struct Found {
    objects: Objects,
    entries: Vec<ObjectEntry>,
}

async fn find(options: &ImportOptions) -> anyhow::Result<Vec<Found>> {
    let format = format(options);
    let mut found = Vec::new();
    for location in options.locations.iter().filter(|location| !LogRange::is(location)) {
        let objects = Objects::open(location).await?;
        let (mut entries, explicit) = objects.list().await?;
        entries.retain(|entry| explicit || format.wants(entry.path.as_ref()));
        if entries.is_empty() {
            bail!("there is nothing to import at '{location}'");
        }
        found.push(Found { objects, entries });
    }
    Ok(found)
}

fn format(options: &ImportOptions) -> Arc<dyn LogFormat> {
    match options.kind {
        ImportKind::Bedrock => Arc::new(BedrockLog::new(BedrockConfig::default())),
        ImportKind::Azure => Arc::new(AzureDiagnostics::new(options.azure.clone())),
        ImportKind::Otlp => Arc::new(OtlpSpans::new(OtlpConfig::default())),
        ImportKind::Vertex => Arc::new(VertexLog::new(VertexConfig::default())),
    }
}

async fn read_all(
    ingest: &Ingest,
    found: &[Found],
    pace: &Pace<'_>,
    progress: &Progress,
) -> anyhow::Result<(Totals, u64)> {
    let all = found.iter().flat_map(|found| found.entries.iter().map(move |entry| (&found.objects, entry)));
    let read = stream::iter(all).map(|(objects, entry)| async move {
        let none = |_| Positions::default();
        let totals = ingest.object(objects, entry, 0, false, none, async |rows| pace.take(rows).await).await?;
        progress.advance(entry.size);
        pace.seen.reach(totals.complete_to);
        anyhow::Ok(totals.totals)
    });
    let add = |(mut sum, objects): (Totals, u64), totals: Totals| async move {
        sum.add(totals);
        Ok((sum, objects + 1))
    };
    read.buffer_unordered(AT_ONCE).try_fold((Totals::default(), 0), add).await
}

/// Holds reading back.
struct Pace<'a> {
    seen: &'a Seen,
    settled: watch::Receiver<usize>,
}

impl Pace<'_> {
    /// Takes note of rows when settling is near enough.
    async fn take(&self, rows: &Rows) {
        // If settling has failed, that is told in the end; what is read is in the journal.
        let _ = self.settled.clone().wait_for(|settled| self.seen.count() < settled + AHEAD_ROWS).await;
        self.seen.take(rows);
    }
}

/// Ids, time range and number of what this import read.
#[derive(Default)]
pub struct Seen(Mutex<Ids>);

#[derive(Default)]
struct Ids {
    ids: Vec<RecordId>,
    /// Observations and everything else.
    rows: usize,
    /// Where records were set aside in the object that is read again.
    set_aside: BTreeSet<u64>,
    /// How far it reaches.
    reached: u64,
    range: Option<(Timestamp, Timestamp)>,
}

impl Seen {
    fn take(&self, rows: &Rows) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.rows += rows.len();
        seen.set_aside.extend(rows.quarantined.iter().map(|record| record.position));
        for observation in &rows.observations {
            seen.ids.push(observation.observation_id);
            let (first, last) = seen.range.unwrap_or((observation.ts, observation.ts));
            seen.range = Some((first.min(observation.ts), last.max(observation.ts)));
        }
    }

    /// Of the records in `before`, those that can be read now, as rows that say so: the object still reaches to where they
    /// lay, and nothing was set aside there again, for whatever reason.
    fn resolved(&self, before: &[Quarantined], now: Timestamp) -> Vec<Quarantined> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let readable =
            before.iter().filter(|record| record.position < seen.reached && !seen.set_aside.contains(&record.position));
        readable
            .map(|record| Quarantined {
                quarantine_id: record.quarantine_id,
                ts: now,
                observed_at: now,
                resolved_at: Some(now),
                ..Quarantined::default()
            })
            .collect()
    }

    fn reach(&self, position: u64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.reached = seen.reached.max(position);
    }

    /// How many rows were made of it.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rows
    }

    /// How many were in the store before, or came twice.
    async fn duplicates(&self, before: &Tables) -> anyhow::Result<u64> {
        let Ids { mut ids, range, .. } = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let Some((first, last)) = range else { return Ok(0) };
        let read = ids.len();
        // Sorted in place: there may be millions.
        ids.sort_unstable();
        ids.dedup();
        let mut known = before.archive.ids(Interval { from: first, to: last.plus(1) }).await?;
        known.sort_unstable();
        let fresh = ids.iter().filter(|id| known.binary_search(id).is_err()).count();
        Ok(u64::try_from(read - fresh)?)
    }
}

/// A writer id of our own: on a local store the first free of a few, so that journals don't multiply.
fn writer(store: &Store, clock: &Arc<dyn Clock>) -> anyhow::Result<(String, Option<FileLock>)> {
    let Some(dir) = store.local() else {
        return Ok((format!("import-{}-{}", clock.now().0, std::process::id()), None));
    };
    writer_on(dir)
}

fn writer_on(dir: &Path) -> anyhow::Result<(String, Option<FileLock>)> {
    for n in 0..WRITERS {
        let name = format!("import-{n}");
        if let Some(lock) = FileLock::try_acquire(dir, &format!("writer-{name}.lock"))? {
            return Ok((name, Some(lock)));
        }
    }
    bail!("{WRITERS} imports into {} run already", dir.display())
}

/// A bar on a terminal, a plain line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    plain: Option<Mutex<Instant>>,
}

impl Progress {
    fn new(found: &[Found]) -> Self {
        let bytes = found.iter().flat_map(|found| &found.entries).map(|entry| entry.size).sum();
        let bar = ProgressBar::new(bytes);
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            return Self { bar, plain: None };
        }
        bar.set_draw_target(ProgressDrawTarget::hidden());
        Self { bar, plain: Some(Mutex::new(Instant::now())) }
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Some(last) = &self.plain else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= PLAIN_EVERY {
            *last = Instant::now();
            let (done, all) = (self.bar.position() >> 20, self.bar.length().unwrap_or_default() >> 20);
            // Progress that nobody can read is no reason to stop.
            let _ = writeln!(std::io::stderr(), "imported {done} of {all} MiB");
        }
    }

    fn settling(&self) {
        self.bar.set_message("settling");
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::model::Observation;

    /// Whether it waits.
    async fn waits(mut work: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn reading_waits_for_settling_and_no_longer() {
        let one = Arc::new(Observation::default());
        let observations = vec![one; AHEAD_ROWS];
        let rows = Rows { observations, ..Rows::default() };
        let (settled, pace) = watch::channel(0);
        let seen = Seen::default();
        let pace = Pace { seen: &seen, settled: pace };
        assert!(!waits(pin!(pace.take(&rows))).await);
        let mut second = pin!(pace.take(&rows));
        assert!(waits(second.as_mut()).await && seen.count() == AHEAD_ROWS);
        settled.send_replace(1);
        assert!(!waits(second).await && seen.count() == 2 * AHEAD_ROWS);

        let mut third = pin!(pace.take(&rows));
        assert!(waits(third.as_mut()).await);
        drop(settled);
        assert!(!waits(third).await, "settling has failed; nobody waits for it");
    }
}
