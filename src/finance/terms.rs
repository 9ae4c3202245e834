//! What a report needs to know beside the ledger.

use crate::attribution::SplitRule;
use crate::pricing::{Commitment, Exchange};

/// What holds for the reports of a store.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Version of the texts of prices and rules.
    pub version: String,
    /// Version of the price book with the bundled list: what it says, whatever its files look like.
    pub prices_version: String,
    /// What turns sums into another currency.
    pub exchange: Exchange,
    /// How shared cost is split.
    pub splits: Vec<SplitRule>,
    /// Capacity that is paid by the hour.
    pub commitments: Vec<Commitment>,
    /// Currency of reports that name none.
    pub currency: Option<String>,
}
