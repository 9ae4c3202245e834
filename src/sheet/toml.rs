//! TOML with the lines of its values.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

use super::{Cell, Place, Problem, Row, Sheet};

/// Reads TOML: names above all tables, and lists of tables (`[[price]]`). Numbers keep the text they were written with,
/// so `2.50` never passes through a float.
///
/// # Errors
/// Every place that is not TOML, and every table that is no list.
pub fn read_toml(file: &str, text: &str) -> Result<Sheet, Vec<Problem>> {
    let lines = Lines { file, starts: line_starts(text) };
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let span = error.span().unwrap_or_default();
            let hint = comma_hint(text, &span).unwrap_or_else(|| "see toml.io for how a value is written".to_owned());
            lines.place(&span).problem(format!("this is not TOML: {}", error.message()), hint)
        };
        return Err(errors.iter().map(problem).collect());
    }
    let (mut sheet, mut problems) = (Sheet::default(), Vec::new());
    sheet.top.line = 1;
    for (name, value) in root.get_ref() {
        let (name, place) = (name.get_ref().as_ref(), lines.place(&name.span()));
        match value.get_ref() {
            DeValue::Array(list) if list.iter().any(|entry| entry.get_ref().is_table()) => {
                let rows = tables(list, &lines, name, &mut problems);
                sheet.tables.insert(name.to_owned(), rows);
            }
            DeValue::Table(_) => {
                let hint = format!("write [[{name}]] with two brackets, once for each");
                problems.push(place.problem(format!("[{name}] is one table, not a list of them"), hint));
            }
            _ => flatten(name, value.get_ref(), &value.span(), &lines, &mut sheet.top.cells),
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(sheet) } else { Err(problems) }
}

fn tables(list: &DeArray<'_>, lines: &Lines<'_>, name: &str, problems: &mut Vec<Problem>) -> Vec<Row> {
    let mut rows = Vec::new();
    for entry in list {
        let span = entry.span();
        let Some(table) = entry.get_ref().as_table() else {
            problems
                .push(lines.place(&span).problem(format!("an entry of '{name}' is no table"), "write [[…]] tables"));
            continue;
        };
        let mut row = Row { line: lines.line(span.start), cells: BTreeMap::new() };
        for (key, value) in table {
            flatten(key.get_ref(), value.get_ref(), &value.span(), lines, &mut row.cells);
        }
        rows.push(row);
    }
    rows
}

fn flatten(name: &str, value: &DeValue<'_>, span: &Range<usize>, lines: &Lines<'_>, into: &mut BTreeMap<String, Cell>) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{name}.{}", key.get_ref()), value.get_ref(), &value.span(), lines, into);
            }
        }
        DeValue::Array(list) => {
            let texts = list.iter().map(|entry| text_of(entry.get_ref())).collect();
            into.insert(name.to_owned(), Cell { line: lines.line(span.start), texts });
        }
        other => {
            let text = text_of(other);
            if !text.is_empty() {
                into.insert(name.to_owned(), Cell { line: lines.line(span.start), texts: vec![text] });
            }
        }
    }
}

fn text_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.trim().to_owned(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Integer(number) => format!("0?{}", number.as_str()),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => "(a list or table)".to_owned(),
    }
}

/// `amount = 2,50` is no TOML: say what it is.
fn comma_hint(text: &str, span: &Range<usize>) -> Option<String> {
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..)?.lines().next()?;
    let (_, value) = line.split_once('=')?;
    let (whole, part) = value.trim().split_once(',')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(part)).then(|| format!("write {whole}.{part}: decimals have a point"))
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

struct Lines<'a> {
    file: &'a str,
    starts: Vec<usize>,
}

impl Lines<'_> {
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place { file: self.file.to_owned(), line: self.line(span.start) }
    }
}
