//! The form of a journal object: magic, header (JSON), positions, one Arrow IPC stream per kind of row, SHA-256 of all
//! before.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Positions;
use super::positions::Carried;
use crate::columns::{ColumnError, Row};
use crate::model::Rows;

const MAGIC: &[u8; 8] = b"PMJRNL02";
/// The first format: every object carried all positions, each as one text.
const MAGIC_1: &[u8; 8] = b"PMJRNL01";
/// What the name of every format starts with.
const MAGIC_ANY: &[u8] = b"PMJRNL";
/// Length of the checksum at the end.
pub(super) const CHECKSUM_LEN: usize = 32;
/// Level of compression of positions: object keys repeat each other.
const POSITIONS_LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
struct Header {
    writer: String,
    sequence: u64,
    /// The positions are all there are, not changes.
    complete: bool,
    /// Older objects that are needed to know all positions.
    needs: Vec<u64>,
    /// Bytes of the sections: positions (JSON, zstd), observations, provider_metrics, quarantine (Arrow IPC).
    sections: [u64; 4],
}

#[derive(Deserialize)]
struct Header1 {
    writer: String,
    sequence: u64,
    positions: BTreeMap<String, String>,
    sections: [u64; 3],
}

/// What one journal object holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalObject {
    /// Who wrote it.
    pub writer: String,
    /// Its number.
    pub sequence: u64,
    /// What it says of positions.
    pub(super) carried: Carried,
    /// Rows of this commit.
    pub rows: Rows,
}

impl JournalObject {
    /// The bytes of the object.
    ///
    /// # Errors
    /// A kind of row can't be stored as columns.
    pub fn encode(&self) -> Result<Vec<u8>, ColumnError> {
        let positions = if self.carried.positions.is_empty() {
            Vec::new()
        } else {
            let json = serde_json::to_vec(&self.carried.positions).unwrap_or_default();
            zstd::encode_all(json.as_slice(), POSITIONS_LEVEL).map_err(|error| ColumnError::Arrow(error.into()))?
        };
        let sections = [
            positions,
            section(&self.rows.observations, Arc::as_ref)?,
            section(&self.rows.metrics, |row| row)?,
            section(&self.rows.quarantined, |row| row)?,
        ];
        let header = Header {
            writer: self.writer.clone(),
            sequence: self.sequence,
            complete: self.carried.complete,
            needs: self.carried.needs.clone(),
            sections: sections.each_ref().map(|section| u64::try_from(section.len()).unwrap_or(u64::MAX)),
        };
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let mut bytes = Vec::with_capacity(header.len() + sections.iter().map(Vec::len).sum::<usize>() + 64);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&header);
        sections.iter().for_each(|section| bytes.extend_from_slice(section));
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(bytes)
    }

    /// Whether the object is whole but of a format that this program does not know.
    #[must_use]
    pub fn is_newer(bytes: &[u8]) -> bool {
        let parts = bytes.len().checked_sub(CHECKSUM_LEN).and_then(|length| bytes.split_at_checked(length));
        parts.is_some_and(|(body, checksum)| {
            let known = body.starts_with(MAGIC) || body.starts_with(MAGIC_1);
            body.starts_with(MAGIC_ANY) && !known && Sha256::digest(body).as_slice() == checksum
        })
    }

    /// Reads an object back.
    ///
    /// # Errors
    /// A description of what is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let body_len = bytes.len().checked_sub(CHECKSUM_LEN).ok_or("too short")?;
        let (body, checksum) = bytes.split_at_checked(body_len).ok_or("too short")?;
        if Sha256::digest(body).as_slice() != checksum {
            return Err("checksum does not match".to_owned());
        }
        if let Some(rest) = body.strip_prefix(MAGIC_1) {
            return Self::decode_1(rest);
        }
        let rest = body.strip_prefix(MAGIC).ok_or("not a journal object")?;
        let (header, rest) = split_header(rest)?;
        let header: Header = serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
        let [positions, observations, metrics, quarantined] = split_sections(rest, header.sections)?;
        let positions = if positions.is_empty() {
            Positions::default()
        } else {
            let json = zstd::decode_all(positions).map_err(|error| format!("positions: {error}"))?;
            serde_json::from_slice(&json).map_err(|error| format!("positions: {error}"))?
        };
        Ok(Self {
            writer: header.writer,
            sequence: header.sequence,
            carried: Carried { complete: header.complete, positions, needs: header.needs },
            rows: all_rows(observations, metrics, quarantined)?,
        })
    }

    fn decode_1(rest: &[u8]) -> Result<Self, String> {
        let (header, rest) = split_header(rest)?;
        let header: Header1 = serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
        let [observations, metrics, quarantined] = split_sections(rest, header.sections)?;
        Ok(Self {
            writer: header.writer,
            sequence: header.sequence,
            carried: Carried { complete: true, positions: positions_1(&header.positions), needs: Vec::new() },
            rows: all_rows(observations, metrics, quarantined)?,
        })
    }
}

/// The first format held `{"objects": {key: entry}}` as the text of a source.
fn positions_1(texts: &BTreeMap<String, String>) -> Positions {
    #[derive(Deserialize)]
    struct Objects {
        objects: BTreeMap<String, serde_json::Value>,
    }
    let mut positions = Positions::default();
    for (source, text) in texts {
        let objects = serde_json::from_str::<Objects>(text).map(|read| read.objects).unwrap_or_default();
        for (key, entry) in objects {
            positions.set(source, &key, entry.to_string());
        }
    }
    positions
}

fn split_header(rest: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (length, rest) = rest.split_first_chunk::<4>().ok_or("no header")?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| "header too long")?;
    Ok(rest.split_at_checked(length).ok_or("header cut")?)
}

fn split_sections<const N: usize>(mut rest: &[u8], lengths: [u64; N]) -> Result<[&[u8]; N], String> {
    let mut sections = [rest; N];
    for (section, length) in sections.iter_mut().zip(lengths) {
        let length = usize::try_from(length).map_err(|_| "section too long")?;
        (*section, rest) = rest.split_at_checked(length).ok_or("section cut")?;
    }
    Ok(sections)
}

fn all_rows(observations: &[u8], metrics: &[u8], quarantined: &[u8]) -> Result<Rows, String> {
    let observations = rows(observations)?.into_iter().map(Arc::new).collect();
    Ok(Rows { observations, metrics: rows(metrics)?, quarantined: rows(quarantined)? })
}

fn section<T, R: Row>(rows: &[T], row: fn(&T) -> &R) -> Result<Vec<u8>, ColumnError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let batch = R::encode(rows.iter().map(row))?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn rows<R: Row>(section: &[u8]) -> Result<Vec<R>, String> {
    if section.is_empty() {
        return Ok(Vec::new());
    }
    let reader = StreamReader::try_new(Cursor::new(section), None).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        rows.append(&mut R::decode(&batch).map_err(|error| error.to_string())?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Observation, Quarantined};

    fn positions() -> Positions {
        let mut positions = Positions::default();
        positions.set("s", "k", "{}".to_owned());
        positions
    }

    fn sample() -> JournalObject {
        JournalObject {
            writer: "w".into(),
            sequence: 4,
            carried: Carried { complete: true, positions: positions(), needs: vec![1, 2] },
            rows: Rows {
                observations: vec![Arc::new(Observation::default())],
                quarantined: vec![Quarantined::default()],
                ..Rows::default()
            },
        }
    }

    #[test]
    fn an_object_survives_a_round_trip() {
        let bytes = sample().encode().unwrap();
        assert_eq!(JournalObject::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = sample().encode().unwrap();
        assert!(!JournalObject::is_newer(&bytes));
        let body = bytes.len() - CHECKSUM_LEN;
        bytes[..8].copy_from_slice(b"PMJRNL99");
        assert!(!JournalObject::is_newer(&bytes));
        let checksum = Sha256::digest(&bytes[..body]);
        bytes[body..].copy_from_slice(&checksum);
        assert!(JournalObject::is_newer(&bytes));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let bytes = sample().encode().unwrap();
        for cut in 0..bytes.len() {
            assert!(JournalObject::decode(&bytes[..cut]).is_err());
        }
        for index in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert!(JournalObject::decode(&damaged).is_err());
        }
    }
}
