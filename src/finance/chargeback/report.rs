//! From sums of the ledger to a report.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::warn::{self, Warning};
use super::{Correction, Figures, Gap, SourceSeen, Summed, exact_sum};
use crate::attribution::{Field, Measures, SplitLine, split_shared};
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::capacity::Capacity;
use crate::model::{SplitError, Timestamp, round_together, rounded};
use crate::pricing::{Exchange, ExchangeRate};

/// What a report is made from: one moment of the ledger.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Sums by group and currency.
    pub lines: Vec<Summed>,
    /// Sums by currency alone.
    pub ledger: Vec<Summed>,
    /// What has no price.
    pub gaps: Vec<Gap>,
    /// What each source delivered.
    pub sources: Vec<SourceSeen>,
    /// Capacity that is paid by the hour, allocated by the columns of the report.
    pub capacity: Vec<Capacity>,
    /// Calls on capacity that no commitment speaks of.
    pub uncovered_calls: u64,
    /// Records set aside, by source.
    pub set_aside: Vec<(String, u64)>,
    /// How far followed sources are complete, where a server follows them.
    pub complete_to: BTreeMap<String, Option<String>>,
    /// Now.
    pub now: Timestamp,
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// A sum can't be told in the currency.
    #[error(
        "there is no exchange rate from {from} to {to} that holds in the middle of the month; add one to a file of [prices]: \
         from {from}, to {to}, rate, valid_from, source"
    )]
    Exchange {
        /// Of the ledger.
        from: String,
        /// That was asked for.
        to: String,
    },
    /// Exact arithmetic has an end.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A sum has too many digits.
    #[error("a sum has more digits than can be kept exactly")]
    TooLarge,
    /// Lines and ledger differ: a mistake of the program.
    #[error("the lines add up to {lines} {currency}, the ledger to {ledger}: the report is wrong and was not made")]
    Differs {
        /// Currency.
        currency: String,
        /// Sum of the lines.
        lines: String,
        /// Sum of the ledger.
        ledger: String,
    },
}

/// A line: a group in one currency of the ledger, or its part of a commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The commitment that the cost is a part of; `None` for calls of the ledger.
    pub commitment: Option<String>,
    /// Values of the columns; `None` for nobody.
    pub keys: Vec<Option<String>>,
    /// Currency of the costs; `None` where no call has a price.
    pub currency: Option<String>,
    /// The sums.
    pub figures: Figures,
    /// What is posted, rounded together with the other lines; in the currency of the report where it has one.
    pub amount: Option<Decimal>,
}

/// The sum of all lines of one currency: ledger and commitments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Currency of the costs; `None` for the total in the currency of the report, which has no costs of its own.
    pub currency: Option<String>,
    /// The sums.
    pub figures: Figures,
    /// The sum of the amounts.
    pub amount: Option<Decimal>,
}

/// Shared cost that goes on by a declared rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Currency of the amounts.
    pub currency: String,
    /// The column that is split.
    pub field: Field,
    /// Each part.
    pub parts: Vec<SplitLine>,
    /// What each pays in the end.
    pub charged: BTreeMap<String, Decimal>,
}

/// Who pays what for a month.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked.
    pub ask: Ask,
    /// When.
    pub made_at: Timestamp,
    /// Version of prices and rules.
    pub rules_version: String,
    /// Version of the price book.
    pub prices_version: String,
    /// What the figures leave out; page one.
    pub warnings: Vec<Warning>,
    /// Lines, by currency, the most expensive first.
    pub lines: Vec<Line>,
    /// A total for each currency of the ledger, and one in that of the report, where it has one.
    pub totals: Vec<Total>,
    /// The currency of all amounts, where the report has one.
    pub currency: Option<String>,
    /// Rates that sums were converted with.
    pub exchange: Vec<ExchangeRate>,
    /// Shared cost that goes on.
    pub shared: Vec<Moved>,
    /// Capacity that is paid by the hour; its parts are among the lines.
    pub capacity: Vec<Capacity>,
    /// What each source delivered.
    pub sources: Vec<SourceSeen>,
    /// Records that could not be read, by source.
    pub set_aside: Vec<(String, u64)>,
    /// Corrections of closed months that are posted in this one.
    pub corrections: Vec<Correction>,
    /// The sum of their amounts, by currency.
    pub correction_totals: BTreeMap<String, Decimal>,
    /// Who closed the month and when, where these are its closed figures.
    pub closed: Option<String>,
}

/// Fraction digits of the smallest unit of a currency.
#[must_use]
pub fn minor_digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
        | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

impl Report {
    /// Makes the report.
    ///
    /// # Errors
    /// There is no exchange rate, or a sum is beyond exact arithmetic.
    pub fn new(ask: Ask, terms: &Terms, inputs: Inputs) -> Result<Self, ReportError> {
        let mut lines = folded(inputs.lines)?;
        let ledger = totals(&inputs.ledger)?;
        same(&totals(&lines)?, &ledger)?;
        let mut warnings = warn::warnings(&ask, &inputs.ledger, &lines, &inputs.gaps);
        warn::capacity(&inputs.capacity, inputs.uncovered_calls, &mut warnings);
        warn::completeness(&ask, &inputs.sources, &inputs.set_aside, &inputs.complete_to, inputs.now, &mut warnings);
        let paid = inputs.capacity.iter().filter_map(|one| one.currency.as_ref());
        let currencies: BTreeSet<&String> = ledger.keys().flatten().chain(paid).collect();
        let (currency, exchange) = rates_to(&ask, terms, currencies.into_iter(), &mut warnings)?;
        sort(&mut lines);
        let mut lines: Vec<Line> = lines
            .into_iter()
            .map(|Summed { keys, currency, figures }| Line { commitment: None, keys, currency, figures, amount: None })
            .collect();
        let mut totals: Vec<Total> =
            ledger.into_iter().map(|(currency, figures)| Total { currency, figures, amount: None }).collect();
        committed(&inputs.capacity, &mut lines, &mut totals)?;
        // Calls without a price are in the lines of their group; alone they have a total of their own.
        let priced = totals.iter().any(|total| total.currency.is_some());
        if priced && let Some(at) = totals.iter().position(|total| total.currency.is_none()) {
            let rest = totals.remove(at).figures;
            if let Some(first) = totals.first_mut() {
                first.figures = first.figures.plus(&rest).ok_or(ReportError::TooLarge)?;
            }
        }
        amounts(&mut lines, &mut totals, currency.as_deref(), &exchange, ask.month.middle(ask.zone))?;
        let shared = shared(&ask, terms, &lines, currency.as_deref())?;
        Ok(Self {
            made_at: inputs.now,
            rules_version: terms.version.clone(),
            prices_version: terms.prices_version.clone(),
            warnings,
            lines,
            totals,
            currency,
            exchange,
            shared,
            capacity: inputs.capacity,
            sources: inputs.sources,
            set_aside: inputs.set_aside,
            corrections: Vec::new(),
            correction_totals: BTreeMap::new(),
            closed: None,
            ask,
        })
    }
}

/// Adds what commitments cost: a line for each part, and to the total of its currency. The parts are the whole.
fn committed(capacity: &[Capacity], lines: &mut Vec<Line>, totals: &mut Vec<Total>) -> Result<(), ReportError> {
    for one in capacity {
        let Some(currency) = &one.currency else { continue };
        let cost_of = |cost| Figures { cost: Some(cost), ..Figures::default() };
        let sum = one.parts.iter().try_fold(Decimal::ZERO, |sum, part| exact_sum(sum, part.cost));
        let sum = sum.ok_or(ReportError::TooLarge)?;
        if sum != one.cost {
            let (lines, ledger) = (sum.to_string(), one.cost.to_string());
            return Err(ReportError::Differs { currency: currency.clone(), lines, ledger });
        }
        let mut parts: Vec<Line> = one
            .parts
            .iter()
            .map(|part| Line {
                commitment: Some(one.commitment_id.clone()),
                keys: part.keys.clone(),
                currency: Some(currency.clone()),
                figures: cost_of(part.cost),
                amount: None,
            })
            .collect();
        parts.sort_by(|a, b| b.figures.cost.cmp(&a.figures.cost).then_with(|| a.keys.cmp(&b.keys)));
        lines.extend(parts);
        match totals.iter_mut().find(|total| total.currency.as_ref() == Some(currency)) {
            Some(total) => {
                total.figures = total.figures.plus(&cost_of(one.cost)).ok_or(ReportError::TooLarge)?;
            }
            None => {
                totals.push(Total { currency: Some(currency.clone()), figures: cost_of(one.cost), amount: None });
            }
        }
    }
    Ok(())
}

/// A call without a price has no currency: it is shown beside the money of its group, never as one of another currency.
fn folded(summed: Vec<Summed>) -> Result<Vec<Summed>, ReportError> {
    let (priced, rest): (Vec<_>, Vec<_>) = summed.into_iter().partition(|line| line.currency.is_some());
    let mut lines = priced;
    for line in rest {
        let known = lines.iter_mut().filter(|other| other.keys == line.keys);
        match known.max_by(|a, b| a.currency.cmp(&b.currency)) {
            Some(known) => known.figures = known.figures.plus(&line.figures).ok_or(ReportError::TooLarge)?,
            None => lines.push(line),
        }
    }
    Ok(lines)
}

type Sums = BTreeMap<Option<String>, Figures>;

fn totals(lines: &[Summed]) -> Result<Sums, ReportError> {
    let mut sums = Sums::new();
    for line in lines {
        let sum = sums.entry(line.currency.clone()).or_default();
        *sum = sum.plus(&line.figures).ok_or(ReportError::TooLarge)?;
    }
    Ok(sums)
}

/// The lines are the ledger, to the last digit and call.
fn same(lines: &Sums, ledger: &Sums) -> Result<(), ReportError> {
    let cost = |sums: &Sums, currency: &Option<String>| {
        sums.get(currency).and_then(|figures| figures.cost).unwrap_or_default()
    };
    let calls = |sums: &Sums| sums.values().map(|figures| figures.calls).sum::<u64>();
    for currency in lines.keys().chain(ledger.keys()) {
        let (own, whole) = (cost(lines, currency), cost(ledger, currency));
        if own != whole {
            let currency = currency.clone().unwrap_or_default();
            return Err(ReportError::Differs { currency, lines: own.to_string(), ledger: whole.to_string() });
        }
    }
    if calls(lines) != calls(ledger) {
        let (lines, ledger) = (calls(lines).to_string(), calls(ledger).to_string());
        return Err(ReportError::Differs { currency: "calls".to_owned(), lines, ledger });
    }
    Ok(())
}

fn sort(lines: &mut [Summed]) {
    lines.sort_by(|a, b| {
        let unpriced = a.currency.is_none().cmp(&b.currency.is_none());
        let cost = || b.figures.cost.cmp(&a.figures.cost);
        // A line of nobody comes last among equals.
        let keys = || {
            let key = |line: &Summed| line.keys.iter().map(|key| (key.is_none(), key.clone())).collect::<Vec<_>>();
            key(a).cmp(&key(b))
        };
        unpriced.then_with(|| a.currency.cmp(&b.currency)).then_with(cost).then_with(keys)
    });
}

/// The currency of the report and the rates that lead to it. One that was asked for must be reached, one of the
/// configuration is given up with a warning.
fn rates_to<'a>(
    ask: &Ask,
    terms: &Terms,
    ledger: impl Iterator<Item = &'a String>,
    warnings: &mut Vec<Warning>,
) -> Result<(Option<String>, Vec<ExchangeRate>), ReportError> {
    let Some(to) = ask.currency.as_ref().or(terms.currency.as_ref()) else { return Ok((None, Vec::new())) };
    let mut rates = Vec::new();
    for from in ledger.filter(|from| *from != to) {
        match terms.exchange.rate(from, to, ask.month.middle(ask.zone)) {
            Some(rate) => rates.push(rate.clone()),
            None => {
                let error = ReportError::Exchange { from: from.clone(), to: to.clone() };
                if ask.currency.is_some() {
                    return Err(error);
                }
                warnings.push(Warning::new(
                    "no_exchange_rate",
                    format!("amounts stay in the ledger's currencies: {error}"),
                ));
                return Ok((None, Vec::new()));
            }
        }
    }
    Ok((Some(to.clone()), rates))
}

/// Rounds once: each total, and the lines so that they add up to it.
fn amounts(
    lines: &mut [Line],
    totals: &mut Vec<Total>,
    report: Option<&str>,
    rates: &[ExchangeRate],
    at: Timestamp,
) -> Result<(), ReportError> {
    let rates = Exchange::new(rates.to_vec());
    let mut exact: BTreeMap<String, BTreeMap<String, Decimal>> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        let (Some(currency), Some(cost)) = (&line.currency, line.figures.cost) else { continue };
        let converted = match report {
            Some(to) => rates.convert(cost, currency, to, at).map(|converted| converted.amount),
            None => Some(cost),
        };
        // Keys in the order of the lines: of equal remainders the line above gets the unit.
        let key = format!("{number:09}");
        let unit = report.unwrap_or(currency).to_owned();
        exact.entry(unit).or_default().insert(key, converted.ok_or(ReportError::TooLarge)?);
    }
    let mut sums: BTreeMap<String, Decimal> = BTreeMap::new();
    for (currency, parts) in &exact {
        let digits = minor_digits(currency);
        for (key, amount) in round_together(parts, digits)? {
            let line = key.parse::<usize>().ok().and_then(|number| lines.get_mut(number));
            line.ok_or(ReportError::TooLarge)?.amount = Some(amount);
        }
        let sum = parts.values().try_fold(Decimal::ZERO, |sum, part| exact_sum(sum, *part));
        sums.insert(currency.clone(), rounded(sum.ok_or(ReportError::TooLarge)?, digits));
    }
    match report {
        None => {
            for total in totals {
                total.amount = total.currency.as_ref().and_then(|currency| sums.get(currency)).copied();
            }
        }
        Some(report) if totals.len() == 1 => {
            for total in totals {
                total.amount = sums.get(report).copied();
            }
        }
        Some(report) => {
            for total in totals.iter_mut() {
                let own = lines.iter().filter(|line| line.currency == total.currency).filter_map(|line| line.amount);
                total.amount = total.currency.is_some().then(|| own.sum());
            }
            let whole = totals.iter().try_fold(Figures::default(), |sum, total| sum.plus(&total.figures));
            // Costs of several currencies are no sum.
            let whole =
                Figures { cost: None, list_cost: None, estimated_cost: None, ..whole.ok_or(ReportError::TooLarge)? };
            totals.push(Total { currency: None, figures: whole, amount: sums.get(report).copied() });
        }
    }
    Ok(())
}

/// What the declared rules make of shared lines, for the first column that has any.
fn shared(ask: &Ask, terms: &Terms, lines: &[Line], report: Option<&str>) -> Result<Vec<Moved>, ReportError> {
    let at = ask.interval().from;
    let has_rules = |field: &Field| terms.splits.iter().any(|rule| rule.field == *field && rule.valid_at(at));
    let fields = ask.by.iter().enumerate().filter_map(|(number, column)| Some((number, column, column.field()?)));
    let Some((number, column, field)) = fields.into_iter().find(|(_, _, field)| has_rules(field)) else {
        return Ok(Vec::new());
    };
    let mut measures: BTreeMap<String, BTreeMap<String, Measures>> = BTreeMap::new();
    for line in lines {
        let (Some(currency), Some(amount)) = (report.or(line.currency.as_deref()), line.amount) else { continue };
        let key = line.keys.get(number).and_then(Option::as_deref).unwrap_or_else(|| column.nobody());
        let own = measures.entry(currency.to_owned()).or_default().entry(key.to_owned()).or_default();
        own.cost = exact_sum(own.cost, amount).ok_or(ReportError::TooLarge)?;
        own.calls = own.calls.saturating_add(line.figures.calls);
        own.tokens = own.tokens.saturating_add(line.figures.input_tokens.saturating_add(line.figures.output_tokens));
    }
    let mut all = Vec::new();
    for (currency, measures) in measures {
        let parts = split_shared(&terms.splits, field, at, minor_digits(&currency), &measures)?;
        if parts.is_empty() {
            continue;
        }
        let mut charged: BTreeMap<String, Decimal> = measures.into_iter().map(|(key, own)| (key, own.cost)).collect();
        for part in &parts {
            *charged.entry(part.from.clone()).or_default() -= part.amount;
            *charged.entry(part.to.clone()).or_default() += part.amount;
        }
        charged.values_mut().for_each(|amount| amount.rescale(minor_digits(&currency)));
        all.push(Moved { currency, field, parts, charged });
    }
    Ok(all)
}
