//! Whole exports: capacity, corrections, and what is refused.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::*;
use crate::finance::calendar::Month;
use crate::model::{Call, Pattern, Timestamp, Usage, platform};
use crate::pricing::{Bucket, Commitment as Bought, PriceBook, RateScope, Unused, Weights};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn month() -> Month {
    "2026-10".parse().unwrap()
}

fn ptu(unused: Unused) -> Bought {
    Bought {
        commitment_id: "ptu-1".into(),
        platform: platform::AZURE_OPENAI.into(),
        account: Some(Pattern::new("sub-1")),
        units: d("100"),
        hourly: Some((d("1.37"), "USD".into())),
        capacity: d("3000"),
        scope: RateScope::Any,
        weights: Weights::default(),
        unused,
        valid_from: at("2026-10-01T00:00:00Z"),
        valid_to: Some(at("2026-10-03T00:00:00Z")),
        ..Bought::default()
    }
}

fn call(ts: &str, input: u64) -> Call {
    Call {
        ts: at(ts),
        platform: Some(platform::AZURE_OPENAI.into()),
        account: Some("sub-1".into()),
        tier: Some("provisioned".into()),
        usage: Usage { input: Some(input), output: Some(0), ..Usage::default() },
        ..Call::default()
    }
}

fn team(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("team".to_owned(), name.to_owned())])
}

fn inputs(bought: &[Bought]) -> ExportInputs {
    let mut capacity = Capacity::new(bought);
    assert!(capacity.take(&call("2026-10-01T10:05:00Z", 1000), &team("search")));
    assert!(capacity.take(&call("2026-10-01T10:15:00Z", 1000), &team("support")));
    assert!(capacity.take(&call("2026-10-02T23:15:00Z", 9000), &team("support")));
    assert!(!capacity.take(&call("2026-10-03T00:15:00Z", 9000), &team("support")), "the commitment has ended");
    let now = at("2026-11-01T00:00:00Z");
    let book = PriceBook::from_rows(Vec::new()).unwrap();
    let CapacityLines { lines, cost, .. } = capacity.lines(&FocusAsk::month(month()), &book, "v1", now).unwrap();
    ExportInputs { capacity: lines, capacity_cost: cost, now, ..ExportInputs::default() }
}

fn effective(rows: &[FocusRow], of: &str) -> Decimal {
    let is = |row: &&FocusRow| match (&row.line.charge, of) {
        (Charge::Unused { .. }, "unused") => true,
        (Charge::Used { .. }, _) => row.line.tags.get("team").is_some_and(|team| team == of),
        _ => false,
    };
    rows.iter().filter(is).map(|row| row.effective_cost).sum()
}

#[test]
fn capacity_is_paid_once_and_borne_by_who_used_it() {
    let export = FocusExport::new(FocusAsk::month(month()), inputs(&[ptu(Unused::Keep)])).unwrap();
    let paid: Decimal = export.rows.iter().map(|row| row.billed_cost).sum();
    assert_eq!(paid, d("48") * d("137"));
    // A third of one hour each, the last digit by largest remainder; all of another.
    assert_eq!(effective(&export.rows, "search"), d("45.666666666667"));
    assert_eq!(effective(&export.rows, "support"), d("45.666666666666") + d("137"));
    let rest = effective(&export.rows, "unused");
    assert_eq!(rest + effective(&export.rows, "search") + effective(&export.rows, "support"), paid);
    let owner = FocusExport::new(FocusAsk::month(month()), inputs(&[ptu(Unused::Owner("search".into()))])).unwrap();
    assert_eq!(effective(&owner.rows, "unused"), Decimal::ZERO);
    assert_eq!(effective(&owner.rows, "search") + effective(&owner.rows, "support"), paid);
}

#[test]
fn hours_without_a_price_are_declared_and_not_zero() {
    let bought = [Bought { hourly: None, ..ptu(Unused::Keep) }];
    let capacity = Capacity::new(&bought);
    let book = PriceBook::from_rows(Vec::new()).unwrap();
    let now = at("2026-10-01T05:30:00Z");
    let found = capacity.lines(&FocusAsk::month(month()), &book, "v1", now).unwrap();
    assert!(found.lines.is_empty() && found.cost.is_empty());
    // Five hours are over.
    assert_eq!((found.unpriced[0].bucket, found.unpriced[0].quantity), (Bucket::Hour, d("500")));
}

fn correction(cost: &str, tags: BTreeMap<String, String>) -> CorrectionLine {
    CorrectionLine {
        platform: platform::BEDROCK.into(),
        model: Some("claude-sonnet-4".into()),
        publisher: Some("anthropic".into()),
        account: Some("222222222222".into()),
        region: None,
        tags,
        tokens: d("-1200"),
        list_cost: d("-0.5"),
        cost: d(cost),
        currency: "USD".into(),
        of: "2026-09".parse().unwrap(),
        line: None,
        reason: "late_data".into(),
    }
}

#[test]
fn corrections_are_rows_of_the_open_month_and_keep_their_sums() {
    let corrections = vec![correction("-0.4", team("search")), correction("0.4", team("support"))];
    let inputs = ExportInputs { corrections, now: at("2026-11-02T00:00:00Z"), ..ExportInputs::default() };
    let export = FocusExport::new(FocusAsk::month(month()), inputs).unwrap();
    assert_eq!(export.rows.len(), 2);
    assert_eq!(export.rows.iter().map(|row| row.billed_cost).sum::<Decimal>(), Decimal::ZERO);
    assert_eq!(export.rows.iter().map(|row| row.list_cost).sum::<Decimal>(), d("-1"));
    let cells: BTreeMap<&str, Cell> =
        columns(FocusVersion::V1_2).iter().map(|column| (column.name, (column.get)(&export.rows[0]))).collect();
    assert_eq!(cells["ChargeClass"], Cell::Text("Correction".into()));
    assert_eq!(cells["x_CorrectionOf"], Cell::Text("2026-09".into()));
    assert_eq!(cells["x_CorrectionReason"], Cell::Text("late_data".into()));
    assert_eq!(cells["BillingPeriodStart"], Cell::Instant(at("2026-10-01T00:00:00Z")));
    assert_eq!(cells["ChargePeriodStart"], Cell::Instant(at("2026-09-01T00:00:00Z")));
    assert_eq!(cells["ContractedUnitPrice"], Cell::Null);
    assert_eq!(cells["ConsumedQuantity"], Cell::Decimal(d("-1200")));
    assert_eq!(export.manifest("f.csv", export.csv().as_bytes()).corrections, 2);
}

#[test]
fn a_month_that_goes_on_and_sums_that_differ_are_refused() {
    let ask = || FocusAsk::month(month());
    let early = ExportInputs { now: at("2026-10-31T23:59:59Z"), ..ExportInputs::default() };
    assert_eq!(FocusExport::new(ask(), early.clone()).unwrap_err(), FocusRefusal::NotEnded(month()));
    assert!(FocusExport::new(FocusAsk { partial: true, ..ask() }, early).is_ok());
    let ledger = BTreeMap::from([("USD".to_owned(), LedgerSums { list: d("1"), cost: d("0.000000000001") })]);
    let now = at("2026-11-02T00:00:00Z");
    let refused = FocusExport::new(ask(), ExportInputs { ledger, now, ..ExportInputs::default() }).unwrap_err();
    assert!(
        refused.to_string().contains("ContractedCost of usage is 0 USD, the ledger says 0.000000000001"),
        "{refused}"
    );
    let mut unpaid = inputs(&[ptu(Unused::Keep)]);
    unpaid.capacity_cost.insert("USD".into(), d("1"));
    let refused = FocusExport::new(ask(), unpaid).unwrap_err().to_string();
    assert!(refused.contains("capacity cost 1 USD"), "{refused}");
}

/// For the official validator, where somebody asks for it: usage, capacity and corrections in one file.
#[test]
fn a_whole_month_for_the_official_validator() {
    let rate = |bucket: Bucket, quantity: &str, price: &str| UsageLine {
        period: FocusAsk::month(month()).period(at("2026-10-12T14:00:00Z")),
        platform: platform::BEDROCK.into(),
        billing_account: accounts(platform::BEDROCK, Some("222222222222"), &BTreeMap::new()).0,
        model: "claude-sonnet-4".into(),
        publisher: Some("anthropic".into()),
        bucket,
        scope: "*".into(),
        tier: "standard".into(),
        quantity: d(quantity),
        list_unit_price: Some(d(price)),
        unit_price: d(price),
        currency: "USD".into(),
        calls: 3,
        price_row_id: "row".into(),
        price_book: "v1".into(),
        tags: team("search"),
        ..UsageLine::default()
    };
    // One call cost a digit less in the ledger, which keeps twelve.
    let rounding = UsageLine {
        charge: Charge::Difference { list_cost: d("-0.0000000000003"), cost: d("-0.0000000000003") },
        quantity: Decimal::ZERO,
        list_unit_price: None,
        ..rate(Bucket::Input, "0", "0")
    };
    let usage = vec![rate(Bucket::Input, "1234567", "0.000003"), rate(Bucket::Output, "234567", "0.000015"), rounding];
    let sum = d("3.703701") + d("3.518505") - d("0.0000000000003");
    let inputs = ExportInputs {
        usage,
        ledger: BTreeMap::from([("USD".to_owned(), LedgerSums { list: sum, cost: sum })]),
        corrections: vec![correction("-0.4", team("search")), correction("0.4", team("support"))],
        ..inputs(&[ptu(Unused::Keep)])
    };
    let export = FocusExport::new(FocusAsk::month(month()), inputs).unwrap();
    assert_eq!(export.csv(), export.csv());
    let Ok(folder) = std::env::var("POLYMETER_FOCUS_OUT") else { return };
    std::fs::write(std::path::Path::new(&folder).join("month.csv"), export.csv()).unwrap();
}
