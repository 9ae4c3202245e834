//! Why a request is refused, and what that is called over HTTP and gRPC. Exporters drop the data unless the answer is one
//! of those that the specification lists as retryable, so the words matter.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

/// When a client should come back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub kind: Kind,
    /// For people; without any content of the request.
    pub message: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not an export request, and never will be.
    Malformed,
    /// No token, or a wrong one.
    Unauthenticated,
    /// No such path or method.
    NotFound,
    /// Another HTTP method than POST.
    NotPost,
    /// Larger than a request may be; sending it again would change nothing.
    TooLarge,
    /// Content type or compression.
    Unsupported,
    /// Not now: the client should send it again.
    Unavailable,
}

impl Refusal {
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Malformed, message)
    }

    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(Kind::TooLarge, format!("the request is larger than {limit} bytes"))
    }

    /// Word for counters.
    pub const fn answer(&self) -> &'static str {
        match self.kind {
            Kind::Unavailable => "unavailable",
            Kind::Unauthenticated => "unauthenticated",
            _ => "refused",
        }
    }

    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable)
    }

    pub const fn http_status(&self) -> StatusCode {
        match self.kind {
            Kind::Malformed => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code of `google.rpc.Status`, also in bodies over HTTP. What is too large is `RESOURCE_EXHAUSTED`, which clients
    /// do not retry without `RetryInfo`; `OUT_OF_RANGE`, as tonic has it, they would send for ever.
    pub const fn code(&self) -> Code {
        match self.kind {
            Kind::Malformed => Code::InvalidArgument,
            Kind::Unauthenticated => Code::Unauthenticated,
            Kind::NotFound | Kind::NotPost | Kind::Unsupported => Code::Unimplemented,
            Kind::TooLarge => Code::ResourceExhausted,
            Kind::Unavailable => Code::Unavailable,
        }
    }
}
