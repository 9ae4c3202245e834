//! The same records again, by whichever way: the same totals.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Place, QUICK, eventually};
use crate::records::{bedrock, bedrock_key, gzip, lines};

const TOTALS: &str = "SELECT count(*) AS calls, count(DISTINCT provider_request_id) AS requests, sum(input_tokens) AS input, \
    sum(output_tokens) AS output, CAST(sum(cost) AS VARCHAR) AS cost, sum(CASE WHEN conflict THEN 1 ELSE 0 END) AS conflicts \
    FROM calls";

/// Two Bedrock logs that share records, and Azure diagnostics.
struct Logs {
    bedrock: String,
    azure: String,
}

impl Logs {
    fn write(place: &Place) -> Self {
        let first = gzip(&lines((0..300).map(|n| bedrock(1, n))));
        let second = gzip(&lines((250..500).map(|n| bedrock(1, n))));
        place.file(&format!("bedrock/{}", bedrock_key("20260302T090000000Z_a")), first);
        place.file(&format!("bedrock/{}", bedrock_key("20260302T100000000Z_b")), second);
        let fixture = |name: &str| std::fs::read(format!("{}/tests/fixtures/azure/{name}", env!("CARGO_MANIFEST_DIR")));
        let rows = fixture("request_with_two_rows_and_usage.jsonl").unwrap();
        place.file("azure/resourceId=/y=2025/m=11/d=04/h=02/m=00/PT1H.json", rows);
        Self { bedrock: place.text("bedrock"), azure: place.text("azure") }
    }

    fn import(&self, place: &Place) -> (Value, Value) {
        (place.import("bedrock", &[&self.bedrock]), place.import("azure", &[&self.azure]))
    }
}

fn expected(totals: &Value) {
    let facts = ["calls", "requests", "input", "output", "conflicts"].map(|name| totals[name].as_i64().unwrap());
    let input: u64 = (0..500).map(|n| 100 + n % 11).sum();
    let output: u64 = (0..500).map(|n| 20 + n % 3).sum();
    let all = [501, 501, i64::try_from(input).unwrap() + 1200, i64::try_from(output).unwrap() + 85, 0];
    assert_eq!(facts, all, "{totals}");
    assert!(totals["cost"].is_string(), "{totals}");
}

#[test]
fn importing_the_same_files_twice_gives_the_same_totals() {
    let place = Place::new();
    let logs = Logs::write(&place);
    let (bedrock, azure) = logs.import(&place);
    assert_eq!(bedrock["records"], 550);
    assert_eq!(bedrock["observations"], 550);
    assert_eq!(bedrock["duplicates"], 50);
    assert_eq!(bedrock["quarantined"], 0);
    assert_eq!(azure["duplicates"], 0);
    let once = place.sql(TOTALS);
    expected(&once[0]);
    let (bedrock, azure) = logs.import(&place);
    assert_eq!(bedrock["duplicates"], 550);
    assert_eq!(azure["duplicates"], azure["observations"]);
    assert_eq!(place.sql(TOTALS), once);
}

#[test]
fn files_both_imported_and_followed_count_once() {
    let place = Place::new();
    let logs = Logs::write(&place);
    logs.import(&place);
    let once = place.sql(TOTALS);
    let source = |kind: &str, location: &str| {
        format!("[[source]]\nname = 'followed-{kind}'\nkind = '{kind}'\nlocation = '{location}'\npoll_interval_s = 1\n")
    };
    let config = format!("{QUICK}{}{}", source("bedrock", &logs.bedrock), source("azure", &logs.azure));
    let server = place.serve_with(&config, &[]);
    eventually("both sources are complete", PATIENCE, || {
        let sources = server.get("/api/v1/sources").json();
        let complete = |name: &str| sources["sources"][name]["complete_to"].is_string();
        (complete("followed-bedrock") && complete("followed-azure")).then_some(())
    });
    // Late observations are settled at once: wait until both witnesses are seen on every call.
    eventually("the followed records are settled", PATIENCE, || {
        let both = server.number("SELECT count(*) FROM calls WHERE array_length(witnesses) >= 2");
        (both == 501).then_some(())
    });
    assert_eq!(server.sql(TOTALS), once);
    expected(&once[0]);
    server.stop();
    assert_eq!(place.sql(TOTALS), once);
}

#[test]
fn a_followed_folder_gives_what_an_import_gives() {
    let (imported, followed) = (Place::new(), Place::new());
    Logs::write(&imported).import(&imported);
    let logs = Logs::write(&followed);
    let config = format!(
        "{QUICK}[[source]]\nname = 'b'\nkind = 'bedrock'\nlocation = '{}'\n[[source]]\nname = 'a'\nkind = 'azure'\nlocation = '{}'\n",
        logs.bedrock, logs.azure
    );
    let server = followed.serve_with(&config, &[]);
    eventually("all calls are there", PATIENCE, || (server.number("SELECT count(*) FROM calls") == 501).then_some(()));
    let same = imported.sql(TOTALS);
    expected(&same[0]);
    assert_eq!(server.sql(TOTALS), same);
}

#[test]
fn an_import_beside_a_server_is_visible_when_it_returns() {
    let place = Place::new();
    let server = place.serve();
    let logs = Logs::write(&place);
    for (round, calls) in [(2, 120), (3, 240)] {
        let more = place.file(&format!("more-{round}.json"), lines((0..120).map(|n| bedrock(round, n))));
        let summary = place.import("bedrock", &[&more]);
        assert_eq!(summary["observations"], 120);
        assert_eq!(server.number("SELECT count(*) FROM calls"), calls, "round {round}");
    }
    let (bedrock, _) = logs.import(&place);
    assert_eq!(bedrock["duplicates"], 50);
    assert_eq!(server.number("SELECT count(*) FROM calls"), 240 + 501);
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": 741})]);
    server.stop();
}

#[test]
fn sql_beside_a_server_sees_calls_that_are_not_settled_yet() {
    let place = Place::new();
    let server = place.serve_with("[settle]\ninterval_s = 3600\n", &[]);
    let now = crate::records::now_us();
    server.export(&crate::records::spans((0..5).map(|n| crate::records::span(9, n, now)).collect()));
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": 5})]);
    eventually("the API sees them too", Duration::from_secs(2), || {
        (server.number("SELECT count(*) FROM calls") == 5).then_some(())
    });
    server.stop();
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": 5})]);
}
