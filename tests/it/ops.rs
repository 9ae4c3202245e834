//! Commands that look at a store and compute it again: `journal inspect`, `audit`, `resettle`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use polymeter::clock::{Clock, SystemClock};
use polymeter::journal::Tail;
use polymeter::ledger::Calls;
use polymeter::model::{Call, HOUR_US, Interval, RecordId, SLICE_US, Timestamp};
use polymeter::store::Store;
use serde_json::{Value, json};

use crate::cli::one_clear_line;
use crate::harness::{Finished, PATIENCE, Place, QUICK, Server, eventually, files_below, runtime};
use crate::records::{bedrock, bedrock_key, gzip, lines, now_us, span, spans};

/// What every computation must leave as it is.
pub const SUMS: &str = "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, sum(input_tokens) AS input, \
    sum(output_tokens) AS output, CAST(sum(cost) AS VARCHAR) AS cost FROM calls";
/// Gives the role of the records a team.
const TEAMS: &str = "[attribution.principals]\n\"checkout-api\" = \"payments\"\n";
/// Settles only when something is late or somebody asks.
pub const SLOW: &str = "[settle]\ninterval_s = 3600\n";
/// Time for a server to show what another process has done.
const SOON: Duration = Duration::from_secs(10);

/// Runs a command on the data of the place.
pub fn on(place: &Place, args: &[&str]) -> Finished {
    let data = place.data();
    place.run(&[args, &["--data", &data]].concat())
}

/// Runs a command on the data of the place that must work.
pub fn works(place: &Place, args: &[&str]) -> Finished {
    let done = on(place, args);
    assert!(done.status.success(), "{args:?}: {}{}", done.stdout, done.stderr);
    done
}

/// The JSON that a command prints.
pub fn told(done: &Finished) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("no JSON: {}{}", done.stdout, done.stderr))
}

/// What `journal inspect` says about a writer.
pub fn journal(place: &Place, writer: &str) -> Value {
    let writers = told(&works(place, &["journal", "inspect", "--json"]));
    let found = writers.as_array().unwrap().iter().find(|summary| summary["writer"] == writer);
    found.unwrap_or_else(|| panic!("no writer {writer}: {writers}")).clone()
}

/// A record that starts so many hours ago.
pub fn hours_ago(run: u32, n: u64, hours: i64) -> Value {
    let mut record = bedrock(run, n);
    let at = Timestamp(SystemClock.now().plus(-hours * HOUR_US).0 / 1_000_000 * 1_000_000);
    record["timestamp"] = json!(at.to_string());
    record
}

/// Imports records of yesterday. A computation looks at every day between the first call and the last, so beside a
/// server's calls they take less time than those of months ago.
fn import_recent(place: &Place, run: u32, count: u64) {
    let file = place.file(&format!("recent-{run}.json"), lines((0..count).map(|n| hours_ago(run, n, 24))));
    place.import("bedrock", &[&file]);
}

/// The commits of a table.
fn commits(place: &Place, table: &str) -> Vec<PathBuf> {
    files_below(&place.path(&format!("data/{table}/_delta_log")))
}

/// Imports records of one run at these seconds of 2026-03-02.
fn import(place: &Place, run: u32, seconds: impl Iterator<Item = u64>) {
    let file = place.file(&format!("run-{run}.json"), lines(seconds.map(|n| bedrock(run, n))));
    place.import("bedrock", &[&file]);
}

#[test]
fn the_journal_of_an_import_is_settled_to_its_end() {
    let place = Place::new();
    import(&place, 1, 0..120);
    let found = journal(&place, "import-0");
    assert_eq!(found["objects"], found["last"], "{found}");
    assert_eq!(found["settled"], found["last"], "{found}");
    assert_eq!(found["unsettled"], 0, "{found}");
    assert_eq!((&found["missing"], &found["damaged"]), (&json!([]), &json!([])), "{found}");
    import(&place, 2, 0..5);
    let later = journal(&place, "import-0");
    assert!(later["last"].as_u64() > found["last"].as_u64(), "{later}");
    assert_eq!(later["settled"], later["last"], "{later}");

    // An import ends with an object without rows, and the newest is never trimmed.
    let last = told(&works(&place, &["journal", "inspect", &format!("import-0/{}", later["last"])]));
    assert_eq!((&last["observations"], &last["range"]), (&json!(0), &Value::Null), "{last}");
    let server = place.serve_with(SLOW, &[]);
    let start = now_us();
    server.export(&spans((0..3).map(|n| span(5, n, start)).collect()));
    let first = told(&works(&place, &["journal", "inspect", "serve/1"]));
    assert_eq!((&first["observations"], &first["quarantined"]), (&json!(3), &json!(0)), "{first}");
    assert_eq!(first["range"], json!([Timestamp(start).to_string(), Timestamp(start).to_string()]), "{first}");
    server.stop();
    let text = works(&place, &["journal", "inspect"]).stdout;
    assert!(text.lines().any(|line| line.starts_with("import-0 ")), "{text}");
    one_clear_line(&on(&place, &["journal", "inspect", "import-0/99"]), &["99", "import-0"]);
    one_clear_line(&on(&place, &["journal", "inspect", "import-0"]), &["<writer>/<sequence>"]);
}

#[test]
fn the_journal_of_a_server_holds_the_positions_of_its_sources() {
    let place = Place::new();
    place.file(&format!("logs/{}", bedrock_key("a")), gzip(&lines((0..50).map(|n| bedrock(1, n)))));
    let source = format!(
        "{QUICK}[[source]]\nname = 'logs'\nkind = 'bedrock'\nlocation = '{}'\npoll_interval_s = 1\n",
        place.text("logs")
    );
    let server = place.serve_with(&source, &[]);
    let settled = |objects: u64, calls: i64| {
        eventually("all is settled and its position known", PATIENCE, || {
            let found = journal(&place, "serve");
            let done = found["settled"] == found["last"] && found["positions"] == json!({"logs": objects});
            (done && server.number("SELECT count(*) FROM calls") == calls).then_some(found)
        })
    };
    let first = settled(1, 50);
    place.file(&format!("logs/{}", bedrock_key("b")), gzip(&lines((50..80).map(|n| bedrock(1, n)))));
    let second = settled(2, 80);
    assert!(second["last"].as_u64() > first["last"].as_u64(), "{second}");
    let newest = format!("serve/{}", second["last"]);
    let object = told(&works(&place, &["journal", "inspect", &newest]));
    assert_eq!((&object["writer"], &object["sequence"]), (&json!("serve"), &second["last"]), "{object}");
    server.stop();
    assert_eq!(journal(&place, "serve")["positions"], json!({"logs": 2}));
}

#[test]
fn a_damaged_journal_object_is_listed_and_what_lies_behind_it_is_read() {
    let place = Place::new();
    let server = place.serve_with(SLOW, &[]);
    for n in 0..4 {
        server.export(&spans(vec![span(1, n, now_us())]));
    }
    server.kill();
    let before = journal(&place, "serve");
    assert_eq!((&before["unsettled"], &before["damaged"]), (&json!(4), &json!([])), "{before}");
    let last = before["last"].as_u64().unwrap();
    let damaged = place.path(&format!("data/journal/serve/{:020}.pmj", last - 2));
    std::fs::write(&damaged, b"PMJ garbage").unwrap();

    let there = "SELECT span_id FROM calls ORDER BY span_id";
    let span_id = |n: u64| json!({"span_id": format!("{:016x}", (1_u64 << 32) + n + 1)});
    assert_eq!(place.sql(there), [span_id(0), span_id(2), span_id(3)]);
    let after = journal(&place, "serve");
    assert_eq!((&after["damaged"], &after["missing"]), (&json!([last - 2]), &json!([])), "{after}");
    assert_eq!((&after["objects"], &after["last"]), (&json!(3), &json!(last)), "{after}");
    let text = works(&place, &["journal", "inspect"]).stdout;
    assert!(text.contains(&format!("damaged and set aside in journal-damaged/serve: [{}]", last - 2)), "{text}");
    one_clear_line(&on(&place, &["journal", "inspect", &format!("serve/{}", last - 2)]), &["serve"]);
    let aside = place.path(&format!("data/journal-damaged/serve/{:020}.pmj", last - 2));
    assert_eq!(std::fs::read(aside).unwrap(), b"PMJ garbage");

    let server = place.serve();
    server.export(&spans(vec![span(1, 4, now_us())]));
    eventually("the server goes on behind it and settles", PATIENCE, || {
        let found = journal(&place, "serve");
        (found["settled"] == found["last"] && found["last"].as_u64() > Some(last)).then_some(())
    });
    assert_eq!(server.sql(there), [span_id(0), span_id(2), span_id(3), span_id(4)]);
    server.stop();
    assert_eq!(journal(&place, "serve")["damaged"], json!([last - 2]));
}

/// A store whose ledger was changed behind the back of its archive: of the first minute's calls one has more tokens, one
/// is gone and one is too many; the calls of an hour later are right.
fn tampered() -> Place {
    let place = Place::new();
    import(&place, 1, (0..20).chain(3600..3620));
    let start = Timestamp::parse("2026-03-02T00:00:00Z").unwrap();
    let slice = Interval { from: start, to: start.plus(SLICE_US) };
    let horizon = runtime().block_on(async {
        let store = Store::open(&place.data()).await.unwrap();
        let mut ledger = Calls::open_or_create(&store).await.unwrap();
        let horizon = ledger.basis().await.unwrap().unwrap().horizon;
        let mut calls = ledger.read(slice).await.unwrap();
        calls.sort_by_key(|call| call.ts);
        assert_eq!(calls.len(), 20);
        calls[7].usage.input = Some(1_000_000);
        calls.remove(9);
        calls.push(Call { call_id: RecordId([9; 16]), ..calls[0].clone() });
        let file = ledger.write(slice, &calls.iter().collect::<Vec<_>>()).await.unwrap();
        ledger.replace(&BTreeSet::from([start]), vec![file], horizon, &Tail::new()).await.unwrap();
        horizon
    });
    assert!(horizon > slice.to);
    assert_eq!(place.sql("SELECT max(input_tokens) AS n FROM calls"), [json!({"n": 1_000_000})]);
    place
}

/// Number of calls that an audit found to differ, which must agree with how it ended.
fn differing(place: &Place, more: &[&str]) -> u64 {
    let done = on(place, &[&["audit", "--json"], more].concat());
    let audit = told(&done);
    let differing = audit["differing"].as_u64().unwrap();
    assert_eq!(done.status.code(), Some(i32::from(differing > 0)), "{audit} {}", done.stderr);
    differing
}

#[test]
fn an_audit_of_a_clean_store_finds_nothing() {
    let place = Place::new();
    one_clear_line(&on(&place, &["audit"]), &["there is no data"]);
    import(&place, 1, 0..700);
    import(&place, 2, 3600..3700);
    let audit = told(&works(&place, &["audit", "--json"]));
    assert_eq!((&audit["differing"], &audit["slices"]), (&json!(0), &json!(3)), "{audit}");
    let sums = &place.sql(SUMS)[0];
    for (name, column) in [("calls", "calls"), ("input_tokens", "input"), ("output_tokens", "output")] {
        assert_eq!(audit["ledger"][name], sums[column], "{audit}");
    }
    for name in ["calls", "input_tokens", "output_tokens"] {
        assert_eq!(audit["ledger"][name], audit["computed"][name], "{audit}");
    }
    let cost = |text: &Value| text.as_str().unwrap().trim_end_matches('0').to_owned();
    for side in ["ledger", "computed"] {
        assert_eq!(cost(&audit[side]["cost"]), cost(&sums["cost"]), "{audit}");
    }

    // Beside a server that has hot calls and settles.
    let place = Place::new();
    import_recent(&place, 1, 800);
    let server = place.serve();
    for n in 0..5 {
        server.export(&spans(vec![span(3, n, now_us())]));
        assert_eq!(differing(&place, &[]), 0);
    }
    eventually("all are there", SOON, || (server.number("SELECT count(*) FROM calls") == 805).then_some(()));
    server.stop();
    assert_eq!(differing(&place, &[]), 0);
}

#[test]
fn an_audit_tells_what_the_ledger_says_otherwise_than_the_archive() {
    let place = tampered();
    let done = on(&place, &["audit", "--json"]);
    assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
    one_clear_line(&done, &["3 call(s)", "polymeter resettle"]);
    let audit = told(&done);
    let mut changes: Vec<_> = audit["differences"].as_array().unwrap().iter().map(|one| &one["change"]).collect();
    changes.sort_by_key(|change| change.to_string());
    assert_eq!(changes, ["differs", "extra", "missing"], "{audit}");
    let differs = audit["differences"].as_array().unwrap().iter().find(|one| one["change"] == "differs").unwrap();
    assert!(differs["columns"].as_array().unwrap().contains(&json!("input_tokens")), "{audit}");
    assert_eq!((&audit["ledger"]["calls"], &audit["computed"]["calls"]), (&json!(40), &json!(40)), "{audit}");
    let text = on(&place, &["audit"]).stdout;
    assert!(text.contains("3 call(s) differ") && text.contains("Missing"), "{text}");

    let range = |from: &str, to: &str| {
        let given = [("--from", from), ("--to", to)].into_iter().filter(|(_, at)| !at.is_empty());
        let args: Vec<String> = given.flat_map(|(name, at)| [name.to_owned(), at.to_owned()]).collect();
        differing(&place, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(range("2026-03-02T00:00:00Z", "2026-03-02T00:10:00Z"), 3);
    assert_eq!(range("2026-03-02", "2026-03-03"), 3);
    assert_eq!(range("2026-03-02T00:10:00Z", ""), 0);
    assert_eq!(range("2026-03-03", ""), 0);
    assert_eq!(range("", "2026-03-02"), 0);
    let wrong = on(&place, &["audit", "--from", "yesterday"]);
    assert!(!wrong.status.success() && wrong.stderr.contains("2026-10-01"), "{}", wrong.stderr);

    let server = place.serve();
    assert_eq!(differing(&place, &[]), 3, "beside a server");
    assert_eq!(differing(&place, &["--from", "2026-03-02T01:00:00Z"]), 0);
    works(&place, &["resettle", "--yes"]);
    assert_eq!(differing(&place, &[]), 0);
    eventually("the server shows the right tokens", SOON, || {
        (server.number("SELECT max(input_tokens) FROM calls") < 1000).then_some(())
    });
    server.stop();
}

/// Calls without and with the team.
fn teams(rows: &[Value]) -> (i64, i64) {
    (rows[0]["none"].as_i64().unwrap(), rows[0]["payments"].as_i64().unwrap())
}

const BY_TEAM: &str = "SELECT count(*) FILTER (WHERE team IS NULL) AS none, \
    count(*) FILTER (WHERE team = 'payments') AS payments FROM calls";

#[test]
fn resettle_asks_first_and_then_changes_names_and_no_sum() {
    let place = Place::new();
    import(&place, 1, (0..60).chain(7200..7260));
    let (sums, before) = (place.sql(SUMS), commits(&place, "calls"));
    let config = place.file("teams.toml", TEAMS);

    let asked = on(&place, &["resettle", "--config", &config]);
    assert_eq!(asked.status.code(), Some(1), "{}", asked.stderr);
    one_clear_line(&asked, &["nothing was changed", "--yes"]);
    assert!(asked.stdout.contains("120 call(s) differ") && asked.stdout.contains("team"), "{}", asked.stdout);
    for name in ["calls", "input_tokens", "output_tokens", "cost"] {
        let line = asked.stdout.lines().find(|line| line.starts_with(name)).expect("a line of sums");
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!((words[1], words[3]), (words[2], "+0"), "{}", asked.stdout);
        assert_ne!(words[1], "0", "{}", asked.stdout);
    }
    assert_eq!(commits(&place, "calls"), before);
    assert_eq!(teams(&place.sql(BY_TEAM)), (120, 0));

    works(&place, &["resettle", "--config", &config, "--from", "2026-03-02T02:00:00Z", "--yes"]);
    assert_eq!(teams(&place.sql(BY_TEAM)), (60, 60));
    let done = works(&place, &["resettle", "--config", &config, "--yes"]);
    assert!(done.stdout.contains("60 call(s) differ") && done.stderr.contains("60 call(s) were"), "{}", done.stdout);
    assert_eq!(teams(&place.sql(BY_TEAM)), (0, 120));
    assert_eq!(place.sql(SUMS), sums);

    let before = commits(&place, "calls");
    for more in [&["--yes"][..], &[]] {
        let again = works(&place, &[&["resettle", "--config", &config], more].concat());
        assert!(again.stdout.contains("0 call(s) differ"), "{}", again.stdout);
    }
    assert_eq!(commits(&place, "calls"), before);
    assert_eq!(differing(&place, &["--config", &config]), 0);
    // What it was settled with holds without a configuration too; what another would say is told.
    assert_eq!(differing(&place, &[]), 0);
    let other = place.file("other.toml", "[attribution.principals]\n");
    assert_eq!(differing(&place, &["--config", &other]), 120);
}

/// A call of an hour ago: nothing shows it before it is settled.
fn late_call(server: &Server<'_>, n: u64) {
    server.export(&spans(vec![span(5, n, now_us() - 3_600_000_000)]));
    eventually("a late call is settled", PATIENCE, || {
        let span_id = format!("{:016x}", (5_u64 << 32) + n + 1);
        let calls = server.number(&format!("SELECT count(*) FROM calls WHERE span_id = '{span_id}'"));
        (calls == 1).then_some(())
    });
}

#[test]
fn a_server_hands_the_role_over_shows_what_was_resettled_and_goes_on() {
    let place = Place::new();
    import_recent(&place, 1, 120);
    let server = place.serve();
    late_call(&server, 0);
    let sums = server.sql(SUMS);
    assert_eq!(teams(&server.sql(BY_TEAM)), (121, 0));
    let config = place.file("teams.toml", TEAMS);
    works(&place, &["resettle", "--config", &config, "--yes"]);
    eventually("the server shows the teams", SOON, || {
        let rows = server.sql(BY_TEAM);
        assert_eq!(rows[0]["none"].as_i64().unwrap() + rows[0]["payments"].as_i64().unwrap(), 121);
        (teams(&rows) == (1, 120)).then_some(())
    });
    assert_eq!(server.sql(SUMS), sums);
    assert!(server.stderr().contains("handing over"), "{}", server.stderr());
    late_call(&server, 1);
    late_call(&server, 2);
    assert_eq!(teams(&server.sql(BY_TEAM)), (3, 120));
    server.stop();
    assert_eq!(differing(&place, &["--config", &config]), 0);
    assert_eq!(teams(&place.sql(BY_TEAM)), (3, 120));
}
