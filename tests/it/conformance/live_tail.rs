//! Live Tail of CloudWatch Logs on the wire: an answer that goes on, of frames as Smithy describes them
//! (`application/vnd.amazon.eventstream`).

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use serde_json::{Value, json};

use super::cloud::{Cloud, Event, Live};

const GROUP: &str = "/llm/logs";
const ARN: &str = "arn:aws:logs:eu-central-1:111122223333:log-group:/llm/logs";
/// Time between two updates; a second at AWS.
const TICK: Duration = Duration::from_millis(10);

/// A frame: lengths and their checksum, headers, payload, checksum of all.
fn frame(headers: &[(&str, &str)], payload: &Value) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend(name.bytes());
        // A text.
        head.push(7);
        head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        head.extend(value.bytes());
    }
    let payload = payload.to_string();
    let mut frame = [length(12 + head.len() + payload.len() + 4), length(head.len())].concat();
    frame.extend(checksum(&frame));
    frame.extend(head);
    frame.extend(payload.bytes());
    frame.extend(checksum(&frame));
    frame
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}

fn said(name: &str, payload: &Value) -> Vec<u8> {
    frame(&[(":message-type", "event"), (":event-type", name), (":content-type", "application/json")], payload)
}

fn update(events: &[Event], sampled: bool) -> Vec<u8> {
    let event = |(_, at, message): &Event| {
        json!({"logGroupIdentifier": ARN, "logStreamName": "aws/bedrock/modelinvocations", "message": message,
            "timestamp": at, "ingestionTime": at + 5000})
    };
    let results: Vec<Value> = events.iter().map(event).collect();
    said("sessionUpdate", &json!({"sessionMetadata": {"sampled": sampled}, "sessionResults": results}))
}

/// A session: it shows what comes in from now on, and says every tick what that is.
pub fn session(cloud: Cloud) -> Response {
    let begins = [
        said("initial-response", &json!({})),
        said("sessionStart", &json!({"sessionId": "1", "requestId": "2", "logGroupIdentifiers": [ARN]})),
    ];
    let first = futures::stream::iter([Ok(Bytes::from(begins.concat()))]);
    let from = cloud.streamed();
    let rest = futures::stream::unfold(Some((cloud, from)), |state| async move {
        let (cloud, from) = state?;
        tokio::time::sleep(TICK).await;
        let timeout = [(":message-type", "exception"), (":exception-type", "SessionTimeoutException")];
        match cloud.tail(from) {
            Ok((events, sampled)) => {
                let from = from + events.len();
                Some((Ok(Bytes::from(update(&events, sampled))), Some((cloud, from))))
            }
            Err(Live::Over) => Some((Ok(Bytes::from(frame(&timeout, &json!({"message": "three hours"})))), None)),
            Err(_) => Some((Err(update(&[], false)), None)),
        }
    });
    // A session that breaks off does so in the middle of a frame.
    let rest = futures::StreamExt::flat_map(rest, |said| {
        futures::stream::iter(match said {
            Ok(frame) => vec![Ok(frame)],
            Err(frame) => {
                vec![Ok(Bytes::copy_from_slice(&frame[..frame.len() / 2])), Err(std::io::Error::other("cut"))]
            }
        })
    });
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    Response::builder().header("content-type", "application/vnd.amazon.eventstream").body(body).unwrap()
}

/// The groups whose names begin like that.
pub fn groups(asked: &Value) -> Value {
    let group = |name: &str| {
        let arn = ARN.replace(GROUP, name);
        json!({"logGroupName": name, "arn": format!("{arn}:*"), "logGroupArn": arn, "logGroupClass": "STANDARD"})
    };
    let names = [GROUP, "/llm/logs-of-others"];
    let prefix = asked["logGroupNamePrefix"].as_str().unwrap_or_default();
    let found: Vec<Value> = names.iter().filter(|name| name.starts_with(prefix)).map(|name| group(name)).collect();
    json!({"logGroups": found})
}

/// A session wants ARNs, not names.
pub fn names_the_group(asked: &Value) -> bool {
    asked["logGroupIdentifiers"] == json!([ARN])
}
