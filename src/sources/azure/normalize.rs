//! Record in, rows out: takes envelopes apart and hands each row to the module of its category.

use serde_json::value::RawValue;

use super::config::AzureConfig;
use super::record::{Fields, array, nested};
use super::row::Row;
use super::{gateway, llm_log, metrics, request_response, shipper, usage};
use crate::model::{Normalized, RecordRef, Reject};

/// Envelopes nest at most this deep: an array of envelopes of records.
const MAX_DEPTH: u8 = 3;
/// Names that an object with rows may have: those of blobs and of line-wise exports, also compressed.
const ENDINGS: [&str; 6] = [".json", ".jsonl", ".ndjson", ".log", ".txt", ".gz"];

/// True for objects that may hold records.
pub fn wants(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| key.ends_with(ending))
}

/// Normalizes one JSON value: a blob line, an Event Hub envelope, an array, or one row.
pub fn normalize(record: &[u8], at: &RecordRef<'_>, config: &AzureConfig, out: &mut Vec<Normalized>) {
    let text = String::from_utf8_lossy(record);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        out.push(Normalized::Skipped("empty"));
        return;
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => {
            let before = out.len();
            let mut walk = Walk { at, config, index: 0, out };
            walk.value(value, 0);
            if walk.out.len() == before {
                walk.out.push(Normalized::Skipped("empty"));
            }
        }
        // The category, line and column say where; the message itself is not kept, it could quote.
        Err(error) => out.push(Normalized::Rejected(Reject {
            reason: "not_json",
            detail: format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()),
        })),
    }
}

struct Walk<'a> {
    at: &'a RecordRef<'a>,
    config: &'a AzureConfig,
    index: u64,
    out: &'a mut Vec<Normalized>,
}

impl Walk<'_> {
    fn value(&mut self, value: &RawValue, depth: u8) {
        if depth > MAX_DEPTH {
            self.out.push(Normalized::rejected("too_deep", "envelopes are nested too deeply"));
            return;
        }
        if let Some(elements) = array(value) {
            elements.iter().for_each(|element| self.value(element, depth + 1));
            return;
        }
        let Some(fields) = Fields::parse(value.get()) else {
            self.index += 1;
            self.out.push(Normalized::rejected("not_a_record", "neither an object nor an array"));
            return;
        };
        if !fields.has("category") {
            if let Some(records) = fields.array("records").or_else(|| fields.array("events")) {
                records.iter().for_each(|record| self.value(record, depth + 1));
                return;
            }
            if let Some(batch) = fields.array("values") {
                batch.iter().for_each(|answer| self.value(answer, depth + 1));
                return;
            }
            if metrics::is_answer(&fields) {
                metrics::answer(&fields, self.at, self.out);
                return;
            }
            if shipper::is_event(&fields) {
                shipper::event(&fields, self.at, self.out);
                return;
            }
        }
        let row = self.row(&fields);
        self.index += 1;
        self.out.push(row);
    }

    fn row(&self, top: &Fields<'_>) -> Normalized {
        let text = top.get("properties").and_then(nested);
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty() && *text != "null");
        let parsed = text.map(Fields::parse);
        let unreadable = matches!(parsed, Some(None));
        let properties = parsed.flatten().unwrap_or_default();
        let row = Row { top, properties: &properties, at: self.at, index: self.index, config: self.config };
        let kind = Kind::of(&row);
        if unreadable && kind.needs_properties() {
            return Normalized::rejected("bad_properties", "the properties are no JSON object");
        }
        match kind {
            Kind::RequestResponse => request_response::normalize(&row),
            Kind::Usage => usage::normalize(&row),
            Kind::Gateway => gateway::normalize(&row),
            Kind::LlmLog => llm_log::normalize(&row),
            Kind::Metric => metrics::exported(&row),
            Kind::AppMetric => metrics::application(&row),
            Kind::Skipped(word) => Normalized::Skipped(word),
        }
    }
}

/// What a row is.
enum Kind {
    RequestResponse,
    Usage,
    Gateway,
    LlmLog,
    Metric,
    AppMetric,
    Skipped(&'static str),
}

impl Kind {
    /// Reads the category, or the table where rows come out of Log Analytics; without either, the shape decides.
    fn of(row: &Row<'_>) -> Self {
        let category = row.top.text("category");
        let named = category.is_some();
        let category = category.or_else(|| row.top.text("type")).unwrap_or_default().to_ascii_lowercase();
        let resource = row.resource().unwrap_or_default();
        let is_of = |provider: &str| !resource.contains("/providers/") || resource.contains(provider);
        match category.as_str() {
            "requestresponse" if is_of("/providers/microsoft.cognitiveservices/") => Self::RequestResponse,
            "azureopenairequestusage" => Self::Usage,
            "audit" => Self::Skipped("audit"),
            "trace" => Self::Skipped("trace"),
            "managednetworkevent" => Self::Skipped("managed_network_event"),
            "gatewaylogs" | "apimanagementgatewaylogs" if is_of("/providers/microsoft.apimanagement/") => Self::Gateway,
            llm if llm.ends_with("gatewayllmlogs") || llm.ends_with("gatewayllmlog") => Self::LlmLog,
            "appmetrics" => Self::AppMetric,
            _ if row.top.has("metricName") && (row.top.has("timeGrain") || row.top.has("total")) => Self::Metric,
            _ if named => Self::Skipped("other_category"),
            _ => Self::of_shape(row.top),
        }
    }

    fn of_shape(top: &Fields<'_>) -> Self {
        let has_counts = ["promptTokens", "generatedTokens", "cachedTokens"].iter().any(|name| top.has(name));
        if top.has("modelDeploymentName") && has_counts {
            Self::Usage
        } else if top.has("usage") && top.has("model") {
            Self::Skipped("not_a_log_record")
        } else {
            Self::Skipped("other_category")
        }
    }

    const fn needs_properties(&self) -> bool {
        matches!(self, Self::RequestResponse | Self::Usage | Self::Gateway | Self::LlmLog)
    }
}
