//! Versions of what people edit: a hash of what it says, whatever the form of the file.

use sha2::{Digest, Sha256};

/// Between fields; escaped inside them.
const SEPARATOR: char = '\u{1f}';

/// Fields as one line; different fields never make the same line.
#[must_use]
pub fn canonical_line(fields: &[&str]) -> String {
    let clean = |field: &&str| field.replace('\\', "\\\\").replace(SEPARATOR, "\\u").replace('\n', "\\n");
    fields.iter().map(clean).collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

/// SHA-256 over lines, lower-case hex.
#[must_use]
pub fn content_hash(lines: &[String]) -> String {
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hex::encode(hasher.finalize())
}

/// SHA-256 of bytes, lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
