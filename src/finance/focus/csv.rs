//! CSV after RFC 4180: UTF-8, lines end in CR LF, decimals from their digits and always with a point (a reader takes a
//! column without any for whole numbers), `NULL` for nothing.

use csv::{QuoteStyle, Terminator, WriterBuilder};
use rust_decimal::Decimal;

use super::columns::{Cell, FocusVersion, columns};
use super::row::FocusRow;

/// The file.
#[must_use]
pub fn write_csv(rows: &[FocusRow], version: FocusVersion) -> String {
    let columns = columns(version);
    let mut writer =
        WriterBuilder::new().terminator(Terminator::CRLF).quote_style(QuoteStyle::Necessary).from_writer(Vec::new());
    // Writing to memory can't fail, and all records have the same length.
    let _ = writer.write_record(columns.iter().map(|column| column.name));
    for row in rows {
        let _ = writer.write_record(columns.iter().map(|column| written((column.get)(row))));
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn written(cell: Cell) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Text(text) => text,
        Cell::Decimal(number) => decimal(number),
        Cell::Instant(at) => {
            let text = at.to_string();
            text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
        }
    }
}

/// `3.0`, `0.000003`, never `3` or `3E-6`.
fn decimal(number: Decimal) -> String {
    let number = number.normalize();
    if number.scale() == 0 { format!("{number}.0") } else { number.to_string() }
}
