//! Callers: their role says what they may do, their scope which rows they see.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Send OTLP, and nothing else.
    Ingest,
    /// Ask: SQL, named queries, sources, metrics.
    Read,
    /// Ask, and reports in money.
    Finance,
    /// Everything.
    Admin,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To send OTLP.
    Ingest,
    /// To ask SQL, named queries, sources and metrics.
    Ask,
    /// To ask for reports in money.
    Bill,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Finance, Self::Admin];

    /// Its name in files and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Finance => "finance",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it includes a right.
    #[must_use]
    pub const fn may(self, right: Right) -> bool {
        match right {
            Right::Ingest => matches!(self, Self::Ingest | Self::Admin),
            Right::Ask => matches!(self, Self::Read | Self::Finance | Self::Admin),
            Right::Bill => matches!(self, Self::Finance | Self::Admin),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Columns of `calls` that a scope may name: what says whose a call is, all of them text.
pub const SCOPE_COLUMNS: [&str; 13] = [
    "team",
    "service",
    "environment",
    "feature",
    "cost_center",
    "principal",
    "user_id",
    "gateway",
    "account",
    "platform",
    "publisher",
    "region",
    "model",
];

/// Rows that somebody sees: those that have one of the values in each of the columns. A row without a value is not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(BTreeMap<String, Vec<String>>);

impl Scope {
    /// A scope over some columns; `None` if there is none, or one without a value.
    #[must_use]
    pub fn new(columns: BTreeMap<String, Vec<String>>) -> Option<Self> {
        let usable = !columns.is_empty() && columns.values().all(|values| !values.is_empty());
        usable.then_some(Self(columns))
    }

    /// Column by column.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(column, values)| (column.as_str(), values.as_slice()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (column, values)) in self.columns().enumerate() {
            let listed: Vec<_> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
            let and = if index == 0 { "" } else { " AND " };
            match listed.as_slice() {
                [one] => write!(f, "{and}{column} = {one}")?,
                many => write!(f, "{and}{column} IN ({})", many.join(", "))?,
            }
        }
        Ok(())
    }
}

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name of the user or token.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// Which rows they see; all of them if `None`.
    pub scope: Option<Arc<Scope>>,
}

impl Caller {
    /// Whoever reaches a server without log-in, and polymeter itself.
    #[must_use]
    pub fn anyone() -> Self {
        Self { name: "anyone".into(), role: Role::Admin, scope: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_hold_their_rights_and_no_other() {
        let rights = |role: Role| [Right::Ingest, Right::Ask, Right::Bill].map(|right| role.may(right));
        assert_eq!(rights(Role::Ingest), [true, false, false]);
        assert_eq!(rights(Role::Read), [false, true, false]);
        assert_eq!(rights(Role::Finance), [false, true, true]);
        assert_eq!(rights(Role::Admin), [true, true, true]);
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
    }

    #[test]
    fn a_scope_reads_as_sql() {
        let columns = BTreeMap::from([
            ("team".to_owned(), vec!["o'neil".to_owned()]),
            ("environment".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
        ]);
        let scope = Scope::new(columns).unwrap();
        assert_eq!(scope.to_string(), "environment IN ('a', 'b') AND team = 'o''neil'");
        assert!(Scope::new(BTreeMap::new()).is_none());
        assert!(Scope::new(BTreeMap::from([("team".to_owned(), Vec::new())])).is_none(), "no value is no scope");
    }
}
