//! Azure Monitor's metrics over its REST interface: one resource, some metrics, by the minute.

use std::time::Duration;

use reqwest::Client;

use super::ServiceError;
use super::entra::Entra;
use crate::model::Timestamp;
use crate::store::AzureAccess;

const API_VERSION: &str = "2023-10-01";
/// Series that one answer holds at most; the service's own default of 10 cuts without a word.
const TOP: &str = "1000";
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// Azure Monitor.
#[derive(Debug)]
pub struct AzureMonitor {
    http: Client,
    tokens: Entra,
    endpoint: String,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct MetricsAsked<'a> {
    /// Resource id, `/subscriptions/…`.
    pub resource: &'a str,
    /// Names, separated by commas.
    pub names: &'a str,
    /// `$filter`: the dimensions to split by.
    pub filter: &'a str,
    /// First minute.
    pub from: Timestamp,
    /// End, not included.
    pub to: Timestamp,
}

impl AzureMonitor {
    /// A client for the cloud that `access` names.
    ///
    /// # Errors
    /// The HTTP client can't be made.
    pub fn open(access: &AzureAccess) -> Result<Self, ServiceError> {
        let http = Client::builder().connect_timeout(CONNECT).timeout(ANSWER).build();
        let http = http.map_err(|error| ServiceError::new("an HTTP client".to_owned(), error.to_string(), None))?;
        let endpoint = access.endpoint.clone().unwrap_or_else(|| access.cloud.management().to_owned());
        // Tokens are for the cloud's own name, whatever address answers.
        let tokens = Entra::new(http.clone(), access.clone(), access.cloud.management());
        Ok(Self { http, tokens, endpoint: endpoint.trim_end_matches('/').to_owned() })
    }

    /// The answer as it came; `None` where the resource does not have these metrics.
    ///
    /// # Errors
    /// Entra or the service refused or did not answer.
    pub async fn metrics(&mut self, asked: MetricsAsked<'_>) -> Result<Option<Vec<u8>>, ServiceError> {
        let what = || format!("reading metrics {} of {}", asked.names, asked.resource);
        let failed =
            |error: reqwest::Error| ServiceError::new(what(), crate::telemetry::chain(&error.without_url()), None);
        let token = self.tokens.token().await?;
        let resource = asked.resource.trim_matches('/');
        let url = format!("{}/{resource}/providers/microsoft.insights/metrics", self.endpoint);
        let request = self.http.get(url).bearer_auth(token).query(&[
            ("api-version", API_VERSION),
            ("metricnames", asked.names),
            ("timespan", &format!("{}/{}", asked.from, asked.to)),
            ("interval", "PT1M"),
            ("aggregation", "Total"),
            ("$filter", asked.filter),
            ("top", TOP),
        ]);
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok(Some(body.to_vec()));
        }
        if status == reqwest::StatusCode::UNAUTHORIZED {
            self.tokens.forget();
        }
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |pointer: &str| said.pointer(pointer).or_else(|| said.get("message"))?.as_str().map(str::to_owned);
        let message = text("/error/message").unwrap_or_default();
        // A resource of another kind, or one that has no deployment of that family yet.
        if status == reqwest::StatusCode::BAD_REQUEST && message.contains("metric") {
            return Ok(None);
        }
        Err(ServiceError::new(what(), format!("{status} {message}"), Some(status.as_u16().to_string())))
    }
}
