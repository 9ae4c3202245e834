//! The body of a request: bounded, and what is too large is read and thrown away.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::ApiError;

/// Bytes of a body.
const MAX_BYTES: usize = 1 << 20;
/// What is read and thrown away of a larger one. A connection with an unread body is closed, and the sender may see that
/// before it sees the answer.
const DISCARD_BYTES: usize = 16 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// All of a body.
pub async fn whole(headers: &HeaderMap, mut body: Body) -> Result<Bytes, ApiError> {
    // Who waits for leave to send has sent nothing.
    let waits = headers.contains_key(header::EXPECT);
    if waits && usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > MAX_BYTES) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| invalid(StatusCode::BAD_REQUEST, "the body ended early"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_BYTES {
            // Slow or endless ones are cut off after all.
            let _ = timeout(DISCARD_TIME, discard(body)).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

async fn discard(mut body: Body) {
    let mut left = DISCARD_BYTES;
    while left > 0
        && let Some(Ok(frame)) = body.frame().await
    {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

fn too_large() -> ApiError {
    invalid(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB")
}

fn invalid(status: StatusCode, message: &str) -> ApiError {
    ApiError::new(status, "invalid_body", message)
}
