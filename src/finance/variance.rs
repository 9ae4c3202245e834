//! Why a month cost more or less than another: volume, mix and price, and what came and went; the parts are the difference,
//! to the last digit.
//!
//! An item is a model on a platform within a group of the report. Of the items that both months have: *volume* is what the
//! month would have cost more with the other month's mix and average price, *mix* what comes from using dearer or cheaper
//! items for a larger share of the tokens, *price* what comes from another average price per token of an item. The last
//! holds new rates, contracts and also another share of output or cached tokens: the ledger has one cost per call. What only
//! one month has is *new* or *ended*.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::ask::Ask;
use super::calendar::Month;
use super::chargeback::exact_sum;
use super::grid::{Cell, Grid, Kind};

/// Fraction digits of the parts.
const DIGITS: u32 = 12;

/// Priced calls of an item in a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Values of the columns of the report.
    pub keys: Vec<Option<String>>,
    /// Who bills.
    pub platform: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// Calls.
    pub calls: u64,
    /// Input and output tokens.
    pub tokens: u64,
    /// Cost.
    pub cost: Decimal,
}

/// The parts of a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Cost of the other month.
    pub before: Decimal,
    /// Cost of the month.
    pub after: Decimal,
    /// More or fewer tokens.
    pub volume: Decimal,
    /// Dearer or cheaper items.
    pub mix: Decimal,
    /// Another price per token.
    pub price: Decimal,
    /// Items that the other month did not have.
    pub new: Decimal,
    /// Items that only the other month had, negative.
    pub ended: Decimal,
}

/// A group in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Values of the columns.
    pub keys: Vec<Option<String>>,
    /// ISO 4217.
    pub currency: String,
    /// Its parts.
    pub parts: Parts,
}

/// Why a month differs from another.
#[derive(Clone, Debug)]
pub struct Variance {
    /// The month and its columns.
    pub ask: Ask,
    /// The month it is held against.
    pub against: Month,
    /// Groups, the largest difference first.
    pub lines: Vec<Line>,
    /// By currency.
    pub totals: BTreeMap<String, Parts>,
}

/// A sum or product has more digits than can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum has more digits than can be kept exactly")]
pub struct TooLarge;

impl Parts {
    /// `after − before`.
    #[must_use]
    pub fn difference(&self) -> Decimal {
        self.after - self.before
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            before: exact_sum(self.before, other.before)?,
            after: exact_sum(self.after, other.after)?,
            volume: exact_sum(self.volume, other.volume)?,
            mix: exact_sum(self.mix, other.mix)?,
            price: exact_sum(self.price, other.price)?,
            new: exact_sum(self.new, other.new)?,
            ended: exact_sum(self.ended, other.ended)?,
        })
    }

    /// Of the items of one group: `(before, after)` of each.
    fn of(items: &[Pair<'_>]) -> Option<Self> {
        let mut parts = Self::default();
        // Cost and tokens of the items that both months have.
        let (mut cost, mut tokens, mut now, mut at_old_price) = (Decimal::ZERO, 0_u64, 0_u64, Decimal::ZERO);
        for (before, after) in items {
            let cost_of = |item: &Option<&Item>| item.map(|item| item.cost).unwrap_or_default();
            parts.before = exact_sum(parts.before, cost_of(before))?;
            parts.after = exact_sum(parts.after, cost_of(after))?;
            match (before, after) {
                (Some(before), Some(after)) if before.tokens > 0 && after.tokens > 0 => {
                    cost = exact_sum(cost, before.cost)?;
                    (tokens, now) = (tokens.checked_add(before.tokens)?, now.checked_add(after.tokens)?);
                    let old = scaled(before.cost, after.tokens, before.tokens)?;
                    at_old_price = exact_sum(at_old_price, old)?;
                    parts.price = exact_sum(parts.price, exact_sum(after.cost, -old)?)?;
                }
                (Some(before), Some(after)) => {
                    // Priced without tokens (images, requests): there is no price per token.
                    parts.price = exact_sum(parts.price, exact_sum(after.cost, -before.cost)?)?;
                }
                (None, Some(after)) => parts.new = exact_sum(parts.new, after.cost)?,
                (Some(before), None) => parts.ended = exact_sum(parts.ended, -before.cost)?,
                (None, None) => {}
            }
        }
        if tokens > 0 {
            let at_old_mix = scaled(cost, now, tokens)?;
            parts.volume = exact_sum(at_old_mix, -cost)?;
            parts.mix = exact_sum(at_old_price, -at_old_mix)?;
        }
        Some(parts)
    }
}

/// `cost × now / then` in units of 10^-12, half to even.
fn scaled(cost: Decimal, now: u64, then: u64) -> Option<Decimal> {
    let mut fixed = cost;
    fixed.rescale(DIGITS);
    if fixed.scale() != DIGITS || fixed != cost {
        return None;
    }
    let (product, then) = (fixed.mantissa().checked_mul(now.into())?, i128::from(then));
    let (whole, rest) = (product.div_euclid(then), product.rem_euclid(then));
    let up = match (rest * 2).cmp(&then) {
        std::cmp::Ordering::Greater => 1,
        std::cmp::Ordering::Equal => whole.rem_euclid(2),
        std::cmp::Ordering::Less => 0,
    };
    Decimal::try_from_i128_with_scale(whole + up, DIGITS).ok()
}

type Group = (Vec<Option<String>>, String);
type Id = (Option<String>, Option<String>);
/// An item of both months, before and after.
type Pair<'a> = (Option<&'a Item>, Option<&'a Item>);

impl Variance {
    /// Compares the items of two months.
    ///
    /// # Errors
    /// A sum is beyond exact arithmetic.
    pub fn new(ask: Ask, against: Month, before: &[Item], after: &[Item]) -> Result<Self, TooLarge> {
        let mut groups: BTreeMap<Group, BTreeMap<Id, Pair<'_>>> = BTreeMap::new();
        for (items, is_after) in [(before, false), (after, true)] {
            for item in items {
                let group = groups.entry((item.keys.clone(), item.currency.clone())).or_default();
                let pair = group.entry((item.platform.clone(), item.model.clone())).or_default();
                *(if is_after { &mut pair.1 } else { &mut pair.0 }) = Some(item);
            }
        }
        let (mut lines, mut totals) = (Vec::new(), BTreeMap::<String, Parts>::new());
        for ((keys, currency), items) in groups {
            let parts = Parts::of(&items.into_values().collect::<Vec<_>>()).ok_or(TooLarge)?;
            let total = totals.entry(currency.clone()).or_default();
            *total = total.plus(&parts).ok_or(TooLarge)?;
            lines.push(Line { keys, currency, parts });
        }
        lines.sort_by(|a, b| {
            let size = |line: &Line| line.parts.difference().abs();
            a.currency.cmp(&b.currency).then_with(|| size(b).cmp(&size(a))).then_with(|| a.keys.cmp(&b.keys))
        });
        Ok(Self { ask, against, lines, totals })
    }

    /// Lines, then a total for each currency.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let by = self.ask.by.iter().map(|column| (column.name(), Kind::Text));
        let parts = ["before", "after", "difference", "volume", "mix", "price", "new", "ended"];
        let mut grid = Grid::new(by.chain([("currency", Kind::Text)]).chain(parts.map(|part| (part, Kind::Money))));
        let cells = |currency: &str, parts: &Parts| {
            let Parts { before, after, volume, mix, price, new, ended } = *parts;
            let amounts = [before, after, parts.difference(), volume, mix, price, new, ended];
            let amounts = amounts.map(|amount| Cell::Money(amount.normalize()));
            std::iter::once(Cell::Text(currency.to_owned())).chain(amounts).collect::<Vec<_>>()
        };
        for line in &self.lines {
            let keys = line.keys.iter().zip(&self.ask.by);
            let mut row: Vec<Cell> =
                keys.map(|(key, column)| Cell::from(Some(key.as_deref().unwrap_or_else(|| column.nobody())))).collect();
            row.extend(cells(&line.currency, &line.parts));
            grid.rows.push(row);
        }
        for (currency, parts) in &self.totals {
            let mut row = vec![Cell::None; self.ask.by.len()];
            if let Some(first) = row.first_mut() {
                *first = Cell::Text("TOTAL".to_owned());
            }
            row.extend(cells(currency, parts));
            grid.rows.push(row);
        }
        grid
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        format!(
            "{} against {} ({}), costs in the ledger's currency\n\n{}\ndifference = volume + mix + price + new + ended\n",
            self.ask.month,
            self.against,
            self.ask.zone,
            self.grid().table(self.totals.len())
        )
    }

    /// As one JSON document; decimals are text.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut lines = self.grid().json();
        let totals = lines.split_off(self.lines.len());
        json!({"report": "variance", "month": self.ask.month.to_string(), "against": self.against.to_string(),
            "time_zone": self.ask.zone.to_string(), "lines": lines, "totals": totals})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(team: &str, model: &str, tokens: u64, cost: &str) -> Item {
        Item {
            keys: vec![Some(team.to_owned())],
            platform: Some("openai".to_owned()),
            model: Some(model.to_owned()),
            currency: "USD".to_owned(),
            calls: 1,
            tokens,
            cost: cost.parse().unwrap(),
        }
    }

    fn compare(before: &[Item], after: &[Item]) -> Variance {
        let ask = Ask::new("2026-10", "team", None, None).unwrap();
        let against = ask.month.previous();
        Variance::new(ask, against, before, after).unwrap()
    }

    #[test]
    fn each_cause_has_its_part() {
        let parts = |before: &[Item], after: &[Item]| compare(before, after).totals["USD"];
        let of = |text: &str| text.parse::<Decimal>().unwrap();
        // Twice the tokens at the same price.
        let p = parts(&[item("a", "x", 100, "1")], &[item("a", "x", 200, "2")]);
        assert_eq!((p.volume, p.mix, p.price), (of("1"), of("0"), of("0")));
        // The same tokens at twice the price.
        let p = parts(&[item("a", "x", 100, "1")], &[item("a", "x", 100, "2")]);
        assert_eq!((p.volume, p.mix, p.price), (of("0"), of("0"), of("1")));
        // The same tokens, more of them on the dear model.
        let before = [item("a", "cheap", 100, "1"), item("a", "dear", 100, "3")];
        let p = parts(&before, &[item("a", "cheap", 50, "0.5"), item("a", "dear", 150, "4.5")]);
        assert_eq!((p.volume, p.mix, p.price), (of("0"), of("1"), of("0")));
        // One came, one went.
        let p = parts(&[item("a", "old", 100, "1")], &[item("a", "young", 100, "3")]);
        assert_eq!((p.new, p.ended, p.difference()), (of("3"), of("-1"), of("2")));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_difference(rows in prop::collection::vec((0..3_u8, 0..4_u8, 0_u64..1_000_000_000, 0_i64..i64::MAX / 1000, any::<bool>()), 0..40)) {
            let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
            for (team, model, tokens, cost, late) in rows {
                let mut row = item(&team.to_string(), &model.to_string(), tokens, "0");
                row.cost = Decimal::new(cost, 12);
                (if late { &mut after } else { &mut before }).insert((team, model), row);
            }
            let sum = |items: &BTreeMap<(u8, u8), Item>| items.values().map(|item| item.cost).sum::<Decimal>();
            let expected = sum(&after) - sum(&before);
            let variance = compare(&before.into_values().collect::<Vec<_>>(), &after.into_values().collect::<Vec<_>>());
            for parts in variance.totals.values().chain(variance.lines.iter().map(|line| &line.parts)) {
                prop_assert_eq!(parts.volume + parts.mix + parts.price + parts.new + parts.ended, parts.difference());
            }
            prop_assert_eq!(variance.totals.values().map(Parts::difference).sum::<Decimal>(), expected);
        }
    }
}
