//! Whatever comes in: the right answer or a row in quarantine, good neighbours are kept, and the process goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Place, Server, eventually};
use crate::records::{bedrock, gzip, lines, now_us, span, spans};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
/// One more than a request may have after decompression.
const TOO_MANY_BYTES: usize = (64 << 20) + 1;

/// What the quarantine says about an object.
fn quarantined(rows: &[Value], object: &str) -> Vec<(String, i64)> {
    let of_object = rows.iter().filter(|row| row["object"].as_str().unwrap().ends_with(object));
    let mut found: Vec<_> =
        of_object.map(|row| (row["reason"].as_str().unwrap().to_owned(), row["position"].as_i64().unwrap())).collect();
    found.sort();
    found
}

/// Line, then whether it is a good record.
fn line(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [bytes.as_ref(), b"\n"].concat()
}

fn good(n: u64) -> Vec<u8> {
    line(bedrock(7, n).to_string())
}

/// A record with one value replaced.
fn changed(n: u64, pointer: &str, value: Value) -> Vec<u8> {
    let mut record = bedrock(7, n);
    *record.pointer_mut(pointer).unwrap() = value;
    line(record.to_string())
}

#[test]
fn damaged_objects_are_set_aside_and_their_good_parts_kept() {
    let place = Place::new();
    let whole = gzip(&lines((0..2000).map(|n| bedrock(1, n))));
    let cut = place.file("logs/cut.json.gz", &whole[..whole.len() / 2]);
    let bomb = gzip(&vec![b'a'; 120 << 20]);
    assert!(bomb.len() < 300 << 10);
    let bomb = place.file("logs/bomb.json.gz", [gzip(&good(0)), bomb].concat());
    let noise = place.file("logs/noise.json.gz", b"\x1f\x8bthis is no gzip");
    let long = [good(1), line([b"{\"a\":\"".as_slice(), &vec![b'x'; 50 << 20], b"\"}"].concat()), good(2)].concat();
    let long = place.file("logs/long.json", long);
    let fine = place.file("logs/fine.json.gz", gzip(&good(3)));
    let summary = place.import("bedrock", &[&cut, &bomb, &noise, &long, &fine]);
    assert_eq!(summary["quarantined"], 4, "{summary}");
    assert_eq!(summary["objects"], 5, "{summary}");

    let rows = place.sql("SELECT source, object, position, reason, detail FROM quarantine");
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row["source"] == "bedrock" && !row["detail"].is_null()), "{rows:?}");
    let reason = |object: &str| quarantined(&rows, object)[0].0.clone();
    assert_eq!(reason("cut.json.gz"), "truncated");
    assert_eq!(reason("bomb.json.gz"), "decompression_bomb");
    assert!(["damaged_compression", "truncated"].contains(&reason("noise.json.gz").as_str()), "{rows:?}");
    let after_first = i64::try_from(good(1).len()).unwrap();
    assert_eq!(quarantined(&rows, "long.json"), [("record_too_long".to_owned(), after_first)]);

    let kept = place.sql(
        "SELECT count(*) FILTER (WHERE provider_request_id LIKE '00000001%') AS cut, \
        count(*) FILTER (WHERE provider_request_id LIKE '00000007%') AS others FROM calls",
    );
    assert_eq!(kept[0]["others"], 4, "{kept:?}");
    assert!(kept[0]["cut"].as_i64().unwrap() > 100, "what lies before the cut is kept: {kept:?}");
}

#[test]
fn bad_records_are_set_aside_one_by_one_with_place_and_reason() {
    let place = Place::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (line(b"\xff\xfe\x00\x9f\x92\x96"), "not_json"),
        (line("this is a line of text"), "not_json"),
        (line(&bedrock(7, 900).to_string()[..200]), "not_json"),
        // Brackets are taken off on the way in, so the record is said to start behind them.
        (line(deep), ""),
        (line("12345"), ""),
        (changed(901, "/timestamp", json!("9999-12-31T23:59:59Z")), "bad_time"),
        (changed(902, "/timestamp", json!("0001-01-01T00:00:00Z")), "bad_time"),
        (changed(903, "/input/inputTokenCount", json!(-5)), "bad_count"),
        (changed(904, "/output/outputTokenCount", json!(1e300)), "bad_count"),
        (changed(905, "/input/inputTokenCount", json!("many")), "bad_count"),
        (changed(906, "/input/inputTokenCount", json!({"a": 1})), "bad_count"),
        (changed(907, "/input/inputTokenCount", json!(9_223_372_036_854_775_807_u64)), ""),
        (changed(908, "/input/inputTokenCount", json!(1.5)), "bad_count"),
    ];
    let (mut text, mut expected) = (good(0), Vec::new());
    for (n, (record, reason)) in bad.iter().enumerate() {
        expected.push((i64::try_from(text.len()).unwrap(), *reason));
        text.extend_from_slice(record);
        text.extend(good(u64::try_from(n).unwrap() + 1));
    }
    let neighbours = bad.len() + 1;
    let file = place.file("records.json", text);
    let summary = place.import("bedrock", &[&file]);
    let rows = place.sql("SELECT object, position, reason, source FROM quarantine ORDER BY position");
    let found: Vec<_> =
        rows.iter().map(|row| (row["position"].as_i64().unwrap(), row["reason"].as_str().unwrap())).collect();
    let mut wrong = Vec::new();
    for (position, reason) in &expected {
        let seen = found.iter().find(|(at, _)| (*position..position + 2).contains(at)).map(|(_, reason)| *reason);
        if seen.is_none_or(|seen| !reason.is_empty() && seen != *reason) {
            wrong.push(format!("at {position}: expected '{reason}', found {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nall: {found:?}", wrong.join("\n"));
    assert_eq!(rows.len(), bad.len());
    assert_eq!(summary["quarantined"], bad.len());
    assert_eq!(summary["observations"], neighbours);
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": neighbours})]);
}

#[test]
fn records_of_odd_types_are_kept_or_set_aside_never_lost() {
    let place = Place::new();
    let odd =
        [json!(null), json!(true), json!(-1), json!(1e18), json!("x"), json!([]), json!([[{}]]), json!({"a": []})];
    let pointers = [
        "/timestamp",
        "/accountId",
        "/region",
        "/requestId",
        "/operation",
        "/modelId",
        "/identity",
        "/identity/arn",
        "/input",
        "/input/inputTokenCount",
        "/output",
        "/output/outputTokenCount",
        "/output/outputBodyJson",
        "/output/outputBodyJson/metrics",
        "/output/outputBodyJson/metrics/latencyMs",
        "/schemaType",
    ];
    let mut text = Vec::new();
    let mut n = 0;
    for pointer in pointers {
        for value in &odd {
            text.extend(changed(n, pointer, value.clone()));
            n += 1;
        }
    }
    let mut utf8 = good(n);
    let at = utf8.windows(8).position(|window| window == b"end_turn").unwrap();
    utf8[at] = 0xff;
    text.extend(utf8);
    n += 1;
    let summary = place.import("bedrock", &[&place.file("odd.json", text)]);
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("records"), n, "{summary}");
    assert_eq!(count("observations") + count("skipped") + count("quarantined"), n, "{summary}");
    assert_eq!(place.sql("SELECT count(*) AS n FROM quarantine")[0]["n"].as_u64(), Some(count("quarantined")));
}

#[test]
fn azure_records_of_odd_types_are_kept_or_set_aside_never_lost() {
    let place = Place::new();
    let folder = format!("{}/tests/fixtures/azure", env!("CARGO_MANIFEST_DIR"));
    let rows = std::fs::read_to_string(format!("{folder}/request_with_two_rows_and_usage.jsonl")).unwrap();
    let mut text = Vec::new();
    let mut n = 0;
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        for key in row.as_object().unwrap().keys() {
            for value in [json!(null), json!(-1), json!(1e300), json!("9999-99-99"), json!([[]]), json!({"a": [1]})] {
                let mut row = row.clone();
                row[key] = value;
                text.extend(line(row.to_string()));
                n += 1;
            }
        }
        text.extend(line(&row.to_string()[..100]));
        n += 1;
    }
    let summary = place.import("azure", &[&place.file("PT1H.json", text)]);
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("records"), n, "{summary}");
    assert_eq!(count("observations") + count("metrics") + count("skipped") + count("quarantined"), n, "{summary}");
}

#[test]
fn a_followed_folder_with_damaged_objects_goes_on() {
    let place = Place::new();
    let whole = gzip(&lines((0..500).map(|n| bedrock(1, n))));
    let key = crate::records::bedrock_key;
    place.file(&format!("logs/{}", key("a")), &whole[..whole.len() / 2]);
    place.file(&format!("logs/{}", key("b")), b"\x1f\x8bnoise");
    place.file(&format!("logs/{}", key("c")), gzip(&good(1)));
    let source = format!(
        "{}[[source]]\nname = 'logs'\nkind = 'bedrock'\nlocation = '{}'\npoll_interval_s = 1\n",
        crate::harness::QUICK,
        place.text("logs")
    );
    let server = place.serve_with(&source, &[]);
    let one = "SELECT count(*) FROM calls WHERE provider_request_id LIKE '00000007%'";
    eventually("the good object is read", Duration::from_secs(30), || (server.number(one) == 1).then_some(()));
    eventually("the damaged ones are set aside", Duration::from_secs(30), || {
        (server.number("SELECT count(DISTINCT object) FROM quarantine WHERE source = 'logs'") == 2).then_some(())
    });
    let twice = "SELECT count(*) - count(DISTINCT quarantine_id) FROM quarantine";
    assert_eq!(server.number(twice), 0);
    server.stop();
}

fn status(server: &Server<'_>, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> u16 {
    server.post(path, headers, body).map_or(0, |reply| reply.status)
}

#[test]
fn the_otlp_receiver_refuses_what_it_can_not_read_and_goes_on() {
    let place = Place::new();
    let server = place.serve();
    let request = spans(vec![span(1, 0, now_us())]).to_string();
    let deep = format!("{{\"resourceSpans\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let mut wrong = Vec::new();
    let mut expect = |what: &str, found: u16, right: u16| {
        if found != right {
            wrong.push(format!("{what}: {found}, not {right}"));
        }
    };
    expect("empty protobuf export", status(&server, "/v1/traces", &[PROTOBUF], ""), 200);
    expect("empty JSON export", status(&server, "/v1/traces", &[JSON], "{}"), 200);
    expect("empty metrics export", status(&server, "/v1/metrics", &[PROTOBUF], ""), 200);
    expect("protobuf garbage", status(&server, "/v1/traces", &[PROTOBUF], "\u{1}garbage\u{7f}"), 400);
    expect("metrics garbage", status(&server, "/v1/metrics", &[PROTOBUF], "\u{1}garbage\u{7f}"), 400);
    expect("JSON garbage", status(&server, "/v1/traces", &[JSON], "{\"resourceSpans\": [{"), 400);
    expect("JSON of another shape", status(&server, "/v1/traces", &[JSON], "[1,2,3]"), 400);
    expect("empty JSON body", status(&server, "/v1/traces", &[JSON], ""), 400);
    expect("list of no list", status(&server, "/v1/traces", &[JSON], "{\"resourceSpans\": 1}"), 400);
    // One element that can't be read, and nothing beside it.
    expect("deep JSON", status(&server, "/v1/traces", &[JSON], deep), 200);
    expect(
        "unknown content type",
        status(&server, "/v1/traces", &[("content-type", "text/plain")], request.clone()),
        415,
    );
    expect("no content type", status(&server, "/v1/traces", &[], request.clone()), 415);
    let encoding = |name: &'static str| [JSON, ("content-encoding", name)];
    expect("unknown encoding", status(&server, "/v1/traces", &encoding("br"), request.clone()), 415);
    expect("no gzip", status(&server, "/v1/traces", &encoding("gzip"), request.clone()), 400);
    expect("no zstd", status(&server, "/v1/traces", &encoding("zstd"), request.clone()), 400);
    let whole = gzip(request.as_bytes());
    expect("cut gzip", status(&server, "/v1/traces", &encoding("gzip"), whole[..whole.len() / 2].to_vec()), 400);
    let bomb = gzip(&vec![b' '; TOO_MANY_BYTES]);
    expect("gzip bomb", status(&server, "/v1/traces", &encoding("gzip"), bomb), 413);
    let bomb = zstd::bulk::compress(&vec![b' '; TOO_MANY_BYTES], 1).unwrap();
    expect("zstd bomb", status(&server, "/v1/traces", &encoding("zstd"), bomb), 413);
    expect("unknown path", status(&server, "/v1/unknown", &[JSON], "{}"), 404);
    let get = server.ask(server.client().get(format!("{}/v1/traces", server.otlp))).unwrap();
    expect("GET", get.status, 405);
    expect("good gzip", status(&server, "/v1/traces", &encoding("gzip"), whole), 200);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    assert_eq!(server.get("/healthz").status, 200);
    server.export(&spans(vec![span(1, 1, now_us())]));
    eventually("both calls are there", Duration::from_secs(5), || {
        (server.number("SELECT count(*) FROM calls") == 2).then_some(())
    });
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("answer=\"refused\""), "refusals are counted: {metrics}");
    server.stop();
}

#[test]
fn spans_that_can_not_be_true_are_set_aside_beside_good_ones() {
    let place = Place::new();
    let server = place.serve();
    let far = |n: u64| {
        let mut span = span(2, n, now_us());
        span["startTimeUnixNano"] = json!("16725225600000000000");
        span["endTimeUnixNano"] = json!("16725225600000000000");
        span
    };
    let mut absurd = span(2, 3, now_us());
    absurd["attributes"][4]["value"] = json!({"intValue": "9223372036854775807"});
    let request = spans(vec![span(2, 0, now_us()), far(1), far(2), absurd]);
    let reply = server.post("/v1/traces", &[JSON], request.to_string()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["partialSuccess"]["rejectedSpans"], "3", "{}", reply.text());
    eventually("three records are three rows, and stay so", Duration::from_secs(10), || {
        let rows = server.sql("SELECT reason FROM quarantine WHERE source = 'otlp' ORDER BY reason");
        let settled = server.get("/metrics").text().lines().any(|line| line == "polymeter_tail_rows 0");
        let reasons: Vec<_> = rows.iter().map(|row| row["reason"].as_str().unwrap()).collect();
        (settled && reasons == ["absurd_tokens", "bad_time", "bad_time"]).then_some(())
    });
    assert_eq!(server.number("SELECT count(*) FROM calls"), 1);
}

#[test]
fn a_count_that_is_no_count_is_absent_from_the_call_of_a_span() {
    let place = Place::new();
    let server = place.serve();
    let wrong = [json!({"intValue": "-7"}), json!({"doubleValue": 1e300}), json!({"stringValue": "many"})];
    let all = wrong.iter().zip(0..).map(|(value, n)| {
        let mut span = span(2, n, now_us());
        span["attributes"][4]["value"] = value.clone();
        span
    });
    server.export(&spans(all.collect()));
    eventually("all calls are there", Duration::from_secs(5), || {
        (server.number("SELECT count(*) FROM calls") == 3).then_some(())
    });
    assert_eq!(server.number("SELECT count(input_tokens) FROM calls"), 0);
}

/// Sends bytes and reads until the other side ends or says nothing more.
fn raw(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // The other side may hang up in the middle.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn garbage_on_any_port_costs_only_its_connection() {
    let place = Place::new();
    let server = place.serve();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    for address in [&server.grpc, &server.otlp, &server.http] {
        raw(address, &noise);
        raw(address, b"GET / HTTP/1.1\r\n\r\n");
        raw(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00 and then noise");
        raw(address, b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\ncut");
    }
    assert_eq!(server.get("/healthz").status, 200);
    server.export(&spans(vec![span(3, 0, now_us())]));
    eventually("the call is there", Duration::from_secs(5), || {
        (server.number("SELECT count(*) FROM calls") == 1).then_some(())
    });
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    server.stop();
}
