//! One request, from its head to its answer, the same for HTTP and gRPC.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, Version, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{TryStreamExt, future};
use http_body_util::{BodyExt, Limited};
use prost::Message;
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::{Charge, Gate};
use super::listen::Activity;
use super::refusal::{Kind, Refusal};
use super::{Export, Kept, Receiver, Signal, Sink, SinkError, grpc, http, salvage, weight};
use crate::collect::inflate_whole;
use crate::model::{Flaws, fingerprint};
use crate::telemetry::metrics;

/// Plain bodies up to this are decoded where they are read; larger ones in a thread that may block.
const INLINE_BYTES: usize = 64 << 10;
/// The same for compressed ones, which may be a thousand times as much.
const INLINE_PACKED_BYTES: usize = 8 << 10;
/// What is read and thrown away of a refused body, so that the client sees the answer and not a broken connection.
const DISCARD_BYTES: usize = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// How a request is written, and so its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
    Grpc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

/// Answers one request of a connection.
pub(super) async fn answer(
    State((receiver, activity)): State<(Receiver, Arc<Activity>)>,
    request: Request,
) -> Response {
    let _under_way = activity.begin();
    let (head, mut body) = request.into_parts();
    let form = form(&head);
    let answer_as = form.unwrap_or(Form::Json);
    let signal = match answer_as {
        Form::Grpc => grpc::signal(head.uri.path()),
        Form::Protobuf | Form::Json => http::signal(head.uri.path()),
    };
    let outcome = handle(&receiver, &head, form, signal, &mut body).await;
    if let Some(signal) = signal {
        let word = match &outcome {
            Ok(kept) if kept.rejected > 0 => "partial",
            Ok(_) => "ok",
            Err(refusal) => refusal.answer(),
        };
        metrics::otlp_request(signal.name(), word);
    }
    if outcome.is_err() {
        discard(&receiver.gate, &head, &outcome, body).await;
    }
    match (answer_as, outcome, signal) {
        (Form::Grpc, Ok(kept), Some(signal)) => grpc::kept(signal, kept),
        (form, Ok(kept), Some(signal)) => http::kept(signal, kept, form),
        (Form::Grpc, Err(refusal), _) => grpc::refused(refusal),
        (form, Err(refusal), _) => http::refused(refusal, form),
        // What has no signal is refused above.
        (form, Ok(_), None) => http::refused(Refusal::new(Kind::NotFound, ""), form),
    }
}

async fn handle(
    receiver: &Receiver,
    head: &Parts,
    form: Option<Form>,
    signal: Option<Signal>,
    body: &mut Body,
) -> Result<Kept, Refusal> {
    if !receiver.access.allows(&head.headers) {
        // Not what was wrong: whoever may send knows it.
        return Err(Refusal::new(Kind::Unauthenticated, "not authenticated"));
    }
    let Some(signal) = signal else {
        return Err(Refusal::new(Kind::NotFound, "send OTLP to /v1/traces, /v1/metrics or /v1/logs, or over gRPC"));
    };
    if head.method != Method::POST {
        return Err(Refusal::new(Kind::NotPost, "only POST is allowed"));
    }
    let form = form.ok_or_else(|| {
        let message =
            "Content-Type must be application/x-protobuf or application/json, or over HTTP/2 application/grpc";
        Refusal::new(Kind::Unsupported, message)
    })?;
    let compression = compression(&head.headers, form)?;
    let gate = &receiver.gate;
    let Ok(reading) = gate.bodies.try_acquire() else { return Err(busy()) };
    let mut charge = gate.charge();
    let bytes = read(gate, body, &mut charge).await?;
    let (bytes, compression) = match form {
        Form::Grpc => grpc::message(bytes, compression)?,
        Form::Protobuf | Form::Json => (bytes, compression),
    };
    let Ok(_working) = gate.requests.try_acquire() else { return Err(busy()) };
    drop(reading);
    let small = if compression.is_some() { INLINE_PACKED_BYTES } else { INLINE_BYTES };
    let (export, flaws, _charge) = if bytes.len() <= small {
        decode(&*receiver.sink, gate.limits.request_bytes, signal, form, compression, &bytes, charge)?
    } else {
        // The semaphore is never closed.
        let decoding = Arc::clone(&gate.decoders).acquire_owned().await.map_err(|_| busy())?;
        let (sink, limit) = (Arc::clone(&receiver.sink), gate.limits.request_bytes);
        let work = move || {
            let _decoding = decoding;
            decode(&*sink, limit, signal, form, compression, &bytes, charge)
        };
        let worked = tokio::task::spawn_blocking(work).await;
        worked.map_err(|_| Refusal::malformed("the request can't be decoded"))??
    };
    receiver.sink.keep(export, flaws).await.map_err(|SinkError::Unavailable(message)| Refusal::unavailable(message))
}

fn busy() -> Refusal {
    Refusal::unavailable("too many requests at once")
}

fn form(head: &Parts) -> Option<Form> {
    let value = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Form::Protobuf),
        "application/json" => Some(Form::Json),
        // Its status comes behind the body, which HTTP/1.1 clients do not look at.
        "application/grpc" | "application/grpc+proto" if head.version >= Version::HTTP_2 => Some(Form::Grpc),
        _ => None,
    }
}

fn compression(headers: &HeaderMap, form: Form) -> Result<Option<Compression>, Refusal> {
    let name = match form {
        Form::Grpc => HeaderName::from_static("grpc-encoding"),
        Form::Protobuf | Form::Json => header::CONTENT_ENCODING,
    };
    let Some(value) = headers.get(&name) else { return Ok(None) };
    match value.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Ok(None),
        b"gzip" => Ok(Some(Compression::Gzip)),
        b"zstd" => Ok(Some(Compression::Zstd)),
        _ => Err(Refusal::new(Kind::Unsupported, format!("{name} must be gzip, zstd or none"))),
    }
}

/// Reads a body, as long as it keeps coming.
async fn read(gate: &Gate, body: &mut Body, charge: &mut Charge) -> Result<Bytes, Refusal> {
    let limits = &gate.limits;
    // A message of gRPC has five bytes in front of it.
    let most = limits.request_bytes.saturating_add(grpc::PREFIX_BYTES);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(Refusal::too_large(limits.request_bytes));
    }
    let late = || Refusal::unavailable("the body did not come in time");
    let end = Instant::now() + limits.body;
    let mut whole = BytesMut::new();
    loop {
        let pause_ends = Instant::now() + limits.body_pause;
        let frame = match timeout_at(end.min(pause_ends), body.frame()).await {
            Err(_) => return Err(late()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Refusal::malformed("the body ended early")),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(Refusal::too_large(limits.request_bytes));
        }
        charge.grow(data.len())?;
        if whole.is_empty() {
            whole.reserve(announced.min(INLINE_BYTES).max(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Gives the export, what is wrong with it, and what of the byte budget it holds.
fn decode(
    sink: &dyn Sink,
    limit: usize,
    signal: Signal,
    form: Form,
    compression: Option<Compression>,
    body: &Bytes,
    mut charge: Charge,
) -> Result<(Export, Flaws, Charge), Refusal> {
    let inflated;
    let plain: &[u8] = match compression {
        None => body,
        Some(compression) => {
            inflated = inflate(compression, limit, body, &mut charge)?;
            charge.shrink(body.len());
            &inflated
        }
    };
    if plain.len() > limit {
        return Err(Refusal::too_large(limit));
    }
    charge.grow(match form {
        Form::Json => weight::of_json(plain),
        Form::Protobuf | Form::Grpc => weight::of_protobuf(signal, plain),
    })?;
    let mut flaws = Flaws::default();
    let export = match (form, signal) {
        (Form::Json, _) => sink.decode_json(signal, plain, &mut flaws).map_err(Refusal::malformed)?,
        (_, Signal::Traces) => Export::Traces(protobuf(signal, plain, &mut flaws, &mut charge)?),
        (_, Signal::Metrics) => Export::Metrics(protobuf(signal, plain, &mut flaws, &mut charge)?),
        (_, Signal::Logs) => Export::Logs(protobuf(signal, plain, &mut flaws, &mut charge)?),
    };
    if !flaws.is_empty() {
        flaws.request = fingerprint([plain]);
    }
    charge.shrink(plain.len());
    Ok((export, flaws, charge))
}

/// Decodes a request, or what can be kept of it.
fn protobuf<T: Message + Default>(
    signal: Signal,
    plain: &[u8],
    flaws: &mut Flaws,
    charge: &mut Charge,
) -> Result<T, Refusal> {
    let error = match T::decode(plain) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    // Replacement characters are longer than what they stand for.
    let more = plain.len().saturating_mul(2);
    charge.grow(more)?;
    let mended = salvage::mended(signal, plain, flaws).ok_or_else(|| not_protobuf(error))?;
    let request = T::decode(mended.as_slice()).map_err(not_protobuf)?;
    charge.shrink(more);
    Ok(request)
}

fn inflate(compression: Compression, limit: usize, body: &[u8], charge: &mut Charge) -> Result<Vec<u8>, Refusal> {
    let (mut total, mut stopped) = (0_usize, None);
    let grow = |more: usize| {
        total = total.saturating_add(more);
        let room = if total > limit { Err(Refusal::too_large(limit)) } else { charge.grow(more) };
        stopped = room.err();
        stopped.is_none()
    };
    let plain = inflate_whole(body, compression == Compression::Zstd, grow);
    let plain = plain.map_err(|_| Refusal::malformed("the body is not compressed as it says"))?;
    plain.ok_or_else(|| stopped.unwrap_or_else(|| Refusal::too_large(limit)))
}

fn not_protobuf(error: prost::DecodeError) -> Refusal {
    Refusal::malformed(format!("the body is not an export request: {error}"))
}

/// Over HTTP/1.1 a connection with an unread body is closed, and the client may see that before it sees the answer.
async fn discard(gate: &Gate, head: &Parts, outcome: &Result<Kept, Refusal>, body: Body) {
    // HTTP/2 ends one stream. A client that waits for leave to send has sent nothing.
    if head.version >= Version::HTTP_2 || head.headers.contains_key(header::EXPECT) {
        return;
    }
    // Who may send is let finish a body that is a little too large, nobody else.
    let is_too_large = matches!(outcome, Err(Refusal { kind: Kind::TooLarge, .. }));
    let most = if is_too_large { 2 * gate.limits.request_bytes } else { DISCARD_BYTES };
    let rest = Limited::new(body, most).into_data_stream().try_for_each(|_| future::ok(()));
    let _ = timeout(DISCARD_TIME, rest).await;
}
