//! Capacity that is paid by the hour, on reports and in SQL: the real binary on calls of a provisioned model.

use serde_json::{Value, json};

use crate::harness::Place;
use crate::ops::{told, works};
use crate::records::{bedrock, lines};

const PRICES: &str = "platform,model,scope,unit,amount,per,currency,valid_from,source\n\
    aws.bedrock,claude-sonnet-4-5,*,input,3.30,1M,USD,2026-01-01,own list\n\
    aws.bedrock,claude-sonnet-4-5,*,output,16.50,1M,USD,2026-01-01,own list\n";
const CAPACITY: &str = "source = 'order 1'\n[[commitment]]\ncommitment_id = 'pt-1'\nplatform = 'aws.bedrock'\n\
    account = '1111*'\nunits = 2\namount = '10.00'\ncurrency = 'USD'\ncapacity = 10000\nweights = { output = 4 }\n\
    valid_from = 2026-03-02\nvalid_to = 2026-03-02T03:00:00Z\n";
const RULES: &str = "[[rule]]\nrule_id = 'payments'\nwhen = { principal = 'checkout-*' }\nset = { team = 'payments' }\n\
    [[rule]]\nrule_id = 'search'\nwhen = { principal = 'search-*' }\nset = { team = 'search' }\n";
const PROVISIONED: &str = "arn:aws:bedrock:eu-central-1:111122223333:provisioned-model/0a1b2c3d4e5f";

/// 40 calls of three principals in the first hour of a day; those below 30 ran on provisioned capacity.
fn record(n: u64) -> Value {
    let mut record = bedrock(60, n);
    let role = ["checkout-api", "search-web", "stranger"][usize::try_from(n % 3).unwrap()];
    record["identity"]["arn"] = json!(format!("arn:aws:sts::111122223333:assumed-role/{role}/i-0a1b2c"));
    if n < 30 {
        record["modelId"] = json!(PROVISIONED);
    }
    record
}

/// Of those that ran on it, by role: weighted tokens.
fn weighted(role: u64) -> u64 {
    (0..30).filter(|n| n % 3 == role).map(|n| 100 + n % 11 + 4 * (20 + n % 3)).sum()
}

/// Thousandths of a dollar: an hour of 10,000 weighted tokens costs 20.
fn dollars(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn filled(capacity: &str) -> Place {
    let place = Place::new();
    place.file("prices.csv", PRICES);
    place.file("capacity.toml", capacity);
    place.file("rules.toml", RULES);
    let files = "[prices]\nfiles = ['prices.csv', 'capacity.toml']\n[attribution]\nfiles = ['rules.toml']\n";
    let config = place.file("polymeter.toml", files);
    let log = place.file("log.json", lines((0..40).map(record)));
    let done = place.run(&["import", "bedrock", &log, "--config", &config, "--data", &place.data()]);
    assert!(done.status.success(), "{}", done.stderr);
    place
}

fn report(place: &Place, by: &str) -> Value {
    told(&works(place, &["report", "chargeback", "--month", "2026-03", "--by", by, "--format", "json"]))
}

fn parts<'a>(report: &'a Value, key: &str) -> Vec<(&'a Value, &'a str)> {
    let lines = report["lines"].as_array().unwrap().iter().filter(|line| line["commitment"] == "pt-1");
    lines.map(|line| (&line[key], line["cost"].as_str().unwrap())).collect()
}

fn units(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

#[test]
fn hours_are_charged_to_who_used_them_and_the_rest_is_unused() {
    let place = filled(CAPACITY);
    let ledger = place.sql("SELECT CAST(sum(cost) AS VARCHAR) AS cost, count(*) AS calls FROM calls");
    let ledger_cost = units(ledger[0]["cost"].as_str().unwrap());
    let found = report(&place, "team");
    let used: Vec<u64> = (0..3).map(weighted).collect();
    let of = |role: usize| dollars(used[role] * 2);
    let unused = dollars(60_000 - used.iter().sum::<u64>() * 2);
    let parts_found = parts(&found, "team");
    for (team, cost) in [
        (json!("payments"), of(0)),
        (json!("search"), of(1)),
        (Value::Null, of(2)),
        (json!("(unused)"), unused.clone()),
    ] {
        assert!(parts_found.contains(&(&team, cost.as_str())), "{team} {cost}: {parts_found:?}");
    }
    assert_eq!(parts_found.len(), 4);
    // Together with the ledger, exactly; calls on capacity have no cost of their own.
    let total = &found["totals"][0];
    assert_eq!(units(total["cost"].as_str().unwrap()), ledger_cost + units("60"));
    assert_eq!(total["calls"], 40);
    let cents = |value: &Value| units(value.as_str().unwrap());
    let lines = found["lines"].as_array().unwrap();
    let sum: i128 = lines.iter().filter(|line| !line["amount"].is_null()).map(|line| cents(&line["amount"])).sum();
    assert_eq!(sum, cents(&total["amount"]));
    let own: i128 = lines.iter().filter_map(|line| line["cost"].as_str()).map(units).sum();
    assert_eq!(own, ledger_cost + units("60"));
    // Page one says so.
    let warnings = found["warnings"].as_array().unwrap();
    let told = warnings.iter().find(|warning| warning["code"] == "commitment").unwrap()["text"].as_str().unwrap();
    assert!(
        told.contains("60 USD for 3 hours of pt-1") && told.contains(&format!("{unused} USD of it nobody used")),
        "{told}"
    );
    assert!(warnings.iter().all(|warning| warning["code"] != "allocated"), "{warnings:?}");
    assert_eq!(found["commitments"][0]["unused_cost"], unused);
    // The key follows the columns of the report.
    let by_principal = report(&place, "account,team");
    assert_eq!(parts(&by_principal, "account").iter().filter(|(account, _)| **account == "111122223333").count(), 3);
    assert_eq!(by_principal["totals"][0]["cost"], total["cost"]);
    // For people and as CSV.
    let table = works(&place, &["report", "chargeback", "--month", "2026-03"]).stdout;
    assert!(table.contains("(unused)") && table.contains("pt-1"), "{table}");
    let csv = works(&place, &["report", "chargeback", "--month", "2026-03", "--format", "csv"]).stdout;
    assert!(csv.lines().any(|line| line.starts_with("line,(unused),0,") && line.contains(&unused)), "{csv}");
    // Hour by hour in SQL; a server says the same.
    let sql = "SELECT count(DISTINCT hour) AS hours, CAST(sum(cost) AS VARCHAR) AS cost, \
        CAST(sum(cost) FILTER (WHERE unused) AS VARCHAR) AS unused, \
        CAST(sum(weighted_tokens) FILTER (WHERE team = 'payments') AS BIGINT) AS payments FROM commitment_costs";
    let rows = place.sql(sql);
    assert_eq!(rows[0]["hours"], 3);
    assert_eq!(units(rows[0]["cost"].as_str().unwrap()), units("60"));
    assert_eq!(units(rows[0]["unused"].as_str().unwrap()), units(&unused));
    assert_eq!(rows[0]["payments"], used[0]);
    let server = place.serve();
    assert_eq!(server.sql(sql), rows);
    let reply = server.get("/api/v1/reports/chargeback?month=2026-03&by=team");
    assert_eq!(reply.json()["lines"], found["lines"]);
    server.stop();
}

#[test]
fn an_owner_pays_what_nobody_used_and_what_no_commitment_covers_is_told() {
    let place = filled(&CAPACITY.replace("capacity = 10000", "capacity = 10000\nunused = 'owner:platform'"));
    let found = report(&place, "team");
    let unused = dollars(60_000 - (0..3).map(weighted).sum::<u64>() * 2);
    assert!(parts(&found, "team").contains(&(&json!("platform"), unused.as_str())), "{found}");
    let place = filled(&CAPACITY.replace("'1111*'", "'9999*'"));
    let found = report(&place, "team");
    let warnings = found["warnings"].as_array().unwrap();
    let told = warnings.iter().find(|warning| warning["code"] == "allocated").unwrap()["text"].as_str().unwrap();
    assert!(told.starts_with("30 calls ran on capacity"), "{told}");
    // The hours are paid all the same.
    assert_eq!(parts(&found, "team"), [(&json!("(unused)"), "60")]);
    let place = filled(&CAPACITY.replace("amount = '10.00'\n", ""));
    let found = report(&place, "team");
    let warnings = found["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning["code"] == "unpriced_commitment"), "{warnings:?}");
    assert_eq!(parts(&found, "team").len(), 0);
}
