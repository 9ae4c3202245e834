//! The log of who asked what: one JSON object a line, appended to a file by a thread of its own. Without a file it goes to
//! the process's log as target `polymeter::audit`, level debug. Parameters and credentials are never part of it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use serde::Serialize;
use tracing::{debug, error, warn};

use super::{Caller, SecretError};
use crate::model::Timestamp;

/// Lines that may wait for the disk.
const WAITING: usize = 10_000;
/// Longest text of a statement that is kept.
const TEXT_BYTES: usize = 4_096;

/// One question and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// When it came, RFC 3339.
    pub at: String,
    /// Name of the user or token.
    pub who: Arc<str>,
    /// Their role.
    pub role: &'static str,
    /// Rows that they see, where not all.
    pub scope: Option<String>,
    /// Address that asked.
    pub from: String,
    /// `http` or `postgres`.
    pub protocol: &'static str,
    /// What was asked: a statement, the path of a named query or report, or how somebody tried to log in.
    pub what: String,
    /// Rows of the answer.
    pub rows: u64,
    /// Time it took.
    pub ms: u64,
    /// `ok`, or the code of the error.
    pub outcome: String,
    /// Id of the request or connection.
    pub request: String,
}

impl Asked {
    /// Something asked at an instant, with nothing known of its end.
    #[must_use]
    pub fn new(at: Timestamp, protocol: &'static str, what: &str) -> Self {
        Self {
            at: at.to_string(),
            who: Arc::from("-"),
            role: "-",
            scope: None,
            from: String::new(),
            protocol,
            what: short(what),
            rows: 0,
            ms: 0,
            outcome: "ok".to_owned(),
            request: String::new(),
        }
    }

    /// Says who asks.
    pub fn by(&mut self, caller: &Caller) {
        self.who = Arc::clone(&caller.name);
        self.role = caller.role.name();
        self.scope = caller.scope.as_ref().map(ToString::to_string);
    }
}

/// A line that is written when what was asked has ended, however it does: until an end is told, whoever asked has left.
#[derive(Debug)]
pub struct Line {
    asked: Asked,
    audit: Audit,
    started: Instant,
}

impl Line {
    /// Begins with a question.
    #[must_use]
    pub fn begin(asked: Asked, audit: Audit) -> Self {
        let asked = Asked { outcome: "abandoned".to_owned(), ..asked };
        Self { asked, audit, started: Instant::now() }
    }

    /// Says who asks.
    pub fn by(&mut self, caller: &Caller) {
        self.asked.by(caller);
    }

    /// Tells the question, where what was known at first does not say it.
    pub fn asks(&mut self, what: &str) {
        self.asked.what = short(what);
    }

    /// Counts rows of the answer.
    pub fn more(&mut self, rows: usize) {
        self.asked.rows = self.asked.rows.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
    }

    /// Tells the end: `ok`, or the code of an error.
    pub fn ended(&mut self, outcome: &str) {
        outcome.clone_into(&mut self.asked.outcome);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.asked.ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.audit.write(self.asked.clone());
    }
}

fn short(text: &str) -> String {
    let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let cut = text.get(..end).unwrap_or_default();
    if cut.len() < text.len() { format!("{cut} … ({} bytes)", text.len()) } else { cut.to_owned() }
}

/// Where questions are written down. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<ToFile>>);

#[derive(Debug)]
struct ToFile {
    lines: SyncSender<Asked>,
    losing: AtomicBool,
}

impl Audit {
    /// Appends to a file.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn to_file(path: &Path) -> Result<Self, SecretError> {
        let problem = |error: std::io::Error| {
            SecretError::new(format!("the audit file '{}' can't be written: {error}", path.display()))
        };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(problem)?;
        let (lines, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || write_all(&waiting, file)).map_err(problem)?;
        Ok(Self(Some(Arc::new(ToFile { lines, losing: AtomicBool::new(false) }))))
    }

    /// Writes a line. Never waits: a disk that hangs must not stop answers; what is lost by that is told in the log.
    pub fn write(&self, asked: Asked) {
        let Some(file) = &self.0 else {
            let line = serde_json::to_string(&asked).unwrap_or_default();
            debug!(target: "polymeter::audit", "{line}");
            return;
        };
        match file.lines.try_send(asked) {
            Ok(()) => file.losing.store(false, Ordering::Relaxed),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                if !file.losing.swap(true, Ordering::Relaxed) {
                    warn!("the audit file can't be written fast enough: lines are being lost");
                }
            }
        }
    }
}

fn write_all(lines: &Receiver<Asked>, file: File) {
    let mut out = BufWriter::new(file);
    while let Ok(first) = lines.recv() {
        // What waits goes out together, and nothing waits in the buffer for the next question.
        for asked in std::iter::once(first).chain(lines.try_iter()) {
            let line = serde_json::to_string(&asked).unwrap_or_default();
            if let Err(error) = writeln!(out, "{line}") {
                error!(%error, "the audit file can't be written");
            }
        }
        if let Err(error) = out.flush() {
            error!(%error, "the audit file can't be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_and_long_texts_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::to_file(&path).unwrap();
        for what in ["SELECT 1\n", &"é".repeat(TEXT_BYTES)] {
            audit.write(Asked::new(Timestamp(0), "http", what));
        }
        let mut text = String::new();
        for _ in 0..500 {
            text = std::fs::read_to_string(&path).unwrap();
            if text.lines().count() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["what"], "SELECT 1\n");
        assert_eq!(lines[0]["at"], "1970-01-01T00:00:00.000000Z");
        assert!(lines[1]["what"].as_str().unwrap().ends_with("(8192 bytes)"));
        assert!(Audit::to_file(dir.path()).is_err());
    }
}
