//! Who pays: from what witnesses say to team, feature, cost centre and environment. Pure.
//!
//! Each of the four fields is decided by itself, by the first of these that has an answer:
//! 1. the operator's rules, in their order, that are valid at the start of the call and hold for it ([`Rule`]). They win
//!    over what callers say of themselves, which proves nothing; to let that count first, put
//!    `when = { team = "*" }, set = { team = "{team}" }` at the top;
//! 2. what a witness said;
//! 3. for the team: the operator's table of principals;
//! 4. well-known tags (`team`, `env`, `cost_center`, …).
//!
//! What none of them answers stays NULL, and is `(unattributed)` in reports. [`Attribution::test`] says who decided what.
//!
//! Shared cost is then split by declared rules ([`SplitRule`]), to the last digit.

mod read;
mod rules;
mod shares;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use read::{RulesFile, assemble_rules, read_rules};
pub use rules::{Miss, Rule, Value, When};
pub use shares::{
    Basis, Measures, Rest, Shares, SplitLine, SplitRule, UNATTRIBUTED, differences, share_rest, split_shared,
};
pub use subject::{Field, Subject};

use crate::model::Call;
use crate::sheet::{canonical_line, content_hash};

/// The operator's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    principals: BTreeMap<String, String>,
    rules: Vec<Rule>,
}

/// Who decided a field of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// A rule, by its number from 0.
    Rule(usize),
    /// What a witness said.
    Witness,
    /// The table of principals.
    Principal,
    /// A well-known tag.
    Tag(&'static str),
    /// Nobody: it is unattributed.
    Nobody,
}

/// How a field of a call was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The field.
    pub field: Field,
    /// What it is; `None` for unattributed.
    pub value: Option<String>,
    /// Who decided.
    pub by: DecidedBy,
    /// What a witness had said, where that is something else.
    pub instead_of: Option<String>,
}

/// What the rules make of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Each field, and who decided it.
    pub decisions: Vec<Decision>,
    /// Each rule in order: why it does not hold, nothing if it does.
    pub misses: Vec<Option<Miss>>,
}

impl Attribution {
    /// Rules from principal (an ARN, an IAM role name, an Entra object id, a key alias) to team.
    #[must_use]
    pub const fn new(principals: BTreeMap<String, String>) -> Self {
        Self { principals, rules: Vec::new() }
    }

    /// With ordered rules, which come first.
    #[must_use]
    pub fn with_rules(self, rules: Vec<Rule>) -> Self {
        Self { rules, ..self }
    }

    /// The rules in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// SHA-256, lower-case hex, over what the rules and principals say, in their order.
    #[must_use]
    pub fn version(&self) -> String {
        let principals = self.principals.iter().map(|(name, team)| canonical_line(&["principal", name, team]));
        content_hash(&principals.chain(self.rules.iter().map(Rule::canonical)).collect::<Vec<_>>())
    }

    /// Fills the attribution columns.
    pub fn attribute(&self, call: &mut Call) {
        let holding: Vec<bool> = self.rules.iter().map(|rule| rule.miss(call).is_none()).collect();
        let decisions = Field::ALL.map(|field| self.decide(field, call, &holding));
        for decision in decisions {
            *decision.field.of_mut(call) = decision.value;
        }
        // Tags are set by callers and prove nothing, but are better than no answer.
        let known: [(&mut Option<String>, &[&str]); 2] =
            [(&mut call.user_id, &["user_id", "userId", "user"]), (&mut call.session_id, &["session_id", "sessionId"])];
        for (column, names) in known {
            if column.is_none() {
                *column = names.iter().find_map(|name| call.tags.get(*name).cloned());
            }
        }
    }

    /// What the rules make of a call as its witnesses tell it, and why.
    #[must_use]
    pub fn test(&self, call: &Call) -> Tested {
        let misses: Vec<Option<Miss>> = self.rules.iter().map(|rule| rule.miss(call)).collect();
        let holding: Vec<bool> = misses.iter().map(Option::is_none).collect();
        Tested { decisions: Field::ALL.iter().map(|field| self.decide(*field, call, &holding)).collect(), misses }
    }

    fn decide(&self, field: Field, call: &Call, holding: &[bool]) -> Decision {
        let said = field.of(call);
        let rules = self.rules.iter().zip(holding).enumerate().filter(|(_, (_, holds))| **holds);
        let ruled =
            rules.filter_map(|(number, (rule, _))| Some((rule.value(field, call)?, DecidedBy::Rule(number)))).next();
        let principal = || {
            let team = (field == Field::Team).then(|| self.team_of(call.principal.as_deref()?))??;
            Some((team, DecidedBy::Principal))
        };
        let tag = || field.tags().iter().find_map(|name| Some((call.tags.get(*name)?.clone(), DecidedBy::Tag(name))));
        let answer =
            ruled.or_else(|| said.map(|said| (said.clone(), DecidedBy::Witness))).or_else(principal).or_else(tag);
        let (value, by) = answer.map_or((None, DecidedBy::Nobody), |(value, by)| (Some(value), by));
        let instead_of = said.filter(|said| Some(*said) != value.as_ref()).cloned();
        Decision { field, value, by, instead_of }
    }

    /// The whole principal, or the role or user name inside an ARN (`…:assumed-role/<role>/<session>`).
    fn team_of(&self, principal: &str) -> Option<String> {
        let parts = principal.rsplit(':').next().unwrap_or(principal).split('/');
        std::iter::once(principal).chain(parts).find_map(|part| self.principals.get(part).cloned())
    }
}
