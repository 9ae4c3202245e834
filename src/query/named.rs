//! Named queries, bound: defaults put in, given values read as the types that the query declares.

use std::collections::{BTreeMap, HashMap};

use datafusion::common::ScalarValue;

use super::{Params, QueryError};
use crate::model::Timestamp;
use crate::queries::{NamedQuery, Parameter, put_in};

impl NamedQuery {
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
                None => sql = put_in(&sql, &param.name, &format!("({})", param.default)),
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
