//! Reports as files of other programs: XLSX and Parquet.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use rust_decimal::prelude::ToPrimitive;
use rust_xlsxwriter::{Format, Workbook, Worksheet};

use crate::finance::grid::{Cell, Grid, Kind};
use crate::model::{MONEY_PRECISION, MONEY_SCALE, Money};

/// Digits that a spreadsheet keeps of a number: it has only floats.
const SPREADSHEET_DIGITS: usize = 15;

/// What a workbook holds.
pub struct Sheets {
    /// To know first.
    pub about: Vec<(String, String)>,
    /// By the name of their sheet.
    pub grids: Vec<(&'static str, Grid)>,
}

impl Sheets {
    /// One sheet of figures.
    pub fn of(about: Vec<(String, String)>, figures: Grid) -> Self {
        Self { about, grids: vec![("Figures", figures)] }
    }
}

/// A workbook: a sheet with what to know first, then one for each grid. Amounts are numbers; an exact cost that a spreadsheet
/// would cut is text.
pub fn xlsx(Sheets { about, grids }: &Sheets) -> anyhow::Result<Vec<u8>> {
    let mut book = Workbook::new();
    let (bold, text) = (Format::new().set_bold(), Format::new().set_num_format("@"));
    let first = book.add_worksheet().set_name("Read first")?;
    first.set_column_width(0, 24)?.set_column_width(1, 120)?;
    for (row, (name, value)) in (0_u32..).zip(about) {
        first.write_string_with_format(row, 0, name, &bold)?.write_string(row, 1, value)?;
    }
    for (name, grid) in grids {
        figures(book.add_worksheet().set_name(*name)?, grid, &bold, &text)?;
    }
    book.save_to_buffer().context("the workbook can't be made")
}

fn figures(sheet: &mut Worksheet, grid: &Grid, bold: &Format, text: &Format) -> anyhow::Result<()> {
    sheet.set_freeze_panes(1, 0)?;
    for (at, (name, _)) in (0_u16..).zip(&grid.columns) {
        sheet.write_string_with_format(0, at, name, bold)?.set_column_width(at, 20)?;
    }
    for (row, cells) in (1_u32..).zip(&grid.rows) {
        for (at, cell) in (0_u16..).zip(cells) {
            match cell {
                Cell::None => {}
                Cell::Text(value) => {
                    sheet.write_string(row, at, value)?;
                }
                Cell::Count(_) | Cell::Change(_) => {
                    let shown = match cell {
                        Cell::Count(count) => count.to_string(),
                        Cell::Change(change) => change.to_string(),
                        _ => String::new(),
                    };
                    match shown.parse::<f64>().ok().filter(|_| shown.len() <= SPREADSHEET_DIGITS) {
                        Some(number) => sheet.write_number(row, at, number)?,
                        None => sheet.write_string_with_format(row, at, &shown, text)?,
                    };
                }
                Cell::Money(amount) => {
                    let shown = amount.to_string();
                    let digits = shown.bytes().filter(u8::is_ascii_digit).count();
                    match amount.to_f64().filter(|_| digits <= SPREADSHEET_DIGITS) {
                        Some(number) => {
                            let places = usize::try_from(amount.scale()).unwrap_or(0);
                            let places = if places == 0 { String::new() } else { format!(".{}", "0".repeat(places)) };
                            let format = Format::new().set_num_format(format!("#,##0{places}"));
                            sheet.write_number_with_format(row, at, number, &format)?
                        }
                        None => sheet.write_string_with_format(row, at, &shown, text)?,
                    };
                }
            }
        }
    }
    Ok(())
}

/// One Parquet file; money is an exact decimal.
pub fn parquet(grid: &Grid) -> anyhow::Result<Vec<u8>> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (at, (name, kind)) in grid.columns.iter().enumerate() {
        let cells = grid.rows.iter().map(|row| row.get(at).unwrap_or(&Cell::None));
        let column: ArrayRef = match kind {
            Kind::Text => Arc::new(StringArray::from_iter(cells.map(|cell| match cell {
                Cell::Text(text) => Some(text.as_str()),
                _ => None,
            }))),
            Kind::Count => Arc::new(Int64Array::from_iter(cells.map(|cell| match cell {
                Cell::Count(count) => i64::try_from(*count).ok(),
                Cell::Change(change) => Some(*change),
                _ => None,
            }))),
            Kind::Money => {
                let amounts = cells.map(|cell| match cell {
                    Cell::Money(amount) => Money(*amount).stored(),
                    _ => None,
                });
                Arc::new(Decimal128Array::from_iter(amounts).with_precision_and_scale(MONEY_PRECISION, MONEY_SCALE)?)
            }
        };
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    writer.into_inner().context("the Parquet file can't be made")
}
