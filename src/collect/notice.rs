//! What a message about objects says: notifications of S3 as S3 itself, SNS and EventBridge write them. Pure, and fit for
//! whatever anybody may put into a queue.

use serde_json::Value;

/// Envelopes around envelopes at most.
const MAX_ENVELOPES: usize = 4;

/// An object that was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    /// Its bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
}

/// Why a message says nothing about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNotice {
    /// No JSON object.
    #[error("the message is no JSON object")]
    NotJson,
    /// JSON of another kind.
    #[error("the message is no notification of S3, SNS or EventBridge about objects")]
    Unknown,
    /// An object without a bucket or a key.
    #[error("an object in the message has no bucket or no key that can be read")]
    NoKey,
}

/// The objects that a message says were written: none for test events, deletions and confirmations.
///
/// # Errors
/// The message is no notification.
pub fn notices(body: &str) -> Result<Vec<Notice>, BadNotice> {
    let mut value: Value = serde_json::from_str(body).map_err(|_| BadNotice::NotJson)?;
    for _ in 0..MAX_ENVELOPES {
        if let Some(records) = value.get("Records").and_then(Value::as_array) {
            // A record of SNS inside: the form that Lambda gets.
            return records.iter().filter_map(|record| of_s3(record).transpose()).collect();
        }
        if value.get("detail-type").is_some() {
            return of_event_bridge(&value).map(|notice| notice.into_iter().collect());
        }
        if value.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
            return Ok(Vec::new());
        }
        match (value.get("Type").and_then(Value::as_str), value.get("Message").and_then(Value::as_str)) {
            (Some("Notification"), Some(inner)) => {
                value = serde_json::from_str(inner).map_err(|_| BadNotice::NotJson)?;
            }
            (Some("SubscriptionConfirmation" | "UnsubscribeConfirmation"), _) => return Ok(Vec::new()),
            _ => break,
        }
    }
    Err(if value.is_object() { BadNotice::Unknown } else { BadNotice::NotJson })
}

fn of_s3(record: &Value) -> Result<Option<Notice>, BadNotice> {
    let event = record.get("eventName").and_then(Value::as_str).ok_or(BadNotice::Unknown)?;
    // `ObjectCreated:Put`, and `s3:ObjectCreated:Put` from others that speak like S3.
    if !event.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        return Ok(None);
    }
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let bucket = text("/s3/bucket/name").ok_or(BadNotice::NoKey)?;
    let key = text("/s3/object/key").and_then(decoded).ok_or(BadNotice::NoKey)?;
    Ok(Some(Notice { bucket: bucket.to_owned(), key }))
}

/// Keys of EventBridge are not encoded.
fn of_event_bridge(event: &Value) -> Result<Option<Notice>, BadNotice> {
    if event.get("source").and_then(Value::as_str) != Some("aws.s3") {
        return Err(BadNotice::Unknown);
    }
    if event.get("detail-type").and_then(Value::as_str) != Some("Object Created") {
        return Ok(None);
    }
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("/detail/bucket/name"), text("/detail/object/key")) {
        (Some(bucket), Some(key)) => Ok(Some(Notice { bucket: bucket.to_owned(), key: key.to_owned() })),
        _ => Err(BadNotice::NoKey),
    }
}

/// S3 writes keys like form fields: `+` is a space, the rest is `%XX`.
fn decoded(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn s3(event: &str, key: &str) -> Value {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": event,
            "s3": {"bucket": {"name": "logs", "arn": "arn:aws:s3:::logs"},
                   "object": {"key": key, "size": 12, "eTag": "e", "versionId": "v1", "sequencer": "0055AED6DCD90281E5"}}})
    }

    fn wanted(key: &str) -> Result<Vec<Notice>, BadNotice> {
        Ok(vec![Notice { bucket: "logs".to_owned(), key: key.to_owned() }])
    }

    #[test]
    fn reads_s3_sns_and_event_bridge() {
        let plain = json!({"Records": [s3("ObjectCreated:Put", "AWSLogs%2F1+a%2Bb.json.gz")]}).to_string();
        assert_eq!(notices(&plain), wanted("AWSLogs/1 a+b.json.gz"));
        let sns = json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:x", "Message": plain});
        assert_eq!(notices(&sns.to_string()), wanted("AWSLogs/1 a+b.json.gz"));
        let bridge = json!({"version": "0", "detail-type": "Object Created", "source": "aws.s3", "detail": {
            "bucket": {"name": "logs"}, "reason": "PutObject",
            "object": {"key": "a b+c%20d.json.gz", "size": 1, "etag": "e", "version-id": "v", "sequencer": "1"}}});
        assert_eq!(notices(&bridge.to_string()), wanted("a b+c%20d.json.gz"));
        let nested = json!({"Type": "Notification", "Message": bridge.to_string()}).to_string();
        assert_eq!(notices(&nested), wanted("a b+c%20d.json.gz"));
        assert_eq!(
            notices(&json!({"Records": [s3("s3:ObjectCreated:CompleteMultipartUpload", "k")]}).to_string()),
            wanted("k")
        );
    }

    #[test]
    fn what_speaks_of_no_new_object_is_nothing() {
        let none = Ok(Vec::new());
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs", "RequestId": "r"});
        assert_eq!(notices(&test.to_string()), none);
        assert_eq!(notices(&json!({"Records": []}).to_string()), none);
        assert_eq!(notices(&json!({"Records": [s3("ObjectRemoved:Delete", "k")]}).to_string()), none);
        let deleted = json!({"detail-type": "Object Deleted", "source": "aws.s3", "detail": {}});
        assert_eq!(notices(&deleted.to_string()), none);
        assert_eq!(notices(&json!({"Type": "SubscriptionConfirmation", "Token": "t"}).to_string()), none);
    }

    #[test]
    fn hostile_messages_are_refused() {
        for (body, error) in [
            ("", BadNotice::NotJson),
            ("hello", BadNotice::NotJson),
            ("[1,2]", BadNotice::NotJson),
            ("{}", BadNotice::Unknown),
            (r#"{"Records": 5}"#, BadNotice::Unknown),
            (r#"{"Records": [5]}"#, BadNotice::Unknown),
            (r#"{"Records": [{"eventName": "ObjectCreated:Put"}]}"#, BadNotice::NoKey),
            (r#"{"detail-type": "Object Created", "source": "mine"}"#, BadNotice::Unknown),
            (r#"{"Type": "Notification", "Message": "no json"}"#, BadNotice::NotJson),
        ] {
            assert_eq!(notices(body), Err(error), "{body}");
        }
        for key in ["%", "%2", "%zz", "a%FF", ""] {
            let body = json!({"Records": [s3("ObjectCreated:Put", key)]}).to_string();
            assert_eq!(notices(&body), Err(BadNotice::NoKey), "{key}");
        }
        assert_eq!(notices(&"[".repeat(100_000)), Err(BadNotice::NotJson));
        let mut deep = json!({"Records": [s3("ObjectCreated:Put", "k")]});
        for _ in 0..6 {
            deep = json!({"Type": "Notification", "Message": deep.to_string()});
        }
        assert_eq!(notices(&deep.to_string()), Err(BadNotice::Unknown));
    }

    proptest! {
        #[test]
        fn nothing_panics(body in "\\PC{0,200}") {
            let _ = notices(&body);
            let _ = notices(&json!({"Records": [s3("ObjectCreated:Put", &body)]}).to_string());
        }
    }
}
