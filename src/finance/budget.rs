//! Budgets: what a part of the traffic may cost in a month, what it has cost and is expected to, and when somebody is told.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::ask::{Column, during};
use super::calendar::{Month, Zone};
use super::capacity::HourPart;
use super::chargeback::exact_sum;
use super::forecast::{Budget, Forecast, forecast, forecast_through};
use super::grid::{Cell, Grid, Kind, plain};
use crate::model::{Interval, Timestamp, rounded};
use crate::pricing::Exchange;

/// Days before the month that a forecast looks at.
const LOOK_BACK_DAYS: u64 = 28;

/// A budget and whose spend it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Amount, currency and thresholds.
    pub budget: Budget,
    /// Columns that must have one of these values; none for everything.
    pub filter: Vec<(Column, Vec<String>)>,
    /// Whose month it is.
    pub zone: Zone,
}

/// Spend of a quarter of an hour in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Its start.
    pub at: Timestamp,
    /// ISO 4217; `None` for calls without a price.
    pub currency: Option<String>,
    /// The cost.
    pub cost: Option<Decimal>,
    /// Calls that have no price.
    pub unpriced_calls: u64,
}

/// How a budget stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The budget.
    pub plan: Plan,
    /// The month.
    pub month: Month,
    /// Spent, expected, and when thresholds are passed.
    pub forecast: Forecast,
    /// Calls of the month without a price: they are in no sum.
    pub unpriced_calls: u64,
    /// Currencies without an exchange rate: their cost is in no sum.
    pub unconverted: BTreeSet<String>,
    /// When it was looked at.
    pub made_at: Timestamp,
}

/// What became of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    /// Spend has reached it.
    Reached,
    /// Spend is expected to reach it before the month ends.
    Expected,
}

impl AlertKind {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Expected => "expected",
        }
    }
}

/// Something that somebody wants to know, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Name of the budget.
    pub budget: String,
    /// The month.
    pub month: Month,
    /// What happened.
    pub kind: AlertKind,
    /// Percent of the amount.
    pub percent: Decimal,
    /// The day on which it happened, or is expected to.
    pub on: NaiveDate,
    /// The amount of the budget.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// Spent so far.
    pub spent: Decimal,
    /// Expected at the end of the month.
    pub expected: Option<Decimal>,
    /// Whose spend it is.
    pub filter: String,
    /// The first instant after the month.
    pub month_ends: Timestamp,
}

impl Plan {
    /// The columns of the filter, for the parts of commitments; by team without one.
    #[must_use]
    pub fn columns(&self) -> Vec<&'static str> {
        if self.filter.is_empty() {
            vec!["team"]
        } else {
            self.filter.iter().map(|(column, _)| column.name()).collect()
        }
    }

    /// The filter for people.
    #[must_use]
    pub fn told(&self) -> String {
        let one = |(column, values): &(Column, Vec<String>)| format!("{} {}", column.name(), values.join(" or "));
        if self.filter.is_empty() {
            "everything".to_owned()
        } else {
            self.filter.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }

    /// From the first instant that is looked at to the first after the month.
    #[must_use]
    pub fn span(&self, month: Month) -> (Timestamp, Timestamp) {
        let interval = month.interval(self.zone);
        let before = i64::try_from(LOOK_BACK_DAYS + 1).unwrap_or(29) * 24 * crate::model::HOUR_US;
        (interval.from.plus(-before), interval.to)
    }

    /// The spend of a month and of the days before it, by quarters of an hour: the offsets of all zones are multiples of one.
    #[must_use]
    pub fn spend_sql(&self, month: Month) -> String {
        let (from, to) = self.span(month);
        let mut sql = format!(
            "SELECT date_bin(INTERVAL '15 minutes', ts) AS step, currency, sum(cost) AS cost, \
             count(*) FILTER (WHERE cost_status IN ('unpriced', 'partial') AND outcome = 'ok') AS unpriced \
             FROM calls WHERE {}",
            during(Interval { from, to })
        );
        for (column, values) in &self.filter {
            let name = column.name();
            let one = |value: &String| {
                if value == column.nobody() {
                    format!("{name} IS NULL")
                } else {
                    format!("{name} = '{}'", value.replace('\'', "''"))
                }
            };
            let any = values.iter().map(one).collect::<Vec<_>>().join(" OR ");
            sql.push_str(&format!(" AND ({any})"));
        }
        sql.push_str(" GROUP BY 1, 2");
        sql
    }

    /// Whether a part of a commitment is its.
    fn has(&self, part: &HourPart) -> bool {
        let Some(keys) = &part.keys else { return self.filter.is_empty() };
        self.filter.iter().zip(keys).all(|((column, values), key)| {
            let key = key.as_deref().unwrap_or_else(|| column.nobody());
            values.iter().any(|value| value == key)
        })
    }

    /// How it stands, from its spend and the parts of commitments by [`Plan::columns`].
    #[must_use]
    pub fn status(
        &self,
        month: Month,
        spends: &[Spend],
        parts: &[HourPart],
        exchange: &Exchange,
        now: Timestamp,
    ) -> Status {
        let interval = month.interval(self.zone);
        let (mut days, mut unconverted, mut unpriced_calls) = (BTreeMap::new(), BTreeSet::new(), 0);
        let paid = parts.iter().filter(|part| self.has(part)).map(|part| Spend {
            at: part.hour,
            currency: part.currency.clone(),
            cost: part.cost.map(|cost| cost.0),
            unpriced_calls: 0,
        });
        for spend in spends.iter().cloned().chain(paid) {
            if interval.contains(spend.at) {
                unpriced_calls += spend.unpriced_calls;
            }
            let (Some(currency), Some(cost)) = (&spend.currency, spend.cost) else { continue };
            // By the rate of the month that it was spent in.
            let at = self.zone.month(spend.at).middle(self.zone);
            match exchange.convert(cost, currency, &self.budget.currency, at) {
                Some(converted) => {
                    let day: &mut Decimal = days.entry(self.zone.day(spend.at)).or_default();
                    *day = exact_sum(*day, converted.amount).unwrap_or(*day + converted.amount);
                }
                None => drop(unconverted.insert(currency.clone())),
            }
        }
        let today = self.zone.day(now);
        let forecast = if now < interval.to {
            forecast(&self.budget, &days, today)
        } else {
            let first = self.zone.day(interval.from);
            let last = self.zone.day(interval.to).checked_sub_days(Days::new(1)).unwrap_or(first);
            forecast_through(&self.budget, &days, first, last)
        };
        Status { plan: self.clone(), month, forecast, unpriced_calls, unconverted, made_at: now }
    }
}

impl Status {
    fn percent(&self, amount: Decimal) -> Option<Decimal> {
        (amount * Decimal::ONE_HUNDRED).checked_div(self.plan.budget.amount).map(|percent| rounded(percent, 1))
    }

    /// The word for how it stands.
    #[must_use]
    pub fn state(&self) -> &'static str {
        let over = |amount: Decimal| amount >= self.plan.budget.amount;
        match () {
            () if over(self.forecast.spent) => "over",
            () if self.forecast.expected.is_some_and(over) => "expected_over",
            () if self.forecast.crossings.iter().any(|one| one.reached_on.is_some()) => "threshold_reached",
            () => "ok",
        }
    }

    /// What somebody wants to know: each threshold that spend has reached, and those from 100 percent on that it is expected
    /// to reach before the month ends.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let one = |percent: Decimal, kind, on| Alert {
            budget: self.plan.budget.name.clone(),
            month: self.month,
            kind,
            percent,
            on,
            amount: self.plan.budget.amount,
            currency: self.plan.budget.currency.clone(),
            spent: self.forecast.spent,
            expected: self.forecast.expected,
            filter: self.plan.told(),
            month_ends: self.month.interval(self.plan.zone).to,
        };
        let crossed = self.forecast.crossings.iter().filter_map(|crossing| match crossing {
            crossing if crossing.reached_on.is_some() => Some((crossing, AlertKind::Reached, crossing.reached_on?)),
            crossing if crossing.percent >= Decimal::ONE_HUNDRED => {
                Some((crossing, AlertKind::Expected, crossing.expected_on?))
            }
            _ => None,
        });
        crossed.map(|(crossing, kind, on)| one(crossing.percent, kind, on)).collect()
    }
}

impl Alert {
    /// What makes it the same alert: it is sent once.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}\u{1f}{}\u{1f}{}\u{1f}{}", self.budget, self.month, self.kind.as_str(), self.percent.normalize())
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let amount = format!("{} {}", rounded(self.amount, 2), self.currency);
        let spent = rounded(self.spent, 2);
        let (budget, percent) = (plain(&self.budget), self.percent.normalize());
        match self.kind {
            AlertKind::Reached => {
                format!("budget {budget} has reached {percent} % of {amount} for {}: {spent} spent", self.month)
            }
            AlertKind::Expected => {
                let expected = self.expected.map_or_else(|| "?".to_owned(), |sum| rounded(sum, 2).to_string());
                format!(
                    "budget {budget} is expected to reach {percent} % of {amount} for {} on {}: {spent} spent, {expected} \
                     expected",
                    self.month, self.on
                )
            }
        }
    }

    /// What a webhook gets.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "type": "budget_threshold",
            "budget": self.budget,
            "filter": self.filter,
            "month": self.month.to_string(),
            "kind": self.kind.as_str(),
            "threshold_percent": self.percent.normalize().to_string(),
            "on": self.on.to_string(),
            "amount": self.amount.to_string(),
            "currency": self.currency,
            "spent": self.spent.normalize().to_string(),
            "expected": self.expected.map(|sum| sum.normalize().to_string()),
            "text": self.summary(),
        })
    }

    /// What Alertmanager gets: it stays until the month ends.
    #[must_use]
    pub fn alertmanager(&self, now: Timestamp) -> Value {
        json!([{
            "labels": {
                "alertname": "PolymeterBudget",
                "severity": if self.percent >= Decimal::ONE_HUNDRED { "critical" } else { "warning" },
                "budget": self.budget,
                "month": self.month.to_string(),
                "kind": self.kind.as_str(),
                "threshold_percent": self.percent.normalize().to_string(),
                "currency": self.currency,
            },
            "annotations": {
                "summary": self.summary(),
                "amount": self.amount.to_string(),
                "spent": self.spent.normalize().to_string(),
                "expected": self.expected.map(|sum| sum.normalize().to_string()).unwrap_or_default(),
                "filter": self.filter,
            },
            "startsAt": now.to_string(),
            "endsAt": self.month_ends.to_string(),
        }])
    }
}

/// Budgets as one grid.
#[must_use]
pub fn grid(statuses: &[Status]) -> Grid {
    let text = |name| (name, Kind::Text);
    let money = |name| (name, Kind::Money);
    let mut grid = Grid::new([
        text("budget"),
        text("filter"),
        text("month"),
        text("time_zone"),
        money("amount"),
        text("currency"),
        money("spent"),
        money("spent_percent"),
        money("expected"),
        money("expected_percent"),
        text("state"),
        text("method"),
        text("reached"),
        text("next"),
        ("unpriced_calls", Kind::Count),
        text("unconverted"),
    ]);
    for status in statuses {
        let Forecast { spent, expected, method, crossings, .. } = &status.forecast;
        let day =
            |day: Option<NaiveDate>, percent: Decimal| day.map(|day| format!("{} % on {day}", percent.normalize()));
        let reached = crossings.iter().rev().find_map(|one| day(one.reached_on, one.percent));
        let next = crossings.iter().find_map(|one| day(one.expected_on, one.percent));
        let unconverted: Vec<&str> = status.unconverted.iter().map(String::as_str).collect();
        let owned = |text: Option<String>| text.map_or(Cell::None, Cell::Text);
        grid.rows.push(vec![
            Cell::Text(status.plan.budget.name.clone()),
            Cell::Text(status.plan.told()),
            Cell::Text(status.month.to_string()),
            Cell::Text(status.plan.zone.to_string()),
            Cell::Money(status.plan.budget.amount),
            Cell::Text(status.plan.budget.currency.clone()),
            Cell::Money(spent.normalize()),
            Cell::from(status.percent(*spent)),
            Cell::from(expected.map(|sum| sum.normalize())),
            Cell::from(expected.and_then(|sum| status.percent(sum))),
            Cell::Text(status.state().to_owned()),
            Cell::Text(method.as_str().to_owned()),
            owned(reached),
            owned(next),
            Cell::Count(status.unpriced_calls),
            owned((!unconverted.is_empty()).then(|| unconverted.join(" "))),
        ]);
    }
    grid
}

/// Budgets as one JSON document; decimals are text.
#[must_use]
pub fn report_json(statuses: &[Status], made_at: Timestamp) -> Value {
    json!({"report": "budgets", "made_at": made_at.to_string(), "budgets": grid(statuses).json()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finance::ask::Ask;
    use crate::model::{HOUR_US, Money};
    use crate::pricing::ExchangeRate;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn plan(filter: &[(&str, &str)]) -> Plan {
        let column = |name: &str| Ask::new("2026-10", name, None, None).unwrap().by[0];
        Plan {
            budget: Budget {
                name: "search".into(),
                amount: d("100"),
                currency: "USD".into(),
                thresholds: vec![d("50"), d("100"), d("200")],
            },
            filter: filter.iter().map(|(name, value)| (column(name), vec![(*value).to_owned()])).collect(),
            zone: "Europe/Berlin".parse().unwrap(),
        }
    }

    fn spend(when: &str, currency: &str, cost: &str) -> Spend {
        Spend { at: at(when), currency: Some(currency.into()), cost: Some(d(cost)), unpriced_calls: 1 }
    }

    #[test]
    fn a_day_is_that_of_the_zone_and_each_threshold_is_told_once() {
        // 22:00 UTC on the last of September is October in Berlin.
        let spends = [spend("2026-09-30T21:45:00Z", "USD", "7"), spend("2026-09-30T22:00:00Z", "USD", "60")];
        let found = plan(&[]).status(
            "2026-10".parse().unwrap(),
            &spends,
            &[],
            &Exchange::default(),
            at("2026-10-02T12:00:00Z"),
        );
        assert_eq!((found.forecast.spent, found.unpriced_calls, found.state()), (d("60"), 1, "expected_over"));
        let alerts: Vec<_> = found.alerts().iter().map(|one| (one.kind, one.percent)).collect();
        assert_eq!(
            alerts,
            [(AlertKind::Reached, d("50")), (AlertKind::Expected, d("100")), (AlertKind::Expected, d("200"))]
        );
        let first = &found.alerts()[0];
        assert_eq!(first.identity(), "search\u{1f}2026-10\u{1f}reached\u{1f}50");
        assert_eq!(first.summary(), "budget search has reached 50 % of 100.00 USD for 2026-10: 60.00 spent");
        assert_eq!(first.alertmanager(at("2026-10-02T12:00:00Z"))[0]["endsAt"], "2026-10-31T23:00:00.000000Z");
    }

    #[test]
    fn other_currencies_need_a_rate_and_capacity_counts_for_who_used_it() {
        let rate = ExchangeRate { from: "EUR".into(), to: "USD".into(), rate: d("2"), ..ExchangeRate::default() };
        let part = |keys: Option<&str>| HourPart {
            hour: at("2026-10-01T00:00:00Z"),
            commitment_id: "ptu".into(),
            platform: "p".into(),
            keys: keys.map(|team| vec![Some(team.to_owned())]),
            weighted: Decimal::ZERO,
            share: Decimal::ZERO,
            cost: Some(Money(d("3"))),
            currency: Some("USD".into()),
        };
        let spends = [spend("2026-10-01T00:00:00Z", "EUR", "5"), spend("2026-10-01T00:00:00Z", "CHF", "9")];
        let parts = [part(Some("search")), part(Some("other")), part(None)];
        let of = |plan: &Plan, exchange: &Exchange| {
            plan.status("2026-10".parse().unwrap(), &spends, &parts, exchange, at("2026-12-01T00:00:00Z"))
        };
        let found = of(&plan(&[("team", "search")]), &Exchange::new(vec![rate]));
        assert_eq!((found.forecast.spent, found.forecast.expected), (d("13"), Some(d("13"))));
        assert_eq!(found.unconverted, BTreeSet::from(["CHF".to_owned()]));
        assert_eq!(of(&plan(&[]), &Exchange::default()).forecast.spent, d("9"));
        let csv = grid(&[found]).csv();
        assert!(
            csv.contains("search,team search,2026-10,Europe/Berlin,100,USD,13,13.0,13,13.0,ok,complete,,,"),
            "{csv}"
        );
    }

    #[test]
    fn values_can_not_leave_their_quotes_and_nobody_is_null() {
        let month = "2026-10".parse().unwrap();
        let sql = plan(&[("team", "x' OR '1"), ("model", "(unknown)")]).spend_sql(month);
        assert!(sql.contains("(team = 'x'' OR ''1') AND (model IS NULL)"), "{sql}");
        assert!(plan(&[]).span(month).0.0 < month.interval(plan(&[]).zone).from.0 - 28 * 24 * HOUR_US);
    }
}
