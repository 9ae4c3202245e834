//! Hostile statements over both protocols: each is refused or bounded, with an error that says why, and the server
//! answers afterwards as before.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Place, Reply, Server};
use crate::pg_client::Pg;
use crate::records::{bedrock, lines};

const CORPUS: &str = include_str!("../fixtures/hostile.sql");
/// A digest of the token `pm_hostile`.
const CONFIG: &str = "[[access.token]]\nname = 'hostile'\nrole = 'admin'\n\
    hash = 'sha256:HASH'\n[access.limits.admin]\ntime_s = 2\n";

/// What is made here because no line is that long.
fn generated() -> Vec<(&'static str, String)> {
    let nested =
        |open: &str, close: &str, depth: usize| format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth));
    let mut all = vec![
        ("refused", format!("SELECT '{}'", "x".repeat(10 << 20))),
        ("refused", format!("SELECT 1{}", " + 1".repeat(20_000))),
        ("refused", format!("SELECT 1{}", " OR true".repeat(5_000))),
        ("refused", format!("SELECT {}1", "- ".repeat(5_000))),
        ("refused", format!("SELECT {}true", "NOT ".repeat(5_000))),
        ("refused", nested("(", ")", 5_000)),
        ("refused", nested("[", "]", 5_000)),
        ("refused", format!("SELECT * FROM {}calls{}", "(SELECT * FROM ".repeat(300), ")".repeat(300))),
        ("refused", format!("SELECT * FROM {}", vec!["calls"; 60].join(", "))),
        ("refused", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(2_000))),
        (
            "refused",
            (0..60).fold("WITH t0 AS (SELECT 1 AS n)".to_owned(), |sql, n| {
                format!("{sql}, t{} AS (SELECT a.n FROM t{n} a, t{n} b)", n + 1)
            }) + " SELECT count(*) FROM t60",
        ),
        ("refused", format!("SELECT {}", (0..3_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","))),
        ("bounded", format!("SELECT * FROM calls WHERE platform IN ({})", vec!["'x'"; 10_000].join(","))),
    ];
    let (a, c) = ("a".repeat(2_000), "c".repeat(1_000));
    let inner = format!("replace(replace(arrow_cast('{a}', 'LargeUtf8'), 'a', '{a}'), 'a', 'bb')");
    all.push(("refused", format!("SELECT length(replace({inner}, 'b', '{c}'))")));
    all.push(("refused", format!("SELECT length(regexp_replace(replace('{a}', 'a', '{a}'), '.', '{c}', 'g'))")));
    let doubled = |what: &str, levels: usize| {
        let start = format!(
            "(SELECT {} AS x)",
            if what.contains('[') || what.contains("array") { "[1]" } else { "'abcdefgh'" }
        );
        let nested = (0..levels).fold(start, |sql, n| format!("(SELECT {what} AS x FROM {sql} t{n})"));
        format!("SELECT count(*) FROM {nested} t WHERE x IS NOT NULL")
    };
    for what in [
        "x || x || x || x",
        "concat(x, x, x, x)",
        "encode(encode(x, 'hex'), 'hex')",
        "array_concat(x, x, x, x)",
        "x || x",
    ] {
        all.push(("refused", doubled(what, 40)));
    }
    all.push(("bounded", doubled("[x, x]", 30)));
    for depth in [10, 20, 40, 48] {
        for (open, close) in [
            ("abs(", ")"),
            ("coalesce(", ",2)"),
            ("greatest(1,", ")"),
            ("concat('x',", ")"),
            ("CAST(", " AS BIGINT)"),
            ("CASE WHEN true THEN ", " ELSE 2 END"),
            ("(", ")"),
            ("-(", ")"),
            ("(SELECT ", ")"),
            ("nullif(", ",2)"),
            ("round(power(", ",1))"),
            ("[", "]"),
            ("sum(", ") OVER ()"),
            ("date_trunc('day',", ")"),
        ] {
            all.push(("bounded", nested(open, close, depth)));
        }
    }
    all
}

fn corpus() -> Vec<(&'static str, String)> {
    let written = CORPUS.lines().filter(|line| !line.starts_with("--") && !line.is_empty()).map(|line| {
        let (verdict, sql) = line.split_once(' ').expect("a verdict and a statement");
        let sql = sql.replace("\\n", "\n").replace("\\x00", "\0").replace("\\u00a0", "\u{a0}");
        (verdict, sql)
    });
    written.chain(generated()).collect()
}

fn server(place: &Place) -> Server<'_> {
    let file = place.file("log.json", lines((0..20).map(|n| bedrock(1, n))));
    place.import("bedrock", &[&file]);
    let digest = crate::access::digest("pm_hostile");
    place.serve_with(&CONFIG.replace("HASH", &digest), &[])
}

/// Nothing where an answer that had begun broke off.
fn post(server: &Server<'_>, sql: &str) -> Option<Reply> {
    let request = server.client().post(format!("{}/api/v1/sql", server.http)).bearer_auth("pm_hostile");
    server.ask(request.json(&json!({"sql": sql, "format": "csv"})))
}

/// Longer than the limit, for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn hostile_statements_are_refused_or_bounded_over_http() {
    let place = Place::new();
    let server = server(&place);
    let (mut wrong, mut slow) = (Vec::new(), Vec::new());
    let corpus = corpus();
    assert!(corpus.len() >= 300, "{}", corpus.len());
    for (verdict, sql) in &corpus {
        let short: String = sql.chars().take(90).collect();
        let started = Instant::now();
        let reply = post(&server, sql);
        let Some(reply) = reply else {
            // Its rows went out until its time was over; that it is no answer is plain to see.
            assert_eq!(*verdict, "bounded", "{short}");
            continue;
        };
        if started.elapsed() > PATIENCE {
            slow.push(format!("{:?} {short}", started.elapsed()));
        }
        let fine = match *verdict {
            "refused" => (400..500).contains(&reply.status),
            _ => reply.status == 200 || (400..500).contains(&reply.status),
        };
        let error =
            reply.status == 200 || reply.json()["error"]["message"].as_str().is_some_and(|text| !text.is_empty());
        if !fine || !error {
            wrong.push(format!(
                "{verdict} {short}: {} {}",
                reply.status,
                reply.text().chars().take(200).collect::<String>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(slow.is_empty(), "{} slow\n{}", slow.len(), slow.join("\n"));
    assert_eq!(post(&server, "SELECT count(*) FROM calls").expect("an answer").text(), "count(*)\n20\n");
    assert!(!std::path::Path::new("/tmp/polymeter-stolen.csv").exists());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    server.stop();
}

#[test]
fn hostile_statements_are_refused_or_bounded_over_the_postgresql_wire() {
    let place = Place::new();
    let server = server(&place);
    let connect = || Pg::connect(&server.pg, "hostile", "pm_hostile").expect("let in");
    let mut pg = connect();
    let mut wrong = Vec::new();
    for (index, (verdict, sql)) in corpus().iter().enumerate() {
        // What PostgreSQL itself takes for nothing, or for the end of what it was told before.
        if sql.contains('\0') || matches!(sql.as_str(), "RESET ROLE" | "SHOW ALL") {
            continue;
        }
        let short: String = sql.chars().take(90).collect();
        let answer = if index % 2 == 0 { pg.query(sql) } else { pg.ask(sql, &[], index % 4 == 1) };
        match answer {
            Err(failure) if failure.code.len() != 5 || failure.message.is_empty() || failure.code == "XX000" => {
                wrong.push(format!("{verdict} {short}: {failure:?}"));
            }
            Err(failure) if failure.severity == "FATAL" => pg = connect(),
            Err(_) => {}
            Ok(_) if *verdict == "refused" => wrong.push(format!("{short}: answered")),
            Ok(_) => {}
        }
        // Whatever a text left open is ended.
        pg.query("ROLLBACK").unwrap_or_else(|failure| panic!("after {short}: {failure:?}"));
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(pg.query("SELECT count(*) FROM calls").unwrap().first(), "20");
    assert!(!std::path::Path::new("/tmp/polymeter-stolen.csv").exists());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    server.stop();
}
