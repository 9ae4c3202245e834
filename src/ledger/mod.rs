//! The settled tables: `observations` (the archive), `calls` (the ledger), `quarantine`, `provider_metrics`.
//!
//! Commit order of one settle: quarantine and metrics, then the archive (marks: journal sequence of each writer), then
//! the ledger (marks: archive version and horizon). What a mark says is in the table, whatever died in between.

mod archive;
mod calls;
mod tables;
mod view;

pub use archive::Archive;
pub use calls::{Calls, SLICE_US, SliceRows};
pub use tables::{LedgerError, SideTable};
pub use view::{View, with_day};
