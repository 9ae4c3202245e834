//! Rows, their file and what is found wrong in them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use proptest::prelude::{Strategy, prop_assert_eq, proptest};
use rust_decimal::Decimal;

use super::*;
use crate::model::{HOUR_US, Interval, Timestamp, platform};
use crate::pricing::{Bucket, Mode};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn day(text: &str) -> Interval {
    let from = Timestamp::parse(&format!("{text}T00:00:00Z")).unwrap();
    Interval { from, to: from.plus(24 * HOUR_US) }
}

fn party(id: &str, kind: &str) -> Party {
    Party { id: id.into(), name: None, kind: kind.into() }
}

fn line(bucket: Bucket, quantity: &str, price: &str) -> UsageLine {
    let tags = [("team", "search"), ("feature", "rag, \"answers\"")];
    UsageLine {
        period: day("2026-10-12"),
        platform: platform::BEDROCK.into(),
        billing_account: party("111111111111", "Payer"),
        sub_account: Some(party("222222222222", "Account")),
        region: Some(("us-east-1".into(), Some("US East (N. Virginia)".into()))),
        resource: Some(Resource { id: "arn:x:profile/a".into(), name: None, kind: "Inference Profile".into() }),
        model: "claude-sonnet-4".into(),
        publisher: Some("anthropic".into()),
        bucket,
        scope: "geo:us".into(),
        tier: "standard".into(),
        quantity: d(quantity),
        list_unit_price: Some(d(price)),
        unit_price: d(price),
        currency: "USD".into(),
        calls: 3,
        price_row_id: format!("row-{bucket}-{price}"),
        price_book: "b1".into(),
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..UsageLine::default()
    }
}

/// Usage of two clouds under list and contract, a correction of September, and capacity in part unused.
fn sample(capacity: bool) -> Vec<UsageLine> {
    let azure = |bucket, quantity: &str, list: &str, price: &str| UsageLine {
        platform: platform::AZURE_OPENAI.into(),
        billing_account: party("EA-1", "Enrollment"),
        sub_account: Some(party("0a-1b", "Subscription")),
        region: Some(("swedencentral".into(), None)),
        model: "gpt-4o".into(),
        publisher: Some("openai".into()),
        scope: "global".into(),
        list_unit_price: Some(d(list)),
        invoice: Some("PROVISIONAL-2026-10".into()),
        ..line(bucket, quantity, price)
    };
    let direct = UsageLine {
        platform: platform::ANTHROPIC.into(),
        billing_account: party("org-1", "Organization"),
        region: None,
        resource: None,
        sub_account: None,
        scope: "*".into(),
        mode: Mode::Batch,
        context_over: Some(200_000),
        publisher: None,
        ..line(Bucket::Input, "17", "0.000003")
    };
    let correction = |quantity: &str, price: &str| UsageLine {
        period: day("2026-09-30"),
        correction: Some(Correction {
            of: "2026-09/claude-sonnet-4/input".into(),
            reason: "price_change".into(),
            posted: NaiveDate::from_ymd_opt(2026, 10, 5).unwrap(),
        }),
        ..line(Bucket::Input, quantity, price)
    };
    let mut lines = vec![
        line(Bucket::Input, "1234567", "0.000003"),
        line(Bucket::Output, "234567", "0.000015"),
        line(Bucket::CacheRead, "5000000", "0.0000003"),
        line(Bucket::CacheWrite5m, "300001", "0.00000375"),
        line(Bucket::CacheWrite1h, "1", "0.000006"),
        line(Bucket::Request, "12", "0.01"),
        azure(Bucket::Input, "2000000", "0.0000025", "0.000002875"),
        azure(Bucket::Output, "150000", "0.00001", "0.0000115"),
        direct,
        correction("-1000000", "0.000003"),
        correction("1000000", "0.000002"),
    ];
    if capacity {
        let of = Commitment { id: "ptu-1".into(), name: "PTU October".into(), kind: "Reservation".into() };
        let hours = |quantity: &str, price: &str, charge| UsageLine {
            charge,
            mode: Mode::Provisioned,
            calls: 0,
            ..azure(Bucket::Hour, quantity, price, price)
        };
        lines.push(hours("70", "1", Charge::Used { of: of.clone(), effective_cost: d("35") }));
        lines.push(hours("30", "1", Charge::Unused { of: of.clone(), effective_cost: d("15") }));
        lines.push(hours("100", "0.5", Charge::Purchase { of }));
    }
    lines
}

fn cell(row: &FocusRow, name: &str) -> Cell {
    (columns(FocusVersion::V1_2).iter().find(|column| column.name == name).unwrap().get)(row)
}

#[test]
fn the_four_costs_are_their_own() {
    let rows = rows(&sample(true)).unwrap();
    assert_eq!(check(&rows, None), Vec::<String>::new());
    let of = |model: &str, meter: &str, kind: &str| {
        let is = |row: &&FocusRow| {
            row.line.model == model
                && cell(row, "SkuMeter") == Cell::Text(meter.into())
                && cell(row, "ChargeDescription") != Cell::Text(String::new())
                && format!("{:?}", row.line.charge).starts_with(kind)
        };
        let row = rows.iter().find(is).unwrap();
        [row.list_cost, row.contracted_cost, row.effective_cost, row.billed_cost]
            .map(|cost| cost.normalize().to_string())
    };
    assert_eq!(of("gpt-4o", "Input Tokens", "OnDemand"), ["5", "5.75", "5.75", "5.75"]);
    assert_eq!(of("gpt-4o", "Capacity Hours", "Used"), ["70", "70", "35", "0"]);
    assert_eq!(of("gpt-4o", "Capacity Hours", "Unused"), ["30", "30", "15", "0"]);
    assert_eq!(of("gpt-4o", "Capacity Hours", "Purchase"), ["50", "50", "0", "50"]);
    let input = rows.iter().find(|row| row.line.quantity == d("1234567")).unwrap();
    assert_eq!((input.pricing_quantity, input.list_unit_price), (d("1.234567"), d("3")));
    assert_eq!(input.list_cost, d("3.703701"));
    assert_eq!(cell(input, "ConsumedUnit"), Cell::Text("Tokens".into()));
}

#[test]
fn corrections_are_marked_and_billed_in_the_open_month() {
    let rows = rows(&sample(false)).unwrap();
    let corrections: Vec<_> = rows.iter().filter(|row| row.line.correction.is_some()).collect();
    assert_eq!(corrections.len(), 2);
    assert_eq!(corrections.iter().map(|row| row.billed_cost).sum::<Decimal>(), d("-1"));
    for row in corrections {
        assert_eq!(cell(row, "ChargeClass"), Cell::Text("Correction".into()));
        assert_eq!(row.billing_start, day("2026-10-01").from);
        assert_eq!(row.billing_end, day("2026-11-01").from);
        assert_eq!(row.line.period, day("2026-09-30"));
    }
    // One that comes to nothing is none; a negative quantity outside one is refused.
    let late =
        |quantity: &str| UsageLine { correction: Some(Correction::default()), ..line(Bucket::Input, quantity, "1") };
    assert!(super::rows(&[late("5"), late("-5")]).unwrap().is_empty());
    assert!(matches!(super::rows(&[line(Bucket::Input, "-5", "1")]), Err(FocusError::Negative(_))));
}

#[test]
fn rows_of_one_key_are_one_row_in_any_order() {
    let mut lines =
        vec![line(Bucket::Input, "5", "0.1"), line(Bucket::Output, "7", "0.1"), line(Bucket::Input, "6", "0.1")];
    let rows = rows(&lines).unwrap();
    assert_eq!(rows.iter().map(|row| row.line.quantity).collect::<Vec<_>>(), [d("11"), d("7")]);
    assert_eq!(rows[0].line.calls, 6);
    let file = write_csv(&rows, FocusVersion::V1_2);
    lines.reverse();
    assert_eq!(write_csv(&super::rows(&lines).unwrap(), FocusVersion::V1_2), file);
}

#[test]
fn the_file_is_rfc_4180_with_exact_decimals() {
    let rows = rows(&sample(true)).unwrap();
    let file = write_csv(&rows, FocusVersion::V1_2);
    assert!(file.ends_with("\r\n"));
    let mut reader = ::csv::Reader::from_reader(file.as_bytes());
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows.len());
    for record in &records {
        for name in ["ListCost", "ListUnitPrice", "PricingQuantity", "BilledCost", "EffectiveCost"] {
            assert!(record[at(name)].contains('.') && record[at(name)].parse::<Decimal>().is_ok());
        }
        assert!(record[at("ChargePeriodStart")].ends_with("T00:00:00Z"));
        let tags: BTreeMap<String, String> = serde_json::from_str(&record[at("Tags")]).unwrap();
        assert_eq!(tags["feature"], "rag, \"answers\"");
    }
    let read: Decimal = records.iter().map(|record| record[at("BilledCost")].parse::<Decimal>().unwrap()).sum();
    assert_eq!(read, sums(&rows)["USD"].billed);
    assert!(!header.iter().any(|name| name == "ServiceProviderName"));
    let newest = columns(FocusVersion::V1_4);
    assert!(newest.iter().any(|column| column.name == "ServiceProviderName"));
    assert!(!newest.iter().any(|column| column.name == "ProviderName"));
}

#[test]
fn our_checks_find_what_the_validator_misses() {
    let good = rows(&sample(true)).unwrap();
    let broken = |change: fn(&mut FocusRow)| {
        let mut rows = good.clone();
        change(rows.iter_mut().find(|row| row.line.correction.is_none()).unwrap());
        check(&rows, None)
    };
    let found = [
        broken(|row| row.list_cost += Decimal::new(1, 12)),
        broken(|row| row.contracted_cost = Decimal::ZERO),
        broken(|row| row.line.billing_account.id.clear()),
        broken(|row| row.line.price_row_id.clear()),
        broken(|row| row.billing_start = Timestamp(row.billing_end.0 - 1)),
        broken(|row| row.line.quantity = Decimal::NEGATIVE_ONE),
    ];
    for (at, found) in found.iter().enumerate() {
        assert_eq!(found.len(), if at == 2 { 2 } else { 1 }, "case {at}: {found:?}");
    }
    let doubled: Vec<_> = good.iter().chain(good.first()).cloned().collect();
    assert!(check(&doubled, None)[0].contains("same key"));
    let unpaid: Vec<_> = good
        .iter()
        .cloned()
        .map(|mut row| {
            if let Charge::Used { effective_cost, .. } = &row.line.charge {
                row.effective_cost = *effective_cost - Decimal::ONE;
            }
            row
        })
        .collect();
    assert!(check(&unpaid, None)[0].contains("rows of use bear 49"), "{:?}", check(&unpaid, None));
    let mut expected = sums(&good);
    assert!(check(&good, Some(&expected)).is_empty());
    expected.get_mut("USD").unwrap().billed += Decimal::new(1, 12);
    assert_eq!(check(&good, Some(&expected)).len(), 1);
}

#[test]
fn lines_that_can_not_be_rows_are_refused() {
    let over = UsageLine {
        period: Interval { to: day("2026-11-02").to, ..day("2026-10-31") },
        ..line(Bucket::Input, "1", "1")
    };
    assert!(matches!(rows(&[over]), Err(FocusError::Period(_))));
    let fine = line(Bucket::Input, "1234567890123456789", "1.234567890123");
    assert!(matches!(rows(&[fine]), Err(FocusError::TooFine(_))));
    let nameless = UsageLine { billing_account: Party::default(), ..line(Bucket::Input, "1", "1") };
    assert!(matches!(rows(&[nameless]), Err(FocusError::Missing(_, "the billing account"))));
}

#[test]
fn the_manifest_tells_what_has_no_row() {
    let rows = rows(&sample(false)).unwrap();
    let file = write_csv(&rows, FocusVersion::V1_2);
    let unpriced = UnpricedUsage {
        platform: "openai".into(),
        model: Some("o9".into()),
        bucket: Bucket::Input,
        quantity: d("77"),
        calls: 2,
    };
    let manifest = Manifest { unpriced: vec![unpriced], ..Manifest::of(&rows, FocusVersion::V1_2, file.as_bytes()) };
    let read: serde_json::Value = serde_json::from_str(&manifest.to_json()).unwrap();
    assert_eq!(read["rows"], rows.len());
    assert_eq!(read["sums"]["USD"]["BilledCost"], sums(&rows)["USD"].billed.normalize().to_string());
    assert_eq!(read["unpriced"][0]["quantity"], "77");
    assert_eq!(read["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_priced_call_becomes_lines() {
    use crate::model::Usage;
    use crate::pricing::{Contract, PriceBook, PriceQuery, Rate, RateScope, Terms};
    let rate = |bucket, amount: &str| Rate {
        row_id: format!("list-{bucket}"),
        platform: platform::BEDROCK.into(),
        model: "claude-sonnet-4".into(),
        scope: RateScope::Any,
        tier: "standard".into(),
        bucket,
        per: d("1000000"),
        amount: d(amount),
        currency: "USD".into(),
        ..Rate::default()
    };
    let contract = Contract {
        row_id: "premium".into(),
        contract_id: "premium".into(),
        platform: platform::BEDROCK.into(),
        terms: Terms::Multiplier(d("1.15")),
        account: None,
        model: None,
        scope: RateScope::Any,
        tier: None,
        mode: None,
        valid_from: None,
        valid_to: None,
        recorded_at: Timestamp(0),
        source: String::new(),
        source_ref: String::new(),
        note: String::new(),
    };
    let list = [rate(Bucket::Input, "3"), rate(Bucket::Output, "15")];
    let book = PriceBook::new(list.to_vec(), vec![contract]).unwrap();
    let usage = Usage { input: Some(1100), cache_read: Some(100), output: Some(10), ..Usage::default() };
    let at = day("2026-10-12").from;
    let query =
        PriceQuery { platform: Some(platform::BEDROCK), model: Some("claude-sonnet-4"), ..PriceQuery::new(at, &usage) };
    let priced = book.price(&query);
    let call = line(Bucket::Input, "0", "0");
    let rate_of = |id: Option<&str>| list.iter().find(|rate| Some(rate.row_id.as_str()) == id);
    let lines: Vec<_> = priced.lines.iter().map(|of| call.priced(of, rate_of(of.rate_id.as_deref()))).collect();
    // Cache reads have no rate: no row.
    assert_eq!(lines.iter().flatten().count(), 2);
    let rows = rows(&lines.into_iter().flatten().collect::<Vec<_>>()).unwrap();
    let total = sums(&rows)["USD"];
    assert_eq!(Some(total.list), priced.list_cost.map(|cost| cost.0));
    assert_eq!(Some(total.contracted), priced.cost.map(|cost| cost.0));
    assert_eq!(total.contracted, d("0.0036225"));
    assert_eq!(rows[0].sku_price_id(), "aws.bedrock/*/claude-sonnet-4/input/standard/sync");
}

/// Writes both samples for the official validator, where `POLYMETER_FOCUS_OUT` names a folder.
#[test]
fn samples_for_the_official_validator() {
    let Ok(folder) = std::env::var("POLYMETER_FOCUS_OUT") else { return };
    for (name, capacity) in [("ondemand.csv", false), ("provisioned.csv", true)] {
        let file = write_csv(&rows(&sample(capacity)).unwrap(), FocusVersion::V1_2);
        std::fs::write(std::path::Path::new(&folder).join(name), file).unwrap();
    }
}

fn lines() -> impl Strategy<Value = Vec<(usize, u64, u64, u8)>> {
    proptest::collection::vec((0..11_usize, 0..10_000_000_000_u64, 0..1_000_000_000_u64, 0..5_u8), 1..40)
}

proptest! {
    #[test]
    fn sums_of_rows_are_sums_of_lines(made in lines()) {
        let made: Vec<UsageLine> = made
            .into_iter()
            .map(|(bucket, quantity, price, team)| UsageLine {
                tags: [("team".to_owned(), team.to_string())].into(),
                ..line(Bucket::ALL[bucket], &quantity.to_string(), &Decimal::new(i64::try_from(price).unwrap(), 12).to_string())
            })
            .collect();
        let rows = rows(&made).unwrap();
        prop_assert_eq!(check(&rows, None), Vec::<String>::new());
        let cost: Decimal = made.iter().map(|line| line.quantity * line.unit_price).sum();
        prop_assert_eq!(sums(&rows)["USD"].billed, cost);
        prop_assert_eq!(rows.iter().map(|row| row.line.calls).sum::<u64>(), 3 * u64::try_from(made.len()).unwrap());
    }
}
