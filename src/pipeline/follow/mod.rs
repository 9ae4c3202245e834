//! Following configured sources: each is asked round by round for what is new, and one loop around all of them sees to
//! it that a failure is retried with growing pauses, shown on the board and counted, and that nothing stops silently.

mod control_totals;
#[cfg(feature = "kafka")]
mod kafka;
mod live_tail;
mod log_group;
mod log_minutes;
mod objects;
mod position;
mod queue;
mod usage_reports;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use control_totals::{AzureMonitorTail, MetricsTail, Reaching};
#[cfg(feature = "kafka")]
pub use kafka::KafkaTail;
pub use log_group::{LogGroupTail, import_log_group};
pub use objects::{ObjectsTail, Sweeps};
pub use queue::QueueTail;
pub use usage_reports::{Report, UsageReports, UsageReportsTail};

use super::ingest::IngestError;
use super::{Ingest, Totals};
use crate::collect::backoff::Backoff;
use crate::model::Timestamp;
use crate::telemetry::{SourceBoard, metrics};

/// A source that is followed.
#[async_trait::async_trait]
pub trait Follow: Send {
    /// Takes in what is new, rows and position together, and says how long to wait before the next look. May be dropped
    /// at any point: what was not committed is read again.
    ///
    /// # Errors
    /// The source or the journal fails; the next round begins where this one began.
    async fn round(&mut self) -> Result<Duration, IngestError>;
}

/// Pauses between failures.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// After the first.
    pub first: Duration,
    /// After many.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// Where a source takes its records, and where it shows how it does.
#[derive(Clone)]
pub struct Station {
    /// Records to journal.
    pub ingest: Ingest,
    /// The board.
    pub board: SourceBoard,
}

impl Station {
    fn name(&self) -> &str {
        &self.ingest.source
    }

    fn now(&self) -> Timestamp {
        self.ingest.clock.now()
    }

    fn starting(&self, location: &str) {
        self.board.update(self.name(), |status| {
            self.ingest.format.name().clone_into(&mut status.kind);
            location.clone_into(&mut status.location);
            status.state = "starting";
        });
    }

    fn counted(&self, totals: Totals) {
        if totals.records > 0 {
            self.board.update(self.name(), |status| {
                status.records += totals.records;
                status.quarantined += totals.quarantined;
                status.last_record_at = Some(self.now().to_string());
            });
        }
    }

    /// Notes what went wrong with a part of the source; the rest of it goes on.
    fn trouble(&self, what: &str, error: &dyn std::error::Error) {
        let text = crate::telemetry::chain(error);
        metrics::source_error(self.name());
        warn!(source.id = %self.name(), source.part = what, error = %text, "part of a source can't be read, will retry");
        self.board.update(self.name(), |status| status.last_error = Some(text));
    }

    fn failed_objects(&self, failed: usize) {
        let failed = u64::try_from(failed).unwrap_or(u64::MAX);
        metrics::source_failed_objects(self.name(), failed);
        self.board.update(self.name(), |status| status.failed_objects = failed);
    }

    fn failed(&self, text: &str, pause: Duration) {
        metrics::source_error(self.name());
        metrics::source_up(self.name(), false);
        warn!(source.id = %self.name(), error = %text, retry_ms = pause.as_millis(), "source can't be read, will retry");
        self.board.update(self.name(), |status| {
            status.state = "retrying";
            status.last_error = Some(text.to_owned());
        });
    }

    fn well(&self) {
        metrics::source_up(self.name(), true);
        self.board.update(self.name(), |status| status.state = "running");
    }
}

/// What went wrong. A defect of ours must not end a source in silence either.
fn told<T>(done: Result<Result<T, IngestError>, Box<dyn Any + Send>>, place: &str) -> Result<T, String> {
    match done {
        Ok(done) => done.map_err(|error| crate::telemetry::chain(&error)),
        Err(_) => Err(format!("internal error {place}; please report it with the log")),
    }
}

/// Follows a source until `cancel`.
pub async fn follow(mut source: Box<dyn Follow>, station: Station, pauses: Pauses, cancel: CancellationToken) {
    let mut backoff = Backoff::new(pauses.first, pauses.longest);
    loop {
        let round = AssertUnwindSafe(source.round()).catch_unwind();
        let pause = tokio::select! {
            () = cancel.cancelled() => return,
            done = round => match told(done, "while reading the source") {
                Ok(pause) => {
                    backoff.reset();
                    station.well();
                    pause
                }
                Err(text) => {
                    let pause = backoff.pause();
                    station.failed(&text, pause);
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
