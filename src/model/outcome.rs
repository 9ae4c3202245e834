//! How a call ended.

use std::fmt;
use std::str::FromStr;

/// How a call ended, as far as the record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The provider answered.
    Ok,
    /// Refused for rate or quota (429 and its relatives).
    Throttled,
    /// The request was at fault (4xx).
    ClientError,
    /// The provider was at fault (5xx).
    ServerError,
    /// No answer in time.
    Timeout,
    /// The caller gave up.
    Cancelled,
    /// Blocked by a content filter or guardrail before or after the model.
    ContentFiltered,
    /// The record does not say.
    #[default]
    Unknown,
}

impl Outcome {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Ok, "ok"),
        (Self::Throttled, "throttled"),
        (Self::ClientError, "client_error"),
        (Self::ServerError, "server_error"),
        (Self::Timeout, "timeout"),
        (Self::Cancelled, "cancelled"),
        (Self::ContentFiltered, "content_filtered"),
        (Self::Unknown, "unknown"),
    ];

    /// The outcome that an HTTP status stands for.
    #[must_use]
    pub const fn from_http_status(status: u16) -> Self {
        match status {
            100..=399 => Self::Ok,
            408 => Self::Timeout,
            429 => Self::Throttled,
            499 => Self::Cancelled,
            400..=498 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::Unknown,
        }
    }

    /// The outcome that an error's class name or code stands for (`ThrottlingException`, `openai.RateLimitError`,
    /// `content_filter`, `overloaded_error`, …); `Unknown` if the name says nothing.
    #[must_use]
    pub fn from_error_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&[
            "throttl",
            "ratelimit",
            "rate_limit",
            "toomanyrequests",
            "resource_exhausted",
            "quota",
            "modelnotready",
        ]) {
            Self::Throttled
        } else if has(&["contentfilter", "content_filter", "contentpolicy", "content_policy", "guardrail"]) {
            Self::ContentFiltered
        } else if has(&["timeout", "timedout", "timed_out", "deadline"]) {
            Self::Timeout
        } else if has(&["cancel", "abort"]) {
            Self::Cancelled
        } else if has(&[
            "internalserver",
            "internal_server",
            "serviceunavailable",
            "service_unavailable",
            "overloaded",
            "modelerror",
            "server_error",
            "servererror",
            "bad_gateway",
            "apiconnection",
            "connectionerror",
        ]) {
            Self::ServerError
        } else if has(&[
            "accessdenied",
            "validation",
            "notfound",
            "not_found",
            "badrequest",
            "bad_request",
            "invalid",
            "authentication",
            "permission",
            "unauthorized",
            "forbidden",
            "unprocessable",
            "conflict",
            "expired",
        ]) {
            Self::ClientError
        } else {
            Self::Unknown
        }
    }

    /// The column value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(outcome, _)| *outcome == self).map_or("unknown", |(_, name)| name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(outcome, _)| *outcome).ok_or(())
    }
}
