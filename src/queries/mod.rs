//! The named queries of `queries/*.sql`, as text: one definition of each number for the API, dashboards and reports.
//!
//! Pure: what a query may be given stands in the comments above its statement; binding values is `query`'s.

use std::collections::BTreeMap;

use serde::Serialize;

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

/// The value of a filter that lets everything through.
pub const ALL: &str = "*";

impl NamedQuery {
    /// Reads a query file: `--` header lines, then the statement. `-- filter platform, model` declares one optional
    /// parameter for each column, and `$filters` stands for the condition that all of them make.
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
            } else if let Some(columns) = line.strip_prefix("filter ") {
                let columns: Vec<&str> = columns.split(',').map(str::trim).collect();
                let conditions = columns.iter().map(|column| format!("(${column} = '{ALL}' OR {column} = ${column})"));
                query.sql = put_in(&query.sql, "filters", &conditions.collect::<Vec<_>>().join(" AND "));
                query.params.extend(columns.into_iter().map(filter));
            } else if query.unit.is_empty() && query.params.is_empty() {
                query.description = format!("{} {line}", query.description).trim().to_owned();
            }
        }
        query
    }

    /// The statement without the header.
    #[must_use]
    pub fn statement(&self) -> &str {
        let mut rest = self.sql.as_str();
        while let Some((_, after)) = rest.split_once('\n').filter(|(line, _)| line.starts_with("--")) {
            rest = after;
        }
        rest.trim_end()
    }
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

fn filter(column: &str) -> Parameter {
    Parameter {
        name: column.to_owned(),
        kind: "text".to_owned(),
        default: format!("'{ALL}'"),
        description: format!("only this {column}; {ALL} is all"),
    }
}

/// The statement with `value` in the place of `$name`.
#[must_use]
pub fn put_in(sql: &str, name: &str, value: &str) -> String {
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
            "coverage_by_model",
            "errors_by_platform_5m",
            "errors_now",
            "failover",
            "filter_values",
            "gateway_savings",
            "incidents",
            "latency_by_platform_model",
            "latency_over_time",
            "latency_percentiles_over_time",
            "live",
            "log_delivery",
            "metrics_coverage",
            "outcomes_over_time",
            "overview",
            "price_changes",
            "provider_health",
            "quarantined_records",
            "same_model_across_platforms",
            "slo_burn_over_time",
            "slo_by_feature",
            "sources_seen",
            "spend_by",
            "spend_by_feature_per_day",
            "spend_by_model_per_day",
            "spend_by_platform_per_day",
            "spend_by_team_per_day",
            "spend_over_time",
            "spend_over_time_by",
            "tokens_per_hour",
            "top_callers",
            "unpriced_calls",
        ];
        Self::from_texts(files)
    }

    /// Queries by name and text.
    #[must_use]
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(texts.into_iter().map(|(name, text)| (name.to_owned(), NamedQuery::parse(name, text))).collect())
    }

    /// The same, and those of `more`, which hold where a name is in both.
    #[must_use]
    pub fn with(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
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

    const TEXT: &str = "-- Spend.\n-- unit: USD; UTC\n-- param from timestamp = now()   (start, inclusive)\n-- filter team, model\n\
        -- note: hi\nSELECT 1 -- $from_team\nWHERE ts >= $from AND $filters";

    #[test]
    fn reads_the_header_and_spells_filters_out() {
        let query = NamedQuery::parse("q", TEXT);
        assert_eq!((query.description.as_str(), query.unit.as_str()), ("Spend.", "USD; UTC"));
        let params: Vec<_> = query.params.iter().map(|one| (one.name.as_str(), one.default.as_str())).collect();
        assert_eq!(params, [("from", "now()"), ("team", "'*'"), ("model", "'*'")]);
        assert_eq!(
            query.statement(),
            "SELECT 1 -- $from_team\nWHERE ts >= $from AND ($team = '*' OR team = $team) AND ($model = '*' OR model = $model)"
        );
        assert_eq!(put_in(query.statement(), "from", "x").matches('x').count(), 1);
    }

    #[test]
    fn every_bundled_query_uses_what_it_declares() {
        for query in NamedQueries::bundled().all() {
            assert!(!query.description.is_empty() && !query.unit.is_empty(), "{}", query.name);
            let mut sql = query.statement().to_owned();
            for param in &query.params {
                let put = put_in(&sql, &param.name, "?");
                assert_ne!(put, sql, "{} does not use ${}", query.name, param.name);
                sql = put;
            }
            let left = sql.split('$').skip(1).find(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
            assert!(left.is_none(), "{} does not declare ${}", query.name, left.unwrap_or_default());
        }
    }
}
