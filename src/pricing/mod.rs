//! What a call costs: dated rates, looked up by platform, model, scope, tier, mode, bucket and context, multiplied
//! exactly. A bucket without a rate stays without a cost: nothing is ever borrowed from another platform, scope, tier,
//! date or bucket, and an unknown price is never 0. Pure: no clock, no I/O, no float.
//!
//! - **Layers.** For each bucket of a call: a contract's price, else the list price times a contract's factor, else the
//!   list price; of list prices the operator's before the bundled. List cost always comes from the lists, cost from the
//!   contract: both are kept ([`Priced`], [`Contract`]).
//! - **Choice of a list row.** Layer, then the most exact scope, then the larger context threshold that was passed, then
//!   the later start, then the later recorded. A later row so ends an earlier open one, and rows are never edited.
//! - **Buckets** are disjoint: fresh input, cache reads, cache writes by time to live, audio and images; reasoning is
//!   inside output ([`disjoint`]). A threshold is passed by strictly more input tokens, cached ones included, and then
//!   holds for the whole request.
//! - **Rounding.** None per call: a price of one unit has at most twelve fraction digits, every product and sum is exact
//!   or refused. Only totals of reports are rounded, once, half to even.
//! - **Currency.** Of a row, so of its cost; never added to another. Reports convert sums by a named rate ([`Exchange`]).
//! - **Capacity** paid by the hour has rows of its own and no price per call ([`Commitment`]).
//! - **Files** that finance edits: [`read_file`], [`assemble`]; what they say is versioned by [`PriceBook::version`].

mod book;
mod commitment;
mod contract;
mod diff;
mod exchange;
mod explain;
mod explain_json;
mod import;
mod key;
mod list;
mod price;
mod rate;
mod read;
mod under;
mod version;
mod what_if;

#[cfg(test)]
mod allocation_cases;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use book::PriceBook;
pub use commitment::{Commitment, HourCost, HourShare, UNUSED, Unused, Weights, share_out};
pub use contract::{Contract, Terms};
pub use diff::{Added, BookDiff, Changed, ContractChange, Ended, contract_line, diff, one_line, overridden};
pub use exchange::{Converted, Exchange, ExchangeRate};
pub use explain::{Difference, ExplainedLine, Key, NearRate, PriceExplained, Unpriced};
pub use import::{CatalogueKind, ImportError, Imported, NamedModel, NewRows, import_catalogue, new_rows};
pub use key::{Bucket, Layer, Mode, RateScope};
pub use price::{CostLine, PriceQuery, Priced, disjoint};
pub use rate::{PriceError, Rate};
pub use read::{COLUMNS, Located, PriceFile, Prices, Reading, assemble, read_file, write_csv};
pub use under::{Under, UnderError};
pub use what_if::{Assumed, Elsewhere, NotComparable, WhatIf};
