//! Notifications: every form of them, copies, what is poison, and what SQS loses.

use std::time::Duration;

use serde_json::json;

use super::cloud::Fault;
use super::rig::{Kind, Rig};
use crate::harness::runtime;
use crate::records::{bedrock, bedrock_key, gzip, lines};

/// A log object with one call, and its key.
fn object(rig: &Rig, n: u64) -> String {
    let key = format!("llm/{}", bedrock_key(&format!("{n:08}_0000000000000000")));
    rig.cloud.put(&key, gzip(&lines([bedrock(3, n)])));
    key
}

fn s3(bucket: &str, key: &str) -> String {
    json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]})
        .to_string()
}

#[test]
fn every_form_of_a_notification_is_understood_and_copies_count_once() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Queue).await;
        rig.start().await;
        rig.until("listed", |rig| rig.status().complete_to.is_some()).await;
        let keys: Vec<String> = (0..3).map(|n| object(&rig, n)).collect();
        rig.cloud.send(json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs"}).to_string());
        rig.cloud.send(s3("logs", &keys[0]));
        rig.cloud.send(s3("logs", &keys[0]));
        rig.cloud.send(json!({"Type": "Notification", "Message": s3("logs", &keys[1])}).to_string());
        rig.cloud.send(
            json!({"detail-type": "Object Created", "source": "aws.s3",
                "detail": {"bucket": {"name": "logs"}, "object": {"key": keys[2], "sequencer": "0A"}}})
            .to_string(),
        );
        // Sidecars, other prefixes, and what is gone by now.
        rig.cloud.send(s3("logs", &format!("llm/{}", bedrock_key("data/x_input"))));
        rig.cloud.send(s3("logs", "other/things.json"));
        rig.cloud.send(s3("logs", &format!("llm/{}", bedrock_key("00000009_0000000000000000"))));
        rig.until_seen(3).await;
        rig.until("the queue is empty", |rig| rig.cloud.messages() == 0).await;
        // Delivered once more, and listed once more after a restart.
        rig.cloud.send(s3("logs", &keys[0]));
        rig.until("the copy is gone", |rig| rig.cloud.messages() == 0).await;
        rig.stop().await;
        rig.start().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.stop().await;
        assert_eq!((rig.seen.rows, rig.seen.quarantined.len()), (3, 0));
    });
}

#[test]
fn poison_is_set_aside_and_the_rest_goes_on() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Queue).await;
        rig.start().await;
        rig.until("listed", |rig| rig.status().complete_to.is_some()).await;
        for body in ["", "no json", "[]", "{}", r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#] {
            rig.cloud.send(body.to_owned());
        }
        rig.cloud.send(s3("somebody-elses", "llm/x.json.gz"));
        let key = object(&rig, 1);
        rig.cloud.send(s3("logs", &key));
        rig.until_seen(1).await;
        rig.until("the queue is empty", |rig| rig.cloud.messages() == 0).await;
        rig.stop().await;
        let of = |reason: &str| rig.seen.quarantined.iter().filter(|found| *found == reason).count();
        assert_eq!((of("bad_notification"), of("foreign_notification")), (5, 1), "{:?}", rig.seen.quarantined);
    });
}

#[test]
fn a_message_is_deleted_only_after_its_rows_are_durable() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Queue).await;
        rig.start().await;
        rig.until("listed", |rig| rig.status().complete_to.is_some()).await;
        rig.brake(true);
        rig.feed(0, 3);
        rig.until("taken", |rig| rig.cloud.asked() > 4).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(rig.cloud.messages(), 1);
        assert!(!rig.cloud.take_asked().contains(&"DeleteMessageBatch".to_owned()));
        rig.brake(false);
        rig.until("deleted", |rig| rig.cloud.messages() == 0).await;
        rig.until_seen(3).await;
        rig.stop().await;
    });
}

#[test]
fn a_message_stays_hidden_however_long_its_work_takes() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Queue).await;
        rig.hidden = Duration::from_secs(2);
        rig.start().await;
        rig.until("listed", |rig| rig.status().complete_to.is_some()).await;
        // An object that takes longer than the message is hidden at once, and then a journal that does.
        rig.cloud.slow(Duration::from_secs(5));
        rig.brake(true);
        rig.cloud.take_asked();
        rig.feed(0, 3);
        rig.until("taken", |rig| rig.cloud.delivered() == 1).await;
        let end = std::time::Instant::now() + Duration::from_secs(9);
        while std::time::Instant::now() < end {
            assert_eq!((rig.cloud.visible(), rig.cloud.messages()), (0, 1), "kept from others, and not deleted yet");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rig.look();
        assert_eq!(rig.seen.rows, 0, "nothing is durable yet");
        rig.brake(false);
        rig.until("deleted", |rig| rig.cloud.messages() == 0).await;
        rig.stop().await;
        let asked = rig.cloud.take_asked();
        let of = |what: &str| asked.iter().filter(|asked| *asked == what).count();
        assert_eq!((rig.cloud.delivered(), of("GET"), rig.seen.rows), (1, 1, 3), "worked on once: {asked:?}");
        assert!(of("ChangeMessageVisibilityBatch") >= 6, "{asked:?}");
    });
}

#[test]
fn what_the_queue_lost_is_found_by_the_listing() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Queue).await;
        // Nobody sent a notification of this one.
        object(&rig, 1);
        rig.start().await;
        rig.until_seen(1).await;
        rig.feed(5, 6);
        rig.until_seen(2).await;
        rig.stop().await;
        assert_eq!(rig.seen.rows, 2);
    });
}

#[test]
fn an_unreadable_object_keeps_its_message() {
    runtime().block_on(async {
        let mut rig = Rig::new(Kind::Queue).await;
        rig.start().await;
        rig.until("listed", |rig| rig.status().complete_to.is_some()).await;
        rig.cloud.fault(Some(Fault::HalfBodies));
        rig.feed(0, 2);
        rig.until("told", |rig| rig.status().last_error.is_some()).await;
        assert_eq!(rig.cloud.messages(), 1);
        rig.cloud.fault(None);
        rig.cloud.show_all();
        rig.until_seen(2).await;
        rig.until("deleted", |rig| {
            rig.cloud.show_all();
            rig.cloud.messages() == 0
        })
        .await;
        rig.stop().await;
    });
}
