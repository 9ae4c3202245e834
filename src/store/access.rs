//! How a remote place is reached, beside its URL: region, endpoint, role, kind of log-in. Nothing here is secret; a
//! secret is named by its environment variable or file and read when a client is built.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::StoreError;

/// How a source is reached. Without any of it the environment and the identity of the machine decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// For S3, SQS and CloudWatch.
    pub aws: AwsAccess,
    /// For Blob storage and Azure Monitor.
    pub azure: AzureAccess,
}

/// How AWS is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsAccess {
    /// Region; `None` is that of the environment.
    pub region: Option<String>,
    /// Another endpoint than the service's own.
    pub endpoint: Option<String>,
    /// File of credentials, in the form of `~/.aws/credentials`.
    pub credentials_file: Option<PathBuf>,
    /// Profile in it, or in the files of the environment.
    pub profile: Option<String>,
    /// Role to take on, in this account or another.
    pub role_arn: Option<String>,
    /// What that role's trust policy asks for.
    pub external_id: Option<String>,
    /// Name of the bucket as part of the host name; otherwise as part of the path.
    pub virtual_hosted: bool,
    /// Pay for reading a bucket of somebody else.
    pub requester_pays: bool,
}

impl AwsAccess {
    /// Whether the keys of the environment are not what it wants.
    #[must_use]
    pub const fn has_own_credentials(&self) -> bool {
        self.role_arn.is_some() || self.credentials_file.is_some() || self.profile.is_some()
    }
}

/// How Azure is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AzureAccess {
    /// Name of the storage account; `None` is that of the environment.
    pub storage_account: Option<String>,
    /// Another endpoint than the account's own.
    pub endpoint: Option<String>,
    /// Which of Azure's clouds.
    pub cloud: AzureCloud,
    /// How to log in.
    pub auth: AzureAuth,
    /// Entra tenant.
    pub tenant_id: Option<String>,
    /// Entra application, or the user-assigned identity.
    pub client_id: Option<String>,
    /// Where the key, the SAS or the client's secret is.
    pub secret: Option<Secret>,
    /// Another host for log-in than that of the cloud.
    pub authority: Option<String>,
}

/// Azure's clouds: they differ in host names only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureCloud {
    /// The one for everybody.
    #[default]
    Public,
    /// US Government.
    Government,
    /// China, run by 21Vianet.
    China,
}

impl AzureCloud {
    /// Host part behind `<account>.blob.`.
    #[must_use]
    pub const fn storage_suffix(self) -> &'static str {
        match self {
            Self::Public => "core.windows.net",
            Self::Government => "core.usgovcloudapi.net",
            Self::China => "core.chinacloudapi.cn",
        }
    }

    /// Where Entra gives tokens.
    #[must_use]
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::Government => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// Where Azure Resource Manager, and so Azure Monitor, answers.
    #[must_use]
    pub const fn management(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::Government => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }
}

/// How to log in to Azure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureAuth {
    /// What the environment says (`AZURE_*`), else the machine's managed identity.
    #[default]
    Environment,
    /// The storage account's key.
    Key,
    /// A shared access signature.
    Sas,
    /// Entra, an application with a secret.
    ClientSecret,
    /// Entra, a Kubernetes service account's token.
    WorkloadIdentity,
    /// Entra, the machine's identity.
    ManagedIdentity,
}

impl AzureAuth {
    /// True where a secret has to be named.
    #[must_use]
    pub const fn needs_secret(self) -> bool {
        matches!(self, Self::Key | Self::Sas | Self::ClientSecret)
    }
}

/// A topic of Kafka, or an event hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTopic {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// How to log in.
    pub auth: KafkaAuth,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Certificates to trust; those of the system without it.
    pub ca_file: Option<PathBuf>,
}

/// How to log in to Kafka. Secrets and Entra's names are those of [`AzureAccess`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaAuth {
    /// Not at all.
    None,
    /// SASL PLAIN.
    Plain {
        /// Its user.
        user: String,
    },
    /// SASL PLAIN with a connection string of Event Hubs.
    ConnectionString,
    /// SASL OAUTHBEARER with a token of Entra.
    Entra,
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file; white space around it does not count.
    File(PathBuf),
}

impl Secret {
    /// Reads it.
    ///
    /// # Errors
    /// The variable is not set, or the file can't be read, or there is nothing in it.
    pub fn read(&self) -> Result<String, StoreError> {
        let failed = |why: String| StoreError::Secret { place: self.to_string(), why };
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|error| failed(error.to_string()))?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?,
        };
        let text = text.trim();
        if text.is_empty() { Err(failed("it is empty".to_owned())) } else { Ok(text.to_owned()) }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
