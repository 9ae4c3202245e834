//! The journal: a log of small immutable objects in front of everything.
//!
//! Guarantee: [`Journal::append`] returns `Ok` only after the rows and positions are in one durable object,
//! `journal/<writer>/<sequence>.pmj`, created with create-only semantics. A commit whose outcome is unknown is retried
//! under the same sequence number: there with our checksum means committed, there with another means that a second
//! process claims this writer, and this one stops. Rows and source positions lie in the same object, so they can't
//! disagree. Objects are removed only by [`trim`], behind durable Delta files, and never the newest of a writer nor one
//! that holds positions which are still needed.

mod encode;
mod follow;
mod inspect;
mod positions;
mod read;
mod trim;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use encode::JournalObject;
pub use follow::Follower;
pub use inspect::{ObjectSummary, WriterSummary, inspect, inspect_object};
pub use positions::Positions;
pub use read::{Missing, heads, make_durable, read_tail, writers};
pub use trim::trim;
pub use writer::Journal;

use crate::model::Rows;

/// A sequence number of each writer.
pub type Tail = BTreeMap<String, u64>;

/// One durable group commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Who wrote it.
    pub writer: Arc<str>,
    /// Sequence number, from 1 up without gaps per writer.
    pub sequence: u64,
    /// What it carries.
    pub rows: Arc<Rows>,
}

/// Why the journal can't take or give rows.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store refused or did not answer; the caller may try again.
    #[error("journal object {object} can't be written or read")]
    Store {
        /// Which object.
        object: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// Another process writes under the same writer id.
    #[error("journal writer '{writer}' is in use by another process (object {sequence} is not ours)")]
    Foreign {
        /// Which writer.
        writer: String,
        /// Which object.
        sequence: u64,
    },
    /// An object was written by a newer program.
    #[error("journal object {object} was written by a newer polymeter: use that version or a newer one")]
    Newer {
        /// Which object.
        object: String,
    },
    /// Objects are gone that were not read yet: somebody else settled and trimmed them.
    #[error("journal objects of '{writer}' from {sequence} on are gone")]
    Gap {
        /// Which writer.
        writer: String,
        /// The first that is missing.
        sequence: u64,
    },
    /// More waits than the memory for it allows; the caller should try again later.
    #[error("too much waits for the journal")]
    Busy,
    /// Rows can't be encoded.
    #[error("rows can't be encoded")]
    Encode(#[from] crate::columns::ColumnError),
    /// The journal has stopped, after a foreign writer or at shutdown.
    #[error("the journal has stopped")]
    Stopped,
}

/// The highest number of each writer among these.
#[must_use]
pub fn highest(commits: &[Commit]) -> Tail {
    let mut highest = Tail::new();
    for commit in commits {
        let mark = highest.entry(commit.writer.to_string()).or_default();
        *mark = (*mark).max(commit.sequence);
    }
    highest
}

/// Folder of the journal below the data location.
const FOLDER: &str = "journal";

fn object_name(writer: &str, sequence: u64) -> String {
    format!("{FOLDER}/{writer}/{sequence:020}.pmj")
}
