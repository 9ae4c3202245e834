//! Files of a bill: found, unpacked, read. All of them or none.

use std::io::{IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::parquet_text;
use crate::app::rules::listed;
use crate::collect::{Inflate, ObjectEntry, Objects};
use crate::finance::bill::read::{self, Names, repeated};
use crate::finance::bill::{Bill, Format};
use crate::sheet::Problem;

/// A file that is larger when unpacked is read in parts, not at once.
const MOST_BYTES: u64 = 4 << 30;
/// Pause between two plain lines of progress.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Endings of files that are a bill, when a folder is looked through.
const ENDINGS: [&str; 9] =
    [".csv", ".csv.gz", ".gz", ".parquet", ".json", ".json.gz", ".jsonl", ".ndjson", ".csv.gzip"];

/// A file, read.
pub struct ReadFile {
    /// Whose export.
    pub format: Format,
    /// Its name.
    pub name: String,
    /// What it says.
    pub bill: Bill,
}

/// Reads everything at these locations. `format` is asked of each file, unless it is given.
pub async fn read_all(locations: &[String], format: Option<Format>, names: Names<'_>) -> anyhow::Result<Vec<ReadFile>> {
    let mut found: Vec<(Objects, ObjectEntry)> = Vec::new();
    for location in locations {
        let objects = Objects::open(location).await?;
        let (mut entries, explicit) = objects.list().await?;
        entries.retain(|entry| explicit || wanted(entry.path.as_ref()));
        if entries.is_empty() {
            bail!("there is no bill at '{location}': files end in .csv, .csv.gz, .json, .jsonl or .parquet");
        }
        found.extend(entries.into_iter().map(|entry| (objects.clone(), entry)));
    }
    let mut progress = Progress::new(found.iter().map(|(_, entry)| entry.size).sum());
    let (mut files, mut problems) = (Vec::new(), Vec::<Problem>::new());
    for (objects, entry) in &found {
        let name = shown(objects, entry);
        let reader = objects.reader(entry, 0).await?;
        let bytes = tokio::task::spawn_blocking(move || unpacked(reader)).await.context("reading was interrupted")?;
        let bytes = bytes.with_context(|| format!("{name} can't be read"))?;
        let format = match format.or_else(|| Format::detect(&bytes)) {
            Some(format) => format,
            None => bail!(
                "{name}:1: this is like no bill that is known; say what it is with --format aws-cur2, azure, openai or anthropic"
            ),
        };
        match read::read(format, &name, &bytes, names) {
            Ok(bill) => files.push(ReadFile { format, name, bill }),
            Err(mut more) => problems.append(&mut more),
        }
        progress.advance(entry.size);
    }
    progress.end();
    let bills: Vec<&Bill> = files.iter().map(|file| &file.bill).collect();
    problems.extend(repeated(&bills));
    if problems.is_empty() {
        return Ok(files);
    }
    Err(anyhow!("{}\nnothing was imported", listed(&problems)))
}

/// Manifests and the like lie beside the exports of a cloud.
fn wanted(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let beside = name.starts_with(['.', '_']) || name.ends_with("manifest.json") || path.contains("/metadata/");
    !beside && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// A path as it was given, or the object below a prefix.
fn shown(objects: &Objects, entry: &ObjectEntry) -> String {
    let name = entry.path.filename().unwrap_or_default();
    let text = objects.text();
    if text.ends_with(name) {
        text.to_owned()
    } else {
        format!("{}/{}", text.trim_end_matches('/'), below(text, entry))
    }
}

fn below(text: &str, entry: &ObjectEntry) -> String {
    let path = entry.path.as_ref();
    let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let found = path.find(&format!("{last}/")).filter(|_| !last.is_empty());
    found.and_then(|at| path.get(at + last.len() + 1..)).unwrap_or(path).to_owned()
}

/// Plain bytes of CSV or JSON, whatever they are packed in.
fn unpacked(reader: Box<dyn Read + Send>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = Inflate::new(reader)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    if u64::try_from(read)? == MOST_BYTES {
        bail!("it is larger than {} GiB; export it in parts", MOST_BYTES >> 30);
    }
    if bytes.starts_with(parquet_text::MAGIC) { parquet_text::as_csv(bytes) } else { Ok(bytes) }
}

/// A bar on a terminal, a plain line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    plain: Option<Instant>,
}

impl Progress {
    fn new(bytes: u64) -> Self {
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
            let bar = ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            return Self { bar, plain: None };
        }
        let bar = ProgressBar::hidden();
        bar.set_length(bytes);
        Self { bar, plain: Some(Instant::now()) }
    }

    fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        if let Some(last) = self.plain.as_mut().filter(|last| last.elapsed() >= PLAIN_EVERY) {
            *last = Instant::now();
            let (done, all) = (self.bar.position() >> 20, self.bar.length().unwrap_or_default() >> 20);
            // Progress that nobody can read is no reason to stop.
            let _ = writeln!(std::io::stderr(), "read {done} of {all} MiB");
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
