//! Following a bucket by its notifications: SQS says what was written, a listing now and then finds what SQS lost. Both
//! remember the same objects, so none is read twice. A message is deleted after what it speaks of is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tracing::warn;

use super::objects::ObjectsTail;
use super::{Follow, Pauses};
use crate::collect::backoff::Backoff;
use crate::collect::{Message, ObjectPath, Objects, Queue, notices};
use crate::model::{Quarantined, RecordRef, Reject, Rows};
use crate::pipeline::PipelineError;
use crate::pipeline::ingest::IngestError;
use crate::store::Access;

/// Longest wait for messages that the service allows.
const WAIT: Duration = Duration::from_secs(20);
/// That a message is worked on is said so often while it is hidden: two may fail.
const SAY_AGAIN: u32 = 3;
/// A message whose object can't be read comes again after so many seconds, twice as many each time, up to the longest.
const COMES_AGAIN_S: i32 = 15;
const LONGEST_S: i32 = 900;
/// A message that was delivered so often is left to the listing.
const DELIVERIES: u32 = 8;
/// Pause after an answer without messages that came at once: a service that does not wait.
const IDLE: Duration = Duration::from_secs(1);
/// Objects that are looked at at once.
const AT_ONCE: usize = 8;

/// Follows a bucket by a queue of notifications.
pub struct QueueTail {
    tail: ObjectsTail,
    url: String,
    access: Access,
    queue: Option<Queue>,
    sweep_every: Duration,
    sweep_due: Instant,
    sweep_backoff: Backoff,
}

/// What to do with a message.
enum Plan {
    /// Its objects.
    Read(Vec<ObjectPath>),
    /// It can't be worked on: the reason, and what exactly.
    SetAside(&'static str, String),
}

impl QueueTail {
    /// The listing of `tail` runs every `sweep_every`.
    #[must_use]
    pub fn new(tail: ObjectsTail, url: String, access: Access, sweep_every: Duration) -> Self {
        let Pauses { first, longest } = Pauses::default();
        let sweep_backoff = Backoff::new(first, longest);
        Self { tail, url, access, queue: None, sweep_every, sweep_due: Instant::now(), sweep_backoff }
    }

    async fn queue(&mut self) -> Queue {
        if let Some(queue) = &self.queue {
            return queue.clone();
        }
        let queue = Queue::open(&self.url, &self.access.aws).await;
        self.queue = Some(queue.clone());
        queue
    }

    async fn take(&mut self) -> Result<Duration, IngestError> {
        let queue = self.queue().await;
        let asked = Instant::now();
        let wait = self.sweep_due.saturating_duration_since(asked).min(WAIT);
        let hidden = self.tail.hidden();
        let messages = queue.receive(i32::try_from(wait.as_secs()).unwrap_or(0), seconds(hidden)).await?;
        if messages.is_empty() {
            return Ok(if asked.elapsed() < IDLE { IDLE } else { Duration::ZERO });
        }
        let keep = keep_hidden(&queue, &messages, hidden);
        tokio::select! {
            worked = self.work(&queue, &messages) => worked?,
            () = keep => {}
        }
        Ok(Duration::ZERO)
    }

    async fn work(&mut self, queue: &Queue, messages: &[Message]) -> Result<(), IngestError> {
        let objects = self.tail.objects().await?;
        let plans: Vec<Plan> = messages.iter().map(|message| self.plan(&objects, message)).collect();
        let mut keys = BTreeMap::new();
        for plan in &plans {
            if let Plan::Read(paths) = plan {
                keys.extend(paths.iter().map(|path| (path.to_string(), path.clone())));
            }
        }
        // What is there now counts, not what the message says of it: messages come late, twice and in any order.
        let looks = stream::iter(keys).map(|(key, path)| {
            let objects = &objects;
            async move { (key, objects.look_at(&path).await) }
        });
        let looks: Vec<_> = looks.buffer_unordered(AT_ONCE).collect().await;
        let (mut there, mut unseen, mut last) = (Vec::new(), BTreeSet::new(), None);
        for (key, found) in looks {
            match found {
                Ok(found) => there.extend(found),
                Err(error) => {
                    self.tail.station.trouble(&key, &error);
                    unseen.insert(key);
                    last = Some(error);
                }
            }
        }
        // One object that can't be looked at is its message's trouble; if none can, it is the source's.
        if let Some(error) = last.filter(|_| there.is_empty()) {
            return Err(error.into());
        }
        let jobs = self.tail.jobs(there.iter());
        self.tail.read(&objects, jobs).await?;
        let (mut done, mut later, mut aside) = (Vec::new(), Vec::new(), Rows::default());
        for (message, plan) in messages.iter().zip(plans) {
            let fails = |path: &ObjectPath| unseen.contains(path.as_ref()) || self.tail.has_failed(path.as_ref());
            let failed = match plan {
                Plan::Read(paths) if !paths.iter().any(fails) => None,
                Plan::Read(_) if message.deliveries < DELIVERIES => {
                    let pause = COMES_AGAIN_S.saturating_mul(1 << message.deliveries.min(10)).min(LONGEST_S);
                    later.push((message.receipt.clone(), pause));
                    continue;
                }
                Plan::Read(_) => Some((
                    "notified_object_unreadable",
                    format!("its object could not be read at {} deliveries; the listing tries on", message.deliveries),
                )),
                Plan::SetAside(reason, detail) => Some((reason, detail)),
            };
            if let Some((reason, detail)) = failed {
                aside.quarantined.push(self.set_aside(queue, message, reason, detail));
            }
            done.push(message.receipt.clone());
        }
        if !aside.is_empty() {
            let journal = &self.tail.station.ingest.journal;
            journal.append_patiently(aside, crate::journal::Positions::default()).await.map_err(PipelineError::from)?;
        }
        queue.delete(&done).await?;
        if !later.is_empty() {
            queue.hide(&later).await?;
        }
        Ok(())
    }

    fn plan(&self, objects: &Objects, message: &Message) -> Plan {
        let notices = match notices(&message.body) {
            Ok(notices) => notices,
            Err(error) => return Plan::SetAside("bad_notification", error.to_string()),
        };
        if notices.iter().any(|notice| Some(notice.bucket.as_str()) != objects.bucket()) {
            let detail =
                "the message is about another bucket than the source's; a queue belongs to one bucket".to_owned();
            return Plan::SetAside("foreign_notification", detail);
        }
        let wants = |path: &ObjectPath| self.tail.station.ingest.format.wants(path.as_ref());
        // Keys elsewhere in the bucket are none of ours.
        Plan::Read(notices.iter().filter_map(|notice| objects.path_of(&notice.key)).filter(wants).collect())
    }

    fn set_aside(&self, queue: &Queue, message: &Message, reason: &'static str, detail: String) -> Quarantined {
        let station = &self.tail.station;
        let now = station.now();
        let object = format!("sqs:{}/{}", queue.name(), message.id);
        warn!(source.id = %station.name(), object.key = %object, reason, "message set aside");
        let at = RecordRef { source: station.name(), object: &object, position: 0, object_time: now, observed_at: now };
        crate::telemetry::metrics::quarantined(station.ingest.format.name(), reason.to_owned());
        station.board.update(station.name(), |status| status.quarantined += 1);
        Quarantined::new(&at, 0, u64::try_from(message.body.len()).unwrap_or(u64::MAX), Reject { reason, detail })
    }
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

/// Says again and again that the messages are worked on. Never ends.
async fn keep_hidden(queue: &Queue, messages: &[Message], hidden: Duration) {
    let all: Vec<_> = messages.iter().map(|message| (message.receipt.clone(), seconds(hidden))).collect();
    loop {
        tokio::time::sleep(hidden / SAY_AGAIN).await;
        if let Err(error) = queue.hide(&all).await {
            // They may come again meanwhile; that changes nothing.
            warn!(error = %error, "messages can't be kept hidden");
        }
    }
}

#[async_trait::async_trait]
impl Follow for QueueTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        if Instant::now() >= self.sweep_due {
            let swept = self.tail.sweep().await;
            // A listing that fails must not keep the queue from being read, nor the other way round.
            let pause = if swept.is_ok() {
                self.sweep_backoff.reset();
                self.sweep_every
            } else {
                self.sweep_backoff.pause()
            };
            self.sweep_due = Instant::now() + pause;
            swept?;
        }
        let taken = self.take().await;
        if taken.is_err() {
            self.queue = None;
        }
        taken
    }
}
