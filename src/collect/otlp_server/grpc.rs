//! OTLP over gRPC.

use std::future::Future;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Export, Kept, MAX_REQUEST_BYTES, RETRY_AFTER, Receiver, Signal, SinkError};
use crate::telemetry::metrics;

/// Serves the three export services on `listener` until `shutdown` resolves, then finishes what is under way.
///
/// # Errors
/// The transport fails.
pub async fn serve_grpc(
    receiver: Receiver,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    macro_rules! service {
        ($server:ident) => {
            $server::new(receiver.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_REQUEST_BYTES)
        };
    }
    Server::builder()
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)))
        .add_service(service!(TraceServiceServer))
        .add_service(service!(MetricsServiceServer))
        .add_service(service!(LogsServiceServer))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown)
        .await
}

async fn keep(receiver: &Receiver, signal: Signal, export: Export) -> Result<Kept, Status> {
    match receiver.keep(export).await {
        Ok(kept) => {
            metrics::otlp_request(signal.name(), if kept.rejected > 0 { "partial" } else { "ok" });
            Ok(kept)
        }
        Err(SinkError::Unavailable(message)) => {
            metrics::otlp_request(signal.name(), "unavailable");
            let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            Err(Status::with_error_details(Code::Unavailable, message, details))
        }
    }
}

/// `partial_success` is set only where something was rejected.
fn partial<T>(kept: Kept, make: impl FnOnce(i64, String) -> T) -> Option<T> {
    (kept.rejected > 0).then(|| make(i64::try_from(kept.rejected).unwrap_or(i64::MAX), kept.message))
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let kept = keep(self, Signal::Traces, Export::Traces(request.into_inner())).await?;
        Ok(Response::new(traces_response(kept)))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let kept = keep(self, Signal::Metrics, Export::Metrics(request.into_inner())).await?;
        Ok(Response::new(metrics_response(kept)))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let kept = keep(self, Signal::Logs, Export::Logs(request.into_inner())).await?;
        Ok(Response::new(logs_response(kept)))
    }
}

pub(super) fn traces_response(kept: Kept) -> ExportTraceServiceResponse {
    let make = |rejected_spans, error_message| ExportTracePartialSuccess { rejected_spans, error_message };
    ExportTraceServiceResponse { partial_success: partial(kept, make) }
}

pub(super) fn metrics_response(kept: Kept) -> ExportMetricsServiceResponse {
    let make =
        |rejected_data_points, error_message| ExportMetricsPartialSuccess { rejected_data_points, error_message };
    ExportMetricsServiceResponse { partial_success: partial(kept, make) }
}

pub(super) fn logs_response(kept: Kept) -> ExportLogsServiceResponse {
    let make = |rejected_log_records, error_message| ExportLogsPartialSuccess { rejected_log_records, error_message };
    ExportLogsServiceResponse { partial_success: partial(kept, make) }
}
