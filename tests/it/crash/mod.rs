//! What was acknowledged survives the death of the process, once.

mod call;
mod logs;
mod rng;
mod rounds;
mod truth;
mod world;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use polymeter::model::Timestamp;
use serde_json::Value;

pub use rng::Rng;

use call::{Call, ROLE, SOURCES};
use rounds::{POINTS, Rounds};
use truth::{Differences, ROWS};

use crate::harness::{PATIENCE, Place, Server, eventually, files_below};
use crate::records::{now_us, span, spans};

const SENDERS: usize = 3;
const SPANS: u64 = 7;

/// Sends until the server is gone; gives the numbers of all spans that were acknowledged.
fn stream(server: &Server<'_>, run: u32, stop: impl FnOnce(&AtomicU64)) -> Vec<u64> {
    let (next, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    let kept = Mutex::new(Vec::new());
    let gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !gone.load(Ordering::SeqCst) {
                    let first = next.fetch_add(SPANS, Ordering::SeqCst);
                    let numbers = first..first + SPANS;
                    let now = now_us();
                    let body = spans(numbers.clone().map(|n| span(run, n, now)).collect()).to_string();
                    match server.post("/v1/traces", &[("content-type", "application/json")], body) {
                        Some(reply) if reply.status == 200 => {
                            kept.lock().unwrap().extend(numbers);
                            acknowledged.fetch_add(1, Ordering::SeqCst);
                        }
                        // Refused while draining, or dead: either way nothing was promised.
                        _ => return,
                    }
                }
            });
        }
        stop(&acknowledged);
        gone.store(true, Ordering::SeqCst);
    });
    kept.into_inner().unwrap()
}

/// All spans of a run that are calls, and none twice.
fn assert_there(server: &Server<'_>, run: u32, acknowledged: &[u64]) {
    let prefix = format!("{run:016x}");
    let rows = server.sql(&format!("SELECT span_id FROM calls WHERE trace_id LIKE '{prefix}%'"));
    let mut found: Vec<u64> = rows
        .iter()
        .map(|row| u64::from_str_radix(row["span_id"].as_str().unwrap(), 16).unwrap() - (u64::from(run) << 32) - 1)
        .collect();
    found.sort_unstable();
    let all = found.len();
    found.dedup();
    assert_eq!(found.len(), all, "run {run}: a call is there twice");
    let lost: Vec<_> = acknowledged.iter().filter(|n| found.binary_search(n).is_err()).collect();
    assert!(lost.is_empty(), "run {run}: {} of {} acknowledged calls are lost", lost.len(), acknowledged.len());
    println!("run {run}: {} acknowledged, {all} there", acknowledged.len());
}

/// The number in an environment variable.
fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// What `polymeter sql` answers; it knows the attribution of `config`.
fn sql_of_the_store(place: &Place, config: &str, statement: &str) -> Vec<Value> {
    let (config, data) = (place.file("sql.toml", config), place.data());
    let done = place.run(&["sql", statement, "--config", &config, "--data", &data, "--format", "json"]);
    assert!(done.status.success(), "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

/// Both sources have read what their folders hold now.
fn are_complete(server: &Server<'_>, since_us: i64) -> bool {
    let sources = server.get("/api/v1/sources").json();
    SOURCES.iter().all(|name| {
        let source = &sources["sources"][name];
        let complete_to = source["complete_to"].as_str().and_then(Timestamp::parse);
        source["failed_objects"] == 0 && complete_to.is_some_and(|at| at.0 >= since_us)
    })
}

/// Known calls from three sources, with duplicates, in no order and late, and a process that dies all the time:
/// at the end every call is one row, and every column is right. `POLYMETER_CRASH_KILLS` says how often it dies,
/// `POLYMETER_CRASH_SEED` gives another load (how threads and the process interleave is never the same).
#[test]
fn killed_again_and_again_the_ledger_is_the_truth() {
    let (kills, seed) = (number("POLYMETER_CRASH_KILLS", 25), number("POLYMETER_CRASH_SEED", 20_261_121));
    println!("{kills} kills, seed {seed}");
    let place = Place::new();
    let sources = SOURCES.map(|name| {
        let location = place.text(name);
        format!("[[source]]\nname = '{name}'\nkind = 'bedrock'\nlocation = '{location}'\npoll_interval_s = 1\n")
    });
    let (role, team) = ROLE;
    let config = format!(
        "[settle]\ninterval_s = 1\nhot_s = 60\n[attribution.principals]\n'{role}' = '{team}'\n{}",
        sources.concat()
    );
    let mut rounds = Rounds::new(&place, &config, seed);
    while u64::from(rounds.tally.kills) < kills {
        rounds.next();
    }
    // One more life, in peace: the rest is delivered.
    let mut server = place.serve_with(&config, &[]);
    rounds.world().begin_last_round();
    let ended = rounds.deliver(&mut server);
    assert!(ended.is_none(), "it ended by itself: {}", server.stderr());
    assert!(rounds.world().is_delivered());
    let since = now_us();
    eventually("the sources are complete", PATIENCE, || are_complete(&server, since).then_some(()));
    let calls = rounds.world().calls().to_vec();
    let mut last = String::new();
    let settled = (0..60).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        let found = Differences::find(&calls, &server.sql(ROWS));
        last = found.to_string();
        found.is_empty()
    });
    println!("{}", rounds.tally);
    assert!(settled, "seed {seed}: {last}");
    let observations = calls.iter().map(Call::observations).sum::<usize>();
    let kept = server.number("SELECT count(DISTINCT observation_id) FROM observations");
    assert_eq!(usize::try_from(kept).unwrap(), observations);
    assert_eq!(server.number("SELECT count(*) FROM quarantine"), 0);
    let sorted = |mut rows: Vec<Value>| {
        rows.sort_by_key(|row| row["key"].to_string());
        rows
    };
    let rows = sorted(server.sql(ROWS));
    server.stop();
    let server = place.serve_with(&config, &[]);
    assert!(sorted(server.sql(ROWS)) == rows, "after a restart: {}", Differences::find(&calls, &server.sql(ROWS)));
    assert!(sorted(sql_of_the_store(&place, &config, ROWS)) == rows, "`polymeter sql` beside the server differs");
    server.stop();
    assert!(sorted(sql_of_the_store(&place, &config, ROWS)) == rows, "`polymeter sql` alone differs");
    assert!(!place.path("data/journal-damaged").exists());
    for log in place.logs() {
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(!text.contains("panicked"), "{}: {text}", log.display());
    }
    let died: u32 = POINTS.iter().map(|(point, _)| rounds.tally.died_at(point)).sum();
    let kills = rounds.tally.kills;
    let world = rounds.world();
    println!(
        "{kills} kills ({died} at named steps), {} batches acknowledged, {} sent again, {} calls from {observations} \
         records: 0 lost, 0 double",
        world.acknowledged,
        world.repeated,
        calls.len(),
    );
}

/// A step that the table doesn't know would never be tried.
#[test]
fn every_step_that_the_code_names_is_in_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files_below(&src).iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        let code = std::fs::read_to_string(file).unwrap();
        for named in code.split("crash_point(\"").skip(1) {
            let name = named.split('"').next().unwrap();
            assert!(POINTS.iter().any(|(point, _)| *point == name), "{}: {name}", file.display());
        }
    }
}

#[test]
fn a_signal_drains_and_ends_in_order() {
    let place = Place::new();
    let server = place.serve();
    let acknowledged = stream(&server, 8, |count| {
        eventually("exports are acknowledged", PATIENCE, || (count.load(Ordering::SeqCst) >= 20).then_some(()));
        server.signal();
    });
    server.ended_well();
    let server = place.serve();
    assert_there(&server, 8, &acknowledged);
    server.stop();
}

#[test]
fn a_span_sent_again_after_a_lost_answer_counts_once() {
    let place = Place::new();
    let server = place.serve();
    let request = spans(vec![span(4, 0, now_us())]);
    server.export(&request);
    server.export(&request);
    server.kill();
    let server = place.serve();
    server.export(&request);
    eventually("the call is there", Duration::from_secs(5), || {
        (server.number("SELECT count(*) FROM calls") == 1).then_some(())
    });
    assert_eq!(server.number("SELECT sum(input_tokens) FROM calls"), 100);
}
