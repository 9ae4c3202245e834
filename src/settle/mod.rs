//! From observations to calls: link what speaks of one call, merge by field precedence, resolve the model, attribute,
//! price. Pure: the result is a function of the set of observations, not of their order or of when they arrived.

mod attempts;
mod count;
mod explain;
mod link;
mod merge;
mod newcomers;
mod slices;
#[cfg(test)]
mod tests;
mod twins;

use std::sync::Arc;

pub use count::{LINK_WINDOW_US, LeftOut, Rule};
pub use explain::{CallExplained, Explanation, Figure, Joined, Seen, explain};
pub use link::{LINK_COLUMNS, LinkKey, group, link_keys, offered_keys, sought_keys};
pub use newcomers::{Arrivals, Newcomers};
pub use slices::{MARGIN_US, News, Slices, around, slices};

use crate::attribution::Attribution;
use crate::catalog::{Catalog, ModelIdentity, ModelQuery};
use crate::model::{Call, Observation, Outcome, RecordId, Timestamp, UsageStatus};
use crate::pricing::{PriceBook, PriceQuery, Priced};

/// What settling needs to know beside the observations.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Names of models.
    pub catalog: Catalog,
    /// Who pays.
    pub attribution: Attribution,
    /// Rates.
    pub prices: PriceBook,
}

/// A call with the observations it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The call.
    pub call: Call,
    /// Ids of its witnesses, sorted.
    pub members: Vec<RecordId>,
}

/// The calls that these observations speak of. `observations` must hold everything that could be linked to each other
/// (see [`group`]); anything may be in it twice.
#[must_use]
pub fn settle(observations: &[Arc<Observation>], rules: &Rules, settled_at: Timestamp) -> Vec<Settled> {
    let unique = count::unique(observations);
    let (mut calls, members): (Vec<_>, Vec<_>) = count::calls(&unique)
        .calls
        .into_iter()
        .map(|witnesses| {
            let call = one_call(&witnesses, rules, settled_at).call;
            let mut members: Vec<_> = witnesses.iter().map(|witness| witness.observation.observation_id).collect();
            members.sort_unstable();
            ((call, attempts::chains(&witnesses)), members)
        })
        .unzip();
    attempts::number(&mut calls);
    let mut settled: Vec<_> =
        calls.into_iter().zip(members).map(|((call, _), members)| Settled { call, members }).collect();
    settled.sort_by_key(|settled| (settled.call.ts, settled.call.call_id));
    settled
}

/// A call, and how it came to be.
struct OneCall {
    call: Call,
    identity: ModelIdentity,
    priced: Priced,
}

fn one_call(witnesses: &[count::Witnessed<'_>], rules: &Rules, settled_at: Timestamp) -> OneCall {
    let mut call = merge::merge(witnesses);
    let identity = identify(&mut call, witnesses, rules);
    rules.attribution.attribute(&mut call);
    let priced = price(&mut call, &identity, rules);
    call.settled_at = settled_at;
    OneCall { call, identity, priced }
}

/// The call as its witnesses tell it, before anybody is named to pay for it.
fn as_said(witnesses: &[count::Witnessed<'_>], rules: &Rules) -> Call {
    let mut call = merge::merge(witnesses);
    identify(&mut call, witnesses, rules);
    call
}

fn identify(call: &mut Call, witnesses: &[count::Witnessed<'_>], rules: &Rules) -> ModelIdentity {
    let version = witnesses.iter().find_map(|witness| witness.observation.model_version.as_deref());
    let identity = rules.catalog.resolve(&ModelQuery {
        platform: call.platform.as_deref(),
        request_model: call.request_model.as_deref(),
        response_model: call.response_model.as_deref(),
        model_version: version,
        deployment: call.deployment.as_deref(),
    });
    call.publisher.clone_from(&identity.publisher);
    call.model.clone_from(&identity.model);
    call.scope = identity.scope.map(str::to_owned).or_else(|| call.tags.get("azure.scope").cloned());
    if let Some(tier) = identity.tier {
        call.tier = Some(tier.to_owned());
    }
    identity
}

/// What the price of a call is looked up by.
#[must_use]
pub fn price_query<'a>(call: &'a Call, identity: &'a ModelIdentity) -> PriceQuery<'a> {
    // A request that the provider refused is not billed; of a cancelled one nobody knows.
    let refused = matches!(
        call.outcome,
        Outcome::Throttled | Outcome::ClientError | Outcome::ServerError | Outcome::Timeout | Outcome::ContentFiltered
    );
    PriceQuery {
        platform: call.platform.as_deref(),
        account: call.account.as_deref(),
        model: call.model.as_deref(),
        scope: call.scope.as_deref(),
        snapshot: identity.snapshot.as_deref(),
        geo: identity.geo.as_deref().or_else(|| call.tags.get("azure.geo").map(String::as_str)),
        region: call.region.as_deref(),
        tier: call.tier.as_deref(),
        operation: call.operation.as_deref(),
        usage_status: call.usage_status,
        failed: refused && call.usage_status == UsageStatus::Missing,
        ..PriceQuery::new(call.ts, &call.usage)
    }
}

fn price(call: &mut Call, identity: &ModelIdentity, rules: &Rules) -> Priced {
    let priced = rules.prices.price(&price_query(call, identity));
    call.list_cost = priced.list_cost;
    call.cost = priced.cost;
    call.currency = priced.currency.as_ref().map(|currency| currency.to_string());
    call.cost_status = priced.status;
    call.rate_ids = priced.rate_ids.iter().map(ToString::to_string).collect();
    priced
}
