//! Stores of other versions: an older one is read, upgraded and goes on; a newer one is refused.

use std::path::{Path, PathBuf};

use polymeter::columns::{Row, stored};
use polymeter::delta::{Change, Marks, Table};
use polymeter::model::{Quarantined, RecordId, Timestamp};
use polymeter::store::Store;
use serde_json::{Value, json};

use crate::cli::one_clear_line;
use crate::harness::{PATIENCE, Place, eventually, files_below, runtime};
use crate::ops::{SUMS, on, works};
use crate::records::{bedrock, lines, now_us, span, spans};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A store of the first format: ids as text, an hour in a slice, no mark of its format. Made of [`SOURCES`].
fn first_format() -> Place {
    let place = Place::new();
    let from = fixture("store-v1");
    for file in files_below(&from) {
        let name = file.strip_prefix(&from).unwrap().to_str().unwrap().to_owned();
        place.file(&format!("data/{name}"), std::fs::read(&file).unwrap());
    }
    place
}

/// What the store of the first format was made of.
const SOURCES: [(&str, &[&str]); 2] = [
    ("bedrock", &["bedrock/01-converse.json", "bedrock/08-native-models.jsonl"]),
    ("azure", &["azure/request_with_two_rows_and_usage.jsonl"]),
];

fn its_totals(sums: &[Value]) {
    let facts = ["calls", "ids", "input"].map(|name| sums[0][name].as_i64().unwrap());
    assert_eq!((facts, &sums[0]["cost"]), ([8, 8, 3899], &json!("0.000295580000")), "{sums:?}");
}

fn import_again(place: &Place) {
    for (kind, files) in SOURCES {
        let paths: Vec<_> = files.iter().map(|file| fixture(file).to_str().unwrap().to_owned()).collect();
        let summary = place.import(kind, &paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(summary["observations"].as_u64() > Some(0), "{summary}");
        assert_eq!(summary["duplicates"], summary["observations"], "{summary}");
    }
}

fn clean(place: &Place) {
    let audit = works(place, &["audit"]).stdout;
    assert!(audit.contains("0 call(s) differ"), "{audit}");
}

fn format(place: &Place) -> Option<Value> {
    let mark = std::fs::read(place.path("data/store.json")).ok()?;
    Some(serde_json::from_slice::<Value>(&mark).unwrap()["format"].clone())
}

#[test]
fn a_store_of_the_first_format_is_read_and_goes_on() {
    let place = first_format();
    its_totals(&place.sql(SUMS));
    let all = "SELECT * FROM calls ORDER BY call_id";
    let before = place.sql(all);
    clean(&place);
    assert_eq!(format(&place), None, "reading changes nothing");

    import_again(&place);
    assert_eq!(format(&place), Some(json!(2)));
    its_totals(&place.sql(SUMS));
    assert_eq!(place.sql(all), before);
    clean(&place);

    works(&place, &["maintain"]);
    assert_eq!(place.sql(all), before);
    clean(&place);
    import_again(&place);
    its_totals(&place.sql(SUMS));

    // A new call in an hour that the first format wrote as one slice, and one that is hot.
    let more = place.file("more.json", lines([bedrock(9, 9 * 3600)]));
    place.import("bedrock", &[&more]);
    clean(&place);
    let server = place.serve();
    server.export(&spans(vec![span(1, 0, now_us())]));
    let sums = eventually("the hot call is there", PATIENCE, || {
        Some(server.sql(SUMS)).filter(|sums| sums[0]["calls"].as_i64() > Some(9))
    });
    let input = 3899 + (100 + 9 * 3600 % 11) + 100;
    assert_eq!((&sums[0]["calls"], &sums[0]["ids"], &sums[0]["input"]), (&json!(10), &json!(10), &json!(input)));
    server.stop();
    works(&place, &["maintain"]);
    assert_eq!(place.sql(SUMS), sums);
}

#[test]
fn upkeep_and_resettle_come_first_on_a_store_of_the_first_format() {
    let place = first_format();
    works(&place, &["maintain"]);
    its_totals(&place.sql(SUMS));
    clean(&place);
    let place = first_format();
    let teams = "[attribution.principals]\n\"arn:aws:iam::111122223333:user/nobody\" = \"nobody\"\n";
    let config = place.file("teams.toml", teams);
    works(&place, &["resettle", "--yes", "--config", &config]);
    its_totals(&place.sql(SUMS));
    let server = place.serve();
    its_totals(&server.sql(SUMS));
    server.stop();
    import_again(&place);
    its_totals(&place.sql(SUMS));
    clean(&place);
}

/// Everything in the data folder but locks.
fn content(place: &Place) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files_below(&place.path("data")).into_iter();
    let kept = files.filter(|path| path.extension().is_none_or(|end| end != "lock" && end != "wanted"));
    kept.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Every command that opens a store ends with one line that holds `parts`, and nothing is written.
fn refused(place: &Place, parts: &[&str]) {
    let before = content(place);
    let log = place.file("log.json", lines([bedrock(1, 0)]));
    let any =
        ["--http", "127.0.0.1:0", "--pg", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"];
    one_clear_line(&on(place, &[&["serve"], &any[..]].concat()), parts);
    let commands: [&[&str]; 8] = [
        &["import", "bedrock", &log],
        &["sql", "SELECT count(*) FROM calls"],
        &["audit"],
        &["resettle", "--yes"],
        &["maintain"],
        &["journal", "inspect"],
        &["quarantine", "list"],
        &["quarantine", "retry"],
    ];
    for command in commands {
        one_clear_line(&on(place, command), parts);
    }
    let after = content(place);
    assert_eq!(after.len(), before.len(), "files were added");
    assert!(after == before, "the store was changed");
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let place = first_format();
    let mark = place.file("data/store.json", "{\"format\": 99, \"written_by\": \"9.8.7\"}");
    refused(&place, &["9.8.7", "format 99", "format 2"]);
    std::fs::remove_file(mark).unwrap();
    its_totals(&place.sql(SUMS));
}

/// Changes the columns of a table by an entry of its log, as another version would.
fn alter(place: &Place, table: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let log = place.path(&format!("data/{table}/_delta_log"));
    let entries = files_below(&log);
    let text = std::fs::read_to_string(&entries[0]).unwrap();
    let actions: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut action = actions.into_iter().find(|action| !action["metaData"].is_null()).unwrap();
    let mut schema: Value = serde_json::from_str(action["metaData"]["schemaString"].as_str().unwrap()).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    action["metaData"]["schemaString"] = json!(schema.to_string());
    std::fs::write(log.join(format!("{:020}.json", entries.len())), format!("{action}\n")).unwrap();
}

#[test]
fn a_table_with_an_unknown_column_is_refused() {
    let place = first_format();
    alter(&place, "calls", |fields| {
        fields.push(json!({"name": "mood", "type": "string", "nullable": true, "metadata": {}}));
    });
    refused(&place, &["newer polymeter", "calls", "'mood'"]);
}

/// A row of the quarantine as the first format stored it.
async fn set_aside_by_first_format(data: &str) {
    let store = Store::open(data).await.unwrap();
    let mut table = Table::open(&store, Quarantined::TABLE).await.unwrap().unwrap();
    let columns = table.schema().unwrap();
    assert!(columns.field_with_name("resolved_at").is_err());
    let row = Quarantined {
        quarantine_id: RecordId([7; 16]),
        observed_at: Timestamp(1_772_442_000_000_000),
        ts: Timestamp(1_772_442_000_000_000),
        source: "bedrock".to_owned(),
        object: "somewhere/gone.json".to_owned(),
        reason: "not_json".to_owned(),
        ..Quarantined::default()
    };
    let batch = stored(&Quarantined::encode(std::iter::once(&row)).unwrap(), &columns).unwrap();
    let kept: Vec<usize> =
        columns.fields().iter().map(|field| batch.schema().index_of(field.name()).unwrap()).collect();
    let batch = batch.project(&kept).unwrap();
    let file = table.write_file("2026-03-02", "part-1", batch).await.unwrap();
    table.commit(Change { add: vec![file], ..Change::default() }, &Marks::new()).await.unwrap();
}

#[test]
fn a_lacking_column_is_added_and_old_rows_read_null() {
    let place = first_format();
    runtime().block_on(set_aside_by_first_format(&place.data()));
    let rows = "SELECT quarantine_id, resolved_at FROM quarantine ORDER BY reason DESC, position";
    let old = json!({"quarantine_id": "07".repeat(16), "resolved_at": null});
    assert_eq!(place.sql(rows), std::slice::from_ref(&old), "before the first settle");
    let added = || {
        let entries = files_below(&place.path("data/quarantine/_delta_log"));
        entries.iter().any(|entry| std::fs::read_to_string(entry).unwrap().contains("resolved_at"))
    };
    assert!(!added());

    let mut text = lines([bedrock(4, 1)]);
    text.extend(b"{\"cut\n");
    let file = place.file("mixed.json", &text);
    place.import("bedrock", &[&file]);
    assert!(added(), "the first settle adds it");
    let both = place.sql(rows);
    assert_eq!((both.len(), &both[0]), (2, &old), "{both:?}");

    // The column is there for new rows: one is resolved, the old one is not.
    place.file("mixed.json", lines([bedrock(4, 1), bedrock(4, 2)]));
    works(&place, &["quarantine", "retry"]);
    let open = place.sql("SELECT quarantine_id, resolved_at FROM quarantine WHERE resolved_at IS NULL");
    assert_eq!(open, [old]);
    assert_eq!(place.sql("SELECT count(*) AS n FROM quarantine"), [json!({"n": 2})]);
    works(&place, &["maintain"]);
    assert_eq!(place.sql("SELECT count(*) AS n FROM quarantine WHERE resolved_at IS NULL"), [json!({"n": 1})]);
}
