//! Newcomers: observations that nothing older can be linked to. Their calls are new, and no call becomes another for them,
//! so that many of them, a backfill, need not be computed together with what is there already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::link::Linked;
use super::slices::{MARGIN_US, around};
use crate::model::{Observation, SLICE_US, Timestamp};

/// Observations that arrived, while it is found out who among them is a newcomer.
#[derive(Debug)]
pub struct Newcomers {
    observations: Vec<Arc<Observation>>,
    linked: Linked,
    /// By place: it is none, and so is nothing that is linked to it.
    known: Vec<bool>,
}

/// What arrived.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Groups of newcomers, by start.
    pub newcomers: Vec<Vec<Arc<Observation>>>,
    /// Those that are none.
    pub others: Vec<Arc<Observation>>,
    /// Slices that are computed because of the others, and whole with what `beside` holds.
    pub slices: BTreeSet<Timestamp>,
    /// Newcomers with a witness in one of these slices: their calls come with them.
    pub beside: Vec<Arc<Observation>>,
}

impl Newcomers {
    /// Takes all of these for newcomers for which `may_be` holds, unless they are linked to one for which it does not.
    pub fn new(observations: Vec<Arc<Observation>>, may_be: impl Fn(&Observation) -> bool) -> Self {
        let known = observations.iter().map(|observation| !may_be(observation)).collect();
        Self { linked: Linked::of(&observations), observations, known }
    }

    /// Meets one that was there before; of it, the columns are enough that links are made of.
    pub fn meet(&mut self, older: &Observation) {
        for place in self.linked.kin(older) {
            if let Some(known) = self.known.get_mut(place) {
                *known = true;
            }
        }
    }

    /// Tells them apart. The others change the slices around each for which `changes` holds.
    pub fn sort_out(self, changes: impl Fn(&Observation) -> bool) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for group in self.linked.groups(self.observations.into_iter().zip(self.known).collect()) {
            let is_known = group.iter().any(|(_, known)| *known) || reaches_far(group.iter().map(|(one, _)| one.ts));
            let group = group.into_iter().map(|(observation, _)| observation);
            if is_known { arrivals.others.extend(group) } else { arrivals.newcomers.push(group.collect()) }
        }
        let changing = arrivals.others.iter().filter(|observation| changes(observation));
        arrivals.slices = changing.flat_map(|observation| around(observation.ts)).collect();
        arrivals.leave_to_the_others();
        arrivals.newcomers.sort_by_key(|group| group.iter().map(|observation| observation.ts).min());
        arrivals
    }
}

/// Whether a group is so long that a slice is computed without seeing all of it.
fn reaches_far(times: impl Iterator<Item = Timestamp> + Clone) -> bool {
    times.clone().min().zip(times.max()).is_some_and(|(first, last)| last > first.plus(MARGIN_US))
}

impl Arrivals {
    /// A slice is replaced whole, so it is either computed or added to.
    fn leave_to_the_others(&mut self) {
        loop {
            let slice = |observation: &Arc<Observation>| observation.ts.floor(SLICE_US);
            let (beside, newcomers): (Vec<_>, Vec<_>) = std::mem::take(&mut self.newcomers)
                .into_iter()
                .partition(|group| group.iter().any(|observation| self.slices.contains(&slice(observation))));
            self.newcomers = newcomers;
            if beside.is_empty() {
                return;
            }
            // One may have witnesses in several slices, and its call in any of them.
            self.slices.extend(beside.iter().flatten().map(slice));
            self.beside.extend(beside.into_iter().flatten());
        }
    }
}
