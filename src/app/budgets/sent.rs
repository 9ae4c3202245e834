//! What was sent, in the store: an alert is sent once for each budget, month, threshold and receiver, whatever is restarted
//! and however many replicas look at the same budgets.
//!
//! `alerts/<hash>.json` is created by whoever sends first; who finds it there leaves it alone, unless its maker has shown no
//! sign of life for [`LEASE_US`]. A process that dies between sending and saying so makes the next one send again: an alert
//! may come twice after a crash, never not at all.

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::finance::budget::Alert;
use crate::model::{MINUTE_US, Timestamp};
use crate::sheet::content_hash;
use crate::store::{Store, StoreError};

/// After so long without a sign another process takes over.
pub const LEASE_US: i64 = 10 * MINUTE_US;

#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    budget: String,
    month: String,
    kind: String,
    threshold_percent: String,
    receiver: String,
    /// Who sends: a random number.
    by: String,
    /// `sending` or `sent`.
    state: String,
    /// When that was said.
    at: String,
}

/// Whose an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This process is to send it now.
    Mine,
    /// Another one is sending it.
    Others,
    /// It was sent.
    Sent,
}

/// The alerts of one receiver, as the store remembers them.
pub struct Sent {
    store: Store,
    receiver: String,
    by: String,
}

impl Sent {
    pub fn new(store: Store, receiver: String) -> Self {
        Self { store, receiver, by: format!("{:016x}", crate::delta::unique_number()) }
    }

    fn name(&self, alert: &Alert) -> String {
        format!("alerts/{}.json", content_hash(&[alert.identity(), self.receiver.clone()]))
    }

    async fn found(&self, name: &str) -> Result<Option<Claim>, StoreError> {
        // What can't be read is taken for nobody's.
        Ok(self.store.read(name).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn write(&self, alert: &Alert, state: &str, replace: bool, clock: &dyn Clock) -> Result<(), StoreError> {
        let claim = Claim {
            budget: alert.budget.clone(),
            month: alert.month.to_string(),
            kind: alert.kind.as_str().to_owned(),
            threshold_percent: alert.percent.normalize().to_string(),
            receiver: self.receiver.clone(),
            by: self.by.clone(),
            state: state.to_owned(),
            at: clock.now().to_string(),
        };
        let bytes = serde_json::to_vec_pretty(&claim).unwrap_or_default();
        self.store.keep(&self.name(alert), bytes, replace).await
    }

    /// Whether this process is to send the alert now. Only one of those that ask at once is.
    pub async fn claim(&self, alert: &Alert, clock: &dyn Clock) -> Result<Claimed, StoreError> {
        let name = self.name(alert);
        match self.found(&name).await? {
            Some(claim) if claim.state == "sent" => return Ok(Claimed::Sent),
            Some(claim) if claim.by != self.by => {
                let since = Timestamp::parse(&claim.at).unwrap_or_default();
                if clock.now().0 < since.0.saturating_add(LEASE_US) {
                    return Ok(Claimed::Others);
                }
                self.write(alert, "sending", true, clock).await?;
            }
            Some(_) => self.write(alert, "sending", true, clock).await?,
            None => self.write(alert, "sending", self.store.read(&name).await?.is_some(), clock).await?,
        }
        let mine = self.found(&name).await?.is_some_and(|claim| claim.by == self.by);
        Ok(if mine { Claimed::Mine } else { Claimed::Others })
    }

    /// Says that it was sent.
    pub async fn done(&self, alert: &Alert, clock: &dyn Clock) -> Result<(), StoreError> {
        self.write(alert, "sent", true, clock).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::finance::budget::AlertKind;

    fn alert(percent: i64) -> Alert {
        Alert {
            budget: "b".into(),
            month: "2026-10".parse().unwrap(),
            kind: AlertKind::Reached,
            percent: percent.into(),
            on: chrono::NaiveDate::default(),
            amount: 1.into(),
            currency: "USD".into(),
            spent: 1.into(),
            expected: None,
            filter: String::new(),
            month_ends: Timestamp::default(),
        }
    }

    #[tokio::test]
    async fn one_of_several_replicas_sends_and_another_takes_over_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_str().unwrap()).await.unwrap();
        let clock = ManualClock::at(Timestamp(1_791_201_600_000_000));
        let of = |receiver: &str| Sent::new(store.clone(), receiver.to_owned());
        let (one, other) = (of("hook"), of("hook"));
        assert_eq!(one.claim(&alert(80), &clock).await.unwrap(), Claimed::Mine);
        assert_eq!(other.claim(&alert(80), &clock).await.unwrap(), Claimed::Others, "another one sends it");
        assert_eq!(one.claim(&alert(80), &clock).await.unwrap(), Claimed::Mine, "it may try again");
        assert_eq!(
            other.claim(&alert(100), &clock).await.unwrap(),
            Claimed::Mine,
            "another threshold is another alert"
        );
        assert_eq!(of("mail").claim(&alert(80), &clock).await.unwrap(), Claimed::Mine, "another receiver has its own");
        clock.set(clock.now().plus(LEASE_US));
        assert_eq!(other.claim(&alert(80), &clock).await.unwrap(), Claimed::Mine, "it has shown no sign of life");
        assert_eq!(one.claim(&alert(80), &clock).await.unwrap(), Claimed::Others);
        other.done(&alert(80), &clock).await.unwrap();
        clock.set(clock.now().plus(1_000 * LEASE_US));
        for sent in [&one, &other, &of("hook")] {
            assert_eq!(sent.claim(&alert(80), &clock).await.unwrap(), Claimed::Sent, "it was sent");
        }
    }
}
