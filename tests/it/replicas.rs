//! Several processes on one store: two take in, one settles, one answers. Totals are exact everywhere, also when the
//! settler dies and another takes its role.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::{PATIENCE, Place, Server, eventually};
use crate::records::{now_us, span, spans};

const RUN: u32 = 6;
const BATCH: u64 = 5;
/// Half of the spans start so long ago that they are late.
const LATE_US: i64 = 3 * 3600 * 1_000_000;

fn replica<'a>(place: &'a Place, writer: &str, role: &str) -> Server<'a> {
    let config = format!("writer = '{writer}'\n[settle]\ninterval_s = 1\nrole = '{role}'\n");
    place.serve_with(&config, &[])
}

/// Sends until told to stop; every span is acknowledged.
fn send(server: &Server<'_>, next: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let first = next.fetch_add(BATCH, Ordering::SeqCst);
        let start = |n: u64| now_us() - if n.is_multiple_of(2) { LATE_US } else { 0 };
        server.export(&spans((first..first + BATCH).map(|n| span(RUN, n, start(n))).collect()));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn counts(server: &Server<'_>) -> (i64, i64) {
    let rows = server.sql("SELECT count(*) AS calls, count(DISTINCT span_id) AS spans FROM calls");
    (rows[0]["calls"].as_i64().unwrap(), rows[0]["spans"].as_i64().unwrap())
}

#[test]
fn two_take_in_one_settles_one_answers_and_the_settler_can_die() {
    let place = Place::new();
    let settler = replica(&place, "settler", "auto");
    let (a, b) = (replica(&place, "a", "never"), replica(&place, "b", "never"));
    let reader = replica(&place, "reader", "never");
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let looks = AtomicU64::new(0);
    let second = std::thread::scope(|scope| {
        let senders = [&a, &b].map(|server| scope.spawn(|| send(server, &next, &stop)));
        let watch = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let (calls, distinct) = counts(&reader);
                assert_eq!(calls, distinct, "a call is seen twice");
                assert!(u64::try_from(calls).unwrap() <= next.load(Ordering::SeqCst), "more calls than were sent");
                looks.fetch_add(1, Ordering::SeqCst);
            }
        });
        let late = "SELECT count(*) FROM calls WHERE ts < now() - interval '1 hour'";
        eventually("late calls are settled", PATIENCE, || (reader.number(late) > 20).then_some(()));
        // In mid-load; the lock of the dead is free at once, so another can take the role.
        settler.kill();
        let before = reader.number(late);
        let second = replica(&place, "settler-2", "auto");
        eventually("the next settler settles", PATIENCE, || (reader.number(late) > before + 20).then_some(()));
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().unwrap();
        }
        watch.join().unwrap();
        second
    });
    let sent = i64::try_from(next.load(Ordering::SeqCst)).unwrap();
    for server in [&a, &b, &reader, &second] {
        eventually("every replica shows every call", PATIENCE, || (counts(server) == (sent, sent)).then_some(()));
    }
    for server in [a, b, reader, second] {
        server.stop();
    }
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls")[0]["n"], sent);
    println!("{sent} calls through two replicas, {} looks of a third", looks.load(Ordering::SeqCst));
}

#[test]
fn a_second_server_needs_a_name_of_its_own() {
    let place = Place::new();
    let first = place.serve();
    let refused = place.launch("", &[], &[]).ready();
    let text = refused.err().expect("one writer, one process").stderr;
    assert!(text.contains("give this one its own `writer`"), "{text}");
    first.stop();
}
