//! `polymeter prices explain`: the arithmetic of a price line by line.

use std::fmt::Write as _;
use std::io::Write;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::app::explain::explained_call;
use crate::app::{StoreOptions, existing_store, rules};
use crate::catalog::ModelQuery;
use crate::finance::grid::plain;
use crate::model::{Call, Timestamp, Usage, platform};
use crate::pricing::{Exchange, ExplainedLine, PriceExplained, PriceQuery, contract_line, one_line};
use crate::settle::price_query;

/// What price is asked for.
#[derive(Clone, Debug, Default)]
pub struct PriceQuestion {
    /// Who bills.
    pub platform: String,
    /// Model, under any name.
    pub model: String,
    /// Region that is called.
    pub region: Option<String>,
    /// `in_region`, `geo`, `geo:eu`, `global`.
    pub scope: Option<String>,
    /// Tier as served.
    pub tier: Option<String>,
    /// Billing account.
    pub account: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Currency that sums are told in too.
    pub currency: Option<String>,
    /// Counts; without any, what each unit costs.
    pub usage: Usage,
}

/// Shows what a call like this costs.
///
/// # Errors
/// The rules of the store or configuration are wrong.
pub async fn prices_explain(options: StoreOptions, question: PriceQuestion, as_json: bool) -> anyhow::Result<()> {
    let in_force = rules::anywhere(&options).await?;
    let platform = platform::canonical(&question.platform).unwrap_or_else(|| question.platform.clone());
    let identity = in_force.rules.catalog.resolve(&ModelQuery {
        platform: Some(&platform),
        request_model: Some(&question.model),
        // An Azure deployment may have any name; who asks for a price names the model.
        response_model: Some(&question.model),
        ..ModelQuery::default()
    });
    let (scope, geo) = match question.scope.as_deref().map(|scope| scope.split_once(':').unwrap_or((scope, ""))) {
        Some((scope, geo)) => (Some(scope), (!geo.is_empty()).then_some(geo)),
        None => (identity.scope, identity.geo.as_deref()),
    };
    let explained = in_force.rules.prices.explain(&PriceQuery {
        platform: Some(&platform),
        account: question.account.as_deref(),
        model: identity.model.as_deref().or(Some(&question.model)),
        snapshot: identity.snapshot.as_deref(),
        scope,
        geo,
        region: question.region.as_deref(),
        tier: question.tier.as_deref().or(identity.tier),
        ..PriceQuery::new(question.at, &question.usage)
    });
    let currency = question.currency.as_deref();
    if as_json {
        return written(&document(&explained, currency, &in_force.terms.exchange));
    }
    Ok(std::io::stdout().lock().write_all(told(&explained, currency, &in_force.terms.exchange).as_bytes())?)
}

/// Shows how a call came to its cost.
///
/// # Errors
/// There is no such call, or no record of it any more.
pub async fn prices_explain_call(
    options: StoreOptions,
    id: &str,
    currency: Option<&str>,
    as_json: bool,
) -> anyhow::Result<()> {
    let store = existing_store(&options.data).await?;
    let in_force = rules::in_force(&store, &options.said).await?;
    let (explained, settled) = explained_call(&store, &in_force.rules, id).await?;
    let call = &explained.call;
    let price = in_force.rules.prices.explain(&price_query(call, &explained.identity));
    if as_json {
        let mut found = document(&price, currency, &in_force.terms.exchange);
        put(&mut found, "call_id", json!(call.call_id.to_string()));
        // What the ledger says, which may be by earlier rules.
        let ledger = settled.map(|settled| {
            json!({
                "cost": settled.cost.map(|cost| cost.0.normalize().to_string()),
                "currency": settled.currency,
                "cost_status": settled.cost_status.as_str(),
                "rate_ids": settled.rate_ids,
                "settled_at": settled.settled_at.to_string(),
                "same": agrees(call, &settled),
            })
        });
        put(&mut found, "ledger", json!(ledger));
        return written(&found);
    }
    let mut text = format!("call {} at {}\n", call.call_id, call.ts);
    text.push_str(&told(&price, currency, &in_force.terms.exchange));
    if let Some(settled) = settled {
        text.push_str(&compared(call, &settled));
    }
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// The explained price with its sum in another currency.
fn document(explained: &PriceExplained, currency: Option<&str>, exchange: &Exchange) -> Value {
    let mut found = explained.json();
    if let (Some(to), Some(cost), Some(from)) = (currency, explained.priced.cost, explained.priced.currency.as_deref())
    {
        let converted = exchange.convert(cost.0, from, to, explained.key.at);
        let told = json!({
            "currency": to,
            "cost": converted.as_ref().map(|converted| converted.amount.normalize().to_string()),
            "rate": converted.and_then(|converted| converted.rate.map(|rate| rate.rate.to_string())),
        });
        put(&mut found, "converted", told);
    }
    found
}

fn put(document: &mut Value, name: &str, value: Value) {
    if let Some(document) = document.as_object_mut() {
        document.insert(name.to_owned(), value);
    }
}

fn written(value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    Ok(writeln!(out)?)
}

fn agrees(call: &Call, settled: &Call) -> bool {
    settled.cost == call.cost && settled.rate_ids == call.rate_ids && settled.currency == call.currency
}

/// Whether the ledger says so too.
fn compared(call: &Call, settled: &Call) -> String {
    if agrees(call, settled) {
        return "the ledger says the same\n".to_owned();
    }
    let cost = settled.cost.map_or_else(|| "no cost".to_owned(), |cost| cost.0.normalize().to_string());
    format!(
        "the ledger says {cost} {} ({}), by the rules of {}: {}\nthe figures above are by the rules in force; `polymeter resettle` \
         applies them to the past\n",
        settled.currency.as_deref().unwrap_or_default(),
        settled.cost_status,
        settled.settled_at,
        plain(&settled.rate_ids.join(", "))
    )
}

fn told(explained: &PriceExplained, currency: Option<&str>, exchange: &Exchange) -> String {
    let key = &explained.key;
    let text_of = |text: &Option<String>| text.as_deref().map_or_else(|| "unknown".to_owned(), plain);
    let edition = key.snapshot.as_ref().map(|name| format!("@{}", plain(name))).unwrap_or_default();
    let mut text = format!(
        "{} {}{edition}, scope {}, tier {}, {}, at {}",
        text_of(&key.platform),
        text_of(&key.model),
        plain(&key.scope),
        plain(&key.tier),
        key.mode,
        key.at
    );
    if let Some(account) = &key.account {
        let _ = write!(text, ", account {}", plain(account));
    }
    if key.context > 0 {
        let _ = write!(text, ", {} input tokens in all", key.context);
    }
    text.push('\n');
    for each in &explained.lines {
        line(&mut text, each);
    }
    for remark in &explained.remarks {
        let _ = writeln!(text, "  {}", plain(remark));
    }
    let priced = &explained.priced;
    if explained.lines.iter().any(|line| line.quantity.is_some()) {
        let unit = priced.currency.as_deref().unwrap_or_default();
        let amount = |money: Option<crate::model::Money>| {
            money.map_or_else(|| "unknown".to_owned(), |money| format!("{} {unit}", money.0.normalize()))
        };
        let _ = writeln!(text, "cost {} (list {}), {}", amount(priced.cost), amount(priced.list_cost), priced.status);
        if let (Some(to), Some(cost)) = (currency, priced.cost) {
            match exchange.convert(cost.0, unit, to, key.at) {
                Some(converted) => {
                    let rate = converted.rate.map_or(Decimal::ONE, |rate| rate.rate);
                    let _ = writeln!(text, "     x {rate} = {} {to}", converted.amount.normalize());
                }
                None => {
                    let _ = writeln!(text, "     there is no exchange rate from {unit} to {to} at this time");
                }
            }
        }
    }
    text
}

fn line(text: &mut String, line: &ExplainedLine) {
    let unit = line.currency.as_deref().unwrap_or_default();
    let shown =
        |amount: Option<Decimal>| amount.map_or_else(|| "?".to_owned(), |amount| amount.normalize().to_string());
    let factor = line.multiplier.map(|factor| format!(" x {factor}")).unwrap_or_default();
    let price = if line.multiplier.is_some() { line.list_unit_price } else { line.unit_price };
    let _ = match (line.quantity, line.cost) {
        (Some(quantity), Some(cost)) => {
            writeln!(text, "  {}: {quantity} x {}{factor} = {} {unit}", line.bucket, shown(price), cost.0.normalize())
        }
        (Some(quantity), None) => writeln!(text, "  {}: {quantity} x ? = no cost", line.bucket),
        (None, _) if line.unit_price.is_some() => {
            let million = line.unit_price.and_then(|price| price.checked_mul(Decimal::from(1_000_000)));
            writeln!(text, "  {}: {}{factor} {unit} each, {} for a million", line.bucket, shown(price), shown(million))
        }
        (None, _) => writeln!(text, "  {}: no price", line.bucket),
    };
    if let Some(list) = &line.list {
        let _ = writeln!(text, "    row {}", plain(&list.row_id));
        let _ = writeln!(text, "        {}", plain(&one_line(list)));
        if !list.source_ref.is_empty() {
            let _ = writeln!(text, "        {}", plain(&list.source_ref));
        }
    }
    if let Some(contract) = &line.contract {
        let _ = writeln!(text, "    contract {}", plain(&contract_line(contract)));
        let _ = writeln!(text, "        row {}, {}", plain(&contract.row_id), plain(&contract.source));
    }
    if let Some(unpriced) = &line.unpriced {
        let _ = writeln!(text, "    {}", plain(&unpriced.why));
        for near in &unpriced.nearest {
            let differs: Vec<String> = near
                .differs
                .iter()
                .map(|one| format!("{} is {} there, {} here", one.key, plain(&one.rate), plain(&one.call)))
                .collect();
            let _ = writeln!(text, "    near: {}; {}", plain(&one_line(&near.rate)), differs.join(", "));
        }
    }
}
