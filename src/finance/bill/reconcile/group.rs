//! Brings both sides under common keys.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::super::{BillLine, Category};
use super::types::{Amounts, Key, Metered, Options, Period, Reason};
use crate::model::HOUR_US;
use crate::pricing::Bucket;
use crate::sheet::Place;

/// More places than a person looks at are not kept.
const MOST_PLACES: usize = 20;

/// A little more than a day: a day of 25 hours is one.
const DAY_US: i64 = 25 * HOUR_US;

/// Both sides of one key.
#[derive(Debug, Default)]
pub(super) struct Pair<'a> {
    pub metered: Option<Amounts>,
    pub billed: Option<Amounts>,
    /// Why the two sides can't be compared at all.
    pub apart: Option<Reason>,
    pub places: Vec<Place>,
    pub meters: BTreeSet<String>,
    /// The lines of the bill that count, to look their prices up.
    pub counted: Vec<&'a BillLine>,
    units: BTreeSet<Option<Bucket>>,
}

/// All keys, and what was compared less finely than it could have been.
pub(super) struct Grouped<'a> {
    pub pairs: BTreeMap<(Key, Option<Reason>), Pair<'a>>,
    pub notes: BTreeSet<String>,
}

/// A model on a platform.
type Model<'a> = (&'a str, Option<&'a str>);
/// A model on a platform, in a period.
type Slot<'a> = (Model<'a>, Period);

/// What each side knows.
#[derive(Default)]
struct Known<'a> {
    monthly: BTreeSet<Model<'a>>,
    /// Platforms whose accounts are named differently by both sides, or not at all by one.
    foreign: BTreeSet<&'a str>,
    nameless: BTreeSet<Slot<'a>>,
    metered_buckets: BTreeSet<Slot<'a>>,
    billed_buckets: BTreeSet<Slot<'a>>,
    metered_hours: BTreeSet<Slot<'a>>,
    billed_hours: BTreeSet<Slot<'a>>,
    both: BTreeSet<Slot<'a>>,
}

/// Accounts of one platform.
#[derive(Default)]
struct Accounts<'a> {
    metered: BTreeSet<&'a str>,
    billed: BTreeSet<&'a str>,
}

/// Brings both sides under common keys.
pub(super) fn group<'a>(metered: &'a [Metered], billed: &'a [BillLine], options: &Options<'_>) -> Grouped<'a> {
    let known = Known::of(metered, billed, options);
    let mut grouped = Grouped { pairs: BTreeMap::new(), notes: BTreeSet::new() };
    for row in metered {
        let model = (row.platform.as_str(), row.model.as_deref());
        let slot = (model, known.period(model, options.day(row.from)));
        let apart = (row.model.is_none() && row.bucket != Some(Bucket::Hour)).then_some(Reason::UnknownModel);
        let key = known.key(slot, row.account.as_deref(), row.bucket, apart, &mut grouped.notes);
        let pair = grouped.pairs.entry((key, apart)).or_default();
        pair.apart = apart;
        let cost = row.cost.map(|cost| (row.currency.as_deref().unwrap_or_default(), cost));
        pair.units.insert(unit(row.bucket));
        pair.metered = Some(plus(pair.metered.take(), row.quantity, cost, row.calls));
    }
    for line in billed {
        let model = (line.platform.as_str(), line.model.as_deref());
        let day = options.day(line.period.from);
        // A tax or a credit is for the time that it says.
        let beside = !matches!(line.category, Category::Usage | Category::Discount);
        let long = beside && line.period.to.0.saturating_sub(line.period.from.0) > DAY_US;
        let slot = (model, if long { Period::month_of(day) } else { known.period(model, day) });
        let apart = apart(line, known.billed_buckets.contains(&slot));
        let key = known.key(slot, line.account.as_deref(), line.bucket, apart, &mut grouped.notes);
        let pair = grouped.pairs.entry((key, apart)).or_default();
        pair.apart = apart;
        if pair.places.len() < MOST_PLACES {
            pair.places.push(line.place.clone());
        }
        pair.meters.insert(line.usage_type.clone());
        let cost = Some((line.currency.as_str(), line.cost));
        // A discount has no quantity of its own.
        let counted = if line.category == Category::Usage { line.quantity } else { Some(Decimal::ZERO) };
        if line.category == Category::Usage {
            pair.units.insert(unit(line.bucket));
            pair.counted.push(line);
        }
        pair.billed = Some(plus(pair.billed.take(), counted, cost, 0));
    }
    for pair in grouped.pairs.values_mut().filter(|pair| pair.units.len() > 1) {
        // Tokens and images have no sum.
        for side in [&mut pair.metered, &mut pair.billed].into_iter().flatten() {
            side.quantity = None;
        }
    }
    grouped
}

/// Why a line has no counterpart.
fn apart(line: &BillLine, others_tell_buckets: bool) -> Option<Reason> {
    match line.category {
        Category::Usage if line.bucket == Some(Bucket::Hour) => None,
        Category::Usage | Category::Discount if line.model.is_none() => match line.category {
            Category::Usage => Some(Reason::UnknownModel),
            other => Some(Reason::Category(other)),
        },
        Category::Usage | Category::Discount => {
            (line.bucket.is_none() && others_tell_buckets).then_some(Reason::UnknownMeter)
        }
        other => Some(Reason::Category(other)),
    }
}

/// What a quantity counts: tokens of all kinds are one kind.
fn unit(bucket: Option<Bucket>) -> Option<Bucket> {
    bucket.filter(|bucket| matches!(bucket, Bucket::Hour | Bucket::Image | Bucket::Request | Bucket::SearchUnit))
}

fn plus(side: Option<Amounts>, quantity: Option<Decimal>, cost: Option<(&str, Decimal)>, calls: u64) -> Amounts {
    let mut side =
        side.unwrap_or_else(|| Amounts { quantity: Some(Decimal::ZERO), cost_complete: true, ..Amounts::default() });
    side.quantity = side.quantity.zip(quantity).and_then(|(sum, more)| sum.checked_add(more));
    side.cost_complete &= cost.is_some();
    if let Some((currency, cost)) = cost {
        *side.cost.entry(currency.to_owned()).or_default() += cost;
    }
    side.rows += 1;
    side.calls += calls;
    side
}

impl<'a> Known<'a> {
    fn of(metered: &'a [Metered], billed: &'a [BillLine], options: &Options<'_>) -> Self {
        let mut known = Self::default();
        let usage = || billed.iter().filter(|line| line.category == Category::Usage);
        for line in usage().filter(|line| line.period.to.0.saturating_sub(line.period.from.0) > DAY_US) {
            known.monthly.insert((&line.platform, line.model.as_deref()));
        }
        let mut accounts: BTreeMap<&'a str, Accounts<'a>> = BTreeMap::new();
        let mut metered_slots = BTreeSet::new();
        for row in metered {
            let model = (row.platform.as_str(), row.model.as_deref());
            let slot = (model, known.period(model, options.day(row.from)));
            metered_slots.insert(slot);
            known.side(slot, row.bucket, true);
            if let Some(name) = row.account.as_deref() {
                accounts.entry(model.0).or_default().metered.insert(name);
            } else {
                known.nameless.insert(slot);
            }
        }
        for line in usage() {
            let model = (line.platform.as_str(), line.model.as_deref());
            let slot = (model, known.period(model, options.day(line.period.from)));
            if metered_slots.contains(&slot) {
                known.both.insert(slot);
            }
            known.side(slot, line.bucket, false);
            if let Some(name) = line.account.as_deref() {
                accounts.entry(model.0).or_default().billed.insert(name);
            } else {
                known.nameless.insert(slot);
            }
        }
        let strange = |(platform, names): (&'a str, Accounts<'a>)| {
            let both = !names.metered.is_empty() && !names.billed.is_empty();
            (both && names.metered.is_disjoint(&names.billed)).then_some(platform)
        };
        known.foreign = accounts.into_iter().filter_map(strange).collect();
        known
    }

    fn side(&mut self, slot: Slot<'a>, bucket: Option<Bucket>, metered: bool) {
        let (buckets, hours) = if metered {
            (&mut self.metered_buckets, &mut self.metered_hours)
        } else {
            (&mut self.billed_buckets, &mut self.billed_hours)
        };
        if bucket.is_some() {
            buckets.insert(slot);
        }
        if bucket == Some(Bucket::CacheWrite1h) {
            hours.insert(slot);
        }
    }

    fn period(&self, model: Model<'a>, day: chrono::NaiveDate) -> Period {
        if self.monthly.contains(&model) { Period::month_of(day) } else { Period::Day(day) }
    }

    fn key(
        &self,
        slot: Slot<'a>,
        account: Option<&str>,
        bucket: Option<Bucket>,
        apart: Option<Reason>,
        notes: &mut BTreeSet<String>,
    ) -> Key {
        let ((platform, model), period) = slot;
        let mut key = Key {
            platform: platform.to_owned(),
            account: account.map(str::to_owned),
            model: model.map(str::to_owned),
            period,
            bucket,
        };
        if apart.is_some() || !self.both.contains(&slot) {
            return key;
        }
        let name = model.unwrap_or("capacity");
        if self.foreign.contains(platform) {
            key.account = None;
            notes.insert(format!("{platform}: bill and records have no account in common; all accounts together"));
        } else if self.nameless.contains(&slot) {
            key.account = None;
            notes.insert(format!("{platform} {name} {period}: some rows name no account; all accounts together"));
        }
        if let Period::Month(_) = period {
            notes.insert(format!("{platform} {name}: the bill has lines for more than a day; whole months"));
        }
        if self.metered_buckets.contains(&slot) != self.billed_buckets.contains(&slot) {
            key.bucket = None;
            notes.insert(format!("{platform} {name} {period}: one side does not tell buckets; all together"));
        } else if bucket == Some(Bucket::CacheWrite1h)
            && self.metered_hours.contains(&slot) != self.billed_hours.contains(&slot)
        {
            key.bucket = Some(Bucket::CacheWrite5m);
            notes.insert(format!("{platform} {name} {period}: one side does not tell how long caches are kept"));
        }
        key
    }
}
