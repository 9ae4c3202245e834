//! The PostgreSQL wire, for psql, drivers, BI tools and Grafana: pgwire's messages in front of the same engine, guard, view
//! and limits as HTTP's.
//!
//! datafusion-postgres itself is not used but for its catalogue and encoders: it answers from one session that lives as
//! long as the server, hands SET on to the engine and runs what it is given. Here each statement has a session of its own
//! over one moment of the store.

mod cancel;
mod connection;
mod failure;
mod frame;
mod kept;
mod numeric;
mod params;
mod questions;
mod rows;
mod session;
mod startup;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use self::cancel::Running;
use self::connection::talk;
use super::ApiState;
use crate::access::Tls;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 200;
/// Time for statements under way when the server is stopped.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failure to accept.
const PAUSE: Duration = Duration::from_millis(500);

/// What all connections share.
pub(super) struct Server {
    state: ApiState,
    tls: Option<Arc<Tls>>,
    running: Running,
}

/// Serves the wire on `listener` until `shutdown`, then finishes what is under way.
pub async fn serve_pg(state: ApiState, listener: TcpListener, tls: Option<Arc<Tls>>, shutdown: CancellationToken) {
    let server = Arc::new(Server { state, tls, running: Running::default() });
    let (connections, at_last) = (TaskTracker::new(), CancellationToken::new());
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(Ok(slot)) = shutdown.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        let (stream, peer) = match shutdown.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                warn!(%error, "no PostgreSQL connection can be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (server, shutdown, at_last) = (Arc::clone(&server), shutdown.clone(), at_last.clone());
        connections.spawn(async move {
            at_last.run_until_cancelled(talk(server, stream, peer, shutdown)).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(DRAIN, connections.wait()).await.is_err() {
        at_last.cancel();
        connections.wait().await;
    }
}
