//! Records to journal: normalize, count what became of each record, commit.

use std::io::BufReader;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use super::PipelineError;
use crate::clock::Clock;
use crate::collect::{Bomb, Framed, Frames, Inflate, MAX_RECORD_BYTES, ObjectEntry, Objects};
use crate::journal::{Journal, Positions};
use crate::model::{Normalized, Quarantined, RecordRef, Reject, Rows, Timestamp};
use crate::sources::LogFormat;
use crate::telemetry::metrics;

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read.
    pub records: u64,
    /// Observations made of them.
    pub observations: u64,
    /// Provider metrics made of them.
    pub metrics: u64,
    /// Known non-calls.
    pub skipped: u64,
    /// Records set aside.
    pub quarantined: u64,
}

impl Totals {
    /// Adds other counts.
    pub const fn add(&mut self, other: Self) {
        self.records += other.records;
        self.observations += other.observations;
        self.metrics += other.metrics;
        self.skipped += other.skipped;
        self.quarantined += other.quarantined;
    }
}

/// What reading one object gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectTotals {
    /// What became of its records.
    pub totals: Totals,
    /// Offset behind the last whole line.
    pub complete_to: u64,
}

/// Turns the records of one source into journal rows.
#[derive(Clone)]
pub struct Ingest {
    /// Name of the source.
    pub source: Arc<str>,
    /// How to read its records.
    pub format: Arc<dyn LogFormat>,
    /// Where rows go.
    pub journal: Journal,
    /// For `observed_at`.
    pub clock: Arc<dyn Clock>,
}

impl Ingest {
    /// Reads an object from `from` on and makes its rows durable; of one that is `growing` only whole lines. `positions`
    /// travels with the last rows. Also calls `on_rows` with each batch before it is committed, and waits for it: that is
    /// how a caller holds reading back.
    ///
    /// # Errors
    /// The object or the journal fails. What was committed before is harmless: it settles to the same calls again.
    pub async fn object(
        &self,
        objects: &Objects,
        entry: &ObjectEntry,
        from: u64,
        growing: bool,
        positions: impl FnOnce(ObjectTotals) -> Positions,
        on_rows: impl AsyncFnMut(&Rows),
    ) -> Result<ObjectTotals, IngestError> {
        let reader = objects.reader(entry, from).await?;
        let reading = self.reading(entry.path.to_string(), entry.modified, growing);
        self.take_in(reading, reader, from, positions, on_rows).await
    }

    /// Makes the rows of records that are in memory durable.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn bytes(&self, object: &str, bytes: Vec<u8>) -> Result<Totals, IngestError> {
        let reading = self.reading(object.to_owned(), self.clock.now(), false);
        let reader = Box::new(std::io::Cursor::new(bytes));
        Ok(self.take_in(reading, reader, 0, |_| Positions::default(), async |_| {}).await?.totals)
    }

    /// Makes the rows of records that a service handed over one by one durable, with `positions` in the same commit. Calls
    /// `on_rows` before.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn records(
        &self,
        object: &str,
        records: Vec<Record>,
        positions: Positions,
        on_rows: impl AsyncFnOnce(&Rows),
    ) -> Result<Totals, IngestError> {
        let reading = self.reading(object.to_owned(), self.clock.now(), false);
        let work = tokio::task::spawn_blocking(move || reading.sort_all(&records));
        let (rows, totals) = work.await.map_err(|_| PipelineError::Stopped)?;
        on_rows(&rows).await;
        if !rows.is_empty() || !positions.is_empty() {
            self.journal.append_patiently(rows, positions).await.map_err(PipelineError::from)?;
        }
        count(self.format.name(), totals);
        Ok(totals)
    }

    /// Makes the calls of records durable that will be read once more, from where they stand. Nothing else of them is kept,
    /// and nothing is counted: that is left to the second reading.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn early(&self, object: &str, records: Vec<Record>) -> Result<(), IngestError> {
        let reading = self.reading(object.to_owned(), self.clock.now(), false);
        let work = tokio::task::spawn_blocking(move || reading.calls_with_ids(&records));
        let rows = work.await.map_err(|_| PipelineError::Stopped)?;
        if !rows.is_empty() {
            self.journal.append_patiently(rows, Positions::default()).await.map_err(PipelineError::from)?;
        }
        Ok(())
    }

    fn reading(&self, object: String, object_time: Timestamp, growing: bool) -> Reading {
        let (source, format) = (Arc::clone(&self.source), Arc::clone(&self.format));
        Reading { source, format, object, object_time, observed_at: self.clock.now(), growing }
    }

    async fn take_in(
        &self,
        reading: Reading,
        reader: Box<dyn std::io::Read + Send>,
        from: u64,
        positions: impl FnOnce(ObjectTotals) -> Positions,
        mut on_rows: impl AsyncFnMut(&Rows),
    ) -> Result<ObjectTotals, IngestError> {
        let object = reading.object.clone();
        let batch_rows = self.journal.batch_rows();
        let (batches, mut inbox) = mpsc::channel::<Rows>(1);
        let work = tokio::task::spawn_blocking(move || reading.read(reader, from, batch_rows, &batches));
        let mut last: Option<Rows> = None;
        while let Some(rows) = inbox.recv().await {
            on_rows(&rows).await;
            if let Some(earlier) = last.replace(rows) {
                self.journal.append_patiently(earlier, Positions::default()).await.map_err(PipelineError::from)?;
            }
        }
        let totals = work.await.map_err(|_| PipelineError::Stopped)?;
        let totals = totals.map_err(|source| IngestError::Read { object, source })?;
        let positions = positions(totals);
        let rows = last.unwrap_or_default();
        if !rows.is_empty() || !positions.is_empty() {
            self.journal.append_patiently(rows, positions).await.map_err(PipelineError::from)?;
        }
        count(self.format.name(), totals.totals);
        Ok(totals)
    }
}

/// A record that a service handed over by itself.
#[derive(Clone, Debug)]
pub struct Record {
    /// What tells it from others of the same stream.
    pub position: u64,
    /// Its time, as the service has it.
    pub at: Timestamp,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Counts what became of records in the metrics.
pub fn count(kind: &'static str, totals: Totals) {
    metrics::records(kind, "observation", totals.observations);
    metrics::records(kind, "metric", totals.metrics);
    metrics::records(kind, "skipped", totals.skipped);
    metrics::records(kind, "rejected", totals.quarantined);
}

/// Why an object could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The transport.
    #[error(transparent)]
    Objects(#[from] crate::collect::ObjectsError),
    /// A service.
    #[error(transparent)]
    Service(#[from] crate::collect::ServiceError),
    /// The bytes.
    #[error("can't read {object}")]
    Read {
        /// Which object.
        object: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What lies behind.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

struct Reading {
    source: Arc<str>,
    format: Arc<dyn LogFormat>,
    object: String,
    object_time: Timestamp,
    observed_at: Timestamp,
    /// The object may still grow: a cut last line is not damage.
    growing: bool,
}

impl Reading {
    /// Reads all records; blocking. A damaged end (cut gzip, bomb) is set aside, what was read before is kept.
    fn read(
        &self,
        reader: Box<dyn std::io::Read + Send>,
        from: u64,
        batch_rows: usize,
        batches: &mpsc::Sender<Rows>,
    ) -> std::io::Result<ObjectTotals> {
        let mut frames =
            Frames::new(BufReader::with_capacity(1 << 18, Inflate::new(reader)?), from).holding_partial(self.growing);
        let mut rows = Rows::default();
        let mut totals = Totals::default();
        let mut out = Vec::new();
        loop {
            match frames.next_frame() {
                Ok(Some(Framed::Record(position))) => {
                    totals.records += 1;
                    let at = self.at(position);
                    self.format.normalize(frames.bytes(), &at, &mut out);
                    sort(&mut out, &at, frames.bytes().len(), self.format.name(), &mut rows, &mut totals);
                }
                Ok(Some(Framed::TooLong(position))) => {
                    totals.records += 1;
                    let detail = format!("longer than {MAX_RECORD_BYTES} bytes");
                    out.push(Normalized::rejected("record_too_long", detail));
                    sort(&mut out, &self.at(position), MAX_RECORD_BYTES, self.format.name(), &mut rows, &mut totals);
                }
                Ok(None) => break,
                Err(error) => {
                    let Some(reject) = damage(&error) else { return Err(error) };
                    warn!(object.path = %self.object, error = %error, "object is damaged, the rest of it is set aside");
                    totals.records += 1;
                    out.push(Normalized::Rejected(reject));
                    sort(&mut out, &self.at(frames.complete_to()), 0, self.format.name(), &mut rows, &mut totals);
                    break;
                }
            }
            if rows.len() >= batch_rows && batches.blocking_send(std::mem::take(&mut rows)).is_err() {
                return Err(std::io::Error::other("cancelled"));
            }
        }
        if !rows.is_empty() && batches.blocking_send(rows).is_err() {
            return Err(std::io::Error::other("cancelled"));
        }
        Ok(ObjectTotals { totals, complete_to: frames.complete_to() })
    }

    /// Normalizes whole records; blocking.
    fn sort_all(&self, records: &[Record]) -> (Rows, Totals) {
        let (mut rows, mut totals, mut out) = (Rows::default(), Totals::default(), Vec::new());
        for record in records {
            totals.records += 1;
            let at = RecordRef { object_time: record.at, ..self.at(record.position) };
            self.format.normalize(&record.bytes, &at, &mut out);
            sort(&mut out, &at, record.bytes.len(), self.format.name(), &mut rows, &mut totals);
        }
        (rows, totals)
    }

    /// The calls that have a request id; blocking. Without one, a call is known by its place alone, and would be another
    /// one when it is read there.
    fn calls_with_ids(&self, records: &[Record]) -> Rows {
        let (mut rows, mut out) = (Rows::default(), Vec::new());
        for record in records {
            let at = RecordRef { object_time: record.at, ..self.at(record.position) };
            self.format.normalize(&record.bytes, &at, &mut out);
            let calls = out.drain(..).filter_map(|normalized| match normalized {
                Normalized::Observation(call) if call.provider_request_id.is_some() => Some(Arc::from(call)),
                _ => None,
            });
            rows.observations.extend(calls);
        }
        rows
    }

    fn at(&self, position: u64) -> RecordRef<'_> {
        RecordRef {
            source: &self.source,
            object: &self.object,
            position,
            object_time: self.object_time,
            observed_at: self.observed_at,
        }
    }
}

/// Damage of the bytes themselves; anything else is the transport's and is tried again.
fn damage(error: &std::io::Error) -> Option<Reject> {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let reason = if error.get_ref().is_some_and(|inner| inner.is::<Bomb>()) {
        "decompression_bomb"
    } else if error.kind() == UnexpectedEof {
        "truncated"
    } else if matches!(error.kind(), InvalidData | InvalidInput) {
        "damaged_compression"
    } else {
        return None;
    };
    Some(Reject { reason, detail: error.to_string() })
}

/// Sorts what a normalizer made of one record into rows and counts.
pub fn sort(
    out: &mut Vec<Normalized>,
    at: &RecordRef<'_>,
    bytes: usize,
    kind: &'static str,
    rows: &mut Rows,
    totals: &mut Totals,
) {
    for (nth, normalized) in (0_u64..).zip(out.drain(..)) {
        match normalized {
            Normalized::Observation(observation) => {
                totals.observations += 1;
                rows.observations.push(Arc::from(observation));
            }
            Normalized::Metric(metric) => {
                totals.metrics += 1;
                rows.metrics.push(*metric);
            }
            Normalized::Skipped(_) => totals.skipped += 1,
            Normalized::Rejected(reject) => {
                totals.quarantined += 1;
                metrics::quarantined(kind, reject.reason.to_owned());
                rows.quarantined.push(Quarantined::new(at, nth, u64::try_from(bytes).unwrap_or(u64::MAX), reject));
            }
        }
    }
}
