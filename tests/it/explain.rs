//! `polymeter explain` beyond the ordinary: many ids, many records, copies, strangers and hostile names.

use serde_json::{Value, json};

use crate::evidence::{SECOND_US, count, export, import, span, text, usage};
use crate::harness::Place;
use crate::ops::{told, works};
use crate::records::now_us;

fn chat(n: u64, id: u64, start_us: i64, more: Value) -> Value {
    span(n, id, None, start_us, &[usage("gpt-4o"), vec![more]].concat())
}

fn trace(n: u64) -> String {
    format!("{n:032x}")
}

/// The only call of a trace.
fn call_of(place: &Place, n: u64) -> String {
    let rows = place.sql(&format!("SELECT call_id FROM calls WHERE trace_id = '{}'", trace(n)));
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0]["call_id"].as_str().unwrap().to_owned()
}

fn records(explained: &Value) -> &Vec<Value> {
    explained["records"].as_array().unwrap()
}

#[test]
fn every_witness_is_found_however_many_ids_there_are() {
    let place = Place::new();
    let now = now_us() - 100 * SECOND_US;
    let id = |n: u64| text("gen_ai.response.id", &format!("chatcmpl-{n:024}"));
    let at = |n: u64| now + i64::try_from(n).unwrap() * 1000;
    // One trace of 700 calls, and of each another witness in a trace of its own.
    let of_one: Vec<_> = (0..700).map(|n| chat(1, n, at(n), id(n))).collect();
    let others: Vec<_> = (0..700).map(|n| chat(1000 + n, 1, at(n) + 500, id(n))).collect();
    import(&place, &[export("app", "app", &of_one), export("other", "app", &others)]);
    let explained = told(&works(&place, &["explain", "--json", "--trace", &trace(1)]));
    assert_eq!(records(&explained).len(), 1400);
    assert_eq!(explained["calls"].as_array().unwrap().len(), 700);
    assert_eq!(explained["incomplete"], json!(null));
}

#[test]
fn copies_are_counted_and_strangers_left_out() {
    let place = Place::new();
    let now = now_us() - 100 * SECOND_US;
    let nameless = |service: &str| {
        let mut span = chat(9, 1, now, text("note", service));
        span["traceId"] = json!("");
        span["spanId"] = json!("");
        export(service, "app", &[span])
    };
    let twice = export("app", "app", &[chat(1, 1, now, text("note", ""))]);
    let stranger = export("stranger", "app", &[chat(2, 1, now, text("note", ""))]);
    import(&place, &[twice.clone(), stranger, nameless("first"), nameless("second")]);
    import(&place, std::slice::from_ref(&twice));
    import(&place, &[twice]);
    let explained = told(&works(&place, &["explain", "--json", "--call", &call_of(&place, 1)]));
    assert_eq!(records(&explained).len(), 1, "{explained}");
    assert_eq!(records(&explained)[0]["deliveries"], 3);
    let shown = works(&place, &["explain", "--call", &call_of(&place, 1)]).stdout;
    assert!(shown.contains("1 record(s), 1 call(s)") && shown.contains("delivered 3 times"), "{shown}");
    let stranger = works(&place, &["explain", "--call", &call_of(&place, 2)]).stdout;
    assert!(!stranger.contains("delivered"), "{stranger}");
    for service in ["first", "second"] {
        let row = place.sql(&format!("SELECT call_id FROM calls WHERE service = '{service}'"));
        let explained = told(&works(&place, &["explain", "--json", "--call", row[0]["call_id"].as_str().unwrap()]));
        assert_eq!((records(&explained).len(), explained["calls"].as_array().unwrap().len()), (1, 1), "{explained}");
    }
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let place = Place::new();
    let hostile = "desk\u{1b}[31m\r\nforged line\u{7}\u{202e}\u{9b}é";
    let span = chat(1, 1, now_us() - 100 * SECOND_US, text("gen_ai.response.model", hostile));
    import(&place, &[export(hostile, "app", &[span])]);
    let shown = works(&place, &["explain", "--trace", &trace(1)]).stdout;
    let is_raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!shown.contains(is_raw) && !shown.lines().any(|line| line.starts_with("forged")), "{shown:?}");
    assert!(shown.contains(r"desk\u{1b}[31m\u{d}\u{a}forged line\u{7}\u{202e}\u{9b}é"), "{shown}");
    let explained = told(&works(&place, &["explain", "--json", "--trace", &trace(1)]));
    let figures = explained["calls"][0]["figures"].as_array().unwrap();
    assert!(figures.iter().any(|figure| figure["value"] == hostile), "JSON is exact: {figures:?}");
}

#[test]
fn of_too_many_records_the_first_are_shown() {
    let place = Place::new();
    let now = now_us() - 100 * SECOND_US;
    let spans = (0..20_050).map(|n| {
        let id = u64::try_from(n).unwrap();
        span(1, id, None, now + n, &[text("gen_ai.operation.name", "chat"), count("gen_ai.usage.input_tokens", 1)])
    });
    import(&place, &[export("app", "app", &spans.collect::<Vec<_>>())]);
    let shown = works(&place, &["explain", "--trace", &trace(1)]).stdout;
    assert!(shown.contains("\nshowing the first 20000 of 20050 records\n"), "{}", &shown[..200]);
    assert!(shown.contains("20000 record(s), 20000 call(s)"));
}
