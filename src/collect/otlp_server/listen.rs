//! Connections: accepted up to a number, TLS where it is wanted, HTTP/1.1 or HTTP/2 as the client speaks, and an end that
//! waits for requests under way and for nothing else.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Receiver;
use super::exchange::answer;
use super::limits::Limits;
use crate::access::Tls;

/// A peer that does not answer a ping for this long is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// The head of a request: what proxies and SDKs add stays far below.
const HEADER_BYTES: u32 = 32 << 10;
/// Time for the last answer of a connection to leave.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after a failure to accept that is not the connection's own, like too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves a receiver on `listener`, gRPC and HTTP alike, until `shutdown`; then finishes what is under way.
pub async fn serve(receiver: Receiver, listener: TcpListener, tls: Option<Arc<Tls>>, shutdown: CancellationToken) {
    let limits = receiver.gate.limits.clone();
    let (connections, at_last) = (TaskTracker::new(), CancellationToken::new());
    let slots = Arc::new(Semaphore::new(limits.connections));
    while let Some(Ok(slot)) = shutdown.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        let stream = match shutdown.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, _))) => stream,
            Some(Err(error)) => {
                if !is_of_connection(&error) {
                    warn!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let (receiver, tls) = (receiver.clone(), tls.clone());
        let ends = Ends { shutdown: shutdown.clone(), at_last: at_last.clone() };
        connections.spawn(async move {
            connection(receiver, stream, tls, ends).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.drain, connections.wait()).await.is_err() {
        warn!("{} connections did not end in time and are cut", connections.len());
        at_last.cancel();
        connections.wait().await;
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Ends {
    /// No new requests.
    shutdown: CancellationToken,
    /// At once.
    at_last: CancellationToken,
}

async fn connection(receiver: Receiver, stream: TcpStream, tls: Option<Arc<Tls>>, ends: Ends) {
    // Answers are small: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return talk(receiver, stream, ends).await };
    let acceptor = tls.acceptor();
    let handshake = timeout(receiver.gate.limits.handshake, acceptor.accept(stream));
    match ends.shutdown.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => talk(receiver, stream, ends).await,
        Some(Ok(Err(error))) => debug!(%error, "TLS handshake failed"),
        Some(Err(_)) => debug!("TLS handshake took too long"),
        None => {}
    }
}

async fn talk(receiver: Receiver, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ends: Ends) {
    let limits = receiver.gate.limits.clone();
    let activity = Arc::new(Activity::new());
    let builder = builder(&limits);
    let service = Router::new().fallback(answer).with_state((receiver, Arc::clone(&activity)));
    let mut talk = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let mut ending = false;
    loop {
        let quiet = activity.quiet();
        let look_in = match (ending, quiet) {
            (true, _) => GRACE,
            (false, Some(quiet)) => limits.idle.saturating_sub(quiet),
            (false, None) => limits.idle,
        };
        tokio::select! {
            outcome = talk.as_mut() => {
                if let Err(error) = outcome {
                    debug!(error = %crate::telemetry::chain(&*error), "connection failed");
                }
                return;
            }
            () = ends.at_last.cancelled() => return,
            () = ends.shutdown.cancelled(), if !ending => {
                ending = true;
                talk.as_mut().graceful_shutdown();
            }
            () = sleep(look_in) => match activity.quiet() {
                // A client that began a request and did not finish its head has nothing under way either.
                Some(quiet) if ending && quiet >= GRACE => return,
                Some(quiet) if !ending && quiet >= limits.idle => {
                    ending = true;
                    talk.as_mut().graceful_shutdown();
                }
                _ => {}
            },
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADER_BYTES);
    builder
}

/// Whether requests of a connection are under way, and since when not.
#[derive(Debug)]
pub(super) struct Activity {
    requests: AtomicUsize,
    quiet_since: Mutex<Instant>,
}

/// A request under way.
pub(super) struct UnderWay<'a>(&'a Activity);

impl Activity {
    fn new() -> Self {
        Self { requests: AtomicUsize::new(0), quiet_since: Mutex::new(Instant::now()) }
    }

    pub fn begin(&self) -> UnderWay<'_> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        UnderWay(self)
    }

    fn quiet(&self) -> Option<Duration> {
        let since = *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.requests.load(Ordering::SeqCst) == 0).then(|| since.elapsed())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::SeqCst);
    }
}
