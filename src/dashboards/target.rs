//! One named query as what a data source sends: SQL with Grafana's macros, or a URL with its variables.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::Maker;
use super::definition::{DefinitionError, Definitions};
use crate::queries::{NamedQuery, Parameter, put_in};

/// Which data source dashboards ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Grafana's built-in PostgreSQL data source.
    Postgres,
    /// The Infinity data source, over HTTP.
    Infinity,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Infinity];

    /// The folder of its files.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Infinity => "infinity",
        }
    }

    /// The id of Grafana's plugin.
    pub(super) const fn plugin(self) -> &'static str {
        match self {
            Self::Postgres => "grafana-postgresql-datasource",
            Self::Infinity => "yesoreyeram-infinity-datasource",
        }
    }

    /// The id of the data source that provisioning makes.
    pub(super) fn provisioned(self) -> String {
        format!("polymeter-{}", self.folder())
    }

    pub(super) fn tag(self) -> String {
        self.provisioned()
    }

    pub(super) fn uid(self, dashboard: &str) -> String {
        let short = match self {
            Self::Postgres => "pg",
            Self::Infinity => "http",
        };
        format!("polymeter-{short}-{dashboard}")
    }

    /// The data source that is chosen on the dashboard.
    pub(super) fn datasource(self) -> Value {
        json!({"type": self.plugin(), "uid": "${datasource}"})
    }

    /// What stands for all values of a variable: Grafana puts it in as it is.
    pub(super) const fn all(self) -> &'static str {
        match self {
            Self::Postgres => "'*'",
            Self::Infinity => "*",
        }
    }
}

/// The parameters that every query over a time has.
pub(super) const TIMES: [&str; 2] = ["from", "to"];

/// Where the value of a parameter comes from.
pub(super) enum Given {
    /// Start of the time range.
    From,
    /// Its end.
    To,
    /// The length of a bucket that fits the panel's width.
    Bucket,
    /// A variable of the dashboard.
    Variable(String),
    /// A value that the definition gives.
    Fixed(String),
}

impl Given {
    fn sql(&self, param: &Parameter) -> String {
        let text = param.kind == "text";
        match self {
            Self::From => "CAST($__timeFrom() AS TIMESTAMPTZ)".to_owned(),
            Self::To => "CAST($__timeTo() AS TIMESTAMPTZ)".to_owned(),
            Self::Bucket => "interval '$__interval_ms milliseconds'".to_owned(),
            Self::Variable(name) if text => format!("${{{name}:sqlstring}}"),
            Self::Variable(name) => format!("${{{name}}}"),
            Self::Fixed(value) if text => format!("'{}'", value.replace('\'', "''")),
            Self::Fixed(value) if param.kind == "interval" => format!("interval '{}'", value.replace('\'', "''")),
            Self::Fixed(value) => value.clone(),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::From => "${__from:date:iso}".to_owned(),
            Self::To => "${__to:date:iso}".to_owned(),
            Self::Bucket => "${__interval_ms}%20milliseconds".to_owned(),
            Self::Variable(name) => format!("${{{name}:percentencode}}"),
            Self::Fixed(value) => percent_encoded(value),
        }
    }
}

/// A value that a definition gives: `$name` is a variable.
pub(super) fn fixed(value: &str) -> Given {
    value.strip_prefix('$').map_or_else(|| Given::Fixed(value.to_owned()), |name| Given::Variable(name.to_owned()))
}

impl Maker<'_> {
    /// What the data source sends for these columns of a query.
    pub(super) fn target(
        &self,
        id: &str,
        query: &str,
        fields: &[&str],
        args: &BTreeMap<String, String>,
    ) -> Result<Value, DefinitionError> {
        let known = self.queries.get(query).ok_or_else(|| self.wrong(format!("there is no query '{query}'")))?;
        if let Some(unknown) = args.keys().find(|name| !known.params.iter().any(|param| &param.name == *name)) {
            return Err(self.wrong(format!("query '{query}' has no parameter '{unknown}'")));
        }
        if let Some(time) = TIMES.into_iter().find(|time| args.contains_key(*time)) {
            return Err(self.wrong(format!("`{time}` is the dashboard's; a panel can look back less with `last`")));
        }
        let given = |param: &Parameter| self.given(param, args);
        Ok(self.form.target(id, known, fields, self.definitions, &self.form.datasource(), &given))
    }

    fn given(&self, param: &Parameter, args: &BTreeMap<String, String>) -> Option<Given> {
        if let Some(value) = args.get(&param.name) {
            return Some(fixed(value));
        }
        match param.name.as_str() {
            "from" => Some(Given::From),
            "to" => Some(Given::To),
            "bucket" => Some(Given::Bucket),
            name => self.board.variables.iter().find(|variable| *variable == name).cloned().map(Given::Variable),
        }
    }
}

impl Form {
    /// A query that gives a table of these columns; what is not given has its default.
    pub(super) fn target(
        self,
        id: &str,
        query: &NamedQuery,
        fields: &[&str],
        definitions: &Definitions,
        datasource: &Value,
        given: &dyn Fn(&Parameter) -> Option<Given>,
    ) -> Value {
        match self {
            Self::Postgres => json!({
                "refId": id, "datasource": datasource,
                "format": "table", "rawQuery": true, "editorMode": "code", "rawSql": statement(query, given),
            }),
            Self::Infinity => {
                let column = |name: &&str| {
                    let kind = definitions.kind(name);
                    json!({"selector": name, "text": name, "type": kind.infinity()})
                };
                json!({
                    "refId": id, "datasource": datasource,
                    "type": "json", "source": "url", "parser": "backend", "format": "table",
                    "url": url(query, given), "url_options": {"method": "GET", "data": ""},
                    "root_selector": "rows", "columns": fields.iter().map(column).collect::<Vec<_>>(), "filters": [],
                })
            }
        }
    }
}

fn statement(query: &NamedQuery, given: &dyn Fn(&Parameter) -> Option<Given>) -> String {
    let mut sql = query.statement().to_owned();
    for param in &query.params {
        let value = given(param).map_or_else(|| format!("({})", param.default), |given| given.sql(param));
        sql = put_in(&sql, &param.name, &value);
    }
    format!("-- polymeter: {}\n{sql}", query.name)
}

fn url(query: &NamedQuery, given: &dyn Fn(&Parameter) -> Option<Given>) -> String {
    let pairs = query.params.iter().filter_map(|param| Some(format!("{}={}", param.name, given(param)?.url())));
    let pairs: Vec<String> = pairs.collect();
    let ask = if pairs.is_empty() { "" } else { "?" };
    format!("/api/v1/queries/{}{ask}{}", query.name, pairs.join("&"))
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
