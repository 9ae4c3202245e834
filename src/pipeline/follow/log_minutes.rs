//! Which events of a log group were read. A group can be asked by event time only, and events come late, so the same
//! stretch is read again and again. Of the last minutes every event is known; of older ones their number and the sum of
//! their hashes, which is enough to see that something came late.

use std::collections::{BTreeMap, HashSet};

use crate::journal::Positions;
use crate::model::fingerprint;

/// Milliseconds of a minute.
pub(super) const MINUTE_MS: i64 = 60_000;

/// What is known of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    count: u64,
    /// Exclusive or of the hashes: the order does not matter.
    mix: u64,
}

impl Digest {
    fn add(&mut self, hash: u64) {
        self.count += 1;
        self.mix ^= hash;
    }

    fn text(self) -> String {
        format!("{}:{:x}", self.count, self.mix)
    }

    fn parse(text: &str) -> Option<Self> {
        let (count, mix) = text.split_once(':')?;
        Some(Self { count: count.parse().ok()?, mix: u64::from_str_radix(mix, 16).ok()? })
    }
}

/// How an event stands to what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was not read.
    New,
    /// It was.
    Known,
    /// Its minute has to be compared as a whole.
    Compare,
}

/// What was read, by minute.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    digests: BTreeMap<i64, Digest>,
    /// Events of minutes that this process has read itself.
    exact: BTreeMap<i64, HashSet<u64>>,
}

/// The hash of an event's id.
pub(super) fn hash(id: &str) -> u64 {
    let mut first = [0; 8];
    first.iter_mut().zip(fingerprint([id.as_bytes()]).0).for_each(|(to, from)| *to = from);
    u64::from_le_bytes(first)
}

pub(super) const fn minute_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(MINUTE_MS)
}

impl Minutes {
    /// As the journal remembers them: entries `m/<minute>`.
    pub fn restore<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let read = |(entry, at): (&str, &str)| Some((entry.strip_prefix("m/")?.parse().ok()?, Digest::parse(at)?));
        Self { digests: entries.filter_map(read).collect(), exact: BTreeMap::new() }
    }

    /// How an event stands.
    pub fn standing(&self, at_ms: i64, hash: u64) -> Standing {
        let minute = minute_of(at_ms);
        match (self.exact.get(&minute), self.digests.contains_key(&minute)) {
            (Some(known), _) if known.contains(&hash) => Standing::Known,
            (None, true) => Standing::Compare,
            _ => Standing::New,
        }
    }

    /// What to remember if these events are read: changes for the journal, and what [`Minutes::take`] takes over then.
    pub fn with(&self, source: &str, events: &[(i64, u64)]) -> (Positions, BTreeMap<i64, Digest>) {
        let mut digests: BTreeMap<i64, Digest> = BTreeMap::new();
        for (at_ms, hash) in events {
            let minute = minute_of(*at_ms);
            let known = || self.digests.get(&minute).copied().unwrap_or_default();
            digests.entry(minute).or_insert_with(known).add(*hash);
        }
        let mut changes = Positions::default();
        for (minute, digest) in &digests {
            changes.set(source, &format!("m/{minute}"), digest.text());
        }
        (changes, digests)
    }

    /// The events were read and are durable.
    pub fn take(&mut self, events: &[(i64, u64)], digests: BTreeMap<i64, Digest>) {
        self.digests.extend(digests);
        for (at_ms, hash) in events {
            self.exact.entry(minute_of(*at_ms)).or_default().insert(*hash);
        }
    }

    /// The minutes among `seen` in which there is something that was not read: they have to be read anew.
    pub fn differing(&self, seen: &BTreeMap<i64, Digest>) -> Vec<i64> {
        let differs = |(minute, digest): &(&i64, &Digest)| self.digests.get(minute) != Some(digest);
        seen.iter().filter(differs).map(|(minute, _)| *minute).collect()
    }

    /// Forgets what was read of a minute, to read it anew.
    pub fn reopen(&mut self, minute: i64) {
        self.digests.remove(&minute);
        self.exact.remove(&minute);
    }

    /// Keeps single events from `exact_ms` on and minutes from `from_ms` on; changes for the journal.
    pub fn trim(&mut self, source: &str, from_ms: i64, exact_ms: i64) -> Positions {
        self.exact = self.exact.split_off(&minute_of(exact_ms));
        let kept = self.digests.split_off(&minute_of(from_ms));
        let mut changes = Positions::default();
        for minute in std::mem::replace(&mut self.digests, kept).into_keys() {
            changes.forget(source, &format!("m/{minute}"));
        }
        changes
    }
}

/// Adds an event that has to be compared.
pub(super) fn tally(seen: &mut BTreeMap<i64, Digest>, at_ms: i64, hash: u64) {
    seen.entry(minute_of(at_ms)).or_default().add(hash);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(minutes: &mut Minutes, events: &[(i64, u64)]) -> Positions {
        let (changes, digests) = minutes.with("s", events);
        minutes.take(events, digests);
        changes
    }

    #[test]
    fn a_restart_knows_that_nothing_came_late_and_when_something_did() {
        let events = [(1_000, 11), (2_000, 12), (61_000, 13)];
        let changes = read(&mut Minutes::default(), &events);
        let restored = Minutes::restore(changes.of("s"));
        assert_eq!(restored.standing(1_000, 11), Standing::Compare);
        assert_eq!(restored.standing(200_000, 11), Standing::New);
        let mut seen = BTreeMap::new();
        // In another order.
        [(61_000, 13), (2_000, 12), (1_000, 11)].iter().for_each(|(at, hash)| tally(&mut seen, *at, *hash));
        assert_eq!(restored.differing(&seen), Vec::<i64>::new());
        tally(&mut seen, 3_000, 14);
        assert_eq!(restored.differing(&seen), [0]);
    }

    #[test]
    fn an_event_is_read_once_while_it_is_known() {
        let mut minutes = Minutes::default();
        read(&mut minutes, &[(1_000, 11)]);
        assert_eq!(minutes.standing(1_000, 11), Standing::Known);
        assert_eq!(minutes.standing(1_000, 12), Standing::New);
        let forgotten = minutes.trim("s", 0, 60_000);
        assert!(forgotten.is_empty());
        assert_eq!(minutes.standing(1_000, 11), Standing::Compare);
        assert!(!minutes.trim("s", 60_000, 60_000).is_empty());
        assert_eq!(minutes.standing(1_000, 11), Standing::New);
    }
}
