//! Settlers on one store, on a clock of the test's: what one leaves, another finds, and no witness is forgotten.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{HotSet, Settler, Tables};
use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::journal::{Missing, Positions, read_tail};
use crate::ledger::Retention;
use crate::model::{
    HOUR_US, Interval, MINUTE_US, Observation, Rows, Timestamp, Usage, UsageStatus, Witness, fingerprint,
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
        self.journal(observations).await;
        self.settle_journal(settler, horizon).await;
    }

    async fn journal(&self, observations: Vec<Observation>) {
        let journal = Tables::open(&self.store).await.unwrap().journal(&self.store, "w", None).await.unwrap();
        let rows = Rows { observations: observations.into_iter().map(Arc::new).collect(), ..Rows::default() };
        journal.append(rows, Positions::default()).await.unwrap();
    }

    async fn settle_journal(&self, settler: &mut Settler, horizon: Timestamp) {
        settler.tables.refresh().await.unwrap();
        let covered = settler.tables.covered(&self.store).await.unwrap();
        let (tail, _) = read_tail(&self.store, &covered, usize::MAX, Missing::Refuse).await.unwrap();
        let now = horizon.plus(15 * MINUTE_US);
        settler.settle(&tail, horizon, &self.rules, now).await.unwrap();
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

/// As a backfill settles: newcomers are added to slices that hold calls already, and what is linked to something older
/// is still merged with it.
#[tokio::test]
async fn newcomers_are_added_and_the_others_merged() {
    let place = Place::new().await;
    let mut settler = place.settler(Retention::default()).await;
    settler.newcomers_from = 2;
    let (horizon, at) = (MIDNIGHT.plus(DAY_US), |minutes: i64| MIDNIGHT.plus(minutes * MINUTE_US));
    let call = |n: i64, minutes: i64| witness(&format!("o{n}"), &format!("c{n}"), at(minutes), Some(10));
    let half =
        |side: &str, n: i64, minutes: i64, input| witness(&format!("{side}{n}"), &format!("c{n}"), at(minutes), input);
    place
        .settle(&mut settler, (0..20).map(|n| call(n, 7 * n)).chain([half("a", 90, 3, None)]).collect(), horizon)
        .await;
    assert_eq!(place.audited(&mut settler).await, (21, 200));
    let files = |settler: &Settler| settler.tables.calls.table().files().unwrap().len();
    assert_eq!(files(&settler), 1);

    // All new, in the slices of the first; some over midnight.
    place.settle(&mut settler, (20..60).map(|n| call(n, 7 * (n - 30) + 1)).collect(), horizon).await;
    assert_eq!(place.audited(&mut settler).await, (61, 600));
    assert_eq!(files(&settler), 3, "one more for each day, and none replaced");

    // A witness of an old call, a copy of an old record, and among newcomers near and far one call of two witnesses.
    let mixed = vec![
        half("b", 90, 4, Some(1000)),
        call(5, 35),
        call(61, 2),
        half("a", 62, 700, None),
        half("b", 62, 701, Some(5)),
        call(63, 709),
    ];
    place.settle(&mut settler, mixed.clone(), horizon).await;
    assert_eq!(place.audited(&mut settler).await, (64, 1625));
    // Delivered once more: nothing changes, whichever way it goes.
    place.settle(&mut settler, mixed.clone(), horizon).await;
    settler.newcomers_from = usize::MAX;
    place.settle(&mut settler, mixed, horizon).await;
    assert_eq!(place.audited(&mut settler).await, (64, 1625));

    // Merged files hold the same, and a slice that lay in several is replaced in all of them.
    settler.upkeep(horizon.plus(40 * DAY_US), 10).await.unwrap();
    assert_eq!(files(&settler), 2);
    place.settle(&mut settler, vec![half("c", 61, 2, Some(10)), half("c", 25, -34, Some(10))], horizon).await;
    assert_eq!(place.audited(&mut settler).await, (64, 1625));
}

/// What a settle put into the archive before it died is no newcomer the next time, and counts once all the same.
#[tokio::test]
async fn what_the_archive_holds_already_is_settled_all_the_same() {
    let place = Place::new().await;
    let mut settler = place.settler(Retention::default()).await;
    settler.newcomers_from = 2;
    let horizon = MIDNIGHT.plus(DAY_US);
    let calls: Vec<_> =
        (0..30).map(|n| witness(&format!("o{n}"), &format!("c{n}"), MIDNIGHT.plus(n * MINUTE_US), Some(1))).collect();
    let marks = BTreeMap::from([("w".to_owned(), 1)]);
    place.journal(calls.clone()).await;
    settler.tables.archive.append(&calls.iter().collect::<Vec<_>>(), &marks).await.unwrap();
    place.settle_journal(&mut settler, horizon).await;
    assert_eq!(place.audited(&mut settler).await, (30, 30));
}

/// When memory is short the horizon is one of a minute, inside a slice: that slice is computed again when it has passed.
#[tokio::test]
async fn newcomers_beside_a_horizon_inside_a_slice_count_once() {
    let place = Place::new().await;
    let mut settler = place.settler(Retention::default()).await;
    settler.newcomers_from = 2;
    let at = |minutes: i64| MIDNIGHT.plus(minutes * MINUTE_US);
    let calls = |run: &str, from: i64, to: i64| -> Vec<_> {
        (from..to).map(|n| witness(&format!("{run}{n}"), &format!("{run}{n}"), at(n), Some(1))).collect()
    };
    place.settle(&mut settler, calls("a", -60, -50), at(14)).await;
    place.settle(&mut settler, calls("b", -30, 14), at(14)).await;
    assert_eq!(place.audited(&mut settler).await, (54, 54));
    place.settle(&mut settler, calls("c", -30, 20), at(19)).await;
    place.settle(&mut settler, calls("d", -30, 20), at(30)).await;
    assert_eq!(place.audited(&mut settler).await, (154, 154));
}
