//! How a call ended, from status, codes, class names and, where there is nothing else, the few known patterns in an
//! error text. Of the text only numbers, class names and request ids leave this file: it may quote the prompt.

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::model::{Observation, Outcome};

use super::record::{SpanView, parse_count};

/// Attributes that carry the HTTP status, as a number or as text.
const STATUS_KEYS: [&str; 6] = [
    "http.response.status_code",
    "http.status_code",
    "error.code",
    "litellm.provider.error.code",
    "http.status",
    "gen_ai.response.status_code",
];

/// Words that libraries put in front of the status in an error text.
const STATUS_WORDS: [&str; 5] = ["Error code: ", "status_code: ", "status_code=", "status code: ", "Status code: "];

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
    let attributes = &view.attributes;
    let failed = view.is_error() || attributes.text("error.type").is_some();
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
    let code = attributes
        .text("error.type")
        .as_deref()
        .and_then(word)
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

/// Status message and the exceptions' types and messages.
fn error_texts<'a>(view: &'a SpanView<'_>) -> Vec<&'a str> {
    let status = view.span.status.as_ref().map(|status| status.message.as_str());
    let events = view.span.events.iter().filter(|event| event.name == "exception").take(8);
    let messages = events.flat_map(|event| &event.attributes).filter_map(|entry| {
        let wanted = entry.key == "exception.message";
        match entry.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) if wanted => Some(text.as_str()),
            _ => None,
        }
    });
    status.into_iter().chain(messages).filter(|text| !text.is_empty()).collect()
}

fn exception_type(view: &SpanView<'_>) -> Option<String> {
    let events = view.span.events.iter().filter(|event| event.name == "exception").take(8);
    events.flat_map(|event| &event.attributes).find_map(|entry| {
        match entry.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) if entry.key == "exception.type" => word(text),
            _ => None,
        }
    })
}

/// The text if it is one plain word, as class names and codes are; prose is not copied.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c));
    (plain && !text.is_empty() && text.len() <= 128).then(|| text.to_owned())
}

fn status_in(text: &str) -> Option<u16> {
    STATUS_WORDS.iter().find_map(|marker| {
        let (_, rest) = text.split_once(marker)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).take(4).collect();
        as_status(parse_count(&digits)?)
    })
}

/// Class names in `An error occurred (ThrottlingException) when …` and `litellm.RateLimitError: …`.
fn class_in(text: &str) -> Option<String> {
    let aws = text.split_once("error occurred (").and_then(|(_, rest)| rest.split_once(')')).map(|(name, _)| name);
    let head = text.split_once(':').map(|(name, _)| name);
    let class = |name: &str| name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("Timeout");
    aws.and_then(word).or_else(|| head.filter(|name| class(name)).and_then(word))
}

/// Anthropic repeats its request id in the error text: `'request_id': 'req_…'`.
fn request_id_in(text: &str) -> Option<String> {
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
