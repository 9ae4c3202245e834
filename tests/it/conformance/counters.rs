//! Azure's own counters, over Entra and Azure Monitor as they are documented.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use polymeter::app::follower;
use polymeter::clock::{Clock, SystemClock};
use polymeter::config::Config;
use polymeter::journal::Journal;
use polymeter::model::Timestamp;
use polymeter::pipeline::follow;
use polymeter::store::Store;
use polymeter::telemetry::SourceBoard;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rig::PAUSES;
use crate::harness::{PATIENCE, runtime};

const RESOURCE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a";

#[derive(Default)]
struct Azure {
    tokens: usize,
    /// Time spans that were asked for, by metric.
    asked: Vec<(String, String)>,
    /// The token that is good is forgotten by the service so many times.
    revoked: usize,
}

async fn azure(State(state): State<Arc<Mutex<Azure>>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let mut state = state.lock().unwrap();
    let answer = |status: u16, body: serde_json::Value| {
        Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
    };
    if parts.uri.path() == "/tenant-1/oauth2/v2.0/token" {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
        let has = |key: &str, value: &str| form.iter().any(|(k, v)| k == key && v == value);
        if !has("client_secret", "s3cret") || !has("scope", "https://management.usgovcloudapi.net/.default") {
            return answer(401, json!({"error": "invalid_client", "error_description": "AADSTS7000215: no\r\nTrace"}));
        }
        state.tokens += 1;
        return answer(200, json!({"access_token": format!("T{}", state.tokens), "expires_in": 3600}));
    }
    let bearer = format!("Bearer T{}", state.tokens);
    let good = parts.headers.get("authorization").is_some_and(|value| value.to_str().unwrap() == bearer);
    if !good || state.revoked > 0 {
        state.revoked = state.revoked.saturating_sub(1);
        return answer(401, json!({"error": {"code": "ExpiredAuthenticationToken", "message": "expired"}}));
    }
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap().as_bytes()).into_owned().collect();
    let of = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap();
    let (names, span) = (of("metricnames"), of("timespan"));
    assert_eq!((of("interval").as_str(), of("top").as_str()), ("PT1M", "1000"));
    if names != "ModelRequests" {
        return answer(
            400,
            json!({"code": "BadRequest", "message": format!("Failed to find metric configuration: {names}")}),
        );
    }
    let from = span.split_once('/').unwrap().0.to_owned();
    state.asked.push((names.clone(), span));
    let series = json!({"metadatavalues": [
        {"name": {"value": "modeldeploymentname"}, "value": "prod"},
        {"name": {"value": "modelname"}, "value": "gpt-4o"},
        {"name": {"value": "statuscode"}, "value": "200"}],
        "data": [{"timeStamp": from, "total": 7.0}]});
    answer(
        200,
        json!({"timespan": "x", "interval": "PT1M", "resourceregion": "eastus", "value": [
        {"id": format!("{RESOURCE}/providers/Microsoft.Insights/metrics/{names}"), "name": {"value": names},
         "unit": "Count", "timeseries": [series]}]}),
    )
}

/// Follows the counters until they are complete to ten minutes ago; what was taken in.
async fn follow_once(dir: &TempDir, url: &str) -> Vec<(Timestamp, Option<f64>)> {
    std::fs::write(dir.path().join("secret"), "s3cret\n").unwrap();
    let text = format!(
        "[[source]]\nname = 'it'\nkind = 'azure-metrics'\nresources = ['{RESOURCE}']\nendpoint = '{url}'\nauthority = '{url}'\n\
         cloud = 'government'\nauth = 'client_secret'\ntenant_id = 'tenant-1'\nclient_id = 'c'\nsecret_file = '{}/secret'\nstart_hours = 7\n",
        dir.path().display()
    );
    let source = Config::parse(&text).unwrap().sources.remove(0);
    let store = Store::open(dir.path().join("data").to_str().unwrap()).await.unwrap();
    let (sender, mut commits) = mpsc::unbounded_channel();
    let journal = Journal::open(&store, "w", 0, Some(sender)).await.unwrap();
    let (board, clock) = (SourceBoard::default(), Arc::new(SystemClock) as Arc<dyn Clock>);
    let (source, station) = follower(&source, &journal, &clock, &board);
    let cancel = CancellationToken::new();
    let task = runtime().spawn(follow(source, station, PAUSES, cancel.clone()));
    let recent = || {
        let complete = board.all().remove("it").and_then(|status| Timestamp::parse(&status.complete_to?));
        complete.is_some_and(|at| clock.now().0 - at.0 < 15 * 60_000_000)
    };
    let end = tokio::time::Instant::now() + PATIENCE;
    while !recent() {
        // A second start within the same minute has nothing to read.
        if board.all().get("it").is_some_and(|status| status.state == "running" && status.complete_to.is_none()) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{:?}", board.all());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cancel.cancel();
    task.await.unwrap();
    drop(journal);
    let mut found = Vec::new();
    while let Some(commit) = commits.recv().await {
        assert!(commit.rows.quarantined.is_empty(), "{:?}", commit.rows.quarantined);
        found.extend(commit.rows.metrics.iter().map(|metric| (metric.ts, metric.total)));
    }
    found
}

#[test]
fn azure_monitor_is_asked_once_for_each_minute_with_a_token_of_entra() {
    runtime().block_on(async {
        let state = Arc::new(Mutex::new(Azure { revoked: 1, ..Azure::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(azure).with_state(Arc::clone(&state));
        drop(runtime().spawn(async move { axum::serve(listener, router).await }));
        let dir = TempDir::new().unwrap();
        let mut found = follow_once(&dir, &url).await;
        found.extend(follow_once(&dir, &url).await);
        let asked = state.lock().unwrap().asked.clone();
        // Seven hours without the last ten minutes, three at a time.
        assert!((3..=4).contains(&found.len()), "{found:?}");
        assert_eq!(found.len(), asked.len());
        assert!(found.iter().all(|(_, total)| *total == Some(7.0)));
        for pair in asked.windows(2) {
            let (end, start) = (pair[0].1.split_once('/').unwrap().1, pair[1].1.split_once('/').unwrap().0);
            assert_eq!(end, start, "no minute twice, none left out");
        }
        // One that was revoked, one after it, and one for the second process if a minute has become final meanwhile.
        assert!((2..=3).contains(&state.lock().unwrap().tokens));
    });
}
