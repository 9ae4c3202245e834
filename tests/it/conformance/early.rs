//! Live Tail beside a log group: calls show up before a look can find them, count once, and nothing depends on it.

use serde_json::json;

use super::cloud::{Cloud, Live};
use super::rig::{Kind, Rig, event};
use crate::harness::{PATIENCE, Place, eventually, runtime};
use crate::records::{bedrock_at, now_us};

async fn tailing() -> Rig {
    let mut rig = Rig::new(Kind::LiveTail).await;
    rig.start().await;
    until_live(&mut rig, "running").await;
    rig.until("looked", |rig| rig.status().complete_to.is_some()).await;
    rig
}

async fn until_live(rig: &mut Rig, state: &str) {
    rig.until(&format!("live {state}"), |rig| rig.status().live_tail.is_some_and(|live| live.state == state)).await;
}

/// Looks that begin after this one began.
async fn looks_again(rig: &mut Rig) {
    for _ in 0..3 {
        let before = rig.status().complete_to;
        rig.until("another look", |rig| rig.status().complete_to != before).await;
    }
}

#[test]
fn calls_show_before_a_look_finds_them_and_the_looks_read_everything_all_the_same() {
    runtime().block_on(async {
        let mut rig = tailing().await;
        let at_us = now_us();
        (0..5).for_each(|n| rig.cloud.stream(event(n, at_us)));
        rig.until_seen(5).await;
        looks_again(&mut rig).await;
        assert_eq!(rig.seen.rows, 5, "no look has found anything yet");
        // The same ones, and more that Live Tail left out.
        (0..8).for_each(|n| rig.cloud.show(event(n, at_us)));
        rig.until_seen(8).await;
        looks_again(&mut rig).await;
        rig.stop().await;
        assert_eq!((rig.seen.rows, rig.status().records), (5 + 8, 8), "once by each way; counted as records once");
        // What a look has read is a position, what Live Tail showed is none.
        rig.start().await;
        until_live(&mut rig, "running").await;
        looks_again(&mut rig).await;
        rig.stop().await;
        assert_eq!(rig.seen.rows, 5 + 8, "nothing was read again");
    });
}

#[test]
fn what_a_crash_leaves_of_live_tail_is_read_by_the_looks() {
    runtime().block_on(async {
        let mut rig = tailing().await;
        let at_us = now_us();
        (0..3).for_each(|n| rig.cloud.stream(event(n, at_us)));
        rig.until_seen(3).await;
        rig.crash().await;
        (0..5).for_each(|n| rig.cloud.show(event(n, at_us)));
        rig.start().await;
        rig.until_seen(5).await;
        rig.stop().await;
        assert_eq!(rig.seen.rows, 3 + 5);
    });
}

#[test]
fn a_session_that_breaks_off_is_shown_and_begun_again_while_the_looks_go_on() {
    runtime().block_on(async {
        let mut rig = tailing().await;
        let at_us = now_us();
        rig.cloud.take_asked();
        rig.cloud.live(Live::Cut);
        until_live(&mut rig, "retrying").await;
        let live = rig.status().live_tail.unwrap();
        assert!(live.last_error.is_some_and(|error| error.contains("Live Tail of log group /llm/logs")));
        // Nobody tails it now.
        (0..4).for_each(|n| rig.cloud.log(event(n, at_us)));
        rig.until_seen(4).await;
        assert_eq!((rig.status().state, rig.status().last_error), ("running", None), "the source itself is well");
        until_live(&mut rig, "running").await;
        (4..6).for_each(|n| rig.cloud.stream(event(n, at_us)));
        rig.until_seen(6).await;
        rig.stop().await;
        let sessions = rig.cloud.take_asked().iter().filter(|what| *what == "StartLiveTail").count();
        assert_eq!(sessions, 1);
    });
}

#[test]
fn a_session_whose_time_is_over_is_no_error() {
    runtime().block_on(async {
        let mut rig = tailing().await;
        rig.cloud.take_asked();
        rig.cloud.live(Live::Over);
        until_live(&mut rig, "starting").await;
        until_live(&mut rig, "running").await;
        rig.cloud.stream(event(1, now_us()));
        rig.until_seen(1).await;
        assert_eq!(rig.status().live_tail.unwrap().last_error, None);
        rig.stop().await;
    });
}

#[test]
fn a_session_that_is_refused_is_told_and_the_looks_go_on() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::LiveTail).await;
        rig.cloud.live(Live::Denied);
        rig.start().await;
        until_live(&mut rig, "retrying").await;
        let error = rig.status().live_tail.unwrap().last_error.unwrap();
        assert!(error.contains("AccessDenied") && error.contains("permission"), "{error}");
        rig.feed(0, 4);
        rig.until_seen(4).await;
        looks_again(&mut rig).await;
        let status = rig.status();
        assert_eq!((status.state, status.last_error), ("running", None));
        rig.stop().await;
        let sessions = rig.cloud.take_asked().iter().filter(|what| *what == "StartLiveTail").count();
        assert!(sessions <= 4, "{sessions} in haste");
        assert_eq!(rig.seen.rows, 4);
    });
}

#[test]
fn what_is_no_call_or_has_no_id_is_left_to_the_looks() {
    runtime().block_on(async {
        let mut rig = tailing().await;
        let at_us = now_us();
        let mut nameless = bedrock_at(9, 1, at_us);
        nameless.as_object_mut().unwrap().remove("requestId");
        let garbage = ("event-0".to_owned(), at_us / 1000, "no record".to_owned());
        let nameless = ("event-1".to_owned(), at_us / 1000, nameless.to_string());
        let all = [garbage, nameless, event(2, at_us)];
        all.iter().for_each(|event| rig.cloud.stream(event.clone()));
        // The last of them is there, and they come in their order.
        rig.until_seen(1).await;
        assert!(rig.seen.rows == 1 && rig.seen.quarantined.is_empty(), "{:?}", rig.seen.quarantined);
        all.into_iter().for_each(|event| rig.cloud.show(event));
        rig.until_seen(2).await;
        looks_again(&mut rig).await;
        rig.stop().await;
        assert_eq!(rig.seen.rows, 3, "the call with an id both ways, the other one once");
        assert_eq!(rig.seen.quarantined, ["not_json"]);
    });
}

#[test]
fn in_sql_a_call_that_came_both_ways_is_one() {
    let place = Place::new();
    let cloud = runtime().block_on(Cloud::start());
    place.file("aws", "[default]\naws_access_key_id = x\naws_secret_access_key = y\n");
    let server = place.serve_with(
        &format!(
            "[settle]\ninterval_s = 1\nhot_s = 60\n\n[[source]]\nname = 'it'\nkind = 'bedrock'\nlocation = 'cloudwatch:///llm/logs'\n\
             start_hours = 2\npoll_interval_s = 1\nlive_tail = true\nregion = 'eu-central-1'\nendpoint = '{}'\ncredentials_file = '{}'\n",
            cloud.url,
            place.text("aws")
        ),
        &[],
    );
    let live = || server.get("/api/v1/sources").json()["sources"]["it"]["live_tail"].clone();
    eventually("live", PATIENCE, || (live() == json!({"state": "running", "last_error": null})).then_some(()));
    // Half of them are hot, the others are settled at once.
    let ages = [0, 30 * 60_000_000];
    let now_us = now_us();
    let all = |calls: u64| (0..calls).map(|n| event(n, now_us - ages[usize::try_from(n % 2).unwrap()]));
    let tokens = |calls: u64| -> u64 {
        let of = |n| bedrock_at(9, n, now_us)["output"]["outputTokenCount"].as_u64().unwrap();
        (0..calls).map(of).sum()
    };
    let sums = "SELECT count(*) AS calls, sum(output_tokens) AS tokens FROM calls";
    let is = |calls: u64| {
        let expected = json!({"calls": calls, "tokens": tokens(calls)});
        eventually("the calls", PATIENCE, || server.sql(sums).pop().filter(|row| *row == expected));
    };
    all(6).for_each(|event| cloud.stream(event));
    is(6);
    cloud.sample();
    all(10).for_each(|event| cloud.show(event));
    is(10);
    let sampled = "polymeter_live_tail_sampled_updates_total{source=\"it\"}";
    eventually("the sampling is told", PATIENCE, || server.get("/metrics").text().contains(sampled).then_some(()));
    server.stop();
    assert_eq!(place.sql(sums), [json!({"calls": 10, "tokens": tokens(10)})]);
}
