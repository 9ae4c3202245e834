//! One case per rule.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::super::Category;
use super::*;
use crate::model::{HOUR_US, Interval, Timestamp, platform};
use crate::pricing::{Bucket, PriceBook, Rate};

pub(super) const DAY_US: i64 = 24 * HOUR_US;

pub(super) fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// The n-th day of October 2026.
pub(super) fn day(n: i64) -> Timestamp {
    Timestamp::parse("2026-10-01T00:00:00Z").unwrap().plus((n - 1) * DAY_US)
}

pub(super) fn row(n: i64, model: &str, bucket: Bucket, quantity: i64, price: &str) -> Metered {
    let quantity = Decimal::from(quantity);
    Metered {
        platform: platform::OPENAI.into(),
        account: Some("a".into()),
        model: Some(model.into()),
        bucket: Some(bucket),
        from: day(n),
        quantity: Some(quantity),
        cost: Some(quantity * d(price)),
        currency: Some("USD".into()),
        calls: 1,
    }
}

pub(super) fn line(n: i64, model: &str, bucket: Bucket, quantity: i64, price: &str) -> BillLine {
    let quantity = Decimal::from(quantity);
    BillLine {
        platform: platform::OPENAI.into(),
        account: Some("a".into()),
        model: Some(model.into()),
        bucket: Some(bucket),
        period: Interval { from: day(n), to: day(n + 1) },
        quantity: Some(quantity),
        cost: quantity * d(price),
        currency: "USD".into(),
        ..BillLine::default()
    }
}

fn told(answer: &Reconciliation) -> Vec<(Outcome, Option<Reason>)> {
    answer.findings.iter().map(|finding| (finding.outcome, finding.reason)).collect()
}

/// The sums of the findings are those of the input, to the last digit.
pub(super) fn assert_sums(answer: &Reconciliation, metered: &[Metered], billed: &[BillLine]) {
    let (m, b) = answer.totals.all("USD");
    assert_eq!(m, metered.iter().filter_map(|row| row.cost).sum::<Decimal>());
    assert_eq!(b, billed.iter().map(|line| line.cost).sum::<Decimal>());
}

const IN: Bucket = Bucket::Input;
const OUT: Bucket = Bucket::Output;

#[test]
fn every_outcome_and_its_reason() {
    let metered = [
        row(1, "m", IN, 1000, "0.002"),
        row(2, "m", IN, 1000, "0.002"),
        row(3, "m", IN, 1000, "0.002"),
        row(4, "m", IN, 900, "0.002"),
        row(5, "m", IN, 900, "0.002"),
    ];
    let billed = [
        line(1, "m", IN, 1000, "0.002"),
        line(2, "m", IN, 1000, "0.003"),
        line(4, "m", IN, 1000, "0.002"),
        line(5, "m", IN, 1000, "0.003"),
        line(6, "m", IN, 7, "0.002"),
    ];
    let answer = reconcile(&metered, &billed, &Options::default());
    assert_eq!(
        told(&answer),
        [
            (Outcome::Match, None),
            (Outcome::Mismatch, Some(Reason::Price)),
            (Outcome::MeteredOnly, None),
            (Outcome::Mismatch, Some(Reason::Quantity)),
            (Outcome::Mismatch, Some(Reason::QuantityAndPrice)),
            (Outcome::BilledOnly, None),
        ]
    );
    assert_eq!(answer.findings[1].prices.billed, Some(d("0.003")));
    assert_eq!(answer.findings[1].prices.metered, Some(d("0.002")));
    assert_sums(&answer, &metered, &billed);
    assert!(answer.notes.is_empty(), "{:?}", answer.notes);
}

#[test]
fn tolerances_are_absolute_or_relative() {
    let metered = [row(1, "m", IN, 100_000, "0.002")];
    let billed = [line(1, "m", IN, 100_050, "0.002")];
    let one = |tolerance| reconcile(&metered, &billed, &Options { tolerance, ..Options::default() });
    assert_eq!(one(Tolerance::default()).findings[0].outcome, Outcome::Match);
    assert_eq!(one(Tolerance::EXACT).findings[0].outcome, Outcome::Mismatch);
    let absolute = Tolerance { quantity: d("50"), cost: d("0.1"), ..Tolerance::EXACT };
    assert_eq!(one(absolute).findings[0].outcome, Outcome::Match);
}

#[test]
fn a_stale_rate_is_told_by_the_bills_own_price() {
    let rate = Rate {
        row_id: "r".into(),
        platform: platform::OPENAI.into(),
        model: "m".into(),
        tier: "standard".into(),
        bucket: IN,
        per: d("1000000"),
        amount: d("10"),
        currency: "USD".into(),
        ..Rate::default()
    };
    let book = PriceBook::from_rows(vec![rate]).unwrap();
    let options = Options { book: Some(&book), ..Options::default() };
    let metered = [row(1, "m", IN, 1000, "0.00001"), row(2, "m", IN, 1000, "0.00001")];
    let billed = [line(1, "m", IN, 1000, "0.000002"), line(2, "m", IN, 1000, "0.00001")];
    let answer = reconcile(&metered, &billed, &options);
    assert!(answer.findings[0].prices.stale && !answer.findings[1].prices.stale);
    assert_eq!(answer.findings[0].prices.book, Some(d("0.00001")));
}

#[test]
fn a_monthly_bill_is_compared_by_month() {
    let metered: Vec<_> = (1..=31).map(|n| row(n, "m", IN, 10, "0.5")).collect();
    let mut whole = line(1, "m", IN, 310, "0.5");
    whole.period.to = day(32);
    let answer = reconcile(&metered, &[whole.clone()], &Options::default());
    assert_eq!(told(&answer), [(Outcome::Match, None)]);
    assert_eq!(answer.findings[0].key.period.to_string(), "2026-10");
    assert!(answer.notes.iter().any(|note| note.contains("whole months")));
    whole.cost += Decimal::ONE_HUNDRED;
    let answer = reconcile(&metered, &[whole], &Options::default());
    assert_eq!(told(&answer), [(Outcome::Mismatch, Some(Reason::Price))]);
}

#[test]
fn days_that_the_bill_cuts_elsewhere() {
    // Calls at 23:00 UTC on days 1 and 2 are on the next day in Berlin.
    let at = |n: i64, hour: i64| Metered { from: day(n).plus(hour * HOUR_US), ..row(n, "m", IN, 100, "0.5") };
    let metered = [at(1, 10), at(1, 23), at(2, 10), at(2, 23), at(3, 10)];
    let billed = [line(1, "m", IN, 100, "0.5"), line(2, "m", IN, 200, "0.5"), line(3, "m", IN, 200, "0.5")];
    let utc = reconcile(&metered, &billed, &Options::default());
    let shifted = Some(Reason::Shifted);
    assert_eq!(
        told(&utc),
        [(Outcome::Mismatch, shifted), (Outcome::Match, None), (Outcome::Mismatch, shifted)]
            .map(|(outcome, reason)| if outcome == Outcome::Match { (outcome, None) } else { (outcome, reason) })
    );
    let local = reconcile(&metered, &billed, &Options { bill_offset_minutes: 120, ..Options::default() });
    assert!(local.differences().next().is_none(), "{:?}", told(&local));
}

#[test]
fn what_one_side_does_not_know_is_compared_together() {
    // A cost report without counts and without accounts.
    let metered = [row(1, "m", IN, 1000, "0.002"), row(1, "m", OUT, 10, "0.1")];
    let mut billed = line(1, "m", IN, 0, "0");
    (billed.account, billed.bucket, billed.quantity, billed.cost) = (None, None, None, d("3"));
    let answer = reconcile(&metered, std::slice::from_ref(&billed), &Options::default());
    assert_eq!(told(&answer), [(Outcome::Match, None)]);
    assert_eq!(answer.notes.len(), 2, "{:?}", answer.notes);
    billed.cost = d("4");
    let answer = reconcile(&metered, &[billed], &Options::default());
    assert_eq!(told(&answer), [(Outcome::Mismatch, Some(Reason::Cost))]);
    // Accounts with other names, and cache writes whose time is not told.
    let mut strange = [row(1, "m", Bucket::CacheWrite5m, 5, "0.1"), row(1, "m", Bucket::CacheWrite1h, 5, "0.1")];
    strange.iter_mut().for_each(|row| row.account = Some("org".into()));
    let billed = [line(1, "m", Bucket::CacheWrite5m, 10, "0.1")];
    assert_eq!(told(&reconcile(&strange, &billed, &Options::default())), [(Outcome::Match, None)]);
}

#[test]
fn what_has_no_counterpart_is_listed_with_its_reason() {
    let tax = BillLine { category: Category::Tax, model: None, bucket: None, ..line(1, "m", IN, 1, "19") };
    let unknown = BillLine { model: None, usage_type: "Zork".into(), ..line(1, "m", IN, 5, "1") };
    let discount = BillLine { category: Category::Discount, quantity: None, ..line(1, "m", IN, 1, "-1") };
    let metered = [row(1, "m", IN, 9, "1"), Metered { model: None, ..row(1, "m", IN, 5, "1") }];
    let billed = [line(1, "m", IN, 10, "1"), tax, unknown, discount];
    let answer = reconcile(&metered, &billed, &Options::default());
    let unpriced = Metered { cost: None, currency: None, ..row(2, "m", IN, 9, "1") };
    let told = told(&answer);
    assert!(told.contains(&(Outcome::BilledOnly, Some(Reason::Category(Category::Tax)))));
    assert!(told.contains(&(Outcome::BilledOnly, Some(Reason::UnknownModel))));
    assert!(told.contains(&(Outcome::MeteredOnly, Some(Reason::UnknownModel))));
    // The discount lowers the cost of the model: 10 - 1 = 9, but the counts differ.
    assert!(told.contains(&(Outcome::Mismatch, Some(Reason::QuantityAndPrice))));
    assert_sums(&answer, &metered, &billed);
    let euro = BillLine { currency: "EUR".into(), ..line(3, "m", IN, 9, "1") };
    let answer =
        reconcile(&[unpriced, row(3, "m", IN, 9, "1")], &[line(2, "m", IN, 9, "1"), euro], &Options::default());
    let reasons: Vec<_> = answer.findings.iter().filter_map(|finding| finding.reason).collect();
    assert_eq!(reasons, [Reason::Unpriced, Reason::Currency]);
    assert_eq!(answer.findings[0].key.period, Period::Day(NaiveDate::from_ymd_opt(2026, 10, 2).unwrap()));
}
