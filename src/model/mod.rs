//! The vocabulary of polymeter: what a source says ([`Observation`]), what is settled from it ([`Call`]), and the
//! small types both are made of. Pure: no clock, no I/O, no engine; everything else may import it, it imports nothing.

mod call;
mod flaws;
mod id;
mod metric;
mod money;
mod normalized;
mod observation;
mod outcome;
mod pattern;
pub mod platform;
mod slice;
mod split;
mod time;
mod usage;

pub use call::{Call, CostStatus};
pub use flaws::{Flaws, readable};
pub use id::{RecordId, fingerprint};
pub use metric::ProviderMetric;
pub use money::{MONEY_PRECISION, MONEY_SCALE, Money};
pub use normalized::{Normalized, Quarantined, RecordRef, Reject, Rows, judge};
pub use observation::{Observation, Tags, Witness};
pub use outcome::Outcome;
pub use pattern::Pattern;
pub use slice::{Interval, SLICE_US, runs};
pub use split::{ShareSum, SplitError, UNALLOCATED, round_together, rounded, split};
pub use time::{HOUR_US, MINUTE_US, SECOND_US, Timestamp};
pub use usage::{Usage, UsageError, UsageStatus};
