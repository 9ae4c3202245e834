//! Computing the ledger again from the archive: to compare (audit), and to replace what a changed rule, price or name
//! makes different (resettle).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::Serialize;

use super::compute::Computed;
use super::{PipelineError, Settler};
use crate::columns::Row;
use crate::cores::heavy;
use crate::delta::NewFile;
use crate::journal::{Missing, Tail, read_tail};
use crate::ledger::LedgerError;
use crate::model::{Call, HOUR_US, Interval, Observation, RecordId, SLICE_US, Timestamp};
use crate::settle::{MARGIN_US, News, Rules, slices};

/// Differences that are told one by one.
const TOLD: usize = 100;

/// What a call of the ledger and the same call computed again have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only computed: the ledger lacks it.
    Missing,
    /// Only in the ledger.
    Extra,
    /// In both, with other values.
    Differs,
}

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The call.
    pub call_id: String,
    /// Its start.
    pub ts: String,
    /// What is different.
    pub change: Change,
    /// The columns that differ.
    pub columns: Vec<String>,
}

/// Calls, tokens and money of a range. Money is in the currency of the calls; calls without a price add nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Number of calls.
    pub calls: u64,
    /// Sum of `input_tokens`.
    pub input_tokens: u64,
    /// Sum of `output_tokens`.
    pub output_tokens: u64,
    /// Sum of `cost`.
    #[serde(serialize_with = "shortest")]
    pub cost: Decimal,
    /// Sum of `list_cost`.
    #[serde(serialize_with = "shortest")]
    pub list_cost: Decimal,
}

impl Sums {
    fn add(&mut self, call: &Call) {
        self.calls += 1;
        self.input_tokens += call.usage.input.unwrap_or(0);
        self.output_tokens += call.usage.output.unwrap_or(0);
        self.cost += call.cost.map_or(Decimal::ZERO, |cost| cost.0);
        self.list_cost += call.list_cost.map_or(Decimal::ZERO, |cost| cost.0);
    }
}

/// Without the zeros at the end, so that equal sums are equal text.
fn shortest<S: serde::Serializer>(sum: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&sum.normalize())
}

/// What a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// First instant that was compared.
    pub from: String,
    /// First instant behind it.
    pub to: String,
    /// Slices of ten minutes that were compared and hold calls.
    pub slices: u64,
    /// Slices that can't be computed because the archive no longer holds their observations.
    pub beyond_archive: u64,
    /// The ledger.
    pub ledger: Sums,
    /// The same computed again.
    pub computed: Sums,
    /// Calls that differ.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl Settler {
    /// Computes `range` again and compares; nothing is changed.
    ///
    /// # Errors
    /// The store fails.
    pub async fn audit(
        &mut self,
        range: Interval,
        rules: &Arc<Rules>,
        now: Timestamp,
        progress: impl FnMut(Timestamp),
    ) -> Result<Audit, PipelineError> {
        self.tables.refresh().await?;
        Ok(self.recompute(range, rules, now, false, progress).await?.0)
    }

    /// Computes `range` again and replaces the slices that differ, in one commit. The role must be ours.
    ///
    /// # Errors
    /// The store fails, or the role was lost; then nothing was changed.
    pub async fn resettle(
        &mut self,
        range: Interval,
        rules: &Arc<Rules>,
        now: Timestamp,
        progress: impl FnMut(Timestamp),
    ) -> Result<Audit, PipelineError> {
        self.tables.refresh().await?;
        self.role.check(&self.tables).await?;
        self.upgrade().await?;
        let (audit, slices, files) = self.recompute(range, rules, now, true, progress).await?;
        if let (false, Some(horizon)) = (slices.is_empty(), self.tables.horizon().await?) {
            self.tables.calls.replace(&slices, files, horizon, &Tail::new()).await?;
        }
        Ok(audit)
    }

    async fn recompute(
        &self,
        range: Interval,
        rules: &Arc<Rules>,
        now: Timestamp,
        write: bool,
        mut progress: impl FnMut(Timestamp),
    ) -> Result<(Audit, BTreeSet<Timestamp>, Vec<NewFile>), PipelineError> {
        let horizon = self.tables.horizon().await?.unwrap_or(Timestamp(i64::MIN));
        let from = range.from.max(self.tables.calls.floor().await?);
        let range = Interval { from: from.floor(SLICE_US), to: range.to.min(horizon) };
        let mut audit = Audit { from: range.from.to_string(), to: range.to.to_string(), ..Audit::default() };
        let (mut replace, mut files) = (BTreeSet::new(), Vec::new());
        let ahead = self.ahead_of_ledger().await?;
        let floor = self.tables.archive.floor().await?;
        let filled = self.filled(range)?;
        for run in self.runs(&filled, self.slices_at_once()?).await? {
            progress(run.from);
            let within = Interval { from: run.from, to: run.to.min(horizon) };
            let around = run.widened(MARGIN_US);
            let ledger = self.tables.calls.read(within).await?;
            if around.from < floor {
                audit.beyond_archive += u64::try_from(slices_of(&ledger).len()).unwrap_or(u64::MAX);
                continue;
            }
            let archived: Vec<Arc<Observation>> =
                self.tables.archive.read(around).await?.into_iter().map(Arc::new).collect();
            if ledger.is_empty() && archived.is_empty() {
                continue;
            }
            let (ahead, rules) = (ahead.clone(), Arc::clone(rules));
            let work = move || {
                let computed = slices(ahead.known(archived), within, &News::default(), &rules, now).calls;
                let (part, differing) = compare(&ledger, &computed);
                (part, differing, computed)
            };
            let (part, differing, computed) = heavy(work).await.map_err(|_| PipelineError::Stopped)?;
            audit.add(part);
            if write && !differing.is_empty() {
                let computed = Computed { slices: differing.clone(), calls: computed, ..Computed::default() };
                files.extend(self.write(&computed).await?);
                replace.extend(differing);
            }
        }
        Ok((audit, replace, files))
    }

    /// The slices of `range` that may hold calls: those of the days of files, and of their neighbours, whose witnesses may
    /// lie in them.
    pub(super) fn filled(&self, range: Interval) -> Result<BTreeSet<Timestamp>, PipelineError> {
        let tables = [self.tables.calls.table(), self.tables.archive.table()];
        let mut days = BTreeSet::new();
        for files in tables.map(|table| table.files().map_err(LedgerError::from)) {
            let starts = files?.into_iter().filter_map(|file| Timestamp::parse(&format!("{}T00:00:00Z", file.day())));
            days.extend(starts.flat_map(|day| [-24, 0, 24].map(|hours| day.plus(hours * HOUR_US))));
        }
        let day =
            |start: Timestamp| Interval { from: start.max(range.from), to: start.plus(24 * HOUR_US).min(range.to) };
        Ok(days.into_iter().map(day).filter(|day| day.from < day.to).flat_map(|day| day.slices()).collect())
    }

    /// What the archive holds and the ledger does not cover yet, because a settle is under way or was interrupted.
    async fn ahead_of_ledger(&self) -> Result<News, PipelineError> {
        let covered = self.tables.covered(&self.store).await?;
        let archived = self.tables.archived(covered.keys().map(String::as_str)).await?;
        if archived.iter().all(|(writer, mark)| covered.get(writer) >= Some(mark)) {
            return Ok(News::default());
        }
        let (tail, _) = read_tail(&self.store, &covered, usize::MAX, Missing::Skip).await?;
        let ahead = tail.iter().filter(|commit| archived.get(&*commit.writer) >= Some(&commit.sequence));
        Ok(News::of(ahead.flat_map(|commit| &commit.rows.observations)))
    }
}

impl Audit {
    fn add(&mut self, part: Self) {
        self.slices += part.slices;
        self.differing += part.differing;
        for (sum, more) in [(&mut self.ledger, part.ledger), (&mut self.computed, part.computed)] {
            sum.calls += more.calls;
            sum.input_tokens += more.input_tokens;
            sum.output_tokens += more.output_tokens;
            sum.cost += more.cost;
            sum.list_cost += more.list_cost;
        }
        let room = TOLD.saturating_sub(self.differences.len());
        self.differences.extend(part.differences.into_iter().take(room));
    }
}

fn slices_of(calls: &[Call]) -> BTreeSet<Timestamp> {
    calls.iter().map(|call| call.ts.floor(SLICE_US)).collect()
}

/// Compares two states of some slices; gives also the slices that differ. When a call was settled does not count.
fn compare(ledger: &[Call], computed: &BTreeMap<Timestamp, Vec<Call>>) -> (Audit, BTreeSet<Timestamp>) {
    let mut audit = Audit::default();
    ledger.iter().for_each(|call| audit.ledger.add(call));
    computed.values().flatten().for_each(|call| audit.computed.add(call));
    let in_ledger: BTreeMap<RecordId, &Call> = ledger.iter().map(|call| (call.call_id, call)).collect();
    let again: BTreeMap<RecordId, &Call> = computed.values().flatten().map(|call| (call.call_id, call)).collect();
    let mut differing = BTreeSet::new();
    let ids: BTreeSet<RecordId> = in_ledger.keys().chain(again.keys()).copied().collect();
    // A call that is there twice hides behind its id; the number of rows shows it.
    if in_ledger.len() != ledger.len() {
        differing.extend(slices_of(ledger));
        audit.differing += u64::try_from(ledger.len() - in_ledger.len()).unwrap_or(u64::MAX);
    }
    for id in ids {
        let (change, columns, call) = match (in_ledger.get(&id), again.get(&id)) {
            (Some(old), Some(new)) => {
                let columns = columns_that_differ(old, new);
                if columns.is_empty() {
                    continue;
                }
                differing.insert(new.ts.floor(SLICE_US));
                (Change::Differs, columns, *old)
            }
            (Some(old), None) => (Change::Extra, Vec::new(), *old),
            (None, Some(new)) => (Change::Missing, Vec::new(), *new),
            (None, None) => continue,
        };
        differing.insert(call.ts.floor(SLICE_US));
        audit.differing += 1;
        if audit.differences.len() < TOLD {
            let (call_id, ts) = (call.call_id.to_string(), call.ts.to_string());
            audit.differences.push(Difference { call_id, ts, change, columns });
        }
    }
    let slices: BTreeSet<Timestamp> = slices_of(ledger).into_iter().chain(computed.keys().copied()).collect();
    audit.slices = u64::try_from(slices.len()).unwrap_or(u64::MAX);
    (audit, differing)
}

fn columns_that_differ(old: &Call, new: &Call) -> Vec<String> {
    // When it was settled, and which of its copies was read first, is no part of what it says.
    // Rows that are older than a column have nothing in it.
    let attempt = old.attempt.or(new.attempt);
    let old = Call { settled_at: new.settled_at, observed_at: new.observed_at, attempt, ..old.clone() };
    if old == *new {
        return Vec::new();
    }
    let (Ok(a), Ok(b)) = (Call::encode(std::iter::once(&old)), Call::encode(std::iter::once(new))) else {
        return vec!["?".to_owned()];
    };
    let fields = a.schema().fields().clone();
    let differ = fields.iter().zip(a.columns().iter().zip(b.columns())).filter(|(_, (a, b))| a != b);
    differ.map(|(field, _)| field.name().clone()).collect()
}
