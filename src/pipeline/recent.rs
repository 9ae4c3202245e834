//! The keys by which later observations may be linked to settled ones: what has to be remembered of an observation when
//! the observation itself is not in memory.

use std::collections::{BTreeMap, HashSet};

use std::sync::Arc;

use crate::model::{Interval, Observation, SLICE_US, Timestamp};
use crate::settle::{LinkKey, News, Rules, offered_keys, slices, sought_keys};

/// Keys by slice of the observation that offers them.
#[derive(Clone, Debug, Default)]
pub struct RecentKeys(BTreeMap<Timestamp, HashSet<LinkKey>>);

impl RecentKeys {
    /// The keys of what is settled: what starts before the horizon, and what belongs to a call that does.
    #[must_use]
    pub fn of(observations: &[Arc<Observation>], horizon: Timestamp, rules: &Rules) -> Self {
        let before = Interval { from: Timestamp(i64::MIN), to: horizon };
        let members = slices(observations.to_vec(), before, &News::default(), rules, horizon).straddling;
        let settled = observations.iter().filter(|o| o.ts < horizon || members.contains(&o.observation_id));
        let mut keys = Self::default();
        settled.for_each(|observation| keys.add(observation));
        keys
    }

    /// Remembers an observation.
    pub fn add(&mut self, observation: &Observation) {
        self.0.entry(observation.ts.floor(SLICE_US)).or_default().extend(offered_keys(observation));
    }

    /// Whether a later observation may belong to a call of a remembered one.
    #[must_use]
    pub fn concern(&self, observation: &Observation) -> bool {
        !self.0.is_empty() && sought_keys(observation).any(|key| self.0.values().any(|keys| keys.contains(&key)))
    }

    /// Takes over what another remembers.
    pub fn merge(&mut self, other: Self) {
        for (slice, keys) in other.0 {
            self.0.entry(slice).or_default().extend(keys);
        }
    }

    /// Forgets slices before `oldest`.
    pub fn forget_before(&mut self, oldest: Timestamp) {
        self.0 = self.0.split_off(&oldest.floor(SLICE_US));
    }
}
