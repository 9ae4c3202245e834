//! The calls of slices, and which slices new observations change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{LINK_WINDOW_US, Rules, Settled, group, settle};
use crate::model::{Call, Interval, MINUTE_US, Observation, RecordId, SLICE_US, Timestamp};

/// How far around a slice observations are read: witnesses may be linked through one in between, microseconds.
pub const MARGIN_US: i64 = 2 * LINK_WINDOW_US;

/// The slices that a witness in the minute of `ts` may change.
pub fn around(ts: Timestamp) -> impl Iterator<Item = Timestamp> {
    let from = ts.floor(MINUTE_US);
    Interval { from, to: from.plus(MINUTE_US) }.widened(MARGIN_US).slices()
}

/// Observations that no earlier settle has seen, as often as they were delivered. A copy of a record that was settled
/// before is no news.
#[derive(Clone, Debug, Default)]
pub struct News(HashMap<(RecordId, String), usize>);

impl News {
    /// The news of these deliveries.
    pub fn of<'a>(observations: impl Iterator<Item = &'a Arc<Observation>>) -> Self {
        let mut news = Self::default();
        for observation in observations {
            *news.0.entry((observation.observation_id, observation.source.clone())).or_default() += 1;
        }
        news
    }

    /// True where nothing is new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes back those of `observations` that lie in the tables already although the ledger does not cover them: they
    /// are as many copies as there are news of them, the latest read first.
    #[must_use]
    pub fn known(&self, mut observations: Vec<Arc<Observation>>) -> Vec<Arc<Observation>> {
        if self.is_empty() {
            return observations;
        }
        observations.sort_by_key(|observation| std::cmp::Reverse(observation.observed_at));
        let mut taken: HashMap<(RecordId, String), usize> = HashMap::new();
        observations.retain(|observation| {
            let key = (observation.observation_id, observation.source.clone());
            let Some(news) = self.0.get(&key) else { return true };
            let taken = taken.entry(key).or_default();
            *taken += 1;
            *taken > *news
        });
        observations
    }

    fn concern(&self, group: &[Arc<Observation>]) -> bool {
        !self.is_empty()
            && group.iter().any(|member| self.0.contains_key(&(member.observation_id, member.source.clone())))
    }
}

/// What the observations of an interval and its surroundings say about it.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    /// The calls of each slice of the interval that has any, sorted by start and id.
    pub calls: BTreeMap<Timestamp, Vec<Call>>,
    /// Slices that hold other calls than they would without the news.
    pub touched: BTreeSet<Timestamp>,
    /// News that became witnesses of calls in the interval.
    pub absorbed: HashSet<RecordId>,
    /// Witnesses of calls in the interval that start behind it.
    pub straddling: HashSet<RecordId>,
}

/// Computes the slices of `within`. `observations` must hold everything that may be linked to a call in it.
#[must_use]
pub fn slices(
    observations: Vec<Arc<Observation>>,
    within: Interval,
    news: &News,
    rules: &Rules,
    settled_at: Timestamp,
) -> Slices {
    let mut slices = Slices::default();
    for group in group(observations) {
        let after = settle(&group, rules, settled_at);
        let behind: HashSet<RecordId> =
            group.iter().filter(|member| member.ts >= within.to).map(|member| member.observation_id).collect();
        if news.concern(&group) {
            let before = settle(&news.known(group), rules, settled_at);
            slices.touched.extend(differing(&before, &after).filter(|start| within.contains(*start)));
            let here = after.iter().filter(|settled| within.contains(settled.call.ts));
            slices.absorbed.extend(here.flat_map(|settled| &settled.members));
        }
        for Settled { call, members } in after {
            if within.contains(call.ts) {
                slices.straddling.extend(members.iter().filter(|member| behind.contains(member)));
                slices.calls.entry(call.ts.floor(SLICE_US)).or_default().push(call);
            }
        }
    }
    for calls in slices.calls.values_mut() {
        calls.sort_by_key(|call| (call.ts, call.call_id));
    }
    slices
}

/// The slices in which two states of one group differ.
fn differing(before: &[Settled], after: &[Settled]) -> impl Iterator<Item = Timestamp> {
    let known: HashMap<RecordId, &Call> = before.iter().map(|settled| (settled.call.call_id, &settled.call)).collect();
    let now: HashMap<RecordId, &Call> = after.iter().map(|settled| (settled.call.call_id, &settled.call)).collect();
    let changed = |(id, call): (&RecordId, &&Call), other: &HashMap<RecordId, &Call>| other.get(id) != Some(call);
    let mut slices: BTreeSet<Timestamp> = BTreeSet::new();
    slices.extend(known.iter().filter(|entry| changed(*entry, &now)).map(|(_, call)| call.ts.floor(SLICE_US)));
    slices.extend(now.iter().filter(|entry| changed(*entry, &known)).map(|(_, call)| call.ts.floor(SLICE_US)));
    slices.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Attribution;
    use crate::catalog::Catalog;
    use crate::model::{HOUR_US, Outcome, Usage, UsageStatus, Witness, fingerprint};
    use crate::pricing::PriceBook;
    use crate::settle::Newcomers;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
        catalog: Catalog::bundled().unwrap(),
        attribution: Attribution::default(),
        prices: PriceBook::bundled().unwrap(),
    });
    const T0: Timestamp = Timestamp(1_790_000_000_000_000);

    /// A witness of call `n`: kinds differ in who speaks and in the ids that link them.
    fn witness(n: u64, kind: u8, skew_us: i64) -> Observation {
        let start = T0.plus(i64::try_from(n).unwrap() * 37_000_000 % (3 * HOUR_US));
        let text = |prefix: &str| Some(format!("{prefix}-{n}"));
        // Spans of four numbers are tries of one request.
        let shared = |prefix: &str| Some(format!("{prefix}-{}", n / 4));
        let usage = Usage { input: Some(100 + n), output: Some(n % 50), ..Usage::default() };
        let base = Observation {
            observation_id: fingerprint([&n.to_le_bytes()[..], &[kind]]),
            source: format!("source-{kind}"),
            ts: start.plus(skew_us),
            observed_at: start.plus(i64::from(kind) * 1000),
            platform: Some("aws.bedrock".into()),
            request_model: Some("anthropic.claude-sonnet-4-20250514-v1:0".into()),
            usage_status: UsageStatus::Measured,
            usage,
            ..Observation::default()
        };
        match kind {
            0 => Observation {
                witness: Witness::ProviderLog,
                provider_request_id: text("req"),
                account: Some("1".into()),
                region: Some("us-east-1".into()),
                outcome: Some(Outcome::Ok),
                ..base
            },
            1 => Observation {
                witness: Witness::Gateway,
                provider_request_id: text("req"),
                response_id: text("resp"),
                team: Some("search".into()),
                ..base
            },
            2 => Observation {
                witness: Witness::Client,
                response_id: text("resp"),
                trace_id: shared("trace"),
                span_id: text("span"),
                parent_span_id: shared("root"),
                duration_ms: Some(12.0),
                ..base
            },
            // An id that many answers share, for longer than any call lasts.
            6 => Observation {
                witness: Witness::Client,
                response_id: Some(format!("chatcmpl-shared-{}", n / 16)),
                trace_id: text("shared-id"),
                span_id: text("span"),
                usage: Usage { input: Some(100 + n / 20), output: Some(7), ..Usage::default() },
                ..base
            },
            // A failed try, and what another instrumentation says of it in a trace of its own.
            4 | 5 => Observation {
                witness: Witness::Client,
                dialect: format!("dialect-{kind}"),
                ts: start.plus(skew_us - 10_000_000 + i64::from(kind) * 1000),
                trace_id: if kind == 4 { shared("trace") } else { text("other") },
                span_id: text(if kind == 4 { "try" } else { "twin" }),
                parent_span_id: shared("root").filter(|_| kind == 4),
                service: Some("shop".into()),
                outcome: Some(Outcome::Throttled),
                duration_ms: Some(900.0),
                usage: Usage::default(),
                usage_status: UsageStatus::Missing,
                ..base
            },
            _ => Observation {
                witness: Witness::Context,
                trace_id: shared("trace"),
                span_id: shared("root"),
                feature: Some("chat".into()),
                usage: Usage::default(),
                usage_status: UsageStatus::Missing,
                ..base
            },
        }
    }

    fn all(observations: &[Observation]) -> BTreeMap<Timestamp, Vec<Call>> {
        let shared = observations.iter().cloned().map(Arc::new).collect();
        slices(shared, Interval::ALL, &News::default(), &RULES, T0).calls
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64), ..ProptestConfig::default() })]

        /// Whatever the order, the repetition, the split into deliveries and the delay: the slices are those of the set.
        #[test]
        fn slices_are_a_function_of_the_set_of_observations(
            kinds in proptest::collection::vec((0_u64..40, 0_u8..7, -5_i64..5), 1..120),
            order in proptest::collection::vec(any::<u32>(), 120),
            cuts in proptest::collection::vec(0_usize..240, 0..6),
            sorted_out in proptest::collection::vec(any::<bool>(), 7),
        ) {
            let mut set: Vec<Observation> =
                kinds.iter().map(|(n, kind, skew)| witness(*n, *kind, skew * MINUTE_US)).collect();
            // The same record has the same content whenever it is delivered.
            set.sort_by_key(|o| o.observation_id);
            set.dedup_by_key(|o| o.observation_id);
            let expected = all(&set);

            // Delivered in another order, some of them twice.
            let mut deliveries: Vec<Observation> = set.iter().chain(set.iter().step_by(3)).cloned().collect();
            let key = |index: usize| order[index % order.len()];
            let mut indices: Vec<usize> = (0..deliveries.len()).collect();
            indices.sort_by_key(|index| key(*index));
            deliveries = indices.iter().map(|index| deliveries[*index].clone()).collect();
            prop_assert_eq!(&all(&deliveries), &expected);

            // Delivered in parts, each settled on top of the others: only what is said to be touched is replaced, and
            // each touched slice is computed from its neighbourhood alone. Of some parts the newcomers are added.
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(deliveries.len())).collect();
            cuts.sort_unstable();
            cuts.push(deliveries.len());
            let margin = MARGIN_US;
            let (mut ledger, mut archive, mut from) = (BTreeMap::<_, Vec<Call>>::new(), Vec::<Arc<Observation>>::new(), 0);
            for (cut, sorted_out) in cuts.into_iter().zip(sorted_out) {
                let part: Vec<Arc<Observation>> = deliveries[from..cut].iter().cloned().map(Arc::new).collect();
                from = cut;
                let near = |o: &&Arc<Observation>| part.iter().any(|new| new.ts.0.abs_diff(o.ts.0) <= margin.unsigned_abs());
                let mut newcomers = Newcomers::new(part.clone(), |_| sorted_out);
                archive.iter().filter(near).for_each(|older| newcomers.meet(older));
                let arrivals = newcomers.sort_out(|_| true);
                let news = News::of(arrivals.others.iter().chain(&arrivals.beside));
                archive.extend(part);
                for start in arrivals.slices {
                    let slice = Interval { from: start, to: start.plus(SLICE_US) };
                    let near = slice.widened(margin);
                    let around = archive.iter().filter(|o| near.contains(o.ts)).cloned().collect();
                    let computed = slices(around, slice, &news, &RULES, T0);
                    if computed.touched.contains(&start) {
                        match computed.calls.into_values().next() {
                            Some(calls) => drop(ledger.insert(start, calls)),
                            None => drop(ledger.remove(&start)),
                        }
                    }
                }
                for Settled { call, .. } in arrivals.newcomers.iter().flat_map(|group| settle(group, &RULES, T0)) {
                    ledger.entry(call.ts.floor(SLICE_US)).or_default().push(call);
                }
            }
            ledger.values_mut().for_each(|calls| calls.sort_by_key(|call| (call.ts, call.call_id)));
            prop_assert_eq!(&ledger, &expected);
        }
    }

    #[test]
    fn a_copy_of_what_is_settled_touches_nothing() {
        let old = Arc::new(witness(1, 0, 0));
        let again = Arc::new(Observation { observed_at: T0.plus(HOUR_US), ..witness(1, 0, 0) });
        let news = News::of([&again].into_iter());
        let both = slices(vec![Arc::clone(&old), Arc::clone(&again)], Interval::ALL, &news, &RULES, T0);
        assert!(both.touched.is_empty());
        let first = slices(vec![again], Interval::ALL, &news, &RULES, T0);
        assert_eq!(first.touched.len(), 1);
    }
}
