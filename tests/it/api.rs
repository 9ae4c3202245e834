//! The HTTP API: formats, parameters, limits, refusals.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::harness::{Place, Reply, Server, eventually};
use crate::records::{bedrock, lines, now_us, span, spans};

/// Rows of an answer at most.
const ROW_LIMIT: usize = 100_000;
/// Two million rows out of nothing.
const MANY_ROWS: &str = "WITH t(n) AS (VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)) \
    SELECT a.n + 10 * b.n + 100 * c.n AS n FROM t a, t b, t c, t d, t e, t f, (VALUES (1), (2)) AS g(n)";

/// A server with some calls of two sources.
fn serve(place: &Place) -> Server<'_> {
    let file = place.file("log.json", lines((0..20).map(|n| bedrock(1, n))));
    place.import("bedrock", &[&file]);
    let server = place.serve_with("", &[]);
    server.export(&spans((0..5).map(|n| span(2, n, now_us())).collect()));
    eventually("all calls are there", Duration::from_secs(5), || {
        (server.number("SELECT count(*) FROM calls") == 25).then_some(())
    });
    server
}

/// The one shape of an error, with nothing of the inside.
fn assert_error(reply: &Reply, what: &str) -> Value {
    let body = reply.json();
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{what}: no error object: {body}"));
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{what}: {body}");
    let names: BTreeSet<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["code", "hint", "message"]), "{what}: {body}");
    let message = error["message"].as_str().unwrap();
    assert!(!message.is_empty() && error["code"].is_string(), "{what}: {body}");
    for inside in [
        "DataFusion",
        "datafusion",
        "/tmp/",
        "/root/",
        ".rs:",
        "parquet",
        "object store",
        "Arrow error",
        "panicked",
        "backtrace",
    ] {
        assert!(!message.contains(inside) || what.contains(inside), "{what} shows '{inside}': {message}");
    }
    Value::Object(error.clone())
}

#[test]
fn answers_come_in_every_format() {
    let place = Place::new();
    let server = serve(&place);
    let statement = "SELECT platform, count(*) AS calls FROM calls GROUP BY platform ORDER BY platform";
    let ask = |format: &str| {
        let reply = server.post_sql(&json!({"sql": statement, "format": format}));
        assert_eq!(reply.status, 200, "{format}: {}", reply.text());
        reply
    };
    let expected = [("aws.bedrock", 20), ("openai", 5)];

    let reply = ask("json");
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert_eq!(body["rows"], json!([{"platform": "aws.bedrock", "calls": 20}, {"platform": "openai", "calls": 5}]));
    let names: Vec<_> = body["columns"].as_array().unwrap().iter().map(|column| column["name"].clone()).collect();
    assert_eq!(names, ["platform", "calls"]);
    assert!(body["columns"][0]["type"].is_string());
    assert!(body["meta"]["elapsed_ms"].is_u64() && body["meta"]["complete_to"].is_object());
    assert_eq!(body["meta"]["truncated"], false);

    let ndjson = ask("ndjson").text();
    let rows: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(rows), body["rows"]);
    assert_eq!(ask("csv").text().lines().collect::<Vec<_>>(), ["platform,calls", "aws.bedrock,20", "openai,5"]);

    let decoded = |batches: Vec<RecordBatch>| {
        let mut rows = Vec::new();
        for batch in batches {
            let text = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            let text = text.as_any().downcast_ref::<StringArray>().unwrap();
            let count = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
            rows.extend((0..batch.num_rows()).map(|row| (text.value(row).to_owned(), count.value(row))));
        }
        rows
    };
    let reply = ask("arrow");
    let batches = StreamReader::try_new(reply.body.as_slice(), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(decoded(batches), expected.map(|(name, n)| (name.to_owned(), n)));
    let reply = ask("parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(reply.body)).unwrap().build().unwrap();
    assert_eq!(decoded(reader.map(Result::unwrap).collect()), expected.map(|(name, n)| (name.to_owned(), n)));

    let all = server.post_sql(&json!({"sql": "SELECT * FROM calls"}));
    assert_eq!(all.json()["rows"].as_array().map(Vec::len), Some(25));
    for format in ["ndjson", "csv", "arrow", "parquet"] {
        for table in ["calls", "observations", "quarantine", "provider_metrics"] {
            let reply = server.post_sql(&json!({"sql": format!("SELECT * FROM {table}"), "format": format}));
            assert_eq!(reply.status, 200, "{table} as {format}: {}", reply.text());
        }
    }
    let unknown = server.post_sql(&json!({"sql": "SELECT 1", "format": "xml"}));
    assert_eq!(unknown.status, 400);
    assert_error(&unknown, "unknown format");
}

#[test]
fn statements_come_by_get_and_post_with_parameters() {
    let place = Place::new();
    let server = serve(&place);
    let count = |reply: Reply| {
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["rows"][0]["n"].as_i64().unwrap()
    };
    let get =
        server.client().get(format!("{}/api/v1/sql", server.http)).query(&[("q", "SELECT count(*) AS n FROM calls")]);
    assert_eq!(count(server.ask(get).unwrap()), 25);
    let get =
        server.client().get(format!("{}/api/v1/sql", server.http)).query(&[("q", "SELECT 1 AS n"), ("format", "csv")]);
    assert_eq!(server.ask(get).unwrap().text(), "n\n1\n");
    let positional = json!({"sql": "SELECT count(*) AS n FROM calls WHERE platform = $1 AND input_tokens >= $2", "params": ["openai", 102]});
    assert_eq!(count(server.post_sql(&positional)), 3);
    let named = json!({"sql": "SELECT count(*) AS n FROM calls WHERE platform = $platform", "params": {"platform": "aws.bedrock"}});
    assert_eq!(count(server.post_sql(&named)), 20);
    let quoted = json!({"sql": "SELECT count(*) AS n FROM calls WHERE platform = $1", "params": ["x' OR '1'='1"]});
    assert_eq!(count(server.post_sql(&quoted)), 0, "a parameter is a value, never text of the statement");
    for (what, body) in [
        ("missing parameter", json!({"sql": "SELECT $1", "params": {}})),
        ("nested parameter", json!({"sql": "SELECT $1", "params": [[1]]})),
        ("no statement", json!({"params": []})),
        ("parameters of no shape", json!({"sql": "SELECT 1", "params": 7})),
    ] {
        let reply = server.post_sql(&body);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        assert_error(&reply, what);
    }
    let garbage = server.ask(server.client().post(format!("{}/api/v1/sql", server.http)).body("not json")).unwrap();
    assert_eq!(garbage.status, 400);
    assert_error(&garbage, "no JSON");
    let missing = server.get("/api/v1/sql");
    assert_eq!(missing.status, 400);
    assert_error(&missing, "no q");
}

#[test]
fn rows_beyond_the_limit_are_cut_and_the_answer_says_so() {
    let place = Place::new();
    let server = place.serve_with("", &[]);
    let reply = server.post_sql(&json!({"sql": MANY_ROWS}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["rows"].as_array().map(Vec::len), Some(ROW_LIMIT));
    assert_eq!(body["meta"]["truncated"], true);
    let csv = server.post_sql(&json!({"sql": MANY_ROWS, "format": "csv"}));
    assert_eq!(csv.text().lines().count(), 2_000_001, "what goes out as it comes may be longer");
    let exact = server.post_sql(&json!({"sql": format!("{MANY_ROWS} LIMIT {ROW_LIMIT}")}));
    assert_eq!(exact.json()["meta"]["truncated"], false);
    let counted = server.number(&format!("SELECT count(*) FROM ({MANY_ROWS})"));
    assert_eq!(counted, 2_000_000, "the limit is on the answer, not on what is counted");
}

/// What must never run: writes, session changes, and everything outside the tables.
const REFUSED: [&str; 62] = [
    "INSERT INTO calls VALUES (1)",
    "INSERT INTO calls SELECT * FROM calls",
    "INSERT OVERWRITE calls SELECT * FROM calls",
    "UPDATE calls SET cost = 0",
    "DELETE FROM calls",
    "DELETE FROM calls WHERE 1 = 1",
    "TRUNCATE TABLE calls",
    "MERGE INTO calls USING observations ON 1 = 1 WHEN MATCHED THEN DELETE",
    "CREATE TABLE mine (a INT)",
    "CREATE TABLE mine AS SELECT * FROM calls",
    "CREATE VIEW mine AS SELECT * FROM calls",
    "CREATE OR REPLACE VIEW calls AS SELECT 1",
    "CREATE TEMPORARY VIEW mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE DATABASE mine",
    "CREATE INDEX i ON calls (ts)",
    "CREATE FUNCTION f(INT) RETURNS INT RETURN $1",
    "CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE EXTERNAL TABLE mine STORED AS PARQUET LOCATION 's3://bucket/prefix/'",
    "CREATE UNBOUNDED EXTERNAL TABLE mine STORED AS CSV LOCATION '/dev/zero'",
    "DROP TABLE calls",
    "DROP TABLE IF EXISTS calls",
    "DROP VIEW calls",
    "DROP SCHEMA public CASCADE",
    "DROP FUNCTION sum",
    "ALTER TABLE calls ADD COLUMN a INT",
    "ALTER TABLE calls RENAME TO mine",
    "COPY calls TO '/tmp/polymeter-stolen.csv'",
    "COPY (SELECT * FROM calls) TO '/tmp/polymeter-stolen.parquet'",
    "COPY calls TO 's3://bucket/stolen.csv' STORED AS CSV",
    "SET datafusion.execution.batch_size = 1",
    "SET TIME ZONE 'UTC'",
    "RESET datafusion.execution.batch_size",
    "SHOW ALL; DROP TABLE calls",
    "SELECT 1; SELECT 2",
    "SELECT 1; DELETE FROM calls",
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "ROLLBACK",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "GRANT ALL ON calls TO me",
    "REVOKE ALL ON calls FROM me",
    "VACUUM calls",
    "ANALYZE calls",
    "LOCK TABLE calls",
    "USE mine",
    "CALL something()",
    "EXPLAIN INSERT INTO calls SELECT * FROM calls",
    "EXPLAIN ANALYZE DELETE FROM calls",
    "EXPLAIN COPY calls TO '/tmp/polymeter-stolen.csv'",
    "EXPLAIN CREATE TABLE mine AS SELECT 1",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'file:///etc/passwd'",
    "SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM 'https://example.com/x.csv'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "WITH gone AS (DELETE FROM calls RETURNING *) SELECT * FROM gone",
];

#[test]
fn statements_that_do_more_than_read_are_refused() {
    let place = Place::new();
    let server = serve(&place);
    let mut wrong = Vec::new();
    for statement in REFUSED {
        let reply = server.post_sql(&json!({"sql": statement}));
        if (400..500).contains(&reply.status) {
            assert_error(&reply, statement);
        } else {
            wrong.push(format!("{statement}: {} {}", reply.status, reply.text()));
        }
        let stays = server.post_sql(&json!({"sql": "SELECT count(*) AS n FROM calls"}));
        assert_eq!(stays.json()["rows"], json!([{"n": 25}]), "after {statement}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!std::path::Path::new("/tmp/polymeter-stolen.csv").exists());
    assert!(!std::path::Path::new("/tmp/polymeter-stolen.parquet").exists());
    for table in ["calls", "observations", "quarantine", "provider_metrics"] {
        server.sql(&format!("SELECT count(*) FROM {table}"));
    }
    for allowed in
        ["SHOW TABLES", "SHOW COLUMNS FROM calls", "EXPLAIN SELECT * FROM calls", "SELECT 1 UNION ALL SELECT 2"]
    {
        let reply = server.post_sql(&json!({"sql": allowed}));
        assert_eq!(reply.status, 200, "{allowed}: {}", reply.text());
    }
    server.stop();
}

#[test]
fn errors_say_what_is_wrong_and_nothing_of_the_inside() {
    let place = Place::new();
    let server = serve(&place);
    let long = format!("SELECT '{}'", "x".repeat(100_000));
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    for statement in [
        "",
        "   ",
        "SELEC 1",
        "SELECT",
        "SELECT nonsense FROM calls",
        "SELECT * FROM nowhere",
        "SELECT * FROM delta.calls",
        "SELECT nosuchfunction(1)",
        "SELECT sum(platform) FROM calls",
        "SELECT CAST('x' AS BIGINT)",
        "SELECT 1 / 0",
        "SELECT count(*) FROM calls GROUP BY",
        "SELECT arrow_cast(1, 'Nonsense')",
        "SELECT to_timestamp('not a time')",
        &long,
        &deep,
    ] {
        let reply = server.post_sql(&json!({"sql": statement}));
        let what: String = statement.chars().take(60).collect();
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
        assert_error(&reply, &what);
    }
    // Whether these are answered or refused, the server lives on: a stack has an end, and it must not be met here.
    let mut heavy = vec!["SELECT '\u{0}'".to_owned(), format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 20_000].join(","))];
    for n in [400, 900, 4_000, 20_000] {
        heavy.push(format!("SELECT 1{}", "+1".repeat(n)));
        heavy.push(format!("SELECT true{}", " OR true".repeat(n)));
        heavy.push(format!("SELECT 1{}", "::int".repeat(n)));
        heavy.push(format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n)));
        heavy.push(format!("SELECT {}1", "-".repeat(n)));
        heavy.push(format!("SELECT {}true", "NOT ".repeat(n)));
        heavy.push(format!("SELECT 'a'{}", "||'a'".repeat(n)));
    }
    for n in [30, 60, 900] {
        heavy.push(format!("SELECT 1 FROM calls a{}", (1..n).map(|n| format!(", calls a{n}")).collect::<String>()));
        heavy.push(format!(
            "SELECT 1 FROM calls a{}",
            (1..n).map(|n| format!(" CROSS JOIN calls a{n}")).collect::<String>()
        ));
        let doubled = (1..n).map(|n| format!(", c{n} AS (SELECT a.ts FROM c{0} a, c{0} b)", n - 1)).collect::<String>();
        heavy.push(format!("WITH c0 AS (SELECT ts FROM calls){doubled} SELECT count(*) FROM c{}", n - 1));
    }
    for n in [40, 400, 4_000] {
        heavy.push(format!("SELECT {}1{}", "abs(".repeat(n), ")".repeat(n)));
        heavy.push(format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(n), " END".repeat(n)));
        heavy.push(format!("SELECT * FROM {}calls{}", "(SELECT * FROM ".repeat(n), ")".repeat(n)));
    }
    for statement in &heavy {
        let reply = server.post_sql(&json!({"sql": statement}));
        let start: String = statement.chars().take(40).collect();
        let what = format!("{start} ({} bytes)", statement.len());
        if reply.status != 200 {
            assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
            assert_error(&reply, &what);
        }
    }
    // Its sender is never left with a broken connection instead.
    for _ in 0..20 {
        let huge = server.client().post(format!("{}/api/v1/sql", server.http)).body(vec![b'x'; 10 << 20]);
        let reply = server.ask(huge).expect("an answer");
        assert_eq!(reply.status, 413, "{}", reply.text());
        assert_error(&reply, "a body of 10 MiB");
    }
    for path in ["/api/v1/sql?q=1&q=2", "/api/v1/sql?q=%ff", "/api/v1/queries/overview?from=%ff"] {
        let reply = server.get(path);
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert_error(&reply, path);
    }
    let nowhere = server.get("/api/v2/nothing");
    assert_eq!(nowhere.status, 404);
    assert_error(&nowhere, "unknown path");
    let put = server.ask(server.client().put(format!("{}/api/v1/sql", server.http))).unwrap();
    assert_eq!(put.status, 405);
    assert_error(&put, "PUT");
    let unknown = server.get("/api/v1/queries/spend_by_tem_per_day");
    assert_eq!(unknown.status, 404);
    assert!(assert_error(&unknown, "unknown query")["hint"].as_str().unwrap().contains("spend_by_team_per_day"));
    let parameter = server.get("/api/v1/queries/overview?form=2026-01-01");
    assert_eq!(parameter.status, 400);
    assert!(assert_error(&parameter, "unknown parameter")["message"].as_str().unwrap().contains("from"));
    let value = server.get("/api/v1/queries/overview?from=yesterday");
    assert_eq!(value.status, 400);
    assert_error(&value, "bad parameter");
    assert_eq!(server.get("/healthz").status, 200);
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

#[test]
fn a_query_without_end_costs_only_itself() {
    let place = Place::new();
    let server = place.serve_with("", &[]);
    let endless = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT sum(n) FROM r";
    let joins = (0..12).map(|n| format!("t a{n}")).collect::<Vec<_>>().join(", ");
    let giant = format!(
        "WITH t(n) AS (VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)) SELECT sum(a0.n * a11.n) FROM {joins} WHERE a0.n + a5.n <> a11.n"
    );
    std::thread::scope(|scope| {
        let server = &server;
        for statement in [endless, &giant] {
            scope.spawn(move || {
                let started = Instant::now();
                let reply = server.post_sql(&json!({"sql": statement}));
                assert!([408, 422].contains(&reply.status), "{statement}: {} {}", reply.status, reply.text());
                assert_error(&reply, statement);
                assert!(started.elapsed() < Duration::from_secs(45), "{statement}: {:?}", started.elapsed());
            });
        }
        for _ in 0..10 {
            let started = Instant::now();
            assert_eq!(server.number("SELECT count(*) FROM calls"), 0);
            assert!(started.elapsed() < Duration::from_secs(10), "others wait: {:?}", started.elapsed());
        }
    });
    assert_eq!(server.number("SELECT 1"), 1);
    server.stop();
}

#[test]
fn named_queries_are_listed_and_each_runs() {
    let place = Place::new();
    let server = serve(&place);
    let listed = server.get("/api/v1/queries").json();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let files: BTreeSet<String> = crate::harness::files_below(&folder)
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "sql") && !path.parent().unwrap().ends_with("views"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let queries = listed["queries"].as_array().unwrap();
    let names: BTreeSet<String> = queries.iter().map(|query| query["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, files);
    for query in queries {
        let name = query["name"].as_str().unwrap();
        assert!(
            !query["description"].as_str().unwrap().is_empty() && !query["unit"].as_str().unwrap().is_empty(),
            "{name}"
        );
        for range in ["", "?from=2026-03-01&to=2026-03-05T00:00:00Z", "?from=1772323200000"] {
            let given: Vec<&str> =
                query["params"].as_array().unwrap().iter().map(|param| param["name"].as_str().unwrap()).collect();
            let takes_range = given.contains(&"from") && given.contains(&"to");
            if !range.is_empty() && !takes_range {
                continue;
            }
            let reply = server.get(&format!("/api/v1/queries/{name}{range}"));
            assert_eq!(reply.status, 200, "{name}{range}: {}", reply.text());
            let body = reply.json();
            assert!(!body["columns"].as_array().unwrap().is_empty(), "{name}");
            assert_eq!(body["meta"]["truncated"], false, "{name}");
        }
        assert_eq!(server.get(&format!("/api/v1/queries/{name}?format=csv")).status, 200, "{name} as CSV");
    }
    let spend = server.get("/api/v1/queries/spend_by_platform_per_day?from=2026-03-01&to=2026-03-05").json();
    assert_eq!(spend["rows"].as_array().map(Vec::len), Some(1), "{spend}");
    assert_eq!((&spend["rows"][0]["platform"], &spend["rows"][0]["calls"]), (&json!("aws.bedrock"), &json!(20)));
}

/// `name{label="value",…} number`, as Prometheus reads it.
fn is_sample(line: &str) -> bool {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let value = if let Some(labels) = rest.strip_prefix('{') {
        let Some((labels, value)) = labels.rsplit_once('}') else { return false };
        let good = |label: &str| {
            label.split_once('=').is_some_and(|(name, value)| {
                !name.is_empty() && value.len() >= 2 && value.starts_with('"') && value.ends_with('"')
            })
        };
        if !labels.split(',').all(good) {
            return false;
        }
        value
    } else {
        rest
    };
    let value = value.trim();
    value.parse::<f64>().is_ok() || ["+Inf", "-Inf", "NaN"].contains(&value)
}

#[test]
fn health_sources_and_metrics_tell_the_state() {
    let place = Place::new();
    let server = serve(&place);
    assert_eq!(server.get("/healthz").text(), "ok\n");
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 200);
    assert!(ready.text().starts_with("ready"));
    let sources = server.get("/api/v1/sources").json();
    let otlp = &sources["sources"]["otlp"];
    assert_eq!(
        (&otlp["kind"], &otlp["state"], &otlp["records"]),
        (&json!("otlp"), &json!("running"), &json!(5)),
        "{sources}"
    );
    assert!(otlp["complete_to"].is_string() && otlp["failed_objects"] == 0, "{sources}");

    let metrics = server.get("/metrics");
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let text = metrics.text();
    let mut described = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix('#') {
            let words: Vec<&str> = comment.split_whitespace().collect();
            assert!(matches!(words.first(), Some(&("HELP" | "TYPE"))), "{line}");
            described.insert(words[1].to_owned());
        } else {
            assert!(is_sample(line), "no sample of Prometheus: {line}");
        }
    }
    for name in [
        "polymeter_records_total",
        "polymeter_otlp_requests_total",
        "polymeter_journal_commits_total",
        "polymeter_hot_calls",
    ] {
        assert!(described.contains(name), "{name} is missing:\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("polymeter_records_total{") && line.ends_with(" 5")), "{text}");
    for word in ["gpt-4o", "shop", "checkout"] {
        assert!(!text.contains(word), "a label is not bounded: {word}");
    }
}
