//! The comparison of the ledger with what really happened, row for row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::call::Call;

/// The rows of `calls` in the form of [`Call::row`], with what they cost.
pub const ROWS: &str = "SELECT coalesce(provider_request_id, trace_id) AS key, CAST(ts AS BIGINT) AS ts, platform, model, \
    outcome, error_code, input_tokens, output_tokens, service, team, principal, trace_id, span_id, witnesses, conflict, \
    CAST(cost AS VARCHAR) AS cost FROM calls";

/// What counting may find between two restarts: rows, and the calls that they are.
pub const COUNTS: &str =
    "SELECT count(*) AS calls, count(DISTINCT coalesce(provider_request_id, trace_id)) AS keys FROM calls";

/// Where the ledger differs from the truth. Displayed with some examples.
#[derive(Default)]
pub struct Differences {
    /// Calls without a row.
    pub lost: Vec<String>,
    /// Calls with more than one row.
    pub double: Vec<String>,
    /// Rows of no call.
    pub invented: Vec<String>,
    /// Rows that say something else.
    pub wrong: Vec<String>,
}

impl Differences {
    /// Compares an answer to [`ROWS`] with the calls.
    pub fn find(calls: &[Call], rows: &[Value]) -> Self {
        let mut found = Self::default();
        let mut by_key: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for row in rows {
            by_key.entry(row["key"].as_str().unwrap_or_default().to_owned()).or_default().push(row);
        }
        for call in calls {
            let rows = by_key.remove(&call.key()).unwrap_or_default();
            match rows.as_slice() {
                [] => found.lost.push(format!("{call:?}")),
                [row] => {
                    let wrong = wrong_columns(&call.row(), row);
                    if !wrong.is_empty() {
                        found.wrong.push(format!("{wrong:?} of {call:?} in {row}"));
                    }
                }
                many => found.double.push(format!("{call:?} has {many:?}")),
            }
        }
        found.invented = by_key.into_values().flatten().map(ToString::to_string).collect();
        found
    }

    pub fn is_empty(&self) -> bool {
        [&self.lost, &self.double, &self.invented, &self.wrong].iter().all(|kind| kind.is_empty())
    }
}

/// The columns that differ. Columns that are NULL are in neither row.
fn wrong_columns(expected: &Value, row: &Value) -> BTreeSet<String> {
    let columns = |row: &Value| -> BTreeMap<String, Value> {
        let columns = row.as_object().into_iter().flatten();
        columns
            .filter(|(name, value)| *name != "cost" && !value.is_null())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    let (expected, row) = (columns(expected), columns(row));
    expected.keys().chain(row.keys()).filter(|name| expected.get(*name) != row.get(*name)).cloned().collect()
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("lost", &self.lost), ("double", &self.double), ("invented", &self.invented), ("wrong", &self.wrong)];
        for (kind, all) in kinds {
            write!(f, "{} {kind}; ", all.len())?;
            all.iter().take(5).try_for_each(|example| write!(f, "\n  {kind}: {example}\n"))?;
        }
        Ok(())
    }
}
