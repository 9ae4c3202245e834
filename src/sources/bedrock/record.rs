//! The wire format, field for field.
//!
//! - Record: Amazon Bedrock user guide, "Monitor model invocation using CloudWatch Logs and Amazon S3"
//!   (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html>).
//! - Metadata: "Request metadata", API reference `Converse`
//!   (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>).
//! - Log events: CloudWatch Logs API reference, `FilteredLogEvent`
//!   (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilteredLogEvent.html>), and user
//!   guide, "Log group-level subscription filters".
//!
//! `schemaVersion` has been `1.0` since 2023 although fields were added, and their order has changed: nothing is
//! derived from either.

use serde::de::{MapAccess, SeqAccess};

use super::body::{InputBody, OutputBody, Performance, Tier};
use crate::model::Tags;
use crate::sources::lenient::{Fields, Lenient, Raw, skip, take};

/// Bedrock writes this line, which is not JSON, into the log stream when logging is switched on.
pub const PERMISSION_LINE: &str = "Permissions are correctly set for Amazon Bedrock logs";

/// An empty object of this name is written when logging to S3 is switched on.
const PERMISSION_OBJECT: &str = "amazon-bedrock-logs-permission-check";

/// The folder of the log within a bucket, below the account's.
const LOG_FOLDER: &str = "BedrockModelInvocationLogs/";

/// One JSON object: a record, or a log event or envelope around records. Every field is absent in some real record.
#[derive(Default)]
pub struct Record<'a> {
    /// `ModelInvocationLog`.
    pub schema_type: Raw<'a>,
    /// Start of the call, ISO 8601; a number (milliseconds since 1970) in a log event.
    pub timestamp: Raw<'a>,
    /// Account that called; opaque text.
    pub account_id: Raw<'a>,
    /// Region that was called and bills.
    pub region: Raw<'a>,
    /// One per attempt; equals the header `x-amzn-requestid`.
    pub request_id: Raw<'a>,
    /// `Converse`, `InvokeModel`, …; open list.
    pub operation: Raw<'a>,
    /// Model id, profile id or ARN.
    pub model_id: Raw<'a>,
    /// Who called.
    pub identity: Identity<'a>,
    /// What the caller attached; not to be trusted.
    pub request_metadata: Metadata,
    /// Region that ran the call, for cross-Region profiles; may be absent even there.
    pub inference_region: Raw<'a>,
    /// Only on failures.
    pub error_code: Raw<'a>,
    /// Absent on failures.
    pub input: Input<'a>,
    /// Absent on failures.
    pub output: Output<'a>,
    /// Not documented for the log; the Converse response has it.
    pub service_tier: Tier,
    /// Not documented for the log; the Converse response has it.
    pub performance: Performance,
    /// Around a record: the event's text.
    pub message: Raw<'a>,
    /// Around a record, in rows of Logs Insights: the time of the event.
    pub event_time: Raw<'a>,
    /// Around records: `DATA_MESSAGE` or `CONTROL_MESSAGE` of a subscription.
    pub message_type: Raw<'a>,
    /// Around records: `logEvents` of a subscription, `events` of a page of events.
    pub events: Option<Events<'a>>,
    /// `s3:TestEvent` and the like: a notification, not a record.
    pub notification: Raw<'a>,
}

impl<'de> Fields<'de> for Record<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"schemaType" => self.schema_type = map.next_value()?,
            b"timestamp" => self.timestamp = map.next_value()?,
            b"accountId" => self.account_id = map.next_value()?,
            b"region" => self.region = map.next_value()?,
            b"requestId" => self.request_id = map.next_value()?,
            b"operation" => self.operation = map.next_value()?,
            b"modelId" => self.model_id = map.next_value()?,
            b"identity" => self.identity = take(map)?,
            b"requestMetadata" => self.request_metadata = take(map)?,
            b"inferenceRegion" => self.inference_region = map.next_value()?,
            b"errorCode" => self.error_code = map.next_value()?,
            b"input" => self.input = take(map)?,
            b"output" => self.output = take(map)?,
            b"serviceTier" => self.service_tier = take(map)?,
            b"performanceConfig" => self.performance = take(map)?,
            b"@message" | b"message" => self.message = map.next_value()?,
            b"@timestamp" => self.event_time = map.next_value()?,
            b"messageType" => self.message_type = map.next_value()?,
            b"logEvents" | b"events" => self.events = Some(take(map)?),
            b"Event" => self.notification = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Record<'_> {
    /// True for an object that speaks about a model call: it has at least two of the five marks of a record. One mark
    /// alone doesn't do: the logs of applications hold request ids and model names too.
    pub fn is_call(&self) -> bool {
        let counts = [self.input.tokens, self.input.cache_read, self.input.cache_write, self.output.tokens];
        let marks = [
            self.schema_type.text().as_deref() == Some("ModelInvocationLog"),
            self.request_id.text().is_some(),
            self.operation.text().is_some(),
            self.model_id.text().is_some(),
            counts.iter().any(|count| count.json().is_some()),
        ];
        marks.into_iter().filter(|mark| *mark).count() >= 2
    }
}

/// `identity`.
#[derive(Default)]
pub struct Identity<'a> {
    /// IAM user, assumed role with its session name, or root.
    pub arn: Raw<'a>,
}

impl<'de> Fields<'de> for Identity<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"arn" => self.arn = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// `requestMetadata`: text by name. Values that aren't text are kept as they are written.
#[derive(Default)]
pub struct Metadata(pub Tags);

impl<'de> Fields<'de> for Metadata {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        let key = String::from_utf8_lossy(key).into_owned();
        let value: Raw<'_> = map.next_value()?;
        if let Some(json) = value.json() {
            let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
            self.0.insert(key, text);
        }
        Ok(())
    }
}

/// `input`.
#[derive(Default)]
pub struct Input<'a> {
    /// `inputBodyJson`: up to 100 KB of the request; absent where logging of bodies is off or the body is offloaded.
    pub body: InputBody,
    /// `inputTokenCount`: tokens neither read from nor written to a cache.
    pub tokens: Raw<'a>,
    /// `cacheReadInputTokenCount`; absent for models without a cache.
    pub cache_read: Raw<'a>,
    /// `cacheWriteInputTokenCount`, of all times to live; absent for models without a cache.
    pub cache_write: Raw<'a>,
}

impl<'de> Fields<'de> for Input<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"inputBodyJson" => self.body = take(map)?,
            b"inputTokenCount" => self.tokens = map.next_value()?,
            b"cacheReadInputTokenCount" => self.cache_read = map.next_value()?,
            b"cacheWriteInputTokenCount" => self.cache_write = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// `output`.
#[derive(Default)]
pub struct Output<'a> {
    /// `outputBodyJson`: an object, the array of a stream's chunks, or anything else.
    pub body: OutputBody,
    /// `outputTokenCount`: all tokens of the answer; absent for embeddings, rerank and blocked calls.
    pub tokens: Raw<'a>,
}

impl<'de> Fields<'de> for Output<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"outputBodyJson" => self.body = take(map)?,
            b"outputTokenCount" => self.tokens = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// A list of log events.
#[derive(Default)]
pub struct Events<'a>(pub Vec<Event<'a>>);

impl<'de> Fields<'de> for Events<'de> {
    fn field<A: MapAccess<'de>>(&mut self, _key: &[u8], map: &mut A) -> Result<(), A::Error> {
        skip(map)
    }

    fn elements<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<(), A::Error> {
        while let Some(Lenient(event)) = seq.next_element::<Lenient<Event<'de>>>()? {
            self.0.push(event);
        }
        Ok(())
    }
}

/// A log event.
#[derive(Default)]
pub struct Event<'a> {
    /// The record as text.
    pub message: Raw<'a>,
    /// Milliseconds since 1970: the record's time, cut to the second.
    pub timestamp: Raw<'a>,
}

impl<'de> Fields<'de> for Event<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"message" => self.message = map.next_value()?,
            b"timestamp" => self.timestamp = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// True for objects that hold records; false for offloaded bodies, the permission check and other files beside them.
pub fn is_log_key(key: &str) -> bool {
    let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
    // A bucket's prefix or a path may hold a folder `data` of its own: only the log's own one holds bodies.
    let below = folders.split_once(LOG_FOLDER).map_or_else(|| folders.rsplit('/').next(), |(_, below)| Some(below));
    if below.is_some_and(|below| below.split('/').any(|folder| folder == "data")) {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let sidecar = ["_input.json.gz", "_output.json.gz"].iter().any(|end| name.ends_with(end));
    let known = [".json", ".jsonl", ".ndjson", ".gz", ".log", ".txt"].iter().any(|end| name.ends_with(end));
    !name.is_empty() && !sidecar && !name.contains(PERMISSION_OBJECT) && (known || !name.contains('.'))
}
