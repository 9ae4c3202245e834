//! One connection: its handshake, its messages in turn, and its end when the client leaves or the server stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, NoopHandler, PgWireConnectionState};
use pgwire::error::PgWireError;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, negotiate_tls, process_error, process_message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::codec::{Encoder, Framed};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Server;
use super::failure::fatal;
use super::frame::{Frame, look};
use super::kept::Kept;
use super::session::Session;

/// Time for handshake and log-in.
const LOG_IN: Duration = Duration::from_secs(30);
/// A connection on which nothing is asked is closed after this; pools keep theirs for as long.
const IDLE: Duration = Duration::from_secs(3_600);
/// A message is done by then, or its client does not read the answer.
const STUCK: Duration = Duration::from_secs(900);
/// How often is looked whether the client of a running statement is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time to read what a client goes on to send after the end.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of a message at most: a statement is shorter, and parameters are few.
const MESSAGE_BYTES: usize = 1 << 20;

/// Serves a connection to its end.
pub async fn talk(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
    match converse(server, stream, peer, shutdown).await {
        Ok(()) => {}
        Err(error) => debug!(%error, "PostgreSQL connection failed"),
    }
}

async fn converse(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let watch = Watch::of(&stream)?;
    let acceptor = server.tls.as_ref().map(|tls| (*tls.acceptor()).clone());
    let session = Session::new(Arc::clone(&server), peer);
    let negotiated = timeout(LOG_IN, negotiate_tls(stream, acceptor)).await;
    let Ok(Some(mut socket)) = negotiated.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? else {
        return Ok(());
    };
    let mut kept = Kept::default();
    let log_in_by = tokio::time::Instant::now() + LOG_IN;
    let (nothing, running) = (Arc::new(NoopHandler), Arc::new(server.running.clone()));
    loop {
        let known = !matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress
        );
        let patience = if known { IDLE } else { log_in_by.saturating_duration_since(tokio::time::Instant::now()) };
        let next = tokio::select! {
            next = next(&mut socket) => next,
            () = sleep(patience) => return Ok(()),
            () = shutdown.cancelled() => {
                let error = fatal("57P01", "polymeter is stopping", "connect again later");
                return last_words(&mut socket, error).await;
            }
        };
        let message = match next {
            Next::Message(Ok(message)) => message,
            Next::Message(Err(error)) => return last_words(&mut socket, error).await,
            Next::End => return Ok(()),
            Next::Long => {
                let error = fatal("54000", "the message is longer than a megabyte", "send shorter statements");
                return last_words(&mut socket, error).await;
            }
            Next::Broken => {
                let error = fatal("08P01", "this is no message of PostgreSQL's protocol", "use one of its drivers");
                return last_words(&mut socket, error).await;
            }
        };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(());
        }
        let extended = message.is_extended_query();
        let syncs = matches!(message, PgWireFrontendMessage::Sync(_));
        if let Err(error) = kept.count(&message) {
            process_error(&mut socket, error, extended).await?;
            continue;
        }
        let work = process_message(
            message,
            &mut socket,
            Arc::clone(&session),
            Arc::clone(&session),
            Arc::clone(&session),
            Arc::clone(&nothing),
            Arc::clone(&running),
        );
        let done = tokio::select! {
            done = timeout(STUCK, work) => match done {
                Ok(done) => done,
                // Who does not read is not told either.
                Err(_) => return Ok(()),
            },
            // Dropping the work cancels the statement.
            () = watch.gone() => return Ok(()),
        };
        if let Err(error) = done {
            process_error(&mut socket, error, extended).await?;
        }
        if syncs && socket.transaction_status() == TransactionStatus::Idle {
            socket.portal_store().clear_portals();
            kept.end_portals();
        }
    }
}

enum Next {
    Message(Result<PgWireFrontendMessage, PgWireError>),
    Long,
    Broken,
    End,
}

/// The next message, once it is whole.
async fn next<T, S>(socket: &mut Framed<T, PgWireMessageServerCodec<S>>) -> Next
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut bytes = vec![0; 16 << 10];
    loop {
        let first = matches!(socket.state(), PgWireConnectionState::AwaitingStartup);
        match look(socket.read_buffer(), first, MESSAGE_BYTES) {
            Frame::Whole => return socket.next().await.map_or(Next::End, Next::Message),
            Frame::Long => return Next::Long,
            Frame::Broken => return Next::Broken,
            Frame::Part => {}
        }
        match socket.get_mut().read(&mut bytes).await {
            Ok(0) => return Next::End,
            Ok(read) => socket.read_buffer_mut().extend_from_slice(bytes.get(..read).unwrap_or_default()),
            Err(error) => return Next::Message(Err(error.into())),
        }
    }
}

/// Says why a connection ends. What the client still sends is read for a moment: closing over it would take the answer back.
async fn last_words<T, C>(socket: &mut Framed<T, C>, error: PgWireError) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
    C: Encoder<PgWireBackendMessage, Error = io::Error>,
{
    let info: pgwire::error::ErrorInfo = match error {
        PgWireError::IoError(error) => return Err(error),
        error => error.into(),
    };
    socket.send(PgWireBackendMessage::ErrorResponse(info.into())).await?;
    let stream = socket.get_mut();
    stream.shutdown().await?;
    let mut rest = vec![0; 64 << 10];
    let until_quiet = async {
        for _ in 0..1_000 {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok(())
    };
    timeout(LINGER, until_quiet).await.unwrap_or(Ok(()))
}

/// A second handle of a socket, to see its end while the first one is busy.
struct Watch(TcpStream);

impl Watch {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        use std::os::fd::AsFd;
        let handle = stream.as_fd().try_clone_to_owned()?;
        Ok(Self(TcpStream::from_std(std::net::TcpStream::from(handle))?))
    }

    /// Resolves when the client has closed its side.
    async fn gone(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            match self.0.ready(Interest::READABLE | Interest::ERROR).await {
                Ok(ready) if !ready.is_read_closed() && !ready.is_error() => {}
                _ => return,
            }
        }
    }
}
