//! One log row: the envelope beside its `properties`, and what every kind of row has in common.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::config::AzureConfig;
use super::naming;
use super::record::{BadCount, Fields, status, ticks};
use crate::model::{
    Normalized, Observation, RecordId, RecordRef, Timestamp, Usage, UsageStatus, Witness, fingerprint, judge,
};

/// A row and where it lies.
pub struct Row<'a> {
    /// The envelope.
    pub top: &'a Fields<'a>,
    /// The content of `properties`; empty where the columns lie in the envelope.
    pub properties: &'a Fields<'a>,
    /// Where the record was read.
    pub at: &'a RecordRef<'a>,
    /// Index of the row within its record.
    pub index: u64,
    /// What the operator says.
    pub config: &'a AzureConfig,
}

impl<'a> Row<'a> {
    /// The value of a field of the properties, else of the envelope.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.properties.get(name).or_else(|| self.top.get(name))
    }

    /// A short text of the properties, else of the envelope.
    pub fn text(&self, name: &str) -> Option<String> {
        self.properties.text(name).or_else(|| self.top.text(name))
    }

    /// A number that is not negative, of the properties, else of the envelope.
    pub fn millis(&self, name: &str) -> Option<f64> {
        self.properties.number(name).or_else(|| self.top.number(name)).filter(|ms| *ms >= 0.0)
    }

    /// A count of the properties, else of the envelope.
    pub fn count(&self, name: &str) -> Result<Option<u64>, BadCount> {
        Ok(self.properties.count(name)?.or(self.top.count(name)?))
    }

    /// An HTTP status.
    pub fn status(&self, name: &str) -> Option<u16> {
        self.get(name).and_then(status)
    }

    /// An instant in 100 ns ticks of either epoch, or as text.
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        let value = self.get(name)?;
        ticks(value).map_or_else(|| self.text(name).and_then(|text| Timestamp::parse(&text)), Timestamp::from_ticks)
    }

    /// The time in the envelope.
    pub fn time(&self) -> Option<Timestamp> {
        ["time", "timeGenerated", "TimeGenerated [UTC]", "enqueueTime", "fluentdIngestTimestamp"]
            .iter()
            .find_map(|name| self.top.text(name).and_then(|text| Timestamp::parse(&text)))
    }

    /// The resource id, lower-case.
    pub fn resource(&self) -> Option<String> {
        let resource = self.top.text("resourceId").or_else(|| self.top.text("_resourceId"))?;
        Some(resource.trim_end_matches('/').to_ascii_lowercase()).filter(|id| !id.is_empty())
    }

    /// The correlation id, lower-case.
    pub fn correlation(&self) -> Option<String> {
        let id = self.top.text("correlationId").or_else(|| self.properties.text("correlationId"))?;
        Some(id.to_ascii_lowercase()).filter(|id| id != "00000000-0000-0000-0000-000000000000")
    }

    /// An observation with what the envelope says.
    pub fn observation(&self, dialect: &str, witness: Witness) -> Observation {
        let resource = self.resource();
        let account_name = resource.as_deref().and_then(naming::resource_name);
        let region = self.top.text("location").or_else(|| self.text("region")).or_else(|| self.top.text("tenant"));
        let mut observation = Observation {
            source: self.at.source.to_owned(),
            dialect: dialect.to_owned(),
            witness,
            observed_at: self.at.observed_at,
            account: resource.as_deref().and_then(naming::subscription),
            region: region.as_deref().and_then(naming::region),
            resource,
            ..Observation::default()
        };
        tag(&mut observation, "azure.account", account_name);
        observation
    }

    /// Names the deployment and its model as the record does, completed by what the operator says.
    pub fn name_model(&self, observation: &mut Observation, deployment: Option<String>, model: Option<String>) {
        let account = observation.tags.get("azure.account").cloned();
        let known = deployment.as_deref().and_then(|name| self.config.deployment(account.as_deref(), name)).cloned();
        let known = known.unwrap_or_default();
        let sku = self.text("deploymentSku").or_else(|| self.text("deploymentType")).or(known.sku);
        if observation.model_version.is_none() && model.is_none() {
            observation.model_version = known.version;
        }
        observation.request_model = model.clone().or(known.model).or_else(|| deployment.clone());
        observation.response_model = model;
        observation.deployment = deployment;
        let platform = naming::platform_of(observation.request_model.as_deref(), observation.deployment.as_deref());
        observation.platform = Some(platform.to_owned());
        if let Some(sku) = sku {
            observation.tier = naming::tier_of_sku(&sku).map(str::to_owned);
            tag(observation, "azure.scope", naming::scope_of_sku(&sku).map(str::to_owned));
            tag(observation, "azure.sku", Some(sku));
        }
    }

    /// The id of this row: the same row has the same id wherever it is read. A row without an id of its request is told
    /// from others by its place.
    pub fn id(&self, dialect: &str, request: Option<&str>, substance: &[Option<String>]) -> RecordId {
        let mut parts: Vec<Cow<'_, [u8]>> = vec![
            Cow::Borrowed(dialect.as_bytes()),
            Cow::Owned(self.resource().unwrap_or_default().into_bytes()),
            Cow::Borrowed(request.unwrap_or_default().as_bytes()),
        ];
        if request.is_none() {
            parts.push(Cow::Borrowed(self.at.object.as_bytes()));
            parts.push(Cow::Owned(self.at.position.to_le_bytes().to_vec()));
            parts.push(Cow::Owned(self.index.to_le_bytes().to_vec()));
        }
        // A NUL never begins a JSON text that was trimmed, so absent differs from empty.
        let absent = || Cow::Borrowed(b"\0".as_slice());
        parts.extend(
            substance.iter().map(|part| part.as_deref().map_or_else(absent, |text| Cow::Borrowed(text.as_bytes()))),
        );
        fingerprint(parts.iter().map(AsRef::as_ref))
    }
}

/// Sets the start of a call, or assumes the time of the object that holds the record.
pub fn set_time(observation: &mut Observation, start: Option<Timestamp>, at: &RecordRef<'_>) {
    observation.ts = start.unwrap_or(at.object_time);
    observation.ts_assumed = start.is_none();
}

/// The instant `ms` milliseconds before.
pub fn before(end: Timestamp, ms: f64) -> Timestamp {
    let micros = std::time::Duration::try_from_secs_f64(ms / 1000.0)
        .ok()
        .and_then(|duration| i64::try_from(duration.as_micros()).ok())
        .unwrap_or(0);
    end.plus(-micros)
}

/// Adds a tag if there is a value.
pub fn tag(observation: &mut Observation, key: &str, value: Option<String>) {
    if let Some(value) = value {
        observation.tags.insert(key.to_owned(), value);
    }
}

/// Sets the counts and how far they can be trusted.
pub fn set_usage(observation: &mut Observation, usage: Usage) {
    observation.usage_status = if usage.is_empty() { UsageStatus::Missing } else { UsageStatus::Measured };
    observation.usage = usage;
}

/// Marks counts of a model that counts its cache apart, where the row does not say how much was cached: the input is
/// then only what was neither read from nor written to the cache.
pub fn mark_cache_apart(observation: &mut Observation, cache_apart: bool) {
    let usage = &observation.usage;
    if cache_apart && usage.input.is_some() && usage.cache_read.is_none() {
        tag(observation, "azure.input_without_cache", Some("true".to_owned()));
    }
}

/// The last judgement, or the rejection of a record whose counts are none.
pub fn finish(observation: Result<Observation, BadCount>) -> Normalized {
    match observation {
        Ok(observation) => judge(observation),
        Err(BadCount) => {
            Normalized::rejected("bad_count", "a token count is negative, fractional, ambiguous or no number")
        }
    }
}
