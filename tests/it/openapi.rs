//! The description of the HTTP API: every route is in it, everything in it is there, and what it says of answers holds.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::Place;

const DESCRIPTION: &str = include_str!("../../src/serve/openapi.json");
const ROUTER: &str = include_str!("../../src/serve/router.rs");

/// Paths and methods of the router's own text.
fn routes() -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    // The board is a page.
    let board = |line: &&str| line.starts_with("/\"") || line.starts_with("/board/");
    for line in ROUTER.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")).filter(|line| !board(line)) {
        let (path, methods) = line.split_once('"').expect("a path");
        for method in ["get", "post", "put", "delete", "patch"] {
            if methods.contains(&format!("{method}(")) {
                routes.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    routes
}

#[test]
fn every_route_is_described_and_everything_described_is_there() {
    let description: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((path.clone(), method.clone()));
        }
    }
    assert_eq!(described, routes());
    let text = DESCRIPTION;
    for part in text.split("\"$ref\": \"#/").skip(1) {
        let pointer = format!("/{}", part.split('"').next().unwrap());
        assert!(description.pointer(&pointer).is_some(), "{pointer}");
    }
}

#[test]
fn answers_are_as_described() {
    let place = Place::new();
    let server = place.serve_with("", &[]);
    let served = server.get("/api/v1/openapi.json");
    assert_eq!((served.status, served.text().as_str()), (200, DESCRIPTION));
    let description: Value = served.json();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else { continue };
        let mut query = Vec::new();
        for parameter in get["parameters"].as_array().into_iter().flatten() {
            let required = parameter["required"] == true && parameter["in"] == "query";
            if required {
                query.push(format!(
                    "{}={}",
                    parameter["name"].as_str().unwrap(),
                    parameter["example"].as_str().unwrap()
                ));
            }
        }
        let asked = format!("{}?{}", path.replace("{name}", "overview"), query.join("&"));
        let reply = server.get(&asked);
        // An empty store has no bill and no price to compare with.
        assert!([200, 400, 422].contains(&reply.status), "{asked}: {}", reply.text());
        assert!(get["responses"][reply.status.to_string()].is_object(), "{asked} answers {}", reply.status);
        if reply.status != 200 {
            assert!(reply.json()["error"]["message"].is_string(), "{asked}: {}", reply.text());
            continue;
        }
        let kind = reply.header("content-type").split(';').next().unwrap().to_owned();
        assert!(get["responses"]["200"]["content"][&kind].is_object(), "{asked} answers {kind}");
        assert!(!reply.header("x-request-id").is_empty(), "{asked}");
        assert!(reply.header("access-control-allow-origin").is_empty(), "CORS is off");
    }
}

#[test]
fn answers_are_named_compressed_and_not_sent_twice() {
    let place = Place::new();
    let server = place.serve_with("", &[]);
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let request = server.client().get(format!("{}{path}", server.http));
        server.ask(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).unwrap()
    };
    let first = ask("/api/v1/queries/unpriced_calls", &[("x-request-id", "mine-1")]);
    assert_eq!((first.status, first.header("x-request-id")), (200, "mine-1"));
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""));
    let again = ask("/api/v1/queries/unpriced_calls", &[("if-none-match", &tag)]);
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
    let other = ask("/api/v1/queries/overview", &[("if-none-match", &tag)]);
    assert_eq!(other.status, 200);
    let plain = ask("/api/v1/queries", &[]);
    assert!(plain.header("content-encoding").is_empty());
    let small = ask("/api/v1/queries", &[("accept-encoding", "gzip")]);
    assert_eq!(small.header("content-encoding"), "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(small.body.as_slice()), &mut text).unwrap();
    assert_eq!(text, plain.text());
    let arrow = ask("/api/v1/sql?q=SELECT 1 AS n", &[("accept", "application/vnd.apache.arrow.stream")]);
    assert_eq!(arrow.header("content-type"), "application/vnd.apache.arrow.stream");
    assert!(ask("/nothing", &[]).json()["error"]["hint"].is_string());
}
