//! Batches of made-up traffic: a history in time order, then a trickle as time passes.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::company::Platform;
use super::request::{Request, Room};
use super::rng::Rng;
use super::scenario::Scenario;
use super::spans::Spans;
use super::totals::{DemoCounters, Totals};
use super::truth::DemoTruth;
use super::{azure, bedrock, gateway, meters, sdk};
use crate::model::{HOUR_US, MINUTE_US, SECOND_US, Timestamp};

/// Length of a batch of history.
const BATCH_US: i64 = 5 * MINUTE_US;
/// Longest history, hours.
const LONGEST_HOURS: u32 = 24 * 366;
/// Longest stretch of live traffic that is made up at once, seconds: after a long sleep the rest is skipped.
const LONGEST_LIVE_S: i64 = 3600;
/// What is left free before the end of a batch, so that everything about a call is written within it.
const WRITING_US: i64 = azure::LATEST_ROW_US + 100_000;

/// A generator of made-up traffic.
#[derive(Clone, Debug)]
pub struct Demo {
    rng: Rng,
    scenario: Scenario,
    now: Timestamp,
    totals: Totals,
}

/// A few minutes of traffic, as the sources would deliver it.
#[derive(Clone, Debug)]
pub struct DemoBatch {
    /// Nothing in the batch is later than this instant, and nothing in a later batch ends before it.
    pub until: Timestamp,
    /// Lines of JSON: Bedrock model invocation log records.
    pub bedrock: Vec<u8>,
    /// Lines of JSON: Azure OpenAI diagnostics, as in a storage blob, of both categories and not quite in order.
    pub azure: Vec<u8>,
    /// Exports of the gateway and of instrumented applications.
    pub otlp: Vec<ExportTraceServiceRequest>,
    /// The totals that a service without spans reports.
    pub metrics: Option<ExportMetricsServiceRequest>,
    /// What the clouds counted themselves in hours that are final now.
    pub counters: DemoCounters,
    /// What really happened.
    pub truth: DemoTruth,
}

impl Demo {
    /// A demo that starts at `now`. Equal arguments give equal traffic; another moment gives other ids too.
    #[must_use]
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let moment = u64::try_from(now.0).unwrap_or(0);
        Self {
            rng: Rng::new(Rng::new(seed).next() ^ moment),
            scenario: Scenario::new(now),
            now,
            totals: Totals::default(),
        }
    }

    /// `calls` calls of the last `hours` hours (at least one hour), spread by the load over a day. Every record lies in
    /// (now − hours, now]; each batch is five minutes of traffic.
    pub fn history(&mut self, calls: usize, hours: u32) -> impl Iterator<Item = DemoBatch> {
        let length = i64::from(hours.clamp(1, LONGEST_HOURS)).saturating_mul(HOUR_US);
        let begin = self.now.plus(-length);
        let mut history = History {
            begin,
            next: begin,
            load: 0,
            passed: 0,
            made: 0,
            calls: u64::try_from(calls).unwrap_or(u64::MAX),
            demo: self,
        };
        history.load = history.total_load();
        history
    }

    /// Traffic that is done in (`from`, `to`]: about one call a second. Calls that end in it may have begun a little
    /// before. At most the last hour is made up; nothing if `to` is not after `from`.
    pub fn live(&mut self, from: Timestamp, to: Timestamp) -> DemoBatch {
        let from = from.max(to.plus(-LONGEST_LIVE_S * SECOND_US));
        let seconds = to.0.div_euclid(SECOND_US).saturating_sub(from.0.div_euclid(SECOND_US));
        let calls = (0..seconds).map(|_| self.rng.below(4).div_ceil(2)).sum();
        self.batch(from, to, calls, from.plus(-HOUR_US))
    }

    /// `calls` calls that are done in (`from`, `to`].
    fn batch(&mut self, from: Timestamp, to: Timestamp, calls: u64, earliest: Timestamp) -> DemoBatch {
        let mut truth = DemoTruth::default();
        let mut spans = Spans::default();
        let mut bedrock_lines = Vec::new();
        let mut azure_lines = Vec::new();
        let length = to.0.saturating_sub(from.0);
        let mut left = calls;
        while left > 0 {
            let done = from.plus(1 + self.rng.below_us(length)).max(earliest.plus(4 * SECOND_US + WRITING_US)).min(to);
            let room = Room { earliest: earliest.plus(2 * SECOND_US), end: done.plus(-WRITING_US), attempts: left };
            let Some(request) = Request::make(&mut self.rng, &self.scenario, room) else {
                break;
            };
            left = left.saturating_sub(u64::try_from(request.attempts.len()).unwrap_or(1).max(1));
            for attempt in &request.attempts {
                self.totals.count(&request, attempt);
                match attempt.place.platform {
                    Platform::Bedrock { .. } => {
                        let mut line = String::with_capacity(1200);
                        bedrock::line(&mut line, &mut self.rng, &request, attempt);
                        bedrock_lines.push((attempt.end(), line));
                    }
                    Platform::Azure { .. } => azure::rows(&mut azure_lines, &mut self.rng, &request, attempt),
                    Platform::OpenAi | Platform::Anthropic => {}
                }
            }
            sdk::spans(&mut spans, &mut self.rng, &request);
            request.count(&mut truth);
            if let Some(again) = request.again(&mut self.rng, from, to) {
                gateway::cached(&mut spans, &mut self.rng, &again);
                again.count_cached(&mut truth);
            }
        }
        let metrics = meters::report(&mut self.rng, &mut truth, from, to);
        DemoBatch {
            until: to,
            bedrock: joined(bedrock_lines),
            azure: joined(azure_lines),
            otlp: spans.into_requests(),
            metrics,
            counters: self.totals.take(to),
            truth,
        }
    }
}

/// The lines in the order of their instants.
fn joined(mut lines: Vec<(Timestamp, String)>) -> Vec<u8> {
    lines.sort_by_key(|(at, _)| *at);
    let mut bytes = Vec::with_capacity(lines.iter().map(|(_, line)| line.len()).sum());
    lines.iter().for_each(|(_, line)| bytes.extend_from_slice(line.as_bytes()));
    bytes
}

/// The batches of a history, made one at a time.
struct History<'a> {
    demo: &'a mut Demo,
    begin: Timestamp,
    next: Timestamp,
    /// Load of all batches together, and of those that are done.
    load: u128,
    passed: u128,
    /// Calls made so far, of this many.
    made: u64,
    calls: u64,
}

impl History<'_> {
    fn total_load(&self) -> u128 {
        let mut load = 0;
        let mut at = self.begin;
        while at < self.demo.now {
            load += u128::from(Scenario::load(at));
            at = at.plus(BATCH_US);
        }
        load.max(1)
    }
}

impl Iterator for History<'_> {
    type Item = DemoBatch;

    fn next(&mut self) -> Option<DemoBatch> {
        let from = self.next;
        if from >= self.demo.now {
            return None;
        }
        let to = from.plus(BATCH_US).min(self.demo.now);
        self.next = to;
        self.passed += u128::from(Scenario::load(from));
        let due = u64::try_from(u128::from(self.calls) * self.passed / self.load).unwrap_or(self.calls);
        let calls = due.saturating_sub(self.made);
        self.made = due;
        Some(self.demo.batch(from, to, calls, self.begin))
    }
}
