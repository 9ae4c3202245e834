//! The words of FOCUS for ours.

use crate::model::platform;
use crate::pricing::Bucket;

/// Service and provider of a platform.
pub(super) fn service(name: &str) -> (&str, &str) {
    match name {
        platform::BEDROCK => ("Amazon Bedrock", "AWS"),
        platform::AZURE_OPENAI => ("Azure OpenAI", "Microsoft"),
        platform::AZURE_INFERENCE => ("Azure AI Foundry Models", "Microsoft"),
        platform::VERTEX => ("Vertex AI", "Google"),
        platform::GEMINI => ("Gemini API", "Google"),
        platform::OPENAI => ("OpenAI API", "OpenAI"),
        platform::ANTHROPIC => ("Claude API", "Anthropic"),
        other => (other, other),
    }
}

/// The cloud that runs it; `None` for direct APIs, which do not say.
pub(super) fn host(name: &str) -> Option<&'static str> {
    match name {
        platform::BEDROCK => Some("AWS"),
        platform::AZURE_OPENAI | platform::AZURE_INFERENCE => Some("Microsoft"),
        platform::VERTEX | platform::GEMINI => Some("Google"),
        _ => None,
    }
}

/// A maker's name as it writes itself.
pub(super) fn publisher(name: &str) -> String {
    let known = match name {
        "openai" => "OpenAI",
        "anthropic" => "Anthropic",
        "amazon" => "Amazon",
        "google" => "Google",
        "meta" => "Meta",
        "mistral" => "Mistral AI",
        "cohere" => "Cohere",
        "deepseek" => "DeepSeek",
        "microsoft" => "Microsoft",
        "xai" => "xAI",
        "ai21" => "AI21 Labs",
        other => other,
    };
    known.to_owned()
}

/// How a bucket is metered: the meter, the unit that is consumed, and of how many of it the price is.
pub(super) struct Measure {
    pub meter: &'static str,
    pub consumed: &'static str,
    pub priced: &'static str,
    /// Digits that the quantity is shifted by: prices of tokens are for a million.
    pub shift: u32,
}

pub(super) const fn measure(bucket: Bucket) -> Measure {
    const fn of(meter: &'static str, unit: &'static str) -> Measure {
        Measure { meter, consumed: unit, priced: unit, shift: 0 }
    }
    const fn million(meter: &'static str) -> Measure {
        Measure { meter, consumed: "Tokens", priced: "1000000 Tokens", shift: 6 }
    }
    match bucket {
        Bucket::Input
        | Bucket::CacheRead
        | Bucket::CacheWrite5m
        | Bucket::CacheWrite1h
        | Bucket::AudioInput
        | Bucket::ImageInput => million("Input Tokens"),
        Bucket::Output | Bucket::AudioOutput => million("Output Tokens"),
        Bucket::Image => of("Images", "Units"),
        Bucket::Request => of("Requests", "Requests"),
        Bucket::SearchUnit => of("Search Units", "Units"),
        Bucket::Hour => of("Capacity Hours", "Hours"),
    }
}

/// Whether it was read from a cache or written to one, and for how long it is kept.
pub(super) const fn cache(bucket: Bucket) -> (Option<&'static str>, Option<&'static str>) {
    match bucket {
        Bucket::Input | Bucket::Output => (Some("Uncached"), None),
        Bucket::CacheRead => (Some("CacheRead"), None),
        Bucket::CacheWrite5m => (Some("CacheWrite"), Some("5m")),
        Bucket::CacheWrite1h => (Some("CacheWrite"), Some("1h")),
        _ => (None, None),
    }
}

/// Text, audio or images.
pub(super) const fn modality(bucket: Bucket) -> Option<&'static str> {
    match bucket {
        Bucket::AudioInput | Bucket::AudioOutput => Some("Audio"),
        Bucket::ImageInput | Bucket::Image => Some("Image"),
        _ => None,
    }
}

/// A bucket in a sentence.
pub(super) const fn told(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Input => "input tokens",
        Bucket::CacheRead => "cache-read tokens",
        Bucket::CacheWrite5m => "cache-write tokens (5 minutes)",
        Bucket::CacheWrite1h => "cache-write tokens (1 hour)",
        Bucket::Output => "output tokens",
        Bucket::AudioInput => "audio input tokens",
        Bucket::AudioOutput => "audio output tokens",
        Bucket::ImageInput => "image input tokens",
        Bucket::Image => "images",
        Bucket::Request => "requests",
        Bucket::SearchUnit => "search units",
        Bucket::Hour => "capacity hours",
    }
}
