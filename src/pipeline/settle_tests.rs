//! Settlers on one store, on a clock of the test's: what one leaves, another finds, and no witness is forgotten.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{HotSet, Settler, Tables};
use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::journal::{Missing, Positions, read_tail};
use crate::ledger::Retention;
use crate::model::{
    HOUR_US, Interval, MINUTE_US, Observation, Rows, SLICE_US, Timestamp, Usage, UsageStatus, Witness, fingerprint,
};
use crate::pricing::PriceBook;
use crate::settle::Rules;
use crate::store::Store;

const DAY_US: i64 = 24 * HOUR_US;
/// A midnight.
const MIDNIGHT: Timestamp = Timestamp(20_718 * DAY_US);

/// All of it.
const RANGE: Interval = Interval { from: Timestamp(0), to: Timestamp(30_000 * DAY_US) };

struct Place {
    _dir: tempfile::TempDir,
    store: Store,
    rules: Arc<Rules>,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().display().to_string()).await.unwrap();
        let rules = Arc::new(Rules {
            catalog: Catalog::bundled().unwrap(),
            attribution: Attribution::default(),
            prices: PriceBook::bundled().unwrap(),
        });
        Self { _dir: dir, store, rules }
    }

    async fn settler(&self, retention: Retention) -> Settler {
        Settler::new(&self.store, Tables::open(&self.store).await.unwrap(), retention, Duration::from_secs(60))
    }

    /// Journals observations as `writer` and settles what the journal holds.
    async fn settle(&self, settler: &mut Settler, observations: Vec<Observation>, horizon: Timestamp) {
        let journal = Tables::open(&self.store).await.unwrap().journal(&self.store, "w", None).await.unwrap();
        let rows = Rows { observations: observations.into_iter().map(Arc::new).collect(), ..Rows::default() };
        journal.append(rows, Positions::default()).await.unwrap();
        settler.tables.refresh().await.unwrap();
        let covered = settler.tables.covered(&self.store).await.unwrap();
        let (tail, _) = read_tail(&self.store, &covered, usize::MAX, Missing::Refuse).await.unwrap();
        let now = horizon.plus(15 * MINUTE_US);
        settler.settle(&tail, horizon.floor(SLICE_US), &self.rules, now).await.unwrap();
        // So that another settler on this store can have it.
        let mut tables = settler.tables.clone();
        settler.role.release(&mut tables).await.unwrap();
    }

    /// The ledger and what the archive says now must agree; gives calls and input tokens.
    async fn audited(&self, settler: &mut Settler) -> (u64, u64) {
        let audit = settler.audit(RANGE, &self.rules, MIDNIGHT, |_| {}).await.unwrap();
        assert_eq!(audit.differing, 0, "{:?}", audit.differences);
        (audit.ledger.calls, audit.ledger.input_tokens)
    }
}

/// One witness of the call `id`.
fn witness(name: &str, id: &str, ts: Timestamp, input: Option<u64>) -> Observation {
    Observation {
        observation_id: fingerprint([name.as_bytes()]),
        source: "s".into(),
        witness: Witness::Client,
        ts,
        observed_at: ts,
        response_id: Some(format!("chatcmpl-{id}")),
        platform: Some("openai".into()),
        usage: Usage { input, ..Usage::default() },
        usage_status: if input.is_some() { UsageStatus::Measured } else { UsageStatus::Missing },
        ..Observation::default()
    }
}

#[tokio::test]
async fn a_settler_learns_what_another_settled_behind_the_same_horizon() {
    let place = Place::new().await;
    let horizon = MIDNIGHT.plus(12 * HOUR_US);
    let (mut a, mut b) = (place.settler(Retention::default()).await, place.settler(Retention::default()).await);
    place.settle(&mut a, vec![witness("first", "first", horizon.plus(-MINUTE_US), None)], horizon).await;
    // What A remembers is of this horizon; B settles a late call close before it.
    place.settle(&mut a, vec![witness("near", "near", horizon.plus(MINUTE_US), None)], horizon).await;
    place.settle(&mut b, vec![witness("x", "x", horizon.plus(-50_000_000), None)], horizon).await;
    place.settle(&mut a, vec![witness("old", "old", horizon.plus(-5 * HOUR_US), None)], horizon).await;
    // The witness with the tokens starts behind the horizon and belongs to B's call.
    place.settle(&mut a, vec![witness("y", "x", horizon.plus(MINUTE_US), Some(1000))], horizon).await;
    assert_eq!(place.audited(&mut a).await, (3, 1000));
}

#[tokio::test]
async fn a_call_that_reaches_over_the_horizon_is_remembered_from_every_run() {
    let place = Place::new().await;
    let mut settler = place.settler(Retention::default()).await;
    let at = |minutes: i64| MIDNIGHT.plus(minutes * MINUTE_US);
    place.settle(&mut settler, vec![witness("first", "first", at(-30), None)], at(-20)).await;
    // One call from before midnight to behind the next horizon.
    let outer = witness("x", "x", at(-2), None);
    let inner = Observation {
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        span_id: Some("00f067aa0ba902b7".into()),
        ..witness("z", "x", at(12), None)
    };
    place.settle(&mut settler, vec![outer, inner], at(-20)).await;
    // The horizon passes midnight in one step, which no run of slices does.
    place.settle(&mut settler, vec![witness("other", "other", at(-25), None)], at(10)).await;
    let child = Observation {
        response_id: None,
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        span_id: Some("00f067aa0ba902b8".into()),
        parent_span_id: Some("00f067aa0ba902b7".into()),
        ..witness("y", "", at(13), Some(1000))
    };
    place.settle(&mut settler, vec![child], at(10)).await;
    assert_eq!(place.audited(&mut settler).await, (3, 1000));
}

#[tokio::test]
async fn a_clock_that_was_set_right_does_not_settle_the_years_between() {
    let place = Place::new().await;
    let mut settler = place.settler(Retention::default()).await;
    place.settle(&mut settler, vec![witness("a", "a", Timestamp(5 * MINUTE_US), Some(1))], Timestamp(HOUR_US)).await;
    place.settle(&mut settler, vec![witness("b", "b", MIDNIGHT, Some(2))], MIDNIGHT.plus(HOUR_US)).await;
    assert_eq!(place.audited(&mut settler).await, (2, 3));
}

#[tokio::test]
async fn a_clock_that_runs_ahead_expires_nothing() {
    let place = Place::new().await;
    let keep = Retention { archive: Some(Duration::from_secs(90 * 86_400)), ..Retention::default() };
    let mut settler = place.settler(keep).await;
    let observations = (0..3).map(|n| witness(&n.to_string(), &n.to_string(), MIDNIGHT.plus(-n * DAY_US), Some(1)));
    place.settle(&mut settler, observations.collect(), MIDNIGHT.plus(HOUR_US)).await;
    let report = settler.upkeep(MIDNIGHT.plus(400 * DAY_US), 10).await.unwrap();
    assert_eq!(report.expired_files, 0);
    assert_eq!(place.audited(&mut settler).await, (3, 3));
}

#[tokio::test]
async fn a_late_witness_beyond_the_archive_finds_its_call_over_midnight() {
    let place = Place::new().await;
    let keep = Retention { archive: Some(Duration::from_secs(3 * 86_400)), ..Retention::default() };
    let mut settler = place.settler(keep).await;
    let call = witness("call", "c", MIDNIGHT.plus(-MINUTE_US), Some(100));
    let later = MIDNIGHT.plus(10 * DAY_US);
    place.settle(&mut settler, vec![call, witness("new", "new", later, Some(1))], later.plus(HOUR_US)).await;
    let expired = settler.upkeep(later, 10).await.unwrap().expired_files;
    assert!(expired > 0);
    place
        .settle(&mut settler, vec![witness("late", "c", MIDNIGHT.plus(MINUTE_US), Some(100))], later.plus(HOUR_US))
        .await;
    let calls = settler.tables.calls.read(Interval::ALL).await.unwrap();
    assert_eq!(calls.len(), 2, "{calls:?}");
}

/// Memory is short: of a settled call only the keys are kept, and its next witness is held until the store tells.
#[tokio::test]
async fn a_held_witness_that_another_settled_is_asked_for_and_not_shown_beside_its_call() {
    let place = Place::new().await;
    let horizon = MIDNIGHT;
    let call = witness("x", "x", horizon.plus(-MINUTE_US), None);
    let own = witness("y", "x", horizon.plus(MINUTE_US), Some(1000));
    let id = own.observation_id;
    let held = || {
        let mut hot = HotSet::from_archive(vec![Arc::new(call.clone())], Some(horizon), 0, &place.rules);
        assert!(hot.add(Arc::new(own.clone())), "a settle has to say what becomes of it");
        hot
    };
    let shown = |hot: &mut HotSet| hot.batches(&place.rules, horizon).unwrap().1;
    let mut hot = held();
    assert_eq!(shown(&mut hot), 0);
    assert!(hot.settled(Some(horizon), 0, &place.rules, &HashSet::new(), |_| true), "only the store knows");
    assert_eq!(shown(&mut hot), 0);
    // Our own settle found that it belongs to nothing in the ledger.
    let mut hot = held();
    assert!(!hot.settled(Some(horizon), 0, &place.rules, &HashSet::from([id]), |_| true));
    assert_eq!(shown(&mut hot), 1);
}
