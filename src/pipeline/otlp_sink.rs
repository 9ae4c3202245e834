//! The receiver's sink: normalize, commit, and only then answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prost::Message;

use super::ingest::{Totals, count, sort};
use crate::clock::Clock;
use crate::collect::otlp_server::{Export, Kept, Signal, Sink, SinkError};
use crate::journal::{Journal, Positions};
use crate::model::{Flaws, Normalized, RecordId, RecordRef, Rows, fingerprint};
use crate::sources::otlp::{OtlpSpans, decode_logs, decode_metrics, decode_traces};
use crate::telemetry::SourceBoard;

/// Longest wait for the journal: exporters give up after ten seconds by default.
const PATIENCE: Duration = Duration::from_secs(8);

/// Reasons that a partial success names.
const REASONS_TOLD: usize = 5;

/// Keeps what an OTLP receiver decodes.
pub struct OtlpSink {
    /// Name of the source.
    pub source: Arc<str>,
    /// How spans are read.
    pub spans: Arc<OtlpSpans>,
    /// Where rows go.
    pub journal: Journal,
    /// For `observed_at`.
    pub clock: Arc<dyn Clock>,
    /// Where the source's state is shown.
    pub board: SourceBoard,
}

#[async_trait]
impl Sink for OtlpSink {
    async fn keep(&self, export: Export, flaws: Flaws) -> Result<Kept, SinkError> {
        let now = self.clock.now();
        let (spans, source) = (Arc::clone(&self.spans), Arc::clone(&self.source));
        let normalize = move || {
            let at = RecordRef { source: &source, object: "otlp", position: 0, object_time: now, observed_at: now };
            let mut out = Vec::new();
            match &export {
                Export::Traces(request) => spans.traces(request, &at, &mut out),
                Export::Metrics(request) => spans.metrics(request, &at, &mut out),
                Export::Logs(request) => spans.logs(request, &at, &mut out),
            }
            let (mut rows, mut totals) = (Rows::default(), Totals::default());
            totals.records = u64::try_from(out.len()).unwrap_or(u64::MAX);
            let mut reasons = Told::new();
            for reason in out.iter().filter_map(reason) {
                *reasons.entry(reason).or_default() += 1;
            }
            // All that could not be decoded for the same reason is one row.
            let mut more = 0;
            for (reject, count) in flaws.left_out() {
                *reasons.entry(reject.reason).or_default() += count;
                totals.records += count;
                more += count.saturating_sub(1);
                out.push(Normalized::Rejected(reject));
            }
            // A request has no place to be found again; its content tells a second delivery from a second failure.
            let request = if reasons.is_empty() { String::new() } else { format!("otlp/{}", digest(&export, &flaws)) };
            let at = RecordRef { object: &request, ..at };
            sort(&mut out, &at, 0, "otlp", &mut rows, &mut totals);
            totals.quarantined += more;
            (rows, totals, message(&reasons, &flaws.mended().collect()))
        };
        // Requests are small; a large one must not hold up the others of its thread.
        let (rows, totals, message) = tokio::task::block_in_place(normalize);
        if !rows.is_empty() {
            let unavailable = |error: String| {
                self.board.update(&self.source, |status| status.last_error = Some(error));
                SinkError::Unavailable("the journal can't be written, try again".to_owned())
            };
            // A store that hangs must not hold clients longer than they wait. What lands later is the same rows again.
            let kept = tokio::time::timeout(PATIENCE, self.journal.append(rows, Positions::default())).await;
            kept.map_err(|_| unavailable("the store does not answer".to_owned()))?
                .map_err(|error| unavailable(crate::telemetry::chain(&*error)))?;
        }
        count("otlp", totals);
        self.board.complete(&self.source, now);
        self.board.update(&self.source, |status| {
            status.records += totals.records;
            status.quarantined += totals.quarantined;
            status.last_record_at = Some(now.to_string());
        });
        Ok(Kept { rejected: totals.quarantined, message })
    }

    fn decode_json(&self, signal: Signal, body: &[u8], flaws: &mut Flaws) -> Result<Export, String> {
        let export = match signal {
            Signal::Traces => decode_traces(body, flaws).map(Export::Traces),
            Signal::Metrics => decode_metrics(body, flaws).map(Export::Metrics),
            Signal::Logs => decode_logs(body, flaws).map(Export::Logs),
        };
        export.map_err(|error| error.to_string())
    }
}

/// Stable words and how often each applies.
type Told = BTreeMap<&'static str, u64>;

const fn reason(normalized: &Normalized) -> Option<&'static str> {
    match normalized {
        Normalized::Rejected(reject) => Some(reject.reason),
        _ => None,
    }
}

/// What a client should know: what was set aside and what was taken in after repair, in one line of bounded length.
fn message(reasons: &Told, mended: &Told) -> String {
    let parts = [("set aside, see the table quarantine: ", reasons), ("accepted after repair: ", mended)];
    let parts = parts.into_iter().filter(|(_, told)| !told.is_empty());
    parts.map(|(what, told)| format!("{what}{}", most_frequent(told))).collect::<Vec<_>>().join("; ")
}

/// The most frequent words with their numbers.
fn most_frequent(told: &Told) -> String {
    let mut counts: Vec<_> = told.iter().collect();
    // Stable: equally frequent ones stay in the order of their names.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut parts: Vec<_> = counts.iter().take(REASONS_TOLD).map(|(word, count)| format!("{word} ({count})")).collect();
    let others: u64 = counts.iter().skip(REASONS_TOLD).map(|(_, count)| **count).sum();
    if others > 0 {
        parts.push(format!("other reasons ({others})"));
    }
    parts.join(", ")
}

fn digest(export: &Export, flaws: &Flaws) -> RecordId {
    let bytes = match export {
        Export::Traces(request) => request.encode_to_vec(),
        Export::Metrics(request) => request.encode_to_vec(),
        Export::Logs(request) => request.encode_to_vec(),
    };
    // Of a request that could not be read as a whole, what was read does not tell all.
    if flaws.is_empty() { fingerprint([bytes.as_slice()]) } else { fingerprint([bytes.as_slice(), &flaws.request.0]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reasons_are_told_with_their_numbers() {
        assert_eq!(message(&Told::new(), &Told::new()), "");
        let reasons = [("bad_time", 3), ("absurd_tokens", 2), ("a", 1), ("b", 1), ("c", 1), ("d", 1)].into();
        let expected = "set aside, see the table quarantine: bad_time (3), absurd_tokens (2), a (1), b (1), c (1), \
                        other reasons (1)";
        assert_eq!(message(&reasons, &Told::new()), expected);
        assert_eq!(message(&Told::new(), &[("invalid_utf8", 2)].into()), "accepted after repair: invalid_utf8 (2)");
        assert!(
            message(&reasons, &[("invalid_utf8", 2)].into()).ends_with("(1); accepted after repair: invalid_utf8 (2)")
        );
    }
}
