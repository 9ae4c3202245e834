//! What was agreed with a provider: prices of its own, or a factor on the list price. A contract is for a platform and,
//! optionally, billing accounts, models, scope, tier and mode, for a time.
//!
//! Which one holds for a bucket of a call:
//! 1. A price (`rate`) for the bucket; no factor comes on top of it.
//! 2. Otherwise a factor (`multiplier`) on the list price. Factors never compound.
//! 3. Of several the most specific: one for exactly this model before one for a pattern of models before one for all; then
//!    one for exactly this account before a pattern; then one with a scope, a tier, a mode.
//! 4. Rows of one contract id amend each other: the later start wins, then the later recorded. Two *different* contracts
//!    that are equally specific and can hold for the same call at the same time are refused when they are loaded.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::key::{Bucket, Layer, Mode, RateScope};
use super::rate::{PriceError, short, unit_price};
use crate::model::{Pattern, Timestamp};

/// The largest factor; a larger one is a slip.
const MAX_FACTOR: Decimal = Decimal::TEN;
/// With more fraction digits its product with a price and a count might not be exact.
pub(super) const MAX_FACTOR_DIGITS: u32 = 10;

/// What a contract row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terms {
    /// List price times this; above 1 for a negotiated premium or a reseller's margin.
    Multiplier(Decimal),
    /// A price.
    Rate {
        /// For what.
        bucket: Bucket,
        /// Price of `per` units.
        amount: Decimal,
        /// So many units.
        per: Decimal,
        /// ISO 4217.
        currency: String,
    },
}

/// One dated row of a contract. Rows are never edited: a change is a new row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Identity of the row; named by every cost computed from it.
    pub row_id: String,
    /// The contract; its rows amend each other.
    pub contract_id: String,
    /// Price or factor.
    pub terms: Terms,
    /// Who bills.
    pub platform: String,
    /// Billing accounts; `None` for all calls, also those whose account is not known.
    pub account: Option<Pattern>,
    /// Canonical models; `None` for all.
    pub model: Option<Pattern>,
    /// Where the call may run; `Any` for everywhere.
    pub scope: RateScope,
    /// Tier as served; `None` for all.
    pub tier: Option<String>,
    /// Sync or batch; `None` for all.
    pub mode: Option<Mode>,
    /// First instant of its validity; `None` for ever before.
    pub valid_from: Option<Timestamp>,
    /// First instant after its validity; `None` for ever after.
    pub valid_to: Option<Timestamp>,
    /// When it became known.
    pub recorded_at: Timestamp,
    /// Where it comes from: the paper.
    pub source: String,
    /// Which page; who entered it.
    pub source_ref: String,
    /// Why, in the words of who entered it.
    pub note: String,
}

impl Contract {
    /// The bucket that it has a price for; `None` for a factor.
    #[must_use]
    pub const fn bucket(&self) -> Option<Bucket> {
        match &self.terms {
            Terms::Rate { bucket, .. } => Some(*bucket),
            Terms::Multiplier(_) => None,
        }
    }

    /// Which layer it is.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        match &self.terms {
            Terms::Rate { .. } => Layer::ContractRate,
            Terms::Multiplier(_) => Layer::ContractMultiplier,
        }
    }

    /// The identity of a row that has none of its own.
    #[must_use]
    pub fn derived_id(&self) -> String {
        let what = self.bucket().map_or("factor", Bucket::as_str);
        let start = self.valid_from.map_or_else(|| "start".to_owned(), short);
        format!("contract:{}:{what}:{start}:r{}", self.contract_id, short(self.recorded_at))
    }

    /// True if the row is about calls at this instant.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| at >= from) && self.valid_to.is_none_or(|to| at < to)
    }

    /// How specific it is, and so how early it is asked.
    fn specificity(&self) -> (u8, bool, bool, bool, bool) {
        let model = self.model.as_ref().map_or(0, |model| if model.is_exact() { 2 } else { 1 });
        let account = self.account.as_ref().is_some_and(Pattern::is_exact);
        (model, account, self.scope != RateScope::Any, self.tier.is_some(), self.mode.is_some())
    }

    /// True if some call can be meant by both at the same time, and neither is more specific.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let both = |a: &Option<Pattern>, b: &Option<Pattern>| match (a, b) {
            (Some(a), Some(b)) => a.overlaps(b),
            _ => true,
        };
        let starts_before = |from: Option<Timestamp>, to: Option<Timestamp>| match (from, to) {
            (Some(from), Some(to)) => from < to,
            _ => true,
        };
        self.contract_id != other.contract_id
            && self.bucket() == other.bucket()
            && self.platform == other.platform
            && self.specificity() == other.specificity()
            && both(&self.account, &other.account)
            && both(&self.model, &other.model)
            && self.scope.overlaps(&other.scope)
            && (self.tier.is_none() || other.tier.is_none() || self.tier == other.tier)
            && (self.mode.is_none() || other.mode.is_none() || self.mode == other.mode)
            && starts_before(self.valid_from, other.valid_to)
            && starts_before(other.valid_from, self.valid_to)
    }

    fn check(&self) -> Result<(), PriceError> {
        let invalid = |field| PriceError::Field { row: self.row_id.clone(), field };
        if self.contract_id.is_empty() || self.row_id.is_empty() {
            return Err(invalid("contract_id"));
        }
        if self.platform.is_empty() {
            return Err(invalid("platform"));
        }
        if let (Some(from), Some(to)) = (self.valid_from, self.valid_to)
            && to <= from
        {
            return Err(PriceError::EmptyPeriod(self.row_id.clone()));
        }
        match &self.terms {
            Terms::Multiplier(factor) if *factor <= Decimal::ZERO || *factor > MAX_FACTOR => {
                Err(PriceError::Factor(self.row_id.clone()))
            }
            Terms::Multiplier(factor) if factor.normalize().scale() > MAX_FACTOR_DIGITS => {
                Err(PriceError::TooFine(self.row_id.clone()))
            }
            Terms::Rate { per, .. } if *per <= Decimal::ZERO => Err(invalid("per")),
            Terms::Rate { amount, .. } if *amount < Decimal::ZERO => Err(invalid("amount")),
            Terms::Rate { currency, .. }
                if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) =>
            {
                Err(invalid("currency"))
            }
            Terms::Multiplier(_) | Terms::Rate { .. } => Ok(()),
        }
    }
}

/// A price or factor, ready to multiply with.
#[derive(Clone, Debug)]
pub(super) enum Term {
    Multiplier(Decimal),
    Rate { bucket: Bucket, unit_price: Decimal, currency: Arc<str> },
}

/// A contract row, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub contract: Contract,
    pub row_id: Arc<str>,
    pub contract_id: Arc<str>,
    pub term: Term,
}

/// What a contract is looked up by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub platform: &'a str,
    pub account: Option<&'a str>,
    pub model: &'a str,
    pub scope: Option<&'a str>,
    pub geo: Option<&'a str>,
    pub region: Option<&'a str>,
    pub tier: &'a str,
    pub mode: Mode,
    pub at: Timestamp,
}

impl Agreed {
    fn holds(&self, q: &Asked<'_>) -> bool {
        let c = &self.contract;
        c.account.as_ref().is_none_or(|account| q.account.is_some_and(|own| account.matches(own)))
            && c.model.as_ref().is_none_or(|model| model.matches(q.model))
            && c.scope.covers(q.scope, q.geo, q.region)
            && c.tier.as_deref().is_none_or(|tier| tier == q.tier)
            && c.mode.is_none_or(|mode| mode == q.mode)
            && c.valid_at(q.at)
    }
}

/// All contract rows by platform, best first.
#[derive(Clone, Debug, Default)]
pub(super) struct Contracts {
    platforms: HashMap<String, Vec<Agreed>>,
}

impl Contracts {
    /// Checks the rows and brings them in order.
    pub(super) fn new(rows: Vec<Contract>) -> Result<Self, PriceError> {
        let mut platforms: HashMap<String, Vec<Agreed>> = HashMap::new();
        let mut ids = HashSet::with_capacity(rows.len());
        for contract in rows {
            contract.check()?;
            if !ids.insert(contract.row_id.clone()) {
                return Err(PriceError::Duplicate(contract.row_id.clone(), contract.row_id));
            }
            let term = match &contract.terms {
                Terms::Multiplier(factor) => Term::Multiplier(factor.normalize()),
                Terms::Rate { bucket, amount, per, currency } => Term::Rate {
                    bucket: *bucket,
                    unit_price: unit_price(*amount, *per)
                        .ok_or_else(|| PriceError::TooFine(contract.row_id.clone()))?,
                    currency: currency.as_str().into(),
                },
            };
            let (row_id, contract_id) = (contract.row_id.as_str().into(), contract.contract_id.as_str().into());
            let rows = platforms.entry(contract.platform.clone()).or_default();
            rows.push(Agreed { contract, row_id, contract_id, term });
        }
        for rows in platforms.values_mut() {
            rows.sort_by(|a, b| rank(&a.contract).cmp(&rank(&b.contract)).then_with(|| a.row_id.cmp(&b.row_id)));
            for (number, a) in rows.iter().enumerate() {
                for b in
                    rows.iter().skip(number + 1).take_while(|b| b.contract.specificity() == a.contract.specificity())
                {
                    if a.contract.clashes(&b.contract) {
                        let (a, b) = (a.contract.contract_id.clone(), b.contract.contract_id.clone());
                        return Err(PriceError::Clash(a.clone().min(b.clone()), a.max(b)));
                    }
                    if rank(&a.contract) == rank(&b.contract) && twins(&a.contract, &b.contract) {
                        return Err(PriceError::Duplicate(a.contract.row_id.clone(), b.contract.row_id.clone()));
                    }
                }
            }
        }
        Ok(Self { platforms })
    }

    /// The rows that hold for a call, best first.
    pub(super) fn holding<'a>(&'a self, q: &Asked<'_>) -> Vec<&'a Agreed> {
        match self.platforms.get(q.platform) {
            Some(rows) => rows.iter().filter(|row| row.holds(q)).collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Contract> {
        self.platforms.values().flatten().map(|agreed| &agreed.contract)
    }
}

/// Two rows of one contract that mean the same calls and the same bucket from the same instant on.
fn twins(a: &Contract, b: &Contract) -> bool {
    a.contract_id == b.contract_id
        && (a.bucket(), &a.account, &a.model, &a.scope) == (b.bucket(), &b.account, &b.model, &b.scope)
        && (&a.tier, a.mode) == (&b.tier, b.mode)
}

fn rank(contract: &Contract) -> impl Ord {
    Reverse((contract.specificity(), contract.valid_from, contract.recorded_at))
}
