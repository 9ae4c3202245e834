//! A store that fails while the server runs: what was acknowledged is there exactly once, what can't be kept is refused
//! in a form that exporters understand, and all is well again without a restart once the store is.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use polymeter::clock::SystemClock;
use polymeter::model::{MINUTE_US, SECOND_US};
use polymeter::pipeline::MeterOptions;
use polymeter::store::Store;
use tempfile::TempDir;

use crate::faulty_store::{Fault, Faults, FaultyStore};
use crate::inside::{Inside, Said, audit};
use crate::records::{now_us, span, spans};

/// Spans of one request.
const SPANS: u64 = 5;
/// What each span of these tests counts.
const ALL: &str = "SELECT count(*), count(DISTINCT span_id), sum(input_tokens) FROM calls";
/// Added to the numbers of another client's spans; a multiple of what tokens repeat by.
const ELSEWHERE: u64 = 7_000_000;
/// Longest time until an exporter has its answer: most give up after ten seconds.
const ANSWER: Duration = Duration::from_millis(9_900);

pub fn options() -> MeterOptions {
    MeterOptions { settle_every: Duration::from_millis(300), hot_us: MINUTE_US, ..MeterOptions::default() }
}

/// A client that remembers what it sent and what was kept.
pub struct Client {
    run: u32,
    /// Starts are counted back from here: what is sent again is the same span.
    base: i64,
    next: u64,
    kept: BTreeSet<u64>,
    refused: Vec<u64>,
}

impl Client {
    pub fn new(run: u32) -> Self {
        Self { run, base: now_us(), next: 0, kept: BTreeSet::new(), refused: Vec::new() }
    }

    /// Starts lie in the last forty minutes, so that most are settled and some are hot.
    fn request(&self, first: u64) -> serde_json::Value {
        let start = |n: u64| self.base - i64::try_from(n * 97 % 2400).unwrap() * SECOND_US;
        spans((first..first + SPANS).map(|n| span(self.run, n, start(n))).collect())
    }

    /// Sends `requests` at once, over HTTP and gRPC by turns; gives what was said.
    pub async fn send(&mut self, server: &Inside, requests: u64) -> Vec<Said> {
        let firsts: Vec<u64> = (0..requests).map(|n| self.next + n * SPANS).collect();
        self.next += requests * SPANS;
        self.deliver(server, firsts).await
    }

    async fn deliver(&mut self, server: &Inside, firsts: Vec<u64>) -> Vec<Said> {
        let sent = firsts.into_iter().enumerate().map(|(index, first)| {
            let request = self.request(first);
            async move {
                let began = Instant::now();
                let said = if index % 2 == 0 { server.post(&request).await } else { server.call(&request).await };
                assert!(began.elapsed() < ANSWER, "an answer took {:?}", began.elapsed());
                (first, said)
            }
        });
        let mut all = Vec::new();
        for (first, said) in join_all(sent).await {
            match said {
                Said::Kept => self.kept.extend(first..first + SPANS),
                _ => self.refused.push(first),
            }
            all.push(said);
        }
        all
    }

    /// Sends again what was refused until it is kept.
    pub async fn deliver_refused(&mut self, server: &Inside) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.refused.is_empty() {
            assert!(Instant::now() < end, "{} requests are still refused", self.refused.len());
            let again = std::mem::take(&mut self.refused);
            self.deliver(server, again).await;
        }
    }

    /// Requests whose spans are lost for a reason that the test knows.
    pub fn forget_request(&mut self, index: u64) {
        self.kept.retain(|n| n / SPANS != index);
    }

    /// Takes over what another client knows to be kept.
    pub fn also(&mut self, other: &Self) {
        self.kept.extend(other.kept.iter().map(|n| n + ELSEWHERE));
    }

    /// Calls, spans and input tokens of everything that was kept.
    pub fn truth(&self) -> Vec<i64> {
        let calls = i64::try_from(self.kept.len()).unwrap();
        let tokens: u64 = self.kept.iter().map(|n| 100 + n % 7).sum();
        vec![calls, calls, i64::try_from(tokens).unwrap()]
    }

    /// Everything that was kept is there exactly once: for this process, for another one, and computed again.
    pub async fn assert_exact(&self, server: &Inside, what: &str) {
        server.settles().await;
        assert_eq!(server.numbers(ALL).await.unwrap(), self.truth(), "{what}: as the server sees it");
        let loaded = server.loaded().await;
        assert_eq!(server.numbers_of(&loaded, ALL).await.unwrap(), self.truth(), "{what}: as another process sees it");
        let audit = audit(&server.store, &SystemClock).await;
        assert!(audit.ledger.calls > 0, "{what}: nothing is settled");
        assert_eq!((audit.differing, audit.ledger), (0, audit.computed), "{what}: {:?}", audit.differences);
    }
}

pub async fn open(dir: &Path, faults: &Arc<Faults>) -> Store {
    let faults = Arc::clone(faults);
    let store = Store::open(dir.to_str().unwrap()).await.unwrap();
    store.wrapped(|inner| Arc::new(FaultyStore::new(inner, faults)))
}

/// A query while the store fails may fail; what it answers must be true.
async fn ask(server: &Inside, client: &Client, what: &str) {
    let Ok(answer) = server.numbers(ALL).await else { return };
    let sent = i64::try_from(client.next).unwrap();
    assert!(answer[0] == answer[1] && answer[0] <= sent, "{what}: {answer:?} of {sent}");
}

/// One fault at one place, from before it until all is well again.
async fn outlive(run: u32, fault: Fault, place: &'static str, expected: &Said) {
    let what = format!("{fault:?} at {place}");
    let (dir, faults) = (TempDir::new().unwrap(), Faults::none());
    let server = Inside::start(open(dir.path(), &faults).await, Arc::new(SystemClock), options()).await;
    let mut client = Client::new(run);
    assert!(client.send(&server, 8).await.iter().all(|said| *said == Said::Kept), "{what}: before");
    client.assert_exact(&server, &what).await;

    faults.begin(fault, place);
    let began = Instant::now();
    let mut answers = 0;
    // Long enough for several settles, or attempts at them, and until something went wrong at all.
    while began.elapsed() < Duration::from_millis(2_500) || faults.hits() == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: nothing went wrong");
        let said = client.send(&server, 4).await;
        assert!(said.iter().all(|said| said == expected), "{what}: {said:?}");
        answers += said.len();
        if fault != Fault::Hang {
            ask(&server, &client, &what).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (hits, lasted) = (faults.hits(), began.elapsed());
    faults.end();

    let began = Instant::now();
    client.deliver_refused(&server).await;
    assert!(client.send(&server, 4).await.iter().all(|said| *said == Said::Kept), "{what}: after");
    client.assert_exact(&server, &what).await;
    println!(
        "{what}: {hits} hits and {answers} answers in {lasted:?}, well {:?} after it, {} calls",
        began.elapsed(),
        client.kept.len()
    );
    let _ = server.stop().await;
}

async fn outlive_all(run: u32, fault: Fault, cases: &[(&'static str, Said)]) {
    let cases = cases.iter().zip(run..).map(|((place, expected), run)| outlive(run, fault, place, expected));
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_refuses_everything() {
    let cases = [("journal/", Said::Unavailable), ("calls/", Said::Kept), ("observations/", Said::Kept)];
    outlive_all(100, Fault::Broken, &cases).await;
    outlive_all(110, Fault::Broken, &[("_delta_log/", Said::Kept), ("/", Said::Unavailable)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_full() {
    let cases = [("journal/", Said::Unavailable), ("calls/", Said::Kept), ("observations/", Said::Kept)];
    outlive_all(120, Fault::Full, &cases).await;
    outlive_all(130, Fault::Full, &[("_delta_log/", Said::Kept), ("/", Said::Unavailable)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_does_it_and_reports_an_error() {
    let cases = [("journal/", Said::Unavailable), ("calls/", Said::Kept), ("observations/", Said::Kept)];
    outlive_all(140, Fault::LostAnswer, &cases).await;
    outlive_all(150, Fault::LostAnswer, &[("_delta_log/", Said::Kept), ("/", Said::Unavailable)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_store() {
    outlive_all(160, Fault::Slow, &[("journal/", Said::Kept), ("/", Said::Kept)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_hangs() {
    let cases = [("journal/", Said::Unavailable), ("calls/", Said::Kept), ("observations/", Said::Kept)];
    outlive_all(170, Fault::Hang, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_entry_that_is_said_to_be_there() {
    let cases = [("calls/_delta_log/", Said::Kept), ("observations/_delta_log/", Said::Kept)];
    outlive_all(180, Fault::Conflict, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_can_not_be_read() {
    let cases = [("journal/", Said::Kept), ("calls/", Said::Kept), ("observations/", Said::Kept)];
    outlive_all(190, Fault::Unreadable, &cases).await;
    outlive_all(200, Fault::Unreadable, &[("/", Said::Kept)]).await;
}
