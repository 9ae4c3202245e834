//! Tags of contents, so that what a client has already is not sent again.

use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;
use sha2::{Digest, Sha256};

/// Names a content.
pub fn etag(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    format!("\"{}\"", hex::encode(sum.get(..8).unwrap_or_default()))
}

/// Whether the client has this content already. A cache may have made the tag weak.
pub fn known(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = strong(etag);
    given.flat_map(|value| value.split(',')).map(strong).any(|tag| tag == "*" || tag == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_of_the_content() {
        assert_eq!(etag(b""), "\"e3b0c44298fc1c14\"");
        let asked = |tag: &'static str| HeaderMap::from_iter([(IF_NONE_MATCH, tag.parse().unwrap())]);
        assert!(known(&asked("\"a\", W/\"b\""), "\"b\"") && known(&asked("\"b\""), "W/\"b\""));
        assert!(!known(&asked("\"a\""), "\"b\"") && !known(&HeaderMap::new(), "\"b\""));
    }
}
