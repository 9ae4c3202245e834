//! Which observations might belong together: a coarse, fast grouping over every id they carry. What is in different
//! groups never meets; inside a group [`super::count`] decides exactly.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::twins::twin_keys;
use crate::model::Observation;

/// A hash of one id. A collision only makes a group larger than it need be.
pub type LinkKey = u64;

/// The ids by which an observation can be linked to others.
pub fn link_keys(observation: &Observation) -> impl Iterator<Item = LinkKey> {
    let trace = observation.trace_id.as_deref().map(|id| hashed(4, id, ""));
    // The tries of one request are different calls, but each has its number among them.
    let chain = observation.chain_id.as_deref().map(|id| hashed(8, id, ""));
    ids(observation).chain(trace).chain(chain)
}

/// What a settled observation offers to later ones to link to. Unlike [`link_keys`] this is exact for spans: a trace may
/// be long, only a parent and its child touch.
pub fn offered_keys(observation: &Observation) -> impl Iterator<Item = LinkKey> {
    ids(observation).chain(span_key(5, observation, observation.span_id.as_deref())).chain(span_key(
        6,
        observation,
        observation.parent_span_id.as_deref(),
    ))
}

/// What a later observation looks for among the [`offered_keys`].
pub fn sought_keys(observation: &Observation) -> impl Iterator<Item = LinkKey> {
    ids(observation).chain(span_key(5, observation, observation.parent_span_id.as_deref())).chain(span_key(
        6,
        observation,
        observation.span_id.as_deref(),
    ))
}

fn ids(observation: &Observation) -> impl Iterator<Item = LinkKey> {
    let mut own = DefaultHasher::new();
    (0_u8, observation.observation_id).hash(&mut own);
    let ids = [
        Some(own.finish()),
        observation.provider_request_id.as_deref().map(|id| hashed(1, id, "")),
        observation.response_id.as_deref().map(|id| hashed(2, id, "")),
        observation.gateway_request_id.as_deref().map(|id| hashed(3, id, "")),
    ];
    ids.into_iter().flatten().chain(twin_keys(observation))
}

fn span_key(kind: u8, observation: &Observation, span: Option<&str>) -> Option<LinkKey> {
    Some(hashed(kind, observation.trace_id.as_deref()?, span?))
}

/// The key of an id of a kind.
pub fn hashed(kind: u8, id: &str, part: &str) -> LinkKey {
    let mut hasher = DefaultHasher::new();
    (kind, id, part).hash(&mut hasher);
    hasher.finish()
}

/// The columns that [`link_keys`] looks at.
pub const LINK_COLUMNS: [&str; 10] = [
    "observation_id",
    "ts",
    "witness",
    "provider_request_id",
    "response_id",
    "gateway_request_id",
    "trace_id",
    "chain_id",
    "outcome",
    "service",
];

/// Splits observations into groups that share no id.
#[must_use]
pub fn group(observations: Vec<Arc<Observation>>) -> Vec<Vec<Arc<Observation>>> {
    Linked::of(&observations).groups(observations)
}

/// Observations by place, joined where they share an id.
#[derive(Debug)]
pub struct Linked {
    sets: DisjointSets,
    first: HashMap<LinkKey, usize>,
}

impl Linked {
    /// Joins these.
    #[must_use]
    pub fn of(observations: &[Arc<Observation>]) -> Self {
        let mut sets = DisjointSets::new(observations.len());
        let mut first: HashMap<LinkKey, usize> = HashMap::with_capacity(observations.len());
        for (index, observation) in observations.iter().enumerate() {
            for key in link_keys(observation) {
                let other = *first.entry(key).or_insert(index);
                sets.join(index, other);
            }
        }
        Self { sets, first }
    }

    /// Places of some of those that share an id with `observation`: each of their groups has one among them.
    pub fn kin<'a>(&'a self, observation: &'a Observation) -> impl Iterator<Item = usize> + 'a {
        link_keys(observation).filter_map(|key| self.first.get(&key).copied())
    }

    /// The groups of what was joined.
    #[must_use]
    pub fn groups<T>(mut self, members: Vec<T>) -> Vec<Vec<T>> {
        let mut groups: HashMap<usize, Vec<T>> = HashMap::new();
        for (index, member) in members.into_iter().enumerate() {
            groups.entry(self.sets.root(index)).or_default().push(member);
        }
        groups.into_values().collect()
    }
}

/// Union-find over indices.
#[derive(Debug)]
pub struct DisjointSets(Vec<usize>);

impl DisjointSets {
    /// `n` sets of one.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    /// The representative of the set that holds `index`.
    pub fn root(&mut self, mut index: usize) -> usize {
        while let Some(parent) = self.0.get(index).copied().filter(|parent| *parent != index) {
            let grandparent = self.0.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.0.get_mut(index) {
                *slot = grandparent;
            }
            index = grandparent;
        }
        index
    }

    /// Joins the sets of `a` and `b`.
    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(slot) = self.0.get_mut(a.max(b)) {
            *slot = a.min(b);
        }
    }
}
