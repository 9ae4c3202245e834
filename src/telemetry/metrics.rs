//! Every metric of polymeter, by name and in one place. Labels are bounded: source kind, outcome, reason; never a
//! model, a team or an id.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

const RECORDS: &str = "polymeter_records_total";
const QUARANTINED: &str = "polymeter_quarantined_total";
const OTLP_REQUESTS: &str = "polymeter_otlp_requests_total";
const JOURNAL_COMMITS: &str = "polymeter_journal_commits_total";
const JOURNAL_COMMIT_SECONDS: &str = "polymeter_journal_commit_seconds";
const JOURNAL_ROWS: &str = "polymeter_journal_rows_total";
const JOURNAL_DAMAGED: &str = "polymeter_journal_damaged_total";
const SETTLES: &str = "polymeter_settles_total";
const SETTLE_SECONDS: &str = "polymeter_settle_seconds";
const TAIL_ROWS: &str = "polymeter_tail_rows";
const HOT_CALLS: &str = "polymeter_hot_calls";
const HORIZON: &str = "polymeter_horizon_timestamp_seconds";
const ACTIVE_FILES: &str = "polymeter_table_files";
const TABLE_BYTES: &str = "polymeter_table_bytes";
const LOG_OBJECTS: &str = "polymeter_table_log_objects";
const ROWS_WRITTEN: &str = "polymeter_rows_written_total";
const TABLE_COMMITS: &str = "polymeter_table_commits_total";
const TABLE_COMMIT_SECONDS: &str = "polymeter_table_commit_seconds";
const HOT_ROWS: &str = "polymeter_hot_observations";
const SETTLE_LAG: &str = "polymeter_settle_lag_seconds";
const MERGED_FILES: &str = "polymeter_merged_files_total";
const QUERIES: &str = "polymeter_queries_total";
const QUERY_SECONDS: &str = "polymeter_query_seconds";
const SOURCE_ERRORS: &str = "polymeter_source_errors_total";
const BUDGET_SPENT: &str = "polymeter_budget_spent";
const BUDGET_FORECAST: &str = "polymeter_budget_forecast";
const BUDGET_AMOUNT: &str = "polymeter_budget_amount";
const BUDGET_ALERTS: &str = "polymeter_budget_alerts_total";
const SOURCE_UP: &str = "polymeter_source_up";
const SOURCE_FAILED_OBJECTS: &str = "polymeter_source_failed_objects";
const LIVE_TAIL_SAMPLED: &str = "polymeter_live_tail_sampled_updates_total";
const SOURCE_COMPLETE: &str = "polymeter_source_complete_to_timestamp_seconds";

/// Installs the recorder; the handle renders the Prometheus text.
///
/// # Errors
/// A recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])?
        .install_recorder()?;
    describe_counter!(RECORDS, "Records read, by source kind and what became of them");
    describe_counter!(QUARANTINED, "Records set aside, by source kind and reason");
    describe_counter!(OTLP_REQUESTS, "OTLP export requests, by signal and answer");
    describe_counter!(JOURNAL_COMMITS, "Journal group commits, by result");
    describe_histogram!(JOURNAL_COMMIT_SECONDS, "Time to make one journal object durable");
    describe_counter!(JOURNAL_ROWS, "Rows made durable in the journal");
    describe_counter!(JOURNAL_DAMAGED, "Journal objects that could not be read");
    describe_counter!(SETTLES, "Settle runs, by result");
    describe_histogram!(SETTLE_SECONDS, "Time of one settle run");
    describe_gauge!(TAIL_ROWS, "Rows in the journal that are not yet settled");
    describe_gauge!(HOT_CALLS, "Calls newer than the horizon, kept in memory");
    describe_gauge!(HORIZON, "The instant that divides ledger and hot set");
    describe_gauge!(ACTIVE_FILES, "Active files of each table");
    describe_gauge!(TABLE_BYTES, "Bytes of the active files of each table");
    describe_gauge!(LOG_OBJECTS, "Objects in the log of each table, as of the last upkeep");
    describe_counter!(ROWS_WRITTEN, "Rows written into files of each table, merges included");
    describe_counter!(TABLE_COMMITS, "Commits of each table, by result");
    describe_histogram!(TABLE_COMMIT_SECONDS, "Time of one commit of a table");
    describe_gauge!(HOT_ROWS, "Observations kept in memory");
    describe_gauge!(SETTLE_LAG, "Age of the oldest observation that is not settled");
    describe_counter!(MERGED_FILES, "Files that upkeep merged into larger ones");
    describe_counter!(QUERIES, "Queries answered, by outcome");
    describe_histogram!(QUERY_SECONDS, "Time of one query");
    describe_counter!(SOURCE_ERRORS, "Failed reads of a source");
    describe_gauge!(SOURCE_UP, "1 while a followed source can be read, 0 while it is retried");
    describe_gauge!(SOURCE_FAILED_OBJECTS, "Objects of a source that could not be read and are tried again");
    describe_counter!(LIVE_TAIL_SAMPLED, "Updates of Live Tail that left events out; the next look reads them");
    describe_gauge!(SOURCE_COMPLETE, "Instant up to which a source is complete");
    describe_gauge!(BUDGET_SPENT, "Spent of a budget in the current month, in its currency");
    describe_gauge!(BUDGET_FORECAST, "Expected spend of a budget at the end of the month; NaN without history");
    describe_gauge!(BUDGET_AMOUNT, "Amount of a budget");
    describe_counter!(BUDGET_ALERTS, "Attempts to send budget alerts, by receiver and result");
    Ok(handle)
}

/// Counts what became of `n` records of a kind of source: `observation`, `metric`, `skipped` or `rejected`.
pub fn records(kind: &'static str, result: &'static str, n: u64) {
    if n > 0 {
        counter!(RECORDS, "kind" => kind, "result" => result).increment(n);
    }
}

/// Counts one record set aside.
pub fn quarantined(kind: &'static str, reason: String) {
    counter!(QUARANTINED, "kind" => kind, "reason" => reason).increment(1);
}

/// Counts one OTLP request.
pub fn otlp_request(signal: &'static str, answer: &'static str) {
    counter!(OTLP_REQUESTS, "signal" => signal, "answer" => answer).increment(1);
}

/// Reports one journal commit.
pub fn journal_commit(took: Duration, rows: usize, ok: bool) {
    counter!(JOURNAL_COMMITS, "result" => if ok { "ok" } else { "error" }).increment(1);
    histogram!(JOURNAL_COMMIT_SECONDS).record(took);
    if ok {
        counter!(JOURNAL_ROWS).increment(u64::try_from(rows).unwrap_or(u64::MAX));
    }
}

/// Counts one journal object that could not be read.
pub fn journal_damaged() {
    counter!(JOURNAL_DAMAGED).increment(1);
}

/// Reports one settle run.
pub fn settle(took: Duration, ok: bool) {
    counter!(SETTLES, "result" => if ok { "ok" } else { "error" }).increment(1);
    histogram!(SETTLE_SECONDS).record(took);
}

/// Reports the state of the hot set.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
pub fn hot(tail_rows: usize, hot_rows: usize, hot_calls: usize, horizon_us: i64, lag_us: i64) {
    gauge!(TAIL_ROWS).set(tail_rows as f64);
    gauge!(HOT_ROWS).set(hot_rows as f64);
    gauge!(HOT_CALLS).set(hot_calls as f64);
    gauge!(HORIZON).set(horizon_us as f64 / 1e6);
    gauge!(SETTLE_LAG).set(lag_us as f64 / 1e6);
}

/// Reports how many files a table has.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
pub fn table_files(table: &'static str, files: usize, bytes: u64) {
    gauge!(ACTIVE_FILES, "table" => table).set(files as f64);
    gauge!(TABLE_BYTES, "table" => table).set(bytes as f64);
}

/// Reports how long the log of a table is.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
pub fn log_objects(table: &'static str, objects: usize) {
    gauge!(LOG_OBJECTS, "table" => table).set(objects as f64);
}

/// Counts rows that were written into a file of a table.
pub fn rows_written(table: &'static str, rows: usize) {
    counter!(ROWS_WRITTEN, "table" => table).increment(u64::try_from(rows).unwrap_or(u64::MAX));
}

/// Reports one commit of a table.
pub fn table_commit(table: &'static str, took: Duration, ok: bool) {
    counter!(TABLE_COMMITS, "table" => table, "result" => if ok { "ok" } else { "error" }).increment(1);
    histogram!(TABLE_COMMIT_SECONDS, "table" => table).record(took);
}

/// Counts files that were merged.
pub fn merged_files(table: &'static str, files: usize) {
    counter!(MERGED_FILES, "table" => table).increment(u64::try_from(files).unwrap_or(u64::MAX));
}

/// Reports one query.
pub fn query(took: Duration, outcome: &'static str) {
    counter!(QUERIES, "outcome" => outcome).increment(1);
    histogram!(QUERY_SECONDS).record(took);
}

/// Reports how a budget stands. Budgets are as many as the configuration has.
pub fn budget(name: &str, currency: &str, spent: Decimal, expected: Option<Decimal>, amount: Decimal) {
    let labels = || [("budget", name.to_owned()), ("currency", currency.to_owned())];
    // A gauge is a float; what is billed is not read from here.
    let float = |sum: Decimal| sum.to_f64().unwrap_or(f64::NAN);
    gauge!(BUDGET_SPENT, &labels()).set(float(spent));
    gauge!(BUDGET_FORECAST, &labels()).set(expected.map_or(f64::NAN, float));
    gauge!(BUDGET_AMOUNT, &labels()).set(float(amount));
}

/// Counts one attempt to send a budget alert.
pub fn alert(receiver: &str, ok: bool) {
    let result = if ok { "ok" } else { "error" };
    counter!(BUDGET_ALERTS, "receiver" => receiver.to_owned(), "result" => result).increment(1);
}

/// Counts one failed read of a source.
pub fn source_error(source: &str) {
    counter!(SOURCE_ERRORS, "source" => source.to_owned()).increment(1);
}

/// Reports whether a followed source can be read.
pub fn source_up(source: &str, up: bool) {
    gauge!(SOURCE_UP, "source" => source.to_owned()).set(if up { 1.0 } else { 0.0 });
}

/// Reports how many objects of a source could not be read.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
pub fn source_failed_objects(source: &str, failed: u64) {
    gauge!(SOURCE_FAILED_OBJECTS, "source" => source.to_owned()).set(failed as f64);
}

/// Counts one update of Live Tail that left events out.
pub fn live_tail_sampled(source: &str) {
    counter!(LIVE_TAIL_SAMPLED, "source" => source.to_owned()).increment(1);
}

/// Reports how far a source is complete.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; instants stay below 2^52 us until 2112")]
pub fn source_complete(source: &str, complete_to_us: i64) {
    gauge!(SOURCE_COMPLETE, "source" => source.to_owned()).set(complete_to_us as f64 / 1e6);
}
