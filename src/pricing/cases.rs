//! Runs published pricing cases, where they are at hand, against the book and the catalogue together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rust_decimal::Decimal;
use serde_json::Value;

use super::{PriceBook, PriceQuery, Rate};
use crate::catalog::{Catalog, ModelQuery};
use crate::model::platform::{self, ANTHROPIC, AZURE_OPENAI, BEDROCK, OPENAI, VERTEX};
use crate::model::{Timestamp, Usage, UsageStatus};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("an instant")
}

fn dec(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("a decimal")
}

fn platform_of(name: &str) -> &'static str {
    match name {
        "bedrock" => BEDROCK,
        "azure-openai" => AZURE_OPENAI,
        "vertex" => VERTEX,
        "gemini-api" => platform::GEMINI,
        "anthropic" => ANTHROPIC,
        _ => OPENAI,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// The catalogue's name; an invented one stays what it is.
fn canonical(catalog: &Catalog, platform: &str, name: &str) -> String {
    let q = ModelQuery { platform: Some(platform), request_model: Some(name), ..ModelQuery::default() };
    catalog.resolve(&q).model.unwrap_or_else(|| name.to_owned())
}

fn rates(catalog: &Catalog, book: &Value) -> Vec<Rate> {
    let rows = book.get("prices").and_then(Value::as_array).expect("prices");
    let row = |row: &Value| {
        let platform = platform_of(text(row, "platform").expect("platform"));
        let day = |key| text(row, key).map(at);
        Rate {
            row_id: text(row, "row_id").expect("row_id").to_owned(),
            layer: text(row, "layer").and_then(|layer| layer.parse().ok()).expect("layer"),
            platform: platform.to_owned(),
            model: canonical(catalog, platform, text(row, "model").expect("model")),
            snapshot: None,
            scope: text(row, "scope").and_then(|scope| scope.parse().ok()).expect("scope"),
            tier: text(row, "tier").expect("tier").to_owned(),
            mode: text(row, "mode").and_then(|mode| mode.parse().ok()).expect("mode"),
            bucket: text(row, "unit").and_then(|unit| unit.parse().ok()).expect("unit"),
            context_over: row.get("context_over").and_then(Value::as_u64),
            per: Decimal::from(row.get("per").and_then(Value::as_u64).expect("per")),
            amount: dec(text(row, "amount").expect("amount")),
            currency: text(row, "currency").expect("currency").to_owned(),
            valid_from: day("valid_from"),
            valid_to: day("valid_to"),
            recorded_at: day("recorded_at").expect("recorded_at"),
            source: String::new(),
            source_ref: String::new(),
        }
    };
    rows.iter().map(row).collect()
}

fn usage(case: &Value) -> Usage {
    let count = |key| case.get("usage").and_then(|usage| usage.get(key)).and_then(Value::as_u64);
    let (usual, hour) = (count("cache_write_5m"), count("cache_write_1h"));
    Usage {
        input: count("input_total"),
        cache_read: count("cache_read"),
        cache_write: usual.or(hour).map(|_| usual.unwrap_or(0) + hour.unwrap_or(0)),
        cache_write_1h: hour,
        output: count("output_total"),
        reasoning: count("reasoning"),
        audio_input: count("audio_input"),
        audio_output: count("audio_output"),
        ..Usage::default()
    }
}

fn check(catalog: &Catalog, rates: &[Rate], case: &Value) -> Result<(), String> {
    let known_at = text(case, "known_at").map(at);
    let rows = rates.iter().filter(|row| known_at.is_none_or(|known| row.recorded_at <= known));
    let book = PriceBook::from_rows(rows.cloned().collect()).expect("a valid book");
    let platform = platform_of(text(case, "platform").expect("platform"));
    let written = text(case, "model_as_written").expect("model");
    let identity = catalog.resolve(&ModelQuery {
        platform: Some(platform),
        request_model: Some(written),
        ..ModelQuery::default()
    });
    let model = identity.model.clone().unwrap_or_else(|| written.to_owned());
    let given = text(case, "scope_given").map(|scope| scope.split_once(':').unwrap_or((scope, "")));
    let usage = usage(case);
    let tier = if text(case, "mode") == Some("batch") { Some("batch") } else { text(case, "service_tier") };
    let priced = book.price(&PriceQuery {
        scope: given.map_or(identity.scope, |(scope, _)| Some(if scope == "in-region" { "in_region" } else { scope })),
        geo: given.map_or(identity.geo.as_deref(), |(_, geo)| Some(geo).filter(|geo| !geo.is_empty())),
        region: text(case, "region"),
        tier,
        at: at(text(case, "event_time").expect("event_time")),
        platform: Some(platform),
        model: Some(&model),
        snapshot: None,
        operation: Some("chat"),
        usage: &usage,
        usage_status: UsageStatus::Measured,
        failed: false,
    });
    let expected = case.get("expected").expect("expected");
    let mut wrong = Vec::new();
    let accepted = text(expected, "status") == Some(priced.status.as_str())
        || text(case, "also_accept") == Some(priced.status.as_str());
    if !accepted {
        wrong.push(format!("status {}", priced.status));
    }
    if priced.list_cost.map(|cost| cost.0) != text(expected, "list_cost").map(dec) {
        wrong.push(format!("cost {:?}", priced.list_cost));
    }
    if priced.currency.as_deref() != text(expected, "currency") {
        wrong.push(format!("currency {:?}", priced.currency));
    }
    let lines = expected.get("lines").and_then(Value::as_array).expect("lines");
    let expected_rows: BTreeSet<&str> = lines.iter().filter_map(|line| text(line, "price_row")).collect();
    if priced.rate_ids.iter().map(AsRef::as_ref).collect::<BTreeSet<&str>>() != expected_rows {
        wrong.push(format!("rows {:?}", priced.rate_ids));
    }
    let unpriced: BTreeMap<&str, u64> = priced
        .lines
        .iter()
        .filter(|line| line.rate_id.is_none())
        .map(|line| (line.bucket.as_str(), line.quantity))
        .collect();
    let missing = expected.get("unpriced").and_then(Value::as_object).expect("unpriced");
    let missing = missing.iter().filter_map(|(key, n)| Some((key.as_str(), n.as_u64()?))).collect();
    if unpriced != missing {
        wrong.push(format!("unpriced {unpriced:?}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{:?}: {}", text(case, "id"), wrong.join(", "))) }
}

#[test]
#[expect(clippy::print_stderr, reason = "says how many samples were checked")]
fn agrees_with_the_cases_that_need_list_rows_only() {
    let root = std::env::var_os("POLYMETER_SAMPLES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/samples"), PathBuf::from);
    let read = |name: &str| {
        let text = std::fs::read_to_string(root.join("pricing").join(name)).ok()?;
        Some(serde_json::from_str::<Value>(&text).expect("JSON"))
    };
    let Some(cases) = read("cases.json") else {
        eprintln!("skipped: pricing/cases.json is absent");
        return;
    };
    let catalog = Catalog::bundled().expect("catalogue");
    let mut books: BTreeMap<String, Vec<Rate>> = BTreeMap::new();
    let (mut right, mut total, mut later, mut wrong) = (0, 0, 0, Vec::new());
    for case in cases.get("cases").and_then(Value::as_array).expect("cases") {
        if text(case, "billing_account").is_some() {
            later += 1;
            continue;
        }
        let name = text(case, "book").expect("book").to_owned();
        let rates = books
            .entry(name.clone())
            .or_insert_with(|| rates(&catalog, &read(&format!("book-{name}.json")).expect("the book of a case")));
        total += 1;
        match check(&catalog, rates, case) {
            Ok(()) => right += 1,
            Err(difference) => wrong.push(difference),
        }
    }
    eprintln!("{right} of {total} pricing cases; {later} left for contracts (multipliers, rates, clashes)");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
