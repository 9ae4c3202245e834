//! Who pays: from what witnesses say to team, feature, cost centre and environment. Pure. The operator's principals
//! come first, then the well-known tag names; a column that a witness filled is never replaced.

use std::collections::BTreeMap;

use crate::model::Call;

/// The operator's rules. For now: which team a principal belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    principals: BTreeMap<String, String>,
}

impl Attribution {
    /// Rules from principal (an ARN, an IAM role name, an Entra object id, a key alias) to team.
    #[must_use]
    pub const fn new(principals: BTreeMap<String, String>) -> Self {
        Self { principals }
    }

    /// Fills empty attribution columns.
    pub fn attribute(&self, call: &mut Call) {
        if call.team.is_none() {
            call.team = call.principal.as_deref().and_then(|principal| self.team_of(principal));
        }
        // Tags are set by callers and prove nothing, but are better than no answer.
        let known: [(&mut Option<String>, &[&str]); 6] = [
            (&mut call.team, &["team", "team_id"]),
            (&mut call.feature, &["feature", "application", "app"]),
            (&mut call.cost_center, &["cost_center", "cost-center", "costcenter", "costCenter"]),
            (&mut call.environment, &["environment", "env", "stage"]),
            (&mut call.user_id, &["user_id", "userId", "user"]),
            (&mut call.session_id, &["session_id", "sessionId"]),
        ];
        for (column, names) in known {
            if column.is_none() {
                *column = names.iter().find_map(|name| call.tags.get(*name).cloned());
            }
        }
    }

    /// The whole principal, or the role or user name inside an ARN (`…:assumed-role/<role>/<session>`).
    fn team_of(&self, principal: &str) -> Option<String> {
        let parts = principal.rsplit(':').next().unwrap_or(principal).split('/');
        std::iter::once(principal).chain(parts).find_map(|part| self.principals.get(part).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_fill_gaps_and_replace_nothing() {
        let tags = [("team", "search"), ("env", "prod")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut call = Call { team: Some("own".into()), tags: tags.into(), ..Call::default() };
        Attribution::default().attribute(&mut call);
        assert_eq!(call.team.as_deref(), Some("own"));
        assert_eq!(call.environment.as_deref(), Some("prod"));
    }

    #[test]
    fn a_role_inside_an_arn_names_its_team() {
        let rules = Attribution::new([("search-role".to_owned(), "search".to_owned())].into());
        let arn = "arn:aws:sts::1:assumed-role/search-role/session".to_owned();
        let mut call = Call { principal: Some(arn), ..Call::default() };
        rules.attribute(&mut call);
        assert_eq!(call.team.as_deref(), Some("search"));
    }
}
