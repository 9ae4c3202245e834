//! Closing a month: its reports stay as they are byte by byte, what changes is posted as corrections, and every digit of
//! both is what the ledger says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::one_clear_line;
use crate::harness::{Place, files_below};
use crate::money::{PRICES, RULES, files, filled, import};
use crate::ops::{on, told, works};
use crate::records::{bedrock, lines};

const MARCH: [&str; 4] = ["--month", "2026-03", "--tz", "Europe/Berlin"];
const CLOSE: [&str; 8] = ["close", "--month", "2026-03", "--tz", "Europe/Berlin", "--yes", "--who", "controller"];

fn close(place: &Place, month: &str) -> String {
    works(place, &["close", "--month", month, "--tz", "Europe/Berlin", "--yes", "--who", "controller"]).stdout
}

/// A month's report as bytes, in a form.
fn report(place: &Place, month: &str, by: &str, format: &str, more: &[&str]) -> Vec<u8> {
    let out = place.text("report.out");
    let ask = ["report", "chargeback", "--month", month, "--tz", "Europe/Berlin", "--by", by, "--format", format];
    works(place, &[&ask[..], &["--out", &out], more].concat());
    std::fs::read(&out).unwrap()
}

fn figures(place: &Place, month: &str, by: &str, more: &[&str]) -> Value {
    serde_json::from_slice(&report(place, month, by, "json", more)).unwrap()
}

/// Units of 10^-12.
fn units(value: &Value) -> i128 {
    let Some(text) = value.as_str() else { return 0 };
    let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), ""));
    let digits: i128 = format!("{whole}{fraction:0<12}").parse().unwrap();
    if text.starts_with('-') { -digits } else { digits }
}

/// Cost and calls of each team.
fn by_team(lines: &Value) -> BTreeMap<String, (i128, i64)> {
    let mut sums: BTreeMap<String, (i128, i64)> = BTreeMap::new();
    for line in lines.as_array().unwrap() {
        let team = line["team"].as_str().unwrap_or("(unattributed)").to_owned();
        let sum = sums.entry(team).or_default();
        *sum = (sum.0 + units(&line["cost"]), sum.1 + line["calls"].as_i64().unwrap());
    }
    sums.retain(|_, sum| *sum != (0, 0));
    sums
}

/// Records of March of a role that some rule knows.
fn late(place: &Place, run: u32, count: u64, role: &str) {
    let records = (0..count).map(|n| {
        let mut record = bedrock(run, n);
        record["timestamp"] = json!(format!("2026-03-{:02}T12:00:00Z", 3 + n % 25));
        record["identity"]["arn"] = json!(format!("arn:aws:sts::111122223333:assumed-role/{role}/i-0"));
        record
    });
    let file = place.file(&format!("late-{run}.json"), lines(records));
    place.import("bedrock", &[&file]);
}

/// Everything that could disturb a closed month: late calls, other prices, other rules, merged files, a short memory.
fn disturb(place: &Place, config: &str) {
    late(place, 70, 7, "search-web");
    place.file("prices.csv", PRICES.replace("16.50", "15.00"));
    place.file("rules.toml", RULES.replace("set = { team = 'search' }", "set = { team = 'discovery' }"));
    works(place, &["resettle", "--yes", "--config", config]);
    works(place, &["maintain", "--config", config]);
}

#[test]
fn a_closed_month_stays_byte_by_byte_and_its_changes_are_posted_in_the_next() {
    let (place, config) = filled();
    let closed = close(&place, "2026-03");
    assert!(closed.contains("2026-03 (Europe/Berlin) is closed: 89 calls, by controller"), "{closed}");
    let forms = ["table", "csv", "json", "xlsx", "parquet"];
    let before: Vec<Vec<u8>> = forms.iter().map(|form| report(&place, "2026-03", "team", form, &[])).collect();
    // Asked for the first time after everything changed: nobody kept these bytes.
    let posted = figures(&place, "2026-03", "team,model", &["--currency", "EUR"]);
    assert!(posted["closed"].as_str().unwrap().ends_with("by controller"), "{posted}");
    // The hash that the close told is that of the report.
    assert!(closed.contains(&sha256(&before[1])), "{closed}");

    disturb(&place, &config);
    for (form, before) in forms.iter().zip(&before) {
        assert!(report(&place, "2026-03", "team", form, &[]) == *before, "{form} is another now");
    }
    let march = |more: &[&str]| by_team(&figures(&place, "2026-03", "team", more)["lines"]);
    let (was, is) = (march(&[]), march(&["--restated"]));
    assert!(was.contains_key("search") && !was.contains_key("discovery"), "{was:?}");
    assert!(!is.contains_key("search") && is.contains_key("discovery"), "{is:?}");
    // Another grouping, made for the first time now, tells the same sums.
    let other = figures(&place, "2026-03", "cost_center,account", &[]);
    assert_eq!(units(&other["totals"][0]["cost"]), was.values().map(|sum| sum.0).sum::<i128>());
    assert_eq!(figures(&place, "2026-03", "team,model", &["--currency", "EUR"]), posted);

    // April posts what changed of March, team by team, to the last digit.
    let april = figures(&place, "2026-04", "team", &[]);
    let mut sums = was.clone();
    for (team, (cost, calls)) in by_team(&april["corrections"]["lines"]) {
        let sum = sums.entry(team).or_default();
        *sum = (sum.0 + cost, sum.1 + calls);
    }
    sums.retain(|_, sum| *sum != (0, 0));
    assert_eq!(sums, is);
    let mut reasons: Vec<&str> =
        april["corrections"]["lines"].as_array().unwrap().iter().map(|line| line["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons, ["late_data", "mapping_fix", "price_change"]);
    // The one call of April itself is no correction; what is posted is both together, in cents.
    assert_eq!(april["totals"][0]["calls"], 1);
    let cents = |value: &Value| units(value) / 10_000_000_000;
    let corrections = cents(&april["corrections"]["totals"][0]["amount"]);
    let lines = april["corrections"]["lines"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| cents(&line["amount"])).sum::<i128>(), corrections);
    assert_eq!(cents(&april["corrections"]["posted"][0]["amount"]), cents(&april["totals"][0]["amount"]) + corrections);
    // They are in every form, and May has none: they are posted once.
    let csv = String::from_utf8(report(&place, "2026-04", "team", "csv", &[])).unwrap();
    assert!(csv.lines().filter(|line| line.starts_with("correction,")).count() == lines.len(), "{csv}");
    let table = String::from_utf8(report(&place, "2026-04", "team", "table", &[])).unwrap();
    assert!(table.contains("Corrections of closed months") && table.contains("price_change"), "{table}");
    assert_eq!(figures(&place, "2026-05", "team", &[])["corrections"]["lines"], json!([]));
    assert_eq!(figures(&place, "2026-04", "team", &["--restated"])["corrections"]["lines"], json!([]));
    works(&place, &["periods", "verify"]);
}

#[test]
fn what_a_close_has_posted_is_not_posted_again() {
    let (place, config) = filled();
    close(&place, "2026-03");
    disturb(&place, &config);
    let done = close(&place, "2026-04");
    assert!(done.contains("corrections posted in it"), "{done}");
    let april = figures(&place, "2026-04", "team", &[]);
    assert_eq!(figures(&place, "2026-05", "team", &[])["corrections"]["lines"], json!([]));
    // More of March, some of it as it had been before: May posts the difference to what April has posted.
    late(&place, 71, 3, "checkout-api");
    place.file("prices.csv", PRICES);
    works(&place, &["resettle", "--yes", "--config", &config]);
    assert_eq!(figures(&place, "2026-04", "team", &[]), april);
    let may = figures(&place, "2026-05", "team", &[]);
    let mut sums = by_team(&figures(&place, "2026-03", "team", &[])["lines"]);
    for posted in [&april, &may] {
        for (team, (cost, calls)) in by_team(&posted["corrections"]["lines"]) {
            let sum = sums.entry(team).or_default();
            *sum = (sum.0 + cost, sum.1 + calls);
        }
    }
    // April's own call has another price too, and stays what it was posted as.
    let own = by_team(&april["lines"]);
    let restated = by_team(&figures(&place, "2026-04", "team", &["--restated"])["lines"]);
    for (team, (cost, calls)) in &restated {
        let (posted, counted) = own.get(team).copied().unwrap_or_default();
        let sum = sums.entry(team.clone()).or_default();
        *sum = (sum.0 - (cost - posted), sum.1 - (calls - counted));
    }
    for (team, (cost, calls)) in &own {
        if !restated.contains_key(team) {
            let sum = sums.entry(team.clone()).or_default();
            *sum = (sum.0 + cost, sum.1 + calls);
        }
    }
    sums.retain(|_, sum| *sum != (0, 0));
    assert_eq!(sums, by_team(&figures(&place, "2026-03", "team", &["--restated"])["lines"]));
}

#[test]
fn a_month_is_closed_and_opened_by_the_rules() {
    let (place, _) = filled();
    let refused = |args: &[&str], part: &str| {
        let done = on(&place, args);
        one_clear_line(&done, &[part]);
    };
    refused(&["close", "--month", "2999-01", "--yes"], "has not ended");
    // Nobody is there to say yes.
    refused(&CLOSE[..5], "say --yes");
    let look = works(&place, &[&["close"], &MARCH[..], &["--dry-run"]].concat()).stdout;
    assert!(look.contains("Chargeback 2026-03") && look.contains("was not closed"), "{look}");
    assert!(works(&place, &["periods", "list"]).stdout.contains("no month is closed yet"));
    refused(&["reopen", "--month", "2026-03", "--reason", "x"], "is not closed");

    works(&place, &CLOSE);
    refused(&CLOSE, "is closed already");
    refused(&["close", "--month", "2026-04", "--yes"], "--tz Europe/Berlin");
    refused(&["close", "--month", "2026-05", "--tz", "Europe/Berlin", "--yes"], "2026-04 is still open");
    refused(&["close", "--month", "2026-02", "--tz", "Europe/Berlin", "--yes"], "lies before 2026-03");
    close(&place, "2026-04");
    refused(&["reopen", "--month", "2026-03", "--reason", "x"], "reopen 2026-04 first");
    works(&place, &["reopen", "--month", "2026-04", "--reason", "contract was missing", "--who", "cfo"]);
    let open = figures(&place, "2026-04", "team", &[]);
    assert_eq!(open["closed"], Value::Null);
    close(&place, "2026-04");
    let log = told(&works(&place, &["periods", "list", "--json"]));
    let told: Vec<(&str, &str)> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["entry"].as_str().unwrap(), entry["month"].as_str().unwrap()))
        .collect();
    let (march, april) = ("2026-03", "2026-04");
    assert_eq!(told, [("closed", march), ("closed", april), ("reopened", april), ("closed", april)]);
    assert_eq!((&log[2]["reason"], &log[2]["by"]), (&json!("contract was missing"), &json!("cfo")));
    for part in ["rules_version", "prices_version", "calendar", "tables", "files", "polymeter", "totals"] {
        assert!(!log[0][part].is_null(), "{part}: {log}");
    }
    // Months of another calendar are no closed months.
    let utc = works(&place, &["report", "chargeback", "--month", "2026-03", "--by", "team"]).stdout;
    assert!(utc.contains("closed in Europe/Berlin"), "{utc}");
}

#[test]
fn the_api_hands_out_the_same_bytes() {
    let (place, config) = filled();
    let server = place.serve();
    let path = "/api/v1/reports/chargeback?month=2026-03&tz=Europe/Berlin&by=team";
    assert_eq!(server.get(path).json()["closed"], Value::Null);
    // Beside a running server.
    close(&place, "2026-03");
    let api = |path: &str| server.get(path).body;
    let (json, csv) = (api(path), api(&format!("{path}&format=csv")));
    assert!(json == report(&place, "2026-03", "team", "json", &[]));
    server.stop();
    disturb(&place, &config);
    let server = place.serve();
    assert!(server.get(path).body == json && server.get(&format!("{path}&format=csv")).body == csv);
    assert_ne!(server.get(&format!("{path}&basis=restated")).json()["lines"], server.get(path).json()["lines"]);
    let april = server.get("/api/v1/reports/chargeback?month=2026-04&tz=Europe/Berlin").json();
    assert!(!april["corrections"]["lines"].as_array().unwrap().is_empty(), "{april}");
    assert_eq!(server.get("/api/v1/periods").json()["periods"][0]["month"], "2026-03");
    assert_eq!(server.get(&format!("{path}&basis=x")).status, 400);
    server.stop();
}

#[test]
fn damage_to_a_closed_month_is_found_and_never_reported() {
    let (place, _) = filled();
    // What a close that died has left is not in the way.
    std::fs::create_dir_all(place.path("data/periods/2026-03-000001-1/calls/day=2026-03-01")).unwrap();
    std::fs::write(place.path("data/periods/2026-03-000001-1/rules.json"), "{").unwrap();
    close(&place, "2026-03");
    report(&place, "2026-03", "team", "csv", &[]);
    works(&place, &["periods", "verify"]);
    let find = |part: &str| -> PathBuf {
        let all = files_below(&place.path("data/periods"));
        let of_close = |path: &&PathBuf| path.display().to_string().contains(part);
        all.iter().filter(|path| !path.display().to_string().contains("000001-1/")).find(of_close).unwrap().clone()
    };
    // A kept report that somebody has edited.
    let kept = find(".csv");
    let whole = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, [&whole[..], b"line,extra\r\n"].concat()).unwrap();
    let verdict = on(&place, &["periods", "verify"]);
    assert!(!verdict.status.success() && verdict.stdout.contains("SHA-256"), "{}", verdict.stdout);
    let asked = on(&place, &[&["report", "chargeback", "--by", "team", "--format", "csv"], &MARCH[..]].concat());
    assert!(!asked.status.success() && asked.stderr.contains("is damaged"), "{}", asked.stderr);
    std::fs::write(&kept, whole).unwrap();
    works(&place, &["periods", "verify"]);
    // Its rows.
    std::fs::remove_file(find(".parquet")).unwrap();
    let verdict = on(&place, &["periods", "verify"]);
    assert!(!verdict.status.success() && verdict.stdout.contains("it is not there"), "{}", verdict.stdout);
    let asked = on(&place, &[&["report", "chargeback", "--by", "model"], &MARCH[..]].concat());
    assert!(!asked.status.success(), "{}", asked.stdout);
}

#[test]
fn a_close_without_its_corrections_makes_no_report() {
    let (place, config) = filled();
    close(&place, "2026-03");
    disturb(&place, &config);
    close(&place, "2026-04");
    let gone = files_below(&place.path("data/periods")).into_iter().find(|path| {
        let path = path.display().to_string();
        path.contains("/price_change/after/") && path.ends_with(".parquet")
    });
    std::fs::remove_file(gone.unwrap()).unwrap();
    let before = files_below(&place.path("data/periods")).len();
    let ask = ["report", "chargeback", "--month", "2026-04", "--tz", "Europe/Berlin", "--by"];
    // One that is kept, and one that would have to be made.
    assert!(works(&place, &[&ask[..], &["team"]].concat()).stdout.contains("Corrections of closed months"));
    let asked = on(&place, &[&ask[..], &["account"]].concat());
    assert!(!asked.status.success() && asked.stderr.contains("is damaged"), "{}{}", asked.stdout, asked.stderr);
    assert_eq!(files_below(&place.path("data/periods")).len(), before, "looking changed something");
}

#[test]
fn a_month_of_other_prices_is_not_closed() {
    let (place, config) = filled();
    place.file("prices.csv", PRICES.replace("16.50", "15.00"));
    let refused = on(&place, &[&CLOSE[..], &["--config", &config]].concat());
    assert!(!refused.status.success() && refused.stderr.contains("polymeter resettle"), "{}", refused.stderr);
    assert!(works(&place, &["periods", "list"]).stdout.contains("no month is closed yet"));
    works(&place, &["resettle", "--yes", "--config", &config]);
    works(&place, &[&CLOSE[..], &["--config", &config]].concat());
}

#[test]
fn whoever_asks_over_http_leaves_nothing_behind() {
    let (place, _) = filled();
    works(&place, &["close", "--month", "2026-03", "--yes"]);
    let server = place.serve();
    let before = files_below(&place.path("data/periods")).len();
    for question in ["exports/focus?month=2026-03&granularity=hour", "reports/chargeback?month=2026-03&by=account,tier"]
    {
        let first = server.get(&format!("/api/v1/{question}"));
        assert_eq!(first.status, 200, "{}", first.text());
        assert!(server.get(&format!("/api/v1/{question}")).body == first.body, "{question}");
    }
    assert_eq!(files_below(&place.path("data/periods")).len(), before);
    server.stop();
}

#[test]
fn a_report_of_an_older_program_is_handed_out_as_that_made_it() {
    let (place, _) = filled();
    close(&place, "2026-03");
    report(&place, "2026-03", "team", "csv", &[]);
    let kept =
        files_below(&place.path("data/periods")).into_iter().find(|path| path.display().to_string().ends_with(".csv"));
    let kept = kept.unwrap();
    let old = b"as another version wrote it\r\n";
    std::fs::write(&kept, old).unwrap();
    let about = PathBuf::from(format!("{}.json", kept.display()));
    let mut told: Value = serde_json::from_slice(&std::fs::read(&about).unwrap()).unwrap();
    (told["sha256"], told["polymeter"]) = (json!(sha256(old)), json!("0.0.1"));
    std::fs::write(&about, told.to_string()).unwrap();
    assert_eq!(report(&place, "2026-03", "team", "csv", &[]), old);
}

#[test]
fn the_focus_export_of_a_closed_month_stays_and_the_next_has_its_corrections() {
    let (place, config) = filled();
    works(&place, &["close", "--month", "2026-03", "--yes"]);
    let export = |month: &str, name: &str| -> Vec<u8> {
        let out = place.text(name);
        works(&place, &["export", "focus", "--month", month, "--out", &out]);
        std::fs::read(&out).unwrap()
    };
    let march = export("2026-03", "march.csv");
    let parquet = export("2026-03", "march.parquet");
    let total = |more: &[&str]| {
        let ask = ["report", "chargeback", "--month", "2026-03", "--by", "team", "--format", "json"];
        units(&told(&works(&place, &[&ask[..], more].concat()))["totals"][0]["cost"])
    };
    disturb(&place, &config);
    assert!(export("2026-03", "again.csv") == march && export("2026-03", "again.parquet") == parquet);
    let manifest: Value = serde_json::from_slice(&std::fs::read(place.path("again.manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["file"], &manifest["sha256"]), (&json!("again.parquet"), &json!(sha256(&parquet))));
    // Rows of April that correct March, and nothing else: April has no calls in UTC.
    let april = export("2026-04", "april.csv");
    let mut reader = csv::Reader::from_reader(april.as_slice());
    let names = reader.headers().unwrap().clone();
    let at = |name: &str| names.iter().position(|column| column == name).unwrap();
    let (class, cost, of) = (at("ChargeClass"), at("EffectiveCost"), at("x_CorrectionOf"));
    let mut sum = 0;
    for row in reader.records().map(Result::unwrap) {
        assert_eq!((&row[class], &row[of]), ("Correction", "2026-03"), "{row:?}");
        sum += units(&json!(row[cost]));
    }
    assert_eq!(sum, total(&["--restated"]) - total(&[]));
    assert_ne!(sum, 0);
    let server = place.serve();
    assert!(server.get("/api/v1/exports/focus?month=2026-03").body == march);
    server.stop();
}

#[test]
fn retention_takes_nothing_from_a_closed_month() {
    let (place, config) = filled();
    close(&place, "2026-03");
    let before = report(&place, "2026-03", "team", "csv", &[]);
    // A year later everything of March has left the ledger.
    let mut record = bedrock(90, 1);
    record["timestamp"] = json!("2026-11-01T00:00:00Z");
    let file = place.file("later.json", lines([record]));
    place.import("bedrock", &[&file]);
    let text = std::fs::read_to_string(&config).unwrap();
    let short = place.file("short.toml", format!("{text}[retention]\ncalls_days = 30\nobservations_days = 30\n"));
    works(&place, &["maintain", "--config", &short]);
    assert_eq!(place.sql("SELECT count(*) AS calls FROM calls")[0]["calls"], 1);
    assert!(report(&place, "2026-03", "team", "csv", &[]) == before);
    // A question that nobody had asked, too.
    assert_eq!(figures(&place, "2026-03", "account", &[])["totals"][0]["calls"], 89);
    // What expired did not change.
    assert_eq!(figures(&place, "2026-04", "team", &[])["corrections"]["lines"], json!([]));
    files(&place);
    assert!(import(&place, &config).status.success());
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
