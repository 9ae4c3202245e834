//! What is particular to OTLP over HTTP: paths, and answers in the form of the request.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde_json::json;

use super::exchange::Form;
use super::refusal::{RETRY_AFTER, Refusal};
use super::{Kept, Signal, grpc};

/// `google.rpc.Status`, the body of every failure.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The signal of a path, also below any prefix: clients append theirs to whatever base they are given.
pub(super) fn signal(path: &str) -> Option<Signal> {
    let (before, last) = path.trim_end_matches('/').rsplit_once('/')?;
    let signal = Signal::ALL.into_iter().find(|signal| signal.name() == last)?;
    before.ends_with("/v1").then_some(signal)
}

pub(super) fn kept(signal: Signal, kept: Kept, form: Form) -> Response {
    let body = match form {
        Form::Json => {
            let count = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            let body = if kept.is_worth_telling() {
                json!({"partialSuccess": {count: kept.rejected.to_string(), "errorMessage": kept.message}})
            } else {
                json!({})
            };
            body.to_string().into_bytes()
        }
        Form::Protobuf | Form::Grpc => grpc::response(signal, kept),
    };
    typed(StatusCode::OK, form, body)
}

pub(super) fn refused(refusal: Refusal, form: Form) -> Response {
    let (status, code, retry) = (refusal.http_status(), i32::from(refusal.code()), refusal.is_retryable());
    let message = refusal.message.into_owned();
    let body = match form {
        Form::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
        Form::Protobuf | Form::Grpc => RpcStatus { code, message }.encode_to_vec(),
    };
    let mut response = typed(status, form, body);
    let headers = response.headers_mut();
    if retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            // What is left of the body is not read.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

fn typed(status: StatusCode, form: Form, body: Vec<u8>) -> Response {
    let content_type = match form {
        Form::Json => "application/json",
        Form::Protobuf | Form::Grpc => "application/x-protobuf",
    };
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_have_any_prefix_and_nothing_else() {
        for path in ["/v1/traces", "/v1/traces/", "/otlp/team/v1/traces"] {
            assert_eq!(signal(path), Some(Signal::Traces), "{path}");
        }
        assert_eq!(signal("/x/v1/logs"), Some(Signal::Logs));
        for path in ["/", "", "/traces", "/v1", "/v1/", "/xv1/traces", "/v1/trace", "/v1/traces/x"] {
            assert_eq!(signal(path), None, "{path}");
        }
    }
}
