//! The FOCUS export by the real binary: sums that are the ledger's, the same bytes twice, capacity, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use polymeter::model::fingerprint;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::harness::Place;
use crate::ops::{on, told, works};
use crate::records::{bedrock, lines};

const PRICES: &str = "platform,model,scope,unit,amount,per,currency,valid_from,source\n\
    aws.bedrock,claude-sonnet-4-5,*,input,3.30,1M,USD,2026-01-01,own list\n\
    aws.bedrock,claude-sonnet-4-5,*,output,16.50,1M,USD,2026-01-01,own list\n";
const CONTRACTS: &str = "source = 'EDP 17'\n[[contract]]\ncontract_id = 'EDP'\nplatform = 'aws.bedrock'\n\
    factor = 0.9\nvalid_from = 2026-01-01\n\
    [[commitment]]\ncommitment_id = 'pt-1'\nplatform = 'aws.bedrock'\nunits = 2\namount = 21.18\ncurrency = 'USD'\n\
    capacity = 4000\nvalid_from = 2026-03-02\nvalid_to = 2026-03-04\nsource = 'order 5'\n";
const CONFIG: &str = "[prices]\nfiles = ['prices.csv', 'contracts.toml']\n\
    [attribution.principals]\n\"checkout-api\" = \"payments\"\n\"search-web\" = \"search\"\n";
const MONTH: [&str; 4] = ["export", "focus", "--month", "2026-03"];

/// Calls over three days; every tenth ran on capacity.
fn record(n: u64) -> Value {
    let mut record = bedrock(50, n);
    record["timestamp"] = json!(format!("2026-03-{:02}T{:02}:10:00Z", 2 + n % 3, n % 24));
    let role = ["checkout-api", "search-web", "stranger"][usize::try_from(n % 7 % 3).unwrap()];
    record["identity"]["arn"] = json!(format!("arn:aws:sts::111122223333:assumed-role/{role}/i-0a1b2c"));
    if n % 10 == 9 {
        record["modelId"] = json!("arn:aws:bedrock:eu-central-1:111122223333:provisioned-model/abc123def456");
    }
    record
}

fn filled() -> (Place, String) {
    let place = Place::new();
    place.file("prices.csv", PRICES);
    place.file("contracts.toml", CONTRACTS);
    let config = place.file("polymeter.toml", CONFIG);
    let log = place.file("log.json", lines((0..200).map(record)));
    let done = place.run(&["import", "bedrock", &log, "--config", &config, "--data", &place.data()]);
    assert!(done.status.success(), "{}", done.stderr);
    (place, config)
}

/// Rows of a CSV file, by column.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row = |record: csv::StringRecord| names.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap_or_else(|_| panic!("no decimal: {text}"))
}

fn sum<'a>(rows: impl Iterator<Item = &'a BTreeMap<String, String>>, column: &str) -> Decimal {
    rows.map(|row| d(&row[column])).sum::<Decimal>().normalize()
}

fn on_demand(row: &&BTreeMap<String, String>) -> bool {
    row["CommitmentDiscountId"] == "NULL" && row["ChargeClass"] == "NULL"
}

#[test]
fn an_export_is_the_ledger_to_the_last_digit_and_twice_the_same() {
    let (place, _) = filled();
    let folder = place.text("focus/");
    let said = works(&place, &[&MONTH[..], &["--out", &folder]].concat()).stdout;
    let file = place.path("focus/focus-2026-03.csv");
    let rows = rows(&file);
    let ledger = place.sql(
        "SELECT CAST(sum(cost) AS VARCHAR) AS cost, CAST(sum(list_cost) AS VARCHAR) AS list, \
         sum(input_tokens) AS input, sum(output_tokens) AS output FROM calls WHERE cost IS NOT NULL",
    );
    let whole = |column: &str| d(ledger[0][column].as_str().unwrap()).normalize();
    for column in ["BilledCost", "EffectiveCost", "ContractedCost"] {
        assert_eq!(sum(rows.iter().filter(on_demand), column), whole("cost"), "{column}");
    }
    assert_eq!(sum(rows.iter().filter(on_demand), "ListCost"), whole("list"));
    let report =
        told(&works(&place, &["report", "chargeback", "--month", "2026-03", "--by", "team", "--format", "json"]));
    // With capacity, used or not, it is the report.
    let usage = |row: &&BTreeMap<String, String>| row["ChargeCategory"] == "Usage" && row["ChargeClass"] == "NULL";
    let total = d(report["totals"][0]["cost"].as_str().unwrap()).normalize();
    assert_eq!(sum(rows.iter().filter(usage), "EffectiveCost"), total);
    let of_calls = |line: &&Value| line["team"] == "payments" && line["commitment"].is_null();
    let charged = report["lines"].as_array().unwrap().iter().filter(of_calls);
    let charged: Decimal = charged.map(|line| d(line["cost"].as_str().unwrap())).sum();
    let payments = |row: &&BTreeMap<String, String>| on_demand(row) && row["Tags"].contains("\"team\":\"payments\"");
    assert_eq!(sum(rows.iter().filter(payments), "BilledCost"), charged.normalize());
    let meter = |name: &'static str| move |row: &&BTreeMap<String, String>| on_demand(row) && row["SkuMeter"] == name;
    for (name, column) in [("Input Tokens", "input"), ("Output Tokens", "output")] {
        let consumed = sum(rows.iter().filter(meter(name)), "ConsumedQuantity");
        assert_eq!(consumed, Decimal::from(ledger[0][column].as_u64().unwrap()), "{name}");
    }
    let mut keys = BTreeSet::new();
    for row in &rows {
        if row["ChargeClass"] == "NULL" {
            assert_eq!(d(&row["ContractedUnitPrice"]) * d(&row["PricingQuantity"]), d(&row["ContractedCost"]));
            assert_eq!(d(&row["ListUnitPrice"]) * d(&row["PricingQuantity"]), d(&row["ListCost"]));
        }
        assert_eq!(row["BillingPeriodStart"], "2026-03-01T00:00:00Z");
        let key =
            ["ChargePeriodStart", "SkuPriceId", "Tags", "ResourceId", "CommitmentDiscountStatus", "ChargeCategory"];
        assert!(keys.insert(key.map(|name| row[name].clone())), "{row:?}");
    }

    // Capacity: two days of 24 hours, two units each; borne by who used it and by nobody.
    let paid: Vec<_> = rows.iter().filter(|row| row["ChargeCategory"] == "Purchase").collect();
    assert_eq!(sum(paid.iter().copied(), "BilledCost"), d("48") * d("2") * d("21.18"));
    let status = |name: &'static str| {
        let rows = rows.iter().filter(move |row| row["CommitmentDiscountStatus"] == name);
        sum(rows, "EffectiveCost")
    };
    assert_eq!(status("Used") + status("Unused"), sum(paid.iter().copied(), "BilledCost"));
    assert!(status("Used") > Decimal::ZERO && status("Unused") > status("Used"));

    let manifest: Value =
        serde_json::from_slice(&std::fs::read(place.path("focus/focus-2026-03.manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["rows"], rows.len());
    assert_eq!(manifest["month_ended"], true);
    assert_eq!(d(manifest["sums"]["USD"]["BilledCost"].as_str().unwrap()), sum(rows.iter(), "BilledCost"));
    // Some calls on capacity ran when it was over.
    assert!(manifest["capacity_calls_without_price"].as_u64().unwrap() > 0);
    assert!(said.contains(manifest["sha256"].as_str().unwrap()), "{said}");

    // Once more, after the files of the ledger were rearranged, and over HTTP.
    let bytes = std::fs::read(&file).unwrap();
    works(&place, &["maintain"]);
    works(&place, &[&MONTH[..], &["--out", &place.text("again.csv")]].concat());
    assert_eq!(
        fingerprint([std::fs::read(place.path("again.csv")).unwrap().as_slice()]),
        fingerprint([bytes.as_slice()])
    );
    let server = place.serve();
    let reply = server.get("/api/v1/exports/focus?month=2026-03");
    assert_eq!((reply.status, &reply.body), (200, &bytes), "{}", reply.text());
    assert_eq!(reply.header("x-polymeter-sha256"), manifest["sha256"]);
    let parquet = server.get("/api/v1/exports/focus?month=2026-03&format=parquet");
    assert!(parquet.body.starts_with(b"PAR1"), "{}", parquet.text());
    let told = server.get("/api/v1/exports/focus?month=2026-03&format=manifest").json();
    assert_eq!(told["sums"], manifest["sums"]);
    for wrong in ["month=March", "format=csv", "month=2026-03&granularity=minute", "month=2026-03&colour=red"] {
        let reply = server.get(&format!("/api/v1/exports/focus?{wrong}"));
        assert!(reply.status == 400 && reply.json()["error"]["hint"].is_string(), "{wrong}: {}", reply.text());
    }
    server.stop();
    let out = place.text("hours.parquet");
    for _ in 0..2 {
        let before = std::fs::read(place.path("hours.parquet")).unwrap_or_default();
        works(&place, &[&MONTH[..], &["--granularity", "hour", "--out", &out]].concat());
        let now = std::fs::read(place.path("hours.parquet")).unwrap();
        assert!(before.is_empty() || before == now);
        assert_ne!(now.len(), parquet.body.len());
    }
}

#[test]
fn what_the_ledger_does_not_say_is_not_exported() {
    let (place, config) = filled();
    // Calls were settled by other prices than those in force.
    place.file("prices.csv", PRICES.replace("3.30", "3.60"));
    let out = place.text("focus/");
    let now = || place.run(&[&MONTH[..], &["--out", &out, "--config", &config, "--data", &place.data()]].concat());
    let done = now();
    assert!(!done.status.success() && done.stderr.contains("polymeter resettle"), "{}", done.stderr);
    assert!(done.stderr.contains("180 calls"), "{}", done.stderr);
    assert!(!place.path("focus").exists());
    works(&place, &["resettle", "--yes", "--config", &config]);
    assert!(now().status.success());
    // A month that goes on, or does not exist, or a place that can't be written.
    let month = polymeter::clock::Clock::now(&polymeter::clock::SystemClock).to_string();
    let month = &month[..7];
    let open = on(&place, &["export", "focus", "--month", month, "--out", &out]);
    assert!(!open.status.success() && open.stderr.contains("--partial"), "{}", open.stderr);
    works(&place, &["export", "focus", "--month", month, "--partial", "--out", &out]);
    let wrong = on(&place, &["export", "focus", "--month", "2026-13", "--out", &out]);
    assert!(!wrong.status.success() && wrong.stderr.contains("2026-10"), "{}", wrong.stderr);
    let blocked = place.file("file", "x");
    let done = on(&place, &[&MONTH[..], &["--out", &format!("{blocked}/focus.csv")]].concat());
    assert!(!done.status.success() && done.stderr.contains("can't be written"), "{}", done.stderr);
}
