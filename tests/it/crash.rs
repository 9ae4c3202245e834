//! What was acknowledged survives the death of the process, once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::{PATIENCE, Place, Server, eventually};
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

#[test]
fn killing_the_server_loses_no_acknowledged_call_and_doubles_none() {
    let place = Place::new();
    let mut rounds: Vec<(u32, Vec<u64>)> = Vec::new();
    for run in 1..=5_u32 {
        let server = place.serve();
        for (run, acknowledged) in &rounds {
            assert_there(&server, *run, acknowledged);
        }
        // Later rounds live longer, so that the blow falls into different work, settling included.
        let enough = u64::from(run) * 12;
        let acknowledged = stream(&server, run, |count| {
            eventually("exports are acknowledged", PATIENCE, || (count.load(Ordering::SeqCst) >= enough).then_some(()));
            server.strike();
        });
        server.kill();
        assert!(!acknowledged.is_empty());
        rounds.push((run, acknowledged));
    }
    let server = place.serve();
    for (run, acknowledged) in &rounds {
        assert_there(&server, *run, acknowledged);
    }
    server.stop();
    // Once more after everything was settled in order.
    let server = place.serve();
    for (run, acknowledged) in &rounds {
        assert_there(&server, *run, acknowledged);
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
