//! `polymeter maintain`: fewer files and less history, never another answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use polymeter::clock::{Clock, SystemClock};
use polymeter::delta::{LogUpkeep, Table};
use polymeter::ledger::{Pin, Pins};
use polymeter::model::HOUR_US;
use polymeter::store::Store;
use serde_json::{Value, json};

use crate::cli::one_clear_line;
use crate::harness::{Place, eventually, files_below, runtime};
use crate::ops::{SLOW, SUMS, hours_ago, journal, on, told, works};
use crate::records::{bedrock, lines, now_us, span, spans};

/// Everything that a caller can see of the calls.
const ALL: &str = "SELECT * FROM calls ORDER BY call_id";
/// Keeps observations for a month and calls for ever.
const MONTH: &str = "[retention]\nobservations_days = 30\n";

/// The active files of a table, from its log alone.
fn active(place: &Place, table: &str) -> BTreeSet<String> {
    let mut active = BTreeSet::new();
    for entry in files_below(&place.path(&format!("data/{table}/_delta_log"))) {
        if entry.extension().is_none_or(|end| end != "json") {
            continue;
        }
        for line in std::fs::read_to_string(entry).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                active.insert(path.to_owned());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                active.remove(path);
            }
        }
    }
    active
}

/// Twelve small imports into one old day, ten minutes apart.
fn twelve_imports(place: &Place) {
    for run in 0..12_u64 {
        let records = (0..20).map(|n| bedrock(u32::try_from(run).unwrap(), run * 600 + n));
        let file = place.file(&format!("run-{run}.json"), lines(records));
        place.import("bedrock", &[&file]);
    }
}

fn maintain(place: &Place, config: &str) -> Value {
    let config = place.file("maintain.toml", config);
    told(&works(place, &["maintain", "--config", &config]))
}

/// The five calls of yesterday can still be computed.
fn clean_since_yesterday(place: &Place) {
    let from = SystemClock.now().plus(-48 * HOUR_US).to_string();
    let audit = told(&works(place, &["audit", "--json", "--from", &from]));
    assert_eq!((&audit["computed"]["calls"], &audit["differing"]), (&json!(5), &json!(0)), "{audit}");
}

fn number(place: &Place, statement: &str) -> i64 {
    place.sql(statement)[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap()
}

#[test]
fn many_small_files_become_few_and_every_answer_stays() {
    let place = Place::new();
    twelve_imports(&place);
    let before = (place.sql(ALL), place.sql(SUMS));
    assert_eq!(before.0.len(), 240);
    let tables = ["calls", "observations"];
    let files = tables.map(|table| active(&place, table).len());
    assert_eq!(files, [12, 12]);
    let server = place.serve_with(SLOW, &[]);
    let report = maintain(&place, "");
    assert_eq!((&report["merged_files"], &report["left"]), (&json!(24), &json!(0)), "{report}");
    assert_eq!(tables.map(|table| active(&place, table).len()), [1, 1]);
    assert_eq!((place.sql(ALL), place.sql(SUMS)), before);
    eventually("the server shows the merged files", Duration::from_secs(10), || {
        let metrics = server.get("/metrics").text();
        let one = |table: &str| {
            let files = metrics.lines().find(|line| line.starts_with("polymeter_table_files") && line.contains(table));
            files.is_some_and(|line| line.ends_with(" 1"))
        };
        (one("calls") && one("observations")).then_some(())
    });
    assert_eq!(server.sql(SUMS), before.1);
    server.stop();
    for table in ["calls", "observations", "quarantine", "provider_metrics"] {
        assert!(place.path(&format!("data/{table}/_delta_log/_last_checkpoint")).is_file(), "{table}");
    }

    // Nothing is left to do, and what comes later goes into the merged files' slices.
    assert_eq!(maintain(&place, "")["merged_files"], 0);
    let late = place.file("late.json", lines([bedrock(3, 1825)]));
    place.import("bedrock", &[&late, &place.text("run-3.json")]);
    assert_eq!(number(&place, "SELECT count(*) FROM calls"), 241);
    maintain(&place, "");
    let old = place.sql(
        "SELECT * FROM calls WHERE provider_request_id <> '00000003-0000-4000-8000-000000000721' ORDER BY call_id",
    );
    let settled = |rows: &[Value]| -> Vec<Value> {
        let mut rows = rows.to_vec();
        rows.iter_mut().for_each(|row| row["settled_at"] = Value::Null);
        rows
    };
    assert_eq!(settled(&old), settled(&before.0));
    assert!(works(&place, &["audit"]).stdout.contains("0 call(s) differ"));
}

#[test]
fn maintain_settles_what_a_dead_server_left_in_the_journal() {
    let place = Place::new();
    let server = place.serve_with(SLOW, &[]);
    for n in 0..3 {
        server.export(&spans(vec![span(1, n, now_us())]));
    }
    server.kill();
    assert_eq!(journal(&place, "serve")["unsettled"], 3);
    maintain(&place, "");
    let found = journal(&place, "serve");
    assert_eq!((&found["unsettled"], &found["settled"]), (&json!(0), &found["last"]), "{found}");
    assert_eq!(number(&place, "SELECT count(*) FROM calls"), 3);
    let server = place.serve();
    assert_eq!(server.number("SELECT count(*) FROM calls"), 3);
    server.stop();
}

#[test]
fn old_observations_leave_and_the_calls_made_of_them_stay() {
    let place = Place::new();
    let old = place.file("old.json", lines((0..30).map(|n| bedrock(1, n))));
    let new = place.file("new.json", lines((0..5).map(|n| hours_ago(2, n, 24))));
    place.import("bedrock", &[&old, &new]);
    let before = place.sql(SUMS);
    assert_eq!(before[0]["calls"], 35);
    let report = maintain(&place, MONTH);
    assert_eq!(report["expired_files"], 1, "{report}");
    assert_eq!(number(&place, "SELECT count(*) FROM observations"), 5);
    assert_eq!(place.sql(SUMS), before);
    let audit = told(&works(&place, &["audit", "--json", "--to", "2026-03-03"]));
    assert_eq!((&audit["beyond_archive"], &audit["differing"]), (&json!(1), &json!(0)), "{audit}");

    // The same file again: the archive knows its records no more, the ledger still knows their calls.
    place.import("bedrock", &[&old]);
    assert_eq!(place.sql(SUMS), before);
    assert_eq!(number(&place, "SELECT count(*) FROM calls WHERE tags['late'] = 'true'"), 0);

    // A record that nobody has seen before is one call more, and says that it came late; twice is once.
    let late = place.file("late.json", lines([bedrock(3, 12)]));
    for round in 0..2 {
        place.import("bedrock", &[&late]);
        let rows =
            place.sql("SELECT provider_request_id AS id, input_tokens AS input FROM calls WHERE tags['late'] = 'true'");
        assert_eq!(rows, [json!({"id": "00000003-0000-4000-8000-00000000000c", "input": 101})], "round {round}");
        assert_eq!(number(&place, "SELECT count(*) FROM calls"), 36, "round {round}");
        // What came late leaves the archive with the next upkeep, and is still known to the ledger.
        maintain(&place, MONTH);
        assert_eq!(number(&place, "SELECT count(*) FROM observations"), 5, "round {round}");
    }
    let others = place.sql(&format!("{SUMS} WHERE tags['late'] IS NULL"));
    assert_eq!(others, before);
    clean_since_yesterday(&place);
}

#[test]
fn old_calls_leave_when_they_are_not_to_be_kept() {
    let place = Place::new();
    let old = place.file("old.json", lines((0..30).map(|n| bedrock(1, n))));
    let new = place.file("new.json", lines((0..5).map(|n| hours_ago(2, n, 24))));
    place.import("bedrock", &[&old, &new]);
    assert_eq!(maintain(&place, "[retention]\ncalls_days = 365\n")["expired_files"], 0);
    assert_eq!(number(&place, "SELECT count(*) FROM calls"), 35);
    let report = maintain(&place, "[retention]\ncalls_days = 30\nobservations_days = 30\n");
    assert_eq!(report["expired_files"], 2, "{report}");
    let left = place.sql("SELECT DISTINCT provider_request_id AS id FROM calls");
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(left.iter().all(|row| row["id"].as_str().unwrap().starts_with("00000002")), "{left:?}");
    assert_eq!(number(&place, "SELECT count(*) FROM observations"), 5);
    clean_since_yesterday(&place);
}

/// What is there of a version: its rows, and how many of its files.
async fn version(store: &Store, version: u64) -> Option<(usize, usize)> {
    let mut table = Table::open(store, "calls").await.unwrap().unwrap();
    table.load_version(version).await.ok()?;
    let files = table.files().unwrap();
    let folder = store.local().unwrap().join("calls");
    let there = files.iter().filter(|file| folder.join(&file.path).is_file()).count();
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let rows = table.scan_files(paths, None).await;
    Some((rows.map_or(0, |rows| rows.iter().map(|batch| batch.num_rows()).sum()), there))
}

/// Upkeep that keeps nothing that is replaced, but for pins.
async fn remove_all_old(store: &Store) {
    let pins = Pins::read(store).await.unwrap();
    let mut calls = Table::open(store, "calls").await.unwrap().unwrap();
    // Ages are counted in whole milliseconds.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let nothing = LogUpkeep { keep_log: Duration::ZERO, keep_files: Duration::ZERO };
    calls.remove_old(nothing, &pins.of("calls")).await.unwrap();
}

#[test]
fn a_pinned_version_stays_readable_whatever_is_removed() {
    for pinned in [true, false] {
        let place = Place::new();
        twelve_imports(&place);
        let store = runtime().block_on(Store::open(&place.data())).unwrap();
        let before = runtime().block_on(Table::open(&store, "calls")).unwrap().unwrap().version();
        assert_eq!(runtime().block_on(version(&store, before)), Some((240, 12)));
        if pinned {
            let tables = BTreeMap::from([("calls".to_owned(), before)]);
            let pin = Pin { tables, reason: "closed month".to_owned() };
            runtime().block_on(Pins::set(&store, "x", &pin)).unwrap();
            assert!(place.path("data/pins/x.json").is_file());
        }
        for round in 0..2 {
            let more = place.file("more.json", lines([bedrock(70 + round, 3)]));
            place.import("bedrock", &[&more]);
            maintain(&place, "");
            runtime().block_on(remove_all_old(&store));
        }
        let left = runtime().block_on(version(&store, before));
        if pinned {
            assert_eq!(left, Some((240, 12)));
        } else {
            assert!(left.is_none_or(|(rows, files)| rows == 0 && files == 0), "{left:?}");
        }
        assert_eq!(number(&place, "SELECT count(*) FROM calls"), 242);
        assert_eq!(number(&place, "SELECT count(DISTINCT call_id) FROM calls"), 242);
        assert!(works(&place, &["audit"]).stdout.contains("0 call(s) differ"));
        if pinned {
            std::fs::remove_file(place.path("data/pins/x.json")).unwrap();
            maintain(&place, "");
            runtime().block_on(remove_all_old(&store));
            assert!(runtime().block_on(version(&store, before)).is_none_or(|left| left == (0, 0)));
        }
    }
}

#[test]
fn a_pin_that_can_not_be_read_stops_the_upkeep() {
    let place = Place::new();
    twelve_imports(&place);
    place.file("data/pins/x.json", "{\"tables\": ");
    one_clear_line(&on(&place, &["maintain"]), &["pins/x.json"]);
    assert_eq!(active(&place, "calls").len(), 12);
    std::fs::remove_file(place.path("data/pins/x.json")).unwrap();
    maintain(&place, "");
    assert_eq!(active(&place, "calls").len(), 1);
}

/// Entries of the log leave after hours, also where the last upkeep was long ago.
#[test]
fn upkeep_works_on_a_log_that_has_aged() {
    let place = Place::new();
    twelve_imports(&place);
    // Neighbours of what is new are settled again.
    let old = "SELECT call_id, ts, provider_request_id, input_tokens, output_tokens, cost, principal FROM calls \
        WHERE provider_request_id < '00000020' ORDER BY call_id";
    let before = place.sql(old);
    let aged = std::time::UNIX_EPOCH + Duration::from_micros(u64::try_from(now_us() - 7 * HOUR_US).unwrap());
    for round in 0..3_u32 {
        for table in ["calls", "observations", "quarantine", "provider_metrics"] {
            for entry in files_below(&place.path(&format!("data/{table}/_delta_log"))) {
                std::fs::File::options().append(true).open(entry).unwrap().set_modified(aged).unwrap();
            }
        }
        let report = maintain(&place, "");
        assert!(round > 0 || report["removed_log_entries"].as_u64().unwrap() > 0, "{report}");
        let log = files_below(&place.path("data/calls/_delta_log"));
        assert!(log.len() < 8, "round {round}: {log:?}");
        assert!(place.sql(old) == before, "round {round}: other calls");
        let more = place.file("more.json", lines([bedrock(90 + round, 1)]));
        place.import("bedrock", &[&more]);
    }
    let all = before.len() + 3;
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": all})]);
}

/// With traffic there is always more to settle.
#[test]
fn maintain_ends_while_calls_arrive() {
    let place = Place::new();
    let server = place.serve_with(SLOW, &[]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for run in 1..=3 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    let late = if n % 5 == 0 { 2 * HOUR_US } else { 0 };
                    server.export(&spans(vec![span(run, n, now_us() - late)]));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let report = maintain(&place, "");
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(report["left"].is_u64(), "{report}");
    });
    server.stop();
}
