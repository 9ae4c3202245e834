//! From the files that finance edits to a report that is the ledger: the real binary on records of our own.

use polymeter::model::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Finished, Place};
use crate::ops::{told, works};
use crate::records::{bedrock, lines};

pub const PRICES: &str = "platform,model,scope,unit,amount,per,currency,valid_from,source\n\
    aws.bedrock,claude-sonnet-4-5,*,input,3.30,1M,USD,2026-01-01,own list\n\
    aws.bedrock,claude-sonnet-4-5,*,output,16.50,1M,USD,2026-01-01,own list\n";
pub const CONTRACTS: &str = "source = 'EDP 17'\n[[contract]]\ncontract_id = 'EDP'\nplatform = 'aws.bedrock'\n\
    account = '1111*'\nfactor = 0.9\nvalid_from = 2026-01-01\n\
    [[exchange]]\nfrom = 'USD'\nto = 'EUR'\nrate = 0.92\nvalid_from = 2026-03-01\nvalid_to = 2026-04-01\nsource = 'ECB, March'\n";
pub const RULES: &str = "[[rule]]\nrule_id = 'payments'\nwhen = { principal = 'checkout-*' }\n\
    set = { team = 'payments', cost_center = '4711' }\n\
    [[rule]]\nrule_id = 'search'\nwhen = { principal = 'search-*' }\nset = { team = 'search' }\n\
    [[rule]]\nrule_id = 'old'\nwhen = { principal = '*' }\nset = { team = 'old' }\nvalid_to = 2026-01-01\n";
const CONFIG: &str = "[prices]\nfiles = ['prices.csv', 'contracts.toml']\n[attribution]\nfiles = ['rules.toml']\n";

/// 90 calls of three principals, one of which no rule knows; the first and the last are of other months in Berlin.
pub fn record(n: u64) -> Value {
    let mut record = bedrock(40, n);
    let role = ["checkout-api", "search-web", "stranger"][usize::try_from(n % 3).unwrap()];
    record["identity"]["arn"] = json!(format!("arn:aws:sts::111122223333:assumed-role/{role}/i-0a1b2c"));
    match n {
        0 => record["timestamp"] = json!("2026-02-28T23:30:00Z"),
        89 => record["timestamp"] = json!("2026-03-31T22:30:00Z"),
        _ => {}
    }
    record
}

/// Cost of a call in units of 10^-12, computed without the program.
pub fn cost(n: u64) -> u64 {
    ((100 + n % 11) * 3_300_000 + (20 + n % 3) * 16_500_000) / 10 * 9
}

pub fn exact(units: u64) -> String {
    let text = format!("{}.{:012}", units / 1_000_000_000_000, units % 1_000_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub fn files(place: &Place) -> String {
    for (name, text) in [("prices.csv", PRICES), ("contracts.toml", CONTRACTS), ("rules.toml", RULES)] {
        place.file(name, text);
    }
    place.file("polymeter.toml", CONFIG)
}

pub fn import(place: &Place, config: &str) -> Finished {
    let log = place.file("log.json", lines((0..90).map(record)));
    place.run(&["import", "bedrock", &log, "--config", config, "--data", &place.data()])
}

pub fn filled() -> (Place, String) {
    let place = Place::new();
    let config = files(&place);
    let done = import(&place, &config);
    assert!(done.status.success(), "{}", done.stderr);
    (place, config)
}

pub const BERLIN: [&str; 8] = ["report", "chargeback", "--month", "2026-03", "--tz", "Europe/Berlin", "--by", "team"];

#[test]
fn a_month_is_billed_from_the_files_of_finance() {
    let (place, _) = filled();
    // Without a configuration: what the store keeps holds.
    let report = told(&works(&place, &[&BERLIN[..], &["--currency", "eur", "--format", "json"]].concat()));
    let month = || (0..89_u64).filter(|n| *n != 89);
    let sum = |of: &dyn Fn(u64) -> bool| month().filter(|n| of(*n)).map(cost).sum::<u64>();
    let lines = report["lines"].as_array().unwrap();
    for (team, role) in [(json!("payments"), 0), (json!("search"), 1), (Value::Null, 2)] {
        let line = lines.iter().find(|line| line["team"] == team).unwrap_or_else(|| panic!("{team}: {report}"));
        assert_eq!(line["cost"], exact(sum(&|n| n % 3 == role)), "{team}");
    }
    let whole = sum(&|_| true);
    assert_eq!(report["totals"][0]["cost"], exact(whole));
    assert_eq!(report["totals"][0]["calls"], 89);
    // 0.92 of it, rounded half to even once; the lines add up to it.
    let cents = |value: &Value| value.as_str().unwrap().replace('.', "").parse::<u64>().unwrap();
    let total = cents(&report["totals"][0]["amount"]);
    assert_eq!(total, (whole / 100 * 92 + 5_000_000_000) / 10_000_000_000);
    assert_eq!(lines.iter().map(|line| cents(&line["amount"])).sum::<u64>(), total);
    assert_eq!(report["exchange"][0]["source"], "ECB, March");
    let codes: Vec<&str> = report["warnings"].as_array().unwrap().iter().filter_map(|w| w["code"].as_str()).collect();
    assert!(codes.contains(&"unattributed") && !codes.contains(&"unpriced"), "{codes:?}");
    // The ledger says so too.
    let between = "ts >= '2026-02-28T23:00:00Z' AND ts < '2026-03-31T22:00:00Z'";
    let sql = place.sql(&format!("SELECT CAST(sum(cost) AS VARCHAR) AS cost FROM calls WHERE {between}"));
    assert_eq!(sql[0]["cost"].as_str().unwrap().trim_end_matches('0'), exact(whole));
    // In UTC it is another month.
    let utc = told(&works(
        &place,
        &["report", "chargeback", "--month", "2026-03", "--by", "cost_center", "--format", "json"],
    ));
    assert_eq!(utc["totals"][0]["calls"], 89);
    assert_eq!(utc["totals"][0]["cost"], exact((1..90).map(cost).sum()));

    // Other forms say the same.
    let csv = works(&place, &[&BERLIN[..], &["--format", "csv"]].concat()).stdout;
    assert!(csv.lines().any(|line| line.starts_with("total,TOTAL,89,") && line.contains(&exact(whole))), "{csv}");
    let table = works(&place, &BERLIN).stdout;
    assert!(table.contains("(unattributed)") && table.contains(&exact(whole)), "{table}");
    for (format, start) in [("xlsx", &b"PK"[..]), ("parquet", b"PAR1")] {
        let out = place.text(&format!("out.{format}"));
        works(&place, &[&BERLIN[..], &["--format", format, "--out", &out]].concat());
        assert!(std::fs::read(&out).unwrap().starts_with(start), "{format}");
    }
    let server = place.serve();
    let path = "/api/v1/reports/chargeback?month=2026-03&tz=Europe/Berlin&by=team&currency=EUR";
    let reply = server.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["lines"], report["lines"]);
    assert!(server.get(&format!("{path}&format=csv")).text().contains("\r\nline,payments,"));
    for wrong in
        ["month=2026-3", "by=team", "month=2026-03&by=teem", "month=2026-03&timezone=UTC", "month=2026-03&currency=CHF"]
    {
        let reply = server.get(&format!("/api/v1/reports/chargeback?{wrong}"));
        assert!(
            (400..500).contains(&reply.status) && reply.json()["error"]["message"].is_string(),
            "{wrong}: {}",
            reply.text()
        );
    }
    server.stop();
}

#[test]
fn wrong_files_are_told_line_by_line_and_change_nothing() {
    let place = Place::new();
    let config = files(&place);
    place.file("prices.csv", PRICES.replace("3.30", "\"3,30\"").replace("16.50", "-16.50"));
    place.file("rules.toml", RULES.replace("principal = 'search-*'", "princpal = 'search-*'"));
    let parts = ["prices.csv:2: ", "prices.csv:3: ", "rules.toml:7: ", "did you mean 'principal'"];
    for done in [place.run(&["check-config", &config]), import(&place, &config)] {
        assert!(!done.status.success());
        for part in parts {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
    }
    assert!(!place.path("data").exists());
    let check = place.run(&["prices", "check", &place.text("prices.csv"), &place.text("contracts.toml")]);
    assert!(!check.status.success() && check.stderr.contains("prices.csv:3: "), "{}", check.stderr);

    files(&place);
    assert!(import(&place, &config).status.success());
    let kept = || std::fs::read(place.path("data/rules/current.json")).unwrap();
    let (before, report) = (kept(), works(&place, &[&BERLIN[..], &["--format", "csv"]].concat()).stdout);
    place.file("prices.csv", PRICES.replace("16.50", "16,50"));
    assert!(!import(&place, &config).status.success());
    assert_eq!(kept(), before);
    let lines =
        |text: &str| text.lines().filter(|line| !line.starts_with("about")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&works(&place, &[&BERLIN[..], &["--format", "csv"]].concat()).stdout), lines(&report));
    // The report can't be made in a currency that nothing leads to.
    let done = place.run(&[&BERLIN[..], &["--currency", "CHF", "--data", &place.data()]].concat());
    assert!(!done.status.success() && done.stderr.contains("no exchange rate from USD to CHF"), "{}", done.stderr);
}

#[test]
fn a_new_line_is_a_new_version_in_which_the_others_stay_what_they_are() {
    let (place, config) = filled();
    let kept = || std::fs::read_to_string(place.path("data/rules/current.json")).unwrap();
    let first = kept();
    assert!(import(&place, &config).status.success());
    assert_eq!(kept(), first, "the same texts are the same version");
    let row = "aws.bedrock,claude-sonnet-4-5,*,output,15.00,1M,USD,2026-07-01,own list\n";
    place.file("prices.csv", format!("{PRICES}{row}"));
    let diff = works(&place, &["prices", "diff", "current", &place.text("prices.csv")]).stdout;
    assert!(diff.contains("1 added") && diff.contains("(-9.09 %)"), "{diff}");
    assert!(import(&place, &config).status.success());
    let history: Value = serde_json::from_str(&kept()).unwrap();
    assert_eq!(history["earlier"].as_array().unwrap().len(), 1);
    assert_ne!(kept(), first);
    // Calls of March name the same rows as before.
    assert_eq!(told(&works(&place, &["audit", "--json"]))["differing"], 0);
    // Back to the first texts is back to the first version.
    place.file("prices.csv", PRICES);
    assert!(import(&place, &config).status.success());
    let back: Value = serde_json::from_str(&kept()).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&back["version"], back["earlier"].as_array().unwrap().len()), (&first["version"], 2));
    assert!(Timestamp::parse(back["since"].as_str().unwrap()).is_some());
}

#[test]
fn a_figure_can_be_followed_to_its_row_and_rule() {
    let (place, config) = filled();
    let call = &place.sql("SELECT call_id FROM calls WHERE provider_request_id LIKE '%000000000001'")[0]["call_id"];
    let call = call.as_str().unwrap();
    let price = works(&place, &["prices", "explain", "--call", call]).stdout;
    // Call 1: 101 input tokens, 21 output tokens.
    for part in [
        "input: 101 x 0.0000033 x 0.9 = 0.00029997 USD",
        "output: 21 x 0.0000165 x 0.9",
        "own list",
        "EDP",
        "the ledger says the same",
    ] {
        assert!(price.contains(part), "{part}: {price}");
    }
    assert!(price.contains(&format!("cost {} USD", exact(cost(1)))), "{price}");
    let rates = works(&place, &["prices", "explain", "--platform", "openai", "--model", "gpt-nowhere"]).stdout;
    assert!(rates.contains("no price"), "{rates}");
    let who = works(&place, &["attribute", "test", "--call", call]).stdout;
    for part in ["search  by rule 2 'search' (rules.toml:", "1 'payments'", "wanted is checkout-*", "until 2026-01-01"]
    {
        assert!(who.contains(part), "{part}: {who}");
    }
    // Without a store, by a configuration.
    let nowhere = place.text("nowhere");
    let done = place.run(&[
        "attribute",
        "test",
        "--config",
        &config,
        "--data",
        &nowhere,
        "--principal",
        "checkout-1",
        "--tag",
        "env=prod",
    ]);
    assert!(
        done.stdout.contains("payments  by rule 1") && done.stdout.contains("prod  by the tag env"),
        "{}{}",
        done.stdout,
        done.stderr
    );
    assert!(!place.path("nowhere").exists());
}

#[test]
fn a_difference_is_the_sum_of_its_parts() {
    let (place, _) = filled();
    let report =
        told(&works(&place, &["report", "variance", "--month", "2026-03", "--by", "team", "--format", "json"]));
    let total = &report["totals"][0];
    let units = |name: &str| -> i64 {
        let text = total[name].as_str().unwrap();
        let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((text, ""));
        let digits: i64 = format!("{}{fraction:0<12}", whole.trim_start_matches('-')).parse().unwrap();
        if text.starts_with('-') { -digits } else { digits }
    };
    assert_eq!(units("before"), i64::try_from(cost(0)).unwrap());
    assert_eq!(units("after"), i64::try_from((1..90).map(cost).sum::<u64>()).unwrap());
    let parts: i64 = ["volume", "mix", "price", "new", "ended"].into_iter().map(units).sum();
    assert_eq!(parts, units("difference"));
    assert_eq!(units("difference"), units("after") - units("before"));
}

#[test]
fn a_resettle_by_new_files_is_what_everybody_computes_afterwards() {
    let place = Place::new();
    let log = place.file("log.json", lines((0..90).map(record)));
    place.import("bedrock", &[&log]);
    let config = files(&place);
    works(&place, &["resettle", "--yes", "--config", &config]);
    // Without a configuration and with it: the rows became known once, and calls name them.
    for more in [&[][..], &["--config", &config]] {
        assert_eq!(told(&works(&place, &[&["audit", "--json"], more].concat()))["differing"], 0);
    }
    let sum = place.sql("SELECT CAST(sum(cost) AS VARCHAR) AS cost FROM calls");
    assert_eq!(sum[0]["cost"].as_str().unwrap().trim_end_matches('0'), exact((0..90).map(cost).sum()));
}
