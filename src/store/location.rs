//! Text to location, and remote locations to clients.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore};
use url::Url;

/// Why a location can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a path or a supported URL.
    #[error("'{text}' is no location: give a path, s3://bucket/prefix or az://container/prefix")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// The directory can't be made or written.
    #[error("can't write to the data directory {path}")]
    Unwritable {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A small object can't be read or written.
    #[error("{object} can't be read or written")]
    Object {
        /// Which.
        object: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The client for a remote store can't be built.
    #[error("can't use {url}")]
    Client {
        /// Which location.
        url: String,
        /// Why.
        source: object_store::Error,
    },
}

/// A parsed location: a local path or a URL of a remote store.
#[derive(Clone, Debug)]
pub enum Location {
    /// File or directory.
    Local(PathBuf),
    /// `s3://` or `az://`.
    Remote(Url),
}

impl Location {
    /// Reads a path, `file://`, `s3://`, `s3a://`, `az://` or `abfss://` URL.
    ///
    /// # Errors
    /// Another scheme, or a URL without a bucket.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let malformed = || StoreError::Malformed { text: text.to_owned() };
        if !text.contains("://") {
            return if text.is_empty() { Err(malformed()) } else { Ok(Self::Local(PathBuf::from(text))) };
        }
        let url = Url::parse(text).map_err(|_| malformed())?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::Local).map_err(|()| malformed()),
            "s3" | "s3a" | "az" | "azure" | "abfs" | "abfss" if url.host_str().is_some() => Ok(Self::Remote(url)),
            _ => Err(malformed()),
        }
    }

    /// The client and the prefix below its root.
    ///
    /// # Errors
    /// The client can't be built from the environment.
    pub async fn connect(&self) -> Result<(Arc<dyn ObjectStore>, Path), StoreError> {
        let url = match self {
            Self::Local(path) => {
                let root = Path::from_absolute_path(path)
                    .map_err(|_| StoreError::Malformed { text: path.display().to_string() })?;
                return Ok((Arc::new(object_store::local::LocalFileSystem::new()), root));
            }
            Self::Remote(url) => url,
        };
        let client = |source| StoreError::Client { url: url.to_string(), source };
        let objects: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" | "s3a" => Arc::new(s3(url).await.build().map_err(client)?),
            _ => Arc::new(azure(url).build().map_err(client)?),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|_| StoreError::Malformed { text: url.to_string() })?;
        Ok((objects, prefix))
    }
}

/// Region, endpoint and static keys from the usual `AWS_*` variables; without static keys the AWS credential chain
/// (profile, SSO, web identity, container, instance).
async fn s3(url: &Url) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(url.host_str().unwrap_or_default());
    let plain = |name: &str| std::env::var(name).is_ok_and(|value| value.starts_with("http://"));
    if plain("AWS_ENDPOINT_URL") || plain("AWS_ENDPOINT_URL_S3") || plain("AWS_ENDPOINT") {
        builder = builder.with_allow_http(true);
    }
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() && std::env::var_os("AWS_SKIP_SIGNATURE").is_none() {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        if let Some(region) = config.region() {
            builder = builder.with_region(region.as_ref());
        }
        if let Some(chain) = config.credentials_provider() {
            builder = builder.with_credentials(Arc::new(AwsChain(chain)));
        }
    }
    builder
}

/// The AWS credential chain behind object_store's interface; it caches and refreshes by itself.
#[derive(Debug)]
struct AwsChain(aws_credential_types::provider::SharedCredentialsProvider);

#[async_trait::async_trait]
impl object_store::CredentialProvider for AwsChain {
    type Credential = object_store::aws::AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<Self::Credential>> {
        use aws_credential_types::provider::ProvideCredentials;
        let keys = self
            .0
            .provide_credentials()
            .await
            .map_err(|source| object_store::Error::Generic { store: "S3", source: Box::new(source) })?;
        Ok(Arc::new(object_store::aws::AwsCredential {
            key_id: keys.access_key_id().to_owned(),
            secret_key: keys.secret_access_key().to_owned(),
            token: keys.session_token().map(str::to_owned),
        }))
    }
}

fn azure(url: &Url) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::from_env();
    // abfss://container@account.dfs.core.windows.net/prefix and az://container/prefix
    if url.scheme().starts_with("abfs") && !url.username().is_empty() {
        builder = builder.with_container_name(url.username());
        if let Some(account) = url.host_str().and_then(|host| host.split('.').next()) {
            builder = builder.with_account(account);
        }
    } else {
        builder = builder.with_container_name(url.host_str().unwrap_or_default());
    }
    if std::env::var_os("AZURITE_BLOB_STORAGE_URL").is_some() {
        builder = builder.with_use_emulator(true).with_client_options(ClientOptions::new().with_allow_http(true));
    }
    builder
}

pub(super) fn probe_writable(dir: &FsPath) -> Result<(), StoreError> {
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|source| StoreError::Unwritable { path: dir.to_owned(), source })
}
