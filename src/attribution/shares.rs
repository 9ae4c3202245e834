//! Splitting cost that nobody pays alone. Every split is exact: what goes out is what was there.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::model::{Pattern, SplitError, Timestamp, UNALLOCATED, round_together, split};
use crate::sheet::Place;

use super::subject::Field;

/// The line of what no rule matches.
pub const UNATTRIBUTED: &str = "(unattributed)";

/// What shares by usage are in proportion to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// Own cost.
    #[default]
    Cost,
    /// Own tokens, input and output.
    Tokens,
    /// Own calls.
    Calls,
    /// Nothing: all alike.
    Even,
}

/// Who pays how much of a shared cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shares {
    /// Per cent, together 100.
    Percent(BTreeMap<String, Decimal>),
    /// By usage in the period, among all that have any or among these.
    Usage {
        /// In proportion to what.
        basis: Basis,
        /// Who takes part; all but shared ones where it is empty.
        among: Vec<String>,
    },
}

/// A declared rule for shared cost: the lines of `field` that `of` stands for are split by `shares`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitRule {
    /// Its name, unique.
    pub split_id: String,
    /// Where it stands.
    pub place: Place,
    /// Lines of what.
    pub field: Field,
    /// Which lines: `shared-*`, `(unattributed)`.
    pub of: Pattern,
    /// Who pays.
    pub shares: Shares,
    /// First instant of its validity; `None` for ever before.
    pub valid_from: Option<Timestamp>,
    /// First instant after its validity; `None` for ever after.
    pub valid_to: Option<Timestamp>,
}

/// What a line used in the period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Cost, before any split.
    pub cost: Decimal,
    /// Input and output tokens.
    pub tokens: u64,
    /// Calls.
    pub calls: u64,
}

/// A part of a shared cost on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitLine {
    /// The rule.
    pub split_id: String,
    /// The shared line.
    pub from: String,
    /// Who pays; the shared line itself where there is nothing to be in proportion to.
    pub to: String,
    /// The part.
    pub amount: Decimal,
    /// Its weight: per cent, or the usage.
    pub weight: Decimal,
}

impl SplitRule {
    /// Whether it is valid at an instant; a report asks for the start of its period.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| at >= from) && self.valid_to.is_none_or(|to| at < to)
    }

    /// The weight of everybody who pays. A line that is shared itself pays no part.
    fn weights(
        &self,
        lines: &BTreeMap<String, Measures>,
        is_shared: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, Decimal> {
        let (basis, among) = match &self.shares {
            Shares::Percent(shares) => return shares.clone(),
            Shares::Usage { basis, among } => (basis, among),
        };
        let measure = |own: &Measures| match basis {
            Basis::Cost => own.cost.max(Decimal::ZERO),
            Basis::Tokens => own.tokens.into(),
            Basis::Calls => own.calls.into(),
            Basis::Even => Decimal::ONE,
        };
        if among.is_empty() {
            let own = lines.iter().filter(|(key, _)| !is_shared(key) && key.as_str() != UNATTRIBUTED);
            return own.map(|(key, own)| (key.clone(), measure(own))).collect();
        }
        among.iter().map(|key| (key.clone(), measure(&lines.get(key).copied().unwrap_or_default()))).collect()
    }
}

/// Splits the shared lines of `field` by the first rule for each that is valid at `at`, with `digits` fraction digits. A
/// part that goes to a line is never split again. The amounts of the result by `to`, with the lines that no rule is for,
/// are the whole.
///
/// # Errors
/// Numbers beyond 38 digits.
pub fn split_shared(
    rules: &[SplitRule],
    field: Field,
    at: Timestamp,
    digits: u32,
    lines: &BTreeMap<String, Measures>,
) -> Result<Vec<SplitLine>, SplitError> {
    let valid: Vec<&SplitRule> = rules.iter().filter(|rule| rule.field == field && rule.valid_at(at)).collect();
    let rule_for = |key: &str| valid.iter().find(|rule| rule.of.matches(key)).copied();
    let mut all = Vec::new();
    for (from, own) in lines {
        let Some(rule) = rule_for(from) else { continue };
        let weights = rule.weights(lines, |key| rule_for(key).is_some());
        for (to, amount) in split(own.cost, digits, &weights)? {
            let weight = weights.get(&to).copied().unwrap_or_default();
            let to = if to == UNALLOCATED { from.clone() } else { to };
            all.push(SplitLine { split_id: rule.split_id.clone(), from: from.clone(), to, amount, weight });
        }
    }
    Ok(all)
}

/// What becomes of the part of a total that nobody was found for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// It stays on the line `(unattributed)`, which is there even when it is 0.
    #[default]
    Keep,
    /// It is spread in proportion to direct cost; without any it stays.
    Spread,
    /// It is charged to this one.
    Owner(String),
}

/// The lines of a report whose total is more than its direct lines, rounded together to `digits`.
///
/// # Errors
/// Numbers beyond 38 digits.
pub fn share_rest(
    total: Decimal,
    digits: u32,
    direct: &BTreeMap<String, Decimal>,
    rest: &Rest,
) -> Result<BTreeMap<String, Decimal>, SplitError> {
    let sum: Decimal = direct.values().sum();
    let mut lines = direct.clone();
    match rest {
        Rest::Spread if sum > Decimal::ZERO => return split(total, digits, direct),
        Rest::Owner(owner) => *lines.entry(owner.clone()).or_default() += total - sum,
        Rest::Keep | Rest::Spread => *lines.entry(UNATTRIBUTED.to_owned()).or_default() += total - sum,
    }
    round_together(&lines, digits)
}

/// What changed from closed lines to restated ones, line by line; nothing where nothing did. Posted as corrections in the
/// open period, while the closed figures stay.
#[must_use]
pub fn differences(
    closed: &BTreeMap<String, Decimal>,
    restated: &BTreeMap<String, Decimal>,
) -> BTreeMap<String, Decimal> {
    let mut changed = restated.clone();
    for (key, amount) in closed {
        *changed.entry(key.clone()).or_default() -= *amount;
    }
    changed.retain(|_, difference| !difference.is_zero());
    changed
}
