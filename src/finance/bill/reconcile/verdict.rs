//! From both sides' figures to an outcome and its reason.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::super::BillLine;
use super::group::Pair;
use super::types::{Amounts, Finding, Key, Options, Outcome, Period, Prices, Reason, Tolerance};
use crate::model::Usage;
use crate::pricing::{Bucket, PriceBook, PriceQuery};

/// Fraction digits of a price that is told; a quotient has no end.
const PRICE_DIGITS: u32 = 15;

/// Every key with its outcome.
pub(super) fn judge(pairs: BTreeMap<(Key, Option<Reason>), Pair<'_>>, options: &Options<'_>) -> Vec<Finding> {
    let mut findings = Vec::with_capacity(pairs.len());
    for ((key, _), pair) in pairs {
        let prices = prices(&key, &pair, options);
        let (places, meters) = (pair.places, pair.meters);
        if pair.apart.is_some() {
            // The two sides of a key that can't be compared are two findings.
            let sides = [(pair.metered, None, Outcome::MeteredOnly), (None, pair.billed, Outcome::BilledOnly)];
            for (metered, billed, outcome) in sides {
                if metered.is_none() && billed.is_none() {
                    continue;
                }
                let (places, meters) =
                    if billed.is_some() { (places.clone(), meters.clone()) } else { Default::default() };
                let (key, reason) = (key.clone(), pair.apart);
                findings.push(Finding { key, outcome, reason, metered, billed, prices, places, meters });
            }
            continue;
        }
        let (outcome, reason) = outcome(pair.metered.as_ref(), pair.billed.as_ref(), &options.tolerance);
        let (metered, billed) = (pair.metered, pair.billed);
        findings.push(Finding { key, outcome, reason, metered, billed, prices, places, meters });
    }
    findings
}

fn nothing(side: &Amounts) -> bool {
    side.quantity.is_none_or(|count| count.is_zero()) && side.cost_complete && side.cost.values().all(Decimal::is_zero)
}

fn outcome(metered: Option<&Amounts>, billed: Option<&Amounts>, tolerance: &Tolerance) -> (Outcome, Option<Reason>) {
    let (metered, billed) = match (metered, billed) {
        (Some(metered), Some(billed)) => (metered, billed),
        (Some(side), None) | (None, Some(side)) if nothing(side) => return (Outcome::Match, None),
        (Some(_), None) => return (Outcome::MeteredOnly, None),
        _ => return (Outcome::BilledOnly, None),
    };
    let same_count =
        metered.quantity.zip(billed.quantity).map(|(metered, billed)| tolerance.same_quantity(metered, billed));
    if !metered.cost_complete {
        return (Outcome::Mismatch, Some(Reason::Unpriced));
    }
    let amounts = metered.single().zip(billed.single());
    let Some(((currency, metered_cost), (other, billed_cost))) = amounts.filter(|((a, _), (b, _))| a == b) else {
        let neither = metered.cost.is_empty() && billed.cost.is_empty();
        return (Outcome::Mismatch, Some(if neither { Reason::Incomparable } else { Reason::Currency }));
    };
    debug_assert_eq!(currency, other);
    let same_cost = tolerance.same_cost(metered_cost, billed_cost);
    let same_price = match (price(metered), price(billed)) {
        (Some(a), Some(b)) => tolerance.same_price(a, b),
        _ => same_cost,
    };
    let reason = match same_count {
        Some(true) | None if same_cost => return (Outcome::Match, None),
        None => Reason::Cost,
        Some(true) => Reason::Price,
        Some(false) if same_price => Reason::Quantity,
        Some(false) => Reason::QuantityAndPrice,
    };
    (Outcome::Mismatch, Some(reason))
}

/// Cost by quantity, where both are known.
fn price(side: &Amounts) -> Option<Decimal> {
    let quantity = side.quantity.filter(|count| *count > Decimal::ZERO)?;
    let (_, cost) = side.single().filter(|_| side.cost_complete)?;
    cost.checked_div(quantity).map(|price| price.round_dp(PRICE_DIGITS).normalize())
}

fn prices(key: &Key, pair: &Pair<'_>, options: &Options<'_>) -> Prices {
    let billed = pair.billed.as_ref().and_then(price);
    let metered = pair.metered.as_ref().and_then(price);
    let book = book_price(key, pair, options);
    let differ = |a: Decimal, b: Decimal| !options.tolerance.same_price(a, b);
    let stale = billed.zip(book).is_some_and(|(billed, book)| differ(billed, book));
    Prices { billed, metered, book, stale }
}

/// The price book's price of one for what the bill's lines count; where they have several prices, the average.
fn book_price(key: &Key, pair: &Pair<'_>, options: &Options<'_>) -> Option<Decimal> {
    let (book, bucket) = (options.book?, key.bucket?);
    let mut prices = Vec::with_capacity(pair.counted.len());
    for line in &pair.counted {
        let price = line_price(book, line, key, line.bucket.unwrap_or(bucket))?;
        prices.push((price, line.quantity.unwrap_or_default()));
    }
    let (first, _) = prices.first()?;
    if prices.iter().all(|(price, _)| price == first) {
        return Some(*first);
    }
    let (mut cost, mut count) = (Decimal::ZERO, Decimal::ZERO);
    for (price, quantity) in prices {
        cost = cost.checked_add(price.checked_mul(quantity)?)?;
        count = count.checked_add(quantity)?;
    }
    cost.checked_div(count).map(|price| price.round_dp(PRICE_DIGITS).normalize())
}

/// The price book's price of one, for a call like the bill's line.
fn line_price(book: &PriceBook, line: &BillLine, key: &Key, bucket: Bucket) -> Option<Decimal> {
    let mut usage = one_of(bucket)?;
    // A price above a threshold of the context is that of a call that passes it.
    usage.input = line.context_over.map_or(usage.input, |over| Some(over.saturating_add(1)));
    let geo = line.region.as_deref().filter(|_| line.scope.as_deref() == Some("geo")).and_then(geography);
    let query = PriceQuery {
        platform: Some(&key.platform),
        account: key.account.as_deref().or(line.account.as_deref()),
        model: line.model.as_deref(),
        scope: line.scope.as_deref(),
        geo,
        region: line.region.as_deref(),
        tier: line.tier.as_deref(),
        ..PriceQuery::new(line.period.from, &usage)
    };
    let priced = book.price(&query);
    let found = priced.lines.iter().find(|found| found.bucket == bucket)?;
    let price = found.contract_price.or(found.unit_price)?;
    // A price in another currency is no price to compare.
    (priced.currency.as_deref() == Some(line.currency.as_str())).then_some(price)
}

/// The geography that a region of AWS serves from.
fn geography(region: &str) -> Option<&'static str> {
    const OF: [(&str, &str); 4] = [("us-gov-", "us-gov"), ("us-", "us"), ("eu-", "eu"), ("ap-", "apac")];
    OF.iter().find(|(start, _)| region.starts_with(start)).map(|(_, geo)| *geo)
}

/// One unit of a bucket as the counts of a call.
const fn one_of(bucket: Bucket) -> Option<Usage> {
    const NONE: Usage = Usage {
        input: Some(0),
        cache_read: None,
        cache_write: None,
        cache_write_1h: None,
        output: Some(0),
        reasoning: None,
        audio_input: None,
        audio_output: None,
        image_input: None,
        images: None,
    };
    const ONE: Option<u64> = Some(1);
    Some(match bucket {
        Bucket::Input => Usage { input: ONE, ..NONE },
        Bucket::CacheRead => Usage { input: ONE, cache_read: ONE, ..NONE },
        Bucket::CacheWrite5m => Usage { input: ONE, cache_write: ONE, ..NONE },
        Bucket::CacheWrite1h => Usage { input: ONE, cache_write: ONE, cache_write_1h: ONE, ..NONE },
        Bucket::Output => Usage { output: ONE, ..NONE },
        Bucket::AudioInput => Usage { input: ONE, audio_input: ONE, ..NONE },
        Bucket::AudioOutput => Usage { output: ONE, audio_output: ONE, ..NONE },
        Bucket::ImageInput => Usage { input: ONE, image_input: ONE, ..NONE },
        Bucket::Image => Usage { images: ONE, ..NONE },
        Bucket::Request | Bucket::SearchUnit | Bucket::Hour => return None,
    })
}

/// Days that differ but add up to the same: the two sides cut their days elsewhere, and what one side lacks on a day it
/// has on a later one.
pub(super) fn mark_shifted(findings: &mut [Finding], tolerance: &Tolerance) {
    let mut series: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
    for (at, finding) in findings.iter().enumerate() {
        let comparable =
            matches!(finding.reason, None | Some(Reason::Quantity | Reason::QuantityAndPrice | Reason::Cost));
        if let (Period::Day(day), true) = (finding.key.period, comparable && finding.outcome != Outcome::Match) {
            let key = (&finding.key.platform, &finding.key.account, &finding.key.model, finding.key.bucket);
            series.entry(key).or_default().insert(day, at);
        }
    }
    let mut shifted = Vec::new();
    for days in series.values() {
        let mut run: Vec<usize> = Vec::new();
        for at in days.values() {
            run.push(*at);
            if settled(&run, findings, tolerance) {
                shifted.append(&mut run);
            }
        }
    }
    for at in shifted {
        if let Some(finding) = findings.get_mut(at) {
            finding.outcome = Outcome::Mismatch;
            finding.reason = Some(Reason::Shifted);
        }
    }
}

/// Whether the sums of these days are the same on both sides.
fn settled(run: &[usize], findings: &[Finding], tolerance: &Tolerance) -> bool {
    if run.len() < 2 {
        return false;
    }
    let days = || run.iter().filter_map(|at| findings.get(*at));
    let Some((count, cost)) = sum(days().map(|finding| finding.metered.as_ref())) else { return false };
    let Some((other_count, other_cost)) = sum(days().map(|finding| finding.billed.as_ref())) else { return false };
    let counts = count.zip(other_count).is_none_or(|(a, b)| tolerance.same_quantity(a, b));
    counts && tolerance.same_cost(cost, other_cost)
}

/// Quantity and cost of one side; `None` if it has several currencies.
fn sum<'a>(sides: impl Iterator<Item = Option<&'a Amounts>>) -> Option<(Option<Decimal>, Decimal)> {
    let (mut count, mut cost) = (Some(Decimal::ZERO), Decimal::ZERO);
    for side in sides.flatten() {
        count = count.zip(side.quantity).map(|(sum, more)| sum + more);
        cost += if side.cost.is_empty() { Decimal::ZERO } else { side.single()?.1 };
    }
    Some((count, cost))
}
