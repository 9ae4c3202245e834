//! Record in, observation out. Pure: the same bytes give the same rows.

use serde_json::value::RawValue;

use super::body::OutputBody;
use super::config::BedrockConfig;
use super::record::{Event, PERMISSION_LINE, Record};
use crate::model::{
    Normalized, Observation, Outcome, RecordId, RecordRef, SECOND_US, Tags, Timestamp, Usage, UsageStatus, Witness,
    fingerprint, judge, platform,
};
use crate::sources::lenient::{BadCount, Lenient, Raw, repair};

const DIALECT: &str = "bedrock.invocation_log";

/// An envelope around an event around a record; deeper is nobody's format.
const MAX_WRAPPERS: u8 = 4;

/// A number above this is milliseconds, below it seconds since 1970 (both are years of our time).
const MILLIS_FROM: i64 = 100_000_000_000;

/// Where a record stands, for those that don't say it themselves.
#[derive(Clone, Copy)]
struct Place<'a> {
    config: &'a BedrockConfig,
    at: &'a RecordRef<'a>,
    /// Rows pushed before this record: tells the records of one envelope apart.
    ordinal: usize,
    /// Time of the log event around the record.
    event_time: Option<Timestamp>,
    wrappers: u8,
}

/// Normalizes one value: a record, a log event, an envelope of events, or the line of the permission check.
pub fn normalize(config: &BedrockConfig, bytes: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
    any_value(bytes, Place { config, at, ordinal: 0, event_time: None, wrappers: 0 }, out);
}

fn any_value(bytes: &[u8], place: Place<'_>, out: &mut Vec<Normalized>) {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    if place.wrappers > MAX_WRAPPERS {
        out.push(Normalized::rejected("not_a_record", "wrapped too often"));
        return;
    }
    if bytes.starts_with(PERMISSION_LINE.as_bytes()) {
        out.push(Normalized::Skipped("permission_check"));
        return;
    }
    match bytes.first() {
        None => out.push(Normalized::Skipped("empty")),
        Some(b'{') => with_repair(bytes, out, |json, out| {
            serde_json::from_slice::<Lenient<Record<'_>>>(json).map(|record| one_object(&record.0, place, out))
        }),
        Some(b'[') => with_repair(bytes, out, |json, out| {
            serde_json::from_slice::<Vec<&RawValue>>(json).map(|values| all_values(&values, place, out))
        }),
        Some(b'"') => with_repair(bytes, out, |json, out| {
            serde_json::from_slice::<String>(json).map(|text| any_value(text.as_bytes(), inside(place, out), out))
        }),
        Some(_) => match exported(bytes) {
            Some((time, text)) => any_value(text, Place { event_time: Some(time), ..inside(place, out) }, out),
            None => {
                out.push(Normalized::rejected("not_json", format!("no JSON object or array in {} bytes", bytes.len())))
            }
        },
    }
}

/// The event time and the text of a line of a log group that was exported to S3.
fn exported(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (time, text) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
    let time = std::str::from_utf8(time).ok().and_then(Timestamp::parse)?;
    Some((time, text.trim_ascii_start()))
}

/// Reads strictly first, because that is fast; only where it fails, once more with repaired text.
fn with_repair(
    bytes: &[u8],
    out: &mut Vec<Normalized>,
    read: impl Fn(&[u8], &mut Vec<Normalized>) -> Result<(), serde_json::Error>,
) {
    if read(bytes, out).is_ok() {
        return;
    }
    // Readers push nothing before they have parsed everything, so no row is lost or doubled by the second try.
    if let Err(error) = read(repair(bytes).as_bytes(), out) {
        // The error's own text may quote the record.
        let what = if error.is_eof() { "ends early" } else { "is malformed" };
        let detail = format!("JSON {what} at line {} column {}", error.line(), error.column());
        out.push(Normalized::rejected("not_json", detail));
    }
}

fn inside<'a>(place: Place<'a>, out: &[Normalized]) -> Place<'a> {
    Place { ordinal: out.len(), wrappers: place.wrappers.saturating_add(1), ..place }
}

fn all_values(values: &[&RawValue], place: Place<'_>, out: &mut Vec<Normalized>) {
    if values.is_empty() {
        out.push(Normalized::Skipped("empty"));
    }
    for value in values {
        any_value(value.get().as_bytes(), inside(place, out), out);
    }
}

fn one_object(record: &Record<'_>, place: Place<'_>, out: &mut Vec<Normalized>) {
    if record.is_call() {
        out.push(observation(record, place));
    } else if record.message_type.text().as_deref() == Some("CONTROL_MESSAGE") {
        out.push(Normalized::Skipped("control_message"));
    } else if let Some(events) = &record.events {
        if events.0.is_empty() {
            out.push(Normalized::Skipped("empty"));
        }
        for Event { message, timestamp } in &events.0 {
            event(*message, instant(*timestamp), place, out);
        }
    } else if record.message.json().is_some() {
        let time = instant(record.event_time).or_else(|| instant(record.timestamp));
        event(record.message, time, place, out);
    } else if record.notification.text().is_some_and(|name| name.starts_with("s3:")) {
        out.push(Normalized::Skipped("notification"));
    } else {
        out.push(Normalized::rejected(
            "not_a_record",
            "fewer than two of schema type, request id, operation, model and token counts",
        ));
    }
}

fn event(message: Raw<'_>, time: Option<Timestamp>, place: Place<'_>, out: &mut Vec<Normalized>) {
    let place = Place { event_time: time.or(place.event_time), ..inside(place, out) };
    match message.json() {
        Some(json) if json.starts_with(['{', '"']) => any_value(json.as_bytes(), place, out),
        _ => out.push(Normalized::rejected("not_a_record", "log event without text")),
    }
}

/// Text or a number (seconds or milliseconds since 1970) as an instant.
fn instant(value: Raw<'_>) -> Option<Timestamp> {
    let text = value.text()?;
    let Ok(number) = text.trim().parse::<i64>() else { return Timestamp::parse(&text) };
    let unit = if number >= MILLIS_FROM { SECOND_US / 1000 } else { SECOND_US };
    number.checked_mul(unit).map(Timestamp)
}

fn observation(record: &Record<'_>, place: Place<'_>) -> Normalized {
    let Ok(counts) = Counts::read(record) else {
        return Normalized::rejected("bad_count", "a token count is negative, fractional, beyond 63 bits or no number");
    };
    let stamp = record.timestamp.text();
    let written = instant(record.timestamp);
    if written.is_none() && stamp.as_deref().is_some_and(is_date) {
        return Normalized::rejected("bad_time", "the call time is no date of the calendar");
    }
    let body = &record.output.body;
    let operation = record.operation.text();
    let kind = kind(operation.as_deref(), record);
    let error = record.error_code.text().map(|code| error_name(&code));
    let usage = counts.usage(record, error.is_none() && kind == Some("image"));
    let mut tags: Tags = record.request_metadata.0.iter().map(callers_tag).collect();
    let trace_id = tags.iter().find_map(|(key, value)| trace_id(key, value));
    if let Some(intervened) = body.guardrail {
        let word = if intervened { "intervened" } else { "none" };
        tags.insert("bedrock.guardrail".to_owned(), word.to_owned());
    }
    if let Some(latency) = record.performance.latency.as_ref().or(body.performance.as_ref()) {
        tags.insert("bedrock.performance".to_owned(), latency.to_ascii_lowercase());
    }
    judge(Observation {
        observation_id: record_id(record, &counts, place, written, stamp.as_deref()),
        source: place.at.source.to_owned(),
        dialect: DIALECT.to_owned(),
        witness: Witness::ProviderLog,
        observed_at: place.at.observed_at,
        ts: written.or(place.event_time).unwrap_or(place.at.object_time),
        ts_assumed: written.is_none(),
        provider_request_id: record.request_id.text(),
        response_id: body.response_id.clone(),
        trace_id,
        platform: Some(platform::BEDROCK.to_owned()),
        request_model: record.model_id.text(),
        region: record.region.text().or_else(|| place.config.region.clone()),
        served_region: record.inference_region.text(),
        account: record.account_id.text().or_else(|| place.config.account.clone()),
        streaming: streaming(operation.as_deref(), body.chunked),
        operation: kind.map(str::to_owned),
        tier: tier(record),
        outcome: Some(outcome(error.as_deref(), body)),
        error_code: error,
        finish_reason: body.stop_reason.clone(),
        usage,
        usage_status: if usage.is_empty() { UsageStatus::Missing } else { UsageStatus::Measured },
        duration_ms: body.latency_ms,
        ttft_ms: body.first_byte_ms,
        principal: record.identity.arn.text(),
        tags,
        ..Observation::default()
    })
}

/// What the caller attached. Keys that begin like the tags of this format are renamed, so that none can be forged.
fn callers_tag((key, value): (&String, &String)) -> (String, String) {
    let reserved = key.starts_with("bedrock.");
    (if reserved { format!("request_metadata.{key}") } else { key.clone() }, value.clone())
}

/// The four counts beside the bodies. They are disjoint.
#[derive(Clone, Copy)]
struct Counts {
    fresh: Option<u64>,
    read: Option<u64>,
    write: Option<u64>,
    output: Option<u64>,
}

impl Counts {
    fn read(record: &Record<'_>) -> Result<Self, BadCount> {
        Ok(Self {
            fresh: record.input.tokens.count()?,
            read: record.input.cache_read.count()?,
            write: record.input.cache_write.count()?,
            output: record.output.tokens.count()?,
        })
    }

    /// The counts in canonical form, with the splits that the bodies give where these fit.
    fn usage(self, record: &Record<'_>, images: bool) -> Usage {
        let body = &record.output.body;
        let mut usage = Usage::from_disjoint(self.fresh, self.read, self.write, self.output);
        usage.cache_write_1h = body.cache_write_1h.filter(|hour| self.write.is_some_and(|write| *hour <= write));
        usage.reasoning = body.reasoning.filter(|part| self.output.is_some_and(|output| *part <= output));
        if images {
            usage.images = body.images.or(record.input.body.images);
        }
        usage
    }
}

/// The same for both deliveries of a record and for each time that it is read.
fn record_id(
    record: &Record<'_>,
    counts: &Counts,
    place: Place<'_>,
    written: Option<Timestamp>,
    stamp: Option<&str>,
) -> RecordId {
    let number = |count: Option<u64>| count.map(|n| n.to_string()).unwrap_or_default();
    let time = written.map(|ts| ts.0.to_string()).or_else(|| stamp.map(str::to_owned));
    let mut parts = vec![
        DIALECT.to_owned(),
        record.account_id.text().unwrap_or_default(),
        record.region.text().unwrap_or_default(),
        record.request_id.text().unwrap_or_default(),
        time.unwrap_or_default(),
        record.model_id.text().unwrap_or_default(),
        record.operation.text().unwrap_or_default(),
        record.error_code.text().unwrap_or_default(),
        number(counts.fresh),
        number(counts.read),
        number(counts.write),
        number(counts.output),
    ];
    if record.request_id.text().is_none() {
        parts.extend([place.at.object.to_owned(), place.at.position.to_string(), place.ordinal.to_string()]);
    }
    fingerprint(parts.iter().map(String::as_bytes))
}

/// True for text that is meant as a date, not masked: digits and the punctuation of dates only.
fn is_date(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || "-:./+, TZ".contains(c)) && text.contains(|c: char| c.is_ascii_digit())
}

/// The name at the start of an error code; what follows it could be a message that quotes the request.
fn error_name(code: &str) -> String {
    let end = |c: char| !(c.is_ascii_alphanumeric() || "_-.#".contains(c));
    let name: String = code.trim().split(end).next().unwrap_or_default().chars().take(128).collect();
    if name.is_empty() { "unreadable".to_owned() } else { name }
}

fn outcome(error: Option<&str>, body: &OutputBody) -> Outcome {
    let Some(name) = error else {
        // Converse writes `content_filtered`, Titan `CONTENT_FILTERED`, OpenAI `content_filter`.
        let stop = body.stop_reason.as_deref().unwrap_or_default().to_ascii_lowercase();
        let filtered = body.guardrail == Some(true) || stop.starts_with("content_filter");
        return if filtered { Outcome::ContentFiltered } else { Outcome::Ok };
    };
    if let Ok(status) = name.parse::<u16>() {
        return Outcome::from_http_status(status);
    }
    // Common errors of AWS APIs whose names say it in other words.
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match Outcome::from_error_name(name) {
        Outcome::Unknown if has(&["slowdown", "requestlimit", "limitexceeded"]) => Outcome::Throttled,
        Outcome::Unknown if has(&["internalfailure", "internalerror", "modelstreamerror", "serviceexception"]) => {
            Outcome::ServerError
        }
        Outcome::Unknown if has(&["unrecognizedclient", "signature", "toolarge", "optin", "notauthorized"]) => {
            Outcome::ClientError
        }
        known => known,
    }
}

fn streaming(operation: Option<&str>, chunked: bool) -> Option<bool> {
    match operation {
        Some(name) if name.contains("Stream") => Some(true),
        Some("Converse" | "InvokeModel") => Some(false),
        _ => chunked.then_some(true),
    }
}

/// What was asked for: by operation, then model, then the keys of the bodies; an unknown operation keeps its name.
fn kind<'a>(operation: Option<&'a str>, record: &Record<'_>) -> Option<&'a str> {
    match operation {
        Some("Converse" | "ConverseStream") => Some("chat"),
        Some(name) if !name.starts_with("InvokeModel") => Some(name),
        None | Some(_) => by_model(record).or_else(|| by_body(record)),
    }
}

fn by_model(record: &Record<'_>) -> Option<&'static str> {
    let id = record.model_id.text()?.to_ascii_lowercase();
    // Ids of provisioned, imported and custom models and of application profiles are random text.
    let name = match id.starts_with("arn:").then(|| id.rsplit_once('/')).flatten() {
        Some((kind, name)) if kind.ends_with(":inference-profile") || kind.ends_with(":foundation-model") => name,
        Some(_) => return None,
        None => &id,
    };
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["embed"]) {
        Some("embeddings")
    } else if has(&["rerank"]) {
        Some("rerank")
    } else if has(&["canvas", "-image-", "stability.", "stable-", "sdxl"]) {
        Some("image")
    } else if has(&["nova-reel", "luma.ray"]) {
        Some("video")
    } else {
        None
    }
}

fn by_body(record: &Record<'_>) -> Option<&'static str> {
    let (input, output) = (&record.input.body, &record.output.body);
    if input.messages {
        Some("chat")
    } else if input.documents && input.query {
        Some("rerank")
    } else if input.image {
        Some("image")
    } else if input.video {
        Some("video")
    } else if input.embedding || (output.embedding && !input.prompt) {
        Some("embeddings")
    } else if input.prompt || input.input_text {
        Some("text_completion")
    } else {
        None
    }
}

fn tier(record: &Record<'_>) -> Option<String> {
    let named = record.service_tier.name.as_ref().or(record.output.body.tier.as_ref());
    let provisioned = || record.model_id.text().filter(|id| id.contains(":provisioned-model/"));
    match named.map(|tier| tier.to_ascii_lowercase()).as_deref() {
        Some("default" | "standard" | "on-demand" | "on_demand" | "ondemand") => Some("standard".to_owned()),
        None | Some("auto") => provisioned().map(|_| "provisioned".to_owned()),
        Some(other) => Some(other.to_owned()),
    }
}

/// A trace id among the caller's metadata: 32 hex digits, a W3C `traceparent`, or an X-Ray id.
fn trace_id(key: &str, value: &str) -> Option<String> {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let value = value.trim();
    let digits = match key.as_str() {
        "traceid" | "oteltraceid" | "xraytraceid" => match value.strip_prefix("1-") {
            Some(x_ray) => x_ray.replace('-', ""),
            None => value.to_owned(),
        },
        "traceparent" => value.split('-').nth(1)?.to_owned(),
        _ => return None,
    };
    RecordId::parse(&digits).filter(|id| *id != RecordId::default()).map(|id| id.to_string())
}
