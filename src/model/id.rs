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
        let mut id = [0_u8; 16];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 32];
        hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
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
