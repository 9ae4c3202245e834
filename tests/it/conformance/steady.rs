//! What a look costs when there is nothing new, and what comes late.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::cloud::Fault;
use super::rig::{Kind, Rig};
use crate::harness::runtime;
use crate::records::{bedrock_at, lines, now_us};

/// The requests of so many looks, by kind.
async fn requests(rig: &mut Rig, looks: usize) -> BTreeMap<String, usize> {
    rig.cloud.take_asked();
    let first = rig.status().complete_to;
    let mut seen = 0;
    let mut last = first;
    while seen < looks {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = rig.status().complete_to;
        if now != last {
            seen += 1;
            last = now;
        }
    }
    let mut counted = BTreeMap::new();
    for what in rig.cloud.take_asked() {
        *counted.entry(what).or_insert(0) += 1;
    }
    counted
}

#[test]
fn a_look_at_a_bucket_of_many_hours_lists_the_last_ones_only() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Bucket).await;
        rig.small = 100;
        // Twenty days, and the last hour: what a listing of everything would have to turn over at each look.
        for hour in 0..20 * 24_u64 {
            rig.feed_at(hour * 2, hour * 2 + 1, i64::try_from(hour).unwrap());
        }
        rig.start().await;
        rig.until_seen(20 * 24).await;
        rig.until("complete", |rig| rig.status().complete_to.is_some()).await;
        let counted = requests(&mut rig, 20).await;
        let lists = counted["List"];
        assert!((19..=22).contains(&lists), "one request a look, not {counted:?} in 20");
        assert_eq!(counted.len(), 1, "nothing but listings: {counted:?}");
        // Late by less than a near look reaches back.
        rig.feed_at(5000, 5001, 1);
        rig.until_seen(20 * 24 + 1).await;
        rig.stop().await;
        assert_eq!(rig.seen.rows, 20 * 24 + 1);
    });
}

#[test]
fn an_object_that_comes_a_day_late_is_found_by_the_wider_look_at_the_latest() {
    runtime().block_on(async {
        for kind in [Kind::Bucket, Kind::Container] {
            let mut rig = Rig::new(kind).await;
            rig.small = 0;
            rig.feed(0, 1);
            rig.start().await;
            rig.until_seen(1).await;
            rig.stop().await;
            rig.feed_at(10, 12, 30);
            // A start looks at everything, as a wider look does.
            rig.start().await;
            rig.until_seen(3).await;
            rig.stop().await;
        }
    });
}

#[test]
fn late_events_of_a_log_group_are_found_and_not_read_twice_by_the_process_that_saw_the_others() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::LogGroup).await;
        rig.feed_at(0, 8, 1);
        rig.feed(8, 12);
        rig.start().await;
        rig.until_seen(12).await;
        rig.stop().await;
        // An hour late, and seen again after a restart as a minute that is not what it was.
        rig.feed_at(20, 21, 1);
        rig.start().await;
        rig.until_seen(13).await;
        rig.until("complete", |rig| rig.status().complete_to.is_some()).await;
        let counted = requests(&mut rig, 5).await;
        assert_eq!(counted.len(), 1, "{counted:?}");
        rig.stop().await;
        assert!(rig.seen.rows <= 13 + 8, "at most the late minute was read anew: {}", rig.seen.rows);
    });
}

#[test]
fn a_blob_that_grows_and_is_made_anew_is_followed_line_by_line() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Container).await;
        rig.small = 0;
        // A blob that goes on growing long after its hour.
        rig.feed_at(100, 101, 40);
        rig.start().await;
        rig.until_seen(1).await;
        rig.feed_at(101, 102, 40);
        rig.until_seen(2).await;
        for n in 0..6 {
            rig.feed(n, n + 1);
            rig.until_seen(usize::try_from(n).unwrap() + 3).await;
        }
        let counted = requests(&mut rig, 10).await;
        assert_eq!(counted.len(), 1, "nothing but listings: {counted:?}");
        rig.stop().await;
        assert_eq!(rig.seen.rows, 8);
    });
}

/// Whoever reads may be held back for long, so no answer is longer than one range.
#[test]
fn a_large_object_is_read_in_ranges_and_counted_once_although_requests_fail() {
    const LARGE: u64 = 10_000;
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Bucket).await;
        let text = lines((0..LARGE).map(|n| bedrock_at(9, n, now_us())));
        assert!(text.len() > 5 << 20, "{}", text.len());
        rig.put_log("large_0", text);
        rig.cloud.fault(Some(Fault::EveryThird));
        rig.start().await;
        rig.until_seen(usize::try_from(LARGE).unwrap()).await;
        rig.stop().await;
    });
}

/// Each range is of another version of the blob, which is the same as far as it was.
#[test]
fn a_large_blob_is_read_although_it_never_stops_growing() {
    const LARGE: u64 = 10_000;
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Container).await;
        rig.feed(0, LARGE);
        rig.cloud.slow(Duration::from_millis(50));
        rig.start().await;
        let next = Cell::new(LARGE);
        rig.until("the large part", |rig| {
            rig.feed(next.get(), next.get() + 1);
            next.set(next.get() + 1);
            rig.seen.ids.len() >= usize::try_from(LARGE).unwrap()
        })
        .await;
        rig.until_seen(usize::try_from(next.get()).unwrap()).await;
        rig.stop().await;
        assert_eq!(rig.seen.rows, rig.seen.ids.len(), "nothing was read twice");
    });
}
