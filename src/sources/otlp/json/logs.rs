//! `ExportLogsServiceRequest` of OTLP/JSON: records are counted, their bodies and attributes are not read.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::value::{Object, list};
use crate::model::Flaws;

/// Reads a request.
pub(super) fn request(object: &Object, flaws: &mut Flaws) -> ExportLogsServiceRequest {
    let resource_logs = list(object, ("resourceLogs", "resource_logs"), flaws, |map, flaws| {
        Ok(ResourceLogs {
            scope_logs: list(map, ("scopeLogs", "scope_logs"), flaws, |map, flaws| {
                let record = |_: &Object, _: &mut Flaws| Ok(LogRecord::default());
                Ok(ScopeLogs {
                    log_records: list(map, ("logRecords", "log_records"), flaws, record),
                    ..ScopeLogs::default()
                })
            }),
            ..ResourceLogs::default()
        })
    });
    ExportLogsServiceRequest { resource_logs }
}
