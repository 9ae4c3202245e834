//! The form of a journal object: magic, header (JSON), one Arrow IPC stream per kind of row, SHA-256 of all before.

use std::io::Cursor;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Positions;
use crate::columns::{ColumnError, Row};
use crate::model::Rows;

const MAGIC: &[u8; 8] = b"PMJRNL01";
const CHECKSUM_LEN: usize = 32;

#[derive(Serialize, Deserialize)]
struct Header {
    writer: String,
    sequence: u64,
    positions: Positions,
    /// Bytes of the sections: observations, provider_metrics, quarantine.
    sections: [u64; 3],
}

/// What one journal object holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalObject {
    /// Who wrote it.
    pub writer: String,
    /// Its number.
    pub sequence: u64,
    /// Newest position of every source of this writer.
    pub positions: Positions,
    /// Rows of this commit.
    pub rows: Rows,
}

impl JournalObject {
    /// The bytes of the object.
    ///
    /// # Errors
    /// A kind of row can't be stored as columns.
    pub fn encode(&self) -> Result<Vec<u8>, ColumnError> {
        let sections =
            [section(&self.rows.observations)?, section(&self.rows.metrics)?, section(&self.rows.quarantined)?];
        let header = Header {
            writer: self.writer.clone(),
            sequence: self.sequence,
            positions: self.positions.clone(),
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
        let rest = body.strip_prefix(MAGIC).ok_or("not a journal object")?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or("no header")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| "header too long")?;
        let (header, mut rest) = rest.split_at_checked(length).ok_or("header cut")?;
        let header: Header = serde_json::from_slice(header).map_err(|error| format!("header: {error}"))?;
        let mut parts = header.sections.iter().map(|length| {
            let length = usize::try_from(*length).map_err(|_| "section too long".to_owned())?;
            let (section, after) = rest.split_at_checked(length).ok_or("section cut")?;
            rest = after;
            Ok::<_, String>(section)
        });
        let mut next = || parts.next().ok_or_else(|| "section missing".to_owned())?;
        let rows = Rows { observations: rows(next()?)?, metrics: rows(next()?)?, quarantined: rows(next()?)? };
        Ok(Self { writer: header.writer, sequence: header.sequence, positions: header.positions, rows })
    }
}

fn section<R: Row>(rows: &[R]) -> Result<Vec<u8>, ColumnError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let batch = R::encode(rows.iter())?;
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

    fn sample() -> JournalObject {
        JournalObject {
            writer: "w".into(),
            sequence: 4,
            positions: [("s".to_owned(), "{}".to_owned())].into(),
            rows: Rows {
                observations: vec![Observation::default()],
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
