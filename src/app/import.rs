//! `polymeter import`: one-shot backfill through the same pipeline; returns when its records can be queried.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use super::rules;
use crate::clock::{Clock, SystemClock};
use crate::collect::{ObjectEntry, Objects};
use crate::journal::{Commit, Follower, Journal, Positions};
use crate::model::{MINUTE_US, RecordId, Rows, Timestamp};
use crate::pipeline::{Ingest, Tables, Totals};
use crate::settle::Rules;
use crate::sources::LogFormat;
use crate::sources::azure::{AzureConfig, AzureDiagnostics};
use crate::sources::bedrock::{BedrockConfig, BedrockLog};
use crate::sources::otlp::{OtlpConfig, OtlpSpans};
use crate::store::{FileLock, Store};

/// Pause between two plain lines of progress.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Objects that are read at once: one for each core of a small machine.
const AT_ONCE: usize = 2;
/// Rows after which an import that settles for itself does so.
const SETTLE_ROWS: usize = 300_000;
/// How far the horizon of an import lies behind now.
const HOT_US: i64 = 15 * MINUTE_US;
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
}

/// What to import, from where, into what.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Format of the records.
    pub kind: ImportKind,
    /// Files, folders and `s3://` or `az://` prefixes.
    pub locations: Vec<String>,
    /// Data location.
    pub data: String,
    /// Name of the source in `witnesses`; the kind by default.
    pub source: Option<String>,
    /// Principal to team.
    pub principals: BTreeMap<String, String>,
    /// What Azure deployments are.
    pub azure: AzureConfig,
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
    let store = Store::open(&options.data).await?;
    let found = find(&options).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (writer, _writer_lock) = writer(&store, &clock)?;
    let settle_lock = store.local().map(|dir| FileLock::try_acquire(dir, "settle.lock")).transpose()?;
    // On an object store every process may settle: the table's own marks fence them.
    let settles = settle_lock.as_ref().is_none_or(Option::is_some);
    let before = Tables::open(&store).await?;
    let (commits, inbox) = mpsc::unbounded_channel();
    let journal = Journal::open(&store, &writer, commits).await?;
    let rules = rules::rules(&store, options.principals.clone()).await?;
    let settling = settles.then(|| {
        let task = settle_as_it_comes(store.clone(), before.clone(), Arc::clone(&rules), Arc::clone(&clock), inbox);
        #[expect(clippy::disallowed_methods, reason = "awaited below")]
        tokio::spawn(task)
    });
    let seen = Seen::default();
    let progress = Progress::new(&found);
    let (totals, objects) = read_all(&options, &found, journal.clone(), &clock, &seen, &progress).await?;
    progress.settling();
    let last = journal.append(Rows::default(), Positions::new()).await?;
    drop(journal);
    match settling {
        Some(task) => task.await.context("settling was interrupted")??,
        None => wait_for_settle(&store, &rules, &clock, &writer, last).await?,
    }
    let duplicates = seen.duplicates(&before).await?;
    progress.end();
    Ok(ImportSummary {
        records: totals.records,
        observations: totals.observations,
        skipped: totals.skipped,
        quarantined: totals.quarantined,
        duplicates,
        metrics: totals.metrics,
        objects,
    })
}

struct Found {
    objects: Objects,
    entries: Vec<ObjectEntry>,
}

async fn find(options: &ImportOptions) -> anyhow::Result<Vec<Found>> {
    let format = format(options);
    let mut found = Vec::new();
    for location in &options.locations {
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
    }
}

async fn read_all(
    options: &ImportOptions,
    found: &[Found],
    journal: Journal,
    clock: &Arc<dyn Clock>,
    seen: &Seen,
    progress: &Progress,
) -> anyhow::Result<(Totals, u64)> {
    let format = format(options);
    let source = options.source.clone().unwrap_or_else(|| format.name().to_owned());
    let ingest = Ingest { source: source.as_str().into(), format, journal, clock: Arc::clone(clock) };
    let all = found.iter().flat_map(|found| found.entries.iter().map(move |entry| (&found.objects, entry)));
    let read = stream::iter(all).map(|(objects, entry)| {
        let ingest = &ingest;
        async move {
            let none = |_| Positions::new();
            let totals = ingest.object(objects, entry, 0, false, none, |rows| seen.take(rows)).await?;
            progress.advance(entry.size);
            anyhow::Ok(totals.totals)
        }
    });
    let add = |(mut sum, objects): (Totals, u64), totals: Totals| async move {
        sum.add(totals);
        Ok((sum, objects + 1))
    };
    read.buffer_unordered(AT_ONCE).try_fold((Totals::default(), 0), add).await
}

/// Ids and time range of what this import read.
#[derive(Default)]
struct Seen(Mutex<Ids>);

#[derive(Default)]
struct Ids {
    ids: Vec<RecordId>,
    range: Option<(Timestamp, Timestamp)>,
}

impl Seen {
    fn take(&self, rows: &Rows) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for observation in &rows.observations {
            seen.ids.push(observation.observation_id);
            let (first, last) = seen.range.unwrap_or((observation.ts, observation.ts));
            seen.range = Some((first.min(observation.ts), last.max(observation.ts)));
        }
    }

    /// How many were in the store before, or came twice.
    async fn duplicates(&self, before: &Tables) -> anyhow::Result<u64> {
        let Ids { ids, range } = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let Some((first, last)) = range else { return Ok(0) };
        let known: HashSet<RecordId> = before.archive.ids(first, last.plus(1)).await?.into_iter().collect();
        let mut fresh = HashSet::with_capacity(ids.len());
        let again = ids.iter().filter(|id| known.contains(*id) || !fresh.insert(**id)).count();
        Ok(u64::try_from(again)?)
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
        if let Some(lock) = FileLock::try_acquire(dir, &format!("{name}.lock"))? {
            return Ok((name, Some(lock)));
        }
    }
    bail!("{WRITERS} imports into {} run already", dir.display())
}

/// Settles what arrives in portions; returns when the journal is closed and all is settled.
async fn settle_as_it_comes(
    store: Store,
    mut tables: Tables,
    rules: Arc<Rules>,
    clock: Arc<dyn Clock>,
    mut commits: mpsc::UnboundedReceiver<Commit>,
) -> anyhow::Result<()> {
    // What earlier processes journaled but did not settle is settled with it.
    let mut tail = unsettled_tail(&store, &tables).await?;
    let mut left = tables.unsettled(&store).await?;
    loop {
        let commit = commits.recv().await;
        let ended = commit.is_none();
        tail.extend(commit.filter(|commit| {
            !tail.iter().any(|other: &Commit| other.writer == commit.writer && other.sequence == commit.sequence)
        }));
        let rows: usize = tail.iter().map(|commit| commit.rows.len()).sum();
        if ended || rows >= SETTLE_ROWS {
            let horizon = clock.now().plus(-HOT_US).floor(MINUTE_US);
            let horizon = tables.calls.basis().await?.map_or(horizon, |(_, before)| before.max(horizon));
            let outcome = settle_stubbornly(&store, tables, &tail, left, horizon, &rules, clock.now()).await?;
            tables = outcome;
            left = BTreeSet::new();
            tail.clear();
        }
        if ended {
            return Ok(());
        }
    }
}

async fn unsettled_tail(store: &Store, tables: &Tables) -> anyhow::Result<Vec<Commit>> {
    let mut follower = Follower::new(store.clone(), tables.watermarks(store).await?, None);
    Ok(follower.poll().await?)
}

/// A concurrent settle on an object store may win a commit: reload and repeat.
async fn settle_stubbornly(
    store: &Store,
    tables: Tables,
    tail: &[Commit],
    left: BTreeSet<Timestamp>,
    horizon: Timestamp,
    rules: &Arc<Rules>,
    now: Timestamp,
) -> anyhow::Result<Tables> {
    let mut attempt = 1;
    loop {
        match tables.clone().settle(store, tail, left.clone(), horizon, rules, now).await {
            Ok(outcome) => return Ok(outcome.tables),
            Err(error) if attempt == 5 => {
                return Err(error).context(
                    "settling failed; the records are in the journal and are settled by the next serve or import",
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200 * attempt)).await,
        }
        attempt += 1;
    }
}

/// A serving process settles: wait until its ledger covers our last object. If it dies meanwhile, the role is ours.
async fn wait_for_settle(
    store: &Store,
    rules: &Arc<Rules>,
    clock: &Arc<dyn Clock>,
    writer: &str,
    last: u64,
) -> anyhow::Result<()> {
    let mut tables = Tables::open(store).await?;
    loop {
        tables.refresh().await?;
        let covered = tables.archive.table().version();
        let settled = tables.calls.basis().await?.is_some_and(|(version, _)| version >= covered);
        if settled && tables.archive.watermark(writer).await? >= last {
            return Ok(());
        }
        if let Some(dir) = store.local()
            && let Some(_role) = FileLock::try_acquire(dir, "settle.lock")?
        {
            let (closed, inbox) = mpsc::unbounded_channel();
            drop(closed);
            return settle_as_it_comes(store.clone(), tables, Arc::clone(rules), Arc::clone(clock), inbox).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
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
