//! A topic as a source, against the small cluster that librdkafka brings along. What needs TLS, SASL or a real group
//! coordinator is in tests/full/kafka.py.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polymeter::app::follower;
use polymeter::clock::{Clock, SystemClock};
use polymeter::config::{Config, SourceConfig};
use polymeter::journal::{Commit, Journal};
use polymeter::pipeline::{Pauses, follow};
use polymeter::store::Store;
use polymeter::telemetry::{SourceBoard, SourceStatus};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::runtime;
use crate::records::{azure_usage, now_us};

const PAUSES: Pauses = Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(600) };
/// The mock's group coordinator takes seconds for a member that comes back.
const PATIENCE: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 3;

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Cluster {
    fn new() -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("logs", PARTITIONS, 1).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
        Self { mock, producer }
    }

    /// Calls `from..to`, in envelopes of three rows.
    fn feed(&self, from: u64, to: u64) {
        let rows: Vec<_> = (from..to).map(|n| azure_usage(9, n, now_us())).collect();
        for (n, rows) in rows.chunks(3).enumerate() {
            let text = json!({"records": rows}).to_string();
            let partition = i32::try_from(n).unwrap() % PARTITIONS;
            self.producer.send(BaseRecord::<(), str>::to("logs").partition(partition).payload(&text)).unwrap();
        }
        self.producer.flush(Duration::from_secs(20)).unwrap();
    }
}

struct Rig {
    brokers: String,
    dir: TempDir,
    board: SourceBoard,
    ids: BTreeSet<String>,
    rows: usize,
    running: Option<(Journal, mpsc::UnboundedReceiver<Commit>, CancellationToken, JoinHandle<()>)>,
}

impl Rig {
    fn new(brokers: &str) -> Self {
        let (dir, board) = (TempDir::new().unwrap(), SourceBoard::default());
        Self { brokers: brokers.to_owned(), dir, board, ids: BTreeSet::new(), rows: 0, running: None }
    }

    fn source(&self) -> SourceConfig {
        let text = format!(
            "[[source]]\nname = 'it'\nkind = 'azure'\nlocation = 'kafka://{}/logs'\ntls = false\n",
            self.brokers
        );
        let mut source = Config::parse(&text).unwrap().sources.remove(0);
        source.poll_every = Duration::from_millis(200);
        source
    }

    async fn start(&mut self) {
        let store = Store::open(self.dir.path().join("data").to_str().unwrap()).await.unwrap();
        let (sender, commits) = mpsc::unbounded_channel();
        let journal = Journal::open(&store, "w", 0, Some(sender)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (source, station) = follower(&self.source(), &journal, &clock, &self.board);
        let cancel = CancellationToken::new();
        let task = runtime().spawn(follow(source, station, PAUSES, cancel.clone()));
        self.running = Some((journal, commits, cancel, task));
    }

    /// Ends it in order, or as a crash does; how long that took.
    async fn end(&mut self, crash: bool) -> Duration {
        let (journal, mut commits, cancel, task) = self.running.take().unwrap();
        let asked = Instant::now();
        if crash {
            task.abort();
        } else {
            cancel.cancel();
        }
        let _ = task.await;
        let took = asked.elapsed();
        drop(journal);
        while let Some(commit) = commits.recv().await {
            self.note(&commit);
        }
        took
    }

    fn note(&mut self, commit: &Commit) {
        for observation in &commit.rows.observations {
            self.rows += 1;
            self.ids.insert(observation.observation_id.to_string());
        }
        assert!(commit.rows.quarantined.is_empty(), "{:?}", commit.rows.quarantined);
    }

    fn status(&self) -> SourceStatus {
        self.board.all().remove("it").unwrap_or_default()
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut running = self.running.take().unwrap();
            while let Ok(commit) = running.1.try_recv() {
                self.note(&commit);
            }
            self.running = Some(running);
            if holds(self) {
                return;
            }
            assert!(Instant::now() < end, "never {what}: {} rows, {:?}", self.rows, self.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[test]
fn offsets_are_durable_with_the_rows_and_a_crash_loses_nothing() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        let mut rig = Rig::new(&cluster.mock.bootstrap_servers());
        cluster.feed(0, 20);
        rig.start().await;
        rig.until("20 calls", |rig| rig.ids.len() == 20).await;
        rig.until("complete", |rig| rig.status().complete_to.is_some()).await;
        assert_eq!((rig.status().state, rig.status().kind.as_str()), ("running", "azure"));
        cluster.feed(20, 50);
        rig.end(true).await;
        cluster.feed(50, 60);
        rig.start().await;
        rig.until("60 calls", |rig| rig.ids.len() == 60).await;
        rig.end(false).await;
        assert_eq!(rig.rows, 60, "what was durable is not read again");
        // The group's own offsets are for information: without them everything is as it was.
        rig.start().await;
        cluster.feed(60, 61);
        rig.until("61 calls", |rig| rig.ids.len() == 61).await;
        rig.end(false).await;
        assert_eq!(rig.rows, 61);
    });
}

#[test]
fn a_broker_that_is_down_is_shown_asked_now_and_then_and_read_on_from() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        let mut rig = Rig::new(&cluster.mock.bootstrap_servers());
        cluster.feed(0, 6);
        rig.start().await;
        rig.until("6 calls", |rig| rig.ids.len() == 6).await;
        cluster.mock.broker_down(1).unwrap();
        rig.until("told", |rig| rig.status().state == "retrying" && rig.status().last_error.is_some()).await;
        cluster.mock.broker_up(1).unwrap();
        cluster.feed(6, 12);
        rig.until("12 calls", |rig| rig.ids.len() == 12).await;
        rig.until("running", |rig| rig.status().state == "running").await;
        rig.end(false).await;
    });
}

#[test]
fn what_waits_for_the_journal_stays_in_the_topic() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        let mut rig = Rig::new(&cluster.mock.bootstrap_servers());
        cluster.feed(0, 3);
        rig.start().await;
        rig.until("3 calls", |rig| rig.ids.len() == 3).await;
        rig.running.as_ref().unwrap().0.brake().store(true, std::sync::atomic::Ordering::SeqCst);
        cluster.feed(3, 9);
        tokio::time::sleep(Duration::from_secs(2)).await;
        rig.until("nothing more", |rig| rig.ids.len() == 3).await;
        rig.running.as_ref().unwrap().0.brake().store(false, std::sync::atomic::Ordering::SeqCst);
        rig.until("9 calls", |rig| rig.ids.len() == 9).await;
        rig.end(false).await;
    });
}

#[test]
fn an_endpoint_that_hangs_up_is_not_stormed_and_a_stop_is_quick() {
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        drop(runtime().spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                drop(socket);
            }
        }));
        let mut rig = Rig::new(&address);
        rig.start().await;
        rig.until("told", |rig| rig.status().last_error.is_some()).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let asked = count.load(std::sync::atomic::Ordering::SeqCst);
        assert!((2..60).contains(&asked), "{asked} connections");
        assert_eq!(rig.status().state, "retrying");
        let took = rig.end(false).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn a_topic_that_is_not_there_is_told() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        let mut source = Rig::new(&cluster.mock.bootstrap_servers());
        source.start().await;
        cluster
            .mock
            .topic_error("logs", rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            .unwrap();
        source.until("told", |rig| rig.status().last_error.is_some()).await;
        source.end(false).await;
    });
}
