//! Reports in money: asks the sums of one moment and hands them to the pure part.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use rust_decimal::Decimal;

use super::{Asker, Engine, Params, QueryError};
use crate::access::Caller;
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::calendar::Month;
use crate::finance::chargeback::{Figures, Gap, Inputs, Report, ReportError, SourceSeen, Summed};
use crate::finance::variance::{Item, TooLarge, Variance};
use crate::ledger::View;
use crate::model::{MONEY_PRECISION, MONEY_SCALE, Money, Timestamp};

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
    /// A report shows all of the ledger or is none.
    #[error("there are more groups than a report can have; group by fewer columns")]
    TooMany,
}

/// Where sums are asked.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    /// Answers statements.
    pub engine: &'a Engine,
    /// The moment.
    pub view: &'a View,
    /// Who asks: sums are over the rows that they see.
    pub caller: &'a Caller,
}

/// Chargeback for a month. `complete_to` says how far followed sources are, where a server follows them.
///
/// # Errors
/// The question can't be answered.
pub async fn chargeback(
    ledger: Ledger<'_>,
    ask: Ask,
    terms: &Terms,
    complete_to: BTreeMap<String, Option<String>>,
    now: Timestamp,
) -> Result<Report, ReportFailure> {
    let (keys, at) = (ask.by.len(), ledger);
    let lines = rows(at, &ask.lines_sql(), |row| summed(row, keys)).await?;
    let whole = rows(at, &ask.ledger_sql(), |row| summed(row, 0)).await?;
    let gaps = rows(at, &ask.gaps_sql(), |row| {
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
    // Records and what was set aside of them have no rows of one team: who sees a part of the ledger is not told of them.
    let (mut sources, mut set_aside) = (Vec::new(), Vec::new());
    if at.caller.scope.is_none() {
        let seen = |row: &Row<'_>| {
            let (last_event, last_read) = (row.instant(2)?, row.instant(3)?);
            Some(SourceSeen { source: row.text(0)?, records: row.count(1), last_event, last_read })
        };
        sources = rows(at, &ask.sources_sql(), seen).await?;
        set_aside = rows(at, &ask.set_aside_sql(), |row| Some((row.text(0)?, row.count(1)))).await?;
    }
    Ok(Report::new(ask, terms, Inputs { lines, ledger: whole, gaps, sources, set_aside, complete_to, now })?)
}

/// Why a month differs from another.
///
/// # Errors
/// The question can't be answered.
pub async fn variance(at: Ledger<'_>, ask: Ask, against: Month) -> Result<Variance, ReportFailure> {
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
    let after = rows(at, &ask.items_sql(), item).await?;
    let before = rows(at, &ask.about(against).items_sql(), item).await?;
    Ok(Variance::new(ask, against, &before, &after)?)
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
async fn rows<T>(at: Ledger<'_>, sql: &str, read: impl Fn(&Row<'_>) -> Option<T>) -> Result<Vec<T>, ReportFailure> {
    let asker = Asker::plain(at.caller.clone());
    let mut answer = at.engine.run_as(at.view, &asker, sql, Params::None).await?;
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
fn plain(batch: &RecordBatch) -> Result<Vec<ArrayRef>, QueryError> {
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

struct Row<'a> {
    columns: &'a [ArrayRef],
    at: usize,
}

impl Row<'_> {
    fn valid(&self, column: usize) -> Option<&ArrayRef> {
        self.columns.get(column).filter(|column| column.is_valid(self.at))
    }

    fn text(&self, column: usize) -> Option<String> {
        Some(self.valid(column)?.as_string_opt::<i32>()?.value(self.at).to_owned())
    }

    fn count(&self, column: usize) -> u64 {
        let value = self.valid(column).and_then(|column| column.as_primitive_opt::<Int64Type>());
        value.and_then(|values| u64::try_from(values.value(self.at)).ok()).unwrap_or_default()
    }

    fn instant(&self, column: usize) -> Option<Timestamp> {
        let values = self.valid(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some(Timestamp(values.value(self.at)))
    }

    fn money(&self, column: usize) -> Option<Decimal> {
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
