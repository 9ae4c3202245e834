//! The settled tables: `observations` (the archive), `calls` (the ledger), `quarantine`, `provider_metrics`.
//!
//! Commit order of one settle: quarantine and metrics, then the archive, then the ledger; each commit carries the journal
//! sequence of every writer that it covers. What a mark says is in the table, whatever died in between, and what the
//! ledger does not cover yet is still in the journal.

mod archive;
mod arrange;
mod bills;
mod calls;
mod format;
mod pins;
mod tables;
mod upkeep;
mod view;

pub use archive::Archive;
pub use bills::{BillAbout, BillImport, Bills, Covered, PRICE_SCALE, newest};
pub use calls::{Basis, Calls};
pub use format::{FORMAT, check_format, mark_format};
pub use pins::{Pin, Pins};
pub use tables::{LedgerError, SideTable};
pub use upkeep::{Retention, UpkeepReport, upkeep_archive, upkeep_calls, upkeep_log};
pub use view::{View, with_day, with_day_schema};
