//! From files to one price book: what no file shows by itself.

use std::collections::{BTreeMap, HashMap};

use crate::model::Timestamp;
use crate::pricing::book::PriceBook;
use crate::pricing::commitment::Commitment;
use crate::pricing::contract::{Contract, Terms};
use crate::pricing::exchange::{Exchange, ExchangeRate};
use crate::pricing::key::Layer;
use crate::pricing::rate::{Rate, short};
use crate::sheet::{Place, Problem};

/// A row and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The row.
    pub row: T,
    /// File and line.
    pub place: Place,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceFile {
    /// List prices.
    pub rates: Vec<Located<Rate>>,
    /// Contracts.
    pub contracts: Vec<Located<Contract>>,
    /// Capacity paid by the hour.
    pub commitments: Vec<Located<Commitment>>,
    /// Exchange rates.
    pub exchange: Vec<Located<ExchangeRate>>,
}

impl PriceFile {
    /// Lets rows that say nothing of it, and so became known at `now`, keep the instant at which the same row became known
    /// before. Else a new line in a file would give every other line of it a new identity, which no call of the past names.
    pub fn recall(&mut self, now: Timestamp, known: &HashMap<String, Timestamp>) {
        for Located { row, .. } in &mut self.rates {
            if let Some(before) = known.get(&row.fingerprint()).filter(|_| row.recorded_at == now) {
                let derived = row.row_id == row.derived_id(row.layer.as_str());
                row.recorded_at = *before;
                if derived {
                    row.row_id = row.derived_id(row.layer.as_str());
                }
            }
        }
        for Located { row, .. } in &mut self.contracts {
            if let Some(before) = known.get(&row.fingerprint()).filter(|_| row.recorded_at == now) {
                let derived = row.row_id == row.derived_id();
                row.recorded_at = *before;
                if derived {
                    row.row_id = row.derived_id();
                }
            }
        }
    }

    /// Leaves out where rows stand, for comparing files: a row is the same a line further down.
    pub fn unplaced(&mut self) {
        for Located { row, place } in &mut self.rates {
            if row.source_ref == place.to_string() {
                row.source_ref.clear();
            }
        }
        for Located { row, place } in &mut self.contracts {
            if row.source_ref == place.to_string() {
                row.source_ref.clear();
            }
        }
    }

    /// When each row became known, by what it says.
    pub fn fingerprints(&self) -> impl Iterator<Item = (String, Timestamp)> {
        let rates = self.rates.iter().map(|rate| (rate.row.fingerprint(), rate.row.recorded_at));
        rates.chain(self.contracts.iter().map(|contract| (contract.row.fingerprint(), contract.row.recorded_at)))
    }
}

/// Everything that has to do with prices, checked.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    /// Rates and contracts.
    pub book: PriceBook,
    /// Capacity paid by the hour.
    pub commitments: Vec<Commitment>,
    /// Exchange rates.
    pub exchange: Exchange,
}

/// One price book from the bundled rows and the files; with a `report_currency`, only if everything can be told in it.
///
/// # Errors
/// Every contradiction between rows, in one file or several, with the place of the later one. Nothing is applied then.
pub fn assemble(
    bundled: Vec<Rate>,
    files: Vec<PriceFile>,
    report_currency: Option<&str>,
) -> Result<Prices, Vec<Problem>> {
    let mut all = PriceFile::default();
    for file in files {
        all.rates.extend(file.rates);
        all.contracts.extend(file.contracts);
        all.commitments.extend(file.commitments);
        all.exchange.extend(file.exchange);
    }
    let mut problems = Vec::new();
    rates(&all.rates, &mut problems);
    ids(&bundled, &all, &mut problems);
    contracts(&all.contracts, &mut problems);
    commitments(&all.commitments, &mut problems);
    exchange(&all.exchange, &mut problems);
    if let Some(currency) = report_currency {
        currencies(&all, currency, &mut problems);
    }
    problems.sort();
    problems.dedup();
    if !problems.is_empty() {
        return Err(problems);
    }
    let rows = bundled.into_iter().chain(all.rates.into_iter().map(|rate| rate.row)).collect();
    let contracts = all.contracts.into_iter().map(|contract| contract.row).collect();
    let book = PriceBook::new(rows, contracts).map_err(|error| {
        // Every file was checked; what is left is in the bundled rows.
        let place = Place { file: "bundled list".to_owned(), line: 0 };
        vec![place.problem(error.to_string(), "the program is damaged")]
    })?;
    let exchange = Exchange::new(all.exchange.into_iter().map(|rate| rate.row).collect());
    Ok(Prices { book, commitments: all.commitments.into_iter().map(|row| row.row).collect(), exchange })
}

/// Rows that say different things about the same calls, or the same thing twice.
fn rates(rates: &[Located<Rate>], problems: &mut Vec<Problem>) {
    let mut keys: BTreeMap<String, Vec<&Located<Rate>>> = BTreeMap::new();
    for located in rates {
        // The id without its dates is the key.
        let open = Rate { valid_from: None, recorded_at: Timestamp::default(), ..located.row.clone() };
        keys.entry(open.derived_id(open.layer.as_str())).or_default().push(located);
    }
    for rows in keys.values_mut() {
        rows.sort_by_key(|located| (located.row.recorded_at, located.row.valid_from, located.place.clone()));
        for (number, a) in rows.iter().enumerate() {
            let known_together = rows.iter().skip(number + 1).take_while(|b| b.row.recorded_at == a.row.recorded_at);
            for b in known_together {
                if let Some((what, hint)) = contradiction(&a.row, &b.row) {
                    let (first, second) = if a.place <= b.place { (a, b) } else { (b, a) };
                    problems.push(second.place.problem(format!("{what} the row at {}", first.place), hint));
                }
            }
        }
    }
}

/// `b` does not start before `a`.
fn contradiction(a: &Rate, b: &Rate) -> Option<(String, String)> {
    if a.valid_from == b.valid_from {
        let same = (a.amount * b.per == b.amount * a.per, &a.currency, a.valid_to) == (true, &b.currency, b.valid_to);
        let start = a.valid_from.map_or_else(|| "ever".to_owned(), short);
        return Some(if same {
            ("this row is a duplicate of".to_owned(), "take one of them out".to_owned())
        } else {
            (
                format!("from {start} on, this row contradicts"),
                "give the price that holds later its own valid_from, or a correction a later recorded_at".to_owned(),
            )
        });
    }
    let (end, start) = (a.valid_to?, b.valid_from?);
    // The list that comes with the program is built with this overlap: the later start wins.
    if end <= start || a.layer == Layer::Bundled {
        return None;
    }
    let hint = format!("end the earlier one with valid_to {}, or leave its end open", short(start));
    Some((format!("from {} until {} this row overlaps", short(start), short(end)), hint))
}

fn ids(bundled: &[Rate], all: &PriceFile, problems: &mut Vec<Problem>) {
    let mut taken: HashMap<&str, Option<&Place>> = bundled.iter().map(|rate| (rate.row_id.as_str(), None)).collect();
    let rates = all.rates.iter().map(|located| (located.row.row_id.as_str(), &located.place));
    let contracts = all.contracts.iter().map(|located| (located.row.row_id.as_str(), &located.place));
    for (id, place) in rates.chain(contracts) {
        // A contradiction was told already: its ids are the same because its keys are.
        let told = problems.iter().any(|problem| problem.file == place.file && problem.line == place.line);
        if let Some(first) = taken.insert(id, Some(place)).filter(|_| !told) {
            let by = first.map_or_else(|| "a bundled row".to_owned(), |first| format!("the row at {first}"));
            problems.push(place.problem(
                format!("its id '{id}' is taken by {by}"),
                "rows of one key differ in valid_from or recorded_at; take a duplicate out",
            ));
        }
    }
}

fn contracts(contracts: &[Located<Contract>], problems: &mut Vec<Problem>) {
    for (number, b) in contracts.iter().enumerate() {
        for a in contracts.iter().take(number).filter(|a| a.row.clashes(&b.row)) {
            let what = format!(
                "contract {} holds for the same calls as {} at {}, and neither is more specific",
                b.row.contract_id, a.row.contract_id, a.place
            );
            problems.push(b.place.problem(what, "end one of them, or narrow it to a model or an account"));
        }
    }
}

fn commitments(commitments: &[Located<Commitment>], problems: &mut Vec<Problem>) {
    for (number, b) in commitments.iter().enumerate() {
        if let Some(a) = commitments.iter().take(number).find(|a| a.row.commitment_id == b.row.commitment_id) {
            let overlap = a.row.valid_to.is_none_or(|end| b.row.valid_from < end)
                && b.row.valid_to.is_none_or(|end| a.row.valid_from < end);
            if overlap {
                let what = format!("commitment {} is there twice, also at {}", b.row.commitment_id, a.place);
                problems.push(b.place.problem(what, "end the earlier one where the later one starts"));
            }
        }
    }
}

fn exchange(rates: &[Located<ExchangeRate>], problems: &mut Vec<Problem>) {
    let key = |rate: &ExchangeRate| (rate.from.clone(), rate.to.clone(), rate.valid_from, rate.recorded_at);
    for (number, b) in rates.iter().enumerate() {
        if let Some(a) = rates.iter().take(number).find(|a| key(&a.row) == key(&b.row)) {
            let what = format!("the rate from {} to {} is there twice, also at {}", b.row.from, b.row.to, a.place);
            problems.push(b.place.problem(what, "take one of them out"));
        }
    }
}

/// Currencies that nothing turns into the one of the reports: each is told once, where it stands first.
fn currencies(all: &PriceFile, report: &str, problems: &mut Vec<Problem>) {
    let known = Exchange::new(all.exchange.iter().map(|rate| rate.row.clone()).collect());
    let rates = all.rates.iter().map(|located| (located.row.currency.as_str(), &located.place));
    let contracts = all.contracts.iter().filter_map(|located| match &located.row.terms {
        Terms::Rate { currency, .. } => Some((currency.as_str(), &located.place)),
        Terms::Multiplier(_) => None,
    });
    let hourly =
        all.commitments.iter().filter_map(|located| Some((located.row.hourly.as_ref()?.1.as_str(), &located.place)));
    let mut first: BTreeMap<&str, &Place> = BTreeMap::new();
    for (currency, place) in rates.chain(contracts).chain(hourly) {
        let known = first.entry(currency).or_insert(place);
        *known = (*known).min(place);
    }
    for (currency, place) in first.into_iter().filter(|(currency, _)| !known.knows(currency, report)) {
        let what = format!("there is no exchange rate from {currency} to {report}");
        problems.push(place.problem(what, format!("add one: from {currency}, to {report}, rate, valid_from")));
    }
}
