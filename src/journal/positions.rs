//! Where sources stand. A position is a set of small entries (object key, partition, stream), because a source that
//! follows a bucket must remember every object it has read. A journal object carries only the entries that changed; once
//! the changes of earlier objects weigh no more than they do, it takes those over too. So a state lies in a few objects
//! of growing weight, and each entry is written about log2(n) times, whatever was ever read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Entries of sources: source, then entry, then where it stands as text that the source itself understands. In a change
/// `None` means that the entry is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(BTreeMap<String, BTreeMap<String, Option<String>>>);

impl Positions {
    /// Notes where an entry stands.
    pub fn set(&mut self, source: &str, entry: &str, at: String) {
        self.0.entry(source.to_owned()).or_default().insert(entry.to_owned(), Some(at));
    }

    /// Notes that an entry is no longer needed.
    pub fn forget(&mut self, source: &str, entry: &str) {
        self.0.entry(source.to_owned()).or_default().insert(entry.to_owned(), None);
    }

    /// The entries of a source.
    pub fn of(&self, source: &str) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.0.get(source).into_iter().flatten();
        entries.filter_map(|(entry, at)| Some((entry.as_str(), at.as_deref()?)))
    }

    /// Number of entries of each source.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(source, entries)| (source.as_str(), entries.len()))
    }

    /// True where there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    /// About how many bytes this takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let entry = |(entry, at): (&String, &Option<String>)| entry.len() + at.as_ref().map_or(4, String::len) + 8;
        self.0.values().flatten().map(entry).sum()
    }

    /// Later changes on top of these.
    pub fn merge(&mut self, later: Self) {
        for (source, entries) in later.0 {
            self.0.entry(source).or_default().extend(entries);
        }
    }

    fn drop_forgotten(&mut self) {
        self.0.values_mut().for_each(|entries| entries.retain(|_, at| at.is_some()));
    }

    /// Changes applied to a whole state: what is forgotten leaves it.
    pub fn apply(&mut self, changes: &Self) {
        for (source, entries) in &changes.0 {
            let state = self.0.entry(source.clone()).or_default();
            for (entry, at) in entries {
                match at {
                    Some(_) => drop(state.insert(entry.clone(), at.clone())),
                    None => drop(state.remove(entry)),
                }
            }
        }
    }
}

/// A writer's whole state, and which objects hold it.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Everything.
    pub positions: Positions,
    /// The objects that hold it together, the heaviest and oldest first: number and what it carries.
    carriers: Vec<(u64, Positions)>,
}

/// What the next object carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// All positions, not changes.
    pub complete: bool,
    /// The entries.
    pub positions: Positions,
    /// Older objects that are needed to know all positions.
    pub needs: Vec<u64>,
}

impl State {
    /// What an object with these changes should carry.
    pub fn carry(&self, changes: Positions) -> Carried {
        let mut positions = changes;
        let mut below = self.carriers.as_slice();
        if !positions.is_empty() {
            while let Some(((_, lighter), rest)) = below.split_last()
                && lighter.weight() <= positions.weight()
            {
                let mut merged = lighter.clone();
                merged.merge(positions);
                (positions, below) = (merged, rest);
            }
        }
        let complete = below.is_empty() && !positions.is_empty();
        if complete {
            positions.drop_forgotten();
        }
        Carried { complete, positions, needs: below.iter().map(|(sequence, _)| *sequence).collect() }
    }

    /// Takes in what the object `sequence` carries.
    pub fn take(&mut self, sequence: u64, carried: &Carried) {
        if carried.complete {
            *self = Self { positions: carried.positions.clone(), carriers: Vec::new() };
        } else if carried.positions.is_empty() {
            return;
        } else {
            self.positions.apply(&carried.positions);
            self.carriers.retain(|(carrier, _)| carried.needs.contains(carrier));
        }
        self.carriers.push((sequence, carried.positions.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(n: usize) -> Positions {
        let mut positions = Positions::default();
        positions.set("s3", &format!("AWSLogs/1111/{n:08}.json.gz"), "{\"size\":1}".to_owned());
        positions
    }

    #[test]
    fn a_hundred_thousand_objects_are_each_written_a_few_times() {
        let (mut state, mut written) = (State::default(), 0);
        for n in 0..100_000_usize {
            let carried = state.carry(change(n));
            written += carried.positions.weight();
            assert!(carried.needs.len() <= 20);
            state.take(u64::try_from(n).unwrap() + 1, &carried);
        }
        assert_eq!(state.positions.of("s3").count(), 100_000);
        // All of them once is the least possible; a whole state in every object would be 50,000 times that.
        let times = written / state.positions.weight();
        assert!(times < 20, "each entry was written {times} times");
    }

    #[test]
    fn carriers_alone_rebuild_the_state() {
        let (mut state, mut objects) = (State::default(), BTreeMap::new());
        for n in 0..5000_u64 {
            let mut changes = change(usize::try_from(n % 700).unwrap());
            if n % 3 == 0 {
                changes.forget("s3", &format!("AWSLogs/1111/{:08}.json.gz", n % 41));
            }
            let carried = state.carry(if n % 5 == 0 { Positions::default() } else { changes });
            state.take(n, &carried);
            objects.insert(n, carried);
        }
        let mut rebuilt = State::default();
        for (carrier, _) in &state.carriers {
            rebuilt.take(*carrier, &objects[carrier]);
        }
        assert_eq!(rebuilt.positions, state.positions);
        assert_eq!(rebuilt.carriers, state.carriers);
    }
}
