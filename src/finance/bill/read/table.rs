//! Wide CSV exports of many lines: the columns that matter by name, each line with its number, doubled lines named.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use csv::{ReaderBuilder, StringRecord};
use rust_decimal::Decimal;

use super::Problems;
use super::number::{self, Read};
use crate::model::{RecordId, Timestamp, fingerprint};
use crate::sheet::nearest;

/// Positions of the columns that matter.
#[derive(Debug, Default)]
pub(super) struct Columns(HashMap<String, usize>);

/// One line.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    columns: &'a Columns,
    record: &'a StringRecord,
    /// Its line in the file.
    pub line: usize,
}

impl<'a> Cells<'a> {
    /// The text in the first of these columns that is there and not empty.
    pub fn text(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| {
            let at = self.columns.0.get(*name)?;
            self.record.get(*at).map(str::trim).filter(|text| !text.is_empty())
        })
    }

    /// The number in one of these columns; a mistake if it is none.
    pub fn number(&self, names: &[&str], problems: &mut Problems<'_>) -> Option<Read> {
        let text = self.text(names)?;
        match number::decimal(text) {
            Ok(read) => Some(read),
            Err((what, hint)) => {
                problems.add(self.line, format!("{} {what}", self.name(names)), hint);
                None
            }
        }
    }

    /// The number that must be there.
    pub fn amount(&self, names: &[&str], problems: &mut Problems<'_>) -> Option<Read> {
        if self.text(names).is_none() {
            problems.add(self.line, format!("{} is empty", self.name(names)), "every line needs its amount");
        }
        self.number(names, problems)
    }

    /// The instant that must be there.
    pub fn instant(&self, names: &[&str], problems: &mut Problems<'_>) -> Option<Timestamp> {
        let Some(text) = self.text(names) else {
            problems.add(self.line, format!("{} is empty", self.name(names)), "every line needs its date");
            return None;
        };
        let read = number::instant(text);
        if read.is_none() {
            let hint = "it must be like 2026-10-31T00:00:00Z, 2026-10-31 or 10/31/2026 (month first)";
            problems.add(self.line, format!("{} '{text}' is no date", self.name(names)), hint);
        }
        read
    }

    fn name<'n>(&self, names: &[&'n str]) -> &'n str {
        let there = names.iter().find(|name| self.columns.0.contains_key(**name)).or_else(|| names.first());
        there.copied().unwrap_or_default()
    }
}

/// One list of names per column that must be there: any of them will do.
pub(super) type Required = &'static [&'static [&'static str]];

/// Hands every line to `take`. A line with a number of fields of its own, and one that stands there twice with an amount,
/// are mistakes. `identity` is the column with the bill's own key of a line, where it has one; these keys and their lines are
/// handed back if every line has one.
pub(super) fn each_line<'p>(
    text: &str,
    required: Required,
    identity: &[&str],
    problems: &mut Problems<'p>,
    mut take: impl FnMut(&Cells<'_>, &mut Problems<'p>) -> Option<Decimal>,
) -> BTreeMap<RecordId, usize> {
    // The reader counts lines of CRLF files from the end of the record before.
    let text = if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    let text = text.as_ref();
    let delimiter = delimiter(text);
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.trim().to_ascii_lowercase()).collect(),
        Err(error) => {
            problems.add(1, "this is not CSV text", error.to_string());
            return BTreeMap::new();
        }
    };
    if header.iter().all(String::is_empty) {
        problems.add(1, "the file is empty", "export it again");
        return BTreeMap::new();
    }
    let Some(columns) = columns(&header, required, problems) else { return BTreeMap::new() };
    let mut seen: BTreeMap<RecordId, usize> = BTreeMap::new();
    let mut keyed = true;
    let mut twice = HashSet::new();
    let mut record = StringRecord::new();
    loop {
        let start = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return if keyed { seen } else { BTreeMap::new() },
            Ok(true) => {}
            Err(error) => {
                let line = error.position().map_or(start, csv::Position::line);
                problems.add(usize::try_from(line).unwrap_or(usize::MAX), "this is not CSV text", error.to_string());
                continue;
            }
        }
        let line = record.position().map_or(start, csv::Position::line);
        let cells = Cells { columns: &columns, record: &record, line: usize::try_from(line).unwrap_or(usize::MAX) };
        if record.len() != header.len() {
            let what = format!("the line has {} fields, the column names are {}", record.len(), header.len());
            problems.add(cells.line, what, "the file is cut off, or a text with a comma is not in quotes");
            continue;
        }
        let amount = take(&cells, problems);
        if amount.is_none_or(|amount| amount.is_zero()) {
            continue;
        }
        let id = match cells.text(identity) {
            Some(id) => fingerprint([id.as_bytes(), cells.text(&["identity_time_interval"]).unwrap_or("").as_bytes()]),
            None => {
                keyed = false;
                fingerprint(record.iter().map(str::as_bytes))
            }
        };
        match seen.get(&id) {
            Some(first) if twice.insert(cells.line) => {
                let hint =
                    "take one of the two out, or export again: an export that was joined to another has it twice";
                problems.add(cells.line, format!("the line stands in line {first} already"), hint);
            }
            Some(_) => {}
            None => {
                seen.insert(id, cells.line);
            }
        }
    }
}

/// Where columns are; a mistake for each that is missing.
fn columns(header: &[String], required: Required, problems: &mut Problems<'_>) -> Option<Columns> {
    let mut columns = Columns::default();
    for (at, name) in header.iter().enumerate() {
        // Columns for tags may differ in case only; nothing is read from those.
        columns.0.entry(name.clone()).or_insert(at);
    }
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let before = problems.found.len();
    for wanted in required {
        if !wanted.iter().any(|name| columns.0.contains_key(*name)) {
            let name = wanted.first().copied().unwrap_or_default();
            let near = nearest(name, &names);
            let hint = format!("export it again with this column ('{near}' is the most like it here)");
            problems.add(1, format!("the column {} is missing", wanted.join(" or ")), hint);
        }
    }
    (problems.found.len() == before).then_some(columns)
}

fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |sign: char| header.matches(sign).count();
    if count(';') > count(',') {
        b';'
    } else if count('\t') > count(',') {
        b'\t'
    } else {
        b','
    }
}
