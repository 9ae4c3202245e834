//! Answers larger than memory should hold: every row, in every format, and a loud end where rows would be missing.

use std::io::Read;

use serde_json::{Value, json};

use crate::harness::{Place, Server, runtime};

/// 1.2 million rows of two columns, some 19 MB in memory.
const MANY: &str = "SELECT a.value * 1000 + b.value AS n, a.value AS a FROM range(1200) a CROSS JOIN range(1000) b";
const ROWS: usize = 1_200_000;

fn server(place: &Place) -> Server<'_> {
    place.serve_with("", &[])
}

fn post(server: &Server<'_>, sql: &str, format: &str) -> reqwest::RequestBuilder {
    server.client().post(format!("{}/api/v1/sql", server.http)).json(&json!({"sql": sql, "format": format}))
}

#[test]
fn millions_of_rows_arrive_in_every_format() {
    let place = Place::new();
    let server = server(&place);
    let reply = server.ask(post(&server, MANY, "csv")).expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), "", "it goes out as it comes");
    let text = reply.text();
    assert_eq!((text.lines().next(), text.lines().count()), (Some("n,a"), ROWS + 1));
    let lines = server.ask(post(&server, MANY, "ndjson")).expect("an answer").text();
    let sum: i64 = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_i64().unwrap()).sum();
    assert_eq!(sum, (0..1_200_000_i64).sum::<i64>());
    let arrow = server.ask(post(&server, MANY, "arrow")).expect("an answer").body;
    let reader = arrow::ipc::reader::StreamReader::try_new(&arrow[..], None).expect("an Arrow stream");
    assert_eq!(reader.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), ROWS);
    let file = server.ask(post(&server, MANY, "parquet")).expect("an answer").body;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(file), 8192);
    assert_eq!(reader.expect("Parquet").map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), ROWS);
    server.stop();
}

#[test]
fn json_says_at_its_end_that_rows_are_missing() {
    let place = Place::new();
    let server = server(&place);
    // Wide enough to be sent as it comes.
    let wide = MANY.replace(
        " FROM",
        ", a.value AS b, a.value AS c, a.value AS d, a.value AS e, a.value AS f, \
        a.value AS g, a.value AS h, a.value AS i, a.value AS j, a.value AS k, a.value AS l FROM",
    );
    let reply = server.ask(post(&server, &wide, "json")).expect("an answer").json();
    assert_eq!(reply["rows"].as_array().unwrap().len(), 100_000);
    assert_eq!((reply["columns"][1]["name"].as_str(), reply["meta"]["truncated"].as_bool()), (Some("a"), Some(true)));
    assert!(reply["meta"]["elapsed_ms"].is_number() && reply["meta"]["complete_to"].is_object());
    server.stop();
}

#[test]
fn what_would_be_cut_breaks_off() {
    let place = Place::new();
    let server = place.serve_with("[access.limits.admin]\nexport_rows = 700000\n[[access.token]]\nname = 'a'\nrole = 'admin'\nhash = 'sha256:HASH'\n".replace("HASH", &crate::access::digest("pm_a")).as_str(), &[]);
    let broken = runtime().block_on(async {
        let answer = post(&server, MANY, "csv").bearer_auth("pm_a").send().await.expect("a head");
        assert_eq!(answer.status().as_u16(), 200);
        answer.bytes().await
    });
    assert!(broken.is_err(), "a part must not look like the whole");
    let audited = server.ask(post(&server, MANY, "csv").bearer_auth("wrong")).expect("an answer");
    assert_eq!(audited.status, 401);
    server.stop();
}

#[test]
fn what_goes_out_as_it_comes_is_compressed_too() {
    let place = Place::new();
    let server = server(&place);
    let plain = server.ask(post(&server, MANY, "csv")).expect("an answer").body;
    for (coding, unpacked) in [
        ("zstd", (|body: &[u8]| zstd::decode_all(body).unwrap()) as fn(&[u8]) -> Vec<u8>),
        ("gzip", |body| {
            let mut all = Vec::new();
            flate2::read::GzDecoder::new(body).read_to_end(&mut all).unwrap();
            all
        }),
    ] {
        let reply = server.ask(post(&server, MANY, "csv").header("accept-encoding", coding)).expect("an answer");
        assert_eq!(reply.header("content-encoding"), coding);
        assert!(reply.body.len() * 2 < plain.len(), "{coding}: {} of {}", reply.body.len(), plain.len());
        assert!(unpacked(&reply.body).len() == plain.len(), "{coding}");
    }
    server.stop();
}

#[test]
fn a_named_query_comes_in_pages() {
    let place = Place::new();
    let file = place.file("log.json", crate::records::lines((0..30).map(|n| crate::records::bedrock(1, n))));
    place.import("bedrock", &[&file]);
    let server = server(&place);
    let path = "/api/v1/queries/tokens_per_hour?from=2020-01-01&to=2030-01-01";
    let whole = server.get(path).json()["rows"].as_array().unwrap().clone();
    let (mut paged, mut offset) = (Vec::new(), 0);
    loop {
        let page = server.get(&format!("{path}&limit=1&offset={offset}")).json();
        paged.extend(page["rows"].as_array().unwrap().clone());
        match page["meta"]["next_offset"].as_u64() {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(paged, whole);
    assert_eq!(server.get(&format!("{path}&limit=x")).status, 400);
    server.stop();
}
