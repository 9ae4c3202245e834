//! Rows of price files, one function for each list.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Reading;
use super::words::{currency, currency_code, per, platform_of, scope, tier_and_mode, unit};
use crate::model::{HOUR_US, Pattern, Timestamp};
use crate::pricing::commitment::{Commitment, Unused, Weights};
use crate::pricing::contract::{Contract, MAX_FACTOR_DIGITS, Terms};
use crate::pricing::exchange::ExchangeRate;
use crate::pricing::key::Bucket;
use crate::pricing::rate::{Rate, unit_price};
use crate::sheet::Fields;

/// What most rows have in common.
struct Common {
    platform: String,
    valid_from: Option<Timestamp>,
    valid_to: Option<Timestamp>,
    recorded_at: Timestamp,
    source: String,
    source_ref: String,
    note: String,
}

fn common(fields: &mut Fields<'_>, reading: &Reading<'_>) -> Option<Common> {
    let before = fields.problems();
    let platform = platform_of(fields, reading);
    let (valid_from, valid_to) = fields.validity();
    let recorded_at = fields.instant("recorded_at").unwrap_or(reading.recorded_at);
    let text = |fields: &mut Fields<'_>, name| fields.text(name).unwrap_or_default().to_owned();
    let place = fields.place().to_string();
    let common = Common {
        platform: platform?,
        valid_from,
        valid_to,
        recorded_at,
        source: text(fields, "source"),
        source_ref: Some(text(fields, "source_ref")).filter(|text| !text.is_empty()).unwrap_or(place),
        note: text(fields, "note"),
    };
    (fields.problems() == before).then_some(common)
}

/// Units with their amounts: of `rates`, or of `unit` and `amount`.
fn amounts(fields: &mut Fields<'_>) -> Vec<(Bucket, Decimal)> {
    let several: Vec<String> = fields.below("rates.").into_iter().map(|(name, _)| name.to_owned()).collect();
    let single = !fields.texts("unit").is_empty() || !fields.texts("amount").is_empty();
    if several.is_empty() || single {
        if !several.is_empty() {
            fields.problem("unit", "there are both rates and a unit", "write one of them");
        }
        let found = fields.required("unit").and_then(|text| unit(fields, "unit", text));
        let _ = fields.required("amount");
        return found.zip(fields.decimal("amount")).into_iter().collect();
    }
    let read = |name: &String| {
        let cell = format!("rates.{name}");
        let found = unit(fields, &cell, name);
        found.zip(fields.decimal(&cell))
    };
    several.iter().filter_map(read).collect()
}

/// An amount per unit must be exact.
fn check_fine(fields: &mut Fields<'_>, bucket: Bucket, amount: Decimal, per: Decimal) {
    if unit_price(amount, per).is_none() {
        let what = format!("{amount} per {per} is no exact price of one {bucket} with at most 12 fraction digits");
        fields.problem("amount", what, "give the price per 1M, 1K or 1");
    }
}

/// `[[price]]`: one row for each unit.
pub(super) fn prices(fields: &mut Fields<'_>, reading: &Reading<'_>) -> Vec<Rate> {
    let before = fields.problems();
    let common = common(fields, reading);
    let model = fields.required("model").map(str::to_owned);
    let snapshot = fields.text("snapshot").map(str::to_owned);
    let scope = scope(fields);
    let key = tier_and_mode(fields);
    let context_over = fields.count("context_over");
    let per = per(fields);
    let currency = currency(fields);
    let row_id = fields.text("row_id").map(str::to_owned);
    let amounts = amounts(fields);
    for (bucket, amount) in &amounts {
        if let Some(per) = per {
            check_fine(fields, *bucket, *amount, per);
        }
    }
    if row_id.is_some() && amounts.len() > 1 {
        fields.problem("row_id", "one row_id for several rates", "take it out, or write a row for each unit");
    }
    let (Some(common), Some(model), Some(scope), Some((tier, mode)), Some(per), Some(currency)) =
        (common, model, scope, key, per, currency)
    else {
        return Vec::new();
    };
    if fields.problems() > before {
        return Vec::new();
    }
    let rate = |(bucket, amount)| {
        let rate = Rate {
            row_id: String::new(),
            layer: reading.layer,
            platform: common.platform.clone(),
            model: model.clone(),
            snapshot: snapshot.clone(),
            scope: scope.clone(),
            tier: tier.clone().unwrap_or_else(|| "standard".to_owned()),
            mode: mode.unwrap_or_default(),
            bucket,
            context_over,
            per,
            amount,
            currency: currency.clone(),
            valid_from: common.valid_from,
            valid_to: common.valid_to,
            recorded_at: common.recorded_at,
            source: common.source.clone(),
            source_ref: common.source_ref.clone(),
            note: common.note.clone(),
        };
        Rate { row_id: row_id.clone().unwrap_or_else(|| rate.derived_id(reading.layer.as_str())), ..rate }
    };
    amounts.into_iter().map(rate).collect()
}

/// `[[contract]]`: a factor, or one row for each unit.
pub(super) fn contracts(fields: &mut Fields<'_>, reading: &Reading<'_>) -> Vec<Contract> {
    let before = fields.problems();
    let common = common(fields, reading);
    let contract_id = fields.required("contract_id").map(str::to_owned);
    let account = fields.text("account").map(Pattern::new);
    let model = fields.text("model").map(Pattern::new);
    let scope = scope(fields);
    let key = tier_and_mode(fields);
    let row_id = fields.text("row_id").map(str::to_owned);
    let priced = !fields.below("rates.").is_empty() || fields.text("unit").is_some() || fields.text("amount").is_some();
    let terms: Vec<Terms> = match (fields.text("factor").is_some(), priced) {
        (true, true) => {
            fields.problem("factor", "there are both a factor and a price", "factors never come on top of a price");
            Vec::new()
        }
        (false, false) => {
            fields.problem("factor", "there is neither a factor nor a price", "write factor, or unit and amount");
            Vec::new()
        }
        (true, false) => {
            let factor = fields.decimal("factor");
            if factor.is_some_and(|factor| factor.is_zero() || factor > Decimal::TEN) {
                fields.problem(
                    "factor",
                    "the factor is not above 0 and at most 10",
                    "15 % less is 0.85, 15 % more 1.15",
                );
            }
            if factor.is_some_and(|factor| factor.normalize().scale() > MAX_FACTOR_DIGITS) {
                let what = format!("the factor has more than {MAX_FACTOR_DIGITS} fraction digits");
                fields.problem("factor", what, "write the factor that was agreed, not a quotient");
            }
            factor.into_iter().map(Terms::Multiplier).collect()
        }
        (false, true) => {
            let (per, currency, amounts) = (per(fields), currency(fields), amounts(fields));
            let Some((per, currency)) = per.zip(currency) else { return Vec::new() };
            for (bucket, amount) in &amounts {
                check_fine(fields, *bucket, *amount, per);
            }
            let rate = |(bucket, amount)| Terms::Rate { bucket, amount, per, currency: currency.clone() };
            amounts.into_iter().map(rate).collect()
        }
    };
    if row_id.is_some() && terms.len() > 1 {
        fields.problem("row_id", "one row_id for several rates", "take it out, or write a row for each unit");
    }
    let (Some(common), Some(contract_id), Some(scope), Some((tier, mode))) = (common, contract_id, scope, key) else {
        return Vec::new();
    };
    if fields.problems() > before {
        return Vec::new();
    }
    let contract = |terms| {
        let contract = Contract {
            row_id: String::new(),
            contract_id: contract_id.clone(),
            terms,
            platform: common.platform.clone(),
            account: account.clone(),
            model: model.clone(),
            scope: scope.clone(),
            tier: tier.clone(),
            mode,
            valid_from: common.valid_from,
            valid_to: common.valid_to,
            recorded_at: common.recorded_at,
            source: common.source.clone(),
            source_ref: common.source_ref.clone(),
            note: common.note.clone(),
        };
        Contract { row_id: row_id.clone().unwrap_or_else(|| contract.derived_id()), ..contract }
    };
    terms.into_iter().map(contract).collect()
}

/// `[[commitment]]`.
pub(super) fn commitment(fields: &mut Fields<'_>, reading: &Reading<'_>) -> Option<Commitment> {
    let before = fields.problems();
    let common = common(fields, reading);
    let commitment_id = fields.required("commitment_id").map(str::to_owned);
    let (account, model) = (fields.text("account").map(Pattern::new), fields.text("model").map(Pattern::new));
    let deployment = fields.text("deployment").map(Pattern::new);
    let scope = scope(fields);
    let _ = fields.required("units");
    let units = fields.decimal("units");
    let amount = fields.decimal("amount");
    let hourly = amount.and_then(|amount| Some((amount, currency(fields)?)));
    let capacity = fields.decimal("capacity").unwrap_or_default();
    let weights = weights(fields);
    let unused = fields.text("unused").map_or(Some(Unused::Keep), |text| match text.split_once(':') {
        Some(("owner", owner)) if !owner.is_empty() => Some(Unused::Owner(owner.to_owned())),
        None if text == "keep" => Some(Unused::Keep),
        None if text == "spread" => Some(Unused::Spread),
        _ => None,
    });
    if unused.is_none() {
        fields.problem("unused", "unused says nothing known", "write keep, spread or owner:NAME");
    }
    let _ = fields.required("valid_from");
    for name in ["valid_from", "valid_to"] {
        if fields.instant(name).is_some_and(|at| at.floor(HOUR_US) != at) {
            fields.problem(name, format!("{name} is no full hour"), "capacity is paid by the hour: write a full one");
        }
    }
    let (common, commitment_id, scope) = (common?, commitment_id?, scope?);
    let (units, unused, valid_from) = (units?, unused?, common.valid_from?);
    (fields.problems() == before).then_some(Commitment {
        commitment_id,
        platform: common.platform,
        account,
        model,
        deployment,
        scope,
        units,
        hourly,
        capacity,
        weights,
        unused,
        valid_from,
        valid_to: common.valid_to,
        recorded_at: common.recorded_at,
        source: common.source,
    })
}

fn weights(fields: &mut Fields<'_>) -> Weights {
    let mut weights = BTreeMap::new();
    for prefix in ["weights.", "weight_"] {
        let names: Vec<String> = fields.below(prefix).into_iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let cell = format!("{prefix}{name}");
            if let Some((bucket, weight)) = unit(fields, &cell, &name).zip(fields.decimal(&cell)) {
                weights.insert(bucket, weight);
            }
        }
    }
    Weights::new(weights)
}

/// `[[exchange]]`.
pub(super) fn exchange(fields: &mut Fields<'_>, reading: &Reading<'_>) -> Option<ExchangeRate> {
    let before = fields.problems();
    let (from, to) = (fields.required("from"), fields.required("to"));
    let from = from.and_then(|text| currency_code(fields, "from", text));
    let to = to.and_then(|text| currency_code(fields, "to", text));
    let _ = fields.required("rate");
    let rate = fields.decimal("rate");
    if rate.is_some_and(|rate| rate.is_zero()) {
        fields.problem("rate", "the rate is 0", "write how much of the second currency one of the first is");
    }
    if from.is_some() && from == to {
        fields.problem("to", "both currencies are the same", "take the row out");
    }
    let (valid_from, valid_to) = fields.validity();
    let recorded_at = fields.instant("recorded_at").unwrap_or(reading.recorded_at);
    let source = fields.text("source").unwrap_or_default().to_owned();
    let row = ExchangeRate { from: from?, to: to?, rate: rate?, valid_from, valid_to, recorded_at, source };
    (fields.problems() == before).then_some(row)
}
