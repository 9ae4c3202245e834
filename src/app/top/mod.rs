//! `polymeter top`: what each platform and model does now, over the HTTP API of a running `serve`.

mod draw;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock::{Clock, SystemClock};

/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clears the screen and goes to its first corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// What to show.
#[derive(Clone, Debug)]
pub struct TopOptions {
    /// The API.
    pub url: String,
    /// A file with a token.
    pub token_file: Option<PathBuf>,
    /// How far back.
    pub window: Duration,
    /// Time between two looks.
    pub every: Duration,
    /// Once instead of again and again.
    pub once: bool,
}

/// A row of the named query `live`.
#[derive(Debug, Deserialize)]
struct Row {
    platform: Option<String>,
    model: Option<String>,
    currency: Option<String>,
    calls: u64,
    error_rate: Option<f64>,
    throttle_rate: Option<f64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    ttft_p95_ms: Option<f64>,
    tokens: Option<u64>,
    // As it is written: money is no float.
    cost: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Live {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Sources {
    sources: BTreeMap<String, Value>,
}

/// Shows it until it is interrupted; once where nobody watches.
///
/// # Errors
/// The server can't be asked.
pub async fn top(options: TopOptions) -> anyhow::Result<()> {
    let server = Server::new(&options)?;
    let watched = std::io::stdout().is_terminal() && !options.once;
    let mut failed = None;
    loop {
        let now = SystemClock.now();
        let asked = server.look(options.window).await;
        let text = match asked {
            Ok((live, sources)) => {
                failed = None;
                draw::table(&live.rows, &sources, options.window, now)
            }
            Err(error) if watched && failed.is_some() => format!("{error:#}\ntrying again\n"),
            // The first failure is more likely a wrong address than a restart.
            Err(error) if failed.is_none() && !watched => return Err(error),
            Err(error) => {
                failed = Some(());
                format!("{error:#}\ntrying again\n")
            }
        };
        let clear = if watched { CLEAR } else { "" };
        write!(std::io::stdout(), "{clear}{text}")?;
        std::io::stdout().flush()?;
        if !watched {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(options.every) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

struct Server {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Server {
    fn new(options: &TopOptions) -> anyhow::Result<Self> {
        let token = match &options.token_file {
            Some(file) => {
                let read = std::fs::read_to_string(file);
                Some(read.with_context(|| format!("{} can't be read", file.display()))?.trim().to_owned())
            }
            None => std::env::var("POLYMETER_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let client = Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { client, url: options.url.trim_end_matches('/').to_owned(), token })
    }

    async fn look(&self, window: Duration) -> anyhow::Result<(Live, Vec<(String, Value)>)> {
        let from = SystemClock.now().before(window);
        let live = self.get(&format!("/api/v1/queries/live?from={from}")).await?;
        // Who sees a part of the rows is not told of sources.
        let sources: Option<Sources> = self.get("/api/v1/sources").await.ok();
        Ok((live, sources.map(|all| all.sources.into_iter().collect()).unwrap_or_default()))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = self.client.get(format!("{}{path}", self.url));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.with_context(|| {
            format!("nothing answers at {}; start `polymeter serve`, or name another address with --url", self.url)
        })?;
        match answer.status() {
            status if status.is_success() => Ok(serde_json::from_slice(&answer.bytes().await?)?),
            StatusCode::UNAUTHORIZED => bail!("{} asks for a log-in; set POLYMETER_TOKEN or --token-file", self.url),
            status => {
                let body: Value = answer.json().await.unwrap_or_default();
                let told = body.pointer("/error/message").and_then(Value::as_str);
                bail!("{} answers {status}: {}", self.url, told.unwrap_or("nothing more"))
            }
        }
    }
}
