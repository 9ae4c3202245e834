//! Comma- or semicolon-separated text, as spreadsheets write it.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Cell, Place, Problem, Row, Sheet};

/// Reads CSV with a line of column names: quoted or not, separated by commas or semicolons, with or without a byte
/// order mark. Empty lines and those that start with `#` are skipped.
///
/// # Errors
/// Every line that does not fit the column names, and names that are empty or there twice.
pub fn read_csv(file: &str, text: &str) -> Result<Sheet, Vec<Problem>> {
    let text = text.trim_start_matches('\u{feff}');
    let header = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    let delimiter = if header.contains(';') && !header.contains(',') { b';' } else { b',' };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let at = |line| Place { file: file.to_owned(), line };
    let (mut sheet, mut problems) = (Sheet::default(), Vec::new());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, line_of);
                problems.push(at(line).problem("this is not CSV text", error.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(1, |position| first_line(text, position));
        if sheet.columns.is_empty() {
            sheet.columns = record.iter().map(column).collect();
            sheet.top.line = line;
            header_problems(&sheet.columns, &at(line), &mut problems);
        } else if record.len() != sheet.columns.len() {
            problems.push(uneven(&record, &sheet.columns, &at(line)));
        } else {
            let filled = sheet.columns.iter().zip(record.iter()).filter(|(_, text)| !text.is_empty());
            let cells: BTreeMap<_, _> =
                filled.map(|(name, text)| (name.clone(), Cell { line, texts: vec![text.to_owned()] })).collect();
            if !cells.is_empty() {
                rows.push(Row { line, cells });
            }
        }
    }
    if sheet.columns.is_empty() {
        problems.push(at(1).problem("the file is empty", "the first line names the columns"));
    }
    sheet.tables.insert(String::new(), rows);
    if problems.is_empty() { Ok(sheet) } else { Err(problems) }
}

fn line_of(position: &csv::Position) -> usize {
    usize::try_from(position.line()).unwrap_or(usize::MAX)
}

/// Names are lower-case; behind a dot stands what a caller named, in its own case.
fn column(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// The reader counts empty lines and comments in front of a record as its own.
fn first_line(text: &str, position: &csv::Position) -> usize {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let behind = text.get(start..).unwrap_or_default().lines();
    line_of(position) + behind.take_while(|line| line.trim().is_empty() || line.starts_with('#')).count()
}

fn header_problems(columns: &[String], at: &Place, problems: &mut Vec<Problem>) {
    for (number, name) in columns.iter().enumerate() {
        if name.is_empty() {
            problems.push(at.problem(format!("column {} has no name", number + 1), "name it or take it out"));
        } else if columns.iter().take(number).any(|other| other == name) {
            problems.push(at.problem(format!("column '{name}' is there twice"), "take one of them out"));
        }
    }
}

fn uneven(record: &StringRecord, columns: &[String], at: &Place) -> Problem {
    let what = format!("the line has {} fields, the column names are {}", record.len(), columns.len());
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fields: Vec<&str> = record.iter().collect();
    let comma = fields.windows(2).find_map(|pair| match pair {
        [whole, part] if record.len() > columns.len() && digits(whole) && digits(part) => Some((*whole, *part)),
        _ => None,
    });
    match comma {
        Some((whole, part)) => {
            at.problem(what, format!("if {whole},{part} is one number, write {whole}.{part}: decimals have a point"))
        }
        None => at.problem(what, "give every column a field, empty where there is nothing"),
    }
}
