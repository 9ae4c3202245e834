//! The wire format, field for field.
//!
//! - Rows: Vertex AI documentation, "Log requests and responses"
//!   (<https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging>).
//! - Gemini's counts: `UsageMetadata` of `GenerateContentResponse`
//!   (<https://cloud.google.com/vertex-ai/docs/reference/rest/v1/GenerateContentResponse>).
//! - Claude's counts: Messages API, `usage`.
//! - Entries: Cloud Logging, `LogEntry` (<https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry>).
//!
//! BigQuery exports 64-bit integers and JSON columns as text, Cloud Logging as they are: both are read.

use serde::de::MapAccess;

use super::answer::{Answer, Payload};
use crate::model::Tags;
use crate::sources::lenient::{Fields, Lenient, Raw, skip, take};

/// Most labels that are kept; the service itself allows 64.
const MOST_LABELS: usize = 32;
/// Longest label.
const LONGEST_LABEL: usize = 256;

/// A row of the table, or an entry of Cloud Logging around one.
#[derive(Default)]
pub struct Record<'a> {
    /// Resource name of a tuned model's endpoint.
    pub endpoint: Raw<'a>,
    /// Id of a tuned model.
    pub deployed_model_id: Raw<'a>,
    /// When it was logged, which is about when the answer was returned.
    pub logging_time: Raw<'a>,
    /// Made by Vertex.
    pub request_id: Raw<'a>,
    /// Resource name of the model.
    pub model: Raw<'a>,
    /// Often `default`.
    pub model_version: Raw<'a>,
    /// `generateContent`, `streamGenerateContent`, `rawPredict`, `streamRawPredict`.
    pub api_method: Raw<'a>,
    /// Of the request only its labels.
    pub request: Request,
    /// `full_response`.
    pub response: Option<Answer>,
    /// `response_payload`: texts, of a stream several.
    pub payload: Payload,
    /// `metadata.request_latency`, milliseconds.
    pub metadata: Metadata<'a>,
    /// Around a row: the payload of an entry.
    pub json_payload: Raw<'a>,
    /// An entry of the audit log.
    pub proto_payload: Raw<'a>,
    /// Around a row: when the entry was written.
    pub timestamp: Raw<'a>,
    /// Around a row: `projects/…/traces/…`.
    pub trace: Raw<'a>,
    /// Around a row: the span.
    pub span_id: Raw<'a>,
    /// Around a row: where it was written.
    pub resource: Resource<'a>,
    /// What marks an entry of Cloud Logging.
    pub log_name: Raw<'a>,
    /// The id of an entry.
    pub insert_id: Raw<'a>,
}

impl<'de> Fields<'de> for Record<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"endpoint" => self.endpoint = map.next_value()?,
            b"deployed_model_id" => self.deployed_model_id = map.next_value()?,
            b"logging_time" => self.logging_time = map.next_value()?,
            b"request_id" => self.request_id = map.next_value()?,
            b"model" => self.model = map.next_value()?,
            b"model_version" => self.model_version = map.next_value()?,
            b"api_method" => self.api_method = map.next_value()?,
            b"full_request" => self.request = take(map)?,
            b"full_response" => self.response = Some(take(map)?),
            b"response_payload" => self.payload = take(map)?,
            b"metadata" => self.metadata = take(map)?,
            b"jsonPayload" => self.json_payload = map.next_value()?,
            b"protoPayload" => self.proto_payload = map.next_value()?,
            b"timestamp" => self.timestamp = map.next_value()?,
            b"trace" => self.trace = map.next_value()?,
            b"spanId" => self.span_id = map.next_value()?,
            b"resource" => self.resource = take(map)?,
            b"logName" => self.log_name = map.next_value()?,
            b"insertId" => self.insert_id = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Record<'_> {
    /// True for a row: it says which model, and when or how it was called.
    pub fn is_row(&self) -> bool {
        let model = self.model.text().is_some() || self.endpoint.text().is_some();
        let marks = [self.logging_time, self.api_method, self.request_id];
        model && (self.response.is_some() || marks.iter().any(|mark| mark.text().is_some()))
    }

    /// What the answer says: `full_response`, or else the texts of the payload.
    pub fn answer(&self) -> Answer {
        let full = self.response.clone().unwrap_or_default();
        if full == Answer::default() { self.payload.0.clone() } else { full }
    }
}

/// A small object that may stand as text.
pub fn within<'de, T: Fields<'de>>(text: &'de str) -> Option<T> {
    serde_json::from_str::<Lenient<T>>(text).ok().map(|found| found.0)
}

/// `full_request`: labels only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What the caller attached.
    pub labels: Labels,
}

impl<'de> Fields<'de> for Request {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"labels" => self.labels = take(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        *self = within(text).unwrap_or_default();
    }
}

/// Labels of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub Tags);

impl<'de> Fields<'de> for Labels {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        let value = map.next_value::<Raw<'_>>()?.text();
        let key = String::from_utf8_lossy(key);
        if let Some(value) = value.filter(|value| value.len().max(key.len()) <= LONGEST_LABEL)
            && self.0.len() < MOST_LABELS
        {
            self.0.insert(key.into_owned(), value);
        }
        Ok(())
    }
}

/// `metadata`.
#[derive(Clone, Copy, Default)]
pub struct Metadata<'a> {
    /// Milliseconds.
    pub latency: Raw<'a>,
    /// Where the object stood as text.
    pub latency_ms: Option<f64>,
}

impl<'de> Fields<'de> for Metadata<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"request_latency" => self.latency = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.latency_ms = within::<Metadata<'_>>(text).and_then(|metadata| metadata.latency.millis());
    }
}

/// `resource` of an entry.
#[derive(Clone, Copy, Default)]
pub struct Resource<'a> {
    /// `labels`.
    pub labels: Place<'a>,
}

impl<'de> Fields<'de> for Resource<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"labels" => self.labels = take(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// Where an entry was written.
#[derive(Clone, Copy, Default)]
pub struct Place<'a> {
    /// `project_id`.
    pub project: Raw<'a>,
    /// `location`.
    pub location: Raw<'a>,
}

impl<'de> Fields<'de> for Place<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &[u8], map: &mut A) -> Result<(), A::Error> {
        match key {
            b"project_id" => self.project = map.next_value()?,
            b"location" | b"region" => self.location = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
