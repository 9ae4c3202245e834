//! How a call ended, from status, codes, class names and, where there is nothing else, the few known patterns in an
//! error text. Of the text only numbers, class names and request ids leave this file: it may quote the prompt.

use opentelemetry_proto::tonic::common::v1::KeyValue;

use crate::model::{Observation, Outcome};

use super::dialects;
use super::record::{SpanView, attribute_of, parse_count};

/// Attributes that carry the HTTP status, as a number or as text.
const STATUS_KEYS: [&str; 8] = [
    "http.response.status_code",
    "http.status_code",
    "error.code",
    "litellm.provider.error.code",
    "http.status",
    "gen_ai.response.status_code",
    "gen_ai.error.code",
    "error.type",
];

/// Attributes that carry the error's class or code.
const TYPE_KEYS: [&str; 2] = ["error.type", "gen_ai.error.type"];

/// Words that libraries put in front of the status in an error text.
const STATUS_WORDS: [&str; 9] = [
    "Error code: ",
    "status_code: ",
    "status_code=",
    "status code: ",
    "Status code: ",
    "Status Code: ",
    "StatusCode: ",
    "status code ",
    "HTTP ",
];

/// Error types of provider APIs that appear inside error texts.
const TYPE_WORDS: [&str; 7] = [
    "rate_limit_error",
    "overloaded_error",
    "insufficient_quota",
    "authentication_error",
    "invalid_request_error",
    "permission_error",
    "api_error",
];

/// Fills outcome, HTTP status and error code, and a request id that only the error text holds.
pub(super) fn fill(view: &SpanView<'_>, observation: &mut Observation) {
    // A finish reason is a word; a sentence there is content in the wrong place.
    observation.finish_reason = observation.finish_reason.as_deref().and_then(word);
    let attributes = &view.attributes;
    let typed = || TYPE_KEYS.iter().any(|key| attributes.word(key).is_some());
    let failed = view.is_error() || dialects::is_error(view) || typed();
    let mut status = STATUS_KEYS.iter().find_map(|key| attributes.count(key)).and_then(as_status);
    if !failed {
        observation.outcome = Some(status.map_or(Outcome::Ok, Outcome::from_http_status));
        observation.http_status = status;
        return;
    }
    let texts = error_texts(view);
    status = status.or_else(|| texts.iter().find_map(|text| status_in(text)));
    // A 2xx beside an error is the status of the answer's head, not of the call (a stream that broke).
    let error_status = status.filter(|status| *status >= 400);
    let code = TYPE_KEYS
        .iter()
        .find_map(|key| word(&attributes.word(key)?))
        .or_else(|| exception_type(view))
        .or_else(|| texts.iter().find_map(|text| class_in(text)));
    let named = code.as_deref().map_or(Outcome::Unknown, Outcome::from_error_name);
    let in_text = || {
        let hit = TYPE_WORDS.iter().find(|word| texts.iter().any(|text| text.contains(**word)));
        let class = texts.iter().find_map(|text| class_in(text));
        [hit.map(|word| (*word).to_owned()), class]
            .into_iter()
            .flatten()
            .map(|name| Outcome::from_error_name(&name))
            .find(|outcome| *outcome != Outcome::Unknown)
    };
    let mut outcome = match error_status.map(Outcome::from_http_status) {
        Some(outcome @ (Outcome::Throttled | Outcome::ServerError | Outcome::Timeout)) => outcome,
        Some(outcome) => match named {
            Outcome::ContentFiltered | Outcome::Throttled => named,
            _ => outcome,
        },
        None if named == Outcome::Unknown => in_text().unwrap_or(Outcome::Unknown),
        None => named,
    };
    if outcome == Outcome::Unknown {
        // The span says that it failed and nothing says why: it must not vanish from the failures.
        outcome = Outcome::ServerError;
        observation.tags.insert("otlp.outcome".to_owned(), "assumed".to_owned());
    }
    observation.outcome = Some(outcome);
    observation.http_status = error_status;
    observation.error_code = code;
    if observation.provider_request_id.is_none() {
        observation.provider_request_id = texts.iter().find_map(|text| request_id_in(text));
    }
}

fn as_status(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|status| (100..600).contains(status))
}

/// Most exceptions of one span that are looked at.
const MAX_EXCEPTIONS: usize = 8;

/// Status message and the exceptions' messages.
fn error_texts<'a>(view: &SpanView<'a>) -> Vec<&'a str> {
    let status = view.span.status.as_ref().map(|status| status.message.as_str());
    let messages = exceptions(view).filter_map(|list| attribute_of(list, "exception.message"));
    let langfuse = view.attributes.raw("langfuse.observation.status_message");
    status.into_iter().chain(langfuse).chain(messages).filter(|text| !text.is_empty()).collect()
}

fn exceptions<'a>(view: &SpanView<'a>) -> impl Iterator<Item = &'a [KeyValue]> {
    let events = view.span.events.iter().filter(|event| event.name == "exception").take(MAX_EXCEPTIONS);
    events.map(|event| event.attributes.as_slice())
}

fn exception_type(view: &SpanView<'_>) -> Option<String> {
    exceptions(view).find_map(|list| word(attribute_of(list, "exception.type")?))
}

/// The text if it is one plain word, as class names and codes are; prose is not copied.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c));
    (plain && !text.is_empty() && text.len() <= 128).then(|| text.to_owned())
}

fn status_in(text: &str) -> Option<u16> {
    let leading = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).take(4).collect();
        as_status(parse_count(&digits)?)
    };
    // `429 RESOURCE_EXHAUSTED. {…`, `503 Service Unavailable`: a status at the very start, with its name.
    let named = || {
        let rest = text.get(3..)?.strip_prefix(' ')?;
        rest.starts_with(|c: char| c.is_ascii_uppercase()).then(|| leading(text)).flatten()
    };
    let marked = || STATUS_WORDS.iter().find_map(|marker| leading(text.split_once(marker)?.1));
    named().or_else(marked)
}

/// Class names in `An error occurred (ThrottlingException) when …` and `litellm.RateLimitError: …`.
fn class_in(text: &str) -> Option<String> {
    let aws = text.split_once("error occurred (").and_then(|(_, rest)| rest.split_once(')')).map(|(name, _)| name);
    let head = text.split_once(':').map(|(name, _)| name);
    let class = |name: &str| name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("Timeout");
    aws.and_then(word).or_else(|| head.filter(|name| class(name)).and_then(word))
}

/// Request ids that only the error text holds.
fn request_id_in(text: &str) -> Option<String> {
    anthropic_id_in(text).or_else(|| aws_id_in(text))
}

/// AWS SDKs: `(Service: BedrockRuntime, Status Code: 429, Request ID: 0a1b…)`.
fn aws_id_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("Status Code: ")?.1.split_once("Request ID: ")?;
    let id: String = rest.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').take(65).collect();
    (id.len() == 36).then_some(id)
}

/// Anthropic repeats its request id in the error text: `'request_id': 'req_…'`.
fn anthropic_id_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("request_id")?;
    let (gap, rest) = rest.split_once("req_")?;
    let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).take(65).collect();
    (gap.len() <= 6 && (6..=64).contains(&id.len())).then(|| format!("req_{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_codes_classes_and_ids_in_error_texts() {
        assert_eq!(status_in("Error code: 429 - {'error': 1}"), Some(429));
        assert_eq!(status_in("status_code: 529, model_name: x"), Some(529));
        assert_eq!(status_in("Error code: 42900"), None);
        assert_eq!(status_in("429 RESOURCE_EXHAUSTED. {'error': {'code': 429}}"), Some(429));
        assert_eq!(status_in("503 Service Unavailable from POST https://api.openai.com/v1"), Some(503));
        assert_eq!(status_in("429 is what the user asked about"), None);
        assert_eq!(status_in("Request failed with status code 502"), Some(502));
        assert_eq!(status_in("é"), None);
        let java = "Too many tokens (Service: BedrockRuntime, Status Code: 429, Request ID: 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0)";
        assert_eq!(status_in(java), Some(429));
        assert_eq!(request_id_in(java).as_deref(), Some("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"));
        assert_eq!(
            class_in("An error occurred (ThrottlingException) when calling").as_deref(),
            Some("ThrottlingException")
        );
        assert_eq!(class_in("litellm.RateLimitError: RateLimitError: x").as_deref(), Some("litellm.RateLimitError"));
        assert_eq!(class_in("my secret prompt: hello"), None);
        assert_eq!(request_id_in("'request_id': 'req_011CAbcdef'}").as_deref(), Some("req_011CAbcdef"));
        assert_eq!(request_id_in("request_id is in the prompt, see req_abcdefgh"), None);
        assert_eq!(word("what the user said"), None);
    }
}
