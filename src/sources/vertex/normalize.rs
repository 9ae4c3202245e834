//! Record in, observation out. Pure: the same bytes give the same rows.

use serde_json::value::RawValue;

use super::answer::{Answer, GeminiUsage};
use super::config::VertexConfig;
use super::record::Record;
use crate::model::{
    Normalized, Observation, Outcome, RecordId, RecordRef, Reject, Tags, Timestamp, Usage, UsageStatus, Witness,
    fingerprint, judge, platform,
};
use crate::sources::lenient::{Lenient, Raw, repair};

const DIALECT: &str = "vertex.request_response";
/// A row within an entry within an array; deeper is nobody's format.
const MAX_WRAPPERS: u8 = 3;
/// Stop reasons of Gemini that mean that a filter stopped it.
const FILTERED: [&str; 8] = [
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
];

/// What an entry says about the row in it.
#[derive(Clone, Default)]
struct Around {
    time: Option<Timestamp>,
    project: Option<String>,
    region: Option<String>,
    trace: Option<String>,
    span: Option<String>,
    /// The row in an entry is the same whenever the entry is.
    insert_id: Option<String>,
}

struct Walk<'a> {
    config: &'a VertexConfig,
    at: &'a RecordRef<'a>,
    out: &'a mut Vec<Normalized>,
}

/// Normalizes one value: a row, an entry of Cloud Logging, or an array of these.
pub fn normalize(config: &VertexConfig, bytes: &[u8], at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    let mut walk = Walk { config, at, out };
    let strict = std::str::from_utf8(bytes).ok().filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    match strict {
        Some(text) => walk.value(text, &Around::default(), 0),
        None => walk.value(&repair(bytes), &Around::default(), 0),
    }
}

impl Walk<'_> {
    fn value(&mut self, text: &str, around: &Around, wrappers: u8) {
        if wrappers > MAX_WRAPPERS {
            return self.out.push(Normalized::rejected("not_a_record", "wrapped too often"));
        }
        if text.is_empty() {
            return self.out.push(Normalized::Skipped("empty"));
        }
        if text.starts_with('[') {
            return match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(values) if values.is_empty() => self.out.push(Normalized::Skipped("empty")),
                Ok(values) => values.iter().for_each(|value| self.value(value.get(), around, wrappers + 1)),
                Err(error) => self.malformed(&error),
            };
        }
        if !text.starts_with('{') {
            return self
                .out
                .push(Normalized::rejected("not_json", format!("no JSON object or array in {} bytes", text.len())));
        }
        match serde_json::from_str::<Lenient<Record<'_>>>(text) {
            Ok(record) => self.object(&record.0, around, wrappers),
            Err(error) => self.malformed(&error),
        }
    }

    /// The error's own text may quote the record.
    fn malformed(&mut self, error: &serde_json::Error) {
        let what = if error.is_eof() { "ends early" } else { "is malformed" };
        let detail = format!("JSON {what} at line {} column {}", error.line(), error.column());
        self.out.push(Normalized::rejected("not_json", detail));
    }

    fn object(&mut self, record: &Record<'_>, around: &Around, wrappers: u8) {
        if record.is_row() {
            let row = row(record, around, self.config, self.at, self.out.len());
            self.out.push(row);
        } else if record.proto_payload.json().is_some() {
            self.out.push(Normalized::Skipped("audit"));
        } else if let Some(inner) = record.json_payload.json() {
            let around = Around {
                time: record.timestamp.text().as_deref().and_then(instant),
                project: record.resource.labels.project.text(),
                region: record.resource.labels.location.text(),
                trace: record.trace.text().and_then(|trace| last_part(&trace)),
                span: record.span_id.text(),
                insert_id: record.insert_id.text(),
            };
            let before = self.out.len();
            self.value(inner, &around, wrappers + 1);
            // Applications write all sorts of entries into the same log.
            if let Some([only @ Normalized::Rejected(Reject { reason: "not_a_record", .. })]) =
                self.out.get_mut(before..)
            {
                *only = Normalized::Skipped("other_entry");
            }
        } else if record.log_name.text().is_some() {
            self.out.push(Normalized::Skipped("other_entry"));
        } else {
            self.out
                .push(Normalized::rejected("not_a_record", "neither a row with a model nor an entry of Cloud Logging"));
        }
    }
}

/// A time as RFC 3339 or as BigQuery writes it (`2026-11-21 10:00:00.25 UTC`).
fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text.trim().trim_end_matches("UTC").trim_end())
}

fn last_part(name: &str) -> Option<String> {
    name.rsplit('/').next().filter(|part| !part.is_empty()).map(str::to_owned)
}

/// The part behind `word/` of a resource name.
fn part_of(name: Option<&str>, word: &str) -> Option<String> {
    let mut parts = name?.split('/');
    parts.find(|part| *part == word)?;
    parts.next().filter(|part| !part.is_empty()).map(str::to_owned)
}

fn row(record: &Record<'_>, around: &Around, config: &VertexConfig, at: &RecordRef<'_>, ordinal: usize) -> Normalized {
    let answer = record.answer();
    if answer.bad {
        return Normalized::rejected("bad_count", "a token count is negative, fractional, beyond 63 bits or no number");
    }
    let stamp = record.logging_time.text();
    let logged = stamp.as_deref().and_then(instant);
    if logged.is_none() && stamp.is_some() {
        return Normalized::rejected("bad_time", "the logging time can't be read");
    }
    let written = logged.or(around.time);
    let latency_ms = record.metadata.latency.millis().or(record.metadata.latency_ms);
    // It is logged when the answer is there.
    let started = |at: Timestamp| latency_ms.and_then(micros).map_or(at, |us| at.plus(-us));
    let (model, endpoint) = (record.model.text(), record.endpoint.text());
    let place = [model.as_deref(), endpoint.as_deref()];
    let find = |word| place.iter().find_map(|name| part_of(*name, word));
    let method = record.api_method.text();
    let usage = usage(&answer);
    let (outcome, http_status) = outcome(&answer);
    judge(Observation {
        observation_id: id(record, around, &answer, at, ordinal),
        source: at.source.to_owned(),
        dialect: DIALECT.to_owned(),
        witness: Witness::ProviderLog,
        observed_at: at.observed_at,
        ts: started(written.unwrap_or(at.object_time)),
        ts_assumed: written.is_none(),
        provider_request_id: record.request_id.text(),
        response_id: answer.id.clone(),
        trace_id: around.trace.as_deref().and_then(RecordId::parse).map(|id| id.to_string()),
        span_id: around.span.clone().map(|span| span.to_ascii_lowercase()),
        platform: Some(platform::VERTEX.to_owned()),
        request_model: model.as_deref().or(endpoint.as_deref()).and_then(last_part),
        response_model: answer.model.clone(),
        // "default" says nothing.
        model_version: record.model_version.text().filter(|version| version != "default"),
        region: find("locations").or_else(|| around.region.clone()).or_else(|| config.region.clone()),
        account: find("projects").or_else(|| around.project.clone()).or_else(|| config.account.clone()),
        streaming: method.as_deref().map(|method| method.to_ascii_lowercase().contains("stream")),
        operation: operation(method.as_deref(), model.as_deref()),
        tier: answer.gemini.traffic.map(|traffic| traffic.tier().to_owned()),
        outcome: Some(outcome),
        http_status,
        error_code: answer.error_name.clone().or(answer.error_code),
        finish_reason: answer.blocked.or(answer.stop),
        usage,
        usage_status: if usage.is_empty() { UsageStatus::Missing } else { UsageStatus::Measured },
        duration_ms: latency_ms,
        tags: labels(&record.request.labels.0),
        ..Observation::default()
    })
}

#[expect(clippy::cast_possible_truncation, reason = "bounded before")]
fn micros(ms: f64) -> Option<i64> {
    (0.0..86_400_000.0).contains(&ms).then_some((ms * 1000.0) as i64)
}

/// Keys that begin like the tags of this format are renamed, so that none can be forged.
fn labels(labels: &Tags) -> Tags {
    let rename = |key: &str| if key.starts_with("vertex.") { format!("labels.{key}") } else { key.to_owned() };
    labels.iter().map(|(key, value)| (rename(key), value.clone())).collect()
}

fn sum(parts: [Option<u64>; 2]) -> Option<u64> {
    let known: Vec<u64> = parts.into_iter().flatten().collect();
    if known.is_empty() { None } else { Some(known.iter().fold(0, |sum: u64, n| sum.saturating_add(*n))) }
}

/// The canonical counts: of Gemini the prompt holds what was cached and thoughts come on top of the candidates, of Claude
/// cached input comes on top of input.
fn usage(answer: &Answer) -> Usage {
    let (gemini, claude) = (&answer.gemini, &answer.claude);
    if is_gemini(gemini) {
        let input = sum([gemini.prompt, gemini.tool]);
        let output = sum([gemini.candidates, gemini.thoughts]);
        let within = |part: Option<u64>, all: Option<u64>| part.filter(|part| all.is_some_and(|all| *part <= all));
        return Usage {
            input,
            cache_read: gemini.cached,
            output,
            reasoning: gemini.thoughts,
            audio_input: within(gemini.input_details.audio, input),
            image_input: within(gemini.input_details.image, input),
            audio_output: within(gemini.output_details.audio, output),
            ..Usage::default()
        };
    }
    let mut usage = Usage::from_disjoint(claude.input, claude.cache_read, claude.cache_write, claude.output);
    usage.cache_write_1h = claude.cache_write_1h.filter(|hour| claude.cache_write.is_some_and(|write| *hour <= write));
    usage
}

const fn is_gemini(usage: &GeminiUsage) -> bool {
    usage.prompt.is_some() || usage.candidates.is_some() || usage.thoughts.is_some() || usage.tool.is_some()
}

fn outcome(answer: &Answer) -> (Outcome, Option<u16>) {
    let failed = answer.error_code.is_some() || answer.error_name.is_some();
    if failed {
        let status = answer.error_code.as_deref().and_then(|code| code.parse::<u16>().ok());
        let status = status.filter(|status| (100..600).contains(status));
        let named = || answer.error_name.as_deref().map_or(Outcome::Unknown, Outcome::from_error_name);
        return (status.map_or_else(named, Outcome::from_http_status), status);
    }
    let filtered = answer.blocked.is_some()
        || answer.stop.as_deref().is_some_and(|stop| FILTERED.contains(&stop) || stop == "refusal");
    (if filtered { Outcome::ContentFiltered } else { Outcome::Ok }, None)
}

fn operation(method: Option<&str>, model: Option<&str>) -> Option<String> {
    if model.is_some_and(|model| model.to_ascii_lowercase().contains("embedding")) {
        return Some("embeddings".to_owned());
    }
    let method = method?;
    let known = ["generatecontent", "streamgeneratecontent", "rawpredict", "streamrawpredict"];
    let chat = known.iter().any(|known| method.eq_ignore_ascii_case(known));
    Some(if chat { "chat".to_owned() } else { method.to_owned() })
}

/// The same for each export of a row, whatever the order of its columns.
fn id(record: &Record<'_>, around: &Around, answer: &Answer, at: &RecordRef<'_>, ordinal: usize) -> RecordId {
    let text = |value: Raw<'_>| value.text().unwrap_or_default();
    let number = |count: Option<u64>| count.map(|n| n.to_string()).unwrap_or_default();
    let usage = usage(answer);
    let time = record.logging_time.text().as_deref().and_then(instant).map(|at| at.0.to_string()).unwrap_or_default();
    let request = text(record.request_id);
    let mut parts = vec![
        DIALECT.to_owned(),
        request.clone(),
        time,
        text(record.model),
        text(record.endpoint),
        text(record.api_method),
        answer.id.clone().unwrap_or_default(),
        around.insert_id.clone().unwrap_or_default(),
        number(usage.input),
        number(usage.output),
    ];
    if request.is_empty() && answer.id.is_none() && around.insert_id.is_none() {
        parts.extend([at.object.to_owned(), at.position.to_string(), ordinal.to_string()]);
    }
    fingerprint(parts.iter().map(String::as_bytes))
}
