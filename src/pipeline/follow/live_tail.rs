//! Live Tail beside the looks at a log group: calls show up seconds earlier. It may leave out, repeat and break off
//! whatever it likes, because it moves no position: the looks read every event all the same, and a call that came both
//! ways is one call by its request id.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;
use tracing::warn;

use super::{Pauses, Station, told};
use crate::collect::backoff::Backoff;
use crate::collect::{LiveEvent, LogGroup};
use crate::model::Timestamp;
use crate::pipeline::ingest::{IngestError, Record};
use crate::store::AwsAccess;
use crate::telemetry::metrics;

/// A session that lasted so long was a good one: the next begins soon.
const GOOD: Duration = Duration::from_secs(60);

/// Tails the group, session after session. Never ends.
pub(super) async fn tail(station: Station, group: String, access: AwsAccess) {
    let Pauses { first, longest } = Pauses::default();
    let mut backoff = Backoff::new(first, longest);
    loop {
        let began = Instant::now();
        let ended = AssertUnwindSafe(session(&station, &group, &access)).catch_unwind().await;
        if began.elapsed() >= GOOD {
            backoff.reset();
        }
        let pause = backoff.pause();
        let error = told(ended, "in Live Tail").err();
        if let Some(error) = &error {
            metrics::source_error(station.name());
            warn!(source.id = %station.name(), error, retry_ms = pause.as_millis(), "no Live Tail, will retry");
        }
        show(&station, if error.is_some() { "retrying" } else { "starting" }, error);
        tokio::time::sleep(pause).await;
    }
}

/// One session: until its time is over.
async fn session(station: &Station, group: &str, access: &AwsAccess) -> Result<(), IngestError> {
    // Made anew each time, so that new credentials are found.
    let group = LogGroup::open(group, access).await;
    let mut live = group.live_tail(&group.arn().await?).await?;
    show(station, "running", None);
    while let Some(update) = live.next().await? {
        if update.sampled {
            metrics::live_tail_sampled(station.name());
        }
        take(station, &group, update.events).await?;
    }
    Ok(())
}

/// Waits for the journal. The service keeps some seconds for who is slow, then drops the oldest.
async fn take(station: &Station, group: &LogGroup, events: Vec<LiveEvent>) -> Result<(), IngestError> {
    let Some(stream) = events.first().map(|event| event.stream.clone()) else { return Ok(()) };
    let record = |event: LiveEvent| Record {
        position: 0,
        at: Timestamp(event.at_ms.saturating_mul(1000)),
        bytes: event.message.into_bytes(),
    };
    let records = events.into_iter().map(record).collect();
    station.ingest.early(&format!("cloudwatch:{}/{stream}", group.name()), records).await?;
    let now = station.now().to_string();
    station.board.update(station.name(), |status| status.last_record_at = Some(now));
    Ok(())
}

fn show(station: &Station, state: &'static str, error: Option<String>) {
    station.board.update(station.name(), |status| {
        let live = status.live_tail.get_or_insert_default();
        live.state = state;
        if error.is_some() {
            live.last_error = error;
        }
    });
}
