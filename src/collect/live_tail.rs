//! Live Tail of a log group: what the group takes in, a second later. At most once: above 500 events a second it is a
//! sample, a session ends after three hours or with its connection, and events have no id. Good for a first look only.

use std::future::Future;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::start_live_tail::StartLiveTailOutput;
use aws_sdk_cloudwatchlogs::types::error::StartLiveTailResponseStreamError as StreamError;
use aws_sdk_cloudwatchlogs::types::{LiveTailSessionLogEvent, LiveTailSessionUpdate, StartLiveTailResponseStream};

use super::{LogGroup, ServiceError};

/// The service says something every second, even that there is nothing. After so long the connection is dead.
const QUIET: Duration = Duration::from_secs(20);
/// What AWS puts in front of its own host for this request.
const PREFIX: &str = "stream-";

/// A session.
#[derive(Debug)]
pub struct LiveTail {
    session: StartLiveTailOutput,
    what: String,
}

/// What came in during a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveUpdate {
    /// The events.
    pub events: Vec<LiveEvent>,
    /// There were more than are shown.
    pub sampled: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveEvent {
    /// Its time, milliseconds since 1970.
    pub at_ms: i64,
    /// Its stream.
    pub stream: String,
    /// Its text.
    pub message: String,
}

impl LogGroup {
    /// Begins a session. The service bills its minutes, and knows the group by its ARN only.
    ///
    /// # Errors
    /// The service refused or did not answer.
    pub async fn live_tail(&self, arn: &str) -> Result<LiveTail, ServiceError> {
        let what = format!("Live Tail of log group {}", self.name());
        let request = self.client().start_live_tail().log_group_identifiers(arn);
        let request = request.customize().mutate_request(|request| {
            if let Some(uri) = own_host(request.uri()) {
                // What can't be an address fails when it is asked for.
                let _ = request.set_uri(uri);
            }
        });
        match in_time(&what, request.send()).await? {
            Ok(session) => Ok(LiveTail { session, what }),
            Err(error) => Err(ServiceError::aws(what, &error)),
        }
    }

    /// Its ARN.
    ///
    /// # Errors
    /// The service refused, did not answer, or has no such group.
    pub async fn arn(&self) -> Result<String, ServiceError> {
        let what = format!("looking up log group {}", self.name());
        // Names that begin alike come in their order: the one that is nothing but that comes first.
        let answer = self.client().describe_log_groups().log_group_name_prefix(self.name()).send().await;
        let groups = answer.map_err(|error| ServiceError::aws(&what, &error))?.log_groups.unwrap_or_default();
        let found = groups.into_iter().find(|group| group.log_group_name.as_deref() == Some(self.name()));
        let arn = found.and_then(|group| group.log_group_arn.or(group.arn));
        let Some(arn) = arn else {
            return Err(ServiceError::new(what, "there is none".to_owned(), Some("ResourceNotFound".to_owned())));
        };
        Ok(arn.trim_end_matches(":*").to_owned())
    }
}

impl LiveTail {
    /// What came in since; `None` when the time of the session is over.
    ///
    /// # Errors
    /// The session broke off.
    pub async fn next(&mut self) -> Result<Option<LiveUpdate>, ServiceError> {
        loop {
            let said = match in_time(&self.what, self.session.response_stream.recv()).await? {
                Ok(Some(said)) => said,
                Ok(None) => return Err(self.broken("the service ended it", None)),
                Err(SdkError::ServiceError(error)) if is_over(error.err()) => return Ok(None),
                Err(error) => {
                    let why = error.message().map_or_else(|| crate::telemetry::chain(&error), str::to_owned);
                    return Err(self.broken(&why, error.code()));
                }
            };
            if let StartLiveTailResponseStream::SessionUpdate(update) = said {
                return Ok(Some(read(update)));
            }
        }
    }

    fn broken(&self, why: &str, code: Option<&str>) -> ServiceError {
        ServiceError::new(self.what.clone(), why.to_owned(), code.map(str::to_owned)).passing()
    }
}

/// Time-outs of the SDK end with the head of the answer.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T, ServiceError> {
    let silent = |_| ServiceError::new(what.to_owned(), format!("nothing for {} s", QUIET.as_secs()), None).passing();
    tokio::time::timeout(QUIET, future).await.map_err(silent)
}

const fn is_over(error: &StreamError) -> bool {
    matches!(error, StreamError::SessionTimeoutException(_))
}

fn read(update: LiveTailSessionUpdate) -> LiveUpdate {
    let event = |event: LiveTailSessionLogEvent| LiveEvent {
        at_ms: event.timestamp.unwrap_or_default(),
        stream: event.log_stream_name.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    };
    LiveUpdate {
        sampled: update.session_metadata.is_some_and(|session| session.sampled),
        events: update.session_results.unwrap_or_default().into_iter().map(event).collect(),
    }
}

/// The address without the prefix, where the host is not AWS's own: an endpoint that somebody configured means itself.
fn own_host(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let host = rest.strip_prefix(PREFIX)?;
    let aws = host.starts_with("logs.") || host.starts_with("logs-fips.");
    (!aws).then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatchlogs::types::LiveTailSessionMetadata;

    #[test]
    fn an_update_is_its_events_and_whether_there_were_more() {
        let event = LiveTailSessionLogEvent::builder()
            .log_stream_name("aws/bedrock/modelinvocations")
            .timestamp(1_700_000_000_123)
            .ingestion_time(1_700_000_004_000)
            .message("{}")
            .build();
        let update = LiveTailSessionUpdate::builder()
            .session_metadata(LiveTailSessionMetadata::builder().sampled(true).build())
            .session_results(event)
            .build();
        let stream = "aws/bedrock/modelinvocations".to_owned();
        let event = LiveEvent { at_ms: 1_700_000_000_123, stream, message: "{}".to_owned() };
        assert_eq!(read(update), LiveUpdate { events: vec![event], sampled: true });
        assert_eq!(read(LiveTailSessionUpdate::builder().build()), LiveUpdate::default());
    }

    #[test]
    fn only_the_service_itself_has_another_host_for_it() {
        assert_eq!(own_host("https://stream-logs.eu-west-1.amazonaws.com/"), None);
        assert_eq!(own_host("https://stream-logs-fips.us-gov-west-1.amazonaws.com/"), None);
        assert_eq!(own_host("http://stream-127.0.0.1:5000/").as_deref(), Some("http://127.0.0.1:5000/"));
        assert_eq!(
            own_host("https://stream-vpce-1.logs.eu-west-1.vpce.amazonaws.com/").as_deref(),
            Some("https://vpce-1.logs.eu-west-1.vpce.amazonaws.com/")
        );
        assert_eq!(own_host("http://127.0.0.1:5000/"), None);
    }
}
