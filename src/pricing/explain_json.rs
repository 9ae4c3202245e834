//! An explained price as JSON; decimals are text.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::book::PriceBook;
use super::contract::{Contract, Terms};
use super::explain::{ExplainedLine, PriceExplained, Unpriced};
use super::rate::Rate;
use crate::model::{Money, Timestamp};

fn text(amount: Option<Decimal>) -> Option<String> {
    amount.map(|amount| amount.normalize().to_string())
}

fn money(amount: Option<Money>) -> Option<String> {
    text(amount.map(|amount| amount.0))
}

fn instant(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn rate(rate: &Rate) -> Value {
    json!({
        "row_id": rate.row_id, "layer": rate.layer.as_str(), "platform": rate.platform, "model": rate.model,
        "snapshot": rate.snapshot, "scope": rate.scope.to_string(), "tier": rate.tier, "mode": rate.mode.as_str(),
        "unit": rate.bucket.as_str(), "context_over": rate.context_over, "per": rate.per.to_string(),
        "amount": rate.amount.to_string(), "currency": rate.currency, "valid_from": instant(rate.valid_from),
        "valid_to": instant(rate.valid_to), "recorded_at": rate.recorded_at.to_string(), "source": rate.source,
        "source_ref": rate.source_ref, "note": rate.note,
    })
}

fn contract(contract: &Contract) -> Value {
    let terms = match &contract.terms {
        Terms::Multiplier(factor) => json!({"factor": factor.to_string()}),
        Terms::Rate { bucket, amount, per, currency } => json!({
            "unit": bucket.as_str(), "amount": amount.to_string(), "per": per.to_string(), "currency": currency,
        }),
    };
    json!({
        "row_id": contract.row_id, "contract_id": contract.contract_id, "layer": contract.layer().as_str(), "terms": terms,
        "platform": contract.platform, "account": contract.account.as_ref().map(ToString::to_string),
        "model": contract.model.as_ref().map(ToString::to_string), "scope": contract.scope.to_string(),
        "tier": contract.tier, "mode": contract.mode.map(|mode| mode.as_str()),
        "valid_from": instant(contract.valid_from), "valid_to": instant(contract.valid_to),
        "recorded_at": contract.recorded_at.to_string(), "source": contract.source, "source_ref": contract.source_ref,
        "note": contract.note,
    })
}

fn unpriced(unpriced: &Unpriced) -> Value {
    let nearest = unpriced.nearest.iter().map(|near| {
        let differs = near.differs.iter().map(|one| json!({"key": one.key, "rate": one.rate, "call": one.call}));
        json!({"rate": rate(&near.rate), "differs": differs.collect::<Vec<_>>()})
    });
    json!({"why": unpriced.why, "nearest": nearest.collect::<Vec<_>>()})
}

fn line(line: &ExplainedLine) -> Value {
    json!({
        "unit": line.bucket.as_str(), "quantity": line.quantity, "layer": line.layer.map(|layer| layer.as_str()),
        "list_unit_price": text(line.list_unit_price), "factor": text(line.multiplier), "unit_price": text(line.unit_price),
        "currency": line.currency, "list_cost": money(line.list_cost), "cost": money(line.cost),
        "list": line.list.as_ref().map(rate), "contract": line.contract.as_ref().map(contract),
        "unpriced": line.unpriced.as_ref().map(unpriced),
    })
}

impl PriceBook {
    /// Its rows and contracts, sorted by their ids; those whose platform and model (`None` for all) are wanted.
    #[must_use]
    pub fn json(&self, wanted: &dyn Fn(&str, Option<&str>) -> bool) -> Value {
        let mut rates: Vec<&Rate> = self.rates().filter(|rate| wanted(&rate.platform, Some(&rate.model))).collect();
        rates.sort_by(|a, b| a.row_id.cmp(&b.row_id));
        let exact =
            |contract: &Contract| contract.model.as_ref().filter(|model| model.is_exact()).map(ToString::to_string);
        let mut contracts: Vec<&Contract> =
            self.contracts().filter(|contract| wanted(&contract.platform, exact(contract).as_deref())).collect();
        contracts.sort_by(|a, b| a.row_id.cmp(&b.row_id));
        json!({
            "version": self.version(),
            "prices": rates.into_iter().map(rate).collect::<Vec<_>>(),
            "contracts": contracts.into_iter().map(contract).collect::<Vec<_>>(),
        })
    }
}

impl PriceExplained {
    /// One document: what was looked up, each line with its rows, and the sums. An unknown cost is null, never 0.
    #[must_use]
    pub fn json(&self) -> Value {
        let key = &self.key;
        json!({
            "key": {
                "platform": key.platform, "account": key.account, "model": key.model, "snapshot": key.snapshot,
                "scope": key.scope, "tier": key.tier, "mode": key.mode.as_str(), "input_tokens": key.context,
                "at": key.at.to_string(),
            },
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "remarks": self.remarks,
            "list_cost": money(self.priced.list_cost),
            "cost": money(self.priced.cost),
            "currency": self.priced.currency.as_deref(),
            "cost_status": self.priced.status.as_str(),
            "rate_ids": self.priced.rate_ids.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        })
    }
}
