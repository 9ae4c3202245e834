//! The usage reports of OpenAI and Anthropic over HTTP: pages of buckets of time, with an admin key.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::ServiceError;
use crate::model::{SECOND_US, Timestamp};
use crate::store::Secret;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);
/// Pages of one stretch; more is a service that turns in circles.
const MOST_PAGES: usize = 10_000;
/// Pause that a service may ask for at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Whose reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageService {
    /// `api.openai.com`.
    OpenAi,
    /// `api.anthropic.com`.
    Anthropic,
}

impl UsageService {
    /// Where it answers.
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com",
            Self::Anthropic => "https://api.anthropic.com",
        }
    }
}

/// A report and a stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct ReportAsked<'a> {
    /// Path of the report.
    pub path: &'a str,
    /// What it is grouped by.
    pub group_by: &'a [&'a str],
    /// By the day, otherwise by the hour.
    pub daily: bool,
    /// Start of the first bucket.
    pub from: Timestamp,
    /// End of the last.
    pub to: Timestamp,
}

/// A bucket of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageBucket {
    /// Its start.
    pub start: Timestamp,
    /// It as it came, JSON.
    pub json: String,
}

/// The reports of one organization.
#[derive(Debug)]
pub struct UsageApi {
    http: Client,
    service: UsageService,
    endpoint: String,
    key: Secret,
    /// The service asked not to be asked before.
    not_before: Option<Instant>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    has_more: bool,
    next_page: Option<String>,
}

#[derive(Deserialize)]
struct Start {
    start_time: Option<i64>,
    starting_at: Option<String>,
}

impl UsageApi {
    /// A client with the admin key at `key`, which is read at each request.
    ///
    /// # Errors
    /// The HTTP client can't be made.
    pub fn open(service: UsageService, endpoint: Option<&str>, key: Secret) -> Result<Self, ServiceError> {
        let http = Client::builder().connect_timeout(CONNECT).timeout(ANSWER).build();
        let http = http.map_err(|error| ServiceError::new("an HTTP client".to_owned(), error.to_string(), None))?;
        let endpoint = endpoint.unwrap_or_else(|| service.endpoint()).trim_end_matches('/').to_owned();
        Ok(Self { http, service, endpoint, key, not_before: None })
    }

    /// All buckets of the stretch.
    ///
    /// # Errors
    /// The service refused, did not answer, or answered what is no report.
    pub async fn buckets(&mut self, asked: ReportAsked<'_>) -> Result<Vec<UsageBucket>, ServiceError> {
        let (mut buckets, mut page) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let body = self.page(asked, page.as_deref()).await?;
            let unreadable = |why: &str| ServiceError::new(format!("reading {}", asked.path), why.to_owned(), None);
            let answer: Page<'_> = serde_json::from_slice(&body).map_err(|_| unreadable("the answer is no report"))?;
            for bucket in answer.data {
                let start = start_of(bucket).ok_or_else(|| unreadable("a bucket has no readable start"))?;
                buckets.push(UsageBucket { start, json: bucket.get().to_owned() });
            }
            match answer.next_page.filter(|_| answer.has_more) {
                None => return Ok(buckets),
                Some(next) if Some(&next) == page.as_ref() => break,
                next => page = next,
            }
        }
        Err(ServiceError::new(format!("reading {}", asked.path), "the pages do not end".to_owned(), None))
    }

    async fn page(&mut self, asked: ReportAsked<'_>, page: Option<&str>) -> Result<Vec<u8>, ServiceError> {
        let what = || format!("reading {}", asked.path);
        if let Some(until) = self.not_before.filter(|until| *until > Instant::now()) {
            let left = until.saturating_duration_since(Instant::now()).as_secs();
            let why = format!("the service asked to wait for another {left} s");
            return Err(ServiceError::new(what(), why, Some("429".to_owned())));
        }
        let key = self.key.read().map_err(|error| ServiceError::new(what(), error.to_string(), None))?;
        let request = self.http.get(format!("{}{}", self.endpoint, asked.path));
        let (request, query) = match self.service {
            UsageService::OpenAi => (request.bearer_auth(key), openai(asked, page)),
            UsageService::Anthropic => {
                let request = request.header("x-api-key", key).header("anthropic-version", "2023-06-01");
                (request, anthropic(asked, page))
            }
        };
        let failed =
            |error: reqwest::Error| ServiceError::new(what(), crate::telemetry::chain(&error.without_url()), None);
        let answer = request.query(&query).send().await.map_err(failed)?;
        let status = answer.status();
        let pause = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = answer.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            let pause = pause.map(|seconds: u64| Duration::from_secs(seconds).min(LONGEST_PAUSE));
            self.not_before = pause.map(|pause| Instant::now() + pause);
        }
        // Both answer {"error": {"message": …}}, which names the fault and not the key.
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = said.pointer("/error/message").and_then(|text| text.as_str()).unwrap_or_default();
        let said: String = said.chars().take(300).collect();
        Err(ServiceError::new(what(), format!("{status} {said}"), Some(status.as_u16().to_string())))
    }
}

fn width(asked: ReportAsked<'_>) -> (&'static str, &'static str) {
    if asked.daily { ("1d", "31") } else { ("1h", "168") }
}

fn openai(asked: ReportAsked<'_>, page: Option<&str>) -> Vec<(&'static str, String)> {
    let (width, limit) = width(asked);
    let seconds = |at: Timestamp| at.0.div_euclid(SECOND_US).to_string();
    let mut query = vec![
        ("start_time", seconds(asked.from)),
        ("end_time", seconds(asked.to)),
        ("bucket_width", width.to_owned()),
        ("limit", limit.to_owned()),
    ];
    query.extend(asked.group_by.iter().map(|key| ("group_by", (*key).to_owned())));
    query.extend(page.map(|page| ("page", page.to_owned())));
    query
}

fn anthropic(asked: ReportAsked<'_>, page: Option<&str>) -> Vec<(&'static str, String)> {
    let (width, limit) = width(asked);
    let mut query = vec![
        ("starting_at", asked.from.to_string()),
        ("ending_at", asked.to.to_string()),
        ("bucket_width", width.to_owned()),
        ("limit", limit.to_owned()),
    ];
    query.extend(asked.group_by.iter().map(|key| ("group_by[]", (*key).to_owned())));
    query.extend(page.map(|page| ("page", page.to_owned())));
    query
}

fn start_of(bucket: &RawValue) -> Option<Timestamp> {
    let start: Start = serde_json::from_str(bucket.get()).ok()?;
    match (start.start_time, start.starting_at) {
        (Some(seconds), _) => seconds.checked_mul(SECOND_US).map(Timestamp),
        (None, Some(text)) => Timestamp::parse(&text),
        (None, None) => None,
    }
}
