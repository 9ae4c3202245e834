//! The named queries that judge, asked of calls that are spelled out: what they say must follow from the rows alone, also
//! where outcomes are unknown, prices lack and currencies are mixed.

use polymeter::queries::{NamedQueries, put_in};
use serde_json::{Value, json};

use crate::harness::{Place, Server};

/// A call, as far as the queries look at it.
#[derive(Clone)]
struct Told {
    minute: u32,
    platform: &'static str,
    region: &'static str,
    model: &'static str,
    outcome: &'static str,
    chain: Option<&'static str>,
    money: Option<(&'static str, &'static str)>,
    /// So many like it.
    times: usize,
}

const AZURE: Told = Told {
    minute: 0,
    platform: "azure.ai.openai",
    region: "eastus",
    model: "gpt-4o",
    outcome: "ok",
    chain: None,
    money: None,
    times: 1,
};

/// So many calls that end so.
fn calls(times: usize, call: &Told, outcome: &'static str) -> Vec<Told> {
    vec![Told { outcome, times, ..call.clone() }]
}

/// The query over these calls instead of the table, of an hour that begins at 10:00; `given` are SQL expressions.
fn ask(server: &Server<'_>, name: &str, told: &[Told], given: &[(&str, &str)]) -> Vec<Value> {
    let quoted = |text: &str| format!("'{text}'");
    let row = |(n, call): (usize, &Told)| {
        let chain = call.chain.map_or("CAST(NULL AS VARCHAR)".to_owned(), quoted);
        let (cost, currency) = call.money.map_or_else(
            || ("CAST(NULL AS DECIMAL(38, 12))".to_owned(), "CAST(NULL AS VARCHAR)".to_owned()),
            |(cost, currency)| (format!("CAST({cost} AS DECIMAL(38, 12))"), quoted(currency)),
        );
        let Told { minute, platform, region, model, outcome, times, .. } = call;
        format!(
            "({n}, {times}, TIMESTAMPTZ '2026-11-20T10:{minute:02}:00Z', '{platform}', '{region}', '{model}', '{outcome}', \
             {chain}, {cost}, {currency})"
        )
    };
    let rows: Vec<String> = told.iter().enumerate().map(row).collect();
    // Rows are few, because a statement may have so many operators only.
    let table = format!(
        "calls AS (SELECT told.*, concat(n, '-', k) AS call_id, cost AS list_cost, 'search' AS team, 'answers' AS feature, \
         'prod' AS environment, CAST(NULL AS DOUBLE) AS duration_ms, CAST(NULL AS DOUBLE) AS provider_duration_ms \
         FROM (VALUES {}) AS told(n, times, ts, platform, region, model, outcome, chain_id, cost, currency) \
         JOIN (SELECT unnest([{}]) AS k) AS numbers ON k < times)",
        rows.join(", "),
        (0..100).map(|k| k.to_string()).collect::<Vec<_>>().join(", ")
    );
    let queries = NamedQueries::bundled();
    let query = queries.get(name).unwrap();
    let mut sql = query.statement().to_owned();
    for param in &query.params {
        let value = match param.name.as_str() {
            "from" => "TIMESTAMPTZ '2026-11-20T10:00:00Z'",
            "to" => "TIMESTAMPTZ '2026-11-20T11:00:00Z'",
            name => given.iter().find(|(known, _)| *known == name).map_or(param.default.as_str(), |(_, value)| value),
        };
        sql = put_in(&sql, &param.name, &format!("({value})"));
    }
    let sql = match sql.strip_prefix("WITH ") {
        Some(rest) => format!("WITH {table}, {rest}"),
        None => format!("WITH {table} {sql}"),
    };
    server.sql(&sql)
}

#[test]
fn an_incident_is_theirs_or_ours_by_what_else_was_called() {
    let place = Place::new();
    let server = place.serve();
    let incidents = |told: &[Told]| ask(&server, "incidents", told, &[]);
    let burst = [calls(6, &AZURE, "server_error"), calls(4, &AZURE, "ok")].concat();
    let elsewhere = Told { platform: "openai", region: "", ..AZURE };
    let other_model = Told { model: "gpt-4.1", ..AZURE };

    let alone = incidents(&burst);
    assert_eq!((alone.len(), &alone[0]["verdict"]), (1, &json!("unclear")), "{alone:?}");
    assert_eq!(
        (&alone[0]["calls"], &alone[0]["errors"], &alone[0]["error_rate"]),
        (&json!(10), &json!(6), &json!(0.6))
    );
    assert_eq!(alone[0]["elsewhere_error_rate"], Value::Null, "nobody called it elsewhere: that is not 0");

    let theirs = incidents(&[burst.clone(), calls(8, &elsewhere, "ok")].concat());
    assert_eq!((theirs.len(), &theirs[0]["verdict"]), (1, &json!("them")), "{theirs:?}");
    assert_eq!((&theirs[0]["elsewhere_calls"], &theirs[0]["elsewhere_error_rate"]), (&json!(8), &json!(0.0)));

    let everywhere = incidents(&[burst.clone(), calls(8, &elsewhere, "timeout")].concat());
    assert!(everywhere.len() == 2 && everywhere.iter().all(|one| one["verdict"] == "us"), "{everywhere:?}");

    let refused = [calls(6, &AZURE, "client_error"), calls(8, &elsewhere, "ok")].concat();
    assert_eq!(incidents(&refused)[0]["verdict"], "us");

    let throttled = [calls(6, &AZURE, "throttled"), calls(8, &other_model, "ok")].concat();
    assert_eq!(incidents(&throttled)[0]["verdict"], "quota");
    let all_here =
        [calls(6, &AZURE, "throttled"), calls(6, &other_model, "throttled"), calls(8, &elsewhere, "ok")].concat();
    assert!(incidents(&all_here).iter().all(|one| one["verdict"] == "them"), "not the quota of one model");

    // What nobody knows the end of, and what callers broke off, makes no burst and dilutes none.
    assert_eq!(incidents(&calls(20, &AZURE, "unknown")), [] as [Value; 0]);
    let mixed = incidents(&[burst.clone(), calls(90, &AZURE, "unknown")].concat());
    assert_eq!((&mixed[0]["calls"], &mixed[0]["error_rate"]), (&json!(100), &json!(0.6)), "{mixed:?}");
    assert_eq!(incidents(&[burst.clone(), calls(90, &AZURE, "cancelled")].concat()), [] as [Value; 0]);
    // Four failures are no burst.
    assert_eq!(incidents(&calls(4, &AZURE, "server_error")), [] as [Value; 0]);

    // One burst over the gap of a step, two over a longer one; the newest first.
    let later = |minute: u32| -> Vec<Told> { burst.iter().map(|call| Told { minute, ..call.clone() }).collect() };
    let near = incidents(&[burst.clone(), later(10)].concat());
    assert_eq!(
        (near.len(), &near[0]["started"], &near[0]["ended"]),
        (1, &json!("2026-11-20T10:00:00Z"), &json!("2026-11-20T10:15:00Z"))
    );
    let far = incidents(&[burst.clone(), later(56)].concat());
    assert_eq!((far.len(), &far[0]["goes_on"], &far[1]["goes_on"]), (2, &json!(true), &json!(false)), "{far:?}");
    server.stop();
}

#[test]
fn a_second_attempt_that_worked_saves_the_request_everywhere() {
    let place = Place::new();
    let server = place.serve();
    let mut told = calls(2, &AZURE, "server_error");
    told.extend(["a", "b", "c"].map(|chain| Told { chain: Some(chain), outcome: "server_error", ..AZURE }));
    let second = Told { platform: "openai", region: "", minute: 1, ..AZURE };
    for (chain, outcome) in [("a", "ok"), ("b", "ok"), ("c", "throttled")] {
        told.push(Told { chain: Some(chain), outcome, ..second.clone() });
    }
    let incident = &ask(&server, "incidents", &told, &[])[0];
    assert_eq!(
        (&incident["errors"], &incident["rescued"], &incident["not_rescued"]),
        (&json!(5), &json!(2), &json!(3))
    );

    // Five requests, two of them saved; one more whose end nobody knows.
    told.extend(calls(1, &Told { minute: 2, ..AZURE }, "unknown"));
    let slo = &ask(&server, "slo_by_feature", &told, &[("target", "0.9")])[0];
    assert_eq!((&slo["requests"], &slo["failed"], &slo["rescued"]), (&json!(6), &json!(3), &json!(2)), "{slo}");
    assert!(
        (slo["availability"].as_f64().unwrap() - 0.4).abs() < 1e-9
            && (slo["burn_rate"].as_f64().unwrap() - 6.0).abs() < 1e-9,
        "{slo}"
    );
    assert_eq!(
        (&slo["kept"], &slo["fast_share"]),
        (&json!(false), &Value::Null),
        "nothing was timed: that is not slow"
    );
    let burn = ask(&server, "slo_burn_over_time", &told, &[("target", "0.9")]);
    assert!((burn[0]["burn_rate"].as_f64().unwrap() - 6.0).abs() < 1e-9, "{burn:?}");

    let nobody_knows = &ask(&server, "slo_by_feature", &calls(3, &AZURE, "unknown"), &[])[0];
    assert_eq!(
        (&nobody_knows["availability"], &nobody_knows["burn_rate"]),
        (&Value::Null, &Value::Null),
        "{nobody_knows}"
    );
    assert_eq!(nobody_knows["kept"], Value::Null);
    server.stop();
}

#[test]
fn money_of_several_currencies_is_never_added() {
    let place = Place::new();
    let server = place.serve();
    let paid = |cost, currency| Told { money: Some((cost, currency)), ..AZURE };
    let told = [paid("1.25", "USD"), paid("2.5", "USD"), paid("7", "EUR"), AZURE];
    let rows = ask(&server, "spend_over_time", &told, &[]);
    let sums: Vec<_> =
        rows.iter().map(|row| (&row["currency"], row["cost"].as_f64().unwrap(), &row["calls"])).collect();
    assert_eq!(sums, [(&json!("EUR"), 7.0, &json!(1)), (&json!("USD"), 3.75, &json!(2))]);
    assert_eq!(ask(&server, "spend_over_time", &[AZURE], &[]), [] as [Value; 0], "no price is no row, not 0");
    server.stop();
}

#[test]
fn an_alert_needs_enough_calls_whose_end_is_known() {
    let place = Place::new();
    let server = place.serve();
    let few = [calls(5, &AZURE, "server_error"), calls(50, &AZURE, "unknown")].concat();
    assert_eq!(ask(&server, "errors_now", &few, &[]), [] as [Value; 0]);
    let enough = [calls(5, &AZURE, "server_error"), calls(15, &AZURE, "ok"), calls(50, &AZURE, "unknown")].concat();
    let rows = ask(&server, "errors_now", &enough, &[]);
    assert_eq!((&rows[0]["calls"], &rows[0]["error_rate"]), (&json!(70), &json!(0.25)), "{rows:?}");
    server.stop();
}
