//! Runs published allocation cases, where they are at hand.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use super::cases::{sample, text};
use super::{Bucket, Commitment, Exchange, ExchangeRate, UNUSED, Unused, Weights, share_out};
use crate::model::{ShareSum, Timestamp, rounded, split};

type Amounts = BTreeMap<String, Decimal>;

const CENTS: u32 = 2;

fn dec(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("a decimal")
}

fn decimal(value: &Value, key: &str) -> Decimal {
    dec(text(value, key).expect("a decimal"))
}

fn amounts(value: &Value, key: &str) -> Amounts {
    let map = value.get(key).and_then(Value::as_object).expect("amounts");
    map.iter().map(|(key, amount)| (key.clone(), dec(amount.as_str().expect("a decimal")))).collect()
}

fn all(value: &Value) -> Amounts {
    let map = value.as_object().expect("amounts");
    map.iter().map(|(key, amount)| (key.clone(), dec(amount.as_str().expect("a decimal")))).collect()
}

/// Lines one by one, or one amount many times.
fn sum(value: &Value) -> Decimal {
    let lines = value.get("lines").expect("lines");
    match lines.as_array() {
        Some(lines) => lines.iter().map(|line| dec(line.as_str().expect("a decimal"))).sum(),
        None => {
            let count = lines.get("count").and_then(Value::as_u64).expect("count");
            (0..count).map(|_| decimal(lines, "amount")).sum()
        }
    }
}

fn unused(input: &Value) -> Unused {
    match text(input, "policy") {
        Some("spread") => Unused::Spread,
        Some("owner") => Unused::Owner(text(input, "owner").expect("owner").to_owned()),
        _ => Unused::Keep,
    }
}

fn provisioned(input: &Value) -> Amounts {
    let weights = amounts(input, "weights");
    let weights =
        Weights::new(weights.into_iter().map(|(key, weight)| (key.parse().expect("a bucket"), weight)).collect());
    let usage = input.get("usage").and_then(Value::as_object).expect("usage");
    let counts = |counts: &Value| -> BTreeMap<Bucket, u64> {
        let counts = counts.as_object().expect("counts").iter();
        counts.map(|(key, count)| (key.parse().expect("a bucket"), count.as_u64().expect("a count"))).collect()
    };
    let weighted = usage.iter().map(|(key, own)| (key.clone(), weights.weigh(&counts(own)))).collect();
    let capacity = decimal(input, "capacity_weighted_tokens");
    share_out(decimal(input, "pool_cost"), CENTS, capacity, &weighted, &unused(input)).expect("shares")
}

fn provisioned_month(input: &Value) -> Amounts {
    let shares = amounts(input, "share_each_hour");
    let hours = input.get("hours").and_then(Value::as_u64).expect("hours");
    let mut month = ShareSum::default();
    for _ in 0..hours {
        month.add(decimal(input, "cost_per_hour"), &Commitment::default().shares(&shares)).expect("shares");
    }
    let mut month = month.rounded(CENTS).expect("rounded");
    assert_eq!(month.remove(UNUSED), Some(Decimal::ZERO));
    month
}

fn shared_cost(input: &Value) -> Amounts {
    let policy = match text(input, "policy") {
        Some("spread") => crate::attribution::Rest::Spread,
        Some("owner") => crate::attribution::Rest::Owner(text(input, "owner").expect("owner").to_owned()),
        _ => crate::attribution::Rest::Keep,
    };
    crate::attribution::share_rest(decimal(input, "total"), CENTS, &amounts(input, "direct"), &policy).expect("shares")
}

fn exchanged(input: &Value) -> Amounts {
    let total = sum(input);
    let of = |key| text(input, key).expect("a currency").to_owned();
    let rate =
        ExchangeRate { from: of("source"), to: of("target"), rate: decimal(input, "rate"), ..ExchangeRate::default() };
    let exchange = Exchange::new(vec![rate]);
    let converted = exchange.convert(total, &of("source"), &of("target"), Timestamp::EARLIEST).expect("a rate");
    [("total_source", total), ("total_target", rounded(converted.amount, CENTS))].map(|(k, v)| (k.to_owned(), v)).into()
}

fn restated(input: &Value) -> Amounts {
    crate::attribution::differences(&amounts(input, "closed"), &amounts(input, "restated"))
}

#[test]
#[expect(clippy::print_stderr, reason = "says how many samples were checked")]
fn agrees_with_the_published_allocations_to_the_last_digit() {
    let Some(cases) = sample("allocation.json") else {
        eprintln!("skipped: pricing/allocation.json is absent");
        return;
    };
    let (mut right, mut total, mut calendar, mut wrong) = (0, 0, 0, Vec::new());
    for case in cases.get("cases").and_then(Value::as_array).expect("cases") {
        let (input, expected) = (case.get("input").expect("input"), case.get("expected").expect("expected"));
        let got = match text(case, "kind") {
            Some("largest_remainder") => {
                split(decimal(input, "total"), CENTS, &amounts(input, "weights")).expect("split")
            }
            Some("sum_then_round") => {
                let exact = sum(input);
                [("exact", exact), ("rounded", rounded(exact, CENTS))].map(|(k, v)| (k.to_owned(), v)).into()
            }
            Some("shared_cost") => shared_cost(input),
            Some("provisioned") => provisioned(input),
            Some("provisioned_month") => provisioned_month(input),
            Some("fx") => exchanged(input),
            Some("restatement") => restated(input),
            // Months and days of a time zone need its rules, which the reports have.
            Some("period") => {
                calendar += 1;
                continue;
            }
            kind => panic!("unknown kind {kind:?}"),
        };
        total += 1;
        if got == all(expected) {
            right += 1;
        } else {
            wrong.push(format!("{:?}: {got:?}", text(case, "id")));
        }
    }
    eprintln!("{right} of {total} allocation cases; {calendar} of the calendar left to the reports");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
