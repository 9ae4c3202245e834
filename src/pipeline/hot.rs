//! The hot set: every call newer than the horizon, merged in memory from its observations. Only what a new observation
//! touches is computed again; batches of unchanged calls are kept.
//!
//! What stands in the ledger is never shown here. That is decided per call, not per instant: a call of which any
//! observation is part of a ledger row belongs to the ledger until the next settle, whatever a late witness says about
//! its start; a call that was hot at the last settle stays here until the next, even if its start moves back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::ledger::{LedgerError, with_day};
use crate::model::{Call, Observation, Timestamp};
use crate::settle::{LinkKey, Rules, link_keys, settle};

/// Groups whose calls share one batch.
const CHUNK_GROUPS: usize = 1024;

/// Where an observation stood at the last settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not settled and older than the horizon was when it came.
    New,
    /// Part of a row of the ledger.
    InLedger,
    /// Part of a call that was shown here, whatever the horizon is now.
    Hot,
}

#[derive(Debug)]
struct Group {
    members: Vec<(Arc<Observation>, Standing)>,
    calls: Option<Vec<Call>>,
    chunk: usize,
}

#[derive(Debug, Default)]
struct Chunk {
    groups: Vec<usize>,
    batch: Option<RecordBatch>,
}

/// The merged tail.
#[derive(Debug, Default)]
pub struct HotSet {
    groups: Vec<Option<Group>>,
    by_key: HashMap<LinkKey, usize>,
    chunks: Vec<Chunk>,
    horizon: Option<Timestamp>,
}

impl HotSet {
    /// Takes in an observation that no settle has seen.
    pub fn add(&mut self, observation: Arc<Observation>) {
        self.insert(observation, Standing::New);
    }

    /// Starts from what was settled before: `archived` observations and the horizon they were settled with.
    #[must_use]
    pub fn from_archive(archived: Vec<Arc<Observation>>, horizon: Option<Timestamp>, rules: &Rules) -> Self {
        let mut hot = Self { horizon, ..Self::default() };
        for observation in archived {
            hot.insert(observation, Standing::Hot);
        }
        hot.settled(horizon, i64::MAX, rules, |_| true);
        hot
    }

    /// After a settle up to `horizon`: `is_settled` tells which observations it saw. Forgets what lies more than
    /// `keep_us` before the horizon.
    pub fn settled(
        &mut self,
        horizon: Option<Timestamp>,
        keep_us: i64,
        rules: &Rules,
        is_settled: impl Fn(&Observation) -> bool,
    ) {
        let groups = std::mem::take(&mut self.groups);
        let previous = self.horizon;
        *self = Self { horizon, ..Self::default() };
        let oldest = horizon.map(|horizon| horizon.plus(keep_us.saturating_neg()));
        for group in groups.into_iter().flatten() {
            let seen: Vec<_> =
                group.members.iter().map(|(member, _)| member).filter(|member| is_settled(member)).cloned().collect();
            let before = |ts: Timestamp| horizon.is_some_and(|horizon| ts < horizon);
            let calls = settle(&seen, rules, Timestamp(0));
            let in_ledger: std::collections::HashSet<_> = calls
                .iter()
                .filter(|settled| before(settled.call.ts))
                .flat_map(|settled| &settled.members)
                .copied()
                .collect();
            for (member, _) in group.members {
                if oldest.is_some_and(|oldest| member.ts < oldest) {
                    continue;
                }
                let standing = match (is_settled(&member), in_ledger.contains(&member.observation_id)) {
                    // It was shown while the settle ran; it must not vanish until the next.
                    (false, _) if previous.is_none_or(|previous| member.ts >= previous) => Standing::Hot,
                    (false, _) => Standing::New,
                    (true, true) => Standing::InLedger,
                    (true, false) => Standing::Hot,
                };
                self.insert(member, standing);
            }
        }
    }

    fn insert(&mut self, observation: Arc<Observation>, standing: Standing) {
        let keys: Vec<LinkKey> = link_keys(&observation).collect();
        let mut touched: Vec<usize> = keys.iter().filter_map(|key| self.by_key.get(key).copied()).collect();
        touched.sort_unstable();
        touched.dedup();
        let home = match touched.split_first() {
            None => self.new_group(),
            Some((home, others)) => {
                for other in others {
                    self.absorb(*home, *other);
                }
                *home
            }
        };
        for key in keys {
            self.by_key.insert(key, home);
        }
        self.touch(home);
        if let Some(Some(group)) = self.groups.get_mut(home) {
            let again = group.members.iter().any(|(member, _)| {
                member.observation_id == observation.observation_id && member.source == observation.source
            });
            if !again {
                group.members.push((observation, standing));
            }
        }
    }

    fn new_group(&mut self) -> usize {
        let index = self.groups.len();
        if self.chunks.last().is_none_or(|chunk| chunk.groups.len() >= CHUNK_GROUPS) {
            self.chunks.push(Chunk::default());
        }
        let chunk = self.chunks.len() - 1;
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.groups.push(index);
        }
        self.groups.push(Some(Group { members: Vec::new(), calls: None, chunk }));
        index
    }

    fn absorb(&mut self, home: usize, other: usize) {
        self.touch(other);
        let Some(gone) = self.groups.get_mut(other).and_then(Option::take) else { return };
        for (member, _) in &gone.members {
            for key in link_keys(member) {
                self.by_key.insert(key, home);
            }
        }
        if let Some(Some(group)) = self.groups.get_mut(home) {
            group.members.extend(gone.members);
        }
    }

    fn touch(&mut self, index: usize) {
        if let Some(Some(group)) = self.groups.get_mut(index) {
            group.calls = None;
            if let Some(chunk) = self.chunks.get_mut(group.chunk) {
                chunk.batch = None;
            }
        }
    }

    /// The calls to show beside the ledger, as batches, and their number.
    ///
    /// # Errors
    /// Arrow refuses.
    pub fn batches(&mut self, rules: &Rules, now: Timestamp) -> Result<(Vec<RecordBatch>, usize), LedgerError> {
        let Self { groups, chunks, horizon, .. } = self;
        for chunk in chunks.iter_mut().filter(|chunk| chunk.batch.is_none()) {
            let mut calls: Vec<&Call> = Vec::new();
            for index in &chunk.groups {
                if let Some(Some(group)) = groups.get_mut(*index)
                    && group.calls.is_none()
                {
                    group.calls = Some(shown(&group.members, *horizon, rules, now));
                }
            }
            for index in &chunk.groups {
                if let Some(Some(group)) = groups.get(*index) {
                    calls.extend(group.calls.iter().flatten());
                }
            }
            chunk.batch = Some(with_day::<Call>(&calls)?);
        }
        let batches: Vec<_> =
            chunks.iter().filter_map(|chunk| chunk.batch.clone()).filter(|batch| batch.num_rows() > 0).collect();
        let calls = batches.iter().map(RecordBatch::num_rows).sum();
        Ok((batches, calls))
    }
}

/// The calls of a group that the ledger does not hold and that it is time to show.
fn shown(
    members: &[(Arc<Observation>, Standing)],
    horizon: Option<Timestamp>,
    rules: &Rules,
    now: Timestamp,
) -> Vec<Call> {
    let standing: HashMap<_, _> = members.iter().map(|(member, standing)| (member.observation_id, *standing)).collect();
    let observations: Vec<_> = members.iter().map(|(member, _)| Arc::clone(member)).collect();
    settle(&observations, rules, now)
        .into_iter()
        .filter(|settled| {
            let any = |wanted| settled.members.iter().any(|member| standing.get(member) == Some(&wanted));
            let newer = horizon.is_none_or(|horizon| settled.call.ts >= horizon);
            // Late and unknown to the ledger: it shows up with the next settle, at once and whole.
            !any(Standing::InLedger) && (newer || any(Standing::Hot))
        })
        .map(|settled| settled.call)
        .collect()
}
