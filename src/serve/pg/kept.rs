//! What a connection has the server keep for it: prepared statements, and parameters bound to them.

use std::collections::BTreeMap;

use pgwire::error::PgWireError;
use pgwire::messages::PgWireFrontendMessage;

use super::failure::failure;

/// Names of a connection at most.
const NAMES: usize = 1_000;
/// Bytes of their texts and parameters.
const BYTES: usize = 16 << 20;

/// Bytes by what they are kept as.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<(u8, String), usize>);

const STATEMENT: u8 = b'S';
const PORTAL: u8 = b'P';

impl Kept {
    /// Counts what a message has the server keep.
    ///
    /// # Errors
    /// It would be too much.
    pub fn count(&mut self, message: &PgWireFrontendMessage) -> Result<(), PgWireError> {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        match message {
            PgWireFrontendMessage::Parse(parse) => self.add((STATEMENT, name(&parse.name)), parse.query.len()),
            PgWireFrontendMessage::Bind(bind) => {
                let bytes = bind.parameters.iter().flatten().map(bytes::Bytes::len).sum();
                self.add((PORTAL, name(&bind.portal_name)), bytes)
            }
            PgWireFrontendMessage::Close(close) => {
                self.0.remove(&(close.target_type, name(&close.name)));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Portals end with their transaction.
    pub fn end_portals(&mut self) {
        self.0.retain(|(kind, _), _| *kind != PORTAL);
    }

    fn add(&mut self, key: (u8, String), bytes: usize) -> Result<(), PgWireError> {
        self.0.insert(key, bytes);
        if self.0.len() > NAMES || self.0.values().fold(0, |sum: usize, bytes| sum.saturating_add(*bytes)) > BYTES {
            let what = "the connection keeps too many statements, or too large parameters";
            return Err(failure("53200", what.to_owned(), "close what is not needed any more"));
        }
        Ok(())
    }
}
