//! What is particular to OTLP over gRPC: services, the framing of one message, and answers whose status is in trailers.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse, logs_service_server,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse, metrics_service_server,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse, trace_service_server,
};
use prost::Message;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::exchange::Compression;
use super::refusal::{Kind, RETRY_AFTER, Refusal};
use super::{Kept, Signal};

/// A flag and a length stand before each message.
pub(super) const PREFIX_BYTES: usize = 5;
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The signal of a method.
pub(super) fn signal(path: &str) -> Option<Signal> {
    let service = path.strip_prefix('/')?.strip_suffix("/Export")?;
    Signal::ALL.into_iter().find(|signal| {
        service
            == match signal {
                Signal::Traces => trace_service_server::SERVICE_NAME,
                Signal::Metrics => metrics_service_server::SERVICE_NAME,
                Signal::Logs => logs_service_server::SERVICE_NAME,
            }
    })
}

/// The only message of a body, and whether it is compressed.
pub(super) fn message(
    mut body: Bytes,
    compression: Option<Compression>,
) -> Result<(Bytes, Option<Compression>), Refusal> {
    if body.len() < PREFIX_BYTES {
        return Err(Refusal::malformed("there is no whole message"));
    }
    let flag = body.get_u8();
    let length = usize::try_from(body.get_u32()).unwrap_or(usize::MAX);
    if body.len() != length {
        return Err(Refusal::malformed("there is not exactly one whole message"));
    }
    match (flag, compression) {
        (0, _) => Ok((body, None)),
        (1, Some(_)) => Ok((body, compression)),
        (1, None) => Err(Refusal::malformed("the message is compressed, but grpc-encoding does not say how")),
        _ => Err(Refusal::malformed("the message has an unknown flag")),
    }
}

/// The protobuf form of a success; `partial_success` is set only where something was rejected, or with a number of 0
/// where a warning is to be told.
pub(super) fn response(signal: Signal, kept: Kept) -> Vec<u8> {
    let partial = kept.is_worth_telling().then(|| (i64::try_from(kept.rejected).unwrap_or(i64::MAX), kept.message));
    match signal {
        Signal::Traces => {
            let partial_success = partial
                .map(|(rejected_spans, error_message)| ExportTracePartialSuccess { rejected_spans, error_message });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        }
        Signal::Metrics => {
            let partial_success = partial.map(|(rejected_data_points, error_message)| ExportMetricsPartialSuccess {
                rejected_data_points,
                error_message,
            });
            ExportMetricsServiceResponse { partial_success }.encode_to_vec()
        }
        Signal::Logs => {
            let partial_success = partial.map(|(rejected_log_records, error_message)| ExportLogsPartialSuccess {
                rejected_log_records,
                error_message,
            });
            ExportLogsServiceResponse { partial_success }.encode_to_vec()
        }
    }
}

pub(super) fn kept(signal: Signal, kept: Kept) -> Response {
    let message = response(signal, kept);
    let mut body = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(&message);
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(body.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response.headers_mut().insert(ACCEPT_ENCODING, ACCEPTED);
    response
}

pub(super) fn refused(refusal: Refusal) -> Response {
    let (code, message) = (refusal.code(), refusal.message.as_ref());
    let status = if refusal.is_retryable() {
        Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(RETRY_AFTER)))
    } else {
        Status::new(code, message)
    };
    let mut response = status.into_http::<Body>();
    if refusal.kind == Kind::Unsupported {
        response.headers_mut().insert(ACCEPT_ENCODING, ACCEPTED);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_whole_message_is_taken() {
        let gzip = Some(Compression::Gzip);
        let take = |body: &'static [u8], compression| message(Bytes::from_static(body), compression).ok();
        assert_eq!(take(b"\0\0\0\0\x02ab", gzip), Some((Bytes::from_static(b"ab"), None)));
        assert_eq!(take(b"\x01\0\0\0\x02ab", gzip), Some((Bytes::from_static(b"ab"), gzip)));
        assert_eq!(take(b"\0\0\0\0\0", None), Some((Bytes::new(), None)), "an empty export is one");
        for wrong in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x03ab", b"\0\0\0\0\x01ab", b"\x02\0\0\0\x02ab", b"\x01\0\0\0\0"]
        {
            assert_eq!(take(wrong, None), None, "{wrong:?}");
        }
    }

    #[test]
    fn methods_are_told_by_their_full_name() {
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        assert_eq!(signal(path), Some(Signal::Traces));
        assert_eq!(signal("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"), Some(Signal::Metrics));
        for path in ["/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Import", "/Export"] {
            assert_eq!(signal(path), None, "{path}");
        }
    }
}
