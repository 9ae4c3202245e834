//! Capacity that is paid by the hour (Azure PTU, Bedrock provisioned throughput): the payment as Purchase rows, its use and
//! what nobody used as Usage rows that bear what was paid. The calls that ran on it have no cost of their own.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::export::FocusAsk;
use super::line::{Charge, Commitment as Named, Resource, UsageLine};
use super::manifest::UnpricedUsage;
use super::party;
use crate::model::{Call, HOUR_US, Interval, Pattern, SplitError, Timestamp};
use crate::pricing::{Bucket, Commitment, HourCost, Mode, PriceBook, UNUSED, Unused, disjoint, share_out};

/// Fraction digits of the hours that a group used.
const HOUR_DIGITS: u32 = 6;
/// Fraction digits of its part of the cost.
const COST_DIGITS: u32 = 12;

/// Who used how much of which capacity, hour by hour.
#[derive(Debug)]
pub struct Capacity<'a> {
    commitments: &'a [Commitment],
    used: BTreeMap<(usize, Timestamp), BTreeMap<String, Decimal>>,
    groups: BTreeMap<String, BTreeMap<String, String>>,
}

/// What capacity becomes in an export.
#[derive(Clone, Debug, Default)]
pub struct CapacityLines {
    /// Payments, and what was used and not used.
    pub lines: Vec<UsageLine>,
    /// What its hours cost, by currency.
    pub cost: BTreeMap<String, Decimal>,
    /// Hours without a price.
    pub unpriced: Vec<UnpricedUsage>,
}

impl<'a> Capacity<'a> {
    /// Nothing used yet.
    #[must_use]
    pub const fn new(commitments: &'a [Commitment]) -> Self {
        Self { commitments, used: BTreeMap::new(), groups: BTreeMap::new() }
    }

    /// Takes in a call on capacity; false if no commitment describes what served it.
    pub fn take(&mut self, call: &Call, tags: &BTreeMap<String, String>) -> bool {
        let Some(at) = self.commitments.iter().position(|commitment| commitment.serves(call)) else { return false };
        let (Some(commitment), Some(counts)) = (self.commitments.get(at), disjoint(&call.usage)) else { return false };
        let key = key(tags);
        self.groups.entry(key.clone()).or_insert_with(|| tags.clone());
        let hour = self.used.entry((at, call.ts.floor(HOUR_US))).or_default();
        *hour.entry(key).or_default() += commitment.weights.weigh(&counts);
        true
    }

    /// The lines of a month; of one that goes on, those of the hours that are over.
    ///
    /// # Errors
    /// Numbers beyond exact arithmetic.
    pub fn lines(
        &self,
        ask: &FocusAsk,
        book: &PriceBook,
        version: &str,
        now: Timestamp,
    ) -> Result<CapacityLines, SplitError> {
        let Interval { from, to } = ask.interval();
        let mut all = CapacityLines::default();
        for (at, commitment) in self.commitments.iter().enumerate() {
            let mut without = 0_u64;
            for hour in commitment.hours(book, from, to.min(now.floor(HOUR_US))) {
                let (Some(cost), Some(currency)) = (hour.cost, hour.currency.as_deref()) else {
                    without += 1;
                    continue;
                };
                *all.cost.entry(currency.to_owned()).or_default() += cost.0;
                let base = line(commitment, ask, &hour, version);
                self.hour(at, commitment, &hour, cost.0, &base, &mut all.lines)?;
            }
            if without > 0 {
                all.unpriced.push(UnpricedUsage {
                    platform: commitment.platform.clone(),
                    model: Some(commitment.commitment_id.clone()),
                    bucket: Bucket::Hour,
                    quantity: commitment.units * Decimal::from(without),
                    calls: 0,
                });
            }
        }
        Ok(all)
    }

    fn hour(
        &self,
        at: usize,
        commitment: &Commitment,
        hour: &HourCost,
        cost: Decimal,
        base: &UsageLine,
        lines: &mut Vec<UsageLine>,
    ) -> Result<(), SplitError> {
        let of = named(commitment);
        let none = BTreeMap::new();
        let weighted = self.used.get(&(at, hour.hour)).unwrap_or(&none);
        // An owner is a team: its line is one of a group that has this team and nothing else.
        let owner = |name: &String| BTreeMap::from([("team".to_owned(), name.clone())]);
        let unused = match &commitment.unused {
            Unused::Owner(name) => Unused::Owner(key(&owner(name))),
            other => other.clone(),
        };
        let costs = share_out(cost, COST_DIGITS, commitment.capacity, weighted, &unused)?;
        let hours = share_out(commitment.units, HOUR_DIGITS, commitment.capacity, weighted, &unused)?;
        for (group, effective_cost) in costs {
            let quantity = hours.get(&group).copied().unwrap_or_default();
            if effective_cost.is_zero() && quantity.is_zero() {
                continue;
            }
            let of = of.clone();
            let (charge, tags) = if group == UNUSED {
                (Charge::Unused { of, effective_cost }, BTreeMap::new())
            } else {
                let tags = self.groups.get(&group).cloned();
                let named_owner = || match &commitment.unused {
                    Unused::Owner(name) => owner(name),
                    _ => BTreeMap::new(),
                };
                (Charge::Used { of, effective_cost }, tags.unwrap_or_else(named_owner))
            };
            lines.push(UsageLine { quantity, charge, tags, ..base.clone() });
        }
        lines.push(UsageLine {
            quantity: commitment.units,
            charge: Charge::Purchase { of },
            allocation: None,
            ..base.clone()
        });
        Ok(())
    }
}

/// A group of tags as text, the same for the same tags.
fn key(tags: &BTreeMap<String, String>) -> String {
    let map: Map<String, Value> = tags.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    Value::Object(map).to_string()
}

fn named(commitment: &Commitment) -> Named {
    let kind = if commitment.platform.starts_with("azure") {
        "Provisioned Throughput Units"
    } else {
        "Provisioned Throughput"
    };
    let id = commitment.commitment_id.clone();
    Named { name: id.clone(), id, kind: kind.to_owned() }
}

/// What all lines of an hour share.
fn line(commitment: &Commitment, ask: &FocusAsk, hour: &HourCost, version: &str) -> UsageLine {
    let exact = |pattern: &Option<Pattern>| {
        pattern.as_ref().filter(|pattern| pattern.is_exact()).map(|pattern| pattern.as_str().to_owned())
    };
    let account = exact(&commitment.account);
    let (billing_account, sub_account) =
        party::accounts(&commitment.platform, account.as_deref(), &ask.billing_accounts);
    // The cost of an hour is units times price: the quotient is the price again.
    let price = |cost: Option<crate::model::Money>| cost.and_then(|cost| cost.0.checked_div(commitment.units));
    let id = commitment.commitment_id.clone();
    UsageLine {
        period: ask.period(hour.hour),
        platform: commitment.platform.clone(),
        billing_account,
        sub_account,
        resource: Some(Resource { id: id.clone(), name: None, kind: named(commitment).kind }),
        model: exact(&commitment.model).unwrap_or_else(|| "provisioned-throughput".to_owned()),
        bucket: Bucket::Hour,
        scope: commitment.scope.to_string(),
        tier: "standard".to_owned(),
        mode: Mode::Provisioned,
        list_unit_price: price(hour.list_cost),
        unit_price: price(hour.cost).unwrap_or_default(),
        currency: hour.currency.as_deref().unwrap_or_default().to_owned(),
        price_row_id: if hour.rate_ids.is_empty() { id } else { hour.rate_ids.join("+") },
        price_book: version.to_owned(),
        allocation: Some("weighted tokens by hour".to_owned()),
        ..UsageLine::default()
    }
}
