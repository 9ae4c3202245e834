//! Runs published pricing cases, where they are at hand: their books are turned into the product's own files, read as an
//! operator's would be, and every call is priced by catalogue and book together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use rust_decimal::Decimal;
use serde_json::Value;

use super::{Layer, PriceBook, PriceQuery, Priced, Reading, assemble, read_file};
use crate::catalog::{Catalog, ModelQuery};
use crate::model::platform::{self, ANTHROPIC, AZURE_OPENAI, BEDROCK, OPENAI, VERTEX};
use crate::model::{Timestamp, Usage};
use crate::sheet::Problem;

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

pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// A file of the published folder; nothing if it is not at hand.
pub(super) fn sample(name: &str) -> Option<Value> {
    let root = std::env::var_os("POLYMETER_SAMPLES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/samples"), PathBuf::from);
    let text = std::fs::read_to_string(root.join("pricing").join(name)).ok()?;
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// The catalogue with the models of a book that it does not know.
fn catalog(book: &Value) -> Catalog {
    let mut catalog = Catalog::bundled().expect("catalogue");
    for (name, model) in book.get("models").and_then(Value::as_object).expect("models") {
        let q = ModelQuery { request_model: Some(name), ..ModelQuery::default() };
        if catalog.resolve(&q).model.is_none() {
            let aliases = model.get("aliases").and_then(Value::as_array).into_iter().flatten();
            let spellings: Vec<&str> = aliases.filter_map(Value::as_str).chain([name.as_str()]).collect();
            catalog.add(text(model, "maker").unwrap_or("example"), name, &spellings);
        }
    }
    catalog
}

/// The catalogue's name of a book's model.
fn canonical(catalog: &Catalog, name: &str) -> String {
    let q = ModelQuery { request_model: Some(name), ..ModelQuery::default() };
    catalog.resolve(&q).model.unwrap_or_else(|| name.to_owned())
}

/// The rows of one layer as a CSV file.
fn price_file(catalog: &Catalog, book: &Value, layer: &str) -> String {
    let columns = [
        "row_id",
        "platform",
        "scope",
        "tier",
        "mode",
        "context_over",
        "unit",
        "per",
        "amount",
        "currency",
        "valid_from",
        "valid_to",
        "recorded_at",
    ];
    let mut csv = format!("model,{}\n", columns.join(","));
    for row in book.get("prices").and_then(Value::as_array).expect("prices") {
        if text(row, "layer") == Some(layer) {
            csv.push_str(&canonical(catalog, text(row, "model").expect("model")));
            for column in columns {
                let value = match row.get(column) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => String::new(),
                };
                write!(csv, ",{value}").expect("text");
            }
            csv.push('\n');
        }
    }
    csv
}

/// The contracts as a TOML file.
fn contract_file(catalog: &Catalog, book: &Value) -> String {
    let mut toml = String::new();
    for row in book.get("contracts").and_then(Value::as_array).into_iter().flatten() {
        toml.push_str("[[contract]]\n");
        for key in ["contract_id", "factor", "unit", "amount", "currency", "valid_from", "valid_to"] {
            if let Some(value) = text(row, key) {
                writeln!(toml, "{key} = '{value}'").expect("text");
            }
        }
        if let Some(per) = row.get("per").and_then(Value::as_u64) {
            writeln!(toml, "per = {per}").expect("text");
        }
        let matched = row.get("match").expect("match");
        for (key, own) in
            [("platform", "platform"), ("billing_account", "account"), ("scope", "scope"), ("tier", "tier")]
        {
            if let Some(value) = text(matched, key) {
                writeln!(toml, "{own} = '{value}'").expect("text");
            }
        }
        if let Some(model) = text(matched, "model") {
            writeln!(toml, "model = '{}'", canonical(catalog, model)).expect("text");
        }
    }
    toml
}

fn load(catalog: &Catalog, book: &Value) -> Result<PriceBook, Vec<Problem>> {
    let reading = |layer| Reading { layer, ..Reading::operator(Timestamp::EARLIEST) };
    let bundled = read_file("bundled.csv", &price_file(catalog, book, "bundled"), &reading(Layer::Bundled))?;
    let operator = read_file("operator.csv", &price_file(catalog, book, "operator"), &reading(Layer::Operator))?;
    let contracts = read_file("contracts.toml", &contract_file(catalog, book), &reading(Layer::Operator))?;
    assemble(Vec::new(), vec![bundled, operator, contracts], None).map(|prices| prices.book)
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

fn check(catalog: &Catalog, book: &PriceBook, case: &Value) -> Result<(), String> {
    let expected = case.get("expected").expect("expected");
    let known = text(case, "known_at").map(|known| book.as_known_at(at(known)).expect("a part of a valid book"));
    let book = known.as_ref().unwrap_or(book);
    let platform = platform_of(text(case, "platform").expect("platform"));
    let written = text(case, "model_as_written");
    let identity =
        catalog.resolve(&ModelQuery { platform: Some(platform), request_model: written, ..ModelQuery::default() });
    let given = text(case, "scope_given").map(|scope| scope.split_once(':').unwrap_or((scope, "")));
    let usage = usage(case);
    let q = PriceQuery {
        platform: Some(platform),
        account: text(case, "billing_account"),
        model: identity.model.as_deref(),
        scope: given.map_or(identity.scope, |(scope, _)| Some(if scope == "in-region" { "in_region" } else { scope })),
        geo: given.map_or(identity.geo.as_deref(), |(_, geo)| Some(geo).filter(|geo| !geo.is_empty())),
        region: text(case, "region"),
        tier: text(case, "service_tier"),
        mode: text(case, "mode").and_then(|mode| mode.parse().ok()),
        operation: Some("chat"),
        ..PriceQuery::new(at(text(case, "event_time").expect("event_time")), &usage)
    };
    let priced = book.price(&q);
    let mut wrong = Vec::new();
    let accepted = [text(expected, "status"), text(case, "also_accept"), text(expected, "also_accept")];
    if !accepted.contains(&Some(priced.status.as_str())) {
        wrong.push(format!("status {}", priced.status));
    }
    if let Some(model) = text(expected, "model")
        && identity.model.as_deref() != Some(&canonical(catalog, model))
    {
        wrong.push(format!("model {:?}", identity.model));
    }
    for (cost, key) in [(priced.list_cost, "list_cost"), (priced.cost, "contracted_cost")] {
        if cost.map(|cost| cost.0) != text(expected, key).map(dec) {
            wrong.push(format!("{key} {cost:?}"));
        }
    }
    if priced.currency.as_deref() != text(expected, "currency") {
        wrong.push(format!("currency {:?}", priced.currency));
    }
    lines(expected, &priced, &mut wrong);
    // The explanation tells the same.
    let explained = book.explain(&q);
    let told: Vec<_> = explained.lines.iter().map(|line| (line.bucket, line.cost)).collect();
    if told != priced.lines.iter().map(|line| (line.bucket, line.cost)).collect::<Vec<_>>()
        || explained.priced != priced
    {
        wrong.push(format!("explained {told:?}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{:?}: {}", text(case, "id"), wrong.join(", "))) }
}

/// Every line: bucket, quantity, row, both costs and the contract.
fn lines(expected: &Value, priced: &Priced, wrong: &mut Vec<String>) {
    type Line = (String, u64, String, Option<Decimal>, Option<Decimal>, Option<String>);
    let expected_lines: BTreeSet<Line> = expected
        .get("lines")
        .and_then(Value::as_array)
        .expect("lines")
        .iter()
        .map(|line| {
            let owned = |key| text(line, key).map(str::to_owned);
            (
                owned("unit").expect("unit"),
                line.get("quantity").and_then(Value::as_u64).expect("quantity"),
                owned("price_row").expect("price_row"),
                text(line, "list_cost").map(dec),
                text(line, "contracted_cost").map(dec),
                owned("contract"),
            )
        })
        .collect();
    let with_cost = priced.lines.iter().filter(|line| line.cost.is_some());
    let got: BTreeSet<Line> = with_cost
        .map(|line| {
            (
                line.bucket.to_string(),
                line.quantity,
                line.rate_id.as_deref().unwrap_or_default().to_owned(),
                line.list_cost.map(|cost| cost.0),
                line.cost.map(|cost| cost.0),
                line.contract_id.as_deref().map(str::to_owned),
            )
        })
        .collect();
    if got != expected_lines {
        wrong.push(format!("lines {got:?}"));
    }
    let without = priced.lines.iter().filter(|line| line.cost.is_none());
    let unpriced: BTreeMap<&str, u64> = without.map(|line| (line.bucket.as_str(), line.quantity)).collect();
    let missing = expected.get("unpriced").and_then(Value::as_object).expect("unpriced");
    let missing = missing.iter().filter_map(|(key, n)| Some((key.as_str(), n.as_u64()?))).collect();
    if unpriced != missing {
        wrong.push(format!("unpriced {unpriced:?}"));
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "says how many samples were checked")]
fn agrees_with_the_published_cases_to_the_last_digit() {
    let Some(cases) = sample("cases.json") else {
        eprintln!("skipped: pricing/cases.json is absent");
        return;
    };
    let mut books = BTreeMap::new();
    let (mut right, mut total, mut wrong) = (0, 0, Vec::new());
    for case in cases.get("cases").and_then(Value::as_array).expect("cases") {
        let name = text(case, "book").expect("book").to_owned();
        let (catalog, book) = books.entry(name.clone()).or_insert_with(|| {
            let book = sample(&format!("book-{name}.json")).expect("the book of a case");
            let catalog = catalog(&book);
            let loaded = load(&catalog, &book);
            (catalog, loaded)
        });
        total += 1;
        let refused = case.get("expected").and_then(|expected| text(expected, "status")) == Some("config-error");
        let result = match (book, refused) {
            (Ok(book), false) => check(catalog, book, case),
            (Err(_), true) => Ok(()),
            (Err(problems), false) => Err(format!("{:?}: {problems:?}", text(case, "id"))),
            (Ok(_), true) => Err(format!("{:?}: the book was not refused", text(case, "id"))),
        };
        match result {
            Ok(()) => right += 1,
            Err(difference) => wrong.push(difference),
        }
    }
    eprintln!("{right} of {total} pricing cases");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
