//! Failed calls without any id that two instrumentations of one process describe, each in a trace of its own: neither ids
//! nor ancestry tell that they are one, but service, model and outcome are the same and they begin together.

use std::collections::{BTreeMap, VecDeque};

use super::count::{Links, Rule, Witnessed};
use super::link::{LinkKey, hashed};
use crate::model::{Observation, Outcome, Witness};

/// Two instrumentations see one call begin within this time: they sit in one process, one inside the other.
const TOGETHER_US: i64 = 50_000;
/// Width of a bucket of starts; two that begin together share one.
const BUCKET_US: i64 = 1_000_000;

/// Keys by which such a failed call could be found; none for what can be linked otherwise or has nothing in common
/// with others.
pub fn twin_keys(observation: &Observation) -> impl Iterator<Item = LinkKey> {
    let kin = kin(observation);
    let buckets = [observation.ts.0, observation.ts.0 + TOGETHER_US].map(|at| at.div_euclid(BUCKET_US));
    let second = (buckets[1] != buckets[0]).then_some(buckets[1]);
    [Some(buckets[0]), second]
        .into_iter()
        .flatten()
        .filter_map(move |bucket| kin.map(|(service, outcome)| hashed(7, service, &format!("{outcome} {bucket}"))))
}

/// Service and outcome of a client's failed span that bears no id.
fn kin(observation: &Observation) -> Option<(&str, Outcome)> {
    let outcome = observation.outcome.filter(|outcome| !matches!(outcome, Outcome::Ok | Outcome::Unknown))?;
    let nameless = observation.provider_request_id.is_none() && observation.response_id.is_none();
    let service = observation.service.as_deref()?;
    (nameless && observation.witness == Witness::Client && observation.trace_id.is_some()).then_some((service, outcome))
}

/// Joins each with the first that may be the same call, in order of start: of several calls that fail at once none is
/// joined to two.
pub fn join_twins(unique: &[Witnessed<'_>], counted: &dyn Fn(&usize) -> bool, sets: &mut Links) {
    let mut families: BTreeMap<(&str, Outcome), Vec<usize>> = BTreeMap::new();
    for (index, witnessed) in unique.iter().enumerate().filter(|(index, _)| counted(index)) {
        if let Some(kin) = kin(witnessed.observation) {
            families.entry(kin).or_default().push(index);
        }
    }
    let span = |index: usize| unique.get(index).map(|witnessed| witnessed.observation);
    for mut family in families.into_values().filter(|family| family.len() > 1) {
        family.sort_unstable_by_key(|index| span(*index).map(|span| (span.ts, span.observation_id)));
        // What one call is told by so far, oldest first.
        let mut open: VecDeque<Vec<usize>> = VecDeque::new();
        for index in family {
            let Some(this) = span(index) else { continue };
            let early = |told: &Vec<usize>| told.iter().any(|other| span(*other).is_some_and(|o| begin_apart(o, this)));
            while open.front().is_some_and(early) {
                open.pop_front();
            }
            let fits = |other: &usize, sets: &mut Links| {
                span(*other).is_some_and(|other| same_call(other, this)) && sets.root(*other) != sets.root(index)
            };
            match open.iter_mut().find(|told| told.iter().all(|other| fits(other, sets))) {
                Some(told) => {
                    told.first().into_iter().for_each(|first| sets.join(*first, index, Rule::Twin));
                    told.push(index);
                }
                None => open.push_back(vec![index]),
            }
        }
    }
}

fn begin_apart(earlier: &Observation, later: &Observation) -> bool {
    later.ts.0 - earlier.ts.0 > TOGETHER_US
}

/// Two tellers of one failure: another instrumentation, no other model, no other status, at the same time.
fn same_call(a: &Observation, b: &Observation) -> bool {
    let differ = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
    let statuses = a.http_status.zip(b.http_status).is_none_or(|(a, b)| a == b);
    let (first, second) = if a.ts <= b.ts { (a, b) } else { (b, a) };
    let overlap = first.duration_ms.is_some_and(|ms| {
        let gap = std::time::Duration::from_micros(second.ts.0.abs_diff(first.ts.0));
        gap.as_secs_f64() * 1e3 <= ms
    });
    // Within one trace ancestry tells what is one call.
    a.dialect != b.dialect
        && a.trace_id != b.trace_id
        && !differ(&a.environment, &b.environment)
        && statuses
        && overlap
        && one_model(a, b)
}

/// Some libraries cut the region and the vendor off a model's name.
fn one_model(a: &Observation, b: &Observation) -> bool {
    let (Some(a), Some(b)) = (&a.request_model, &b.request_model) else { return false };
    a.ends_with(b.as_str()) || b.ends_with(a.as_str())
}
