//! Many records at once: what is new is added to the ledger, what is known is not, whatever happens on the way.

use std::sync::Arc;

use polymeter::clock::SystemClock;
use polymeter::collect::Objects;
use polymeter::journal::{Commit, Journal, Positions};
use polymeter::ledger::Retention;
use polymeter::model::Rows;
use polymeter::pipeline::{Ingest, ObjectTotals, Settler, Tables};
use polymeter::sources::bedrock::{BedrockConfig, BedrockLog};
use polymeter::store::Store;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::harness::{PATIENCE, Place};
use crate::records::{bedrock, bedrock_key, gzip, lines};

/// More than an import settles at once.
const RECORDS: u64 = 40_000;
const OBJECTS: u64 = 16;

/// Log objects, each with calls of all the hours, so that every portion has calls for the slices of every other.
fn write(place: &Place, folder: &str, runs: &[u32], numbers: std::ops::Range<u64>) -> String {
    for object in 0..OBJECTS {
        let own = || numbers.clone().filter(move |n| n % OBJECTS == object);
        let records = runs.iter().flat_map(|run| own().map(|n| bedrock(*run, n)));
        let key = bedrock_key(&format!("20260302T{object:02}0000000Z_{folder}"));
        place.file(&format!("{folder}/{key}"), gzip(&lines(records)));
    }
    place.text(folder)
}

fn totals(place: &Place) -> Value {
    place.sql(
        "SELECT count(*) AS calls, count(DISTINCT call_id) AS ids, sum(input_tokens) AS input, \
         sum(output_tokens) AS output FROM calls",
    )[0]
    .clone()
}

fn expected(numbers: impl Iterator<Item = u64> + Clone) -> Value {
    let calls = numbers.clone().count();
    let (input, output) =
        (numbers.clone().map(|n| 100 + n % 11).sum::<u64>(), numbers.map(|n| 20 + n % 3).sum::<u64>());
    json!({"calls": calls, "ids": calls, "input": input, "output": output})
}

/// The ledger is what the archive says, slice by slice.
fn audited(place: &Place) {
    let done = place.run(&["audit", "--json", "--data", &place.data()]);
    let audit: Value = serde_json::from_str(&done.stdout).expect("an audit");
    assert_eq!(audit["differing"], 0, "{audit}");
}

#[test]
fn a_backfill_counts_each_record_once() {
    let place = Place::new();
    let first = place.import("bedrock", &[&write(&place, "first", &[1], 0..RECORDS)]);
    assert_eq!((&first["observations"], &first["duplicates"]), (&json!(RECORDS), &json!(0)));
    assert_eq!(totals(&place), expected(0..RECORDS));
    audited(&place);

    // Copies of old records between new ones of the same minutes, and then only copies.
    let mixed = write(&place, "mixed", &[1, 2], 8000..24_000);
    let second = place.import("bedrock", &[&mixed]);
    assert_eq!((&second["observations"], &second["duplicates"]), (&json!(32_000), &json!(16_000)));
    let all = expected((0..RECORDS).chain(8000..24_000));
    assert_eq!(totals(&place), all);
    assert_eq!(place.import("bedrock", &[&mixed])["duplicates"], 32_000);
    assert_eq!(totals(&place), all);
    audited(&place);
}

/// Dies on each side of the two commits of a settle, and in the second portion.
#[test]
fn a_backfill_that_died_is_begun_again() {
    for moment in ["settle.before_archive", "settle.after_archive:2", "settle.before_ledger", "settle.after_ledger"] {
        let place = Place::new();
        let log = write(&place, "log", &[1], 0..RECORDS);
        let args = ["import", "bedrock", &log, "--data", &place.data()];
        let died = place.run_with(&args, &[("POLYMETER_CRASH_AT", moment)]);
        assert!(!died.status.success(), "{moment} was not reached");
        place.import("bedrock", &[&log]);
        assert_eq!(totals(&place), expected(0..RECORDS), "{moment}");
        audited(&place);
    }
}

/// An import that died leaves its journal, maybe under a name that comes after that of the next one, and more than that
/// one settles for its own sake.
#[tokio::test]
async fn what_another_import_left_is_settled_too() {
    const LEFT: u64 = 60_000;
    let place = Place::new();
    let first = place.file("first.json", lines((0..LEFT).map(|n| bedrock(1, n))));
    let second = place.file("second.json", lines((0..50).map(|n| bedrock(2, n))));
    let store = Store::open(&place.data()).await.unwrap();
    let left = take_in(&store, "import-9", &first, None, async |_| {}).await;
    assert_eq!(left.totals.observations, LEFT);
    place.import("bedrock", &[&second]);

    let tables = Tables::open(&store).await.unwrap();
    let settler = Settler::new(&store, tables, Retention::default(), PATIENCE);
    let heads = settler.journal_heads().await.unwrap();
    assert!(settler.covers(&heads).await.unwrap(), "{heads:?} are not all settled");
    assert!(settler.tables.covered_of("import-9").await.unwrap() > 0, "nothing had been left");
    assert_eq!(totals(&place)["calls"], LEFT + 50);
    audited(&place);
}

/// Reads a log into a journal, and settles nothing.
async fn take_in(
    store: &Store,
    writer: &str,
    log: &str,
    commits: Option<mpsc::UnboundedSender<Commit>>,
    on_rows: impl AsyncFnMut(&Rows),
) -> ObjectTotals {
    let journal = Journal::open(store, writer, 0, commits).await.unwrap();
    let format = Arc::new(BedrockLog::new(BedrockConfig::default()));
    let ingest = Ingest { source: "bedrock".into(), format, journal, clock: Arc::new(SystemClock) };
    let objects = Objects::open(log).await.unwrap();
    let (entries, _) = objects.list().await.unwrap();
    ingest.object(&objects, &entries[0], 0, false, |_| Positions::default(), on_rows).await.unwrap()
}

/// However large an object is, little of it is in memory.
#[tokio::test]
async fn a_large_object_is_taken_in_in_pieces_and_held_back() {
    const LARGE: usize = 10_000;
    let place = Place::new();
    let path = place.file("large.json.gz", gzip(&lines((0..LARGE as u64).map(|n| bedrock(1, n)))));
    let store = Store::open(&place.data()).await.unwrap();
    let (commits, mut landed) = mpsc::unbounded_channel();
    let most = store.commit_rows();
    assert!(most * 5 <= LARGE);
    let (gate, pieces) = (Semaphore::new(2), std::cell::Cell::new(0));
    let reading = async {
        let on_rows = async |rows: &Rows| {
            gate.acquire().await.unwrap().forget();
            assert!(rows.len() <= most, "{} rows at once", rows.len());
            pieces.set(pieces.get() + 1);
        };
        take_in(&store, "pieces", &path, Some(commits), on_rows).await
    };
    let holding = async {
        // The second piece is kept until it is known whether it is the last.
        let first = landed.recv().await.expect("a piece");
        assert_eq!(first.rows.len(), most);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(landed.is_empty() && pieces.get() == 2, "nobody let it go on");
        gate.add_permits(LARGE);
    };
    let (read, ()) = tokio::join!(reading, holding);
    assert_eq!(read.totals.observations, LARGE as u64);
    let mut rest = 0;
    while let Some(commit) = landed.recv().await {
        rest += commit.rows.len();
    }
    assert_eq!(rest + most, LARGE);
    assert_eq!(pieces.get(), LARGE.div_ceil(most));
}
