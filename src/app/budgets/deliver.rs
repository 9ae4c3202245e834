//! Sends alerts to one receiver: bounded in time, with jittered pauses between attempts, and without ever writing down where
//! to: the path of a webhook is its password.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::sent::{Claimed, Sent};
use crate::clock::Clock;
use crate::collect::backoff::Backoff;
use crate::config::{AlertTarget, AlertTargetKind, UrlSource};
use crate::finance::budget::Alert;
use crate::store::Store;
use crate::telemetry::metrics;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Attempts before others have their turn; the next look tries again.
const ATTEMPTS: u32 = 6;

/// Brings alerts to one receiver.
pub struct Courier {
    target: AlertTarget,
    client: reqwest::Client,
    sent: Sent,
    clock: Arc<dyn Clock>,
}

impl Courier {
    pub fn new(target: AlertTarget, store: Store, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER)
            // An answer that leads elsewhere would get what it was not meant for.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client for alerts can't be set up")?;
        let sent = Sent::new(store, target.name.clone());
        Ok(Self { target, client, sent, clock })
    }

    /// Sends what is due, until the server ends.
    pub async fn run(self, mut due: watch::Receiver<Arc<Vec<Alert>>>, cancel: CancellationToken) {
        let mut known = HashSet::new();
        loop {
            let alerts = Arc::clone(&due.borrow_and_update());
            for alert in alerts.iter() {
                if known.contains(&alert.identity()) {
                    continue;
                }
                tokio::select! {
                    () = cancel.cancelled() => return,
                    settled = self.bring(alert) => if settled {
                        known.insert(alert.identity());
                    },
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = due.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// True if nothing is left to be done about it.
    async fn bring(&self, alert: &Alert) -> bool {
        let receiver = &self.target.name;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        for attempt in 1..=ATTEMPTS {
            // Each attempt is a sign of life to other replicas.
            match self.sent.claim(alert, self.clock.as_ref()).await {
                Ok(Claimed::Mine) => {}
                Ok(Claimed::Sent) => return true,
                // Another one sends it: look again at the next turn, in case it dies.
                Ok(Claimed::Others) => return false,
                Err(error) => {
                    warn!(%receiver, error = %crate::telemetry::chain(&error), "the store can't say whether an alert was sent");
                    return false;
                }
            }
            match self.send(alert).await {
                Ok(()) => {
                    metrics::alert(receiver, true);
                    info!(%receiver, alert = %alert.summary(), "budget alert sent");
                    if let Err(error) = self.sent.done(alert, self.clock.as_ref()).await {
                        warn!(%receiver, error = %crate::telemetry::chain(&error), "an alert was sent, and the store can't keep that");
                    }
                    return true;
                }
                Err(error) => {
                    metrics::alert(receiver, false);
                    warn!(%receiver, attempt, error = %error, "budget alert not sent, will retry");
                }
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
        false
    }

    async fn send(&self, alert: &Alert) -> anyhow::Result<()> {
        let url = self.url()?;
        let (url, body) = match self.target.kind {
            AlertTargetKind::Webhook => (url, alert.json()),
            AlertTargetKind::Alertmanager => {
                let path = "/api/v2/alerts";
                let url = if url.ends_with(path) { url } else { format!("{}{path}", url.trim_end_matches('/')) };
                (url, alert.alertmanager(self.clock.now()))
            }
        };
        // An error of the client names the URL.
        let answer = self.client.post(url).json(&body).send().await.map_err(reqwest::Error::without_url)?;
        if !answer.status().is_success() {
            bail!("the receiver answered {}", answer.status().as_u16());
        }
        Ok(())
    }

    fn url(&self) -> anyhow::Result<String> {
        let url = match &self.target.url {
            UrlSource::Plain(url) => url.clone(),
            UrlSource::Variable(name) => {
                std::env::var(name).with_context(|| format!("the environment variable {name} is not set"))?
            }
            UrlSource::File(path) => {
                std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?
            }
        };
        Ok(url.trim().to_owned())
    }
}
