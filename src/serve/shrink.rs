//! zstd or gzip for answers that are worth it, where the client takes them. What is whole is compressed on a thread of its
//! own; what goes out as it comes is compressed as it comes.

use std::io::{self, Write};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use futures::stream::try_unfold;
use zstd::stream::write::Encoder as ZstdEncoder;

/// Smaller answers fit a packet or two anyway.
const LEAST: u64 = 1_400;
/// Fast, and still half of what gzip makes.
const ZSTD_LEVEL: i32 = 1;

/// Compresses text.
pub async fn shrink(request: Request, next: Next) -> Response {
    let coding = Coding::wanted(request.headers());
    let mut response = next.run(request).await;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let text = kind.starts_with("text/") || kind.contains("json") || kind.contains("javascript");
    if !text || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding else { return response };
    let (mut parts, body) = response.into_parts();
    let size = body.size_hint().exact();
    if size.is_some_and(|bytes| bytes < LEAST) {
        return Response::from_parts(parts, body);
    }
    let compressed = match size {
        Some(_) => whole(coding, body).await,
        None => passing(coding, body),
    };
    // Half an answer would look like one.
    let body =
        compressed.unwrap_or_else(|error| Body::from_stream(futures::stream::once(async { Err::<Bytes, _>(error) })));
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

async fn whole(coding: Coding, body: Body) -> io::Result<Body> {
    let bytes = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let compressed = tokio::task::spawn_blocking(move || {
        let mut encoder = Encoder::new(coding)?;
        encoder.write(&bytes)?;
        encoder.finish()
    });
    Ok(Body::from(compressed.await.map_err(io::Error::other)??))
}

fn passing(coding: Coding, body: Body) -> io::Result<Body> {
    let state = (body.into_data_stream(), Some(Encoder::new(coding)?));
    Ok(Body::from_stream(try_unfold(state, |(mut pieces, mut encoder)| async move {
        while let Some(open) = &mut encoder {
            let bytes = match pieces.next().await {
                Some(piece) => {
                    open.write(&piece.map_err(io::Error::other)?)?;
                    open.taken()
                }
                None => encoder.take().map_or_else(|| Ok(Vec::new()), Encoder::finish)?,
            };
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), (pieces, encoder))));
            }
        }
        Ok::<_, io::Error>(None)
    })))
}

enum Encoder {
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => Self::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    fn taken(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The best one that the client takes.
    fn wanted(headers: &HeaderMap) -> Option<Self> {
        let accepted: Vec<&str> =
            headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
        let takes = |coding: &Self| {
            accepted.iter().flat_map(|value| value.split(',')).any(|part| {
                let (name, weight) = part.split_once(';').map_or((part, ""), |(name, weight)| (name, weight.trim()));
                let refused = matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
                name.trim().eq_ignore_ascii_case(coding.name()) && !refused
            })
        };
        [Self::Zstd, Self::Gzip].into_iter().find(takes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_best_that_the_client_takes() {
        let wanted = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            Coding::wanted(&headers)
        };
        for (header, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("br, GZIP;q=0.5", Some(Coding::Gzip)),
            ("gzip, zstd", Some(Coding::Zstd)),
            ("zstd;q=0, gzip", Some(Coding::Gzip)),
            ("br", None),
            ("gzip;q=0", None),
            ("identity", None),
        ] {
            assert_eq!(wanted(header), coding, "{header}");
        }
        assert_eq!(Coding::wanted(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn what_passes_comes_out_as_it_went_in() {
        let pieces: Vec<Bytes> = (0..500).map(|n| Bytes::from(format!("row {n}, ").repeat(40))).collect();
        let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
        for coding in [Coding::Zstd, Coding::Gzip] {
            let stream = futures::stream::iter(pieces.clone()).map(Ok::<_, io::Error>);
            let body = passing(coding, Body::from_stream(stream)).unwrap();
            let packed = to_bytes(body, usize::MAX).await.unwrap();
            assert!(packed.len() * 4 < expected.len(), "{coding:?}");
            let mut text = Vec::new();
            match coding {
                Coding::Zstd => text = zstd::decode_all(&packed[..]).unwrap(),
                Coding::Gzip => {
                    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
                }
            }
            assert!(text == expected, "{coding:?}");
        }
    }
}
