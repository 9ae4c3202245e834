//! Following a topic of Kafka: the offsets of its partitions are the positions, durable with the rows.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::Instant;

use super::{Follow, Station};
use crate::collect::{Framed, Frames, Inflate, KafkaConsumer, KafkaMessage, Reached};
use crate::journal::Positions;
use crate::model::Timestamp;
use crate::pipeline::ingest::{IngestError, Record};
use crate::store::{AzureAccess, KafkaTopic};

/// Longest wait for messages.
const WAIT: Duration = Duration::from_secs(1);

/// Follows a topic.
pub struct KafkaTail {
    station: Station,
    topic: KafkaTopic,
    access: AzureAccess,
    /// How often the cluster is asked where the ends are.
    poll_every: Duration,
    consumer: Option<KafkaConsumer>,
    /// Next offset of each partition that was ever ours.
    next: BTreeMap<i32, i64>,
    look_due: Instant,
}

impl KafkaTail {
    /// Goes on where the journal says that the source stood; without that, where the group stood; without that, at the
    /// beginning.
    #[must_use]
    pub fn new(station: Station, topic: KafkaTopic, access: AzureAccess, poll_every: Duration) -> Self {
        let stored = station.ingest.journal.positions_at_start();
        let place = |(entry, at): (&str, &str)| {
            let partition = entry.strip_prefix(topic.topic.as_str())?.strip_prefix('/')?;
            Some((partition.parse().ok()?, at.parse().ok()?))
        };
        let next = stored.of(station.name()).filter_map(place).collect();
        station.starting(&format!("kafka://{}/{}", topic.brokers, topic.topic));
        Self { station, topic, access, poll_every, consumer: None, next, look_due: Instant::now() }
    }

    async fn look(&mut self, consumer: &mut KafkaConsumer) -> Result<(), IngestError> {
        let batch = consumer.batch(WAIT).await?;
        if !batch.is_empty() {
            self.take(batch).await?;
            consumer.durable(&self.next);
        }
        if consumer.is_doubtful() || Instant::now() >= self.look_due {
            let asked = self.station.now();
            let reached = consumer.reached().await?;
            self.look_due = Instant::now() + self.poll_every;
            let time = |reached: &Reached| match reached {
                Reached::End => Some(asked),
                Reached::Time(at_ms) => Some(Timestamp(at_ms.saturating_mul(1000)).min(asked)),
                Reached::Unknown => None,
            };
            let times: Option<Vec<Timestamp>> = reached.iter().map(|(_, reached)| time(reached)).collect();
            if let Some(complete) = times.and_then(|times| times.into_iter().min()) {
                self.station.board.complete(self.station.name(), complete);
            }
        }
        Ok(())
    }

    /// Makes the rows of the messages durable, those of each partition with its offset.
    async fn take(&mut self, batch: Vec<KafkaMessage>) -> Result<(), IngestError> {
        let mut partitions: BTreeMap<i32, Vec<KafkaMessage>> = BTreeMap::new();
        for message in batch {
            partitions.entry(message.partition).or_default().push(message);
        }
        let next: Vec<(i32, i64)> = partitions
            .iter()
            .filter_map(|(partition, messages)| Some((*partition, messages.last()?.offset + 1)))
            .collect();
        let station = &self.station;
        let appends = partitions.into_iter().map(|(partition, messages)| {
            let mut positions = Positions::default();
            let place = format!("{}/{partition}", self.topic.topic);
            if let Some(last) = messages.last() {
                positions.set(station.name(), &place, (last.offset + 1).to_string());
            }
            let now = station.now();
            let records = messages.into_iter().flat_map(|message| records(message, now)).collect();
            let object = format!("kafka:{place}");
            async move { station.ingest.records(&object, records, positions, async |_| {}).await }
        });
        for totals in try_join_all(appends).await? {
            station.counted(totals);
        }
        self.next.extend(next);
        Ok(())
    }
}

/// The records of a message: mostly one; lines where a producer packs several; gzip where it compresses them itself.
fn records(message: KafkaMessage, now: Timestamp) -> Vec<Record> {
    let at = message.at_ms.map_or(now, |at_ms| Timestamp(at_ms.saturating_mul(1000)));
    let position = u64::try_from(message.offset).unwrap_or_default();
    let (mut found, mut whole) = (Vec::new(), true);
    if let Ok(bytes) = Inflate::new(Cursor::new(message.value.as_slice())) {
        let mut frames = Frames::new(std::io::BufReader::new(bytes), 0);
        loop {
            match frames.next_frame() {
                Ok(Some(Framed::Record(_))) => found.push(frames.bytes().to_vec()),
                Ok(None) => break,
                // What can't be taken apart is handed on as it came, and is set aside with its offset.
                Ok(Some(Framed::TooLong(_))) | Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
    }
    if !whole {
        found = vec![message.value];
    }
    // Offsets are far below 2^48: the records of one message are told apart above that.
    (0..).zip(found).map(|(nth, bytes): (u64, _)| Record { position: position | nth << 48, at, bytes }).collect()
}

#[async_trait::async_trait]
impl Follow for KafkaTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => KafkaConsumer::join(&self.topic, &self.access, &self.next).await?,
        };
        let looked = self.look(&mut consumer).await;
        // A client connects again by itself. It is made anew where what it was made with was refused, and where messages
        // were handed over that did not become durable.
        let keep = match &looked {
            Ok(()) => true,
            Err(IngestError::Service(error)) => error.is_transient(),
            Err(_) => false,
        };
        self.consumer = keep.then_some(consumer);
        if looked.is_err() {
            self.look_due = Instant::now();
        }
        looked.map(|()| Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let message = KafkaMessage { partition: 3, offset: 17, at_ms: Some(5), value: value.to_vec() };
        records(message, Timestamp(0)).into_iter().map(|record| (record.position, record.bytes)).collect()
    }

    #[test]
    fn a_message_holds_one_record_or_lines_of_them() {
        assert_eq!(read(b"{\"records\": [\n{\"a\":1}]}"), [(17, b"{\"records\": [\n{\"a\":1}]}".to_vec())]);
        assert_eq!(
            read(b"{\"a\":1}\n{\"b\":2}\n"),
            [(17, b"{\"a\":1}".to_vec()), (17 | 1 << 48, b"{\"b\":2}".to_vec())]
        );
        assert!(read(b"").is_empty());
    }

    #[test]
    fn a_message_that_is_cut_is_handed_on_as_it_came() {
        let cut = [0x1f, 0x8b, 8, 0, 1];
        assert_eq!(read(&cut), [(17, cut.to_vec())]);
    }
}
