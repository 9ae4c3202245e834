//! What a budget will have spent at the end of its month, from what was spent day by day.
//!
//! The method is simple and declared, so that it can be checked with a pencil: each day to come is expected to cost the
//! mean of the same weekdays among the last 28 complete days; with fewer than two of them, the mean of all complete
//! days; without any, there is no forecast. A day without spend that lies between the first day of any spend and the
//! last complete day counts as 0. Means are rounded half to even to twelve digits, sums not at all.

use std::collections::BTreeMap;

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use rust_decimal::Decimal;

use crate::model::rounded;

/// Days that are looked back on: four of each weekday.
const LOOK_BACK_DAYS: u64 = 28;
/// Fewer of one weekday tell nothing of it.
const FEWEST_WEEKDAYS: usize = 2;
const DIGITS: u32 = 12;

/// A budget of a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// For the month, above 0.
    pub amount: Decimal,
    /// ISO 4217; spend must be in it.
    pub currency: String,
    /// Percent of the amount at which somebody wants to know.
    pub thresholds: Vec<Decimal>,
}

/// How days to come are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Mean of the same weekdays, where there are enough of them.
    WeekdayMean,
    /// Mean of all complete days.
    DailyMean,
    /// There is nothing to estimate: the month is over.
    Complete,
    /// There is no complete day yet.
    NoHistory,
}

impl Method {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WeekdayMean => "weekday_mean_28d",
            Self::DailyMean => "daily_mean",
            Self::Complete => "complete",
            Self::NoHistory => "no_history",
        }
    }
}

/// One threshold and when it is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Percent of the budget.
    pub percent: Decimal,
    /// The amount that it stands for.
    pub amount: Decimal,
    /// The day on which spend reached it.
    pub reached_on: Option<NaiveDate>,
    /// The day on which it is expected to, where it has not.
    pub expected_on: Option<NaiveDate>,
}

/// What is expected of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Spent in the month so far, today's part included.
    pub spent: Decimal,
    /// Expected at its end; `None` without history.
    pub expected: Option<Decimal>,
    /// How.
    pub method: Method,
    /// Complete days that it rests on.
    pub days: usize,
    /// In ascending order of the percentage.
    pub crossings: Vec<Crossing>,
}

/// The forecast for the month of `today`, whose spend is not complete. `spend` is by day of the budget's calendar, days
/// of earlier months included; days after `today` are not looked at.
#[must_use]
pub fn forecast(budget: &Budget, spend: &BTreeMap<NaiveDate, Decimal>, today: NaiveDate) -> Forecast {
    let first = today.with_day(1).unwrap_or(today);
    let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
    project(budget, spend, first, next, today)
}

/// The forecast of any month at the end of `through`, which is complete: for a month that is over, what was spent.
#[must_use]
pub fn forecast_through(
    budget: &Budget,
    spend: &BTreeMap<NaiveDate, Decimal>,
    month: NaiveDate,
    through: NaiveDate,
) -> Forecast {
    let first = month.with_day(1).unwrap_or(month);
    let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
    let complete = spend.range(..=through).map(|(day, cost)| (*day, *cost)).collect();
    project(budget, &complete, first, next, through.succ_opt().unwrap_or(through))
}

/// `open` is the first day that is not complete.
fn project(
    budget: &Budget,
    spend: &BTreeMap<NaiveDate, Decimal>,
    first: NaiveDate,
    next: NaiveDate,
    open: NaiveDate,
) -> Forecast {
    let history = History::of(spend, open);
    let seen = |day: &NaiveDate| spend.get(day).copied().filter(|_| *day <= open).unwrap_or_default();
    let mut thresholds = budget.thresholds.clone();
    thresholds.sort_unstable();
    thresholds.dedup();
    let mut crossings: Vec<Crossing> = thresholds
        .into_iter()
        .map(|percent| {
            let amount = (budget.amount * percent).checked_div(Decimal::ONE_HUNDRED).unwrap_or_default();
            Crossing { percent, amount, reached_on: None, expected_on: None }
        })
        .collect();
    let (mut spent, mut expected) = (Decimal::ZERO, Some(Decimal::ZERO));
    let mut weekdays = true;
    for day in first.iter_days().take_while(|day| *day < next) {
        let own = seen(&day);
        spent += own;
        let estimate = if day < open {
            Some(own)
        } else {
            let (mean, by_weekday) = history.expected(day.weekday());
            weekdays &= by_weekday;
            // Today may have cost more already than such a day does.
            mean.map(|mean| mean.max(own))
        };
        expected = expected.zip(estimate).map(|(sum, day)| sum + day);
        for crossing in &mut crossings {
            if day <= open && spent >= crossing.amount {
                crossing.reached_on = crossing.reached_on.or(Some(day));
            } else if crossing.reached_on.is_none() && expected.is_some_and(|sum| sum >= crossing.amount) {
                crossing.expected_on = crossing.expected_on.or(Some(day));
            }
        }
    }
    let method = match () {
        () if open >= next => Method::Complete,
        () if expected.is_none() => Method::NoHistory,
        () if weekdays => Method::WeekdayMean,
        () => Method::DailyMean,
    };
    for crossing in crossings.iter_mut().filter(|crossing| crossing.reached_on.is_some()) {
        crossing.expected_on = None;
    }
    Forecast { spent, expected, method, days: history.days, crossings }
}

/// The last complete days.
struct History {
    days: usize,
    mean: Option<Decimal>,
    weekdays: BTreeMap<u32, (Decimal, usize)>,
}

impl History {
    fn of(spend: &BTreeMap<NaiveDate, Decimal>, open: NaiveDate) -> Self {
        let start = open.checked_sub_days(Days::new(LOOK_BACK_DAYS)).unwrap_or(NaiveDate::MIN);
        let since = spend.keys().next().copied().unwrap_or(open).max(start);
        let (mut sum, mut days, mut weekdays) = (Decimal::ZERO, 0, BTreeMap::<u32, (Decimal, usize)>::new());
        for day in since.iter_days().take_while(|day| *day < open) {
            let cost = spend.get(&day).copied().unwrap_or_default();
            let weekday = weekdays.entry(day.weekday().num_days_from_monday()).or_default();
            (weekday.0, weekday.1) = (weekday.0 + cost, weekday.1 + 1);
            (sum, days) = (sum + cost, days + 1);
        }
        Self { days, mean: mean(sum, days), weekdays }
    }

    /// The cost of such a day, and whether its own weekdays told it.
    fn expected(&self, weekday: Weekday) -> (Option<Decimal>, bool) {
        match self.weekdays.get(&weekday.num_days_from_monday()) {
            Some((sum, count)) if *count >= FEWEST_WEEKDAYS => (mean(*sum, *count), true),
            _ => (self.mean, false),
        }
    }
}

fn mean(sum: Decimal, count: usize) -> Option<Decimal> {
    sum.checked_div(Decimal::from(count)).map(|mean| rounded(mean, DIGITS).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn day(month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, month, day).unwrap()
    }

    fn budget(amount: &str) -> Budget {
        let thresholds = ["50", "80", "100", "120"].map(d).to_vec();
        Budget { name: "search".into(), amount: d(amount), currency: "USD".into(), thresholds }
    }

    /// 10 on weekdays, 2 at weekends.
    fn weekly(from: NaiveDate, to: NaiveDate) -> BTreeMap<NaiveDate, Decimal> {
        let cost = |day: &NaiveDate| if day.weekday().num_days_from_monday() < 5 { "10" } else { "2" };
        from.iter_days().take_while(|day| *day <= to).map(|day| (day, d(cost(&day)))).collect()
    }

    #[test]
    fn weekdays_and_weekends_are_told_apart() {
        // October 2026 has 22 weekdays and 9 days of weekends: 238.
        let spend = weekly(day(9, 1), day(10, 10));
        let found = forecast_through(&budget("200"), &spend, day(10, 1), day(10, 10));
        assert_eq!((found.expected, found.method, found.days), (Some(d("238")), Method::WeekdayMean, 28));
        assert_eq!(found.spent, d("76"));
        let told: Vec<_> = found.crossings.iter().map(|c| (c.reached_on, c.expected_on)).collect();
        // 76 on the 10th; 100, 160 and 200 on days to come; 240 never.
        let expected = [Some(day(10, 14)), Some(day(10, 21)), Some(day(10, 27)), None];
        assert_eq!(told, expected.map(|on| (None, on)));
    }

    #[test]
    fn little_history_is_a_plain_mean_and_none_is_none() {
        let spend = BTreeMap::from([(day(10, 1), d("1")), (day(10, 3), d("3"))]);
        let found = forecast(&budget("100"), &spend, day(10, 4));
        // 4 in three complete days, so 4/3 on each of 28 days to come.
        assert_eq!((found.method, found.days), (Method::DailyMean, 3));
        assert_eq!(found.expected, Some(d("4") + d("1.333333333333") * d("28")));
        let none = forecast(&budget("100"), &BTreeMap::from([(day(10, 1), d("60"))]), day(10, 1));
        assert_eq!((none.method, none.expected, none.spent), (Method::NoHistory, None, d("60")));
        assert_eq!(none.crossings[0].reached_on, Some(day(10, 1)));
    }

    #[test]
    fn a_month_that_is_over_is_what_was_spent() {
        let spend = weekly(day(9, 1), day(10, 31));
        let found = forecast_through(&budget("238"), &spend, day(10, 1), day(10, 31));
        assert_eq!((found.method, found.expected, found.spent), (Method::Complete, Some(d("238")), d("238")));
        assert_eq!(found.crossings[2].reached_on, Some(day(10, 31)));
        assert_eq!((found.crossings[3].reached_on, found.crossings[3].expected_on), (None, None));
    }

    #[test]
    fn today_counts_at_least_what_it_cost_already() {
        let mut spend = weekly(day(9, 1), day(10, 29));
        spend.insert(day(10, 30), d("50"));
        let found = forecast(&budget("1000"), &spend, day(10, 30));
        assert_eq!(found.expected, Some(d("238") - d("10") + d("50")));
    }
}
