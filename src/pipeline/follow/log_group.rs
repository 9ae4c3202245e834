//! Following a log group of CloudWatch by event time: the last minutes are read again at every look, the last two days
//! now and then, and what was read before is recognised.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use super::log_minutes::{MINUTE_MS, Minutes, Standing, hash, minute_of, tally};
use super::{Follow, Station, live_tail};
use crate::collect::{LogEvent, LogGroup};
use crate::journal::Positions;
use crate::model::{Rows, Timestamp};
use crate::pipeline::ingest::{IngestError, Record};
use crate::pipeline::{Ingest, PipelineError, Totals};
use crate::store::AwsAccess;

/// What every look reads again, behind the newest event that was seen.
const OVERLAP_MS: i64 = 10 * MINUTE_MS;
/// Our clock and those of the writers may be this far apart, either way.
const SKEW_MS: i64 = 3 * 60 * MINUTE_MS;
/// What a wider look reads again, and how often it comes.
const WINDOW_MS: i64 = 48 * 60 * MINUTE_MS;
const WINDOW_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Stretch of it that is compared at once.
const WINDOW_STRETCH_MS: i64 = 12 * 60 * MINUTE_MS;
/// Stretch that is read and noted at once.
const STRETCH_MS: i64 = 60 * MINUTE_MS;
/// The cursor is noted with rows, or when it has moved this far without any.
const NOTE_MS: i64 = 10 * MINUTE_MS;
const CURSOR: &str = "cursor";

/// Follows a log group.
pub struct LogGroupTail {
    station: Station,
    name: String,
    access: AwsAccess,
    poll_every: Duration,
    group: Option<LogGroup>,
    minutes: Minutes,
    /// Everything before it was read, milliseconds; what came late is found by reading again.
    cursor_ms: i64,
    noted_ms: i64,
    /// Time of the newest event that was seen.
    newest_ms: i64,
    window_due: Option<Instant>,
    /// Whether calls are shown before a look finds them.
    live: bool,
    /// What does it. Ends with the tail.
    beside: JoinSet<()>,
}

impl LogGroupTail {
    /// Goes on where the journal says that the source stood; without that, `back` before now.
    #[must_use]
    pub fn new(station: Station, group: &str, access: AwsAccess, poll_every: Duration, back: Duration) -> Self {
        let stored = station.ingest.journal.positions_at_start();
        let name = station.name().to_owned();
        let cursor = stored.of(&name).find(|(entry, _)| *entry == CURSOR).and_then(|(_, at)| at.parse().ok());
        let back_ms = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
        let first_ms = millis(station.now()).saturating_sub(back_ms);
        let cursor_ms = cursor.unwrap_or(first_ms);
        let minutes = Minutes::restore(stored.of(&name));
        station.starting(&format!("cloudwatch://{group}"));
        // What a new source reads first needs no second look; one that was down may have missed late events.
        let window_due = cursor.is_none().then(|| Instant::now() + WINDOW_EVERY);
        Self {
            station,
            name: group.to_owned(),
            access,
            poll_every,
            group: None,
            minutes,
            cursor_ms,
            noted_ms: cursor_ms,
            newest_ms: cursor_ms,
            window_due,
            live: false,
            beside: JoinSet::new(),
        }
    }

    /// Shows calls by Live Tail too, before a look finds them.
    #[must_use]
    pub const fn live(mut self, on: bool) -> Self {
        self.live = on;
        self
    }

    async fn look(&mut self, group: &mut LogGroup) -> Result<(), IngestError> {
        let started = self.station.now();
        let now_ms = millis(started);
        // What lies far back is read and noted in stretches.
        while now_ms - self.cursor_ms > SKEW_MS {
            let end_ms = self.cursor_ms + STRETCH_MS;
            self.compare(group, minute_of(self.cursor_ms) * MINUTE_MS, end_ms).await?;
            self.cursor_ms = end_ms;
        }
        // The newest event says more about where the group is than a clock that may run ahead or behind.
        let near_ms = self.newest_ms.clamp(self.cursor_ms - SKEW_MS, self.cursor_ms);
        self.compare(group, minute_of(near_ms - OVERLAP_MS) * MINUTE_MS, now_ms + SKEW_MS).await?;
        let before_ms = self.cursor_ms;
        self.cursor_ms = before_ms.max(now_ms);
        if self.window_due.is_none_or(|due| Instant::now() >= due) {
            let mut from_ms = minute_of(now_ms - WINDOW_MS) * MINUTE_MS;
            while from_ms < before_ms.min(near_ms) {
                self.compare(group, from_ms, from_ms + WINDOW_STRETCH_MS).await?;
                from_ms += WINDOW_STRETCH_MS;
            }
            self.window_due = Some(Instant::now() + WINDOW_EVERY);
        }
        let mut changes =
            self.minutes.trim(self.station.name(), now_ms - WINDOW_MS - STRETCH_MS, near_ms - 2 * OVERLAP_MS);
        if self.cursor_ms - self.noted_ms >= NOTE_MS || !changes.is_empty() {
            changes.set(self.station.name(), CURSOR, self.cursor_ms.to_string());
            let journal = &self.station.ingest.journal;
            journal.append_patiently(Rows::default(), changes).await.map_err(PipelineError::from)?;
            self.noted_ms = self.cursor_ms;
        }
        self.station.board.complete(self.station.name(), started);
        Ok(())
    }

    /// Reads whole minutes, and those again in which something came late.
    async fn compare(&mut self, group: &mut LogGroup, from_ms: i64, to_ms: i64) -> Result<(), IngestError> {
        let seen = self.read(group, from_ms, to_ms - 1).await?;
        for minute in self.minutes.differing(&seen) {
            info!(source.id = %self.station.name(), minute, "late events, the minute is read anew");
            self.minutes.reopen(minute);
            let first_ms = minute * MINUTE_MS;
            self.read(group, first_ms, first_ms + MINUTE_MS - 1).await?;
        }
        Ok(())
    }

    /// Reads the events of a time and takes in those that are new; gives what has to be compared.
    async fn read(
        &mut self,
        group: &mut LogGroup,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<BTreeMap<i64, super::log_minutes::Digest>, IngestError> {
        let (mut seen, mut token) = (BTreeMap::new(), None);
        let mut compared = HashSet::new();
        loop {
            let page = group.page(from_ms, to_ms, token.as_deref()).await?;
            let (mut fresh, mut here) = (Vec::new(), HashSet::new());
            for event in page.events {
                let hash = hash(&event.id);
                self.newest_ms = self.newest_ms.max(event.at_ms);
                match self.minutes.standing(event.at_ms, hash) {
                    Standing::Known => {}
                    Standing::New if !here.insert(hash) => {}
                    Standing::New => fresh.push((hash, event)),
                    Standing::Compare if !compared.insert(hash) => {}
                    Standing::Compare => tally(&mut seen, event.at_ms, hash),
                }
            }
            self.take(fresh).await?;
            // An empty page with a token is no end.
            token = page.next;
            if token.is_none() {
                return Ok(seen);
            }
        }
    }

    async fn take(&mut self, fresh: Vec<(u64, LogEvent)>) -> Result<(), IngestError> {
        if fresh.is_empty() {
            return Ok(());
        }
        let marks: Vec<_> = fresh.iter().map(|(hash, event)| (event.at_ms, *hash)).collect();
        let (mut changes, digests) = self.minutes.with(self.station.name(), &marks);
        changes.set(self.station.name(), CURSOR, self.cursor_ms.to_string());
        let totals = take_in(&self.station.ingest, &self.name, fresh, changes, async |_| {}).await?;
        self.minutes.take(&marks, digests);
        self.noted_ms = self.cursor_ms;
        self.station.counted(totals);
        Ok(())
    }
}

#[async_trait::async_trait]
impl Follow for LogGroupTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        if self.live && self.beside.is_empty() {
            let (station, access) = (self.station.clone(), self.access.clone());
            self.beside.spawn(live_tail::tail(station, self.name.clone(), access));
        }
        let mut group = match self.group.take() {
            Some(group) => group,
            None => LogGroup::open(&self.name, &self.access).await,
        };
        let looked = self.look(&mut group).await;
        // After a failure it is made anew, because credentials may have changed; throttling only makes it slower.
        let keep = match &looked {
            Err(IngestError::Service(error)) => error.is_throttled(),
            _ => true,
        };
        self.group = keep.then_some(group);
        looked.map(|()| self.poll_every)
    }
}

fn millis(at: Timestamp) -> i64 {
    at.0.div_euclid(1000)
}

async fn take_in(
    ingest: &Ingest,
    group: &str,
    events: Vec<(u64, LogEvent)>,
    positions: Positions,
    on_rows: impl AsyncFnOnce(&Rows),
) -> Result<Totals, IngestError> {
    let stream = events.first().map(|(_, event)| event.stream.clone()).unwrap_or_default();
    let record = |(hash, event): (u64, LogEvent)| Record {
        position: hash >> 1,
        at: Timestamp(event.at_ms.saturating_mul(1000)),
        bytes: event.message.into_bytes(),
    };
    let records = events.into_iter().map(record).collect();
    ingest.records(&format!("cloudwatch:{group}/{stream}"), records, positions, on_rows).await
}

/// Takes in the events of a log group from `from` to `to` once; `progress` is told how far it is.
///
/// # Errors
/// The service or the journal fails.
pub async fn import_log_group(
    ingest: &Ingest,
    group: &mut LogGroup,
    (from, to): (Timestamp, Timestamp),
    mut on_rows: impl AsyncFnMut(&Rows),
    mut progress: impl FnMut(Timestamp),
) -> Result<Totals, IngestError> {
    let (mut totals, mut from_ms, to_ms) = (Totals::default(), millis(from), millis(to));
    while from_ms < to_ms {
        let end_ms = to_ms.min(from_ms + STRETCH_MS);
        let mut token = None;
        loop {
            let page = group.page(from_ms, end_ms - 1, token.as_deref()).await?;
            let events: Vec<_> = page.events.into_iter().map(|event| (hash(&event.id), event)).collect();
            if !events.is_empty() {
                totals.add(take_in(ingest, group.name(), events, Positions::default(), &mut on_rows).await?);
            }
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        from_ms = end_ms;
        progress(Timestamp(from_ms.saturating_mul(1000)));
    }
    Ok(totals)
}
