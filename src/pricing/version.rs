//! The version of a price book: a hash of what it says, whatever the order or form of its files.

use super::book::PriceBook;
use super::contract::{Contract, Terms};
use super::rate::Rate;
use crate::model::{Pattern, Timestamp};
use crate::sheet::{canonical_line as joined, content_hash};

impl PriceBook {
    /// SHA-256, lower-case hex, over the canonical form of all rows and contracts: one line for each, sorted, amounts
    /// without trailing zeros, instants in UTC. Two books with the same version price every call alike, and name the same
    /// provenance.
    #[must_use]
    pub fn version(&self) -> String {
        let mut lines: Vec<String> = self.rates().map(rate_line).chain(self.contracts().map(contract_line)).collect();
        lines.sort_unstable();
        content_hash(&lines)
    }
}

impl Rate {
    /// A hash of what the row says, without its id, where it stands and when it became known: an unchanged row of an edited
    /// file has the same.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let row_id =
            if self.row_id == self.derived_id(self.layer.as_str()) { String::new() } else { self.row_id.clone() };
        content_hash(&[rate_line(&Self {
            row_id,
            recorded_at: Timestamp::default(),
            source_ref: String::new(),
            ..self.clone()
        })])
    }
}

impl Contract {
    /// A hash of what the row says, without its id, where it stands and when it became known.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let row_id = if self.row_id == self.derived_id() { String::new() } else { self.row_id.clone() };
        content_hash(&[contract_line(&Self {
            row_id,
            recorded_at: Timestamp::default(),
            source_ref: String::new(),
            ..self.clone()
        })])
    }
}

fn rate_line(rate: &Rate) -> String {
    let over = rate.context_over.map(|over| over.to_string()).unwrap_or_default();
    joined(&[
        "rate",
        &rate.row_id,
        rate.layer.as_str(),
        &rate.platform,
        &rate.model,
        rate.snapshot.as_deref().unwrap_or_default(),
        &rate.scope.to_string(),
        &rate.tier,
        rate.mode.as_str(),
        rate.bucket.as_str(),
        &over,
        &rate.per.normalize().to_string(),
        &rate.amount.normalize().to_string(),
        &rate.currency,
        &instant(rate.valid_from),
        &instant(rate.valid_to),
        &rate.recorded_at.to_string(),
        &rate.source,
        &rate.source_ref,
        &rate.note,
    ])
}

fn contract_line(contract: &Contract) -> String {
    let pattern = |pattern: &Option<Pattern>| pattern.as_ref().map(|p| format!("={p}")).unwrap_or_default();
    let terms = match &contract.terms {
        Terms::Multiplier(factor) => joined(&["factor", &factor.normalize().to_string()]),
        Terms::Rate { bucket, amount, per, currency } => {
            joined(&[bucket.as_str(), &amount.normalize().to_string(), &per.normalize().to_string(), currency])
        }
    };
    joined(&[
        "contract",
        &contract.row_id,
        &contract.contract_id,
        &terms,
        &contract.platform,
        &pattern(&contract.account),
        &pattern(&contract.model),
        &contract.scope.to_string(),
        contract.tier.as_deref().unwrap_or_default(),
        contract.mode.map(super::Mode::as_str).unwrap_or_default(),
        &instant(contract.valid_from),
        &instant(contract.valid_to),
        &contract.recorded_at.to_string(),
        &contract.source,
        &contract.source_ref,
        &contract.note,
    ])
}

fn instant(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}
