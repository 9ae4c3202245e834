//! The named queries of `queries/*.sql`: one definition of each number for the API, dashboards and reports.

use std::collections::{BTreeMap, HashMap};

use datafusion::common::ScalarValue;
use serde::Serialize;

use super::{Params, QueryError};
use crate::model::Timestamp;

/// A parameter of a named query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Name, without `$`.
    pub name: String,
    /// SQL type: `timestamp`, `interval`, `text`, `bigint`, `double`.
    #[serde(rename = "type")]
    pub kind: String,
    /// SQL expression that stands in when the parameter is not given.
    pub default: String,
    /// What it means.
    pub description: String,
}

/// A query with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedQuery {
    /// Name of its file.
    pub name: String,
    /// What it answers.
    pub description: String,
    /// Units, time zone and the meaning of NULL.
    pub unit: String,
    /// What may be set.
    pub params: Vec<Parameter>,
    /// The statement.
    pub sql: String,
}

impl NamedQuery {
    /// Reads a query file: `--` header lines, then the statement.
    #[must_use]
    pub fn parse(name: &str, text: &str) -> Self {
        let mut query = Self {
            name: name.to_owned(),
            description: String::new(),
            unit: String::new(),
            params: Vec::new(),
            sql: text.to_owned(),
        };
        for line in text.lines().map_while(|line| line.strip_prefix("--")).map(str::trim) {
            if let Some(unit) = line.strip_prefix("unit:") {
                unit.trim().clone_into(&mut query.unit);
            } else if let Some(param) = line.strip_prefix("param ") {
                query.params.extend(parameter(param));
            } else if query.unit.is_empty() && query.params.is_empty() {
                query.description = format!("{} {line}", query.description).trim().to_owned();
            }
        }
        query
    }

    /// The statement with defaults put in and the given parameters as values.
    ///
    /// # Errors
    /// A parameter is unknown or can't be read as its type.
    pub fn bind(&self, given: &BTreeMap<String, String>) -> Result<(String, Params), QueryError> {
        if let Some(unknown) = given.keys().find(|name| !self.params.iter().any(|param| &param.name == *name)) {
            let known: Vec<_> = self.params.iter().map(|param| param.name.as_str()).collect();
            return Err(QueryError::Invalid(format!(
                "query '{}' has no parameter '{unknown}'; it has: {}",
                self.name,
                known.join(", ")
            )));
        }
        let mut sql = self.sql.clone();
        let mut values = HashMap::new();
        for param in &self.params {
            match given.get(&param.name) {
                Some(text) => {
                    values.insert(param.name.clone(), param.value(text)?);
                }
                None => sql = replace_placeholder(&sql, &param.name, &format!("({})", param.default)),
            }
        }
        Ok((sql, if values.is_empty() { Params::None } else { Params::Named(values) }))
    }
}

impl Parameter {
    fn value(&self, text: &str) -> Result<ScalarValue, QueryError> {
        let invalid =
            || QueryError::Invalid(format!("parameter '{}' must be a {}, not '{text}'", self.name, self.kind));
        Ok(match self.kind.as_str() {
            "timestamp" | "timestamptz" => {
                let at = instant(text).ok_or_else(invalid)?;
                ScalarValue::TimestampMicrosecond(Some(at.0), Some("UTC".into()))
            }
            "bigint" | "int" | "integer" => ScalarValue::Int64(Some(text.parse().map_err(|_| invalid())?)),
            "double" | "float" => ScalarValue::Float64(Some(text.parse().map_err(|_| invalid())?)),
            "interval" => {
                let text = ScalarValue::Utf8(Some(text.to_owned()));
                let kind = arrow::datatypes::DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
                text.cast_to(&kind).map_err(|_| invalid())?
            }
            _ => ScalarValue::Utf8(Some(text.to_owned())),
        })
    }
}

/// RFC 3339, a plain date, or epoch milliseconds as dashboards send them.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(millis) = text.parse::<i64>() {
        return Some(Timestamp(millis.checked_mul(1000)?));
    }
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
}

/// `from timestamp = now() - interval '24 hours'   (start, inclusive)`
fn parameter(line: &str) -> Option<Parameter> {
    let (declared, rest) = line.split_once('=')?;
    let (name, kind) = declared.trim().split_once(' ')?;
    let (default, description) =
        rest.rsplit_once("   (").map_or((rest, ""), |(default, note)| (default, note.trim_end_matches(')')));
    Some(Parameter {
        name: name.trim().to_owned(),
        kind: kind.trim().to_owned(),
        default: default.trim().to_owned(),
        description: description.trim().to_owned(),
    })
}

fn replace_placeholder(sql: &str, name: &str, value: &str) -> String {
    let placeholder = format!("${name}");
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once(&placeholder) {
        out.push_str(before);
        let longer = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(if longer { &placeholder } else { value });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// All named queries, by name.
#[derive(Clone, Debug)]
pub struct NamedQueries(BTreeMap<String, NamedQuery>);

macro_rules! bundled {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../queries/", $name, ".sql")))),+]
    };
}

impl NamedQueries {
    /// The queries that are part of the binary.
    #[must_use]
    pub fn bundled() -> Self {
        let files = bundled![
            "cache_use",
            "counted_once",
            "coverage",
            "errors_by_platform_5m",
            "failover",
            "gateway_savings",
            "latency_by_platform_model",
            "latency_percentiles_over_time",
            "log_delivery",
            "metrics_coverage",
            "overview",
            "provider_health",
            "quarantined_records",
            "same_model_across_platforms",
            "spend_by",
            "spend_by_feature_per_day",
            "spend_by_model_per_day",
            "spend_by_platform_per_day",
            "spend_by_team_per_day",
            "spend_over_time_by",
            "tokens_per_hour",
            "top_callers",
            "unpriced_calls",
        ];
        Self(files.into_iter().map(|(name, text)| (name.to_owned(), NamedQuery::parse(name, text))).collect())
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NamedQuery> {
        self.0.get(name)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &NamedQuery> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- Spend.\n-- unit: USD; UTC\n-- param from timestamp = now() - interval '1 day'   (start, inclusive)\n-- param from_team text = 'x'\nSELECT 1 WHERE ts >= $from AND t = $from_team";

    #[test]
    fn reads_the_header_and_puts_defaults_in() {
        let query = NamedQuery::parse("q", TEXT);
        assert_eq!((query.description.as_str(), query.unit.as_str(), query.params.len()), ("Spend.", "USD; UTC", 2));
        let (sql, params) = query.bind(&BTreeMap::new()).unwrap();
        assert!(sql.ends_with("WHERE ts >= (now() - interval '1 day') AND t = ('x')"), "{sql}");
        assert!(matches!(params, Params::None));
    }

    #[test]
    fn refuses_unknown_and_unreadable_parameters() {
        let query = NamedQuery::parse("q", TEXT);
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert!(query.bind(&given("frm", "x")).unwrap_err().to_string().contains("it has: from, from_team"));
        assert!(query.bind(&given("from", "yesterday")).is_err());
        assert!(query.bind(&given("from", "2026-11-20T00:00:00Z")).is_ok());
        assert!(query.bind(&given("from", "1763683200000")).is_ok());
    }
}
