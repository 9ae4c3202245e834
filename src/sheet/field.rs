//! Cells as what they stand for, with a hint where they do not.

use rust_decimal::Decimal;

use super::{Cell, Place, Problem, Row};
use crate::model::Timestamp;

/// The word of `words` that is most like `word`.
#[must_use]
pub fn nearest<'a>(word: &str, words: &[&'a str]) -> &'a str {
    let word = word.to_lowercase();
    let like = |other: &str| strsim::jaro_winkler(&word, other);
    words.iter().copied().max_by(|a, b| like(a).total_cmp(&like(b))).unwrap_or_default()
}

/// A row being read: what is wrong goes to `problems`, and reading goes on.
#[derive(Debug)]
pub struct Fields<'a> {
    file: &'a str,
    row: &'a Row,
    /// What a row says that does not say it itself.
    defaults: Option<&'a Row>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// Reads `row`; names that it lacks are looked up in `defaults`.
    pub const fn new(file: &'a str, row: &'a Row, defaults: Option<&'a Row>, problems: &'a mut Vec<Problem>) -> Self {
        Self { file, row, defaults, problems }
    }

    /// Where the row stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { file: self.file.to_owned(), line: self.row.line }
    }

    /// A mistake in the cell `name`, or in the row if it has no such cell.
    pub fn problem(&mut self, name: &str, what: impl Into<String>, hint: impl Into<String>) {
        let line = self.cell(name).map_or(self.row.line, |cell| cell.line);
        self.problems.push(Place { file: self.file.to_owned(), line }.problem(what, hint));
    }

    /// How many mistakes were found so far, in this row and before.
    #[must_use]
    pub const fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Refuses names that are not among `names`; one that ends in `.` stands for all that start so.
    pub fn known(&mut self, names: &[&str]) {
        let is_known =
            |cell: &str| names.iter().any(|name| *name == cell || (name.ends_with('.') && cell.starts_with(name)));
        let row = self.row;
        for cell in row.cells.keys().filter(|cell| !is_known(cell)) {
            self.problem(
                cell,
                format!("there is no '{cell}' here"),
                format!("did you mean '{}'?", nearest(cell, names)),
            );
        }
    }

    /// Names and texts of the cells that start with `prefix`, without it.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Vec<(&'a str, &'a Cell)> {
        let row = self.row;
        row.cells.iter().filter_map(|(name, cell)| Some((name.strip_prefix(prefix)?, cell))).collect()
    }

    /// The text under `name`, in the row or the defaults.
    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        match self.cell(name)?.texts.as_slice() {
            [text] => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => {
                self.problem(name, format!("'{name}' is a list"), "write one value");
                None
            }
        }
    }

    /// The texts under `name`: of a list, or the only one.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&'a str> {
        self.cell(name).map(|cell| cell.texts.iter().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The text under `name`, which must be there.
    pub fn required(&mut self, name: &str) -> Option<&'a str> {
        let before = self.problems();
        let text = self.text(name);
        if text.is_none() && self.problems() == before {
            self.problem(name, format!("'{name}' is missing"), format!("fill in {name}"));
        }
        text
    }

    /// The text under `name` as one of `words`.
    pub fn one_of<T>(&mut self, name: &str, words: &[&str], read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let found = read(text);
        if found.is_none() {
            let hint = format!("did you mean '{}'? There are {}", nearest(text, words), words.join(", "));
            self.problem(name, format!("there is no {name} '{text}'"), hint);
        }
        found
    }

    /// The text under `name` as a number that is not negative.
    pub fn decimal(&mut self, name: &str) -> Option<Decimal> {
        let text = self.text(name)?;
        match decimal(text) {
            Ok(number) if number.is_sign_negative() && !number.is_zero() => {
                self.problem(name, format!("{name} '{text}' is negative"), "write 0 or more");
                None
            }
            Ok(number) => Some(number),
            Err((what, hint)) => {
                self.problem(name, format!("{name} '{text}' {what}"), hint);
                None
            }
        }
    }

    /// The text under `name` as a whole number.
    pub fn count(&mut self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        let read = text.replace('_', "").parse();
        if read.is_err() {
            self.problem(name, format!("{name} '{text}' is no whole number"), "write for example 200000");
        }
        read.ok()
    }

    /// The text under `name` as an instant; a day is its first instant in UTC.
    pub fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let read = instant(text);
        if read.is_none() {
            let hint = "write 2026-04-01 for its first instant in UTC, or 2026-04-01T08:00:00Z";
            self.problem(name, format!("{name} '{text}' is no date"), hint);
        }
        read
    }

    /// `valid_from` and `valid_to`, in order.
    pub fn validity(&mut self) -> (Option<Timestamp>, Option<Timestamp>) {
        let (from, to) = (self.instant("valid_from"), self.instant("valid_to"));
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            let what =
                format!("valid_to {} is not after valid_from {}", self.text("valid_to").unwrap_or_default(), from);
            self.problem("valid_to", what, "valid_to is the first instant after the validity, or empty");
        }
        (from, to)
    }

    fn cell(&self, name: &str) -> Option<&'a Cell> {
        let (row, defaults) = (self.row, self.defaults);
        row.cells.get(name).or_else(|| defaults?.cells.get(name))
    }
}

/// A day or an instant.
fn instant(text: &str) -> Option<Timestamp> {
    let day = text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
    if day { Timestamp::parse(&format!("{text}T00:00:00Z")) } else { Timestamp::parse(text) }
}

/// A decimal as it stands, or what is wrong with it and what to write.
fn decimal(text: &str) -> Result<Decimal, (&'static str, String)> {
    let plain = text.replace('_', "");
    if let Ok(number) = Decimal::from_str_exact(&plain) {
        return Ok(number);
    }
    let number = |text: &str| Decimal::from_str_exact(text).is_ok();
    match plain.rsplit_once(',') {
        Some((whole, part)) if number(&whole.replace('.', "")) && number(part) => {
            let point = format!("{}.{part}", whole.replace(['.', ','], ""));
            return Err(("has a decimal comma", format!("write {point}: decimals have a point, thousands nothing")));
        }
        Some(_) => {
            return Err(("has a comma", "write decimals with a point and thousands without anything".to_owned()));
        }
        None => {}
    }
    if let Ok(number) = Decimal::from_scientific(&plain.to_lowercase()) {
        return Err(("has an exponent", format!("write it out: {number}")));
    }
    let bare = plain.trim_matches(|char: char| !char.is_ascii_digit() && char != '.');
    if bare != plain && number(bare) {
        return Err(("is more than a number", format!("write {bare}; the currency has a place of its own")));
    }
    Err(("is no number", "write for example 2.50".to_owned()))
}
