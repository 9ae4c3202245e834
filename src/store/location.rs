//! Text to location, and remote locations to clients.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use super::{Access, aws, azure, gcs};

/// Why a location can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a path or a supported URL.
    #[error("'{text}' is no location: give a path, s3://bucket/prefix or az://container/prefix")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// Sources may lie there, data may not.
    #[error("data can't lie at '{text}': give a path, s3://bucket/prefix or az://container/prefix")]
    SourcesOnly {
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
    /// A secret can't be read.
    #[error("{place} holds no secret that can be used: {why}")]
    Secret {
        /// Where it should be.
        place: String,
        /// Why not.
        why: String,
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
    /// `s3://`, `az://` or `gs://`.
    Remote(Url),
}

impl Location {
    /// Reads a path, `file://`, `s3://`, `s3a://`, `az://`, `abfss://` or `gs://` URL.
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
            "s3" | "s3a" | "az" | "azure" | "abfs" | "abfss" | "gs" if url.host_str().is_some() => {
                Ok(Self::Remote(url))
            }
            _ => Err(malformed()),
        }
    }

    /// Whether it is a bucket of S3 (or of what speaks like it).
    #[must_use]
    pub fn is_s3(&self) -> bool {
        matches!(self, Self::Remote(url) if url.scheme().starts_with("s3"))
    }

    /// Whether it is a container of Azure, where blobs are appended to.
    #[must_use]
    pub fn is_azure(&self) -> bool {
        matches!(self, Self::Remote(url) if url.scheme().starts_with("az") || url.scheme().starts_with("abfs"))
    }

    /// Whether tables can lie there; elsewhere there are only sources.
    #[must_use]
    pub fn holds_tables(&self) -> bool {
        !matches!(self, Self::Remote(url) if url.scheme() == "gs")
    }

    /// The client and the prefix below its root.
    ///
    /// # Errors
    /// The client can't be built from the environment.
    pub async fn connect(&self) -> Result<(Arc<dyn ObjectStore>, Path), StoreError> {
        self.client(&Access::default(), RetryConfig::default()).await
    }

    /// The same for a source that is followed: it retries by itself and shows that it does, so its client gives up
    /// soon.
    ///
    /// # Errors
    /// The client can't be built from `access` and the environment.
    pub async fn connect_as(&self, access: &Access) -> Result<(Arc<dyn ObjectStore>, Path), StoreError> {
        // Enough for each page of a long listing, over within seconds.
        let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: 4, retry_timeout: Duration::from_secs(20) };
        self.client(access, retry).await
    }

    async fn client(&self, access: &Access, retry: RetryConfig) -> Result<(Arc<dyn ObjectStore>, Path), StoreError> {
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
            "gs" => Arc::new(gcs::bucket(url, &access.aws).with_retry(retry).build().map_err(client)?),
            "s3" | "s3a" => Arc::new(aws::s3(url, &access.aws).await.with_retry(retry).build().map_err(client)?),
            _ => Arc::new(azure::blob(url, &access.azure)?.with_retry(retry).build().map_err(client)?),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|_| StoreError::Malformed { text: url.to_string() })?;
        Ok((objects, prefix))
    }
}

pub(super) fn probe_writable(dir: &FsPath) -> Result<(), StoreError> {
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|source| StoreError::Unwritable { path: dir.to_owned(), source })
}
