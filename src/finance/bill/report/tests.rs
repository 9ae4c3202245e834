//! Reports from both sides: coarser keys, sums, what is refused.

use rust_decimal::Decimal;

use super::super::reconcile::Outcome;
use super::*;
use crate::model::{HOUR_US, platform};
use crate::pricing::Bucket;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn day(n: i64) -> Interval {
    let from = Timestamp::parse("2026-10-01T00:00:00Z").unwrap().plus((n - 1) * 24 * HOUR_US);
    Interval { from, to: from.plus(24 * HOUR_US) }
}

fn metered(account: &str, n: i64, bucket: Bucket, quantity: &str, cost: &str) -> Metered {
    Metered {
        platform: platform::OPENAI.into(),
        account: Some(account.into()),
        model: Some("gpt-4o".into()),
        bucket: Some(bucket),
        from: day(n).from,
        quantity: Some(d(quantity)),
        cost: Some(d(cost)),
        currency: Some("USD".into()),
        calls: 1,
    }
}

fn billed(account: &str, n: i64, bucket: Bucket, quantity: &str, cost: &str) -> BillLine {
    BillLine {
        platform: platform::OPENAI.into(),
        account: Some(account.into()),
        model: Some("gpt-4o".into()),
        bucket: Some(bucket),
        usage_type: "gpt-4o".into(),
        period: day(n),
        quantity: Some(d(quantity)),
        cost: d(cost),
        currency: "USD".into(),
        ..BillLine::default()
    }
}

fn sides(metered: Vec<Metered>, billed: Vec<BillLine>) -> Sides {
    let sum = |costs: Vec<Decimal>| BTreeMap::from([("USD".to_owned(), costs.into_iter().sum())]);
    Sides {
        metered_cost: sum(metered.iter().filter_map(|row| row.cost).collect()),
        billed_cost: sum(billed.iter().map(|line| line.cost).collect()),
        metered,
        billed,
        now: Timestamp::parse("2026-11-02T00:00:00Z").unwrap(),
        ..Sides::default()
    }
}

fn ask() -> ReconcileAsk {
    ReconcileAsk::month("2026-10".parse().unwrap())
}

/// Days and accounts are shifted against each other; the month is the same.
fn shifted() -> Sides {
    let own = vec![
        metered("p1", 1, Bucket::Input, "1000", "2.5"),
        metered("p2", 2, Bucket::Input, "3000", "7.5"),
        metered("p2", 2, Bucket::Output, "10", "0.1"),
    ];
    let bill = vec![
        billed("p1", 2, Bucket::Input, "1000", "2.5"),
        billed("p2", 9, Bucket::Input, "3000", "7.5"),
        billed("p2", 2, Bucket::Output, "10", "0.1"),
    ];
    sides(own, bill)
}

#[test]
fn coarser_keys_compare_larger_sums() {
    let book = PriceBook::from_rows(Vec::new()).unwrap();
    let fine = ReconcileReport::new(ask(), shifted(), &book).unwrap();
    assert!(fine.differences().count() > 0);
    let month = ReconcileReport::new(ask().by("account,model,bucket").unwrap(), shifted(), &book).unwrap();
    assert_eq!(month.differences().count(), 0);
    assert_eq!(month.result.findings.len(), 3);
    assert!(month.result.findings.iter().all(|finding| finding.key.period.to_string() == "2026-10"));
    let whole = ReconcileReport::new(ask().by("model").unwrap(), shifted(), &book).unwrap();
    assert_eq!(whole.result.findings.len(), 1);
    assert_eq!(whole.result.findings[0].metered.as_ref().unwrap().quantity, Some(d("4010")));
    assert!(ask().by("team").is_err());
}

#[test]
fn every_form_tells_sums_that_are_both_sides() {
    let mut both = shifted();
    both.billed.push(BillLine {
        category: Category::Tax,
        model: None,
        bucket: None,
        quantity: None,
        ..billed("p1", 1, Bucket::Input, "0", "1.9")
    });
    *both.billed_cost.get_mut("USD").unwrap() += d("1.9");
    let book = PriceBook::from_rows(Vec::new()).unwrap();
    let report = ReconcileReport::new(ask().by("account,bucket").unwrap(), both, &book).unwrap();
    let totals = report.totals();
    assert_eq!(totals.rows.len(), 5, "four outcomes and their sum");
    let last = totals.json().pop().unwrap();
    assert_eq!((&last["metered_cost"], &last["billed_cost"]), (&"10.1".into(), &"12".into()));
    assert_eq!(report.without_records().count(), 1);
    let table = report.table();
    assert!(table.contains("Nothing differs.") && table.contains("no record stands behind"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("billed_only  tax")), "{table}");
    assert_eq!(report.json()["findings"].as_array().unwrap().len(), 4);
    let csv = report.whole_grid().csv();
    assert!(csv.contains("\r\ntotal,TOTAL,") && csv.contains("\r\nfinding,billed_only,tax,openai,"), "{csv}");
}

#[test]
fn a_report_that_is_not_both_sides_is_not_made() {
    let book = PriceBook::from_rows(Vec::new()).unwrap();
    let mut wrong = shifted();
    *wrong.metered_cost.get_mut("USD").unwrap() += Decimal::new(1, 12);
    let error = ReconcileReport::new(ask(), wrong, &book).unwrap_err().to_string();
    assert!(error.contains("metered") && error.contains("10.100000000001"), "{error}");
    let none = ReconcileReport::new(ask(), sides(Vec::new(), Vec::new()), &book).unwrap_err();
    assert!(none.to_string().contains("polymeter bill import"), "{none}");
}

#[test]
fn tolerances_are_shares_or_amounts() {
    let exact = |tokens: &str, cost: &str| ask().tokens(tokens).unwrap().cost(cost).unwrap();
    let book = PriceBook::from_rows(Vec::new()).unwrap();
    let both = || {
        let own = vec![metered("p", 1, Bucket::Input, "1000", "2.5")];
        sides(own, vec![billed("p", 1, Bucket::Input, "1001", "2.5025")])
    };
    let outcome = |ask| ReconcileReport::new(ask, both(), &book).unwrap().result.findings[0].outcome;
    assert_eq!(outcome(exact("0", "0")), Outcome::Mismatch);
    assert_eq!(outcome(exact("0.1%", "0.1%")), Outcome::Match);
    assert_eq!(outcome(exact("0.05 %", "0.05%")), Outcome::Mismatch);
    assert_eq!(outcome(exact("1", "0.01")), Outcome::Match);
    for wrong in ["", "-1", "1,5%", "many"] {
        assert!(ask().tokens(wrong).is_err(), "{wrong}");
    }
}
