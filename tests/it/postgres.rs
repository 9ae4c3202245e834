//! The PostgreSQL wire: both protocols, types, chatter, the catalogue, cancelling, and what Grafana's macros become.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Place, Server, eventually};
use crate::pg_client::Pg;
use crate::records::{bedrock, lines, now_us, span, spans};

/// Takes minutes.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000000) AS a(n) WHERE n % 7 = 8";

fn serve(place: &Place) -> Server<'_> {
    let file = place.file("log.json", lines((0..20).map(|n| bedrock(1, n))));
    place.import("bedrock", &[&file]);
    let server = place.serve_with("", &[]);
    server.export(&spans((0..5).map(|n| span(2, n, now_us())).collect()));
    eventually("all calls are there", Duration::from_secs(10), || {
        (server.number("SELECT count(*) FROM calls") == 25).then_some(())
    });
    server
}

fn connect(server: &Server<'_>) -> Pg {
    Pg::connect(&server.pg, "somebody", "").expect("loopback is open")
}

#[test]
fn answers_have_their_types_in_both_protocols() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    assert!(pg.settings.contains(&("TimeZone".to_owned(), "UTC".to_owned())), "{:?}", pg.settings);
    let sql = "SELECT count(*) AS n, max(ts) AS at, sum(cost) AS cost, 1.5::float8 AS f, true AS b, 'x' AS t, \
               NULL AS nothing, ARRAY[1,2] AS list, x'00ff' AS bytes, DATE '2026-01-02' AS d FROM calls";
    let simple = pg.query(sql).unwrap();
    let kinds: Vec<u32> = simple.columns.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, [20, 1184, 1700, 701, 16, 25, 25, 1016, 17, 1082]);
    assert_eq!(simple.tags, ["SELECT 1"]);
    let row = simple.text().remove(0);
    assert_eq!(row[0].as_deref(), Some("25"));
    assert!(row[1].as_ref().unwrap().ends_with("+00"), "{row:?}");
    let shown: Vec<_> = row[3..].iter().map(|value| value.as_deref()).collect();
    assert_eq!(shown, [Some("1.5"), Some("t"), Some("x"), None, Some("{1,2}"), Some("\\x00ff"), Some("2026-01-02")]);
    let cost = server.sql("SELECT CAST(sum(cost) AS VARCHAR) AS cost FROM calls")[0]["cost"].clone();
    assert_eq!(row[2].as_deref(), cost.as_str(), "money is exact");
    let extended = pg.ask(sql, &[], false).unwrap();
    assert_eq!(extended.text()[0], row);
    let binary =
        pg.ask("SELECT 7::int8, 1.5::float8, true, TIMESTAMPTZ '2000-01-01T00:00:01Z', 12.5::numeric(10,2)", &[], true);
    let binary = binary.unwrap().rows.remove(0);
    let second = 1_000_000_i64.to_be_bytes();
    let number = [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x13, 0x88];
    let expected: [&[u8]; 5] = [&7_i64.to_be_bytes(), &1.5_f64.to_be_bytes(), &[1], &second, &number];
    assert_eq!(binary, expected.map(|value| Some(value.to_vec())));
    let maps = pg.query("SELECT tags, witnesses, rate_ids FROM calls LIMIT 3").unwrap();
    assert_eq!(maps.columns.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), [114, 1009, 1009]);
    for table in ["calls", "observations", "quarantine", "provider_metrics", "gateway_events", "metric_usage"] {
        for binary in [false, true] {
            assert!(pg.ask(&format!("SELECT * FROM {table} LIMIT 5"), &[], binary).is_ok(), "{table}");
        }
    }
}

#[test]
fn parameters_are_values_of_the_statements_types() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    let count = "SELECT count(*) FROM calls WHERE platform = $1 AND input_tokens >= $2";
    assert_eq!(pg.ask(count, &[Some("openai"), Some("102")], false).unwrap().first(), "3");
    assert_eq!(pg.ask(count, &[Some("x' OR '1'='1"), Some("0")], false).unwrap().first(), "0");
    let since = "SELECT count(*) FROM calls WHERE ts >= $1";
    assert_eq!(pg.ask(since, &[Some("2000-01-01 00:00:00+00")], false).unwrap().first(), "25");
    assert_eq!(pg.ask("SELECT count(*) FROM calls WHERE team = $1", &[None], false).unwrap().first(), "0");
    let any = "SELECT count(*) FROM calls WHERE platform = ANY($1)";
    assert!(pg.ask(any, &[Some("{openai,azure}")], false).is_ok_and(|rows| rows.first() == "5"), "arrays");
    assert_eq!(pg.ask("SELECT platform FROM calls ORDER BY ts LIMIT $1", &[Some("2")], false).unwrap().rows.len(), 2);
    let wrong = pg.ask(since, &[Some("yesterday-ish")], false).unwrap_err();
    assert!(wrong.code.starts_with("22") || wrong.code == "42000", "{wrong:?}");
    assert_eq!(pg.ask(since, &[], false).unwrap_err().code, "08P01");
    assert_eq!(pg.query("SELECT 1").unwrap().first(), "1", "goes on after errors");
}

#[test]
fn errors_say_what_and_why_in_sqlstate() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    for (sql, code) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM calls", "42703"),
        ("SELECT no_such_function(1)", "42883"),
        ("DELETE FROM calls", "25006"),
        ("SET ROLE admin", "25006"),
        ("COPY calls TO '/tmp/x'", "25006"),
        ("SHOW nothing_like_it", "42704"),
        ("SELECT 1 / 0", "22012"),
    ] {
        for extended in [false, true] {
            let failed = if extended { pg.ask(sql, &[], false) } else { pg.query(sql) }.unwrap_err();
            assert_eq!(failed.code, code, "{sql}: {failed:?}");
            assert_eq!(failed.severity, "ERROR");
        }
    }
    assert!(pg.query("DELETE FROM calls").unwrap_err().hint.contains("SELECT"));
    let many = "SELECT a.n FROM generate_series(1, 100001) AS a(n)";
    let cut = pg.query(many).unwrap_err();
    assert_eq!((cut.code.as_str(), cut.message.contains("100000 rows")), ("54000", true), "{cut:?}");
    assert_eq!(pg.query("SELECT count(*) FROM calls").unwrap().first(), "25");
}

#[test]
fn sessions_chatter_and_transactions_have_a_state() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    for sql in ["SET extra_float_digits = 3", "SET application_name = 'x'", "DISCARD ALL", "RESET ALL", "UNLISTEN *"] {
        assert!(pg.query(sql).is_ok() && pg.ask(sql, &[], false).is_ok(), "{sql}");
    }
    assert_eq!(pg.query("SHOW application_name").unwrap().first(), "x");
    assert_eq!(pg.ask("SHOW transaction isolation level", &[], false).unwrap().first(), "read committed");
    let several = pg.query("BEGIN; SELECT 1; SELECT 2").unwrap();
    assert_eq!(
        (several.tags.as_slice(), several.status),
        (&["BEGIN", "SELECT 1", "SELECT 1"].map(str::to_owned)[..], b'T')
    );
    assert!(pg.query("SELECT nothing").is_err());
    assert_eq!(pg.query("SELECT 1").unwrap_err().code, "25P02");
    let ended = pg.query("COMMIT").unwrap();
    assert_eq!((ended.tags[0].as_str(), ended.status), ("ROLLBACK", b'I'));
    assert_eq!(pg.query("").unwrap().tags, [""]);
    for (sql, expected) in [
        ("SELECT current_schema()", "public"),
        ("SELECT current_database()", "polymeter"),
        ("SELECT current_user", "anyone"),
        ("SELECT current_setting('server_version_num')", "160006"),
        ("SELECT pg_is_in_recovery()", "f"),
    ] {
        assert_eq!(pg.query(sql).unwrap().first(), expected, "{sql}");
    }
    assert!(pg.query("SELECT version()").unwrap().first().starts_with("PostgreSQL 16"));
}

#[test]
fn a_slow_statement_is_cancelled_from_elsewhere_or_by_its_own_patience() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    let (pid, secret) = pg.key.clone();
    pg.send(b'Q', &[ENDLESS.as_bytes(), &[0]].concat());
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let mut other = std::net::TcpStream::connect(&server.pg).unwrap();
    let length = i32::try_from(12 + secret.len()).unwrap();
    let cancel = [&length.to_be_bytes()[..], &80_877_102_i32.to_be_bytes(), &pid.to_be_bytes(), &secret].concat();
    std::io::Write::write_all(&mut other, &cancel).unwrap();
    assert_eq!(pg.answer().unwrap_err().code, "57014");
    assert!(started.elapsed() < Duration::from_secs(20), "well before its time was over");
    pg.query("SET statement_timeout = 300").unwrap();
    assert_eq!(pg.query(ENDLESS).unwrap_err().code, "57014");
    pg.query("SET statement_timeout = 0").unwrap();
    // Clients that leave: all slots would be taken if their statements went on.
    for _ in 0..10 {
        let mut leaving = connect(&server);
        leaving.send(b'Q', &[ENDLESS.as_bytes(), &[0]].concat());
    }
    eventually("those who wait get their turn", Duration::from_secs(25), || {
        pg.query("SELECT count(*) FROM calls").ok().filter(|rows| rows.first() == "25")
    });
}

#[test]
fn portals_hand_out_rows_in_parts() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    pg.query("BEGIN").unwrap();
    pg.parse("SELECT n FROM generate_series(1, 25) AS a(n) ORDER BY n");
    pg.send(b'B', &[&b"c\0\0"[..], &[0, 0, 0, 0, 0, 0]].concat());
    let part = |pg: &mut Pg, most: i32| {
        pg.send(b'E', &[&b"c\0"[..], &most.to_be_bytes()].concat());
        pg.send(b'S', &[]);
        pg.answer().unwrap()
    };
    let first = part(&mut pg, 10);
    assert_eq!((first.rows.len(), first.suspended), (10, true));
    let second = part(&mut pg, 10);
    assert_eq!((second.text()[0][0].as_deref(), second.rows.len()), (Some("11"), 10));
    let last = part(&mut pg, 0);
    assert_eq!((last.rows.len(), last.suspended), (5, false));
    pg.query("COMMIT").unwrap();
    // Numbers that no memory is made for.
    for most in [i32::MAX, -1] {
        pg.parse("SELECT 1");
        pg.send(b'B', &[0, 0, 0, 0, 0, 0, 0, 0]);
        pg.send(b'E', &[&[0][..], &most.to_be_bytes()].concat());
        pg.send(b'S', &[]);
        assert_eq!(pg.answer().unwrap().rows.len(), 1);
    }
    pg.parse("SELECT 1, 2");
    pg.send(b'B', &[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]);
    pg.send(b'S', &[]);
    assert_eq!(pg.answer().unwrap_err().code, "08P01");
    assert_eq!(pg.query("SELECT 1").unwrap().first(), "1");
}

#[test]
fn what_grafana_makes_of_its_macros_runs() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    let now = now_us() / 1_000_000;
    let range = "ts BETWEEN '2026-01-01T00:00:00Z' AND '2099-01-01T00:00:00Z'";
    for sql in [
        format!("SELECT floor(extract(epoch from ts)/300)*300 AS \"time\", count(*) FROM calls WHERE {range} GROUP BY 1 ORDER BY 1"),
        format!("SELECT ts AS \"time\", platform AS metric, duration_ms AS value FROM calls WHERE {range} ORDER BY 1"),
        format!("SELECT extract(epoch from ts) AS time FROM calls WHERE extract(epoch from ts) >= 0 AND extract(epoch from ts) <= {now}"),
        "SELECT date_bin(interval '300000 milliseconds', ts) AS time, rate(count(*), interval '5 minutes') AS r FROM calls GROUP BY 1".to_owned(),
        "SELECT time_bucket(interval '5 minutes', ts) AS time, approx_percentile_cont(duration_ms, 0.95) AS p95 FROM calls GROUP BY 1 ORDER BY 1".to_owned(),
        "SELECT count(*) FROM calls WHERE ts >= to_timestamp(0) AND (platform IN ('openai','azure') OR 'all' = 'all')".to_owned(),
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) FROM calls".to_owned(),
        "SELECT 1".to_owned(),
    ] {
        let rows = pg.query(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(!rows.rows.is_empty(), "{sql}");
        assert!(pg.ask(&sql, &[], true).is_ok(), "{sql} in binary form");
    }
}

#[test]
fn the_catalogue_lists_the_tables_and_keeps_their_numbers() {
    let place = Place::new();
    let server = serve(&place);
    let mut pg = connect(&server);
    let names = |pg: &mut Pg, sql: &str| -> Vec<String> {
        let rows = pg.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.text().into_iter().filter_map(|row| row[0].clone()).collect()
    };
    let tables =
        names(&mut pg, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1");
    let expected = [
        "bill_lines",
        "calls",
        "commitment_costs",
        "coverage",
        "gateway_events",
        "metered_by_metrics_only",
        "metric_usage",
        "observations",
        "prices",
        "provider_metrics",
        "quarantine",
    ];
    assert_eq!(tables, expected);
    let classes = "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') ORDER BY 1";
    assert_eq!(names(&mut pg, classes), expected);
    let oid = "SELECT oid FROM pg_class WHERE relname = 'calls'";
    let number = names(&mut pg, oid);
    assert_eq!(names(&mut connect(&server), oid), number, "the same number on another connection");
    let columns = format!(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = {} AND attnum > 0 ORDER BY attnum",
        number[0]
    );
    let columns = pg.query(&columns).unwrap();
    assert!(columns.text().iter().any(|row| row[0].as_deref() == Some("input_tokens")), "{:?}", columns.text());
    let columns = names(&mut pg, "SELECT column_name FROM information_schema.columns WHERE table_name = 'calls'");
    assert!(columns.contains(&"cost".to_owned()));
}

#[test]
fn psql_describes_the_tables() {
    let place = Place::new();
    let server = serve(&place);
    let psql = |command: &str| {
        let url = format!("postgresql://somebody@{}/polymeter", server.pg);
        Command::new("psql").args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", command, &url]).output()
    };
    if psql("SELECT 1").is_err() {
        println!("skipped: psql is not installed");
        return;
    }
    for (command, part) in [
        ("SELECT count(*) FROM calls", "25"),
        ("\\dt", "public|calls|table"),
        ("\\d", "public|gateway_events|view"),
        ("\\d calls", "input_tokens|bigint"),
        ("\\dn", "public"),
        ("\\l", "polymeter"),
        ("\\df version", ""),
        ("\\conninfo", "polymeter"),
    ] {
        let done = psql(command).unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && out.contains(part), "{command}: {out} {err}");
    }
}

#[test]
fn garbage_ends_its_own_connection_only() {
    use std::io::{Read, Write};
    let place = Place::new();
    let server = serve(&place);
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 8, 0, 0, 0, 0], &[0, 0, 0, 0], &[0x16, 3, 1, 0, 5]]
    {
        let mut stream = std::net::TcpStream::connect(&server.pg).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let mut pg = connect(&server);
    for (kind, body) in [(b'Q', &b"no end"[..]), (b'P', b"x"), (b'B', b"\0\0\xff\xff"), (b'X', b"")] {
        let mut bad = connect(&server);
        bad.send(kind, body);
        bad.send(b'S', &[]);
        let _ = bad.is_closed();
    }
    let long = format!("SELECT '{}'", "x".repeat(10 << 20));
    let mut bad = connect(&server);
    assert_eq!(bad.query(&long).unwrap_err().code, "54000");
    assert_eq!(pg.query("SELECT count(*) FROM calls").unwrap().first(), "25");
    // The wire's library panics where a message is shorter than it says; that ends the task of that connection.
    server.kill();
}
