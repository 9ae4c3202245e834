//! A log group of CloudWatch: its events by time, page by page.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::Client;

use super::ServiceError;
use super::backoff::Backoff;
use super::pace::Pace;
use crate::store::{AwsAccess, sdk_config};

/// Five requests a second are allowed for an account and region.
const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(20);
/// Tries for one page; then the source says that it is retried.
const TRIES: u32 = 4;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Its id, the same whenever it is read.
    pub id: String,
    /// Its time, milliseconds since 1970.
    pub at_ms: i64,
    /// Its stream.
    pub stream: String,
    /// Its text.
    pub message: String,
}

/// Some events. A page may be empty although more follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The events.
    pub events: Vec<LogEvent>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A log group.
#[derive(Debug)]
pub struct LogGroup {
    client: Client,
    group: String,
    pace: Pace,
}

impl LogGroup {
    /// A client for the group.
    pub async fn open(group: &str, access: &AwsAccess) -> Self {
        let mut config = aws_sdk_cloudwatchlogs::config::Builder::from(&sdk_config(access).await);
        if access.endpoint.is_some() {
            config.set_endpoint_url(access.endpoint.clone());
        }
        Self { client: Client::from_conf(config.build()), group: group.to_owned(), pace: Pace::new(LEAST, MOST) }
    }

    /// The name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.group
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// A page of the events from `from_ms` to `to_ms`, both included.
    ///
    /// # Errors
    /// The service refused, did not answer, or throttles for long.
    pub async fn page(&mut self, from_ms: i64, to_ms: i64, token: Option<&str>) -> Result<LogPage, ServiceError> {
        let (mut tries, mut backoff) = (0, Backoff::new(LEAST, MOST));
        loop {
            self.pace.turn().await;
            let request = self.client.filter_log_events().log_group_name(&self.group);
            let request = request.start_time(from_ms).end_time(to_ms).set_next_token(token.map(str::to_owned));
            let error = match request.send().await {
                Ok(answer) => {
                    self.pace.faster();
                    let events = answer.events.unwrap_or_default().into_iter().map(event).collect();
                    return Ok(LogPage { events, next: answer.next_token });
                }
                Err(error) => ServiceError::aws(format!("reading log group {}", self.group), &error),
            };
            tries += 1;
            // A long stretch is many pages: one that fails must not begin all of them anew.
            if !error.is_transient() || tries == TRIES {
                return Err(error);
            }
            // Only who is asked too often is asked more slowly from now on.
            if error.is_throttled() {
                self.pace.slower();
            } else {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

fn event(event: aws_sdk_cloudwatchlogs::types::FilteredLogEvent) -> LogEvent {
    LogEvent {
        id: event.event_id.unwrap_or_default(),
        at_ms: event.timestamp.unwrap_or_default(),
        stream: event.log_stream_name.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    }
}
