//! The calls of a month as they would have cost elsewhere: on another cloud, or under another contract. What can't be
//! compared is listed with its reason; compared and not compared together are the ledger.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::ask::{Ask, during};
use super::chargeback::{ReportError, known_sum};
use super::grid::{Cell, Grid, Kind, plain};
use crate::model::Timestamp;

/// The arguments of the SQL function `what_if`, in their order.
pub const ARGUMENTS: [&str; 9] = ["platform", "contract", "from", "to", "account", "model", "scope", "region", "tier"];

/// Where the calls would have been made; `None` for as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// Who would bill.
    pub platform: Option<String>,
    /// The contract that would hold with its platforms in the place of all others there.
    pub contract: Option<String>,
    /// Billing account, for contracts that tell accounts apart.
    pub account: Option<String>,
    /// Canonical model.
    pub model: Option<String>,
    /// `in_region`, `geo:eu`, `global`.
    pub scope: Option<String>,
    /// Region that would be called.
    pub region: Option<String>,
    /// Tier that would be served.
    pub tier: Option<String>,
}

/// What is wrong with a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing would be different.
    #[error("say what would be different: a platform, a contract, a model, a scope, a region or a tier")]
    Nothing,
}

impl Target {
    /// The target with platforms by their canonical names.
    ///
    /// # Errors
    /// Nothing would be different.
    pub fn checked(mut self) -> Result<Self, TargetError> {
        self.platform = self.platform.map(|name| crate::model::platform::canonical(&name).unwrap_or(name));
        if self == Self::default() { Err(TargetError::Nothing) } else { Ok(self) }
    }

    /// The scope and, of `geo:eu`, its geography.
    #[must_use]
    pub fn scope_and_geo(&self) -> (Option<&str>, Option<&str>) {
        match self.scope.as_deref().map(|scope| (scope, scope.split_once(':'))) {
            Some((_, Some((scope, geo)))) => (Some(scope), Some(geo)),
            Some((scope, None)) => (Some(scope), None),
            None => (None, None),
        }
    }

    fn parts(&self) -> [(&'static str, Option<&str>); 7] {
        [
            ("platform", self.platform.as_deref()),
            ("contract", self.contract.as_deref()),
            ("account", self.account.as_deref()),
            ("model", self.model.as_deref()),
            ("scope", self.scope.as_deref()),
            ("region", self.region.as_deref()),
            ("tier", self.tier.as_deref()),
        ]
    }

    /// What would be different, for people.
    #[must_use]
    pub fn told(&self) -> String {
        let parts = self.parts().into_iter().filter_map(|(name, value)| Some(format!("{name} {}", plain(value?))));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The sums of the calls of a month, by what can be compared.
    #[must_use]
    pub fn sql(&self, ask: &Ask) -> String {
        let by: Vec<&str> = ask.by.iter().map(|column| column.name()).collect();
        let by = by.join(", ");
        let interval = ask.interval();
        let quoted = |text: &str| text.replace('\'', "''");
        let mut arguments: Vec<String> = self
            .parts()
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} => '{}'", quoted(value?))))
            .collect();
        for (name, at) in [("from", interval.from), ("to", interval.to)] {
            arguments.push(format!("\"{name}\" => to_timestamp_micros({})", at.0));
        }
        format!(
            "SELECT {by}, currency, assumed, why_not, count(*) AS calls, sum(input_tokens) AS input_tokens, \
             sum(output_tokens) AS output_tokens, sum(cost) AS cost, sum(cost_elsewhere) AS cost_elsewhere, \
             sum(difference) AS difference FROM what_if({}) GROUP BY {by}, currency, assumed, why_not",
            arguments.join(", ")
        )
    }

    /// The sums that compared and not compared calls must add up to.
    #[must_use]
    pub fn ledger_sql(ask: &Ask) -> String {
        format!(
            "SELECT currency, count(*) AS calls, sum(cost) AS cost FROM calls WHERE {} GROUP BY currency",
            during(ask.interval())
        )
    }
}

/// Sums of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Calls.
    pub calls: u64,
    /// Input tokens, those of caches included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// What they cost, by the ledger; `None` where no call has a cost.
    pub cost: Option<Decimal>,
    /// What they would have cost, where all of it is known.
    pub elsewhere: Option<Decimal>,
    /// The difference, of calls that can be compared.
    pub difference: Option<Decimal>,
}

impl Sums {
    fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            calls: self.calls.checked_add(other.calls)?,
            input_tokens: self.input_tokens.checked_add(other.input_tokens)?,
            output_tokens: self.output_tokens.checked_add(other.output_tokens)?,
            cost: known_sum(self.cost, other.cost)?,
            elsewhere: known_sum(self.elsewhere, other.elsewhere)?,
            difference: known_sum(self.difference, other.difference)?,
        })
    }
}

/// A group of calls that are compared alike, or not for the same reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Values of the columns; `None` for nobody.
    pub keys: Vec<Option<String>>,
    /// ISO 4217; `None` for calls without a price or that were free.
    pub currency: Option<String>,
    /// What was taken for granted.
    pub assumed: Option<String>,
    /// Why they can't be compared; `None` for those that can.
    pub why_not: Option<String>,
    /// Their sums.
    pub sums: Sums,
}

/// The calls of a month elsewhere.
#[derive(Clone, Debug)]
pub struct WhatIfReport {
    /// What was asked.
    pub ask: Ask,
    /// Where they would have been made.
    pub target: Target,
    /// When.
    pub made_at: Timestamp,
    /// Groups: first those that can be compared.
    pub lines: Vec<Compared>,
    /// Totals by currency: compared, not compared, both.
    totals: Vec<(&'static str, Option<String>, Sums)>,
}

impl WhatIfReport {
    /// Makes the report; `ledger` is what the lines have to add up to: calls and cost by currency.
    ///
    /// # Errors
    /// The lines are not the ledger, or a sum has too many digits.
    pub fn new(
        ask: Ask,
        target: Target,
        lines: Vec<Compared>,
        ledger: &[(Option<String>, u64, Option<Decimal>)],
        made_at: Timestamp,
    ) -> Result<Self, ReportError> {
        let mut lines = folded(lines)?;
        let rank = |line: &Compared| (line.why_not.is_some(), line.currency.is_none(), line.currency.clone());
        lines.sort_by(|a, b| {
            let cost = || b.sums.cost.cmp(&a.sums.cost);
            let rest = || (&a.keys, &a.why_not, &a.assumed).cmp(&(&b.keys, &b.why_not, &b.assumed));
            rank(a).cmp(&rank(b)).then_with(cost).then_with(rest)
        });
        let totals = totals(&lines)?;
        same(&totals, ledger)?;
        Ok(Self { ask, target, made_at, lines, totals })
    }

    /// Everything as one grid: the column `kind` tells lines and totals apart.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let by = self.ask.by.iter().map(|column| (column.name(), Kind::Text));
        let columns = [("kind", Kind::Text)].into_iter().chain(by).chain([
            ("calls", Kind::Count),
            ("input_tokens", Kind::Count),
            ("output_tokens", Kind::Count),
            ("cost", Kind::Money),
            ("cost_elsewhere", Kind::Money),
            ("difference", Kind::Money),
            ("currency", Kind::Text),
            ("assumed", Kind::Text),
            ("why_not", Kind::Text),
        ]);
        let mut grid = Grid::new(columns);
        let exact = |amount: Option<Decimal>| Cell::from(amount.map(|amount| amount.normalize()));
        let row = |kind: &str, keys: Vec<Cell>, sums: &Sums, compared: bool, rest: [Option<&str>; 3]| {
            let mut row = vec![Cell::Text(kind.to_owned())];
            row.extend(keys);
            row.extend([Cell::Count(sums.calls), Cell::Count(sums.input_tokens), Cell::Count(sums.output_tokens)]);
            row.extend([
                exact(sums.cost),
                exact(sums.elsewhere.filter(|_| compared)),
                exact(sums.difference.filter(|_| compared)),
            ]);
            row.extend(rest.map(Cell::from));
            row
        };
        for line in &self.lines {
            let compared = line.why_not.is_none();
            let keys = line.keys.iter().zip(&self.ask.by);
            let keys = keys.map(|(key, column)| Cell::from(Some(key.as_deref().unwrap_or_else(|| column.nobody()))));
            let rest = [line.currency.as_deref(), line.assumed.as_deref(), line.why_not.as_deref()];
            grid.rows.push(row(kind_of(compared), keys.collect(), &line.sums, compared, rest));
        }
        for (kind, currency, sums) in &self.totals {
            let keys = vec![Cell::None; self.ask.by.len()];
            grid.rows.push(row(kind, keys, sums, *kind == COMPARED_TOTAL, [currency.as_deref(), None, None]));
        }
        grid
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let by: Vec<&str> = self.ask.by.iter().map(|column| column.name()).collect();
        let mut text = format!(
            "What if: {} ({}) by {}, with {}\n\n",
            self.ask.month,
            self.ask.zone,
            by.join(", "),
            self.target.told()
        );
        if self.lines.is_empty() {
            text.push_str("There is no call in this month.\n");
        }
        text.push_str(&self.grid().table(self.totals.len()));
        text.push_str(
            "\ncost: by the ledger. difference: cost elsewhere less cost here, of calls that can be compared in full.\n\
             compared and not compared together are the ledger; docs/finance.md tells what `assumed` and `why_not` mean.\n",
        );
        text
    }

    /// As one JSON document; decimals are text.
    #[must_use]
    pub fn json(&self) -> Value {
        let interval = self.ask.interval();
        let target = self.target.parts().into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
        let rows = self.grid().json();
        let (lines, totals) = rows.split_at(self.lines.len());
        json!({
            "report": "what_if",
            "month": self.ask.month.to_string(),
            "time_zone": self.ask.zone.to_string(),
            "from": interval.from.to_string(),
            "to": interval.to.to_string(),
            "by": self.ask.by.iter().map(|column| column.name()).collect::<Vec<_>>(),
            "target": target.collect::<serde_json::Map<_, _>>(),
            "made_at": self.made_at.to_string(),
            "lines": lines,
            "totals": totals,
        })
    }
}

const COMPARED_TOTAL: &str = "total_compared";

const fn kind_of(compared: bool) -> &'static str {
    if compared { "compared" } else { "not_compared" }
}

/// Calls that were free have no currency: they are shown beside the others of their group.
fn folded(lines: Vec<Compared>) -> Result<Vec<Compared>, ReportError> {
    let (mut priced, rest): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.currency.is_some());
    for line in rest {
        let alike = |other: &&mut Compared| other.keys == line.keys && other.why_not == line.why_not;
        match priced.iter_mut().filter(|other| other.currency.is_some()).find(alike) {
            Some(known) => known.sums = known.sums.plus(&line.sums).ok_or(ReportError::TooLarge)?,
            None => priced.push(line),
        }
    }
    Ok(priced)
}

type Totals = Vec<(&'static str, Option<String>, Sums)>;

fn totals(lines: &[Compared]) -> Result<Totals, ReportError> {
    let mut sums: BTreeMap<(Option<String>, bool), Sums> = BTreeMap::new();
    for line in lines {
        let own = sums.entry((line.currency.clone(), line.why_not.is_some())).or_default();
        *own = own.plus(&line.sums).ok_or(ReportError::TooLarge)?;
    }
    let mut totals = Totals::new();
    let currencies: Vec<Option<String>> = sums.keys().map(|(currency, _)| currency.clone()).collect();
    let mut last = None;
    for currency in currencies.into_iter().rev() {
        if last.replace(currency.clone()) == Some(currency.clone()) {
            continue;
        }
        let of = |not: bool| sums.get(&(currency.clone(), not)).copied().unwrap_or_default();
        let (compared, not) = (of(false), of(true));
        let whole = compared.plus(&not).ok_or(ReportError::TooLarge)?;
        totals.push((COMPARED_TOTAL, currency.clone(), compared));
        totals.push(("total_not_compared", currency.clone(), not));
        totals.push(("total", currency, whole));
    }
    Ok(totals)
}

/// Compared and not compared are the ledger, to the last digit and call.
fn same(totals: &Totals, ledger: &[(Option<String>, u64, Option<Decimal>)]) -> Result<(), ReportError> {
    let whole = || totals.iter().filter(|(kind, _, _)| *kind == "total");
    for (currency, _, cost) in ledger.iter().filter(|(currency, _, _)| currency.is_some()) {
        let own = whole().find(|(_, own, _)| own == currency).and_then(|(_, _, sums)| sums.cost).unwrap_or_default();
        if own != cost.unwrap_or_default() {
            return Err(ReportError::Differs {
                currency: currency.clone().unwrap_or_default(),
                lines: own.to_string(),
                ledger: cost.unwrap_or_default().to_string(),
            });
        }
    }
    let (own, calls): (u64, u64) =
        (whole().map(|(_, _, sums)| sums.calls).sum(), ledger.iter().map(|(_, calls, _)| *calls).sum());
    if own != calls {
        let (lines, ledger) = (own.to_string(), calls.to_string());
        return Err(ReportError::Differs { currency: "calls".to_owned(), lines, ledger });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(
        key: &str,
        currency: Option<&str>,
        why_not: Option<&str>,
        cost: Option<&str>,
        to: Option<&str>,
    ) -> Compared {
        let d = |text: Option<&str>| text.map(|text| text.parse::<Decimal>().unwrap());
        let difference = d(to).zip(d(cost)).map(|(to, cost)| to - cost).filter(|_| why_not.is_none());
        Compared {
            keys: vec![Some(key.to_owned())],
            currency: currency.map(str::to_owned),
            assumed: None,
            why_not: why_not.map(str::to_owned),
            sums: Sums { calls: 1, input_tokens: 10, output_tokens: 1, cost: d(cost), elsewhere: d(to), difference },
        }
    }

    fn report(ledger: &str) -> Result<WhatIfReport, ReportError> {
        let ask = Ask::new("2026-10", "model", None, None).unwrap();
        let target = Target { platform: Some("bedrock".into()), ..Target::default() }.checked().unwrap();
        let lines = vec![
            line("a", None, None, Some("0"), Some("0")),
            line("a", Some("USD"), None, Some("3.9765375"), Some("3.6584145")),
            line("b", Some("USD"), Some("no_rates"), Some("1"), None),
            line("c", None, Some("unknown_here: unpriced, no_rates"), None, None),
        ];
        let ledger = [(None, 2, Some(Decimal::ZERO)), (Some("USD".to_owned()), 2, Some(ledger.parse().unwrap()))];
        WhatIfReport::new(ask, target, lines, &ledger, Timestamp::default())
    }

    #[test]
    fn compared_and_not_compared_are_the_whole() {
        let report = report("4.9765375").unwrap();
        let csv = report.grid().csv();
        for row in [
            "compared,a,2,20,2,3.9765375,3.6584145,-0.318123,USD,,",
            "not_compared,b,1,10,1,1,,,USD,,no_rates",
            "not_compared,c,1,10,1,,,,,,\"unknown_here: unpriced, no_rates\"",
            "total_compared,,2,20,2,3.9765375,3.6584145,-0.318123,USD,,",
            "total_not_compared,,1,10,1,1,,,USD,,",
            "total,,3,30,3,4.9765375,,,USD,,",
        ] {
            assert!(csv.contains(&format!("{row}\r\n")), "{row} not in {csv}");
        }
        assert_eq!(report.json()["target"]["platform"], "aws.bedrock");
    }

    #[test]
    fn a_report_that_is_not_the_ledger_is_none() {
        assert!(matches!(report("4.9765376"), Err(ReportError::Differs { .. })));
        assert_eq!(Target::default().checked(), Err(TargetError::Nothing));
    }

    #[test]
    fn names_can_not_leave_their_quotes() {
        let ask = Ask::new("2026-10", "model", None, None).unwrap();
        let sql = Target { contract: Some("x' OR '1".into()), ..Target::default() }.sql(&ask);
        assert!(sql.contains("contract => 'x'' OR ''1'"), "{sql}");
    }
}
