//! Harmless words for prompts and answers, and the spellings of instants and text in the records.

use std::fmt::Write;

use crate::model::{SECOND_US, Timestamp};

/// Every prompt that the made-up traffic holds; none of them may ever be found at rest.
pub const PROMPTS: [&str; 8] = [
    "Which of our hiking boots are waterproof?",
    "Summarize the return policy in two sentences.",
    "Rewrite this query for the catalog: light \"rain\" jacket",
    "Sort this ticket: parcel arrived with a dented box.",
    "Draft a friendly reply about a delayed delivery.",
    "List three differences between the two tents.",
    "Where is the order that was placed last week?",
    "Compare sleeping bags for a cold night.",
];

/// Every answer that the made-up traffic holds; none of them may ever be found at rest.
pub const ANSWERS: [&str; 6] = [
    "The Alpine and the Trail boots are waterproof.",
    "Returns are free within 30 days. Keep the receipt.",
    "rain jacket lightweight",
    "category: shipping damage",
    "We are sorry about the delay and have looked into it.",
    "The parcel is on its way.",
];

const DOTNET_EPOCH_TICKS: i64 = 621_355_968_000_000_000;

/// `text` as a JSON string with its quotes.
pub(super) fn json(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// `2025-12-17T01:09:56Z`, as Bedrock writes it.
pub(super) fn whole_second(at: Timestamp) -> String {
    let text = at.floor(SECOND_US).to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(head, _)| format!("{head}Z"))
}

/// `2025-11-04T02:03:59.9460000`, as Azure writes it: milliseconds in seven digits; the zone is the caller's to add.
pub(super) fn azure_time(at: Timestamp) -> String {
    let text = at.floor(1000).to_string();
    format!("{}0", text.strip_suffix('Z').unwrap_or(&text))
}

/// 100 ns ticks since the year 1, as Azure's `requestTime` and `responseTime`.
pub(super) const fn ticks(at: Timestamp) -> i64 {
    at.0.saturating_mul(10).saturating_add(DOTNET_EPOCH_TICKS)
}

/// Microseconds as milliseconds with three digits behind the point.
pub(super) fn millis(us: i64) -> String {
    format!("{}.{:03}", us / 1000, us.rem_euclid(1000))
}

/// Nanoseconds since 1970, as OTLP writes instants.
pub(super) fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_instants_like_the_providers() {
        let at = Timestamp::parse("2025-11-04T02:03:47.784753Z").unwrap();
        assert_eq!(whole_second(at), "2025-11-04T02:03:47Z");
        assert_eq!(azure_time(at), "2025-11-04T02:03:47.7840000");
        assert_eq!(Timestamp::from_ticks(ticks(at)), Some(at));
        assert_eq!(millis(3_801_132), "3801.132");
    }

    #[test]
    fn quotes_text_that_json_can_read_back() {
        let text = "a \"b\" \\ \n \u{1} ü";
        assert_eq!(serde_json::from_str::<String>(&json(text)).unwrap(), text);
    }
}
