//! A month's bills against the ledger: both sides of one moment, handed to the pure part.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use super::bills::bill_lines;
use super::priced::{Agreement, PricedCall, each_priced};
use super::reports::{ReportFailure, report_rows};
use super::{Engine, QueryError};
use crate::finance::ask::{UNKNOWN, during};
use crate::finance::bill::{Metered, ReconcileAsk, ReconcileReport, Sides};
use crate::ledger::View;
use crate::model::{CostStatus, HOUR_US, Interval, Outcome, Timestamp, UsageStatus};
use crate::pricing::{Bucket, Commitment};
use crate::settle::Rules;

/// Microseconds of a day.
const DAY_US: i64 = 24 * HOUR_US;

/// Compares a month's bills with what was metered.
///
/// # Errors
/// There is no bill, or the store can't be asked.
pub async fn reconcile_bills(
    engine: &Engine,
    view: &View,
    commitments: &[Commitment],
    ask: ReconcileAsk,
    now: Timestamp,
) -> Result<ReconcileReport, ReportFailure> {
    let rules = engine.rules();
    let within = ask.interval();
    let lines = view.bills.lines().await.map_err(|error| QueryError::Internal(Box::new(error)))?;
    let mut billed = bill_lines(&lines)?;
    let platform = ask.platform.clone();
    let on = |name: &str| platform.as_deref().is_none_or(|platform| platform == name);
    billed.retain(|line| within.contains(line.period.from) && on(&line.platform));
    let mut metered = Gathered::default();
    each_priced(engine, view, rules, within, |call| {
        if on(call.call.platform.as_deref().unwrap_or(UNKNOWN)) {
            metered.take(call);
        }
        Ok(())
    })
    .await?;
    let here = |column: &str| {
        let name = platform.as_ref().map(|name| name.replace('\'', "''"));
        name.map_or_else(String::new, |name| format!(" AND coalesce({column}, '{UNKNOWN}') = '{name}'"))
    };
    let calls = format!(
        "SELECT currency, sum(cost) FROM calls WHERE {}{} AND currency IS NOT NULL AND cost IS NOT NULL GROUP BY currency",
        during(within),
        here("platform")
    );
    let bills = format!(
        "SELECT currency, sum(cost) FROM bill_lines WHERE month = '{}'{} GROUP BY currency",
        ask.month,
        here("platform")
    );
    let sums = |sql: String| async move {
        let read =
            report_rows(engine, view, &sql, |row| Some((row.text(0)?, row.money(1).unwrap_or_default()))).await?;
        Ok::<BTreeMap<String, Decimal>, ReportFailure>(read.into_iter().collect())
    };
    let (mut metered_cost, billed_cost) = (sums(calls).await?, sums(bills).await?);
    for commitment in commitments.iter().filter(|commitment| on(&commitment.platform)) {
        metered.capacity(commitment, rules, within, now, &mut metered_cost);
    }
    let sides = Sides {
        metered: metered.rows(),
        billed,
        metered_cost,
        billed_cost,
        uncounted_calls: metered.uncounted,
        allocated_calls: metered.allocated,
        other_prices: metered.other_prices,
        now,
    };
    Ok(ReconcileReport::new(ask, sides, &rules.prices)?)
}

/// What sums are kept of. The currency is none where there is no cost.
type Key = (String, Option<String>, Option<String>, Option<Bucket>, Timestamp, Option<String>);

#[derive(Default)]
struct Sum {
    quantity: Decimal,
    cost: Decimal,
    calls: u64,
}

#[derive(Default)]
struct Gathered {
    sums: HashMap<Key, Sum>,
    uncounted: u64,
    allocated: u64,
    other_prices: u64,
}

impl Gathered {
    fn take(&mut self, PricedCall { call, priced, agreement }: PricedCall) {
        if call.cost_status == CostStatus::Allocated {
            self.allocated += 1;
            return;
        }
        self.uncounted += u64::from(call.usage_status == UsageStatus::Missing && call.outcome == Outcome::Ok);
        self.other_prices += u64::from(agreement == Agreement::No);
        let day = call.ts.floor(DAY_US);
        let platform = call.platform.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let key = |bucket: Option<Bucket>, currency: Option<String>| {
            (platform.clone(), call.account.clone(), call.model.clone(), bucket, day, currency)
        };
        // Prices in another currency than the ledger's say nothing about its cost.
        let usable = agreement != Agreement::No
            || (call.currency.as_deref() == priced.currency.as_deref() && call.cost.is_some());
        let (mut sum, mut first) = (Decimal::ZERO, None);
        for line in &priced.lines {
            let cost = line.cost.filter(|_| usable).map(|cost| cost.0);
            let key = key(Some(line.bucket), cost.and(call.currency.clone()));
            if cost.is_some() && first.is_none() {
                first = Some(key.clone());
            }
            sum += cost.unwrap_or_default();
            let entry = self.sums.entry(key).or_default();
            entry.quantity += Decimal::from(line.quantity);
            entry.cost += cost.unwrap_or_default();
            entry.calls += 1;
        }
        let apart = call.cost.map(|cost| cost.0 - sum).filter(|apart| !apart.is_zero());
        if let (Some(apart), Some(currency)) = (apart, call.currency.clone()) {
            // Digits that the ledger rounded belong to a bucket; what other prices make of a call does not.
            let rounding = first.filter(|_| agreement == Agreement::Rounded);
            let entry = self.sums.entry(rounding.unwrap_or_else(|| key(None, Some(currency)))).or_default();
            entry.cost += apart;
        }
    }

    /// Hours of capacity that are over.
    fn capacity(
        &mut self,
        commitment: &Commitment,
        rules: &Rules,
        Interval { from, to }: Interval,
        now: Timestamp,
        whole: &mut BTreeMap<String, Decimal>,
    ) {
        let account = commitment.account.as_ref().filter(|account| account.is_exact());
        let account = account.map(|account| account.as_str().to_owned());
        for hour in commitment.hours(&rules.prices, from, to.min(now.floor(HOUR_US))) {
            let known = hour.cost.zip(hour.currency.as_deref());
            let currency = known.map(|(_, currency)| currency.to_owned());
            let key = (
                commitment.platform.clone(),
                account.clone(),
                None,
                Some(Bucket::Hour),
                hour.hour.floor(DAY_US),
                currency.clone(),
            );
            let entry = self.sums.entry(key).or_default();
            entry.quantity += commitment.units;
            if let (Some((cost, _)), Some(currency)) = (known, currency) {
                entry.cost += cost.0;
                *whole.entry(currency).or_default() += cost.0;
            }
        }
    }

    fn rows(&self) -> Vec<Metered> {
        let row = |(key, sum): (&Key, &Sum)| {
            let (platform, account, model, bucket, from, currency) = key.clone();
            Metered {
                platform,
                account,
                model,
                bucket,
                from,
                quantity: Some(sum.quantity),
                cost: currency.is_some().then_some(sum.cost),
                currency,
                calls: sum.calls,
            }
        };
        self.sums.iter().map(row).collect()
    }
}
