//! The body of a request: bounded, and what is too large is read and thrown away.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use futures::{TryStreamExt, future};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
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
    match Limited::new(&mut body, MAX_BYTES).collect().await.map(Collected::to_bytes) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.is::<LengthLimitError>() => {
            // Slow or endless ones are cut off after all.
            let rest = Limited::new(body, DISCARD_BYTES).into_data_stream().try_for_each(|_| future::ok(()));
            let _ = timeout(DISCARD_TIME, rest).await;
            Err(too_large())
        }
        Err(_) => Err(invalid(StatusCode::BAD_REQUEST, "the body ended early")),
    }
}

fn too_large() -> ApiError {
    invalid(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB")
}

fn invalid(status: StatusCode, message: &str) -> ApiError {
    ApiError::new(status, "invalid_body", message)
}
