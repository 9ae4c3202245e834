//! From what a call says about its model to one identity.

use std::borrow::Cow;
use std::sync::Arc;

use super::data::{CatalogError, Known, Tables};
use super::name::{self, Name};
use super::spelling::{self, Spelling};
use crate::model::platform;

/// What a call says about its model. `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelQuery<'a> {
    /// Who served it, by the OpenTelemetry name.
    pub platform: Option<&'a str>,
    /// Model as the caller named it: id, ARN, alias.
    pub request_model: Option<&'a str>,
    /// Model that the answer names.
    pub response_model: Option<&'a str>,
    /// Version beside the model name (Azure `modelVersion`).
    pub model_version: Option<&'a str>,
    /// Azure deployment.
    pub deployment: Option<&'a str>,
}

/// Which model a call used. `None` where that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Who made the model: `openai`, `anthropic`, …
    pub publisher: Option<String>,
    /// Public name, lower-case, without vendor, geography, date and version: `gpt-4o`, `claude-sonnet-4`. A model that
    /// a customer trained further is `ft:` and its base, because it has prices of its own.
    pub model: Option<String>,
    /// The dated edition that the id names: `2024-05-13`, `20250514`, `0613`. Editions may have prices of their own.
    pub snapshot: Option<String>,
    /// `in_region`, `geo` or `global`, where the id proves it.
    pub scope: Option<&'static str>,
    /// The geography of scope `geo`: `us`, `us-gov`, `eu`, `apac`, `jp`, `au`.
    pub geo: Option<String>,
    /// `provisioned`, where the id proves it.
    pub tier: Option<&'static str>,
}

/// The model catalogue: immutable once loaded.
#[derive(Clone, Debug)]
pub struct Catalog {
    tables: Tables,
}

/// One spelling, taken apart and resolved.
struct Reading<'a> {
    spelling: Spelling<'a>,
    name: Option<Name>,
}

impl Catalog {
    /// The catalogue that comes with the program.
    ///
    /// # Errors
    /// If the bundled data is damaged; never at run time, a test loads it.
    pub fn bundled() -> Result<Self, CatalogError> {
        Tables::bundled().map(|tables| Self { tables })
    }

    /// Adds a model of the operator's own, or further spellings of a known one. They win over the bundled ones.
    pub fn add(&mut self, publisher: &str, model: &str, spellings: &[&str]) {
        let publisher = self.tables.publisher(publisher);
        for text in spellings.iter().copied().chain([model]) {
            let text = lower(text);
            let name = name::respell(spelling::parse(&text, None, &self.tables).name).into_owned();
            self.tables.names.insert(name, Known { publisher, model: model.into(), snapshot: None });
        }
    }

    /// The identity of the model that the query describes.
    ///
    /// The answer's model counts before the request's, because a caller may name an alias; but a Bedrock id and an Azure
    /// model beside its deployment are certain. An Azure deployment alone counts only if it is literally a known name.
    #[must_use]
    pub fn resolve(&self, q: &ModelQuery<'_>) -> ModelIdentity {
        let request_text = q.request_model.map(lower);
        let response_text = q.response_model.map(lower);
        let request = request_text.as_deref().map(|text| self.read(text, q.platform));
        let response = response_text.as_deref().map(|text| self.read(text, q.platform));
        let deployment_text = q.deployment.map(lower);

        let azure = matches!(q.platform, Some(platform::AZURE_OPENAI | platform::AZURE_INFERENCE));
        let apart = q.model_version.is_some() || (q.deployment.is_some() && q.deployment != q.request_model);
        let certain = |reading: &Reading<'_>| reading.spelling.certain || (azure && apart);
        let usable = |reading: &Reading<'_>| !azure || apart || reading.name.as_ref().is_some_and(|name| name.known);
        let chosen = request
            .as_ref()
            .filter(|reading| certain(reading))
            .and_then(|reading| reading.name.as_ref())
            .or_else(|| response.as_ref().and_then(|reading| reading.name.as_ref()))
            .or_else(|| request.as_ref().filter(|reading| usable(reading)).and_then(|reading| reading.name.as_ref()))
            .cloned()
            .or_else(|| {
                let deployment = deployment_text.as_deref().filter(|_| azure)?;
                self.read(deployment, q.platform).name.filter(|name| name.known)
            });

        let mut identity = ModelIdentity::default();
        for reading in [&request, &response].into_iter().flatten() {
            identity.tier = identity.tier.or(reading.spelling.tier);
            if identity.scope.is_none() {
                identity.scope = reading.spelling.scope;
                identity.geo = reading.spelling.geo.map(str::to_owned);
            }
        }
        let tuned = [&response, &request].into_iter().flatten().any(|reading| reading.spelling.fine_tuned);
        if let Some(name) = chosen {
            self.fill(&mut identity, name, tuned, azure.then_some(q.model_version).flatten());
        }
        identity
    }

    fn fill(&self, identity: &mut ModelIdentity, name: Name, tuned: bool, version: Option<&str>) {
        identity.publisher = self.tables.publishers.get(name.publisher).map(|publisher| publisher.to_string());
        let mut model = name.model;
        let mut snapshot = name.snapshot;
        if let Some(version) = version.map(lower) {
            if let Some(Known { model: other, snapshot: edition, .. }) = self.tables.version(&model, &version) {
                (model, snapshot) = (Arc::clone(other), edition.clone());
            } else if snapshot.is_none() && identity.publisher.as_deref() == Some("openai") {
                snapshot = Some(version.as_ref().into());
            }
        }
        identity.model = Some(if tuned { format!("ft:{model}") } else { model.to_string() });
        identity.snapshot = snapshot.map(|snapshot| snapshot.to_string());
    }

    fn read<'a>(&self, text: &'a str, on: Option<&str>) -> Reading<'a> {
        let spelling = spelling::parse(text, on, &self.tables);
        let name = if self.tables.is_router(spelling.name) {
            None
        } else {
            name::resolve(spelling.name, spelling.vendor, &self.tables)
        };
        Reading { spelling, name }
    }
}

/// Trimmed and lower-case, borrowed where it already is.
fn lower(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}
