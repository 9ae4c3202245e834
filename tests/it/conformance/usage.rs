//! The usage reports of OpenAI and Anthropic, as they are documented: pages, changes of what was told before, refusals.

use std::collections::BTreeMap;
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
use polymeter::model::{ProviderMetric, Timestamp};
use polymeter::pipeline::follow;
use polymeter::store::Store;
use polymeter::telemetry::{SourceBoard, SourceStatus};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rig::PAUSES;
use crate::harness::{PATIENCE, Place, QUICK, eventually, runtime};
use crate::records::{span, spans};

const HOUR_S: i64 = 3600;
/// Buckets that one page holds.
const PAGE: i64 = 5;

#[derive(Default)]
struct Service {
    /// What is added to the requests of the bucket that begins then.
    more: BTreeMap<i64, u64>,
    asked: Vec<String>,
    /// Answers that come before any other.
    refusals: Vec<(u16, Option<&'static str>)>,
    key: &'static str,
    hangs: bool,
}

type Shared = Arc<Mutex<Service>>;

fn answer(status: u16, body: &Value) -> Response {
    Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
}

async fn service(State(state): State<Shared>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let openai = parts.uri.path().starts_with("/v1/organization/");
    let path = parts.uri.path().to_owned();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap().as_bytes()).into_owned().collect();
    let all = |key: &str| query.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let hangs = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        if let Some((status, retry_after)) = state.refusals.pop() {
            let mut response = answer(status, &json!({"error": {"type": "x", "message": "on purpose"}}));
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.parse().unwrap());
            }
            return response;
        }
        let key = if openai { header("authorization") } else { header("x-api-key") };
        let wanted = if openai { format!("Bearer {}", state.key) } else { state.key.to_owned() };
        if key.as_ref() != Some(&wanted) {
            return answer(401, &json!({"error": {"message": "no"}}));
        }
        state.hangs
    };
    if hangs {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    let seconds = |key: &str| {
        let text = all(key).remove(0);
        text.parse().unwrap_or_else(|_| Timestamp::parse(&text).unwrap().0 / 1_000_000)
    };
    let width = if all("bucket_width")[0] == "1d" { 24 * HOUR_S } else { HOUR_S };
    let (from, to) = if openai {
        (seconds("start_time"), seconds("end_time"))
    } else {
        assert_eq!(header("anthropic-version").as_deref(), Some("2023-06-01"));
        (seconds("starting_at"), seconds("ending_at"))
    };
    assert!(from % width == 0 && to % width == 0, "whole buckets are asked for");
    let first = all("page").first().map_or(from, |page| page.parse().unwrap());
    let end = to.min(first + PAGE * width);
    let state = state.lock().unwrap();
    let buckets: Vec<Value> = (0..(end - first) / width)
        .map(|n| {
            let start = first + n * width;
            let results = results(&path, &all("group_by"), &all("group_by[]"), state.more.get(&start).copied());
            let time = |at: i64| Timestamp(at * 1_000_000).to_string();
            if openai {
                json!({"object": "bucket", "start_time": start, "end_time": start + width, "results": results})
            } else {
                json!({"starting_at": time(start), "ending_at": time(start + width), "results": results})
            }
        })
        .collect();
    let more = end < to;
    let next = more.then(|| end.to_string());
    answer(200, &json!({"object": "page", "data": buckets, "has_more": more, "next_page": next}))
}

fn results(path: &str, group_by: &[String], group_by_too: &[String], more: Option<u64>) -> Value {
    let more = more.unwrap_or(0);
    let groups = |wanted: &[&str]| {
        assert!(wanted.iter().all(|key| [group_by, group_by_too].concat().contains(&(*key).to_owned())))
    };
    match path.rsplit('/').next().unwrap() {
        "completions" => {
            groups(&["model", "project_id"]);
            json!([{"object": "organization.usage.completions.result", "input_tokens": 100, "input_cached_tokens": 20,
                "output_tokens": 10, "num_model_requests": 3 + more, "model": "gpt-4o", "project_id": "proj_1"}])
        }
        "messages" => {
            groups(&["model", "workspace_id"]);
            json!([{"uncached_input_tokens": 100 + more, "cache_creation": {"ephemeral_5m_input_tokens": 5,
                "ephemeral_1h_input_tokens": 0}, "cache_read_input_tokens": 20, "output_tokens": 10,
                "model": "claude-sonnet-4-5-20250929", "workspace_id": null, "service_tier": "standard"}])
        }
        "costs" => json!([{"object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"},
            "line_item": "gpt-4o, input", "project_id": "proj_1"}]),
        "cost_report" => json!([{"amount": "6.5", "currency": "USD", "description": "tokens", "workspace_id": null}]),
        _ => json!([]),
    }
}

struct Run {
    state: Shared,
    url: String,
    dir: TempDir,
    kind: &'static str,
    board: SourceBoard,
    metrics: Vec<ProviderMetric>,
}

impl Run {
    async fn new(kind: &'static str) -> Self {
        let state = Arc::new(Mutex::new(Service { key: "admin-1", ..Service::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(service).with_state(Arc::clone(&state));
        drop(runtime().spawn(async move { axum::serve(listener, router).await }));
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("key"), "admin-1\n").unwrap();
        Self { state, url, dir, kind, board: SourceBoard::default(), metrics: Vec::new() }
    }

    fn status(&self) -> SourceStatus {
        self.board.all().remove("it").unwrap_or_default()
    }

    /// Follows until `done`; how long the end took.
    async fn follow(&mut self, done: impl Fn(&Self) -> bool) -> Duration {
        let text = format!(
            "[[source]]\nname = 'it'\nkind = '{}'\nendpoint = '{}'\nsecret_file = '{}/key'\nstart_hours = 20\nwindow_hours = 6\n",
            self.kind,
            self.url,
            self.dir.path().display()
        );
        let mut source = Config::parse(&text).unwrap().sources.remove(0);
        source.poll_every = Duration::from_millis(20);
        let store = Store::open(self.dir.path().join("data").to_str().unwrap()).await.unwrap();
        let (sender, mut commits) = mpsc::unbounded_channel();
        let journal = Journal::open(&store, "w", 0, Some(sender)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (source, station) = follower(&source, &journal, &clock, &self.board);
        let cancel = CancellationToken::new();
        let task = runtime().spawn(follow(source, station, PAUSES, cancel.clone()));
        let end = tokio::time::Instant::now() + PATIENCE;
        while !done(self) {
            assert!(tokio::time::Instant::now() < end, "{}: {:?} {:?}", self.kind, self.status(), self.asked());
            tokio::time::sleep(Duration::from_millis(5)).await;
            while let Ok(commit) = commits.try_recv() {
                self.take(&commit);
            }
        }
        let asked = std::time::Instant::now();
        cancel.cancel();
        task.await.unwrap();
        let took = asked.elapsed();
        drop(journal);
        while let Some(commit) = commits.recv().await {
            self.take(&commit);
        }
        took
    }

    fn take(&mut self, commit: &polymeter::journal::Commit) {
        assert!(commit.rows.quarantined.is_empty(), "{:?}", commit.rows.quarantined);
        self.metrics.extend(commit.rows.metrics.iter().cloned());
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    /// Totals of a counter, each bucket by what was read last.
    fn total(&self, name: &str) -> u64 {
        let mut last = BTreeMap::new();
        for metric in self.metrics.iter().filter(|metric| metric.name == name) {
            last.insert(metric.metric_id, metric.total.unwrap());
        }
        last.values().sum::<f64>().to_string().parse().unwrap()
    }
}

fn each(behaviour: impl AsyncFn(Run)) {
    runtime().block_on(async {
        for kind in ["openai-usage", "anthropic-usage"] {
            behaviour(Run::new(kind).await).await;
        }
    });
}

/// The hour before this one, seconds.
fn last_hour() -> i64 {
    let now = SystemClock.now().0 / 1_000_000;
    now - now % HOUR_S - HOUR_S
}

#[test]
fn all_pages_are_read_once_and_what_changes_again() {
    each(async |mut run| {
        run.follow(|run| run.status().complete_to.is_some() && run.asked() > 30).await;
        let counter = if run.kind == "openai-usage" { "num_model_requests" } else { "uncached_input_tokens" };
        let each = if run.kind == "openai-usage" { 3 } else { 100 };
        let (rows, total) = (run.metrics.len(), run.total(counter));
        // Twenty hours and the one that is not over, or one more where the hour turned meanwhile.
        assert!([21 * each, 22 * each].contains(&total), "{total}");
        assert!(run.metrics.iter().any(|metric| metric.name == "cost"));
        let amount = run.metrics.iter().find_map(|metric| metric.dimensions.get("amount")).cloned();
        assert_eq!(amount.as_deref(), Some(if run.kind == "openai-usage" { "0.06" } else { "0.065" }));
        // A restart reads the window again and finds nothing new in it.
        let asked = run.asked();
        run.follow(|run| run.asked() > asked + 20).await;
        assert!(run.metrics.len() <= rows + 6, "{} rows, then {}", rows, run.metrics.len());
        // The provider corrects an hour: only that is read anew.
        let before = run.total(counter);
        run.state.lock().unwrap().more.insert(last_hour(), 7);
        run.follow(|run| run.total(counter) > before).await;
        assert_eq!(run.total(counter), before + 7);
    });
}

#[test]
fn a_refused_key_is_shown_and_its_successor_taken() {
    each(async |mut run| {
        std::fs::write(run.dir.path().join("key"), "old").unwrap();
        run.follow(|run| run.status().last_error.is_some_and(|text| text.contains("401"))).await;
        assert_eq!(run.status().state, "retrying");
        assert!(run.metrics.is_empty());
        std::fs::write(run.dir.path().join("key"), "admin-1").unwrap();
        run.follow(|run| run.status().complete_to.is_some()).await;
    });
}

#[test]
fn a_service_that_asks_to_wait_is_left_alone_that_long() {
    each(async |mut run| {
        run.state.lock().unwrap().refusals = vec![(429, Some("2"))];
        let began = std::time::Instant::now();
        run.follow(|run| run.status().last_error.is_some_and(|text| text.contains("asked to wait"))).await;
        assert_eq!(run.asked(), 1, "{}: it was asked again before", run.kind);
        assert!(began.elapsed() < Duration::from_secs(2));
        run.state.lock().unwrap().refusals = vec![(500, None), (503, None), (403, None)];
        run.follow(|run| run.status().complete_to.is_some()).await;
    });
}

#[test]
fn it_ends_when_asked_although_the_service_hangs() {
    each(async |mut run| {
        run.state.lock().unwrap().hangs = true;
        let took = run.follow(|run| run.asked() > 0).await;
        assert!(took < super::CANCELLED, "{took:?}");
    });
}

#[test]
fn coverage_holds_the_reports_against_calls_and_the_last_reading_counts() {
    let run = runtime().block_on(Run::new("openai-usage"));
    let place = Place::new();
    let config = format!(
        "{QUICK}[[source]]\nname = 'u'\nkind = 'openai-usage'\nendpoint = '{}'\nsecret_file = '{}/key'\npoll_interval_s = 1\n",
        run.url,
        run.dir.path().display()
    );
    let server = place.serve_with(&config, &[]);
    let hour = last_hour();
    server.export(&spans(vec![span(7, 0, (hour + 60) * 1_000_000)]));
    let statement = format!(
        "SELECT metered_calls, provider_calls, provider_input_tokens, provider_output_tokens FROM coverage \
         WHERE platform = 'openai' AND model = 'gpt-4o' AND date_part('epoch', hour) = {hour}"
    );
    let counts = |calls: u64| {
        eventually("the report is in coverage", PATIENCE, || {
            let row = server.sql(&statement).pop()?;
            (row["provider_calls"] == calls && row["metered_calls"] == 1).then_some(row)
        })
    };
    let row = counts(3);
    assert_eq!((&row["provider_input_tokens"], &row["provider_output_tokens"]), (&json!(100), &json!(10)));
    run.state.lock().unwrap().more.insert(hour, 7);
    counts(10);
    server.stop();
}
