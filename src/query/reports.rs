//! Reports in money: asks the sums of one moment and hands them to the pure part.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use rust_decimal::Decimal;

use super::{Engine, Params, QueryError};
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::bill::ReconcileError;
use crate::finance::calendar::Month;
use crate::finance::capacity::{HourUse, allocated, hours_of, uncovered};
use crate::finance::chargeback::{Figures, Gap, Inputs, Report, ReportError, SourceSeen, Summed, Warning};
use crate::finance::focus::FocusRefusal;
use crate::finance::variance::{Item, TooLarge, Variance};
use crate::finance::what_if::{Compared, Sums, Target, WhatIfReport};
use crate::ledger::View;
use crate::model::{MONEY_PRECISION, MONEY_SCALE, Money, Timestamp, Usage};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportFailure {
    /// The store can't be asked.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The figures make no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The figures can't be compared.
    #[error(transparent)]
    Variance(#[from] TooLarge),
    /// There is a reason not to make the export.
    #[error(transparent)]
    Focus(#[from] FocusRefusal),
    /// There is a reason not to compare.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// A report shows all of the ledger or is none.
    #[error("there are more groups than a report can have; group by fewer columns")]
    TooMany,
}

/// What is known beside the calls.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// How far followed sources are complete, where a server follows them.
    pub complete_to: BTreeMap<String, Option<String>>,
    /// When the report is made.
    pub now: Timestamp,
    /// What sources had delivered when the month was closed; else the store is asked.
    pub delivered: Option<Delivered>,
}

/// What sources had delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// By source.
    pub sources: Vec<SourceSeen>,
    /// Records that could not be read, by source.
    pub set_aside: Vec<(String, u64)>,
}

/// The sums of a question's groups.
///
/// # Errors
/// The question can't be answered.
pub async fn summed_lines(engine: &Engine, view: &View, ask: &Ask) -> Result<Vec<Summed>, ReportFailure> {
    report_rows(engine, view, &ask.lines_sql(), |row| summed(row, ask.by.len())).await
}

/// Chargeback for a month.
///
/// # Errors
/// The question can't be answered.
pub async fn chargeback(
    engine: &Engine,
    view: &View,
    ask: Ask,
    terms: &Terms,
    known: Known,
) -> Result<Report, ReportFailure> {
    let lines = summed_lines(engine, view, &ask).await?;
    let ledger = report_rows(engine, view, &ask.ledger_sql(), |row| summed(row, 0)).await?;
    let gaps = report_rows(engine, view, &ask.gaps_sql(), |row| {
        Some(Gap {
            platform: row.text(0),
            model: row.text(1),
            status: row.text(2)?,
            calls: row.count(3),
            input_tokens: row.count(4),
            output_tokens: row.count(5),
        })
    })
    .await?;
    let Known { complete_to, now, delivered } = known;
    let scope = engine.caller().scope.clone();
    let Delivered { sources, set_aside } = match delivered {
        Some(delivered) => delivered,
        // Records have no team: who sees a part of the ledger is not told of them.
        None if scope.is_some() => Delivered::default(),
        None => {
            let seen = |row: &Row<'_>| {
                let (last_event, last_read) = (row.instant(2)?, row.instant(3)?);
                Some(SourceSeen { source: row.text(0)?, records: row.count(1), last_event, last_read })
            };
            let sources = report_rows(engine, view, &ask.sources_sql(), seen).await?;
            let set_aside = |row: &Row<'_>| Some((row.text(0)?, row.count(1)));
            Delivered { sources, set_aside: report_rows(engine, view, &ask.set_aside_sql(), set_aside).await? }
        }
    };
    if let Some(scope) = scope {
        // Parts of what is shared are parts of the whole, which is not to be seen here.
        let terms = Terms { commitments: Vec::new(), splits: Vec::new(), ..terms.clone() };
        let inputs = Inputs { lines, ledger, gaps, complete_to, now, ..Inputs::default() };
        let mut report = Report::new(ask, &terms, inputs)?;
        let text = format!(
            "these are the calls with {scope}: paid capacity, shared cost and corrections of closed months are not in it"
        );
        report.warnings.push(Warning { code: "scoped", text });
        return Ok(report);
    }
    let span = hours_of(ask.interval(), now);
    let on_capacity: u64 = ledger.iter().map(|line| line.figures.allocated_calls).sum();
    // Most stores have no such calls.
    let used = if on_capacity > 0 { capacity_use(engine, view, &ask, span).await? } else { Vec::new() };
    let uncovered_calls = uncovered(&terms.commitments, &used);
    let capacity = allocated(&terms.commitments, engine.prices(), &used, &ask.by, span).map_err(ReportError::from)?;
    let inputs = Inputs { lines, ledger, gaps, sources, capacity, uncovered_calls, set_aside, complete_to, now };
    Ok(Report::new(ask, terms, inputs)?)
}

/// What was used of provisioned capacity, by the columns of a report.
pub(super) async fn capacity_use(
    engine: &Engine,
    view: &View,
    ask: &Ask,
    span: (Timestamp, Timestamp),
) -> Result<Vec<HourUse>, ReportFailure> {
    let keys = ask.by.len();
    report_rows(engine, view, &ask.capacity_sql(span), |row| hour_use(row, keys)).await
}

/// In the order of the columns of [`Ask::capacity_sql`].
pub(super) fn hour_use(row: &Row<'_>, keys: usize) -> Option<HourUse> {
    let tokens = |place: usize| row.known(keys + 6 + place);
    Some(HourUse {
        hour: row.instant(keys)?,
        keys: (0..keys).map(|at| row.text(at)).collect(),
        platform: row.text(keys + 1),
        account: row.text(keys + 2),
        model: row.text(keys + 3),
        deployment: row.text(keys + 4),
        calls: row.count(keys + 5),
        usage: Usage {
            input: tokens(0),
            cache_read: tokens(1),
            cache_write: tokens(2),
            cache_write_1h: tokens(3),
            output: tokens(4),
            audio_input: tokens(5),
            audio_output: tokens(6),
            image_input: tokens(7),
            images: tokens(8),
            ..Usage::default()
        },
    })
}

/// Why a month differs from another.
///
/// # Errors
/// The question can't be answered.
pub async fn variance(engine: &Engine, view: &View, ask: Ask, against: Month) -> Result<Variance, ReportFailure> {
    let keys = ask.by.len();
    let item = |row: &Row<'_>| {
        Some(Item {
            keys: (0..keys).map(|at| row.text(at)).collect(),
            platform: row.text(keys),
            model: row.text(keys + 1),
            currency: row.text(keys + 2)?,
            calls: row.count(keys + 3),
            tokens: row.count(keys + 4),
            cost: row.money(keys + 5)?,
        })
    };
    let after = report_rows(engine, view, &ask.items_sql(), item).await?;
    let before = report_rows(engine, view, &ask.about(against).items_sql(), item).await?;
    Ok(Variance::new(ask, against, &before, &after)?)
}

/// The calls of a month as they would have cost elsewhere, by the prices of the engine.
///
/// # Errors
/// The question can't be answered.
pub async fn what_if(
    engine: &Engine,
    view: &View,
    ask: Ask,
    target: Target,
    now: Timestamp,
) -> Result<WhatIfReport, ReportFailure> {
    let keys = ask.by.len();
    let lines = report_rows(engine, view, &target.sql(&ask), |row| {
        Some(Compared {
            keys: (0..keys).map(|at| row.text(at)).collect(),
            currency: row.text(keys),
            assumed: row.text(keys + 1),
            why_not: row.text(keys + 2),
            sums: Sums {
                calls: row.count(keys + 3),
                input_tokens: row.count(keys + 4),
                output_tokens: row.count(keys + 5),
                cost: row.money(keys + 6),
                elsewhere: row.money(keys + 7),
                difference: row.money(keys + 8),
            },
        })
    })
    .await?;
    let ledger =
        report_rows(engine, view, &Target::ledger_sql(&ask), |row| Some((row.text(0), row.count(1), row.money(2))))
            .await?;
    Ok(WhatIfReport::new(ask, target, lines, &ledger, now)?)
}

/// In the order of the columns of [`Ask::lines_sql`].
fn summed(row: &Row<'_>, keys: usize) -> Option<Summed> {
    let figures = Figures {
        calls: row.count(keys + 1),
        input_tokens: row.count(keys + 2),
        cache_read_tokens: row.count(keys + 3),
        cache_write_tokens: row.count(keys + 4),
        output_tokens: row.count(keys + 5),
        list_cost: row.money(keys + 6),
        cost: row.money(keys + 7),
        unpriced_calls: row.count(keys + 8),
        partial_calls: row.count(keys + 9),
        allocated_calls: row.count(keys + 10),
        estimated_calls: row.count(keys + 11),
        estimated_cost: row.money(keys + 12),
        uncounted_calls: row.count(keys + 13),
        conflicts: row.count(keys + 14),
    };
    Some(Summed { keys: (0..keys).map(|at| row.text(at)).collect(), currency: row.text(keys), figures })
}

/// All rows of a statement; a row that can't be read fails the report, and none is ever left out.
///
/// # Errors
/// The statement fails, has more rows than an answer may have, or a row can't be read.
pub async fn report_rows<T>(
    engine: &Engine,
    view: &View,
    sql: &str,
    read: impl Fn(&Row<'_>) -> Option<T>,
) -> Result<Vec<T>, ReportFailure> {
    let mut answer = engine.run(view, sql, Params::None).await?;
    let mut all = Vec::new();
    for batch in answer.collect().await? {
        let columns = plain(&batch)?;
        for at in 0..batch.num_rows() {
            let row = Row { columns: &columns, at };
            all.push(read(&row).filter(|_| row.fits()).ok_or(ReportFailure::Report(ReportError::TooLarge))?);
        }
    }
    if answer.truncated() { Err(ReportFailure::TooMany) } else { Ok(all) }
}

/// Columns in the few types that are read here, whatever the engine made of them.
pub(super) fn plain(batch: &RecordBatch) -> Result<Vec<ArrayRef>, QueryError> {
    let columns = batch.columns().iter().map(|column| {
        let wanted = match column.data_type() {
            DataType::Decimal128(..) | DataType::Decimal256(..) => DataType::Decimal128(MONEY_PRECISION, MONEY_SCALE),
            DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            numeric if numeric.is_integer() => DataType::Int64,
            _ => DataType::Utf8,
        };
        cast(column, &wanted).map_err(|error| QueryError::Internal(Box::new(error)))
    });
    columns.collect()
}

/// A row of an answer.
pub struct Row<'a> {
    pub(super) columns: &'a [ArrayRef],
    pub(super) at: usize,
}

impl Row<'_> {
    fn valid(&self, column: usize) -> Option<&ArrayRef> {
        self.columns.get(column).filter(|column| column.is_valid(self.at))
    }

    /// A text.
    #[must_use]
    pub fn text(&self, column: usize) -> Option<String> {
        Some(self.valid(column)?.as_string_opt::<i32>()?.value(self.at).to_owned())
    }

    /// A whole number; 0 where there is none.
    #[must_use]
    pub fn count(&self, column: usize) -> u64 {
        self.known(column).unwrap_or_default()
    }

    /// A count that may be unknown.
    pub(super) fn known(&self, column: usize) -> Option<u64> {
        let value = self.valid(column).and_then(|column| column.as_primitive_opt::<Int64Type>());
        value.and_then(|values| u64::try_from(values.value(self.at)).ok())
    }

    /// An instant.
    #[must_use]
    pub fn instant(&self, column: usize) -> Option<Timestamp> {
        let values = self.valid(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some(Timestamp(values.value(self.at)))
    }

    /// An amount.
    #[must_use]
    pub fn money(&self, column: usize) -> Option<Decimal> {
        let values = self.valid(column)?.as_primitive_opt::<Decimal128Type>()?;
        Some(Money::from_stored(values.value(self.at))?.0.normalize())
    }

    /// Whether every amount has few enough digits: else it would look like one that is not there.
    fn fits(&self) -> bool {
        self.columns.iter().all(|column| match column.as_primitive_opt::<Decimal128Type>() {
            Some(values) => values.is_null(self.at) || Money::from_stored(values.value(self.at)).is_some(),
            None => true,
        })
    }
}
