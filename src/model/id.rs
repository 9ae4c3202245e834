//! Identifiers derived from content: the same record gives the same id wherever and whenever it is read.

use std::fmt;

use sha2::{Digest, Sha256};

/// 128 bits that identify one record or one call; lower-case hex text at every surface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub [u8; 16]);

impl RecordId {
    /// Parses 32 hex digits of any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 32 {
            return None;
        }
        let mut id = [0_u8; 16];
        for (slot, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
            let text = std::str::from_utf8(pair).ok()?;
            *slot = u8::from_str_radix(text, 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes the parts that make a record unique. Parts are length-prefixed, so `("ab", "c")` and `("a", "bc")` differ.
#[must_use]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> RecordId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut id = [0_u8; 16];
    id.iter_mut().zip(digest).for_each(|(slot, byte)| *slot = byte);
    RecordId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_text_survives_a_round_trip() {
        let id = fingerprint([b"a".as_slice(), b"bc"]);
        assert_eq!(RecordId::parse(&id.to_string()), Some(id));
        assert_ne!(id, fingerprint([b"ab".as_slice(), b"c"]));
        assert_eq!(RecordId::parse("zz"), None);
    }
}
