//! Capacity that is paid by the hour, on a report: each hour of a commitment is allocated to who used it, by weighted tokens,
//! and what nobody used is `(unused)`. Calls on it have no cost of their own, so nothing is counted twice.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::ask::Column;
use crate::attribution::Field;
use crate::model::{Call, HOUR_US, MONEY_SCALE, Money, ShareSum, SplitError, Timestamp, Usage, rounded};
use crate::pricing::{Bucket, Commitment, PriceBook, UNUSED, Unused, disjoint};

/// What was used of provisioned capacity in an hour, by one group of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HourUse {
    /// Start of the hour.
    pub hour: Timestamp,
    /// Values of the columns of the report; `None` for nobody.
    pub keys: Vec<Option<String>>,
    /// Who bills.
    pub platform: Option<String>,
    /// Billing account.
    pub account: Option<String>,
    /// Canonical model.
    pub model: Option<String>,
    /// Azure deployment.
    pub deployment: Option<String>,
    /// Calls.
    pub calls: u64,
    /// Their counts.
    pub usage: Usage,
}

/// Who has a part of a commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Values of the columns of the report; `(unused)` in all of them for what nobody used.
    pub keys: Vec<Option<String>>,
    /// Weighted tokens.
    pub weighted: Decimal,
    /// Of the cost, with at most twelve fraction digits; the parts are the whole.
    pub cost: Decimal,
}

/// A commitment on a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Its id.
    pub commitment_id: String,
    /// Who bills.
    pub platform: String,
    /// ISO 4217; `None` without any price.
    pub currency: Option<String>,
    /// Hours that have a price.
    pub hours: u64,
    /// Hours without one: they are in no sum.
    pub unpriced_hours: u64,
    /// What the hours cost.
    pub cost: Decimal,
    /// Of that, what nobody used, whoever pays it.
    pub idle: Decimal,
    /// Who pays what nobody used.
    pub rule: String,
    /// The cost, allocated.
    pub parts: Vec<Part>,
}

/// One part of one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourPart {
    /// Start of the hour.
    pub hour: Timestamp,
    /// The commitment.
    pub commitment_id: String,
    /// Who bills.
    pub platform: String,
    /// Values of the columns; `None` for what nobody used.
    pub keys: Option<Vec<Option<String>>>,
    /// Weighted tokens; of what nobody used, the capacity that was left.
    pub weighted: Decimal,
    /// Of the hour, from 0 to 1, rounded to twelve digits.
    pub share: Decimal,
    /// Of its cost; `None` where the hour has no price.
    pub cost: Option<Money>,
    /// ISO 4217.
    pub currency: Option<String>,
}

/// Marks a key that is there and one that is not: neither is ever `(unused)`.
const IS: char = '=';
const NOBODY: &str = "~";
const BETWEEN: char = '\u{1f}';

fn joined(keys: &[Option<String>]) -> String {
    let one = |key: &Option<String>| key.as_ref().map_or_else(|| NOBODY.to_owned(), |key| format!("{IS}{key}"));
    keys.iter().map(one).collect::<Vec<_>>().join(&BETWEEN.to_string())
}

fn parted(text: &str) -> Option<Vec<Option<String>>> {
    let one = |part: &str| part.strip_prefix(IS).map(str::to_owned);
    (text != UNUSED).then(|| text.split(BETWEEN).map(one).collect())
}

/// Weighted tokens by hour and group.
type Weighted = BTreeMap<Timestamp, BTreeMap<String, Decimal>>;

/// What a commitment served. Sums of counts are as disjoint as the counts are.
fn served(commitment: &Commitment, used: &[HourUse]) -> Weighted {
    let mut weighted = Weighted::new();
    for one in used.iter().filter(|one| serves(commitment, one)) {
        let broken = || BTreeMap::from([(Bucket::Input, one.usage.input.unwrap_or(0))]);
        let tokens = commitment.weights.weigh(&disjoint(&one.usage).unwrap_or_else(broken));
        *weighted.entry(one.hour).or_default().entry(joined(&one.keys)).or_default() += tokens;
    }
    weighted
}

fn serves(commitment: &Commitment, one: &HourUse) -> bool {
    commitment.serves(&Call {
        ts: one.hour,
        tier: Some("provisioned".to_owned()),
        platform: one.platform.clone(),
        account: one.account.clone(),
        model: one.model.clone(),
        deployment: one.deployment.clone(),
        ..Call::default()
    })
}

/// Calls on capacity that no commitment speaks of.
#[must_use]
pub fn uncovered(commitments: &[Commitment], used: &[HourUse]) -> u64 {
    let by_none = used.iter().filter(|one| !commitments.iter().any(|commitment| serves(commitment, one)));
    by_none.map(|one| one.calls).sum()
}

/// The owner of what nobody used is a team: in reports without teams it stays on its own line.
fn with_owner(commitment: &Commitment, by: &[Column]) -> Commitment {
    let unused = match &commitment.unused {
        Unused::Owner(owner) => {
            let key = |column: &Column| match column.field() {
                Some(Field::Team) => Some(owner.clone()),
                _ => Some(UNUSED.to_owned()),
            };
            let keys: Vec<Option<String>> = by.iter().map(key).collect();
            let named = by.iter().any(|column| column.field() == Some(Field::Team));
            if named { Unused::Owner(joined(&keys)) } else { Unused::Keep }
        }
        other => other.clone(),
    };
    Commitment { unused, ..commitment.clone() }
}

/// Each commitment with its cost of the hours that begin from `from` until before `to`, allocated by the columns of the
/// report. The parts of a month are exact shares of its hours, rounded once.
///
/// # Errors
/// Numbers beyond exact arithmetic.
pub fn allocated(
    commitments: &[Commitment],
    book: &PriceBook,
    used: &[HourUse],
    by: &[Column],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Capacity>, SplitError> {
    let mut all = Vec::new();
    for commitment in commitments {
        let hours = commitment.hours(book, from, to);
        if hours.is_empty() {
            continue;
        }
        let (weighted, named) = (served(commitment, used), with_owner(commitment, by));
        let kept = Commitment { unused: Unused::Keep, ..commitment.clone() };
        let (none, mut capacities) =
            (BTreeMap::new(), BTreeMap::<Option<String>, (Capacity, ShareSum, ShareSum)>::new());
        let mut tokens: BTreeMap<Option<String>, BTreeMap<String, Decimal>> = BTreeMap::new();
        for hour in hours {
            let own = weighted.get(&hour.hour).unwrap_or(&none);
            let currency = hour.cost.and(hour.currency.as_deref().map(str::to_owned));
            let (capacity, shares, idle) = capacities.entry(currency.clone()).or_default();
            let Some(cost) = hour.cost else {
                capacity.unpriced_hours += 1;
                continue;
            };
            capacity.hours += 1;
            shares.add(cost.0, &named.shares(own))?;
            idle.add(cost.0, &kept.shares(own))?;
            let tokens = tokens.entry(currency).or_default();
            for (key, weight) in own {
                *tokens.entry(key.clone()).or_default() += *weight;
            }
        }
        for (currency, (mut capacity, shares, idle)) in capacities {
            let digits = u32::from(MONEY_SCALE.unsigned_abs());
            let tokens = tokens.remove(&currency).unwrap_or_default();
            let unused = || by.iter().map(|_| Some(UNUSED.to_owned())).collect();
            capacity.cost = shares.total().normalize();
            capacity.idle = idle.rounded(digits)?.get(UNUSED).copied().unwrap_or_default().normalize();
            for (key, cost) in shares.rounded(digits)? {
                let weighted = tokens.get(&key).copied().unwrap_or_default();
                let keys = parted(&key).unwrap_or_else(unused);
                capacity.parts.push(Part { keys, weighted, cost: cost.normalize() });
            }
            all.push(Capacity {
                commitment_id: commitment.commitment_id.clone(),
                platform: commitment.platform.clone(),
                currency,
                rule: rule(&commitment.unused),
                ..capacity
            });
        }
    }
    Ok(all)
}

/// Each hour of each commitment, allocated on its own: the parts of an hour are its cost, to the twelfth digit.
///
/// # Errors
/// Numbers beyond exact arithmetic.
pub fn hours(
    commitments: &[Commitment],
    book: &PriceBook,
    used: &[HourUse],
    by: &[Column],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<HourPart>, SplitError> {
    let mut all = Vec::new();
    for commitment in commitments {
        let (weighted, named, none) = (served(commitment, used), with_owner(commitment, by), BTreeMap::new());
        for hour in commitment.hours(book, from, to) {
            let own = weighted.get(&hour.hour).unwrap_or(&none);
            let shares = named.shares(own);
            let whole: Decimal = shares.values().sum();
            let costs = hour.cost.map(|cost| named.allocate(cost, own)).transpose()?;
            for (key, weight) in &shares {
                let cost = costs.as_ref().and_then(|costs| costs.iter().find(|part| part.key == *key));
                let share = weight.checked_div(whole).unwrap_or(Decimal::ONE);
                let left = (commitment.capacity - own.values().sum::<Decimal>()).max(Decimal::ZERO);
                all.push(HourPart {
                    hour: hour.hour,
                    commitment_id: commitment.commitment_id.clone(),
                    platform: commitment.platform.clone(),
                    weighted: if key == UNUSED { left } else { own.get(key).copied().unwrap_or_default() },
                    share: rounded(share, u32::from(MONEY_SCALE.unsigned_abs())).normalize(),
                    cost: cost.map(|part| part.cost),
                    currency: hour.cost.and(hour.currency.as_deref().map(str::to_owned)),
                    keys: parted(key),
                });
            }
        }
    }
    Ok(all)
}

/// Hours that begin in the month, and until now: an hour is of the month in which it begins.
#[must_use]
pub fn hours_of(interval: crate::model::Interval, now: Timestamp) -> (Timestamp, Timestamp) {
    let up = |at: Timestamp| at.plus(HOUR_US - 1).floor(HOUR_US);
    (up(interval.from), up(interval.to).min(up(now)))
}

fn rule(unused: &Unused) -> String {
    match unused {
        Unused::Keep => "what nobody used stays on its own line".to_owned(),
        Unused::Spread => "what nobody used is spread over the users".to_owned(),
        Unused::Owner(owner) => format!("what nobody used is charged to {owner}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finance::ask::Ask;
    use crate::model::{Interval, Pattern};

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn at(hour: i64) -> Timestamp {
        Timestamp::parse("2026-10-01T00:00:00Z").unwrap().plus(hour * HOUR_US)
    }

    fn commitment(unused: Unused) -> Commitment {
        Commitment {
            commitment_id: "ptu".into(),
            platform: "azure.ai.openai".into(),
            deployment: Some(Pattern::new("chat-*")),
            units: d("3"),
            hourly: Some((d("1.00"), "USD".into())),
            capacity: d("1000"),
            unused,
            valid_from: at(0),
            ..Commitment::default()
        }
    }

    fn used(hour: i64, team: Option<&str>, deployment: &str, tokens: u64) -> HourUse {
        HourUse {
            hour: at(hour),
            keys: vec![team.map(str::to_owned)],
            platform: Some("azure.ai.openai".into()),
            deployment: Some(deployment.into()),
            calls: 1,
            usage: Usage { input: Some(tokens), output: Some(0), ..Usage::default() },
            ..HourUse::default()
        }
    }

    fn by(columns: &str) -> Vec<Column> {
        Ask::new("2026-10", columns, None, None).unwrap().by
    }

    fn parts(capacity: &Capacity) -> Vec<(Option<&str>, Decimal)> {
        capacity.parts.iter().map(|part| (part.keys[0].as_deref(), part.cost)).collect()
    }

    #[test]
    fn hours_are_shared_by_tokens_and_the_rest_is_unused() {
        let used =
            [used(0, Some("a"), "chat-1", 100), used(0, None, "chat-2", 200), used(1, Some("a"), "batch", 1_000)];
        let found = |unused| {
            allocated(&[commitment(unused)], &PriceBook::default(), &used, &by("team"), (at(0), at(2))).unwrap()
        };
        let kept = &found(Unused::Keep)[0];
        assert_eq!((kept.hours, kept.cost, kept.idle), (2, d("6"), d("5.1")));
        assert_eq!(parts(kept), [(Some("(unused)"), d("5.1")), (Some("a"), d("0.3")), (None, d("0.6"))]);
        let owned = &found(Unused::Owner("ops".into()))[0];
        assert_eq!(parts(owned), [(Some("a"), d("0.3")), (Some("ops"), d("5.1")), (None, d("0.6"))]);
        // Nobody used the second hour: there is nobody to spread it over.
        let spread = &found(Unused::Spread)[0];
        assert_eq!(parts(spread), [(Some("(unused)"), d("3")), (Some("a"), d("1")), (None, d("2"))]);
        for capacity in [kept, owned, spread] {
            assert_eq!(capacity.parts.iter().map(|part| part.cost).sum::<Decimal>(), capacity.cost);
        }
        assert_eq!(uncovered(&[commitment(Unused::Keep)], &used), 1);
    }

    #[test]
    fn an_owner_is_a_team_and_hours_without_a_price_are_in_no_sum() {
        let owned = commitment(Unused::Owner("ops".into()));
        let span = (at(0), at(1));
        let keys = |columns: &str| {
            let found =
                allocated(std::slice::from_ref(&owned), &PriceBook::default(), &[], &by(columns), span).unwrap();
            found[0].parts[0].keys.clone()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(keys("model,team"), [some("(unused)"), some("ops")]);
        assert_eq!(keys("model"), [some("(unused)")]);
        let unpriced = Commitment { hourly: None, ..owned };
        let found = allocated(&[unpriced], &PriceBook::default(), &[], &by("team"), span).unwrap();
        assert_eq!((found[0].unpriced_hours, found[0].cost, found[0].parts.len()), (1, Decimal::ZERO, 0));
    }

    #[test]
    fn the_parts_of_an_hour_are_its_cost() {
        let used = [used(0, Some("a"), "chat-1", 1), used(0, Some("b"), "chat-1", 1), used(0, Some("c"), "chat-1", 1)];
        let full =
            Commitment { capacity: Decimal::ZERO, hourly: Some((d("0.1"), "USD".into())), ..commitment(Unused::Keep) };
        let full = Commitment { units: d("1"), ..full };
        let found = hours(&[full], &PriceBook::default(), &used, &by("team"), (at(0), at(1))).unwrap();
        assert_eq!(found.iter().filter_map(|part| part.cost).map(|cost| cost.0).sum::<Decimal>(), d("0.1"));
        assert_eq!(found.iter().filter(|part| part.keys.is_some()).count(), 3);
        let half = Interval { from: at(0).plus(HOUR_US / 2), to: at(5).plus(HOUR_US / 2) };
        assert_eq!(hours_of(half, at(3).plus(1)), (at(1), at(4)));
    }
}
