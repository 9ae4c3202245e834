//! Versions of what people edit: a hash of what it says, whatever the form of the file.

use std::fmt::Write;

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
    hex(&hasher.finalize())
}

/// SHA-256 of bytes, lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
