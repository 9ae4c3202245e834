//! OTLP receivers of a server: what they need is read before anything is made, then they are bound, then started.

use std::sync::Arc;

use anyhow::bail;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::serve::bind;
use crate::access::{Directory, Protocol, Tls};
use crate::collect::otlp_server::{Access, Gate, Receiver, Sink, serve};
use crate::config::{Config, OTLP, ReceiverConfig};
use crate::telemetry::SourceBoard;

/// A receiver whose files were read.
pub struct Prepared {
    config: ReceiverConfig,
    access: Access,
    tls: Option<Arc<Tls>>,
}

impl Prepared {
    /// All receivers that listen anywhere.
    ///
    /// # Errors
    /// Every certificate and token that can't be used.
    pub fn all(config: &Config, directory: Option<&Arc<Directory>>) -> anyhow::Result<Vec<Self>> {
        let (mut prepared, mut problems) = (Vec::new(), Vec::new());
        for config in config.all_receivers().filter(|receiver| receiver.addresses().next().is_some()) {
            let access = config.tokens.as_ref().map_or_else(|| Ok(Access::open()), Access::tokens);
            let tls = config.tls.as_ref().map(|files| Tls::load(files, Protocol::Http)).transpose();
            let access = access.map(|access| match directory {
                Some(directory) if !config.allow_unauthenticated => access.or(Arc::clone(directory)),
                _ => access,
            });
            match (access, tls) {
                (Ok(access), Ok(tls)) => {
                    prepared.push(Self { config: config.clone(), access, tls: tls.map(Arc::new) });
                }
                (access, tls) => {
                    let errors = [access.err(), tls.err()].into_iter().flatten();
                    problems.extend(errors.map(|error| format!("OTLP receiver '{}': {error}", config.name)));
                }
            }
        }
        match problems.as_slice() {
            [] => Ok(prepared),
            [only] => bail!("{only}"),
            all => bail!("{} problems\n  - {}", all.len(), all.join("\n  - ")),
        }
    }
}

/// A receiver that has its addresses.
pub struct Bound {
    /// What it was told.
    pub config: ReceiverConfig,
    access: Access,
    tls: Option<Arc<Tls>>,
    listeners: Vec<(&'static str, TcpListener)>,
}

impl Bound {
    /// Binds all.
    ///
    /// # Errors
    /// An address that can't be had, and how to choose another.
    pub async fn all(prepared: Vec<Prepared>) -> anyhow::Result<Vec<Self>> {
        let mut bound = Vec::new();
        for Prepared { config, access, tls } in prepared {
            let mut listeners = Vec::new();
            for (key, address) in config.addresses() {
                let name = if key == "grpc" { "OTLP/gRPC" } else { "OTLP/HTTP" };
                let option = if config.name == OTLP {
                    format!("--otlp-{key}")
                } else {
                    format!("'{key}' of the receiver '{}'", config.name)
                };
                listeners.push((name, bind(name, address, &option).await?));
            }
            bound.push(Self { config, access, tls, listeners });
        }
        Ok(bound)
    }

    /// Lines that say where it listens.
    ///
    /// # Errors
    /// A listener that doesn't know where.
    pub fn lines(&self) -> std::io::Result<Vec<String>> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut lines = Vec::new();
        for (name, listener) in &self.listeners {
            let mut line = format!("{name}   {scheme}://{}", listener.local_addr()?);
            match (self.config.name.as_str(), *name) {
                (OTLP, "OTLP/HTTP") => line.push_str("   (/v1/traces, /v1/metrics)"),
                (OTLP, _) => {}
                (other, _) => line.push_str(&format!("   (source {other})")),
            }
            lines.push(line);
        }
        Ok(lines)
    }

    /// Starts its listeners among `tasks`.
    pub fn start(
        self,
        sink: Arc<dyn Sink>,
        gate: &Arc<Gate>,
        board: &SourceBoard,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) {
        let Self { config, access, tls, listeners } = self;
        let remote = config.addresses().any(|(_, address)| !address.ip().to_canonical().is_loopback());
        if remote && !config.allow_unauthenticated && tls.is_none() {
            warn!(
                "the OTLP receiver '{}' takes tokens without TLS: keep it behind something that adds it",
                config.name
            );
        }
        board.update(&config.name, |status| {
            status.kind = OTLP.to_owned();
            let places = config.addresses().map(|(key, address)| {
                let name = if key == "grpc" { "gRPC" } else { "HTTP" };
                format!("{address} ({name})")
            });
            status.location = places.collect::<Vec<_>>().join(", ");
            status.state = "running";
        });
        let receiver = Receiver::new(sink, access, Arc::clone(gate));
        for (_, listener) in listeners {
            tasks.spawn(serve(receiver.clone(), listener, tls.clone(), cancel.clone()));
        }
    }
}
