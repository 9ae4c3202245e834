//! Connections of the HTTP API, with TLS where it is wanted. Handshakes happen beside each other: a client that is slow with
//! its own delays nobody.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::guest::Peer;
use crate::access::Tls;

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at once, those whose handshake goes on among them; more wait. A process has some thousand files, and the
/// journal needs a few of them.
const AT_ONCE: usize = 512;
/// Time to the first byte of a connection.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// A connection on which nothing moves is closed: longer than any question takes.
const IDLE: Duration = Duration::from_secs(300);
/// Pause after a failure to accept.
const PAUSE: Duration = Duration::from_millis(500);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, encrypted or not.
pub struct Io {
    stream: Box<dyn Stream>,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Io {
    fn new(stream: Box<dyn Stream>, place: OwnedSemaphorePermit) -> Self {
        Self { stream, idle: Box::pin(sleep(IDLE)), _place: place }
    }

    /// Nothing moves: for how long?
    fn waits<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn moved(&mut self) {
        self.idle.as_mut().reset(Instant::now() + IDLE);
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut *self.stream).poll_read(cx, buf) {
            Poll::Pending => self.waits(cx),
            read => {
                self.moved();
                read
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut *self.stream).poll_write(cx, buf) {
            Poll::Pending => self.waits(cx),
            written => {
                self.moved();
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

/// Hands out connections whose handshake is done.
pub struct Connections {
    ready: mpsc::Receiver<(Io, SocketAddr)>,
    at: SocketAddr,
}

impl Connections {
    /// Accepts on `listener` from now on.
    ///
    /// # Errors
    /// The listener does not know its address.
    pub fn accept(listener: TcpListener, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let at = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(AT_ONCE);
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        // All of them end when nobody takes their connections any more.
        let tasks = TaskTracker::new();
        let handshakes = tasks.clone();
        tasks.spawn(async move {
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = sender.closed() => return,
                };
                let Ok((stream, peer)) = accepted else {
                    sleep(PAUSE).await;
                    continue;
                };
                let (sender, tls) = (sender.clone(), tls.clone());
                handshakes.spawn(async move {
                    if let Some(stream) = shake(stream, tls).await {
                        // The server may have ended meanwhile.
                        let _ = sender.send((Io::new(stream, slot), peer)).await;
                    }
                });
            }
        });
        Ok(Self { ready, at })
    }
}

async fn shake(stream: TcpStream, tls: Option<Arc<Tls>>) -> Option<Box<dyn Stream>> {
    // Answers are whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    // Who says nothing gets no connection.
    timeout(FIRST_BYTE, stream.readable()).await.ok()?.ok()?;
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    match timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            debug!("TLS handshake took too long");
            None
        }
    }
}

impl Listener for Connections {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task that accepts lives as long as this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(*stream.remote_addr())
    }
}
