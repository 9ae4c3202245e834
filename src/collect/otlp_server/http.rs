//! OTLP over HTTP: POST `/v1/{traces,metrics,logs}`, also below any prefix.

use std::future::Future;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;

use super::grpc::{logs_response, metrics_response, traces_response};
use super::{Export, Kept, MAX_REQUEST_BYTES, RETRY_AFTER, Receiver, Signal, SinkError};
use crate::collect::inflate_capped;
use crate::telemetry::metrics;

/// Bodies above this are decoded off the runtime.
const DECODE_INLINE_BYTES: usize = 64 << 10;

/// Serves the receiver on `listener` until `shutdown` resolves, then finishes what is under way.
///
/// # Errors
/// The listener fails.
pub async fn serve_http(
    receiver: Receiver,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new().fallback(export).with_state(receiver);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

/// `google.rpc.Status`, the body of every failure.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

#[derive(Debug)]
struct Failure {
    status: StatusCode,
    code: i32,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, code: i32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 3, message)
    }
}

async fn export(State(receiver): State<Receiver>, request: Request) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    let signal = [("/v1/traces", Signal::Traces), ("/v1/metrics", Signal::Metrics), ("/v1/logs", Signal::Logs)]
        .into_iter()
        .find(|(end, _)| path.ends_with(end))
        .map(|(_, signal)| signal);
    let Some(signal) = signal else {
        let failure = Failure::new(StatusCode::NOT_FOUND, 5, "POST to /v1/traces, /v1/metrics or /v1/logs");
        return failed(failure, Encoding::Json);
    };
    let encoding = encoding(request.headers());
    let answer_as = encoding.unwrap_or(Encoding::Json);
    match handle(&receiver, signal, encoding, request).await {
        Ok(kept) => {
            metrics::otlp_request(signal.name(), if kept.rejected > 0 { "partial" } else { "ok" });
            kept_response(signal, kept, answer_as)
        }
        Err(failure) => {
            let answer = if failure.status == StatusCode::SERVICE_UNAVAILABLE { "unavailable" } else { "refused" };
            metrics::otlp_request(signal.name(), answer);
            failed(failure, answer_as)
        }
    }
}

async fn handle(
    receiver: &Receiver,
    signal: Signal,
    encoding: Option<Encoding>,
    request: Request,
) -> Result<Kept, Failure> {
    if request.method() != Method::POST {
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, 12, "only POST is allowed"));
    }
    let encoding = encoding.ok_or_else(|| {
        Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            3,
            "Content-Type must be application/x-protobuf or application/json",
        )
    })?;
    let compression = request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::to_str).transpose();
    let compression = compression
        .map_err(|_| Failure::bad("Content-Encoding is not text"))?
        .unwrap_or("identity")
        .to_ascii_lowercase();
    if !matches!(compression.as_str(), "identity" | "" | "gzip" | "zstd") {
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 3, "Content-Encoding must be gzip, zstd or none"));
    }
    let body = read_body(request.into_body()).await?;
    let export = if body.len() > DECODE_INLINE_BYTES {
        let receiver = receiver.clone();
        let work = move || decode(&receiver, signal, encoding, &compression, &body);
        tokio::task::spawn_blocking(work).await.map_err(|_| Failure::bad("the request can't be decoded"))??
    } else {
        decode(receiver, signal, encoding, &compression, &body)?
    };
    receiver
        .keep(export)
        .await
        .map_err(|SinkError::Unavailable(message)| Failure::new(StatusCode::SERVICE_UNAVAILABLE, 14, message))
}

fn decode(
    receiver: &Receiver,
    signal: Signal,
    encoding: Encoding,
    compression: &str,
    body: &Bytes,
) -> Result<Export, Failure> {
    let inflated;
    let body: &[u8] = if matches!(compression, "gzip" | "zstd") {
        let plain = inflate_capped(body, compression == "zstd", MAX_REQUEST_BYTES);
        inflated = plain.map_err(|_| Failure::bad(format!("the body is not {compression}")))?.ok_or_else(too_large)?;
        &inflated
    } else {
        body
    };
    match (encoding, signal) {
        (Encoding::Json, _) => receiver.sink.decode_json(signal, body).map_err(Failure::bad),
        (Encoding::Protobuf, Signal::Traces) => Message::decode(body).map(Export::Traces).map_err(not_protobuf),
        (Encoding::Protobuf, Signal::Metrics) => Message::decode(body).map(Export::Metrics).map_err(not_protobuf),
        (Encoding::Protobuf, Signal::Logs) => Message::decode(body).map(Export::Logs).map_err(not_protobuf),
    }
}

fn not_protobuf(error: prost::DecodeError) -> Failure {
    Failure::bad(format!("the body is not an export request: {error}"))
}

fn too_large() -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, 8, format!("the body is larger than {MAX_REQUEST_BYTES} bytes"))
}

async fn read_body(body: Body) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Failure::bad("the body ended early")),
    }
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

fn kept_response(signal: Signal, kept: Kept, encoding: Encoding) -> Response {
    match encoding {
        Encoding::Json => {
            let count = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            let body = if kept.rejected > 0 {
                json!({"partialSuccess": {count: kept.rejected.to_string(), "errorMessage": kept.message}})
            } else {
                json!({})
            };
            typed(StatusCode::OK, encoding, body.to_string().into_bytes())
        }
        Encoding::Protobuf => {
            let body = match signal {
                Signal::Traces => traces_response(kept).encode_to_vec(),
                Signal::Metrics => metrics_response(kept).encode_to_vec(),
                Signal::Logs => logs_response(kept).encode_to_vec(),
            };
            typed(StatusCode::OK, encoding, body)
        }
    }
}

fn failed(failure: Failure, encoding: Encoding) -> Response {
    let Failure { status, code, message } = failure;
    let body = match encoding {
        Encoding::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
        Encoding::Protobuf => RpcStatus { code, message }.encode_to_vec(),
    };
    let mut response = typed(status, encoding, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    response
}

fn typed(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let content_type = match encoding {
        Encoding::Json => "application/json",
        Encoding::Protobuf => "application/x-protobuf",
    };
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
