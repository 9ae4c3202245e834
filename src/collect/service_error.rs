//! Why a service of AWS refused, in words that last: the code it answered with and whether it pays to wait.

use std::error::Error;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// A request that a service refused or did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} failed: {why}{hint}")]
pub struct ServiceError {
    what: String,
    why: String,
    hint: &'static str,
    code: Option<String>,
    transient: bool,
}

impl ServiceError {
    /// What a request to a service of AWS ended with; `what` names the request and its object.
    pub fn aws<E>(what: impl Into<String>, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let why = match (&code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.clone(),
            // A refused connection, a time-out, missing credentials: the innermost cause says most.
            (None, _) => crate::telemetry::chain(error),
        };
        // No answer, one that broke off, or one that says that it is not our fault.
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let cut = matches!(error, SdkError::ResponseError(_));
        let transient = cut || status.is_none_or(|status| status >= 500);
        Self { transient, ..Self::new(what.into(), why, code) }
    }

    /// What another service ended with.
    #[must_use]
    pub fn new(what: String, why: String, code: Option<String>) -> Self {
        let hint = code.as_deref().map_or("", hint);
        Self { what, why, hint, code, transient: false }
    }

    /// The same, but known to pass by itself.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The same request may well be answered soon.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient || self.is_throttled()
    }

    /// The service asks for fewer requests.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.code.as_deref().is_some_and(is_throttled)
    }
}

fn is_throttled(code: &str) -> bool {
    ["Throttl", "LimitExceeded", "RequestLimit", "TooManyRequests", "SlowDown", "429"]
        .iter()
        .any(|word| code.contains(word))
}

fn hint(code: &str) -> &'static str {
    let any = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if any(&["AccessDenied", "Unauthorized", "403"]) {
        "; give the role or identity the permission (docs/sources.md lists them)"
    } else if any(&["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId", "401"]) {
        "; the credentials are expired or wrong"
    } else if any(&["NonExistentQueue", "QueueDoesNotExist", "ResourceNotFound", "404"]) {
        "; check name, account and region"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_throttling_and_says_what_to_do() {
        let of = |code: &str| ServiceError::new("x".to_owned(), "y".to_owned(), Some(code.to_owned()));
        assert!(of("ThrottlingException").is_throttled());
        assert!(of("LimitExceededException").is_throttled());
        assert!(!of("AccessDeniedException").is_throttled());
        assert!(of("AccessDeniedException").to_string().contains("permission"));
        assert!(of("AWS.SimpleQueueService.NonExistentQueue").to_string().contains("region"));
    }
}
