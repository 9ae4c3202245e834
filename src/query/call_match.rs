//! What two kinds of witnesses say about the same calls: each side is settled by itself, by the rules that all calls are
//! settled with, and the two are matched. The archive is read in portions; what is kept of a call is a few words.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{QueryError, ReportFailure};
use crate::finance::bill::{CallOptions, CallsReport, CallsSide, LoggedCall, match_calls};
use crate::ledger::View;
use crate::model::{HOUR_US, Interval, Observation, Outcome, RecordId, Timestamp, UsageStatus, Witness};
use crate::settle::{MARGIN_US, Rules, Settled, settle};

/// So much of the archive is in memory at once.
const PORTION_US: i64 = 3 * HOUR_US;

/// Who speaks on a side: kinds of witnesses, or sources by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speakers {
    text: String,
    witnesses: Vec<Witness>,
    sources: Vec<String>,
}

impl Speakers {
    /// Reads `gateway,client` or `source=litellm`.
    ///
    /// # Errors
    /// A word that is neither, with what there is.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut all = Self { text: text.to_owned(), ..Self::default() };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if let Some(source) = word.strip_prefix("source=") {
                all.sources.push(source.to_owned());
                continue;
            }
            match word.parse() {
                Ok(witness @ (Witness::ProviderUsage | Witness::ProviderLog | Witness::Gateway | Witness::Client)) => {
                    all.witnesses.push(witness);
                }
                _ => {
                    return Err(format!(
                        "'{word}' is no side; there are gateway, client, provider_log, provider_usage and source=NAME"
                    ));
                }
            }
        }
        if all.witnesses.is_empty() && all.sources.is_empty() {
            return Err("name a side, for example gateway,client or source=litellm".to_owned());
        }
        Ok(all)
    }

    fn has(&self, observation: &Observation) -> bool {
        self.sources.contains(&observation.source) || self.witnesses.contains(&observation.witness)
    }

    /// Also what is never a call, so that what a gateway answered by itself is known as such.
    fn hears(&self, observation: &Observation) -> bool {
        let beside = matches!(observation.witness, Witness::Context | Witness::NotACall | Witness::Placeholder);
        self.has(observation) || (beside && self.sources.is_empty())
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct CallsAsk {
    /// The time.
    pub within: Interval,
    /// The gateway's or the application's side.
    pub left: Speakers,
    /// The provider's side.
    pub right: Speakers,
    /// Only this platform.
    pub platform: Option<String>,
    /// What may be the same call.
    pub options: CallOptions,
}

/// Matches the calls of both sides.
///
/// # Errors
/// The archive can't be read.
pub async fn reconcile_calls(view: &View, rules: &Arc<Rules>, ask: CallsAsk) -> Result<CallsReport, ReportFailure> {
    // What lies near the ends may have its counterpart just outside.
    let around = ask.within.widened(2 * ask.options.window_us);
    let (mut left, mut right) = (Side::new(&ask.left), Side::new(&ask.right));
    let mut from = around.from;
    while from < around.to {
        let portion = Interval { from, to: from.plus(PORTION_US).min(around.to) };
        let observations = read(view, portion.widened(MARGIN_US)).await?;
        // A moment in which nobody spoke costs nothing.
        if !observations.is_empty() {
            let (rules, platform) = (Arc::clone(rules), ask.platform.clone());
            let work = move || {
                left.take(&observations, portion, &rules, platform.as_deref());
                right.take(&observations, portion, &rules, platform.as_deref());
                (left, right)
            };
            (left, right) =
                tokio::task::spawn_blocking(work).await.map_err(|error| QueryError::Internal(Box::new(error)))?;
        }
        from = portion.to;
    }
    let mut notes = Vec::new();
    let rules = Arc::clone(rules);
    let work = move || {
        let known: HashSet<&str> = rules.prices.rates().map(|rate| rate.model.as_str()).collect();
        let (mut left, mut right) = (left.end(&known, &mut notes), right.end(&known, &mut notes));
        only_common(&mut left, &mut right, &mut notes);
        choose_ids(&mut left, &mut right);
        let found = match_calls(&left.calls, &right.calls, &ask.options);
        CallsReport::new(ask.within, left, right, found, notes)
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|error| QueryError::Internal(Box::new(error)))?)
}

/// Archived observations and those that are not archived yet.
async fn read(view: &View, within: Interval) -> Result<Vec<Arc<Observation>>, QueryError> {
    let archived = view.archive.read(within).await.map_err(|error| QueryError::Internal(Box::new(error)))?;
    let mut all: Vec<Arc<Observation>> = archived.into_iter().map(Arc::new).collect();
    let tail = view.tail.iter().flat_map(|rows| &rows.observations);
    all.extend(tail.filter(|observation| within.contains(observation.ts)).cloned());
    Ok(all)
}

/// A call of a side, and how often a source delivered it.
struct Told {
    call: LoggedCall,
    trace_id: Option<String>,
    request_id: Option<String>,
    response_id: Option<String>,
    source: Arc<str>,
    copies: usize,
}

/// The calls of one side.
struct Side {
    speakers: Speakers,
    told: Vec<Told>,
    sources: HashSet<Arc<str>>,
    failed: u64,
}

impl Side {
    fn new(speakers: &Speakers) -> Self {
        Self { speakers: speakers.clone(), told: Vec::new(), sources: HashSet::new(), failed: 0 }
    }

    fn take(&mut self, all: &[Arc<Observation>], portion: Interval, rules: &Rules, platform: Option<&str>) {
        let heard: Vec<Arc<Observation>> =
            all.iter().filter(|observation| self.speakers.hears(observation)).cloned().collect();
        let mut rows: HashMap<RecordId, Vec<&Arc<Observation>>> = HashMap::new();
        for observation in heard.iter().filter(|observation| self.speakers.has(observation)) {
            rows.entry(observation.observation_id).or_default().push(observation);
        }
        for settled in settle(&heard, rules, Timestamp(0)) {
            let on = settled.call.platform.as_deref();
            if !portion.contains(settled.call.ts) || platform.is_some_and(|platform| on != Some(platform)) {
                continue;
            }
            let own: Vec<&Arc<Observation>> =
                settled.members.iter().filter_map(|id| rows.get(id)).flatten().copied().collect();
            if own.is_empty() {
                continue;
            }
            if settled.call.usage_status == UsageStatus::Missing && failed(settled.call.outcome) {
                self.failed += 1;
                continue;
            }
            self.add(&settled, &own);
        }
    }

    fn add(&mut self, settled: &Settled, own: &[&Arc<Observation>]) {
        let call = &settled.call;
        let logged = |id: RecordId, input: Option<u64>, output: Option<u64>, at: Timestamp| LoggedCall {
            id: id.to_string(),
            request_id: None,
            platform: call.platform.clone().unwrap_or_default(),
            model: call.model.clone(),
            at,
            input,
            output,
        };
        // Of one form of record in one source, several records are several rows of its log; several forms are one call.
        let mut forms: BTreeMap<(&str, &str), Vec<&Arc<Observation>>> = BTreeMap::new();
        for observation in own {
            let counted = observation.usage.input.is_some() || observation.usage.output.is_some();
            let provider = matches!(observation.witness, Witness::ProviderUsage | Witness::ProviderLog);
            if counted && provider {
                forms.entry((&observation.source, &observation.dialect)).or_default().push(observation);
            }
        }
        let mut seen: BTreeMap<RecordId, (&Arc<Observation>, usize)> = BTreeMap::new();
        let most = forms
            .into_values()
            .max_by_key(|rows| rows.iter().map(|row| row.observation_id).collect::<HashSet<_>>().len());
        for row in most.as_ref().unwrap_or(&own.to_vec()) {
            seen.entry(row.observation_id).or_insert((row, 0)).1 += 1;
        }
        let Some((first, _)) = seen.values().next() else { return };
        let several = most.is_some() && seen.len() > 1;
        let copies = seen.values().map(|(_, copies)| *copies).max().unwrap_or(1);
        let usage = &call.usage;
        let mut told = vec![(logged(first.observation_id, usage.input, usage.output, call.ts), copies)];
        if several {
            told = seen
                .values()
                .map(|(row, copies)| (logged(row.observation_id, row.usage.input, row.usage.output, row.ts), *copies))
                .collect();
        }
        let source: Arc<str> = match self.sources.get(first.source.as_str()) {
            Some(known) => Arc::clone(known),
            None => {
                let source: Arc<str> = first.source.as_str().into();
                self.sources.insert(Arc::clone(&source));
                source
            }
        };
        for (logged, copies) in told {
            self.told.push(Told {
                call: logged,
                trace_id: call.trace_id.clone(),
                request_id: call.provider_request_id.clone(),
                response_id: call.response_id.clone(),
                source: Arc::clone(&source),
                copies,
            });
        }
    }

    /// The calls, each as often as its source has it beyond how often the source was read.
    fn end(self, known: &HashSet<&str>, notes: &mut Vec<String>) -> CallsSide {
        let mut copies: BTreeMap<Arc<str>, BTreeMap<usize, usize>> = BTreeMap::new();
        for told in &self.told {
            *copies.entry(Arc::clone(&told.source)).or_default().entry(told.copies).or_default() += 1;
        }
        let usual: BTreeMap<Arc<str>, usize> = copies
            .into_iter()
            .filter_map(|(source, counts)| Some((source, counts.into_iter().max_by_key(|(_, calls)| *calls)?.0)))
            .collect();
        for (source, times) in usual.iter().filter(|(_, times)| **times > 1) {
            notes.push(format!(
                "most records of {source} were read {times} times; only what is there more often is named"
            ));
        }
        if self.failed > 0 {
            notes.push(format!(
                "{} failed requests of {} without any tokens are not compared",
                self.failed, self.speakers.text
            ));
        }
        let mut side = CallsSide { name: self.speakers.text, failed: self.failed, ..CallsSide::default() };
        for mut told in self.told {
            // A gateway may know a model by the name of a deployment only: a name that no price list has is no model.
            told.call.model = told.call.model.filter(|model| known.contains(model.as_str()));
            let usual = usual.get(&told.source).copied().unwrap_or(1);
            let times = 1 + told.copies.saturating_sub(usual);
            for _ in 0..times {
                // Both ids wait here; one of them is chosen for the platform.
                let request_id = told.request_id.clone();
                side.calls.push(LoggedCall { request_id, ..told.call.clone() });
                side.ids.push((told.trace_id.clone(), told.response_id.clone()));
            }
        }
        side
    }
}

const fn failed(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Throttled | Outcome::ClientError | Outcome::ServerError | Outcome::Timeout | Outcome::Cancelled
    )
}

/// A platform of which one side has no log at all can't be compared.
fn only_common(left: &mut CallsSide, right: &mut CallsSide, notes: &mut Vec<String>) {
    let platforms =
        |side: &CallsSide| -> HashSet<String> { side.calls.iter().map(|call| call.platform.clone()).collect() };
    let (ours, theirs) = (platforms(left), platforms(right));
    let mut missing: BTreeMap<(String, String), u64> = BTreeMap::new();
    let (name, left_name) = (right.name.clone(), left.name.clone());
    for (side, others, lacks) in [(&mut *left, &theirs, name), (right, &ours, left_name)] {
        let keep: Vec<bool> = side.calls.iter().map(|call| others.contains(&call.platform)).collect();
        for call in side.calls.iter().filter(|call| !others.contains(&call.platform)) {
            *missing.entry((call.platform.clone(), lacks.clone())).or_default() += 1;
        }
        let mut kept = keep.iter();
        side.calls.retain(|_| kept.next().copied().unwrap_or(true));
        let mut kept = keep.iter();
        side.ids.retain(|_| kept.next().copied().unwrap_or(true));
    }
    for ((platform, lacks), calls) in missing {
        let platform = if platform.is_empty() { "an unknown platform".to_owned() } else { platform };
        notes.push(format!(
            "{lacks} has no record of {platform} at all: {calls} calls of the other side are not compared"
        ));
    }
}

/// Per platform the kind of id that more calls of both sides share: the provider's request id, or that of its answer.
fn choose_ids(left: &mut CallsSide, right: &mut CallsSide) {
    let platforms: HashSet<String> = left.calls.iter().map(|call| call.platform.clone()).collect();
    for platform in platforms {
        let requests = |side: &CallsSide| -> HashSet<String> {
            let on = side.calls.iter().filter(|call| call.platform == platform);
            on.filter_map(|call| call.request_id.clone()).collect()
        };
        let responses = |side: &CallsSide| -> HashSet<String> {
            let on = side.calls.iter().zip(&side.ids).filter(|(call, _)| call.platform == platform);
            on.filter_map(|(_, (_, response))| response.clone()).collect()
        };
        let by_request = requests(left).intersection(&requests(right)).count();
        let by_response = responses(left).intersection(&responses(right)).count();
        if by_response > by_request {
            for side in [&mut *left, &mut *right] {
                let on = side.calls.iter_mut().zip(&side.ids).filter(|(call, _)| call.platform == platform);
                on.for_each(|(call, (_, response))| call.request_id.clone_from(response));
            }
        }
    }
}
