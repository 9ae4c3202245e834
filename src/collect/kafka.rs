//! A topic of Kafka, read as a member of a consumer group; Event Hubs speaks the same protocol. Where to go on is said by
//! the caller, whose rows and offsets are durable together. What is committed to the group tells other members of it, and
//! people, how far this one is.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::ServiceError;
use super::entra::Entra;
use crate::store::{AzureAccess, KafkaAuth, KafkaTopic};

/// Name of the user whose password is a connection string.
const CONNECTION_STRING: &str = "$ConnectionString";
/// Longest wait for an answer about the topic, less than a stop may take.
const ANSWER: Duration = Duration::from_secs(4);
/// How long the group may keep an assignment waiting for its offsets.
const COMMITTED: Duration = Duration::from_secs(3);
/// What is taken in together at most.
const BATCH_MESSAGES: usize = 2000;
const BATCH_BYTES: usize = 8 << 20;
/// How long a batch waits for more after its first message.
const GATHER: Duration = Duration::from_millis(50);

/// One message with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaMessage {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its time, milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// Its value; nothing for a message that has none.
    pub value: Vec<u8>,
}

/// How far a partition was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// To its end, at the moment of the question.
    End,
    /// To a message of that time, milliseconds.
    Time(i64),
    /// Nothing is known yet.
    Unknown,
}

/// What is known of a partition that is ours.
#[derive(Clone, Copy, Debug, Default)]
struct Partition {
    /// Offset behind the last message that was handed over, or where it begins.
    next: Option<i64>,
    at_ms: Option<i64>,
    /// The end was reached: what lies behind `next` are marks of transactions.
    at_end: bool,
    /// Where the end was at the last question.
    high: Option<i64>,
}

#[derive(Default)]
struct Shared {
    /// Offsets up to which everything is durable here.
    durable: BTreeMap<i32, i64>,
    ours: BTreeMap<i32, Partition>,
    /// Changes with every assignment.
    generation: u64,
    trouble: Option<(RDKafkaErrorCode, String)>,
    token: Option<(String, i64)>,
}

/// What librdkafka calls back.
struct Context {
    shared: Arc<Mutex<Shared>>,
}

impl Context {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(error = %error, reason, "librdkafka");
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut shared = self.lock();
        // That no broker is left follows from a refusal, and says less.
        let refused = shared.trouble.as_ref().is_some_and(|(before, _)| !is_passing(*before));
        if !refused || !is_passing(code) {
            shared.trouble = Some((code, reason.to_owned()));
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let (token, lifetime_ms) = self.lock().token.clone().ok_or("there is no token of Entra yet")?;
        Ok(OAuthToken { token, principal_name: "polymeter".to_owned(), lifetime_ms })
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let partitions = match rebalance {
            Rebalance::Assign(partitions) => partitions,
            Rebalance::Revoke(_) => return self.lost(),
            Rebalance::Error(error) => {
                warn!(error = %error, "the group can't be balanced");
                return self.lost();
            }
        };
        // Another member may have gone on since; without an answer messages are read twice, which settles.
        let committed = consumer.committed_offsets((*partitions).clone(), COMMITTED);
        let committed: BTreeMap<i32, i64> = committed.map_or_else(|_| BTreeMap::new(), |list| offsets(&list));
        let mut shared = self.lock();
        shared.generation += 1;
        shared.ours.clear();
        for mut element in partitions.elements() {
            let partition = element.partition();
            let durable = shared.durable.get(&partition).copied();
            let next = durable.max(committed.get(&partition).copied());
            let offset = next.map_or(Offset::Beginning, Offset::Offset);
            if let Err(error) = element.set_offset(offset) {
                warn!(error = %error, partition, "the offset to go on from can't be set");
            }
            shared.ours.insert(partition, Partition { next, ..Partition::default() });
        }
        info!(partitions = ?shared.ours.keys().collect::<Vec<_>>(), "partitions of the topic are assigned");
    }
}

impl Context {
    fn lost(&self) {
        let mut shared = self.lock();
        shared.generation += 1;
        shared.ours.clear();
    }
}

fn offsets(list: &TopicPartitionList) -> BTreeMap<i32, i64> {
    let known = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
    list.elements().iter().filter_map(|element| Some((element.partition(), known(element.offset())?))).collect()
}

/// A member of a consumer group.
pub struct KafkaConsumer {
    consumer: Option<Arc<StreamConsumer<Context>>>,
    shared: Arc<Mutex<Shared>>,
    topic: String,
    tokens: Option<Entra>,
    /// What [`KafkaConsumer::batch`] has yet to say.
    refused: Option<ServiceError>,
    doubtful: bool,
}

impl KafkaConsumer {
    /// Joins the group. Partitions that it is given go on at `durable`, or where the group stands, if that is farther.
    ///
    /// # Errors
    /// A secret can't be read, Entra gives no token, or a setting is refused.
    pub async fn join(
        topic: &KafkaTopic,
        azure: &AzureAccess,
        durable: &BTreeMap<i32, i64>,
    ) -> Result<Self, ServiceError> {
        let joined = Self::connect(topic, azure, durable.clone()).await?;
        if let Some(consumer) = &joined.consumer {
            consumer.subscribe(&[&topic.topic]).map_err(|error| joined.failed(&error))?;
        }
        Ok(joined)
    }

    /// A client that is no member of the group.
    ///
    /// # Errors
    /// As for [`KafkaConsumer::join`].
    pub async fn connect(
        topic: &KafkaTopic,
        azure: &AzureAccess,
        durable: BTreeMap<i32, i64>,
    ) -> Result<Self, ServiceError> {
        let what = || format!("opening topic {}", topic.topic);
        let failed = |why: String| ServiceError::new(what(), why, None);
        let mut config = ClientConfig::new();
        for (key, value) in [
            ("bootstrap.servers", topic.brokers.as_str()),
            ("group.id", &topic.group),
            ("client.id", "polymeter"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            // Where the topic no longer holds the offset to go on from: everything that is there.
            ("auto.offset.reset", "earliest"),
            ("queued.max.messages.kbytes", "16384"),
            ("reconnect.backoff.ms", "500"),
            ("reconnect.backoff.max.ms", "30000"),
            ("session.timeout.ms", "30000"),
        ] {
            config.set(key, value);
        }
        let secret = || match &azure.secret {
            Some(secret) => secret.read().map_err(|error| failed(error.to_string())),
            None => Err(failed("neither secret_env nor secret_file is set".to_owned())),
        };
        let sasl = topic.auth != KafkaAuth::None;
        let protocol = match (topic.tls, sasl) {
            (true, true) => "sasl_ssl",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (false, false) => "plaintext",
        };
        config.set("security.protocol", protocol);
        if topic.tls {
            // The usual places of the system, unless a file is named.
            let place = topic.ca_file.as_ref().map_or_else(|| "probe".to_owned(), |file| file.display().to_string());
            config.set("ssl.ca.location", place);
        }
        let mut tokens = None;
        match &topic.auth {
            KafkaAuth::None => {}
            KafkaAuth::ConnectionString => {
                config.set("sasl.mechanism", "PLAIN");
                config.set("sasl.username", CONNECTION_STRING).set("sasl.password", secret()?);
            }
            KafkaAuth::Plain { user } => {
                config.set("sasl.mechanism", "PLAIN").set("sasl.username", user).set("sasl.password", secret()?);
            }
            KafkaAuth::Entra => {
                config.set("sasl.mechanism", "OAUTHBEARER");
                let host = topic.brokers.split([':', ',']).next().unwrap_or_default();
                tokens = Some(Entra::open(azure.clone(), &format!("https://{host}"))?);
            }
        }
        let shared = Arc::new(Mutex::new(Shared { durable, ..Shared::default() }));
        let mut client =
            Self { consumer: None, shared, topic: topic.topic.clone(), tokens, refused: None, doubtful: false };
        client.refresh_token().await?;
        let context = Context { shared: Arc::clone(&client.shared) };
        let consumer = config.create_with_context(context).map_err(|error| match error {
            // The text of the error would hold the value, which may be a secret.
            KafkaError::ClientConfig(_, why, key, _) => failed(format!("{key}: {why}")),
            other => failed(other.to_string()),
        })?;
        client.consumer = Some(Arc::new(consumer));
        Ok(client)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a token of Entra at hand, for when librdkafka asks.
    async fn refresh_token(&mut self) -> Result<(), ServiceError> {
        if let Some(tokens) = &mut self.tokens {
            let (token, good) = tokens.token_for().await?;
            let good_ms = i64::try_from(good.as_millis()).unwrap_or(i64::MAX);
            self.lock().token = Some((token, rdkafka::util::current_time_millis().saturating_add(good_ms)));
        }
        Ok(())
    }

    /// The next messages; none if there are none within `wait`.
    ///
    /// # Errors
    /// The cluster refuses, or the topic is not there.
    pub async fn batch(&mut self, wait: Duration) -> Result<Vec<KafkaMessage>, ServiceError> {
        self.refresh_token().await?;
        let Some(consumer) = self.consumer.clone() else { return Ok(Vec::new()) };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut generation = self.lock().generation;
        let mut end = Instant::now() + wait;
        let shared = Arc::clone(&self.shared);
        while self.refused.is_none() && batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Ok(received) = tokio::time::timeout_at(end, consumer.recv()).await else { break };
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.generation != generation {
                // What was not handed over yet comes again, here or elsewhere.
                generation = shared.generation;
                batch.clear();
                bytes = 0;
            }
            match received {
                Ok(message) => {
                    if batch.is_empty() {
                        end = end.min(Instant::now() + GATHER);
                    }
                    let (partition, offset) = (message.partition(), message.offset());
                    let at_ms = message.timestamp().to_millis();
                    // Of a partition that is not ours any longer: its new owner reads it.
                    let Some(place) = shared.ours.get_mut(&partition) else { continue };
                    *place = Partition { next: Some(offset + 1), at_ms, at_end: false, ..*place };
                    let value = message.payload().unwrap_or_default().to_vec();
                    bytes += value.len();
                    batch.push(KafkaMessage { partition, offset, at_ms, value });
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    if let Some(place) = shared.ours.get_mut(&partition) {
                        place.at_end = true;
                    }
                }
                // The client connects again by itself; whether it does is found out by asking.
                Err(error) if error.rdkafka_error_code().is_some_and(is_passing) => self.doubtful = true,
                Err(error) => {
                    drop(shared);
                    self.refused = Some(self.failed(&error));
                    break;
                }
            }
        }
        // What was received before must not be lost.
        match self.refused.take_if(|_| batch.is_empty()) {
            Some(refused) => Err(refused),
            None => Ok(batch),
        }
    }

    /// Whether the connection may be gone since [`KafkaConsumer::reached`] was asked.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Everything before `next` is durable. Says so to the group, which is for information only.
    pub fn durable(&self, next: &BTreeMap<i32, i64>) {
        let mut list = TopicPartitionList::new();
        let mut shared = self.lock();
        for (partition, offset) in next {
            shared.durable.insert(*partition, *offset);
            if shared.ours.contains_key(partition) {
                let set = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset));
                debug_assert!(set.is_ok(), "offsets are not negative");
            }
        }
        drop(shared);
        if let Some(consumer) = &self.consumer
            && let Err(error) = consumer.commit(&list, CommitMode::Async)
        {
            debug!(error = %error, "the group can't be told how far this member is");
        }
    }

    /// Asks the cluster where the ends of our partitions are; so it also finds out whether it answers.
    ///
    /// # Errors
    /// It does not answer or refuses.
    pub async fn reached(&mut self) -> Result<Vec<(i32, Reached)>, ServiceError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(Vec::new()) };
        let ours: BTreeSet<i32> = self.lock().ours.keys().copied().collect();
        let topic = self.topic.clone();
        let asked = tokio::task::spawn_blocking(move || {
            if ours.is_empty() {
                look_at(&consumer, &topic)?;
            }
            let high = |partition| Ok((partition, consumer.fetch_watermarks(&topic, partition, ANSWER)?.1));
            ours.into_iter().map(high).collect::<Result<Vec<_>, KafkaError>>()
        });
        let highs = asked.await.map_err(|error| ServiceError::new(self.what(), error.to_string(), None))?;
        let highs = highs.map_err(|error| self.failed(&error))?;
        self.doubtful = false;
        let mut shared = self.lock();
        shared.trouble = None;
        let mut reached = Vec::new();
        for (partition, high) in highs {
            let Some(place) = shared.ours.get_mut(&partition) else { continue };
            let nothing_new = place.at_end && place.high == Some(high);
            place.high = Some(high);
            let all = high == 0 || place.next.is_some_and(|next| next >= high) || nothing_new;
            let so_far = place.at_ms.map_or(Reached::Unknown, Reached::Time);
            reached.push((partition, if all { Reached::End } else { so_far }));
        }
        Ok(reached)
    }

    /// Number of partitions of the topic; joins nothing.
    ///
    /// # Errors
    /// The cluster does not answer or refuses, or there is no such topic.
    pub async fn partitions(&mut self) -> Result<usize, ServiceError> {
        let Some(consumer) = self.consumer.clone() else { return Ok(0) };
        let topic = self.topic.clone();
        let asked = tokio::task::spawn_blocking(move || look_at(&consumer, &topic));
        // Logging in needs somebody who listens.
        let (asked, _) = tokio::join!(asked, self.batch(Duration::from_secs(1)));
        let asked = asked.map_err(|error| ServiceError::new(self.what(), error.to_string(), None))?;
        asked.map_err(|error| self.failed(&error))
    }

    fn what(&self) -> String {
        format!("reading topic {}", self.topic)
    }

    fn failed(&self, error: &KafkaError) -> ServiceError {
        let code = error.rdkafka_error_code();
        let told = self.lock().trouble.take();
        let mut why = code.map_or_else(|| error.to_string(), |code| code.to_string());
        let mut named = code;
        // What the client was told before says more than that the time is over.
        if let Some((code, reason)) = told {
            why = format!("{why}: {reason}");
            named = Some(code);
        }
        let transient = named.is_some_and(is_passing);
        let failed = ServiceError::new(self.what(), why, named.and_then(hint_code).map(str::to_owned));
        if transient { failed.passing() } else { failed }
    }
}

impl Drop for KafkaConsumer {
    /// Leaving the group asks the cluster, which may hang: nobody waits for it.
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            std::thread::spawn(move || drop(consumer));
        }
    }
}

/// Number of partitions of the topic.
fn look_at(consumer: &StreamConsumer<Context>, topic: &str) -> Result<usize, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let found = metadata.topics().first();
    if let Some(error) = found.and_then(|found| found.error()) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(found.map_or(0, |found| found.partitions().len()))
}

/// The same client may well succeed soon: it connects again by itself.
const fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            // No leader is known of it, for want of a broker that tells.
            | Code::UnknownPartition
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::BrokerNotAvailable
            | Code::ThrottlingQuotaExceeded
    )
}

/// The code by which [`ServiceError`] knows what to advise.
const fn hint_code(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => Some("401"),
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Some("403")
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition => Some("404"),
        Code::ThrottlingQuotaExceeded => Some("429"),
        _ => None,
    }
}
