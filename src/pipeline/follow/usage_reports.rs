//! Polling usage reports whose buckets change for a while: the last days are read again at every look, and a bucket is
//! taken in when it is not what it was. Its counters keep their ids, so that the later reading holds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Follow, Station};
use crate::collect::{ReportAsked, UsageApi, UsageBucket, UsageService};
use crate::journal::Positions;
use crate::model::{HOUR_US, Rows, Timestamp, fingerprint};
use crate::pipeline::PipelineError;
use crate::pipeline::ingest::{IngestError, Record};
use crate::store::Secret;

const CURSOR: &str = "cursor";
const DAY_US: i64 = 24 * HOUR_US;
/// The cursor is noted with rows, or when it has moved this far without any.
const NOTE_US: i64 = HOUR_US;

/// A report: its name, its path, and what it is grouped by.
pub type Report = (&'static str, &'static str, &'static [&'static str]);

/// How reports are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReports {
    /// Whose.
    pub service: UsageService,
    /// Another endpoint than the service's own.
    pub endpoint: Option<String>,
    /// The admin key.
    pub key: Secret,
    /// Which.
    pub reports: &'static [Report],
    /// How far back the first look goes.
    pub back: Duration,
    /// How long a bucket may change.
    pub window: Duration,
    /// How old usage must be to be told.
    pub delay: Duration,
}

/// Follows usage reports.
pub struct UsageReportsTail {
    station: Station,
    asked: UsageReports,
    poll_every: Duration,
    api: Option<UsageApi>,
    /// Hash of what each bucket of the window was, by report and start.
    buckets: BTreeMap<(String, i64), String>,
    cursor: Timestamp,
    noted: Timestamp,
}

impl UsageReportsTail {
    /// Goes on where the journal says that the source stood; looks every `poll_every`.
    #[must_use]
    pub fn new(station: Station, asked: UsageReports, poll_every: Duration) -> Self {
        let stored = station.ingest.journal.positions_at_start();
        let (mut buckets, mut cursor) = (BTreeMap::new(), None);
        for (entry, at) in stored.of(station.name()) {
            match entry.split_once('/') {
                None if entry == CURSOR => cursor = at.parse().ok().map(Timestamp),
                None => {}
                Some((report, start)) => {
                    if let Ok(start) = start.parse() {
                        buckets.insert((report.to_owned(), start), at.to_owned());
                    }
                }
            }
        }
        let cursor = cursor.unwrap_or_else(|| station.now().before(asked.back).floor(HOUR_US));
        station.starting(asked.endpoint.as_deref().unwrap_or_else(|| asked.service.endpoint()));
        Self { station, asked, poll_every, api: None, buckets, cursor, noted: cursor }
    }

    async fn look(&mut self, api: &mut UsageApi) -> Result<(), IngestError> {
        let now = self.station.now();
        let again = now.before(self.asked.window).floor(HOUR_US);
        let from = self.cursor.min(again);
        for (name, path, group_by) in self.asked.reports {
            let daily = *name == "costs";
            let (from, to) = if daily {
                (from.floor(DAY_US), now.floor(DAY_US).plus(DAY_US))
            } else {
                (from, now.floor(HOUR_US).plus(HOUR_US))
            };
            let found = api.buckets(ReportAsked { path, group_by, daily, from, to }).await?;
            self.take(name, found).await?;
        }
        let complete = now.before(self.asked.delay);
        self.cursor = self.cursor.max(complete);
        self.forget(again.plus(-DAY_US), complete).await?;
        self.station.board.complete(self.station.name(), complete);
        Ok(())
    }

    /// Takes in the buckets that are not what they were.
    async fn take(&mut self, report: &'static str, found: Vec<UsageBucket>) -> Result<(), IngestError> {
        let (mut positions, mut records, mut changed) = (Positions::default(), Vec::new(), Vec::new());
        for UsageBucket { start, json } in found {
            let hash = fingerprint([json.as_bytes()]).to_string();
            let key = (report.to_owned(), start.0);
            if self.buckets.get(&key) == Some(&hash) {
                continue;
            }
            positions.set(self.station.name(), &format!("{report}/{}", start.0), hash.clone());
            let bytes = format!("{{\"report\":\"{report}\",\"bucket\":{json}}}").into_bytes();
            records.push(Record { position: u64::try_from(start.0).unwrap_or_default(), at: start, bytes });
            changed.push((key, hash));
        }
        if records.is_empty() {
            return Ok(());
        }
        let totals = self.station.ingest.records(&format!("usage:{report}"), records, positions, async |_| {}).await?;
        self.buckets.extend(changed);
        self.station.counted(totals);
        Ok(())
    }

    /// Forgets what can't change any longer, and notes how far everything is read.
    async fn forget(&mut self, before: Timestamp, complete: Timestamp) -> Result<(), IngestError> {
        let gone: Vec<_> = self.buckets.keys().filter(|(_, start)| *start < before.0).cloned().collect();
        if gone.is_empty() && complete.0 - self.noted.0 < NOTE_US {
            return Ok(());
        }
        let mut changes = Positions::default();
        changes.set(self.station.name(), CURSOR, self.cursor.0.to_string());
        for (report, start) in &gone {
            changes.forget(self.station.name(), &format!("{report}/{start}"));
        }
        let journal = &self.station.ingest.journal;
        journal.append_patiently(Rows::default(), changes).await.map_err(PipelineError::from)?;
        self.noted = self.cursor;
        gone.iter().for_each(|key| drop(self.buckets.remove(key)));
        Ok(())
    }
}

#[async_trait::async_trait]
impl Follow for UsageReportsTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        let mut api = match self.api.take() {
            Some(api) => api,
            None => UsageApi::open(self.asked.service, self.asked.endpoint.as_deref(), self.asked.key.clone())?,
        };
        let looked = self.look(&mut api).await;
        // Kept after a failure too: it reads the key at each request, and knows how long to wait.
        self.api = Some(api);
        looked.map(|()| self.poll_every)
    }
}
