//! Who may ask what: role by path, protocol and scope; log-ins that fail; the audit log; what stays closed.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Place, Reply, Server, eventually};
use crate::pg_client::Pg;
use crate::records::{now_us, span, spans};

/// `sha256:` of a token, without the mark.
pub fn digest(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

const ROLES: [&str; 4] = ["ingest", "read", "finance", "admin"];

fn token(name: &str, role: &str, scope: &str) -> String {
    format!(
        "[[access.token]]\nname = '{name}'\nrole = '{role}'\nhash = 'sha256:{}'\n{scope}\n",
        digest(&format!("pm_{name}"))
    )
}

/// A user made by the command that people use.
fn user(place: &Place, name: &str, role: &str, password: &str) -> String {
    let input = place.file("password", format!("{password}\n"));
    let binary = std::env::var_os("POLYMETER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_polymeter").into());
    let done = std::process::Command::new(binary)
        .args(["access", "hash", name, "--role", role])
        .stdin(std::fs::File::open(input).unwrap())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn get(server: &Server<'_>, path: &str, token: &str) -> Reply {
    server.ask(server.client().get(format!("{}{path}", server.http)).bearer_auth(token)).expect("an answer")
}

fn calls_of_two_teams(server: &Server<'_>, token: &str) {
    let team = |team: &str, n: u64| {
        let mut span = span(2, n, now_us());
        span["attributes"]
            .as_array_mut()
            .unwrap()
            .push(json!({"key": "langsmith.metadata.team", "value": {"stringValue": team}}));
        span
    };
    let all = (0..6).map(|n| team(if n < 2 { "search" } else { "ads" }, n)).collect();
    let header = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", header.as_str())];
    let reply = server.post("/v1/traces", &headers, spans(all).to_string()).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
}

#[test]
fn every_role_gets_what_it_may_and_nothing_else() {
    let place = Place::new();
    let mut config: String = ROLES.iter().map(|role| token(role, role, "")).collect();
    config.push_str(&token("scoped", "read", "scope = { team = 'search' }"));
    config.push_str(&token("scoped-finance", "finance", "scope = { team = ['search'] }"));
    let server = place.serve_with(&config, &[]);
    calls_of_two_teams(&server, "pm_ingest");
    eventually("the calls are there", Duration::from_secs(10), || {
        get(&server, "/api/v1/sql?q=SELECT count(*) AS n FROM calls", "pm_admin")
            .text()
            .contains("\"n\":6")
            .then_some(())
    });
    let month = month_of(now_us());
    let report = format!("/api/v1/reports/chargeback?month={month}");
    let variance = format!("/api/v1/reports/variance?month={month}");
    let paths: [(&str, [u16; 6]); 9] = [
        // ingest, read, finance, admin, scoped, scoped-finance
        ("/healthz", [200; 6]),
        ("/readyz", [200; 6]),
        ("/metrics", [403, 200, 200, 200, 403, 403]),
        ("/api/v1/sources", [403, 200, 200, 200, 403, 403]),
        ("/api/v1/queries", [403, 200, 200, 200, 200, 200]),
        ("/api/v1/queries/overview", [403, 200, 200, 200, 200, 200]),
        ("/api/v1/sql?q=SELECT 1", [403, 200, 200, 200, 200, 200]),
        (&report, [403, 403, 200, 200, 403, 200]),
        (&variance, [403, 403, 200, 200, 403, 200]),
    ];
    let names = ["ingest", "read", "finance", "admin", "scoped", "scoped-finance"];
    for (path, expected) in paths {
        for (name, status) in names.iter().zip(expected) {
            let reply = get(&server, path, &format!("pm_{name}"));
            assert_eq!(reply.status, status, "{name} {path}: {}", reply.text());
        }
        let open = path.ends_with('z');
        for stranger in [server.get(path), get(&server, path, "pm_nobody")] {
            assert_eq!(stranger.status, if open { 200 } else { 401 }, "{path}");
            assert!(open || !stranger.header("www-authenticate").is_empty());
        }
    }
    // The same over the PostgreSQL wire.
    for (name, may) in names.iter().zip([false, true, true, true, true, true]) {
        let connected = Pg::connect(&server.pg, name, &format!("pm_{name}"));
        assert_eq!(connected.is_ok(), may, "{name}: {:?}", connected.err());
    }
    assert_eq!(Pg::connect(&server.pg, "read", "pm_admin").err().unwrap().code, "28P01", "the token of another name");
    // OTLP is for who may send.
    for (name, status) in names.iter().zip([200, 401, 401, 200, 401, 401]) {
        let header = format!("Bearer pm_{name}");
        let headers = [("content-type", "application/json"), ("authorization", header.as_str())];
        assert_eq!(server.post("/v1/traces", &headers, "{}").unwrap().status, status, "{name}");
    }
    assert_eq!(server.post("/v1/traces", &[("content-type", "application/json")], "{}").unwrap().status, 401);
}

fn month_of(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap().format("%Y-%m").to_string()
}

#[test]
fn a_scope_holds_in_every_way_to_ask() {
    let place = Place::new();
    let config = [token("all", "admin", ""), token("mine", "finance", "scope = { team = 'search' }")].concat();
    let server = place.serve_with(&config, &[]);
    calls_of_two_teams(&server, "pm_all");
    let count = |sql: &str, token: &str| {
        let request = server.client().post(format!("{}/api/v1/sql", server.http)).bearer_auth(token);
        let reply = server.ask(request.json(&json!({"sql": sql}))).unwrap();
        assert_eq!(reply.status, 200, "{sql}: {}", reply.text());
        reply.json()["rows"][0]["n"].as_i64().unwrap()
    };
    eventually("the calls are there", Duration::from_secs(10), || {
        (count("SELECT count(*) AS n FROM calls", "pm_all") == 6).then_some(())
    });
    let mut pg = Pg::connect(&server.pg, "mine", "pm_mine").unwrap();
    for sql in [
        "SELECT count(*) AS n FROM calls",
        "SELECT count(*) AS n FROM public.calls",
        "SELECT count(*) AS n FROM polymeter.public.calls",
        "SELECT count(*) AS n FROM calls WHERE team = 'ads' OR true",
        "SELECT count(*) AS n FROM calls AS observations",
        "WITH ads AS (SELECT * FROM calls) SELECT count(*) AS n FROM ads",
        "SELECT (SELECT count(*) FROM calls) AS n",
        "SELECT count(*) AS n FROM calls a JOIN calls b ON a.call_id = b.call_id",
        "SELECT count(*) AS n FROM (SELECT * FROM calls UNION SELECT * FROM calls) AS x",
        "SELECT count(DISTINCT call_id) AS n FROM calls",
    ] {
        assert_eq!(count(sql, "pm_mine"), 2, "{sql}");
        assert_eq!(pg.query(sql).unwrap().first(), "2", "{sql}");
        assert_eq!(pg.ask(sql, &[], false).unwrap().first(), "2", "{sql}");
    }
    for table in
        ["observations", "quarantine", "provider_metrics", "gateway_events", "metric_usage", "metered_by_metrics_only"]
    {
        for sql in [
            format!("SELECT count(*) FROM {table}"),
            format!("SELECT 1 FROM calls WHERE EXISTS (SELECT 1 FROM public.{table})"),
        ] {
            let reply = get(&server, &format!("/api/v1/sql?q={sql}"), "pm_mine");
            assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (403, Some("out_of_scope")), "{sql}");
            assert_eq!(pg.query(&sql).unwrap_err().code, "42501", "{sql}");
        }
    }
    assert_eq!(pg.query("EXPLAIN ANALYZE SELECT * FROM calls").unwrap_err().code, "42501");
    let tables = "SELECT count(*) AS n FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!((count(tables, "pm_mine"), pg.query(tables).unwrap().first().as_str()), (1, "1"));
    let classes =
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'";
    assert_eq!(pg.query(classes).unwrap().first(), "1");
    // Named queries and reports.
    let sum = |path: &str, token: &str, key: &str| -> i64 {
        let reply = get(&server, path, token);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let rows = reply.json()["rows"].as_array().cloned().unwrap();
        rows.iter().filter_map(|row| row[key].as_i64()).sum()
    };
    let by_team = "/api/v1/queries/spend_by_team_per_day?from=2020-01-01";
    assert_eq!((sum(by_team, "pm_all", "calls"), sum(by_team, "pm_mine", "calls")), (6, 2));
    let month = month_of(now_us());
    let report = |token: &str| {
        let reply = get(&server, &format!("/api/v1/reports/chargeback?month={month}&by=team"), token);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text()
    };
    assert!(report("pm_all").contains("ads") && report("pm_mine").contains("search"));
    assert!(!report("pm_mine").contains("ads"), "{}", report("pm_mine"));
    // An error must not tell of rows that are hidden.
    assert!(pg.query("SELECT sum(1 / (CASE WHEN team = 'ads' THEN 0 ELSE 1 END)) FROM calls").is_ok());
    let hidden =
        pg.query("SELECT count(*) FROM calls WHERE CAST(CASE WHEN team = 'ads' THEN 'x' ELSE '1' END AS INT) = 1");
    assert_eq!(hidden.unwrap().first(), "2");
}

#[test]
fn passwords_work_over_both_protocols_and_guessing_does_not() {
    let place = Place::new();
    let file = place.file("access.toml", user(&place, "ana", "finance", "correct horse"));
    let audit = place.text("audit.jsonl");
    let server = place.serve_with(&format!("[access]\nfile = '{file}'\naudit_file = '{audit}'\n"), &[]);
    let basic = |name: &str, password: &str, path: &str| {
        let request = server.client().get(format!("{}{path}", server.http)).basic_auth(name, Some(password));
        server.ask(request).unwrap()
    };
    let question = "/api/v1/sql?q=SELECT 1 AS n";
    assert_eq!(basic("ana", "correct horse", question).status, 200);
    assert_eq!(basic("ana", "wrong horse", question).status, 401);
    assert_eq!(basic("bob", "correct horse", question).status, 401);
    let mut pg = Pg::connect(&server.pg, "ana", "correct horse").unwrap();
    assert_eq!(pg.query("SELECT current_user").unwrap().first(), "ana");
    for (name, password) in [("ana", "wrong horse"), ("bob", "correct horse"), ("", "")] {
        let refused = Pg::connect(&server.pg, name, password).err().unwrap();
        assert_eq!((refused.code.as_str(), refused.severity.as_str()), ("28P01", "FATAL"));
    }
    // A password is never shown, and a statement that can't be read might hold one.
    assert!(pg.query("ALTER USER ana PASSWORD 'hunter2'").is_err());
    assert!(pg.ask("SELECT $1::text", &[Some("secret-parameter")], false).is_ok());
    let log = eventually("the log is written", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&audit).ok()?;
        text.contains("$1::text").then_some(text)
    });
    for secret in ["correct horse", "wrong horse", "hunter2", "secret-parameter", "SCRAM"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked =
        |protocol: &str| lines.iter().find(|line| line["protocol"] == protocol && line["outcome"] == "ok").unwrap();
    for protocol in ["http", "postgres"] {
        let line = asked(protocol);
        assert_eq!(
            (line["who"].as_str(), line["role"].as_str(), line["rows"].as_u64()),
            (Some("ana"), Some("finance"), Some(1))
        );
        assert!(
            line["ms"].is_u64() && line["from"].as_str().unwrap().starts_with("127.0.0.1") && line["at"].is_string()
        );
    }
    assert!(lines.iter().any(|line| line["what"] == "log-in" && line["outcome"] == "28P01" && line["who"] == "bob"));
    for _ in 0..12 {
        let _ = basic("ana", "guess", question);
    }
    let locked = basic("ana", "correct horse", question);
    assert_eq!((locked.status, locked.header("retry-after").is_empty()), (429, false));
    assert_eq!(Pg::connect(&server.pg, "ana", "correct horse").err().unwrap().code, "53300");
    // Another name is not locked out, and the file is read again while the server runs.
    std::fs::write(place.path("access.toml"), user(&place, "eve", "read", "battery staple")).unwrap();
    // Asked seldom: ten failures of a name within a minute lock it.
    let known = (0..9).any(|_| {
        std::thread::sleep(Duration::from_secs(3));
        basic("eve", "battery staple", question).status == 200
    });
    assert!(known, "the file is read again");
    assert!(Pg::connect(&server.pg, "eve", "battery staple").is_ok());
}

#[test]
fn without_a_log_in_only_the_loopback_is_served() {
    let place = Place::new();
    let data = place.data();
    for option in ["--http", "--pg"] {
        let mut args = vec!["serve", "--data", &data];
        for other in ["--http", "--pg", "--otlp-grpc", "--otlp-http"] {
            args.extend([other, if other == option { "0.0.0.0:0" } else { "127.0.0.1:0" }]);
        }
        let done = place.run(&args);
        assert!(!done.status.success() && done.stderr.contains("nothing tells who may ask"), "{}", done.stderr);
        assert!(done.stderr.contains("--allow-unauthenticated"), "{}", done.stderr);
    }
    let server = place.serve_with("[otlp]\n", &["--allow-unauthenticated"]);
    assert_eq!(server.number("SELECT 1"), 1);
    server.kill();
    let done = place.run(&["access", "token", "bot", "--role", "ingest"]);
    let token = done.stderr.split_whitespace().last().unwrap();
    assert!(done.stdout.contains(&digest(token)) && !done.stdout.contains(token), "{}", done.stdout);
    let config = place.file("bad.toml", "[[access.user]]\nname = 'a'\npassword = 'plain-text'\nrole = 'read'\n");
    let done = place.run(&["check-config", &config]);
    assert!(
        !done.status.success() && done.stderr.contains("polymeter access hash") && !done.stderr.contains("plain-text")
    );
}
