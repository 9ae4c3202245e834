//! The calls of a time with their price bucket by bucket: what the ledger has as one cost per call. They are priced again
//! by the book that the ledger names, and held against the ledger's cost, call by call.

use std::collections::HashMap;
use std::time::Duration;

use super::reports::ReportFailure;
use super::{Engine, Limits, Params, QueryError};
use crate::catalog::{ModelIdentity, ModelQuery};
use crate::columns::Row;
use crate::finance::ask::during;
use crate::finance::calendar::Zone;
use crate::ledger::View;
use crate::model::{Call, CostStatus, Interval, Money, Timestamp};
use crate::pricing::{Priced, Rate};
use crate::settle::{Rules, price_query};

/// So many calls that differ are named.
const EXAMPLES: usize = 3;
/// Many rows pass, few are kept: what bounds a report is its groups.
const STREAMED: Limits =
    Limits { rows: 1 << 40, time: Duration::from_secs(900), text_bytes: 64 << 10, answer_bytes: usize::MAX };

/// What a price depends on, and what reports group by.
const COLUMNS: &str = "call_id, ts, platform, publisher, model, request_model, response_model, deployment, region, scope, \
    account, resource, operation, tier, outcome, input_tokens, cache_read_tokens, cache_write_tokens, \
    cache_write_1h_tokens, output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, \
    image_input_tokens, images, usage_status, service, environment, team, feature, cost_center, tags, list_cost, cost, \
    currency, cost_status, rate_ids";

/// Whether the book says what the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// To the last digit.
    Exact,
    /// The ledger keeps twelve fraction digits, the price has more.
    Rounded,
    /// Another cost, or another currency.
    No,
}

/// A call and its price.
pub(super) struct PricedCall {
    pub call: Call,
    pub priced: Priced,
    pub agreement: Agreement,
}

/// Names of a model as calls say them: few, for many calls.
type Names = (Option<String>, Option<String>, Option<String>, Option<String>);

/// Hands every call that starts in `within` to `take`, priced bucket by bucket; in no particular order.
pub(super) async fn each_priced(
    engine: &Engine,
    view: &View,
    rules: &Rules,
    within: Interval,
    mut take: impl FnMut(PricedCall) -> Result<(), ReportFailure>,
) -> Result<(), ReportFailure> {
    let rates: HashMap<&str, &Rate> = rules.prices.rates().map(|rate| (rate.row_id.as_str(), rate)).collect();
    let mut identities: HashMap<Names, ModelIdentity> = HashMap::new();
    let sql = format!("SELECT {COLUMNS} FROM calls WHERE {}", during(within));
    let mut answer = engine.with_limits(STREAMED).run(view, &sql, Params::None).await?;
    while let Some(batch) = answer.next().await? {
        let calls = Call::decode(&batch).map_err(|error| QueryError::Internal(Box::new(error)))?;
        for call in calls {
            let names = (
                call.platform.clone(),
                call.request_model.clone(),
                call.response_model.clone(),
                call.deployment.clone(),
            );
            let identity = identities.entry(names).or_insert_with_key(|(platform, request, response, deployment)| {
                rules.catalog.resolve(&ModelQuery {
                    platform: platform.as_deref(),
                    request_model: request.as_deref(),
                    response_model: response.as_deref(),
                    model_version: None,
                    deployment: deployment.as_deref(),
                })
            });
            // The edition decided which rows hold; a version beside the model is not in the ledger, but the rows are.
            let named = call.rate_ids.iter().find_map(|id| rates.get(id.as_str()));
            let mut query = price_query(&call, identity);
            if let Some(rate) = named {
                query.snapshot = rate.snapshot.as_deref();
            }
            let priced = rules.prices.price(&query);
            let agreement = agreement(&call, &priced);
            take(PricedCall { call, priced, agreement })?;
        }
    }
    Ok(())
}

fn agreement(call: &Call, priced: &Priced) -> Agreement {
    let stored = |money: Option<Money>| money.map(Money::stored);
    let currency = call.currency.as_deref() == priced.currency.as_deref();
    let status = (call.cost_status == CostStatus::Allocated) == (priced.status == CostStatus::Allocated);
    if !currency
        || !status
        || stored(call.cost) != stored(priced.cost)
        || stored(call.list_cost) != stored(priced.list_cost)
    {
        return Agreement::No;
    }
    if call.cost == priced.cost && call.list_cost == priced.list_cost { Agreement::Exact } else { Agreement::Rounded }
}

/// Calls that cost something else by some prices than the ledger says.
#[derive(Clone, Debug, Default)]
pub struct OtherPrices {
    /// How many.
    pub calls: u64,
    /// The smallest of their ids, so that a message is the same whatever the order.
    pub examples: Vec<String>,
}

impl OtherPrices {
    pub(super) fn add(&mut self, call: &Call) {
        self.calls += 1;
        self.examples.push(call.call_id.to_string());
        self.examples.sort();
        self.examples.truncate(EXAMPLES);
    }
}

/// Finds them among the calls of a time.
///
/// # Errors
/// The store can't be asked.
pub async fn other_prices(
    engine: &Engine,
    view: &View,
    rules: &Rules,
    within: Interval,
) -> Result<OtherPrices, ReportFailure> {
    let mut found = OtherPrices::default();
    each_priced(engine, view, rules, within, |call| {
        if call.agreement == Agreement::No {
            found.add(&call.call);
        }
        Ok(())
    })
    .await?;
    Ok(found)
}

/// The UTC month of an instant as reports write it.
pub(super) fn month_of(at: Timestamp) -> String {
    Zone::UTC.month(at).to_string()
}
