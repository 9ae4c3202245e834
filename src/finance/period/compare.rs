//! What is different about calls that were posted.

use std::collections::BTreeMap;

use crate::model::{Call, RecordId};

/// Why a posted call is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Something arrived later: a call that was not there, or a witness that changes one.
    LateData,
    /// The same tokens have another price.
    PriceChange,
    /// The same call is somebody else's.
    MappingFix,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LateData, Self::PriceChange, Self::MappingFix];

    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LateData => "late_data",
            Self::PriceChange => "price_change",
            Self::MappingFix => "mapping_fix",
        }
    }
}

/// A call that is different now.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Why.
    pub reason: Reason,
    /// As it was posted; `None` if it was not there.
    pub before: Option<Call>,
    /// As it is; `None` if it is no call any more, for example a copy of another.
    pub after: Option<Call>,
}

/// The calls that a report would tell differently. What no report tells (latency, witnesses) is no difference.
#[must_use]
pub fn changes(before: Vec<Call>, after: Vec<Call>) -> Vec<Change> {
    let mut posted: BTreeMap<RecordId, Call> = before.into_iter().map(|call| (call.call_id, call)).collect();
    let mut all = Vec::new();
    for call in after {
        match posted.remove(&call.call_id) {
            None => all.push(Change { reason: Reason::LateData, before: None, after: Some(call) }),
            Some(before) => {
                if let Some(reason) = why(&before, &call) {
                    all.push(Change { reason, before: Some(before), after: Some(call) });
                }
            }
        }
    }
    let gone = posted.into_values();
    all.extend(gone.map(|call| Change { reason: Reason::LateData, before: Some(call), after: None }));
    all
}

fn why(before: &Call, after: &Call) -> Option<Reason> {
    if used(before) != used(after) {
        Some(Reason::LateData)
    } else if whose(before) != whose(after) {
        Some(Reason::MappingFix)
    } else {
        (costs(before) != costs(after)).then_some(Reason::PriceChange)
    }
}

/// What was used and where, as witnesses tell it.
fn used(call: &Call) -> impl PartialEq + '_ {
    let place = [&call.platform, &call.account, &call.region, &call.deployment, &call.resource, &call.gateway];
    (place, &call.operation, &call.tier, &call.usage, call.usage_status, call.outcome)
}

/// Whose it is, as rules and the catalogue have it.
fn whose(call: &Call) -> impl PartialEq + '_ {
    let owner = [&call.team, &call.feature, &call.cost_center, &call.environment, &call.service];
    (owner, &call.principal, &call.user_id, &call.model, &call.publisher)
}

fn costs(call: &Call) -> impl PartialEq + '_ {
    (call.cost, call.list_cost, &call.currency, call.cost_status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Money, Usage};

    fn call(id: u8) -> Call {
        Call {
            call_id: RecordId([id; 16]),
            team: Some("search".to_owned()),
            usage: Usage { input: Some(10), ..Usage::default() },
            cost: Some(Money("0.5".parse().unwrap())),
            currency: Some("USD".to_owned()),
            ..Call::default()
        }
    }

    #[test]
    fn every_change_has_its_reason_and_no_other_is_told() {
        let before: Vec<Call> = (0..6).map(call).collect();
        let mut after = before.clone();
        after[1].usage.input = Some(11);
        after[1].cost = Some(Money("0.55".parse().unwrap()));
        after[2].team = Some("ads".to_owned());
        after[2].cost = Some(Money("0.6".parse().unwrap()));
        after[3].cost = None;
        // Nobody pays for these.
        after[4].duration_ms = Some(5.0);
        after[4].witnesses = vec!["gateway".to_owned()];
        after.remove(5);
        after.push(call(9));
        let changes = changes(before.clone(), after);
        let told: Vec<(Reason, Option<u8>, Option<u8>)> = changes
            .iter()
            .map(|change| {
                let id = |call: &Option<Call>| call.as_ref().map(|call| call.call_id.0[0]);
                (change.reason, id(&change.before), id(&change.after))
            })
            .collect();
        assert_eq!(
            told,
            [
                (Reason::LateData, Some(1), Some(1)),
                (Reason::MappingFix, Some(2), Some(2)),
                (Reason::PriceChange, Some(3), Some(3)),
                (Reason::LateData, None, Some(9)),
                (Reason::LateData, Some(5), None),
            ]
        );
        assert!(super::changes(before.clone(), before).is_empty());
    }
}
