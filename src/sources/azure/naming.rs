//! Azure's names in the vocabulary of polymeter: operations, regions, platforms, SKUs, resource ids, URLs.

use super::record::word;
use crate::model::platform;

/// Families of models that Foundry serves from other publishers than OpenAI, by the beginning of the model's name.
const OTHER_PUBLISHERS: [&str; 25] = [
    "ai21",
    "anthropic",
    "bria",
    "claude",
    "codestral",
    "cohere",
    "command",
    "deepseek",
    "embed-v",
    "fireworks",
    "flux",
    "grok",
    "jais",
    "jamba",
    "kimi",
    "llama",
    "mai-",
    "meta-",
    "ministral",
    "mistral",
    "mixtral",
    "nemotron",
    "phi-",
    "qwen",
    "stable-",
];

/// Verbs of operations that look something up or manage it.
const MANAGING: [&str; 8] = ["get", "list", "delete", "cancel", "update", "upload", "download", "retrieve"];

/// What kind of work an operation name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Inference, with its canonical name.
    Inference(&'static str),
    /// Looks something up or manages it: never a model call.
    Managing,
    /// Not known; the name as written.
    Other(String),
}

impl Operation {
    /// Reads an operation name such as `ChatCompletions_Create`, `create_response`, `Models_List`.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        if words.any(|word| MANAGING.contains(&word)) || ["list", "get", "delete"].iter().any(|v| lower.starts_with(v))
        {
            return Self::Managing;
        }
        let letters: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
        let has = |part: &str| letters.contains(part);
        if has("thread") || has("assistant") || has("vectorstore") {
            return Self::Other(name.to_owned());
        }
        let canonical = if has("chatcompletion") || has("chat") && has("complet") {
            "chat"
        } else if has("embedding") {
            "embeddings"
        } else if has("completion") {
            "text_completion"
        } else if has("createresponse") || has("responsescreate") || letters == "responses" || is_messages(&letters) {
            "chat"
        } else if has("imagegeneration") || has("imageedit") || has("imagescreate") || has("imagesgenerate") {
            "image"
        } else if has("transcription") || has("audiotranslation") || has("translationscreate") {
            "transcription"
        } else if has("speech") {
            "speech"
        } else if has("rerank") {
            "rerank"
        } else if has("realtime") {
            "realtime"
        } else {
            return Self::Other(name.to_owned());
        };
        Self::Inference(canonical)
    }

    /// The column value; `None` for what only manages. `Create_Message` with a model is a chat.
    #[must_use]
    pub fn canonical(&self) -> Option<String> {
        match self {
            Self::Inference(name) => Some((*name).to_owned()),
            Self::Managing => None,
            Self::Other(name) => {
                let lower = name.to_ascii_lowercase();
                if ["create_message", "createmessage"].contains(&lower.as_str()) {
                    Some("chat".to_owned())
                } else if lower.starts_with("image") {
                    Some("image".to_owned())
                } else {
                    Some(name.clone())
                }
            }
        }
    }
}

/// Anthropic's operation. `Create_Message` in the singular also adds a message to an assistant's thread.
fn is_messages(letters: &str) -> bool {
    letters == "messages"
        || ["messagescreate", "createmessages", "anthropicmessages"].iter().any(|m| letters.contains(m))
}

/// The platform that serves a model: OpenAI's models and unknown ones are Azure OpenAI, the rest of Foundry is inference.
#[must_use]
pub fn platform_of(model: Option<&str>, deployment: Option<&str>) -> &'static str {
    let name = model.or(deployment).unwrap_or_default().to_ascii_lowercase();
    if OTHER_PUBLISHERS.iter().any(|start| name.starts_with(start)) {
        platform::AZURE_INFERENCE
    } else {
        platform::AZURE_OPENAI
    }
}

/// True for models whose prompt counts exclude what was read from or written to a cache.
#[must_use]
pub fn counts_cache_apart(model: Option<&str>, deployment: Option<&str>) -> bool {
    let name = model.or(deployment).unwrap_or_default().to_ascii_lowercase();
    name.starts_with("claude") || name.starts_with("anthropic")
}

/// `East US 2` is `eastus2`.
#[must_use]
pub fn region(name: &str) -> Option<String> {
    let region: String = name.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    if region.is_empty() { None } else { Some(region) }
}

/// The service tier that an ARM `sku.name` stands for; `None` where the tier is chosen per request.
#[must_use]
pub fn tier_of_sku(sku: &str) -> Option<&'static str> {
    let sku = sku.to_ascii_lowercase();
    if sku.contains("provisioned") {
        Some("provisioned")
    } else if sku.ends_with("batch") {
        Some("batch")
    } else {
        None
    }
}

/// Where an ARM `sku.name` lets calls run: `global`, `geo` (data zone) or `in_region`; `None` if it does not say.
#[must_use]
pub fn scope_of_sku(sku: &str) -> Option<&'static str> {
    let sku = sku.to_ascii_lowercase();
    if sku.starts_with("global") {
        Some("global")
    } else if sku.starts_with("datazone") {
        Some("geo")
    } else if sku.starts_with("standard") || sku.starts_with("provisioned") || sku.starts_with("regional") {
        Some("in_region")
    } else {
        None
    }
}

/// The subscription of a resource id, lower-case.
#[must_use]
pub fn subscription(resource: &str) -> Option<String> {
    let mut parts = resource.split('/');
    parts.find(|part| part.eq_ignore_ascii_case("subscriptions"))?;
    parts.next().filter(|id| !id.is_empty()).map(str::to_ascii_lowercase)
}

/// The last part of a resource id, lower-case: the account's or service's name.
#[must_use]
pub fn resource_name(resource: &str) -> Option<String> {
    resource.rsplit('/').find(|part| !part.is_empty()).map(str::to_ascii_lowercase)
}

/// The parts of a URL that tell what was called.
#[derive(Debug, Default)]
pub struct Route {
    /// Host, lower-case, without port; `None` for a bare path.
    pub host: Option<String>,
    segments: Vec<String>,
}

impl Route {
    /// Reads a URL or a path; the query is ignored.
    #[must_use]
    pub fn parse(url: &str) -> Self {
        let (host, path) = match url.split_once("://") {
            Some((_, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                (host.split([':', '?']).next().and_then(word).map(|host| host.to_ascii_lowercase()), path)
            }
            None => (None, url),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let segments = path.split('/').filter(|part| !part.is_empty()).take(64).map(str::to_owned).collect();
        Self { host, segments }
    }

    /// The deployment that the path names.
    #[must_use]
    pub fn deployment(&self) -> Option<String> {
        let mut parts = self.segments.iter();
        parts.find(|part| part.eq_ignore_ascii_case("deployments"))?;
        parts.next().and_then(|name| word(name))
    }

    /// True where the path has this part.
    #[must_use]
    pub fn has(&self, part: &str) -> bool {
        self.segments.iter().any(|segment| segment.eq_ignore_ascii_case(part))
    }

    /// The canonical operation that the end of the path stands for; `None` if it is none of a model's.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        let mut tail = self.segments.iter().rev().map(|part| part.to_ascii_lowercase());
        let last = tail.next()?;
        let before = tail.next().unwrap_or_default();
        let name = match (before.as_str(), last.as_str()) {
            ("chat", "completions") | (_, "chat" | "responses") => "chat",
            // Messages of an assistant's thread are no model call.
            (_, "messages") if !self.has("threads") => "chat",
            (_, "completions") => "text_completion",
            (_, "embeddings") => "embeddings",
            ("images", "generations" | "edits" | "variations") => "image",
            ("audio", "transcriptions" | "translations") => "transcription",
            ("audio", "speech") => "speech",
            (_, "rerank") => "rerank",
            (_, "realtime") => "realtime",
            _ => return None,
        };
        Some(name)
    }
}
