//! Transports: bytes and positions, nothing of LLMs. Decompression and records are always capped; every wait and
//! retry is bounded and named.

mod azure_monitor;
pub mod backoff;
mod dated;
mod entra;
mod frame;
mod inflate;
#[cfg(feature = "kafka")]
mod kafka;
mod live_tail;
mod log_group;
mod metric_data;
mod notice;
mod objects;
pub mod otlp_server;
mod pace;
mod ranges;
mod service_error;
mod sqs;
mod usage_api;

pub use azure_monitor::{AzureMonitor, MetricsAsked};
pub use dated::{Dated, Layout, discover};
pub use frame::{Framed, Frames, MAX_RECORD_BYTES};
pub use inflate::{Bomb, Inflate, inflate_whole};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaConsumer, KafkaMessage, Reached};
pub use live_tail::{LiveEvent, LiveTail, LiveUpdate};
pub use log_group::{LogEvent, LogGroup, LogPage};
pub use metric_data::{MetricNamespace, Points, Series};
pub use notice::{BadNotice, Notice, notices};
pub use object_store::path::Path as ObjectPath;
pub use objects::{ObjectEntry, Objects, ObjectsError, same_etag};
pub use service_error::ServiceError;
pub use sqs::{Message, Queue};
pub use usage_api::{ReportAsked, UsageApi, UsageBucket, UsageService};
