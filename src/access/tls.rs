//! TLS of a listener: certificate and key from PEM files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Reloading, SecretError};

/// Where certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the certificate, followed by those that lead to its authority.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 and HTTP/1.1.
    Http,
    /// The PostgreSQL wire.
    Postgres,
}

/// What TLS listeners of one kind share.
pub struct Tls(Reloading<TlsAcceptor>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They can't be read, are no certificate and key, or don't belong together.
    pub fn load(files: &TlsFiles, protocol: Protocol) -> Result<Self, SecretError> {
        let watched = vec![files.cert.clone(), files.key.clone()];
        let files = files.clone();
        Ok(Self(Reloading::new("TLS certificate", watched, Box::new(move || acceptor(&files, protocol)))?))
    }

    /// What accepts connections, with the certificate as of now.
    #[must_use]
    pub fn acceptor(&self) -> Arc<TlsAcceptor> {
        self.0.get()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

fn acceptor(files: &TlsFiles, protocol: Protocol) -> Result<TlsAcceptor, SecretError> {
    let problem = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        SecretError::new(format!("{what} '{}' can't be used: {error}", path.display()))
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| problem(&files.cert, "the TLS certificate", &error))?;
    if certificates.is_empty() {
        return Err(problem(&files.cert, "the TLS certificate", &"it holds no PEM certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| problem(&files.key, "the TLS key", &error))?;
    // The provider is named because two are in the tree.
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth());
    let mut config = config
        .and_then(|builder| builder.with_single_cert(certificates, key))
        .map_err(|error| problem(&files.cert, "the TLS certificate", &error))?;
    config.alpn_protocols = match protocol {
        Protocol::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Protocol::Postgres => vec![b"postgresql".to_vec()],
    };
    Ok(TlsAcceptor::from(Arc::new(config)))
}
