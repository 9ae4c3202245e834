//! Many records at once: what is new is added to the ledger, what is known is not, whatever happens on the way.

use serde_json::{Value, json};

use crate::harness::Place;
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
