//! Queries while calls come in, the horizon moves and settles run as often as they can: no answer may show a call twice,
//! half of it, or lack what an earlier answer showed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use futures::future::join_all;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use polymeter::clock::{Clock, ManualClock};
use polymeter::ledger::View;
use polymeter::model::{MINUTE_US, SECOND_US, Timestamp};
use polymeter::pipeline::MeterOptions;
use polymeter::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::PATIENCE;
use crate::inside::{Inside, Said, audit, integer};
use crate::records::{now_us, span, spans};

/// Input tokens that the first witness of each call states; it states no others.
const INPUT: i64 = 1000;
/// Output tokens that the second witness states; it states no others.
const OUTPUT: i64 = 7;
const SUMS: &str = "SELECT count(*), count(DISTINCT span_id), count(DISTINCT response_id), sum(input_tokens), \
    count(output_tokens), sum(output_tokens) FROM calls";
const EACH: &str = "SELECT response_id, input_tokens, output_tokens FROM calls";

/// Number of turns of the sender; the clock moves on by three quarters of a minute in each.
const TURNS: u64 = 160;
/// New calls in a turn.
const CALLS: u64 = 6;
/// Tasks that ask.
const ASKING: usize = 3;

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// A span of call `n`: the application's own if `first`, or a second one in another trace that has the call's id too.
fn witness(n: u64, first: bool, start: i64) -> Value {
    let (run, key, tokens) =
        if first { (400, "gen_ai.usage.input_tokens", INPUT) } else { (401, "gen_ai.usage.output_tokens", OUTPUT) };
    let mut witness = span(run, n, start);
    let attributes = witness["attributes"].as_array_mut().unwrap();
    attributes.retain(|attribute| !attribute["key"].as_str().unwrap().starts_with("gen_ai.usage."));
    attributes.push(text("gen_ai.response.id", &format!("chatcmpl-{n}")));
    attributes.push(json!({"key": key, "value": {"intValue": tokens.to_string()}}));
    witness
}

/// What the tasks know of each other.
#[derive(Default)]
struct Known {
    /// Calls that may be shown: they were sent, or are being sent.
    sent: AtomicI64,
    /// The most calls that any answer showed.
    shown: AtomicI64,
    over: AtomicBool,
    answers: AtomicU64,
    /// Answers in which fewer calls were merged than in one before.
    unmerged: AtomicU64,
}

/// Asks for sums until all is over: the checks of every answer.
async fn ask_sums(server: &Inside, known: &Known) -> (BTreeSet<u64>, BTreeSet<Timestamp>) {
    let (mut versions, mut horizons) = (BTreeSet::new(), BTreeSet::new());
    let mut merged = 0;
    while !known.over.load(Ordering::SeqCst) {
        let shown = known.shown.load(Ordering::SeqCst);
        let view = server.meter.view().load_full();
        versions.insert(view.calls.table().version());
        horizons.extend(view.horizon);
        let answer = server.numbers_of(&view, SUMS).await.expect("an answer");
        let sent = known.sent.load(Ordering::SeqCst);
        let [calls, spans, ids, input, with_output, output] = answer[..] else { panic!("{answer:?}") };
        assert!(calls == spans && calls == ids, "a call is shown twice: {answer:?}");
        assert!(calls <= sent, "{calls} calls of {sent}");
        assert!(calls >= shown, "{calls} calls after {shown}: shown before and now missing");
        assert_eq!((input, output), (INPUT * calls, OUTPUT * with_output), "half a call: {answer:?}");
        known.shown.fetch_max(calls, Ordering::SeqCst);
        known.unmerged.fetch_add(u64::from(with_output < merged), Ordering::SeqCst);
        merged = with_output;
        known.answers.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    (versions, horizons)
}

/// Asks for each call until all is over: what it showed once it shows again, whatever else comes.
async fn ask_each(server: &Inside, known: &Known) {
    let mut before: BTreeSet<String> = BTreeSet::new();
    while !known.over.load(Ordering::SeqCst) {
        let view = server.meter.view().load_full();
        let calls = each(server, &view).await;
        let now: BTreeSet<String> = calls.keys().cloned().collect();
        let missing: Vec<_> = before.difference(&now).take(5).collect();
        assert!(missing.is_empty(), "shown before and now missing: {missing:?}, horizon {:?}", view.horizon);
        before = now;
        known.answers.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tokens of each call.
async fn each(server: &Inside, view: &View) -> HashMap<String, (i64, i64)> {
    let mut calls = HashMap::new();
    for batch in server.rows_of(view, EACH).await.expect("an answer") {
        let ids = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        for (row, id) in ids.as_string::<i32>().iter().enumerate() {
            let tokens = (integer(batch.column(1), row), integer(batch.column(2), row));
            let again = calls.insert(id.unwrap().to_owned(), tokens);
            assert!(again.is_none() && tokens.0 == INPUT, "{id:?}: {tokens:?} and {again:?}");
        }
    }
    calls
}

/// Sends new calls and, later, what else there is to say of earlier ones; gives the calls that have two witnesses.
async fn send(server: &Inside, clock: &ManualClock, known: &Known) -> BTreeSet<u64> {
    let mut later: Vec<(u64, Value)> = Vec::new();
    let mut pairs = BTreeSet::new();
    for turn in 0..TURNS {
        let now = clock.now().plus(45 * SECOND_US);
        clock.set(now);
        let mut request = Vec::new();
        for n in turn * CALLS..(turn + 1) * CALLS {
            // Most start behind the horizon, which is at least two minutes back; some come too late for that.
            let age = if n % 10 == 9 { 12 * MINUTE_US } else { i64::try_from(n * 31 % 90).unwrap() * SECOND_US };
            let start = now.0 - age;
            request.push(witness(n, true, start));
            // Up to ten minutes of the clock later: before, while and after the call is settled.
            let at = turn + 1 + n * 7 % 40;
            match n % 4 {
                0 => later.push((at, witness(n, false, start - 4 * MINUTE_US))),
                1 => later.push((at, witness(n, false, start + i64::try_from(n % 16).unwrap() * 10 * SECOND_US))),
                2 => later.push((at, witness(n, true, start))),
                _ => {}
            }
            if n % 4 < 2 {
                pairs.insert(n);
            }
        }
        let due = later.extract_if(.., |(at, _)| *at <= turn).map(|(_, witness)| witness);
        let due: Vec<Value> = due.collect();
        known.sent.fetch_add(i64::try_from(CALLS).unwrap(), Ordering::SeqCst);
        assert_eq!(server.post(&spans(request)).await, Said::Kept);
        if !due.is_empty() {
            assert_eq!(server.post(&spans(due)).await, Said::Kept);
        }
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    let rest: Vec<Value> = later.into_iter().map(|(_, witness)| witness).collect();
    assert_eq!(server.post(&spans(rest)).await, Said::Kept);
    pairs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_shows_one_moment() {
    shows_moments(MeterOptions::default().hot_rows).await;
}

/// What is settled leaves the memory at once: of later witnesses only keys tell that they belong to the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_shows_one_moment_with_little_memory() {
    shows_moments(50).await;
}

async fn shows_moments(hot_rows: usize) {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(now_us()).floor(MINUTE_US)));
    let options = MeterOptions {
        settle_every: Duration::from_millis(10),
        hot_us: 2 * MINUTE_US,
        hot_rows,
        ..MeterOptions::default()
    };
    let store = Store::open(dir.path().to_str().unwrap()).await.unwrap();
    let server = Inside::start(store, Arc::clone(&clock) as Arc<dyn Clock>, options).await;
    let known = Known::default();
    let sending = async {
        let pairs = send(&server, &clock, &known).await;
        known.over.store(true, Ordering::SeqCst);
        pairs
    };
    let asking = join_all((0..ASKING).map(|_| ask_sums(&server, &known)));
    let (pairs, seen, ()) = tokio::join!(sending, asking, ask_each(&server, &known));
    let mut versions = BTreeSet::new();
    let mut horizons = BTreeSet::new();
    for (of_versions, of_horizons) in seen {
        versions.extend(of_versions);
        horizons.extend(of_horizons);
    }
    let answers = known.answers.load(Ordering::SeqCst);
    let unmerged = known.unmerged.load(Ordering::SeqCst);
    println!(
        "{answers} answers over {} settles and {} horizons, {unmerged} of them with fewer merged calls than one before",
        versions.len(),
        horizons.len()
    );
    // How much does depends on what else the machine does.
    assert!(answers >= 50 && versions.len() >= 5 && horizons.len() >= 5, "too little happened");

    server.settles().await;
    let expected: HashMap<String, (i64, i64)> = (0..TURNS * CALLS)
        .map(|n| (format!("chatcmpl-{n}"), (INPUT, if pairs.contains(&n) { OUTPUT } else { 0 })))
        .collect();
    let view = server.meter.view().load_full();
    assert!(each(&server, &view).await == expected, "at the end");
    assert!(each(&server, &server.loaded().await).await == expected, "read again");
    let audit = audit(&server.store, &*clock).await;
    assert!(audit.ledger.calls > 500, "{:?}", audit.ledger);
    assert_eq!((audit.differing, audit.ledger), (0, audit.computed), "{:?}", audit.differences);
    server.stop().await;
}

/// Observations to keep in memory.
const ROOM: usize = 2_000;
/// Spans that are sent, a hundred in a request, a thousand in a minute of the clock.
const MANY: u64 = 20_000;

/// Memory does not grow with traffic: the horizon comes closer, and what is settled makes room.
async fn bounded(gauges: PrometheusHandle) {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(now_us())));
    // Only pressure makes it settle, but for the first time.
    let options =
        MeterOptions { settle_every: PATIENCE, hot_us: 60 * MINUTE_US, hot_rows: ROOM, ..MeterOptions::default() };
    let store = Store::open(dir.path().to_str().unwrap()).await.unwrap();
    let server = Inside::start(store, Arc::clone(&clock) as Arc<dyn Clock>, options).await;
    let members = || gauge(&gauges.render(), "polymeter_hot_observations");
    let (mut most, mut spans_sent) = (0, 0);
    let mut send = async |count: u64| {
        clock.set(clock.now().plus(6 * SECOND_US));
        let numbers = spans_sent..spans_sent + count;
        spans_sent += count;
        let request = spans(numbers.map(|n| span(410, n, clock.now().0)).collect());
        assert_eq!(server.post(&request).await, Said::Kept);
        (spans_sent, request)
    };
    for turn in 0..MANY / 100 {
        let (sent, _) = send(100).await;
        if turn % 20 == 19 {
            all_shown(&server, sent).await;
        }
        tokio::time::sleep(Duration::from_millis(70)).await;
        most = most.max(members());
        // On a busy machine a settle takes longer than it takes to send that much: what counts is that it makes room.
        falls_to(&members, 2 * ROOM).await;
    }
    let horizon = server.meter.view().load().horizon.unwrap();
    let hot = clock.now().0 - horizon.0;
    println!("at most {most} observations in memory, {} s hot at the end", hot / SECOND_US);
    assert!(most > ROOM && most <= ROOM * 3, "{most} observations in memory");
    assert!((MINUTE_US..10 * MINUTE_US).contains(&hot), "the horizon is {} s back", hot / SECOND_US);

    // What is settled and still in memory is no pressure: a trickle does not make it settle again and again.
    let versions = || server.meter.view().load().calls.table().version();
    falls_to(&members, ROOM).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = versions();
    let mut last = 0;
    for _ in 0..40 {
        (last, _) = send(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    all_shown(&server, last).await;
    let settles = versions() - before;
    println!("{settles} settles during a trickle, {} observations in memory", members());
    server.settles().await;
    all_shown(&server, last).await;
    let loaded = server.loaded().await;
    assert_eq!(server.numbers_of(&loaded, TOTALS).await.unwrap(), totals(last));
    let audit = audit(&server.store, &*clock).await;
    assert_eq!((audit.differing, audit.ledger), (0, audit.computed), "{:?}", audit.differences);
    assert!(audit.ledger.calls >= MANY / 2);
    server.stop().await;
    assert!(settles <= 2, "{settles} settles during a trickle");
}

async fn falls_to(members: impl Fn() -> usize, least: usize) {
    let end = Instant::now() + Duration::from_secs(20);
    while members() > least {
        assert!(Instant::now() < end, "{} observations in memory and no fewer", members());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const TOTALS: &str = "SELECT count(*), count(DISTINCT span_id), sum(input_tokens) FROM calls";

fn totals(spans: u64) -> Vec<i64> {
    let tokens: u64 = (0..spans).map(|n| 100 + n % 7).sum();
    [spans, spans, tokens].map(|n| i64::try_from(n).unwrap()).to_vec()
}

/// The first `sent` spans are shown, each once, soon.
async fn all_shown(server: &Inside, sent: u64) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = server.numbers(TOTALS).await.unwrap();
        if answer == totals(sent) {
            return;
        }
        assert!(answer[0] == answer[1] && answer[0] < totals(sent)[0], "{answer:?} of {sent}");
        assert!(Instant::now() < end, "{answer:?} of {sent} after ten seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn gauge(text: &str, name: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// On a runtime whose threads report to a recorder of their own, because other meters run beside it in this process.
#[test]
fn memory_is_bounded_by_rows() {
    let recorder: &'static _ = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .on_thread_start(move || std::mem::forget(metrics::set_default_local_recorder(recorder)))
        .build()
        .unwrap();
    let body = bounded(handle);
    runtime.block_on(async { runtime.handle().spawn(body).await.expect("the test") });
}
