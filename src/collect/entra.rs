//! Tokens of Entra for Azure's own interfaces, by client secret, workload identity or managed identity.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use tokio::time::Instant;

use super::ServiceError;
use crate::store::{AzureAccess, AzureAuth};

/// A token is asked for anew this long before it expires.
const MARGIN: Duration = Duration::from_secs(300);
#[cfg(feature = "kafka")]
const CONNECT: Duration = Duration::from_secs(5);
#[cfg(feature = "kafka")]
const ANSWER: Duration = Duration::from_secs(30);
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds; a number, or text from the metadata service.
    expires_in: serde_json::Value,
}

/// Tokens for one audience.
#[derive(Debug)]
pub struct Entra {
    http: Client,
    access: AzureAccess,
    audience: String,
    last: Option<(Instant, String)>,
}

impl Entra {
    /// Tokens that are good at `audience`, over a client of its own.
    ///
    /// # Errors
    /// The HTTP client can't be made.
    #[cfg(feature = "kafka")]
    pub fn open(access: AzureAccess, audience: &str) -> Result<Self, ServiceError> {
        let http = Client::builder().connect_timeout(CONNECT).timeout(ANSWER).build();
        let http = http.map_err(|error| failed(error.to_string(), None))?;
        Ok(Self::new(http, access, audience))
    }

    /// Tokens that are good at `audience`, such as `https://management.azure.com`.
    #[must_use]
    pub fn new(http: Client, access: AzureAccess, audience: &str) -> Self {
        Self { http, access, audience: audience.to_owned(), last: None }
    }

    /// Forgets the last token: it was refused.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// A token.
    ///
    /// # Errors
    /// Something is not set that the way of logging in needs, or Entra refused or did not answer.
    pub async fn token(&mut self) -> Result<String, ServiceError> {
        if let Some((until, token)) = &self.last
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let answer = match self.way() {
            AzureAuth::ClientSecret => self.by_secret().await?,
            AzureAuth::WorkloadIdentity => self.by_workload().await?,
            AzureAuth::ManagedIdentity => self.by_machine().await?,
            AzureAuth::Key | AzureAuth::Sas | AzureAuth::Environment => {
                return Err(failed("a key or SAS of a storage account is no way to log in here".to_owned(), None));
            }
        };
        let seconds = answer.expires_in.as_u64().or_else(|| answer.expires_in.as_str()?.parse().ok()).unwrap_or(600);
        let good = Duration::from_secs(seconds).saturating_sub(MARGIN).max(Duration::from_secs(30));
        self.last = Some((Instant::now() + good, answer.access_token.clone()));
        Ok(answer.access_token)
    }

    /// A token, and for how long it is at hand.
    ///
    /// # Errors
    /// As for [`Entra::token`].
    #[cfg(feature = "kafka")]
    pub async fn token_for(&mut self) -> Result<(String, Duration), ServiceError> {
        let token = self.token().await?;
        let until = self.last.as_ref().map_or_else(Instant::now, |(until, _)| *until);
        Ok((token, until.saturating_duration_since(Instant::now()) + MARGIN))
    }

    fn way(&self) -> AzureAuth {
        let set = |name: &str| std::env::var_os(name).is_some();
        match self.access.auth {
            AzureAuth::Environment if set("AZURE_CLIENT_SECRET") => AzureAuth::ClientSecret,
            AzureAuth::Environment if set("AZURE_FEDERATED_TOKEN_FILE") => AzureAuth::WorkloadIdentity,
            AzureAuth::Environment => AzureAuth::ManagedIdentity,
            other => other,
        }
    }

    fn setting(&self, given: Option<&String>, name: &str) -> Result<String, ServiceError> {
        let value = given.cloned().or_else(|| std::env::var(name).ok()).filter(|value| !value.is_empty());
        value.ok_or_else(|| failed(format!("neither the source nor {name} says it"), None))
    }

    async fn by_secret(&self) -> Result<Answer, ServiceError> {
        let secret = match &self.access.secret {
            Some(secret) => secret.read().map_err(|error| failed(error.to_string(), None))?,
            None => self.setting(None, "AZURE_CLIENT_SECRET")?,
        };
        self.grant(&[("client_secret", &secret)]).await
    }

    async fn by_workload(&self) -> Result<Answer, ServiceError> {
        let file = self.setting(None, "AZURE_FEDERATED_TOKEN_FILE")?;
        let assertion = tokio::fs::read_to_string(&file).await;
        let assertion = assertion.map_err(|error| failed(format!("{file}: {error}"), None))?;
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        self.grant(&[("client_assertion_type", kind), ("client_assertion", assertion.trim())]).await
    }

    async fn grant(&self, proof: &[(&str, &str)]) -> Result<Answer, ServiceError> {
        let tenant = self.setting(self.access.tenant_id.as_ref(), "AZURE_TENANT_ID")?;
        let client = self.setting(self.access.client_id.as_ref(), "AZURE_CLIENT_ID")?;
        let authority = self.access.authority.as_deref().unwrap_or_else(|| self.access.cloud.authority());
        let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let scope = format!("{}/.default", self.audience);
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", &client), ("scope", &scope)];
        form.extend_from_slice(proof);
        answered(self.http.post(url).form(&form)).await
    }

    async fn by_machine(&self) -> Result<Answer, ServiceError> {
        let mut query = vec![("resource", self.audience.as_str())];
        if let Some(client) = &self.access.client_id {
            query.push(("client_id", client));
        }
        let request = match (std::env::var("IDENTITY_ENDPOINT"), std::env::var("IDENTITY_HEADER")) {
            (Ok(endpoint), Ok(header)) => {
                query.push(("api-version", "2019-08-01"));
                self.http.get(endpoint).header("x-identity-header", header)
            }
            _ => {
                query.push(("api-version", "2018-02-01"));
                self.http.get(METADATA).header("metadata", "true")
            }
        };
        answered(request.query(&query)).await
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Result<Answer, ServiceError> {
    let answer = request.send().await.map_err(|error| failed(crate::telemetry::chain(&error.without_url()), None))?;
    let status = answer.status();
    let body = answer.text().await.map_err(|error| failed(error.without_url().to_string(), None))?;
    if !status.is_success() {
        // The first line names the reason (AADSTS…) and holds no secret.
        let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let said = said.get("error_description").and_then(|text| text.as_str()?.lines().next()).unwrap_or_default();
        return Err(failed(format!("{status} {said}"), Some(status.as_u16().to_string())));
    }
    serde_json::from_str(&body).map_err(|error| failed(format!("the answer is no token: {error}"), None))
}

fn failed(why: String, code: Option<String>) -> ServiceError {
    ServiceError::new("logging in to Entra".to_owned(), why, code)
}
