//! Count once: which observations of a group are witnesses of one and the same call.
//!
//! In this order (the first two rules of correlation are exact, the others follow ids):
//! 1. the same record delivered again has the same observation id;
//! 2. the same provider request id, unless two providers' own logs place it in different accounts;
//! 3. the same response id, in whatever trace, unless one instrumentation measured two answers under it;
//! 4. call spans on one ancestor line of a trace;
//! 5. the same request id of an API gateway;
//! 6. two instrumentations that report the same failure at the same time, without any id.
//!
//! No link reaches further than a quarter of an hour of event time, so that a slice of the ledger depends on its neighbourhood
//! only.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::link::DisjointSets;
use super::twins::join_twins;
use crate::model::{MINUTE_US, Observation, Outcome, RecordId, Timestamp, UsageStatus, Witness};

/// Witnesses of one call whose starts lie further apart than this are not merged: it bounds what a settle must read.
pub const LINK_WINDOW_US: i64 = 15 * MINUTE_US;
/// No sane trace is deeper; it also ends cycles.
const MAX_DEPTH: usize = 256;

/// An observation with the sources that delivered it.
#[derive(Clone, Debug)]
pub struct Witnessed<'a> {
    /// The observation.
    pub observation: &'a Observation,
    /// Names of the sources that delivered it.
    pub sources: BTreeSet<&'a str>,
    /// When it was first read.
    pub observed_at: Timestamp,
    /// Call spans above it on its ancestor line.
    pub depth: usize,
    /// Context spans above it, nearest first: they speak for attribution only.
    pub context: Vec<&'a Observation>,
}

/// Why two observations are witnesses of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The same provider request id.
    RequestId,
    /// The same response id.
    ResponseId,
    /// The same request id of an API gateway.
    GatewayId,
    /// One is above the other in a trace.
    Ancestor,
    /// The same failure at the same time, without an id.
    Twin,
}

/// Why an observation is no witness of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It surrounds calls; it speaks for attribution only.
    Surrounds,
    /// It never reached a provider.
    NeverSent,
    /// It repeats what never reached a provider.
    BelowNeverSent,
    /// The client's span of what a gateway answered or refused by itself.
    AboveNeverSent,
    /// It repeats what the call above it says.
    Repeats,
    /// It has no usage to give.
    NoUsage,
}

/// Which observations are one call, and why.
#[derive(Debug)]
pub struct Links {
    sets: DisjointSets,
    /// What was joined, by place.
    pub joined: Vec<(usize, usize, Rule)>,
}

impl Links {
    fn new(n: usize) -> Self {
        Self { sets: DisjointSets::new(n), joined: Vec::new() }
    }

    /// Both are one call.
    pub fn join(&mut self, a: usize, b: usize, rule: Rule) {
        self.sets.join(a, b);
        self.joined.push((a, b, rule));
    }

    /// The representative of a call.
    pub fn root(&mut self, index: usize) -> usize {
        self.sets.root(index)
    }
}

/// What became of a group of observations.
#[derive(Debug)]
pub struct Counted<'a> {
    /// The witnesses of each call.
    pub calls: Vec<Vec<Witnessed<'a>>>,
    /// Which observations, by place, were joined and why.
    pub joined: Vec<(usize, usize, Rule)>,
    /// Why observations are no witnesses, by place.
    pub left_out: Vec<Option<LeftOut>>,
}

/// Each record once, in the order of ids.
pub fn unique(observations: &[Arc<Observation>]) -> Vec<Witnessed<'_>> {
    let mut unique: BTreeMap<RecordId, Witnessed<'_>> = BTreeMap::new();
    for observation in observations {
        let witnessed = unique.entry(observation.observation_id).or_insert_with(|| Witnessed {
            observation,
            sources: BTreeSet::new(),
            observed_at: observation.observed_at,
            depth: 0,
            context: Vec::new(),
        });
        // Copies may differ in what the reader added; the choice must not depend on which came first.
        if !std::ptr::eq(&**observation, witnessed.observation) && goes_first(observation, witnessed.observation) {
            witnessed.observation = observation;
        }
        witnessed.sources.insert(&observation.source);
        witnessed.observed_at = witnessed.observed_at.min(observation.observed_at);
    }
    unique.into_values().collect()
}

/// Which of two copies of a record speaks. They have the same content but for what the reader added; where they have not
/// (a span sent again with other numbers), any order will do as long as it is one.
fn goes_first(a: &Observation, b: &Observation) -> bool {
    let key = |o: &Observation| (o.ts_assumed, o.ts);
    let by_name = (&a.source, &a.dialect, key(a)).cmp(&(&b.source, &b.dialect, key(b)));
    by_name
        .then_with(|| {
            let a = Observation { observed_at: b.observed_at, ..a.clone() };
            if a == *b { Ordering::Equal } else { format!("{a:?}").cmp(&format!("{b:?}")) }
        })
        .is_lt()
}

/// The witnesses of each call.
pub fn calls<'a>(unique: &[Witnessed<'a>]) -> Counted<'a> {
    let mut sets = Links::new(unique.len());
    let spans = Spans::new(unique);
    let mut left_out: Vec<Option<LeftOut>> = (0..unique.len()).map(|index| spans.left_out(unique, index)).collect();
    for client in spans.asked_in_vain(unique) {
        if let Some(verdict) = left_out.get_mut(client) {
            *verdict = Some(LeftOut::AboveNeverSent);
        }
    }
    let is_counted = |index: &usize| left_out.get(*index).is_some_and(Option::is_none);
    join_request_ids(unique, &is_counted, &mut sets);
    join_response_ids(unique, &is_counted, &mut sets);
    join_gateway_ids(unique, &is_counted, &mut sets);
    let lines = join_ancestors(unique, &spans, &is_counted, &mut sets);
    join_twins(unique, &is_counted, &mut sets);
    let mut calls: BTreeMap<usize, Vec<Witnessed<'a>>> = BTreeMap::new();
    for (index, line) in lines {
        let Some(mut witnessed) = unique.get(index).cloned() else { continue };
        let root = sets.root(index);
        for above in line {
            witnessed.depth += usize::from(is_counted(&above));
            // What surrounds a call without being it speaks for attribution; so does the client's span above a second
            // attempt, which belongs to another call.
            if (!is_counted(&above) || sets.root(above) != root)
                && let Some(context) = unique.get(above)
            {
                witnessed.context.push(context.observation);
            }
        }
        calls.entry(root).or_default().push(witnessed);
    }
    Counted { calls: calls.into_values().collect(), joined: sets.joined, left_out }
}

/// Joins each call span to the nearest call span above it, and returns the ancestor line of each. Of several calls below
/// one span (retries and fallbacks of a gateway under the client's span) only one is the client's call, the one that was
/// answered; the others are attempts of their own.
fn join_ancestors(
    unique: &[Witnessed<'_>],
    spans: &Spans<'_>,
    counted: &dyn Fn(&usize) -> bool,
    sets: &mut Links,
) -> Vec<(usize, Vec<usize>)> {
    let mut lines = Vec::new();
    let mut below: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in (0..unique.len()).filter(counted) {
        let line = spans.ancestors(unique, index);
        if let Some(above) = line.iter().copied().find(|above| counted(above))
            && !spans.separate_attempts(unique, above, index)
            && near(unique, above, index)
            && !unique.get(above).zip(unique.get(index)).is_some_and(|(a, b)| are_apart(a.observation, b.observation))
        {
            below.entry(above).or_default().push(index);
        }
        lines.push((index, line));
    }
    for (above, children) in below {
        let is_call = |index: &usize| unique.get(*index).is_some_and(|child| child.observation.is_call());
        let answered = children.iter().copied().filter(is_call).max_by_key(|index| {
            let child = unique.get(*index).map(|witnessed| witnessed.observation);
            child.map(|child| (!failed(child), !child.usage.is_empty(), child.ts, child.observation_id))
        });
        // A raw provider span or a stream's usage span is no attempt by itself, it belongs to the span above.
        for child in children.iter().copied().filter(|index| !is_call(index)).chain(answered) {
            sets.join(child, above, Rule::Ancestor);
        }
    }
    lines
}

/// Whether a span is near enough in time to be looked at above another: what a slice is computed from must not depend on
/// how far around it somebody looked.
fn reaches(unique: &[Witnessed<'_>], above: usize, below: usize) -> bool {
    let start = |index: usize| unique.get(index).map_or(0, |witnessed| witnessed.observation.ts.0);
    (start(below) - 2 * LINK_WINDOW_US..=start(below) + LINK_WINDOW_US).contains(&start(above))
}

fn failed(observation: &Observation) -> bool {
    observation.error_code.is_some() || observation.http_status.is_some_and(|status| status >= 400)
}

fn near(unique: &[Witnessed<'_>], a: usize, b: usize) -> bool {
    let start = |index: usize| unique.get(index).map_or(0, |witnessed| witnessed.observation.ts.0);
    start(a).abs_diff(start(b)) <= LINK_WINDOW_US.unsigned_abs()
}

/// The spans of the group by trace and span id.
struct Spans<'a> {
    by_id: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Spans<'a> {
    fn new(unique: &[Witnessed<'a>]) -> Self {
        let by_id = unique.iter().enumerate().filter_map(|(index, witnessed)| {
            let span = witnessed.observation;
            Some(((span.trace_id.as_deref()?, span.span_id.as_deref()?), index))
        });
        Self { by_id: by_id.collect() }
    }

    /// Indices of the spans above, nearest first.
    fn ancestors(&self, unique: &[Witnessed<'a>], index: usize) -> Vec<usize> {
        let mut line = Vec::new();
        let mut met = HashSet::from([index]);
        let mut at = index;
        while line.len() < MAX_DEPTH {
            let above = unique.get(at).and_then(|witnessed| {
                let span = witnessed.observation;
                self.by_id.get(&(span.trace_id.as_deref()?, span.parent_span_id.as_deref()?)).copied()
            });
            let Some(above) = above.filter(|above| reaches(unique, *above, index) && met.insert(*above)) else { break };
            line.push(above);
            at = above;
        }
        line
    }

    /// Why this observation is no witness of a call; `None` if it is one. A gateway's raw provider span is one only where
    /// no call span above it has the usage; a span that carries usage for its parent is one where there is such a parent.
    fn left_out(&self, unique: &[Witnessed<'a>], index: usize) -> Option<LeftOut> {
        let span = unique.get(index)?.observation;
        if span.is_call() {
            return None;
        }
        if span.witness == Witness::NotACall {
            return Some(LeftOut::NeverSent);
        }
        let carries = is_raw(span) || span.tags.contains_key("usage_for_parent");
        if !carries || span.usage.is_empty() {
            return Some(if carries { LeftOut::NoUsage } else { LeftOut::Surrounds });
        }
        let above = || self.ancestors(unique, index).into_iter().filter_map(|above| unique.get(above));
        // What never reached a provider has no provider's answer below it either.
        if above().any(|above| above.observation.witness == Witness::NotACall) {
            return Some(LeftOut::BelowNeverSent);
        }
        let mut calls = above().filter(|above| above.observation.is_call());
        let speaks =
            if is_raw(span) { calls.all(|above| above.observation.usage.is_empty()) } else { calls.next().is_some() };
        (!speaks).then_some(LeftOut::Repeats)
    }

    /// The spans around what a gateway answered from its cache or refused: the call spans above such an event, up to the
    /// tool or agent that asked, unless another attempt below them did reach a provider.
    fn asked_in_vain(&self, unique: &[Witnessed<'a>]) -> BTreeSet<usize> {
        let witness = |index: usize| unique.get(index).map(|witnessed| witnessed.observation);
        let asking = |below: usize| -> Vec<usize> {
            let line = self.ancestors(unique, below).into_iter().filter_map(|index| Some((index, witness(index)?)));
            let near = line.take_while(|(_, span)| !asks_for_itself(span));
            near.filter(|(_, span)| span.is_call()).map(|(index, _)| index).collect()
        };
        let mut vain = BTreeSet::new();
        for (index, event) in (0..unique.len()).filter_map(|index| Some((index, witness(index)?))) {
            if event.witness == Witness::NotACall {
                // Who was refused and has an answer all the same got it elsewhere.
                let hit = event.tags.get("gateway_event").is_some_and(|kind| kind != "rejected");
                let answered = |span: &Observation| span.outcome == Some(Outcome::Ok) && !span.usage.is_empty();
                vain.extend(asking(index).into_iter().filter(|above| hit || !witness(*above).is_some_and(answered)));
            }
        }
        if !vain.is_empty() {
            let sent = |index: &usize| witness(*index).is_some_and(Observation::is_call) && !vain.contains(index);
            let above: BTreeSet<usize> = (0..unique.len()).filter(sent).flat_map(asking).collect();
            vain.retain(|span| !above.contains(span));
        }
        vain
    }

    /// A failed attempt without usage above a raw span with usage: the gateway tried twice, under one span.
    fn separate_attempts(&self, unique: &[Witnessed<'a>], above: usize, below: usize) -> bool {
        let (Some(above), Some(below)) = (unique.get(above), unique.get(below)) else { return false };
        let failed =
            above.observation.error_code.is_some() || above.observation.http_status.is_some_and(|status| status >= 400);
        is_raw(below.observation) && failed && above.observation.usage.is_empty()
    }
}

/// An agent, a tool or a workflow: what lies below it is another request than what lies above. Spans of servers and of
/// gateways only pass a request on.
fn asks_for_itself(span: &Observation) -> bool {
    span.witness == Witness::Context && span.gateway.is_none() && span.dialect != "otlp.bridge"
}

/// Two spans of one line that can't be one call: two answers to one client, or a success above a failure.
fn are_apart(above: &Observation, below: &Observation) -> bool {
    let answers = above.response_id.as_deref().zip(below.response_id.as_deref());
    let two = above.witness == Witness::Client && below.witness == Witness::Client && above.dialect == below.dialect;
    let succeeded = above.outcome == Some(Outcome::Ok) && !above.usage.is_empty();
    (two && answers.is_some_and(|(a, b)| a != b)) || (succeeded && failed(below) && below.usage.is_empty())
}

fn is_raw(span: &Observation) -> bool {
    span.tags.contains_key("raw")
}

/// Resource, or account and region.
type Place<'a> = (Option<&'a str>, Option<&'a str>);

/// Where a provider's own log says that the request was made; clients and gateways don't know or name their own place.
fn place(observation: &Observation) -> Option<Place<'_>> {
    match observation.witness {
        Witness::ProviderLog | Witness::ProviderUsage | Witness::Placeholder => match &observation.resource {
            Some(resource) => Some((Some(resource), None)),
            None if observation.account.is_some() => {
                Some((observation.account.as_deref(), observation.region.as_deref()))
            }
            None => None,
        },
        _ => None,
    }
}

fn join_request_ids(unique: &[Witnessed<'_>], counted: &dyn Fn(&usize) -> bool, sets: &mut Links) {
    let mut by_id: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, witnessed) in unique.iter().enumerate().filter(|(index, _)| counted(index)) {
        let observation = witnessed.observation;
        let Some(id) = observation.provider_request_id.as_deref() else { continue };
        // `azure.ai.openai` and `azure.ai.inference` are one log.
        let cloud = observation.platform.as_deref().and_then(|platform| platform.split('.').next()).unwrap_or("");
        by_id.entry((cloud, id)).or_default().push(index);
    }
    for indices in by_id.into_values().flat_map(|sightings| moments(unique, sightings)) {
        let mut places: BTreeMap<Option<Place<'_>>, Vec<usize>> = BTreeMap::new();
        for index in indices {
            places.entry(unique.get(index).and_then(|witnessed| place(witnessed.observation))).or_default().push(index);
        }
        let mut placeless = places.remove(&None).unwrap_or_default();
        // Whoever names no place belongs to the only one there is; with several nobody can say to which.
        if let (1, Some(only)) = (places.len(), places.values_mut().next()) {
            only.append(&mut placeless);
        }
        for group in places.into_values().chain([placeless]) {
            join_all(&group, Rule::RequestId, sets);
        }
    }
}

/// The sightings of one id, split where more than the window of a link lies between two of them. An id that is seen
/// again and again for longer than that names no single call, and is no link at all. Whether it does can be told from
/// twice the window around any of its sightings, so that a slice of the ledger depends on its neighbourhood only.
fn moments(unique: &[Witnessed<'_>], mut sightings: Vec<usize>) -> Vec<Vec<usize>> {
    let start = |index: usize| unique.get(index).map_or(0, |witnessed| witnessed.observation.ts.0);
    sightings.sort_unstable_by_key(|index| (start(*index), *index));
    let apart = |a: usize, b: usize| start(b).saturating_sub(start(a)) > LINK_WINDOW_US;
    let moments = sightings.chunk_by(|a, b| !apart(*a, *b)).map(<[usize]>::to_vec);
    moments.filter(|moment| moment.first().zip(moment.last()).is_some_and(|(a, b)| !apart(*a, *b))).collect()
}

fn join_all(group: &[usize], rule: Rule, sets: &mut Links) {
    for pair in group.windows(2) {
        if let [a, b] = pair {
            sets.join(*a, *b, rule);
        }
    }
}

/// A real id has more letters than what libraries write for none: `unknown`, `N/A`, `0`.
const fn names_one_answer(id: &str) -> bool {
    id.len() >= 8
}

/// Distinct things said of one id that are compared with each other; more than a few are never met.
const MOST_TOLD: usize = 16;

/// Some servers write one id into all their answers (`chatcmpl-123`). One instrumentation that measured two usages under
/// one id, in two traces or side by side below one span, saw two answers.
fn tells_one_answer(unique: &[Witnessed<'_>], group: &[usize]) -> bool {
    let mut told: Vec<&Observation> = Vec::new();
    for span in group.iter().filter_map(|index| Some(unique.get(*index)?.observation)) {
        if span.usage_status != UsageStatus::Measured || span.trace_id.is_none() {
            continue;
        }
        if told.iter().any(|other| are_two_answers(other, span)) {
            return false;
        }
        let same = |other: &&Observation| {
            (&other.dialect, &other.trace_id, &other.usage) == (&span.dialect, &span.trace_id, &span.usage)
        };
        if told.len() < MOST_TOLD && !told.iter().any(same) {
            told.push(span);
        }
    }
    true
}

fn are_two_answers(a: &Observation, b: &Observation) -> bool {
    let differ = |a: Option<u64>, b: Option<u64>| a.zip(b).is_some_and(|(a, b)| a != b);
    let beside = a.trace_id != b.trace_id || a.parent_span_id == b.parent_span_id;
    let counts = differ(a.usage.input, b.usage.input) || differ(a.usage.output, b.usage.output);
    a.dialect == b.dialect && beside && counts
}

fn join_response_ids(unique: &[Witnessed<'_>], counted: &dyn Fn(&usize) -> bool, sets: &mut Links) {
    let mut by_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, witnessed) in unique.iter().enumerate().filter(|(index, _)| counted(index)) {
        if let Some(id) = witnessed.observation.response_id.as_deref().filter(|id| names_one_answer(id)) {
            by_id.entry(id).or_default().push(index);
        }
    }
    for group in by_id.into_values().flat_map(|sightings| moments(unique, sightings)) {
        if tells_one_answer(unique, &group) {
            join_all(&group, Rule::ResponseId, sets);
        }
    }
}

fn join_gateway_ids(unique: &[Witnessed<'_>], counted: &dyn Fn(&usize) -> bool, sets: &mut Links) {
    let mut by_id: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, witnessed) in unique.iter().enumerate().filter(|(index, _)| counted(index)) {
        let observation = witnessed.observation;
        if let (Some(gateway), Some(id)) = (observation.gateway.as_deref(), observation.gateway_request_id.as_deref())
            && observation.dialect.starts_with("azure.apim")
        {
            by_id.entry((gateway, id)).or_default().push(index);
        }
    }
    for group in by_id.into_values().flat_map(|sightings| moments(unique, sightings)) {
        join_all(&group, Rule::GatewayId, sets);
    }
}
