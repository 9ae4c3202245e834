//! The hot set: every call newer than the horizon, merged in memory from its observations. Only what a new observation
//! touches is computed again; batches of unchanged calls are kept.
//!
//! What stands in the ledger is never shown here. That is decided per call, not per instant: a call of which any
//! observation is part of a ledger row belongs to the ledger until the next settle, whatever a late witness says about
//! its start; a call that was hot at the last settle stays here until the next, even if its start moves back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::RecentKeys;
use crate::ledger::{LedgerError, with_day};
use crate::model::{Call, Observation, RecordId, Timestamp};
use crate::settle::{LinkKey, MARGIN_US, Rules, link_keys, offered_keys, settle, sought_keys};

/// Groups whose calls share one batch.
const CHUNK_GROUPS: usize = 256;

/// Members beyond which a group is not searched for every new one.
const LARGE_GROUP: usize = 1000;

/// Where an observation stood at the last settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not settled and older than the horizon was when it came.
    New,
    /// Part of a row of the ledger.
    InLedger,
    /// Part of a call that is shown here, whatever the horizon is now.
    Hot,
    /// It may belong to a call of the ledger whose observations are no longer in memory: the next settle tells.
    Held,
}

#[derive(Debug)]
struct Member {
    observation: Arc<Observation>,
    standing: Standing,
    /// A settle has seen it, so it is in the archive; a second delivery changes nothing of that.
    settled: bool,
}

#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    /// What it holds: record and source.
    known: HashSet<(RecordId, String)>,
    /// Calls of the ledger that are shown from here, because a witness came while the settle ran that wrote them.
    superseded: Vec<RecordId>,
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
    /// Observations in memory.
    members: usize,
    /// Of settled observations that had to leave the memory, what later ones could be linked by.
    forgotten: RecentKeys,
}

impl HotSet {
    /// Takes in an observation that no settle has seen; true if a settle has to say what becomes of it.
    pub fn add(&mut self, observation: Arc<Observation>) -> bool {
        let late = self.horizon.is_some_and(|horizon| observation.ts < horizon);
        if self.horizon.is_some_and(|horizon| observation.ts < horizon.plus(-MARGIN_US)) {
            // Too old to belong to anything that is shown here.
            return true;
        }
        let held = self.forgotten.concern(&observation);
        // One that is shown stays, even if a late witness moves its call before the horizon.
        let standing = match (held, late) {
            (true, _) => Standing::Held,
            (false, true) => Standing::New,
            (false, false) => Standing::Hot,
        };
        let home = self.insert(Member { observation: Arc::clone(&observation), standing, settled: false });
        late || held || self.touches_ledger(home, &observation)
    }

    /// Whether a witness may belong to a call of the ledger: then only a settle shows it. In a large group (a long trace)
    /// the settle that comes anyway has to do.
    fn touches_ledger(&self, home: usize, observation: &Observation) -> bool {
        let Some(Some(group)) = self.groups.get(home) else { return false };
        if group.members.len() > LARGE_GROUP {
            return false;
        }
        let sought: HashSet<LinkKey> = sought_keys(observation).collect();
        let settled = group.members.iter().filter(|member| member.standing == Standing::InLedger);
        settled.flat_map(|member| offered_keys(&member.observation)).any(|key| sought.contains(&key))
    }

    /// Number of observations in memory.
    #[must_use]
    pub const fn members(&self) -> usize {
        self.members
    }

    /// Starts from what was settled before: `archived` observations and the horizon they were settled with.
    #[must_use]
    pub fn from_archive(
        archived: Vec<Arc<Observation>>,
        horizon: Option<Timestamp>,
        room: usize,
        rules: &Rules,
    ) -> Self {
        let mut hot = Self { horizon, ..Self::default() };
        for observation in archived {
            hot.insert(Member { observation, standing: Standing::Hot, settled: true });
        }
        // Nothing is held before anything is forgotten.
        let _ = hot.settled(horizon, room, rules, &HashSet::new(), |_| true);
        hot
    }

    /// After a settle up to `horizon`: `is_settled` tells which observations it saw, `alone` which of those our own settle
    /// took from the journal without finding them part of a call in the ledger. Forgets what lies too far before the
    /// horizon to be linked to later calls, and earlier if there is no `room`: of that only the keys are kept. True if
    /// something is held that another process settled: only the store knows what became of it.
    pub fn settled(
        &mut self,
        horizon: Option<Timestamp>,
        room: usize,
        rules: &Rules,
        alone: &HashSet<RecordId>,
        is_settled: impl Fn(&Observation) -> bool,
    ) -> bool {
        let oldest = horizon.map(|horizon| horizon.plus(-MARGIN_US));
        let cut = horizon.map(|horizon| self.cut(horizon, room));
        let groups = std::mem::take(&mut self.groups);
        let previous = self.horizon;
        let mut unknown = false;
        let mut forgotten = std::mem::take(&mut self.forgotten);
        if let Some(oldest) = oldest {
            forgotten.forget_before(oldest);
        }
        *self = Self { horizon, forgotten, ..Self::default() };
        for mut group in groups.into_iter().flatten() {
            let mut released = HashSet::new();
            for member in group.members.iter_mut().filter(|member| !member.settled) {
                member.settled = is_settled(&member.observation);
                // Of what is held only the settle that took it in can tell; if that was another's, it stays held.
                if member.settled && alone.contains(&member.observation.observation_id) {
                    released.insert(member.observation.observation_id);
                }
            }
            let mut in_ledger = in_ledger(&group.members, horizon, rules);
            let superseded = superseded(&group.members, &mut in_ledger, horizon, rules);
            // What leaves the memory is known before it is asked for what could be linked to it.
            group.members.sort_by_key(|member| !in_ledger.contains(&member.observation.observation_id));
            let mut home = None;
            for Member { observation, standing, settled } in group.members {
                if settled && oldest.is_some_and(|oldest| observation.ts < oldest) {
                    continue;
                }
                let standing = match (settled, in_ledger.contains(&observation.observation_id)) {
                    // Also where another source delivered the same record once more while the settle ran.
                    (_, true) => Standing::InLedger,
                    (_, false) if standing == Standing::Held && !released.contains(&observation.observation_id) => {
                        Standing::Held
                    }
                    // What it was settled with has left the memory.
                    (true, false) if standing == Standing::InLedger && self.forgotten.concern(&observation) => {
                        Standing::InLedger
                    }
                    (true, false) => Standing::Hot,
                    (false, false) if self.forgotten.concern(&observation) => Standing::Held,
                    // It was shown while the settle ran; it must not vanish until the next.
                    (false, false) if previous.is_none_or(|previous| observation.ts >= previous) => Standing::Hot,
                    (false, false) => Standing::New,
                };
                unknown |= settled && standing == Standing::Held;
                if standing == Standing::InLedger && cut.is_some_and(|cut| observation.ts < cut) {
                    self.forgotten.add(&observation);
                } else {
                    home = Some(self.insert(Member { observation, standing, settled }));
                }
            }
            if let Some(Some(group)) = home.and_then(|home| self.groups.get_mut(home)) {
                group.superseded = superseded;
            }
        }
        unknown
    }

    /// The calls of the ledger that must not be shown, because they are shown from here.
    pub fn superseded(&self) -> impl Iterator<Item = RecordId> {
        self.groups.iter().flatten().flat_map(|group| &group.superseded).copied()
    }

    /// Settled observations before this instant leave the memory, so that about `room` are left.
    fn cut(&self, horizon: Timestamp, room: usize) -> Timestamp {
        let members =
            || self.groups.iter().flatten().flat_map(|group| &group.members).map(|member| member.observation.ts);
        let mut settled: Vec<Timestamp> = members().filter(|ts| *ts < horizon).collect();
        let hot = self.members - settled.len();
        let keep = room.saturating_sub(hot);
        match settled.len().checked_sub(keep) {
            None | Some(0) => Timestamp(i64::MIN),
            Some(excess) if excess >= settled.len() => horizon,
            Some(excess) => *settled.select_nth_unstable(excess).1,
        }
    }

    /// Gives the group that it is in now.
    fn insert(&mut self, member: Member) -> usize {
        let observation = &member.observation;
        let keys: Vec<LinkKey> = link_keys(observation).collect();
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
        if let Some(Some(group)) = self.groups.get_mut(home)
            && group.known.insert((observation.observation_id, observation.source.clone()))
        {
            group.members.push(member);
            self.members += 1;
        }
        home
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
        self.groups.push(Some(Group { members: Vec::new(), known: HashSet::new(), superseded: Vec::new(), chunk }));
        index
    }

    fn absorb(&mut self, home: usize, other: usize) {
        self.touch(other);
        let Some(gone) = self.groups.get_mut(other).and_then(Option::take) else { return };
        for member in &gone.members {
            for key in link_keys(&member.observation) {
                self.by_key.insert(key, home);
            }
        }
        if let Some(Some(group)) = self.groups.get_mut(home) {
            group.members.extend(gone.members);
            group.known.extend(gone.known);
            group.superseded.extend(gone.superseded);
        }
    }

    fn touch(&mut self, index: usize) {
        if let Some(Some(group)) = self.groups.get(index)
            && let Some(chunk) = self.chunks.get_mut(group.chunk)
        {
            chunk.batch = None;
        }
    }

    /// The calls to show beside the ledger, as batches, and their number.
    ///
    /// # Errors
    /// Arrow refuses.
    pub fn batches(&mut self, rules: &Rules, now: Timestamp) -> Result<(Vec<RecordBatch>, usize), LedgerError> {
        let Self { groups, chunks, horizon, .. } = self;
        for chunk in chunks.iter_mut().filter(|chunk| chunk.batch.is_none()) {
            // Computed anew rather than kept: a batch is a third of what its calls take.
            let groups = chunk.groups.iter().filter_map(|index| groups.get(*index)?.as_ref());
            let calls: Vec<Call> = groups.flat_map(|group| shown(&group.members, *horizon, rules, now)).collect();
            chunk.batch = Some(with_day::<Call>(&calls.iter().collect::<Vec<_>>())?);
        }
        let batches: Vec<_> =
            chunks.iter().filter_map(|chunk| chunk.batch.clone()).filter(|batch| batch.num_rows() > 0).collect();
        let calls = batches.iter().map(RecordBatch::num_rows).sum();
        Ok((batches, calls))
    }
}

/// Which members of a group are part of calls that the ledger holds.
fn in_ledger(members: &[Member], horizon: Option<Timestamp>, rules: &Rules) -> HashSet<RecordId> {
    let before = |ts: Timestamp| horizon.is_some_and(|horizon| ts < horizon);
    let seen = || members.iter().filter(|member| member.settled).map(|member| &member.observation);
    // Most groups lie on one side of the horizon, and so do their calls.
    if seen().all(|member| before(member.ts)) {
        return seen().map(|member| member.observation_id).collect();
    }
    if !seen().any(|member| before(member.ts)) {
        return HashSet::new();
    }
    let seen: Vec<_> = seen().cloned().collect();
    let calls = settle(&seen, rules, Timestamp(0));
    calls.into_iter().filter(|settled| before(settled.call.ts)).flat_map(|settled| settled.members).collect()
}

/// A call that moved into the ledger while a witness of it came that the settle has not seen: the row of the ledger lacks
/// what was shown already, so it is shown from here until the next settle. Gives the rows to hide; their members leave
/// `in_ledger`. All of them are in memory, because only what was in the ledger before is ever forgotten.
fn superseded(
    members: &[Member],
    in_ledger: &mut HashSet<RecordId>,
    horizon: Option<Timestamp>,
    rules: &Rules,
) -> Vec<RecordId> {
    if in_ledger.is_empty() || members.iter().all(|member| member.settled) {
        return Vec::new();
    }
    let was_shown: HashSet<RecordId> = members
        .iter()
        .filter(|member| member.standing == Standing::Hot)
        .map(|member| member.observation.observation_id)
        .collect();
    let shared = |settled_only: bool| -> Vec<Arc<Observation>> {
        let wanted = members.iter().filter(|member| member.settled || !settled_only);
        wanted.map(|member| Arc::clone(&member.observation)).collect()
    };
    let whole = settle(&shared(false), rules, Timestamp(0));
    let mut hidden = Vec::new();
    for row in settle(&shared(true), rules, Timestamp(0)) {
        let moved = horizon.is_some_and(|horizon| row.call.ts < horizon)
            && row.members.iter().all(|member| was_shown.contains(member));
        let now = whole.iter().find(|call| row.members.iter().all(|member| call.members.contains(member)));
        if let Some(now) = now.filter(|now| moved && now.members.len() > row.members.len())
            && now.members.iter().all(|member| was_shown.contains(member))
        {
            hidden.push(row.call.call_id);
            in_ledger.retain(|member| !now.members.contains(member));
        }
    }
    hidden
}

/// The calls of a group that the ledger does not hold and that it is time to show.
fn shown(members: &[Member], horizon: Option<Timestamp>, rules: &Rules, now: Timestamp) -> Vec<Call> {
    if members.iter().all(|member| member.standing == Standing::InLedger) {
        return Vec::new();
    }
    let standing: HashMap<_, _> =
        members.iter().map(|member| (member.observation.observation_id, member.standing)).collect();
    let observations: Vec<_> = members.iter().map(|member| Arc::clone(&member.observation)).collect();
    settle(&observations, rules, now)
        .into_iter()
        .filter(|settled| {
            let any = |wanted| settled.members.iter().any(|member| standing.get(member) == Some(&wanted));
            let newer = horizon.is_none_or(|horizon| settled.call.ts >= horizon);
            // Late and unknown to the ledger: it shows up with the next settle, at once and whole.
            !any(Standing::InLedger) && !any(Standing::Held) && (newer || any(Standing::Hot))
        })
        .map(|settled| settled.call)
        .collect()
}
