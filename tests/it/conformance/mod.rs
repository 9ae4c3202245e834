//! What every followed source promises, whatever its transport: nothing lost, nothing read twice in peace, trouble shown
//! and retried without haste, and an end when asked for one. Each behaviour runs against each source.

mod cloud;
mod counters;
mod early;
mod live_tail;
mod queue;
mod rig;
mod steady;
mod usage;

use std::time::Duration;

use cloud::Fault;
use rig::{ALL, Kind, Rig};

use crate::harness::runtime;

/// Cancellation takes no longer, whatever hangs.
const CANCELLED: Duration = Duration::from_secs(5);
const MINUTE_US: i64 = 60_000_000;

/// Runs a behaviour against every source, side by side.
fn every<F: Future<Output = ()> + Send + 'static>(behaviour: impl Fn(Kind) -> F) {
    let all: Vec<_> = ALL.iter().map(|kind| runtime().spawn(behaviour(*kind))).collect();
    runtime().block_on(async {
        for (kind, one) in ALL.iter().zip(all) {
            one.await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    });
}

#[test]
fn everything_is_taken_in_once_and_a_restart_reads_nothing_again() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        rig.feed(0, 7);
        rig.start().await;
        rig.until_seen(7).await;
        rig.feed(7, 12);
        rig.until_seen(12).await;
        rig.until("complete", |rig| rig.status().complete_to.is_some()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.stop().await;
        rig.start().await;
        rig.feed(12, 13);
        rig.until_seen(13).await;
        rig.until("running", |rig| rig.status().state == "running").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.stop().await;
        // Of a log group the minute in which it was ended is read anew when more has come in it, and what Live Tail showed
        // is read.
        let again = match kind {
            Kind::LogGroup => 12,
            Kind::LiveTail => 12 + 13,
            _ => 0,
        };
        assert!((13..=13 + again).contains(&rig.seen.rows), "{kind:?}: {} rows of 13 calls", rig.seen.rows);
        assert_eq!((rig.status().state, rig.status().failed_objects), ("running", 0), "{kind:?}");
        assert!(rig.seen.quarantined.is_empty(), "{kind:?}: {:?}", rig.seen.quarantined);
    });
}

#[test]
fn a_crash_at_any_point_loses_nothing() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        let mut fed = 0;
        for round in 0..14_u64 {
            rig.feed(fed, fed + 5);
            fed += 5;
            rig.start().await;
            // Whatever it is doing by then.
            tokio::time::sleep(Duration::from_millis(round * 3)).await;
            rig.crash().await;
            rig.cloud.show_all();
        }
        rig.start().await;
        rig.until_seen(usize::try_from(fed).unwrap()).await;
        rig.until("complete", |rig| rig.status().complete_to.is_some()).await;
        rig.until("what is durable is deleted", |rig| {
            rig.cloud.show_all();
            rig.cloud.messages() == 0
        })
        .await;
        rig.stop().await;
    });
}

#[test]
fn trouble_is_shown_retried_without_haste_and_overcome() {
    let faults = [Fault::Denied, Fault::Missing, Fault::Broken, Fault::HalfBodies, Fault::Throttled];
    for fault in faults {
        every(move |kind| async move {
            let mut rig = Rig::new(kind).await;
            rig.cloud.fault(Some(fault));
            rig.feed(0, 5);
            rig.start().await;
            rig.until("told", |rig| rig.status().last_error.is_some()).await;
            rig.until("retrying", |rig| rig.status().state == "retrying" || rig.status().failed_objects > 0).await;
            assert!(rig.seen.ids.is_empty(), "{kind:?} {fault:?}");
            assert_eq!(rig.status().complete_to, None, "{kind:?} {fault:?}: it is not complete");
            rig.cloud.fault(None);
            rig.cloud.show_all();
            rig.until_seen(5).await;
            rig.until("running", |rig| rig.status().state == "running" && rig.status().failed_objects == 0).await;
            rig.stop().await;
        });
    }
}

#[test]
fn an_endpoint_that_is_down_for_ten_minutes_is_asked_now_and_then() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        rig.start().await;
        rig.until("up", |rig| rig.status().complete_to.is_some()).await;
        rig.cloud.fault(Some(Fault::Broken));
        rig.feed(0, 5);
        // A hundred times as fast as the product: six seconds of pauses that grow from 10 ms to 600 ms.
        let began = std::time::Instant::now();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let asked = rig.cloud.asked();
        // A pause is at least half of what it could be, and an attempt is at most five requests within its own pauses.
        let most = usize::try_from(began.elapsed().as_millis() / 300).unwrap() + 10;
        assert!(asked <= most * 5, "{kind:?}: {asked} requests in haste");
        assert!(asked >= 6, "{kind:?}: only {asked} requests, it has stopped");
        assert_eq!(rig.status().state, "retrying", "{kind:?}");
        rig.cloud.fault(None);
        rig.until_seen(5).await;
        rig.until("running", |rig| rig.status().state == "running").await;
        rig.stop().await;
    });
}

#[test]
fn an_endpoint_that_fails_every_third_request_is_read_to_the_end() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        rig.cloud.fault(Some(Fault::EveryThird));
        rig.start().await;
        for n in 0..8 {
            rig.feed(n * 3, n * 3 + 3);
            rig.cloud.show_all();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        rig.until("all 24", |rig| {
            rig.cloud.show_all();
            rig.seen.ids.len() == 24
        })
        .await;
        rig.stop().await;
    });
}

#[test]
fn expired_credentials_are_replaced_without_a_restart() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        rig.cloud.fault(Some(Fault::Expired));
        rig.feed(0, 4);
        rig.start().await;
        rig.until("told", |rig| {
            rig.status().last_error.is_some_and(|text| text.contains("Expired") || text.contains("403"))
        })
        .await;
        rig.keys("NEWKEY");
        rig.until_seen(4).await;
        rig.stop().await;
    });
}

#[test]
fn what_waits_for_the_journal_is_not_asked_for_again() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        rig.start().await;
        rig.until("up", |rig| rig.status().complete_to.is_some()).await;
        rig.brake(true);
        rig.feed(0, 6);
        // What was under way may end; then nothing more is asked for.
        let mut quiet = 0;
        for _ in 0..40 {
            rig.cloud.take_asked();
            tokio::time::sleep(Duration::from_millis(500)).await;
            quiet = if rig.cloud.take_asked().is_empty() { quiet + 1 } else { 0 };
            if quiet == 2 {
                break;
            }
        }
        rig.look();
        assert_eq!(quiet, 2, "{kind:?}: it asks for more than it can keep");
        assert!(rig.seen.ids.is_empty(), "{kind:?}");
        rig.brake(false);
        rig.until_seen(6).await;
        rig.stop().await;
    });
}

#[test]
fn it_ends_when_asked_although_the_endpoint_hangs() {
    every(|kind| async move {
        let mut rig = Rig::new(kind).await;
        rig.feed(0, 3);
        rig.cloud.fault(Some(Fault::Hang));
        rig.start().await;
        rig.until("asked", |rig| rig.cloud.asked() > 0).await;
        let took = rig.stop().await;
        assert!(took < CANCELLED, "{kind:?}: {took:?}");
    });
}

#[test]
fn a_clock_that_is_wrong_by_an_hour_and_a_half_loses_nothing() {
    for minutes in [-90, 90] {
        every(move |kind| async move {
            let mut rig = Rig::new(kind).await.skewed(minutes * MINUTE_US);
            rig.small = 0;
            rig.feed(0, 4);
            rig.start().await;
            rig.until_seen(4).await;
            rig.until("complete", |rig| rig.status().complete_to.is_some()).await;
            rig.feed(4, 9);
            rig.until_seen(9).await;
            rig.stop().await;
            let again = if kind == Kind::LiveTail { 9 } else { 0 };
            assert!((9..=9 + again).contains(&rig.seen.rows), "{kind:?}: {}", rig.seen.rows);
        });
    }
}
