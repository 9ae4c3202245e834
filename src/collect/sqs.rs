//! A queue of SQS: take messages, keep them from others while they are worked on, delete them.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
};

use super::ServiceError;
use crate::store::{AwsAccess, sdk_config};

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, the same at every delivery.
    pub id: String,
    /// What stands for this delivery.
    pub receipt: String,
    /// Its text.
    pub body: String,
    /// How many times it was delivered, this one included.
    pub deliveries: u32,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// A client for the queue at `url`, which names the endpoint too (that of `access` is the bucket's), and the region
    /// where `access` says none.
    pub async fn open(url: &str, access: &AwsAccess) -> Self {
        let mut access = access.clone();
        access.region = access.region.or_else(|| region_of(url));
        let mut config = aws_sdk_sqs::config::Builder::from(&sdk_config(&access).await);
        config.set_endpoint_url(origin_of(url));
        Self { client: Client::from_conf(config.build()), url: url.to_owned() }
    }

    /// The name behind the last slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Takes up to ten messages, waiting up to `wait_s` for the first; others don't see them for `hidden_s`.
    ///
    /// # Errors
    /// The service refused or did not answer.
    pub async fn receive(&self, wait_s: i32, hidden_s: i32) -> Result<Vec<Message>, ServiceError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(wait_s)
            .visibility_timeout(hidden_s)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|error| ServiceError::aws(format!("receiving from queue {}", self.name()), &error))?;
        let message = |message: aws_sdk_sqs::types::Message| {
            let counted = message.attributes.as_ref();
            let counted = counted.and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
            Message {
                id: message.message_id.unwrap_or_default(),
                receipt: message.receipt_handle.unwrap_or_default(),
                body: message.body.unwrap_or_default(),
                deliveries: counted.and_then(|text| text.parse().ok()).unwrap_or(1),
            }
        };
        Ok(answer.messages.unwrap_or_default().into_iter().map(message).collect())
    }

    /// Lets others not see these messages for `hidden_s` from now on. A message that can't be kept comes again.
    ///
    /// # Errors
    /// The service refused or did not answer.
    pub async fn hide(&self, messages: &[(String, i32)]) -> Result<(), ServiceError> {
        let failed = |why: String| ServiceError::new(format!("hiding messages of queue {}", self.name()), why, None);
        for part in messages.chunks(10) {
            let entry = |(n, (receipt, hidden_s)): (usize, &(String, i32))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(*hidden_s)
                    .build()
                    .map_err(|error| failed(error.to_string()))
            };
            let entries = part.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
            let request = self.client.change_message_visibility_batch().queue_url(&self.url);
            let answer = request.set_entries(Some(entries)).send().await;
            answer.map_err(|error| ServiceError::aws(format!("hiding messages of queue {}", self.name()), &error))?;
        }
        Ok(())
    }

    /// Deletes messages. One that stays although asked comes again, which changes nothing.
    ///
    /// # Errors
    /// The service refused or did not answer.
    pub async fn delete(&self, receipts: &[String]) -> Result<(), ServiceError> {
        let failed = |why: String| ServiceError::new(format!("deleting from queue {}", self.name()), why, None);
        for part in receipts.chunks(10) {
            let entry = |(n, receipt): (usize, &String)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(receipt)
                    .build()
                    .map_err(|error| failed(error.to_string()))
            };
            let entries = part.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
            let answer =
                self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
            answer.map_err(|error| ServiceError::aws(format!("deleting from queue {}", self.name()), &error))?;
        }
        Ok(())
    }
}

/// Scheme and host.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}

/// `https://sqs.eu-west-1.amazonaws.com/…`
fn region_of(url: &str) -> Option<String> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split('.').next()?;
    region.contains('-').then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_tells_the_region() {
        assert_eq!(region_of("https://sqs.eu-west-1.amazonaws.com/1/q").as_deref(), Some("eu-west-1"));
        assert_eq!(region_of("http://127.0.0.1:5000/1/q"), None);
        assert_eq!(origin_of("http://127.0.0.1:5000/1/q").as_deref(), Some("http://127.0.0.1:5000"));
    }
}
