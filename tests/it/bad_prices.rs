//! Price files with mistakes, and reports that can't be made: one clear line with file and line, and nothing half applied.

use crate::harness::Place;
use crate::ops::works;
use crate::records::{bedrock, lines};

const HEADER: &str = "platform,model,unit,amount,per,currency,valid_from,source";
const ROW: &str = "openai,gpt-4o,input,2.50,1M,USD,2026-01-01,s";

/// Name, text, and what must be told about it.
fn mistakes() -> Vec<(&'static str, String, &'static str)> {
    let rows = |rows: &str| format!("{HEADER}\n{rows}\n");
    let to = |rows: &str| format!("{HEADER},valid_to\n{rows}\n");
    let one = |amount: &str| rows(&ROW.replace("2.50", amount));
    let contract = |id: &str, factor: &str| {
        format!("[[contract]]\ncontract_id = '{id}'\nplatform = 'openai'\nfactor = {factor}\nvalid_from = 2026-01-01\n")
    };
    let rate = |rate: &str| format!("[[exchange]]\nfrom = 'EUR'\nto = 'USD'\nrate = {rate}\nvalid_from = 2026-01-01\n");
    let hourly = |units: &str, from: &str| {
        format!("[[commitment]]\ncommitment_id = 'c'\nplatform = 'openai'\nunits = {units}\nvalid_from = {from}\n")
    };
    vec![
        (
            "a.csv",
            rows(&format!("{ROW}\n{}", ROW.replace("2.50", "2.60"))),
            "a.csv:3: from 2026-01-01 on, this row contradicts the row at",
        ),
        (
            "b.csv",
            to(&format!("{ROW},2026-06-01\n{},2026-09-01", ROW.replace("01-01", "03-01"))),
            "b.csv:3: from 2026-03-01 until 2026-06-01 this row overlaps",
        ),
        ("c.csv", rows(&format!("{ROW}\n{ROW}")), "c.csv:3: this row is a duplicate of the row at"),
        ("d.csv", one("-2.50"), "d.csv:2: amount '-2.50' is negative"),
        ("e.csv", rows(&ROW.replace("input", "tokens")), "e.csv:2: there is no unit 'tokens'"),
        ("f.csv", one("\"2,50\""), "f.csv:2: amount '2,50' has a decimal comma; write 2.50"),
        ("g.csv", one("\"1.234,50\""), "g.csv:2: amount '1.234,50' has a decimal comma; write 1234.50"),
        ("h.csv", one(""), "h.csv:2: 'amount' is missing"),
        ("i.csv", rows(&ROW.replace("USD", "Dollar")), "i.csv:2: there is no currency 'Dollar'"),
        ("j.csv", to(&format!("{ROW},2025-12-31")), "j.csv:2: valid_to 2025-12-31 is not after valid_from"),
        ("k.csv", rows("openai,gpt-4o,input"), "k.csv:2: the line has 3 fields, the column names are 8"),
        ("l.csv", String::new(), "l.csv:1: the file is empty"),
        (
            "m.csv",
            rows(ROW).replace("unit", "unt"),
            "m.csv:1: there is no column 'unt' for a price; did you mean 'unit'?",
        ),
        (
            "n.toml",
            contract("a", "0.9") + &contract("b", "0.8"),
            "n.toml:6: contract b holds for the same calls as a at",
        ),
        ("o.toml", contract("a", "0"), "o.toml:4: the factor is not above 0 and at most 10"),
        ("p.toml", rate("0"), "p.toml:4: the rate is 0"),
        ("q.toml", rate("1.1") + &rate("1.2"), "q.toml:6: the rate from EUR to USD is there twice"),
        ("r.toml", hourly("-1", "2026-01-01"), "r.toml:4: units '-1' is negative"),
        ("s.toml", hourly("1", "2026-01-01T00:30:00Z"), "s.toml:5: valid_from is no full hour"),
    ]
}

#[test]
fn every_mistake_of_a_price_file_is_told_with_its_line() {
    let place = Place::new();
    for (name, text, told) in mistakes() {
        let file = place.file(name, text);
        let done = place.run(&["prices", "check", &file]);
        assert!(!done.status.success(), "{name}");
        assert!(done.stderr.contains(told) && !done.stderr.contains("panicked"), "{name}: {}", done.stderr);
    }
    let right = place.file("right.csv", format!("{HEADER}\n{ROW}\n"));
    assert!(place.run(&["prices", "check", &right]).status.success());
    // A currency of reports that nothing leads to.
    let done = place.run(&["prices", "check", "--currency", "EUR", &right]);
    assert!(!done.status.success() && done.stderr.contains("no exchange rate from USD to EUR"), "{}", done.stderr);
    for (name, bytes) in [("bytes.csv", &b"\xff\xfe"[..]), ("nothing.csv", b"")] {
        let done = place.run(&["prices", "check", &place.file(name, bytes)]);
        assert!(!done.status.success() && done.stderr.starts_with("error:"), "{name}: {}", done.stderr);
    }
    assert!(!place.run(&["prices", "check", &place.text("nowhere.csv")]).status.success());
}

#[test]
fn a_wrong_file_among_right_ones_changes_nothing_and_reports_say_what_is_missing() {
    let place = Place::new();
    place.file("right.csv", format!("{HEADER}\n{ROW}\n"));
    let config =
        place.file("polymeter.toml", "[prices]\nfiles = ['right.csv', 'other']\n".replace("other", "other.csv"));
    let log = place.file("log.json", lines((0..3).map(|n| bedrock(70, n))));
    for (name, text, told) in mistakes().into_iter().filter(|(name, _, _)| name.ends_with(".csv")) {
        place.file("other.csv", text);
        let done = place.run(&["import", "bedrock", &log, "--config", &config, "--data", &place.data()]);
        let told = told.replacen(name, "other.csv", 1);
        assert!(!done.status.success() && done.stderr.contains(&told), "{name}: {}", done.stderr);
        assert!(!place.path("data").exists(), "{name}");
    }
    place.import("bedrock", &[&log]);
    let refused = |args: &[&str]| {
        let done = place.run(&[args, &["--data", &place.data()]].concat());
        assert!(!done.status.success() && !done.stderr.contains("panicked"), "{args:?}: {}", done.stderr);
        done.stderr
    };
    let chargeback = |more: &[&str]| refused(&[&["report", "chargeback"][..], more].concat());
    assert!(chargeback(&["--month", "2026-13"]).contains("write it as 2026-10"));
    assert!(chargeback(&["--month", "2026-03", "--tz", "Berlin"]).contains("Europe/Berlin"));
    assert!(chargeback(&["--month", "2026-03", "--by", "teem"]).contains("did you mean 'team'"));
    assert!(chargeback(&["--month", "2026-03", "--currency", "CHF"]).contains("no exchange rate from USD to CHF"));
    assert!(chargeback(&["--month", "2026-03", "--format", "xlsx"]).contains("--out"));
    assert!(refused(&["report", "what-if", "--month", "2026-03"]).contains("say what would be different"));
    // Months that go on, have not begun, or hold nothing say so on page one.
    let month = |month: &str| works(&place, &["report", "chargeback", "--month", month]).stdout;
    assert!(month("2099-01").contains("has not begun"));
    assert!(month("2025-01").contains("There is no call in this month"));
    let explain = [
        "prices",
        "explain",
        "--platform",
        "openai",
        "--model",
        "gpt-4o",
        "--input-tokens",
        "1000",
        "--output-tokens",
        "100",
        "--format",
        "json",
    ];
    let told = crate::ops::told(&works(&place, &explain));
    assert_eq!((&told["cost"], &told["cost_status"]), (&"0.0035".into(), &"priced".into()), "{told}");
    let unknown = [
        "prices",
        "explain",
        "--platform",
        "openai",
        "--model",
        "gpt-nowhere",
        "--input-tokens",
        "9",
        "--format",
        "json",
    ];
    let told = crate::ops::told(&works(&place, &unknown));
    assert!(told["cost"].is_null() && told["cost_status"] == "unpriced", "{told}");
}
