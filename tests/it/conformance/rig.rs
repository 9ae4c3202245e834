//! A followed source beside a cloud: what it takes in, what its board says, and how it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polymeter::app::follower;
use polymeter::clock::Clock;
use polymeter::config::{Config, SourceConfig};
use polymeter::journal::{Commit, Journal};
use polymeter::model::Timestamp;
use polymeter::pipeline::{Pauses, follow};
use polymeter::store::Store;
use polymeter::telemetry::{SourceBoard, SourceStatus};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cloud::{Cloud, Event};
use crate::harness::{PATIENCE, runtime};
use crate::records::{azure_usage, bedrock_at, gzip};

/// The sources of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bucket, listed.
    Bucket,
    /// A bucket with a queue of notifications.
    Queue,
    /// A log group.
    LogGroup,
    /// A log group, with Live Tail.
    LiveTail,
    /// A container whose blobs grow.
    Container,
}

pub const ALL: [Kind; 5] = [Kind::Bucket, Kind::Queue, Kind::LogGroup, Kind::LiveTail, Kind::Container];
/// One second of the suite is more than a minute and a half of the product.
pub const PAUSES: Pauses = Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(600) };
pub const POLL: Duration = Duration::from_millis(20);
const BUCKET_ROOT: &str = "llm/AWSLogs/111122223333/BedrockModelInvocationLogs/eu-central-1";
const RESOURCE: &str = "resourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A";

/// A clock that is wrong by so many microseconds.
struct Skewed(i64);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        Timestamp(crate::records::now_us() + self.0)
    }
}

/// What was taken in so far.
#[derive(Default)]
pub struct Seen {
    /// Rows, those of copies too.
    pub rows: usize,
    pub ids: BTreeSet<String>,
    pub quarantined: Vec<String>,
}

pub struct Rig {
    pub cloud: Cloud,
    pub board: SourceBoard,
    pub kind: Kind,
    pub seen: Seen,
    dir: TempDir,
    skew_us: i64,
    /// Locations with so few objects are listed whole.
    pub small: usize,
    /// How long a message is hidden at once.
    pub hidden: Duration,
    running: Option<Running>,
}

struct Running {
    journal: Journal,
    commits: mpsc::UnboundedReceiver<Commit>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The log event of a call.
pub fn event(n: u64, at_us: i64) -> Event {
    (format!("event-{n}"), at_us / 1000 + i64::try_from(n % 1000).unwrap(), bedrock_at(9, n, at_us).to_string())
}

impl Rig {
    pub async fn new(kind: Kind) -> Self {
        let (cloud, dir) = (Cloud::start().await, TempDir::new().unwrap());
        let rig = Self {
            cloud,
            board: SourceBoard::default(),
            kind,
            seen: Seen::default(),
            dir,
            skew_us: 0,
            small: 3000,
            hidden: Duration::from_secs(120),
            running: None,
        };
        rig.keys("OLDKEY");
        rig
    }

    pub const fn skewed(mut self, us: i64) -> Self {
        self.skew_us = us;
        self
    }

    /// What credentials it is given.
    pub fn keys(&self, key: &str) {
        let aws = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n");
        std::fs::write(self.dir.path().join("aws"), aws).unwrap();
        std::fs::write(self.dir.path().join("sas"), format!("sv=2024&sig={key}")).unwrap();
    }

    fn source(&self) -> SourceConfig {
        let (url, dir) = (&self.cloud.url, self.dir.path().display());
        let aws = format!("region = 'eu-central-1'\nendpoint = '{url}'\ncredentials_file = '{dir}/aws'\n");
        let text = match self.kind {
            Kind::Bucket => format!("kind = 'bedrock'\nlocation = 's3://logs/llm'\n{aws}"),
            Kind::Queue => {
                format!("kind = 'bedrock'\nlocation = 's3://logs/llm'\nqueue_url = '{url}/1/notices'\n{aws}")
            }
            Kind::LogGroup | Kind::LiveTail => format!(
                "kind = 'bedrock'\nlocation = 'cloudwatch:///llm/logs'\nstart_hours = 2\nlive_tail = {}\n{aws}",
                self.kind == Kind::LiveTail
            ),
            Kind::Container => format!(
                "kind = 'azure'\nlocation = 'az://logs/'\nstorage_account = 'acme'\nendpoint = '{url}'\nauth = 'sas'\nsecret_file = '{dir}/sas'\n"
            ),
        };
        let mut source = Config::parse(&format!("[[source]]\nname = 'it'\n{text}")).unwrap().sources.remove(0);
        source.poll_every = if self.kind == Kind::Queue { Duration::from_secs(3600) } else { POLL };
        source.sweeps.poll_every = source.poll_every;
        source.sweeps.small = self.small;
        source.sweeps.hidden = self.hidden;
        source
    }

    pub async fn start(&mut self) {
        let store = Store::open(self.dir.path().join("data").to_str().unwrap()).await.unwrap();
        let (sender, commits) = mpsc::unbounded_channel();
        let journal = Journal::open(&store, "w", 0, Some(sender)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(Skewed(self.skew_us));
        let (source, station) = follower(&self.source(), &journal, &clock, &self.board);
        let cancel = CancellationToken::new();
        let task = runtime().spawn(follow(source, station, PAUSES, cancel.clone()));
        self.running = Some(Running { journal, commits, cancel, task });
    }

    /// Ends it as a crash does: at once, wherever it is.
    pub async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.task.abort();
        let _ = running.task.await;
        self.end(running.journal, running.commits).await;
    }

    /// Ends it in order; how long that took.
    pub async fn stop(&mut self) -> Duration {
        let running = self.running.take().unwrap();
        let asked = Instant::now();
        running.cancel.cancel();
        tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap();
        let took = asked.elapsed();
        self.end(running.journal, running.commits).await;
        took
    }

    /// The writer ends with its last handle; what it did until then counts.
    async fn end(&mut self, journal: Journal, mut commits: mpsc::UnboundedReceiver<Commit>) {
        drop(journal);
        while let Some(commit) = commits.recv().await {
            self.note(&commit);
        }
    }

    pub fn brake(&self, on: bool) {
        let running = self.running.as_ref().unwrap();
        running.journal.brake().store(on, std::sync::atomic::Ordering::SeqCst);
    }

    fn note(&mut self, commit: &Commit) {
        for observation in &commit.rows.observations {
            self.seen.rows += 1;
            self.seen.ids.insert(observation.observation_id.to_string());
        }
        self.seen.quarantined.extend(commit.rows.quarantined.iter().map(|row| row.reason.clone()));
    }

    pub fn look(&mut self) {
        let mut running = self.running.take().unwrap();
        while let Ok(commit) = running.commits.try_recv() {
            self.note(&commit);
        }
        self.running = Some(running);
    }

    /// Waits until something holds of what was seen.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.look();
            if holds(self) {
                return;
            }
            assert!(
                Instant::now() < end,
                "{:?}: never {what}: {} rows, {:?}",
                self.kind,
                self.seen.rows,
                self.status()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_seen(&mut self, calls: usize) {
        self.until(&format!("{calls} calls"), |rig| rig.seen.ids.len() >= calls).await;
        assert_eq!(self.seen.ids.len(), calls, "{:?}", self.kind);
    }

    pub fn status(&self) -> SourceStatus {
        self.board.all().remove("it").unwrap_or_default()
    }

    /// The folder of an hour, so many hours before now.
    fn hour(form: &str, hours_ago: i64) -> String {
        let at = crate::records::now_us() - hours_ago * 3_600_000_000;
        chrono::DateTime::from_timestamp_micros(at).unwrap().format(form).to_string()
    }

    /// Where Bedrock puts a log object, so many hours before now.
    fn log_key(name: &str, hours_ago: i64) -> String {
        format!("{BUCKET_ROOT}/{}/{name}.json.gz", Self::hour("%Y/%m/%d/%H", hours_ago))
    }

    /// Puts calls `from..to` where the source will find them, as the service would, `hours_ago`.
    pub fn feed_at(&self, from: u64, to: u64, hours_ago: i64) {
        let at_us = crate::records::now_us() - hours_ago * 3_600_000_000;
        let lines = |azure: bool| -> String {
            let line = |n| if azure { azure_usage(9, n, at_us) } else { bedrock_at(9, n, at_us) };
            (from..to).map(|n| format!("{}\n", line(n))).collect()
        };
        match self.kind {
            Kind::Bucket | Kind::Queue => {
                let key = Self::log_key(&format!("{from:08}_{from:016x}"), hours_ago);
                self.cloud.put(&key, gzip(lines(false).as_bytes()));
                if self.kind == Kind::Queue {
                    self.notify(&key);
                }
            }
            Kind::LogGroup | Kind::LiveTail => (from..to).for_each(|n| self.cloud.log(event(n, at_us))),
            Kind::Container => {
                let hour = Self::hour("y=%Y/m=%m/d=%d/h=%H/m=00", hours_ago);
                self.cloud.append(&format!("{RESOURCE}/{hour}/PT1H.json"), lines(true).as_bytes());
            }
        }
    }

    pub fn feed(&self, from: u64, to: u64) {
        self.feed_at(from, to, 0);
    }

    /// Puts a log object of Bedrock that is as long as its text.
    pub fn put_log(&self, name: &str, text: Vec<u8>) {
        self.cloud.put(&Self::log_key(name, 0), text);
    }

    pub fn notify(&self, key: &str) {
        let encoded = key.replace('=', "%3D").replace('/', "%2F");
        let record = json!({"eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "logs"}, "object": {"key": encoded, "sequencer": "1"}}});
        self.cloud.send(json!({"Records": [record]}).to_string());
    }
}
