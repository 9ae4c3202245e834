//! What there is to deliver: calls are made, their witnesses wait for their turn, and what was not acknowledged stays.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::rng::Rng;
use crate::records::now_us;

/// Spans that one request carries at most.
const BATCH_SPANS: usize = 12;
/// Log records that one write carries at most.
const WRITE_LINES: usize = 15;

/// An export request; sent again byte for byte until it is acknowledged.
#[derive(Clone)]
pub struct Batch {
    pub body: Arc<str>,
    acknowledged: bool,
}

/// Something that waits until its round comes.
struct Waiting<T> {
    due: u64,
    what: T,
}

/// The load and its state.
pub struct World {
    seed: u64,
    rng: Rng,
    round: u64,
    /// Calls that this round may still make.
    room: usize,
    calls: Vec<Call>,
    spans: Vec<Waiting<Value>>,
    lines: Vec<Waiting<(usize, String)>>,
    unsent: Vec<Batch>,
    /// Batches that were acknowledged, each once.
    pub acknowledged: u64,
    /// Requests that were sent although an earlier one had carried the same bytes.
    pub repeated: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::new(seed, 0),
            round: 0,
            room: 0,
            calls: Vec::new(),
            spans: Vec::new(),
            lines: Vec::new(),
            unsent: Vec::new(),
            acknowledged: 0,
            repeated: 0,
        }
    }

    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The next round, in which at most `room` calls are made.
    pub fn begin_round(&mut self, room: usize) {
        self.round += 1;
        self.room = room;
    }

    /// No more calls, and everything that waits is due.
    pub fn begin_last_round(&mut self) {
        self.round = u64::MAX;
        self.room = 0;
    }

    pub fn is_last_round(&self) -> bool {
        self.round == u64::MAX
    }

    /// Makes some calls; their witnesses wait, some for rounds.
    fn make_calls(&mut self) {
        let count = usize::try_from(1 + self.rng.below(6)).unwrap().min(self.room);
        self.room -= count;
        for _ in 0..count {
            let call = Call::new(self.seed, u64::try_from(self.calls.len()).unwrap(), now_us());
            for span in call.spans() {
                // Some spans are exported by two pipelines, in different requests.
                for _ in 0..=u64::from(self.rng.chance(10)) {
                    let due = self.due();
                    self.spans.push(Waiting { due, what: span.clone() });
                }
            }
            for (folder, record) in call.folders.iter().zip(std::iter::repeat(call.record())) {
                let due = self.due();
                self.lines.extend(record.map(|record| Waiting { due, what: (*folder, record.to_string()) }));
            }
            self.calls.push(call);
        }
    }

    /// Most witnesses come at once, some a few rounds later, some much later.
    fn due(&mut self) -> u64 {
        let later = match self.rng.below(100) {
            0..60 => 0,
            60..85 => 1 + self.rng.below(3),
            85..97 => 4 + self.rng.below(12),
            _ => 16 + self.rng.below(60),
        };
        self.round + later
    }

    /// A request to send: one that failed before, or a new one. `None` where there is nothing to do in this round.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let fresh = self.room > 0 || self.spans.iter().any(|span| span.due <= self.round);
        if !self.unsent.is_empty() && (!fresh || self.rng.chance(60)) {
            let at = self.rng.index(&self.unsent);
            self.repeated += 1;
            return Some(self.unsent.swap_remove(at));
        }
        if self.room > 0 {
            self.make_calls();
        }
        let spans = take(&mut self.spans, self.round, BATCH_SPANS, &mut self.rng);
        let body = json!({"resourceSpans": spans}).to_string();
        (!spans.is_empty()).then(|| Batch { body: body.into(), acknowledged: false })
    }

    /// The receiver has answered 200. Some clients don't notice and send it again.
    pub fn acknowledged(&mut self, mut batch: Batch) {
        self.acknowledged += u64::from(!batch.acknowledged);
        batch.acknowledged = true;
        if !self.is_last_round() && self.rng.chance(12) {
            self.unsent.push(batch);
        }
    }

    /// Nothing was promised: it is sent again.
    pub fn failed(&mut self, batch: Batch) {
        self.unsent.push(batch);
    }

    /// Log lines to write into the folder of one source, in no order. `None` where none is due.
    pub fn next_lines(&mut self) -> Option<(usize, Vec<String>)> {
        let due: Vec<usize> = self.lines.iter().filter(|line| line.due <= self.round).map(|line| line.what.0).collect();
        let folder = *due.first()?;
        let (mut own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lines).into_iter().partition(|line| line.what.0 == folder);
        let taken = take(&mut own, self.round, WRITE_LINES, &mut self.rng);
        self.lines = others;
        self.lines.append(&mut own);
        Some((folder, taken.into_iter().map(|(_, line)| line).collect()))
    }

    /// True where nothing waits any longer and everything is acknowledged.
    pub fn is_delivered(&self) -> bool {
        self.spans.is_empty() && self.lines.is_empty() && self.unsent.is_empty()
    }
}

/// Takes up to `limit` of what is due, at random.
fn take<T>(waiting: &mut Vec<Waiting<T>>, round: u64, limit: usize, rng: &mut Rng) -> Vec<T> {
    let mut taken = Vec::new();
    let (mut due, later): (Vec<_>, Vec<_>) =
        std::mem::take(waiting).into_iter().partition(|waiting| waiting.due <= round);
    while taken.len() < limit && !due.is_empty() {
        let at = rng.index(&due);
        taken.push(due.swap_remove(at).what);
    }
    due.extend(later);
    *waiting = due;
    taken
}
