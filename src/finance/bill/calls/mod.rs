//! Call by call: a gateway's log against a provider's. By request id where both tell it; else by platform, model, tokens
//! and time, with a confidence. Each call is matched at most once, and what is matched with nothing is named.
//!
//! Clocks of two logs differ, and one may note the start, the other the end. So the usual difference of a platform is
//! measured first, on the nearest pairs, and a pair must then fit that, not only the window.

mod report;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::{SECOND_US, Timestamp};

pub use report::{CallsReport, CallsSide};

/// A call as one log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedCall {
    /// The log's own name of the row.
    pub id: String,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Who served it.
    pub platform: String,
    /// Canonical model.
    pub model: Option<String>,
    /// When.
    pub at: Timestamp,
    /// All input tokens.
    pub input: Option<u64>,
    /// All output tokens.
    pub output: Option<u64>,
}

/// What may be the same call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallOptions {
    /// At most so many microseconds apart, before the usual difference is known.
    pub window_us: i64,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { window_us: 60 * SECOND_US }
    }
}

/// How two rows were found to be one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchedBy {
    /// The same request id.
    RequestId,
    /// The same platform, model and tokens, at about the same time.
    Likeness,
    /// The same platform and model at the same time, and one of the two counts.
    Nearness,
}

/// What became of a row, or a pair of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallVerdict {
    /// Both logs say the same.
    Match,
    /// Both have it, with other tokens or another model.
    Mismatch,
    /// The provider's log lacks it.
    GatewayOnly,
    /// The gateway's log lacks it.
    ProviderOnly,
    /// The gateway's log has it once more than there is a counterpart.
    GatewayDuplicate,
    /// The provider's log has it once more than there is a counterpart.
    ProviderDuplicate,
}

impl CallVerdict {
    /// The word in reports and columns.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::GatewayOnly => "gateway_only",
            Self::ProviderOnly => "provider_only",
            Self::GatewayDuplicate => "gateway_duplicate",
            Self::ProviderDuplicate => "provider_duplicate",
        }
    }
}

/// A pair, or a row that has none; by index into the slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallFinding {
    /// What became of it.
    pub verdict: CallVerdict,
    /// The gateway's row.
    pub gateway: Option<usize>,
    /// The provider's row.
    pub provider: Option<usize>,
    /// How the pair was found; `None` without a pair.
    pub by: Option<MatchedBy>,
    /// How sure the pair is, in percent: 100 for an id; less the more rows could have been meant.
    pub confidence: u8,
}

/// The answer: every row of both logs is in exactly one finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallMatch {
    /// Sorted by verdict, then by row.
    pub findings: Vec<CallFinding>,
    /// By platform: how much later the provider's time usually is, in microseconds.
    pub usual_us: BTreeMap<String, i64>,
}

impl CallMatch {
    /// What is no match.
    pub fn differences(&self) -> impl Iterator<Item = &CallFinding> {
        self.findings.iter().filter(|finding| finding.verdict != CallVerdict::Match)
    }
}

/// At most so many rows are looked at around one time; more of the same tokens can't be told apart anyway.
const NEIGHBORS: usize = 32;
/// An id is not repeated more often than a log is delivered.
const MOST_REPEATED: usize = 16;
/// A pair by likeness alone is never surer than this.
const LIKENESS: u8 = 95;
/// Half right is not alike: the pair is a guess that a person should look at.
const NEARNESS: u8 = 50;
/// Times of one call differ at least so much from log to log.
const JITTER_US: i64 = 2 * SECOND_US;

/// Matches the rows of two logs. The result does not depend on the order of the rows but for those that are the same.
#[must_use]
pub fn match_calls(gateway: &[LoggedCall], provider: &[LoggedCall], options: &CallOptions) -> CallMatch {
    let mut state = State {
        gateway,
        provider,
        gateway_ids: ids(gateway),
        provider_ids: ids(provider),
        gateway_free: vec![true; gateway.len()],
        provider_free: vec![true; provider.len()],
        findings: Vec::new(),
        offsets: BTreeMap::new(),
    };
    state.by_request_id();
    // Only what lacks an id on one side can still be the same call as something else.
    let alike = state.candidates(options.window_us, &BTreeMap::new(), true);
    let usual = state.usual(&alike, options.window_us);
    let close = state.candidates(options.window_us, &usual, true);
    state.take(&close, MatchedBy::Likeness);
    let near = state.candidates(JITTER_US.min(options.window_us), &usual, false);
    state.take(&near, MatchedBy::Nearness);
    state.leftovers();
    state.findings.sort_unstable();
    let usual_us = usual.into_iter().map(|(platform, usual)| (platform.to_owned(), usual.middle)).collect();
    CallMatch { findings: state.findings, usual_us }
}

/// How much later the provider's time is.
#[derive(Clone, Copy, Debug)]
struct Usual {
    middle: i64,
    /// So far from it a pair may be.
    window: i64,
}

/// Two rows that may be one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// How far from the usual difference.
    distance: i64,
    gateway: usize,
    provider: usize,
}

/// A request id of a platform.
type Id<'a> = (&'a str, &'a str);

/// The ids of a log. What stands in many rows is no id but a word for none.
fn ids(calls: &[LoggedCall]) -> Vec<Option<Id<'_>>> {
    let id = |call| -> Option<Id<'_>> {
        let call: &LoggedCall = call;
        let id = call.request_id.as_deref().map(str::trim).filter(|id| !id.is_empty())?;
        Some((call.platform.as_str(), id))
    };
    let mut counts: HashMap<Id<'_>, usize> = HashMap::new();
    for id in calls.iter().filter_map(id) {
        *counts.entry(id).or_default() += 1;
    }
    let few = |id: &Id<'_>| counts.get(id).is_some_and(|count| *count <= MOST_REPEATED);
    calls.iter().map(|call| id(call).filter(few)).collect()
}

/// Rows with one id.
#[derive(Default)]
struct Sides {
    gateway: Vec<usize>,
    provider: Vec<usize>,
}

struct State<'a> {
    gateway: &'a [LoggedCall],
    provider: &'a [LoggedCall],
    gateway_ids: Vec<Option<Id<'a>>>,
    provider_ids: Vec<Option<Id<'a>>>,
    gateway_free: Vec<bool>,
    provider_free: Vec<bool>,
    findings: Vec<CallFinding>,
    /// Differences of the pairs by id, per platform.
    offsets: BTreeMap<&'a str, Vec<i64>>,
}

fn is(free: &[bool], at: usize) -> bool {
    free.get(at).copied().unwrap_or(false)
}

fn same(a: &LoggedCall, b: &LoggedCall) -> bool {
    let model = a.model.is_none() || b.model.is_none() || a.model == b.model;
    // What one log does not tell (the output of an embedding) is no difference.
    let told = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
    model && told(a.input, b.input) && told(a.output, b.output)
}

impl<'a> State<'a> {
    fn pair(&mut self, gateway: usize, provider: usize, by: MatchedBy, confidence: u8) {
        let (Some(a), Some(b)) = (self.gateway.get(gateway), self.provider.get(provider)) else { return };
        let verdict = if same(a, b) { CallVerdict::Match } else { CallVerdict::Mismatch };
        let (gateway_at, provider_at) = (Some(gateway), Some(provider));
        self.findings.push(CallFinding {
            verdict,
            gateway: gateway_at,
            provider: provider_at,
            by: Some(by),
            confidence,
        });
        for (free, at) in [(&mut self.gateway_free, gateway), (&mut self.provider_free, provider)] {
            if let Some(free) = free.get_mut(at) {
                *free = false;
            }
        }
    }

    fn by_request_id(&mut self) {
        let mut ids: HashMap<Id<'a>, Sides> = HashMap::new();
        for (at, id) in self.gateway_ids.iter().enumerate() {
            if let Some(id) = id {
                ids.entry(*id).or_default().gateway.push(at);
            }
        }
        for (at, id) in self.provider_ids.iter().enumerate() {
            if let Some(id) = id {
                ids.entry(*id).or_default().provider.push(at);
            }
        }
        for ((platform, _), Sides { mut gateway, mut provider }) in ids {
            // Of several rows with one id, those that say the same are the pair.
            while let Some((a, b)) = self.best(&gateway, &provider) {
                gateway.retain(|at| *at != a);
                provider.retain(|at| *at != b);
                if let (Some(one), Some(other)) = (self.gateway.get(a), self.provider.get(b)) {
                    self.offsets.entry(platform).or_default().push(other.at.0.saturating_sub(one.at.0));
                }
                self.pair(a, b, MatchedBy::RequestId, 100);
            }
        }
    }

    /// The pair of rows to take first.
    fn best(&self, gateway: &[usize], provider: &[usize]) -> Option<(usize, usize)> {
        let rank = |(a, b): &(usize, usize)| {
            let (one, other) = (self.gateway.get(*a), self.provider.get(*b));
            let differ = one.zip(other).is_none_or(|(one, other)| !same(one, other));
            let apart = one.zip(other).map_or(i64::MAX, |(one, other)| (other.at.0 - one.at.0).abs());
            (differ, apart, *a, *b)
        };
        gateway.iter().flat_map(|a| provider.iter().map(|b| (*a, *b))).min_by_key(rank)
    }

    /// Rows that may be one call. `alike`: with the same tokens; else with one count that is the same.
    fn candidates(&self, window: i64, usual: &BTreeMap<&'a str, Usual>, alike: bool) -> Vec<Candidate> {
        let key = |call: &'a LoggedCall, side: u8| match side {
            0 => (call.platform.as_str(), call.input, call.output),
            1 => (call.platform.as_str(), call.input, None),
            _ => (call.platform.as_str(), None, call.output),
        };
        let sides: &[u8] = if alike { &[0] } else { &[1, 2] };
        let mut all = Vec::new();
        for side in sides {
            let mut groups: HashMap<_, Vec<(i64, usize)>> = HashMap::new();
            for (at, call) in self.provider.iter().enumerate().filter(|(at, _)| is(&self.provider_free, *at)) {
                groups.entry(key(call, *side)).or_default().push((call.at.0, at));
            }
            groups.values_mut().for_each(|group| group.sort_unstable());
            for (at, call) in self.gateway.iter().enumerate().filter(|(at, _)| is(&self.gateway_free, *at)) {
                let Some(group) = groups.get(&key(call, *side)) else { continue };
                let usual = usual.get(call.platform.as_str());
                let middle = call.at.0.saturating_add(usual.map_or(0, |usual| usual.middle));
                let window = usual.map_or(window, |usual| usual.window.min(window));
                let split = group.partition_point(|(time, _)| *time < middle);
                let (before, behind) = group.split_at_checked(split).unwrap_or((group, &[]));
                let near = |(time, _): &&(i64, usize)| (time - middle).abs() <= window;
                let found = before.iter().rev().take_while(near).take(NEIGHBORS);
                let mut found: Vec<Candidate> = found
                    .chain(behind.iter().take_while(near).take(NEIGHBORS))
                    .filter(|(_, other)| self.may_be(at, *other, *side))
                    .map(|(time, other)| Candidate { distance: (time - middle).abs(), gateway: at, provider: *other })
                    .collect();
                found.sort_unstable();
                found.truncate(NEIGHBORS);
                all.append(&mut found);
            }
        }
        all.sort_unstable();
        all
    }

    /// Whether nothing speaks against the two being one call: another model, or ids that are both told and differ.
    fn may_be(&self, at: usize, other_at: usize, side: u8) -> bool {
        let Some((call, other)) = self.gateway.get(at).zip(self.provider.get(other_at)) else { return false };
        let id = |ids: &[Option<Id<'a>>], at: usize| ids.get(at).copied().flatten();
        let ids = id(&self.gateway_ids, at).is_none() || id(&self.provider_ids, other_at).is_none();
        let models = call.model.is_none() || other.model.is_none() || call.model == other.model;
        // Without a count there is nothing that is the same.
        let counted = match side {
            0 => call.input.is_some() || call.output.is_some(),
            1 => call.input.is_some_and(|count| count > 0),
            _ => call.output.is_some_and(|count| count > 0),
        };
        ids && models && counted
    }

    /// The usual difference per platform, from pairs by id and from rows that are alike and nearest.
    fn usual(&self, alike: &[Candidate], window: i64) -> BTreeMap<&'a str, Usual> {
        let mut offsets = self.offsets.clone();
        let (mut gateway, mut provider) = (self.gateway_free.clone(), self.provider_free.clone());
        for candidate in alike {
            if !is(&gateway, candidate.gateway) || !is(&provider, candidate.provider) {
                continue;
            }
            let rows = self.gateway.get(candidate.gateway).zip(self.provider.get(candidate.provider));
            if let (Some((a, b)), Some(one), Some(other)) =
                (rows, gateway.get_mut(candidate.gateway), provider.get_mut(candidate.provider))
            {
                (*one, *other) = (false, false);
                offsets.entry(&a.platform).or_default().push(b.at.0.saturating_sub(a.at.0));
            }
        }
        let middle = |values: &mut Vec<i64>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        let mut usual = BTreeMap::new();
        for (platform, mut offsets) in offsets {
            let center = middle(&mut offsets);
            let mut spread: Vec<i64> = offsets.iter().map(|offset| (offset - center).abs()).collect();
            let spread = middle(&mut spread);
            // A platform with few pairs tells nothing certain.
            let certain = offsets.len() >= 8;
            let own = if certain { spread.saturating_mul(8).saturating_add(JITTER_US) } else { window };
            usual.insert(platform, Usual { middle: if certain { center } else { 0 }, window: own.min(window) });
        }
        usual
    }

    /// Takes the nearest pairs first.
    fn take(&mut self, candidates: &[Candidate], by: MatchedBy) {
        let (mut of_gateway, mut of_provider) = (HashMap::<usize, u32>::new(), HashMap::<usize, u32>::new());
        for candidate in candidates {
            *of_gateway.entry(candidate.gateway).or_default() += 1;
            *of_provider.entry(candidate.provider).or_default() += 1;
        }
        let best = if by == MatchedBy::Likeness { LIKENESS } else { NEARNESS };
        for candidate in candidates {
            if !is(&self.gateway_free, candidate.gateway) || !is(&self.provider_free, candidate.provider) {
                continue;
            }
            let count = |counts: &HashMap<usize, u32>, at| counts.get(&at).copied().unwrap_or(1).max(1);
            let others = count(&of_gateway, candidate.gateway).max(count(&of_provider, candidate.provider));
            let confidence = u32::from(best).checked_div(others).and_then(|share| u8::try_from(share).ok());
            self.pair(candidate.gateway, candidate.provider, by, confidence.unwrap_or(1).max(1));
        }
    }

    /// What has no pair; a row that says the same as one with a pair, at about the same time, is a duplicate of it.
    fn leftovers(&mut self) {
        let gateway = Matched::new(self.gateway, &self.gateway_ids, &self.gateway_free);
        let provider = Matched::new(self.provider, &self.provider_ids, &self.provider_free);
        let mut found = Vec::new();
        for at in (0..self.gateway.len()).filter(|at| is(&self.gateway_free, *at)) {
            let again = gateway.has(at);
            let verdict = if again { CallVerdict::GatewayDuplicate } else { CallVerdict::GatewayOnly };
            found.push(CallFinding { verdict, gateway: Some(at), provider: None, by: None, confidence: 0 });
        }
        for at in (0..self.provider.len()).filter(|at| is(&self.provider_free, *at)) {
            let again = provider.has(at);
            let verdict = if again { CallVerdict::ProviderDuplicate } else { CallVerdict::ProviderOnly };
            found.push(CallFinding { verdict, gateway: None, provider: Some(at), by: None, confidence: 0 });
        }
        self.findings.append(&mut found);
    }
}

/// What a row without an id is told from others by.
type Looks<'a> = (&'a str, Option<&'a str>, Option<u64>, Option<u64>, Timestamp);

/// Rows of one log that have a pair.
struct Matched<'a> {
    calls: &'a [LoggedCall],
    ids: &'a [Option<Id<'a>>],
    paired_ids: HashSet<Id<'a>>,
    paired_looks: HashSet<Looks<'a>>,
}

impl<'a> Matched<'a> {
    fn new(calls: &'a [LoggedCall], ids: &'a [Option<Id<'a>>], free: &[bool]) -> Self {
        let mut matched = Self { calls, ids, paired_ids: HashSet::new(), paired_looks: HashSet::new() };
        for (at, call) in calls.iter().enumerate().filter(|(at, _)| !is(free, *at)) {
            match ids.get(at).copied().flatten() {
                Some(id) => matched.paired_ids.insert(id),
                None => matched.paired_looks.insert(looks(call)),
            };
        }
        matched
    }

    fn has(&self, at: usize) -> bool {
        match self.ids.get(at).copied().flatten() {
            Some(id) => self.paired_ids.contains(&id),
            None => self.calls.get(at).is_some_and(|call| self.paired_looks.contains(&looks(call))),
        }
    }
}

fn looks(call: &LoggedCall) -> Looks<'_> {
    (&call.platform, call.model.as_deref(), call.input, call.output, call.at)
}

#[cfg(test)]
mod tests;
