//! `polymeter quarantine`: what could not be read is told, kept, and taken in once when it can be read.

use serde_json::{Value, json};

use crate::cli::one_clear_line;
use crate::harness::{Place, eventually};
use crate::ops::{SUMS, on, told, works};
use crate::records::{bedrock, gzip, lines, now_us, span, spans};

/// Ten records; those in `cut` lack their end.
fn log(run: u32, cut: &[u64]) -> Vec<u8> {
    let record = |n: u64| {
        let whole = bedrock(run, n).to_string();
        if cut.contains(&n) { whole[..200].to_owned() } else { whole }
    };
    (0..10).flat_map(|n| format!("{}\n", record(n)).into_bytes()).collect()
}

fn input_of(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.map(|n| 100 + n % 11).sum()
}

fn counts(place: &Place) -> (Value, Value) {
    let sums = &place.sql(SUMS)[0];
    assert_eq!(sums["calls"], sums["ids"], "{sums}");
    (sums["calls"].clone(), sums["input"].clone())
}

fn listed(place: &Place, more: &[&str]) -> Vec<Value> {
    let done = works(place, &[&["quarantine", "list", "--json"], more].concat());
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn retry(place: &Place, more: &[&str]) -> Value {
    told(&works(place, &[&["quarantine", "retry"], more].concat()))
}

/// A summary of a retry: objects, resolved, still set aside, not kept, unreachable.
fn summary(counts: [u64; 5]) -> Value {
    let names = ["objects", "resolved", "still_quarantined", "not_kept", "unreachable"];
    Value::Object(names.iter().zip(counts).map(|(name, n)| ((*name).to_owned(), json!(n))).collect())
}

#[test]
fn a_repaired_record_is_taken_in_and_its_neighbours_count_once() {
    let place = Place::new();
    let file = place.file("logs/records.json", log(1, &[4, 8]));
    place.import("bedrock", &[&file]);
    let without = input_of((0..10).filter(|n| ![4, 8].contains(n)));
    assert_eq!(counts(&place), (json!(8), json!(without)));

    let open = listed(&place, &[]);
    assert_eq!(open.len(), 2, "{open:?}");
    let offset = (0..4).map(|n| bedrock(1, n).to_string().len() + 1).sum::<usize>();
    assert_eq!(open.iter().map(|row| row["position"].as_u64().unwrap()).min(), u64::try_from(offset).ok());
    for row in &open {
        assert_eq!(
            (&row["source"], &row["reason"], &row["bytes"]),
            (&json!("bedrock"), &json!("not_json"), &json!(200))
        );
        assert_eq!(row["resolved_at"], Value::Null, "{row}");
    }
    let table = works(&place, &["quarantine", "list"]).stdout;
    assert!(table.contains("records.json") && table.contains("2 record(s)"), "{table}");
    let id = open[0]["quarantine_id"].as_str().unwrap();
    assert_eq!(told(&works(&place, &["quarantine", "show", &id[..12]])), open[0]);
    assert_eq!(told(&works(&place, &["quarantine", "show", id])), open[0]);
    one_clear_line(&on(&place, &["quarantine", "show", "0000000000000000"]), &["quarantine list"]);

    // As long as it is broken nothing changes.
    assert_eq!(retry(&place, &[]), summary([1, 0, 2, 0, 0]));
    let ids = |rows: &[Value]| rows.iter().map(|row| row["quarantine_id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&listed(&place, &[])), ids(&open));
    assert_eq!(counts(&place), (json!(8), json!(without)));

    // The repaired line is longer, so what follows moves.
    place.file("logs/records.json", log(1, &[]));
    assert_eq!(retry(&place, &[]), summary([1, 2, 0, 0, 0]));
    assert_eq!(counts(&place), (json!(10), json!(input_of(0..10))));
    assert!(listed(&place, &[]).is_empty());
    assert!(works(&place, &["quarantine", "list"]).stdout.contains("0 record(s)"));
    let all = listed(&place, &["--all"]);
    assert_eq!(all.len(), 2, "{all:?}");
    for (row, before) in all.iter().zip(&open) {
        assert!(row["resolved_at"].is_string(), "{row}");
        let with = |name: &str| (row[name].clone(), before[name].clone());
        for (now, then) in ["quarantine_id", "object", "position", "reason", "detail"].map(with) {
            assert_eq!(now, then);
        }
    }
    assert!(works(&place, &["quarantine", "list", "--all"]).stdout.contains("(taken in)"));
    assert_eq!(place.sql("SELECT count(*) AS n FROM quarantine WHERE resolved_at IS NOT NULL"), [json!({"n": 2})]);

    assert_eq!(retry(&place, &[]), summary([0, 0, 0, 0, 0]));
    assert_eq!(listed(&place, &["--all"]), all);
    assert_eq!(counts(&place), (json!(10), json!(input_of(0..10))));
    let audit = works(&place, &["audit"]).stdout;
    assert!(audit.contains("0 call(s) differ"), "{audit}");
}

#[test]
fn a_cut_object_that_came_whole_later_is_taken_in_beside_a_server() {
    let place = Place::new();
    let whole = gzip(&lines((0..2000).map(|n| bedrock(1, n))));
    let file = place.file("logs/a.json.gz", &whole[..whole.len() / 2]);
    place.import("bedrock", &[&file]);
    let server = place.serve();
    let before = server.number("SELECT count(*) FROM calls");
    assert!((100..2000).contains(&before), "{before}");
    place.file("logs/a.json.gz", &whole);
    assert_eq!(retry(&place, &[]), summary([1, 1, 0, 0, 0]));
    eventually("the server shows all of it", std::time::Duration::from_secs(10), || {
        (server.number("SELECT count(*) FROM calls") == 2000).then_some(())
    });
    eventually("and that it was taken in", std::time::Duration::from_secs(10), || {
        (server.number("SELECT count(*) FROM quarantine WHERE resolved_at IS NOT NULL") == 1).then_some(())
    });
    assert_eq!(server.number("SELECT sum(input_tokens) FROM calls"), i64::try_from(input_of(0..2000)).unwrap());
    server.stop();
    assert!(listed(&place, &[]).is_empty());
}

#[test]
fn a_source_name_that_says_nothing_needs_its_kind_or_the_configuration() {
    for configured in [false, true] {
        let place = Place::new();
        let file = place.file("logs/records.json", log(1, &[3]));
        works(&place, &["import", "bedrock", &file, "--source", "prod"]);
        assert_eq!(retry(&place, &[]), summary([0, 0, 0, 0, 1]));
        place.file("logs/records.json", log(1, &[]));
        let source = format!("[[source]]\nname = 'prod'\nkind = 'bedrock'\nlocation = '{}'\n", place.text("logs"));
        let config = place.file("polymeter.toml", source);
        let how = if configured { ["--config", &config] } else { ["--kind", "bedrock"] };
        assert_eq!(retry(&place, &how), summary([1, 1, 0, 0, 0]));
        assert_eq!(counts(&place), (json!(10), json!(input_of(0..10))));
        // It is the same source as before, not a second witness.
        let witnesses = place.sql("SELECT DISTINCT array_to_string(witnesses, ',') AS w FROM calls");
        assert_eq!(witnesses.len(), 1, "{witnesses:?}");
    }
}

#[test]
fn what_was_sent_is_told_as_not_kept_and_stays_listed() {
    let place = Place::new();
    let server = place.serve();
    let mut absurd = span(2, 1, now_us());
    absurd["attributes"][4]["value"] = json!({"intValue": "9223372036854775807"});
    let request = spans(vec![span(2, 0, now_us()), absurd]);
    let reply = server.post("/v1/traces", &[("content-type", "application/json")], request.to_string()).unwrap();
    assert_eq!(reply.json()["partialSuccess"]["rejectedSpans"], "1", "{}", reply.text());
    eventually("it is set aside", std::time::Duration::from_secs(10), || {
        (server.number("SELECT count(*) FROM quarantine") == 1).then_some(())
    });
    server.stop();
    let done = works(&place, &["quarantine", "retry"]);
    assert_eq!(told(&done), summary([0, 0, 0, 1, 0]));
    assert!(done.stderr.contains("1 record(s) came over OTLP"), "{}", done.stderr);
    let open = listed(&place, &[]);
    assert_eq!(open.len(), 1, "{open:?}");
    assert!(open[0]["object"].as_str().unwrap().starts_with("otlp/"), "{open:?}");
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": 1})]);
}

#[test]
fn a_missing_object_is_told_and_nothing_is_lost() {
    let place = Place::new();
    let gone = place.file("logs/gone.json", log(1, &[4]));
    let there = place.file("logs/there.json", log(2, &[5]));
    place.import("bedrock", &[&gone, &there]);
    let open = listed(&place, &[]);
    assert_eq!(open.len(), 2, "{open:?}");
    std::fs::remove_file(&gone).unwrap();
    place.file("logs/there.json", log(2, &[]));
    let done = works(&place, &["quarantine", "retry"]);
    assert_eq!(told(&done), summary([1, 1, 0, 0, 1]));
    assert!(done.stderr.contains("1 record(s) can't be read again"), "{}", done.stderr);
    let left = listed(&place, &[]);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0]["object"].as_str().unwrap().ends_with("gone.json"), "{left:?}");
    let all = input_of((0..10).filter(|n| *n != 4)) + input_of(0..10);
    assert_eq!(counts(&place), (json!(19), json!(all)));
    // It came back: a deletion is no end.
    place.file("logs/gone.json", log(1, &[]));
    assert_eq!(retry(&place, &[]), summary([1, 1, 0, 0, 0]));
    assert_eq!(counts(&place), (json!(20), json!(2 * input_of(0..10))));
}
