//! Readers of bills, one per export: bytes in; lines out, or every mistake with its file and line. Nothing of a file with
//! a mistake is taken over. What is no usage of a model is skipped, but counted, and so is its money.

mod anthropic;
mod aws;
mod azure;
mod json;
mod meter;
mod number;
mod openai;
mod records;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::BillLine;
use crate::catalog::Catalog;
use crate::model::RecordId;
use crate::sheet::{Place, Problem};

pub use meter::{Meter, Meters};

/// Whose export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// AWS Data Exports, CUR 2.0, as CSV.
    AwsCur2,
    /// An Azure cost export, actual or amortized, as CSV.
    AzureCost,
    /// Pages of OpenAI's `/v1/organization/costs`.
    OpenAiCosts,
    /// Pages of Anthropic's `/v1/organizations/cost_report`.
    AnthropicCosts,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AwsCur2, Self::AzureCost, Self::OpenAiCosts, Self::AnthropicCosts];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsCur2 => "aws-cur2",
            Self::AzureCost => "azure-cost",
            Self::OpenAiCosts => "openai-costs",
            Self::AnthropicCosts => "anthropic-costs",
        }
    }

    /// What a file looks like, by its first bytes; `None` if like none of them.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        let head = String::from_utf8_lossy(bytes.get(..bytes.len().min(64 * 1024)).unwrap_or_default());
        let head = head.trim_start_matches('\u{feff}').trim_start();
        if head.starts_with('{') || head.starts_with('[') {
            return if head.contains("\"starting_at\"") {
                Some(Self::AnthropicCosts)
            } else if head.contains("\"start_time\"") {
                Some(Self::OpenAiCosts)
            } else {
                Self::of_columns(&head.to_ascii_lowercase())
            };
        }
        Self::of_columns(&head.lines().next().unwrap_or_default().to_ascii_lowercase())
    }

    /// By the names of columns.
    fn of_columns(header: &str) -> Option<Self> {
        if header.contains("line_item_usage_type") || header.contains("line_item_line_item_type") {
            Some(Self::AwsCur2)
        } else if header.contains("metercategory") || header.contains("metername") {
            Some(Self::AzureCost)
        } else {
            None
        }
    }
}

impl std::str::FromStr for Format {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let short = |format: &Self| format.as_str().split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|format| format.as_str() == text || short(format) == text).ok_or(())
    }
}

/// What was left out because it is no usage of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many lines.
    pub lines: u64,
    /// Their money, by currency.
    pub cost: BTreeMap<String, Decimal>,
}

/// A bill, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// Its lines about models, and what else is to be paid for them.
    pub lines: Vec<BillLine>,
    /// By service: lines about something else.
    pub skipped: BTreeMap<String, Skipped>,
    /// Amounts that the bill writes with more than twelve fraction digits; they were rounded, half to even.
    pub rounded: u64,
    /// The bill's own keys of its lines and where they stand, if every line has one.
    pub ids: BTreeMap<RecordId, usize>,
}

impl Bill {
    fn skip(&mut self, service: &str, cost: Decimal, currency: &str) {
        let entry = self.skipped.entry(service.to_owned()).or_default();
        entry.lines += 1;
        *entry.cost.entry(currency.to_owned()).or_default() += cost;
    }
}

/// What names are resolved with.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Models.
    pub catalog: &'a Catalog,
    /// The operator's own words about meters, which come first.
    pub meters: &'a Meters,
}

/// More mistakes than anybody reads are not collected.
const MOST_PROBLEMS: usize = 1000;

/// Mistakes of one file.
#[derive(Debug)]
struct Problems<'a> {
    file: &'a str,
    found: Vec<Problem>,
    more: usize,
}

impl<'a> Problems<'a> {
    const fn new(file: &'a str) -> Self {
        Self { file, found: Vec::new(), more: 0 }
    }

    fn at(&self, line: usize) -> Place {
        Place { file: self.file.to_owned(), line }
    }

    fn add(&mut self, line: usize, what: impl Into<String>, hint: impl Into<String>) {
        if self.found.len() < MOST_PROBLEMS {
            self.found.push(self.at(line).problem(what, hint));
        } else {
            self.more += 1;
        }
    }

    fn or(mut self, bill: Bill) -> Result<Bill, Vec<Problem>> {
        if self.found.is_empty() {
            return Ok(bill);
        }
        if self.more > 0 {
            let last = self.found.last().map_or(1, |problem| problem.line);
            let more = self.at(last).problem(format!("{} more mistakes follow", self.more), "mend those above first");
            self.found.push(more);
        }
        Err(self.found)
    }
}

/// Reads a bill. Lines that stand twice in it are mistakes; two files may still hold the same lines, see [`repeated`].
///
/// # Errors
/// Every mistake, with its line and what to do about it.
pub fn read(format: Format, file: &str, bytes: &[u8], names: Names<'_>) -> Result<Bill, Vec<Problem>> {
    let mut problems = Problems::new(file);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            problems.add(line, "the file is no UTF-8 text", "export it as UTF-8, as gzip of it, or as Parquet");
            return problems.or(Bill::default());
        }
    };
    let records = matches!(format, Format::AwsCur2 | Format::AzureCost) && text.trim_start().starts_with(['{', '[']);
    if records {
        return read_records(format, text, names, problems);
    }
    let bill = match format {
        Format::AwsCur2 => aws::read(text, names, &mut problems),
        Format::AzureCost => azure::read(text, names, &mut problems),
        Format::OpenAiCosts => openai::read(text, names, &mut problems),
        Format::AnthropicCosts => anthropic::read(text, names, &mut problems),
    };
    problems.or(bill)
}

/// Reads a wide export that is JSON, and tells lines of the JSON.
fn read_records(
    format: Format,
    text: &str,
    names: Names<'_>,
    mut problems: Problems<'_>,
) -> Result<Bill, Vec<Problem>> {
    let Some(csv) = records::as_csv(text, &mut problems) else { return problems.or(Bill::default()) };
    let mut bill = match format {
        Format::AzureCost => azure::read(&csv.text, names, &mut problems),
        _ => aws::read(&csv.text, names, &mut problems),
    };
    for line in &mut bill.lines {
        line.place.line = csv.line(line.place.line);
    }
    for line in bill.ids.values_mut() {
        *line = csv.line(*line);
    }
    for problem in &mut problems.found {
        problem.line = csv.line(problem.line);
    }
    problems.or(bill)
}

/// Lines of several files that say the same: the same day exported twice. Each is a mistake at the later place.
#[must_use]
pub fn repeated(bills: &[&Bill]) -> Vec<Problem> {
    let mut seen: BTreeMap<_, &Place> = BTreeMap::new();
    let mut problems = Vec::new();
    let place = |bill: &Bill, line: usize| bill.lines.first().map(|first| Place { line, ..first.place.clone() });
    let mut known: BTreeMap<RecordId, Place> = BTreeMap::new();
    for bill in bills {
        for (id, line) in &bill.ids {
            let Some(at) = place(bill, *line) else { continue };
            match known.get(id) {
                Some(first) => {
                    let what = format!("the line is in {first} too");
                    problems.push(at.problem(what, "take one of the two exports out"));
                }
                None => {
                    known.insert(*id, at);
                }
            }
        }
    }
    // Without keys of their own lines are told by what they say.
    let unkeyed = bills.iter().filter(|bill| bill.ids.is_empty());
    for line in unkeyed.flat_map(|bill| &bill.lines).filter(|line| !line.cost.is_zero()) {
        let key = (
            (&line.platform, &line.account, &line.region, &line.usage_type, &line.sku),
            (line.period, line.category, &line.currency, line.cost, line.quantity, line.unit_price),
        );
        match seen.get(&key) {
            Some(first) if first.file != line.place.file => {
                let what = format!("the line is in {first} too");
                problems.push(line.place.problem(what, "take one of the two exports out"));
            }
            Some(_) => {}
            None => {
                seen.insert(key, &line.place);
            }
        }
    }
    problems
}
