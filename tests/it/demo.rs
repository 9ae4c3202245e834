//! `serve --demo`: a newcomer sees answers in a minute.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Place, eventually};

const HISTORY: i64 = 50_000;
/// A debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long live traffic may take.
const LIVE: Duration = Duration::from_secs(120);
/// The bundled prices hold since ever.
const MAY_BE_EMPTY: [&str; 1] = ["price_changes"];

#[test]
fn the_demo_fills_itself_and_every_named_query_answers() {
    let place = Place::new();
    let server = place.serve_with("", &["--demo"]);
    eventually("the history is there", DEADLINE, || {
        (server.number("SELECT count(*) FROM calls") >= HISTORY).then_some(())
    });
    // Settled as it is: each provider call once, under the id that its provider gave it.
    let twice = "SELECT count(*) AS n FROM (SELECT platform, provider_request_id FROM calls WHERE provider_request_id IS NOT NULL \
        GROUP BY platform, provider_request_id HAVING count(*) > 1)";
    assert_eq!(server.number(twice), 0, "a provider's request is there twice");
    let count = server.sql("SELECT count(*) AS calls, count(DISTINCT platform) AS platforms, count(DISTINCT team) AS teams, \
        count(provider_request_id) AS with_id, count(DISTINCT call_id) AS ids, \
        count(*) FILTER (WHERE cost_status = 'priced') AS priced, count(*) FILTER (WHERE outcome <> 'ok') AS failed FROM calls");
    println!("{}", count[0]);
    let number = |name: &str| count[0][name].as_i64().unwrap();
    assert_eq!(number("calls"), number("ids"));
    assert!(number("platforms") >= 3 && number("teams") >= 2 && number("failed") > 0);
    assert!(number("priced") * 2 > number("calls"), "most calls have a price");

    // At night the history of the latest minutes is too thin for some; live traffic fills it.
    let end = Instant::now() + LIVE;
    let mut wrong = Vec::new();
    let queries = server.get("/api/v1/queries").json();
    for query in queries["queries"].as_array().unwrap() {
        let name = query["name"].as_str().unwrap();
        loop {
            let reply = server.get(&format!("/api/v1/queries/{name}"));
            if reply.status != 200 {
                wrong.push(format!("{name}: {} {}", reply.status, reply.text()));
            } else if reply.json()["rows"] == json!([]) && !MAY_BE_EMPTY.contains(&name) {
                if Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
                wrong.push(format!("{name}: no row"));
            }
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let before = server.number("SELECT count(*) FROM calls");
    eventually("live traffic goes on", LIVE, || (server.number("SELECT count(*) FROM calls") > before).then_some(()));
    server.stop();
}

#[test]
fn the_demo_does_not_mix_with_real_calls() {
    let place = Place::new();
    let file = place.file("log.json", crate::records::lines([crate::records::bedrock(1, 1)]));
    place.import("bedrock", &[&file]);
    let data = place.data();
    let mut args = vec!["serve", "--demo", "--data", &data];
    for option in ["--http", "--pg", "--otlp-grpc", "--otlp-http"] {
        args.extend([option, "127.0.0.1:0"]);
    }
    let done = place.run(&args);
    assert!(!done.status.success());
    assert!(done.stderr.starts_with("error:") && done.stderr.contains("--data"), "{}", done.stderr);
    assert_eq!(place.sql("SELECT count(*) AS n FROM calls"), [json!({"n": 1})]);
}
