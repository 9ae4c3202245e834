//! `ExportLogsServiceRequest` of OTLP/JSON: records are counted, their bodies and attributes are not read.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::JsonError;
use super::value::{Object, list, resource, scope};

/// Reads a request.
pub(super) fn request(object: &Object) -> Result<ExportLogsServiceRequest, JsonError> {
    let resource_logs = list(object, ("resourceLogs", "resource_logs"), |map| {
        Ok(ResourceLogs {
            resource: resource(map)?,
            scope_logs: list(map, ("scopeLogs", "scope_logs"), |map| {
                Ok(ScopeLogs {
                    scope: scope(map)?,
                    log_records: list(map, ("logRecords", "log_records"), |_| Ok(LogRecord::default()))?,
                    ..ScopeLogs::default()
                })
            })?,
            ..ResourceLogs::default()
        })
    })?;
    Ok(ExportLogsServiceRequest { resource_logs })
}
