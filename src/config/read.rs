//! From TOML to [`Config`], collecting every problem on the way.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Config, ReceiverConfig};
use super::{access, budgets, receivers, rule_files, source};
use crate::telemetry::LogFormat;

/// Reads a whole file; `change` comes between reading and checking what belongs together.
pub fn read(text: &str, folder: &Path, change: impl FnOnce(&mut Config)) -> Result<Config, Vec<String>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| vec![error.to_string().trim().to_owned()])?;
    let mut problems = Vec::new();
    let mut config = Config::default();
    known(
        &table,
        "",
        &[
            "data",
            "writer",
            "http",
            "pg",
            "access",
            "otlp",
            "receiver",
            "settle",
            "retention",
            "log",
            "telemetry",
            "source",
            "attribution",
            "prices",
            "budget",
            "alert",
            "alerts",
        ],
        &mut problems,
    );
    let mut root = Section { name: "", table: &table, problems: &mut problems };
    root.text("data", &mut config.data);
    root.text("writer", &mut config.writer);
    access::read(&table, folder, &mut config, &mut problems);
    receivers::read(&table, &mut config, &mut problems);
    section(&table, "settle", &["role", "interval_s", "hot_s", "hot_rows"], &mut problems, |section| {
        section.seconds("interval_s", &mut config.settle_every);
        section.seconds("hot_s", &mut config.hot);
        section.count("hot_rows", &mut config.hot_rows);
        let mut role = "auto".to_owned();
        section.text("role", &mut role);
        match role.as_str() {
            "auto" => config.settles = true,
            "never" => config.settles = false,
            other => section.problem("role", format_args!("must be 'auto' or 'never', not '{other}'")),
        }
    });
    section(&table, "retention", &["observations_days", "calls_days"], &mut problems, |section| {
        section.days("observations_days", &mut config.keep_observations);
        section.days("calls_days", &mut config.keep_calls);
    });
    section(&table, "log", &["format", "level"], &mut problems, |section| {
        section.text("level", &mut config.log_level);
        let mut format = "text".to_owned();
        section.text("format", &mut format);
        match format.as_str() {
            "text" => config.log_format = LogFormat::Text,
            "json" => config.log_format = LogFormat::Json,
            other => section.problem("format", format_args!("must be 'text' or 'json', not '{other}'")),
        }
    });
    section(&table, "telemetry", &["traces_endpoint"], &mut problems, |section| {
        let mut endpoint = String::new();
        section.text("traces_endpoint", &mut endpoint);
        config.traces_endpoint = (!endpoint.is_empty()).then_some(endpoint);
    });
    rule_files::read(&table, folder, &mut config, &mut problems);
    budgets::read(&table, &mut config, &mut problems);
    sources(&table, folder, &mut config, &mut problems);
    change(&mut config);
    access::check(&config, &mut problems);
    receivers::check(&config, &mut problems);
    own_traces(&config, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn sources(table: &Table, folder: &Path, config: &mut Config, problems: &mut Vec<String>) {
    let listed = match table.get("source") {
        None => return,
        Some(Value::Array(listed)) => listed,
        Some(_) => return problems.push("'source' must be written as [[source]]".to_owned()),
    };
    for (index, entry) in listed.iter().enumerate() {
        let place = format!("source[{index}]");
        let Some(entry) = entry.as_table() else {
            problems.push(format!("{place} must be a table"));
            continue;
        };
        for source in source::read(entry, &place, folder, problems) {
            let taken = config.sources.iter().map(|other| &other.name);
            if taken.chain(config.all_receivers().map(|receiver| &receiver.name)).any(|name| *name == source.name) {
                problems.push(format!("{place}: the name '{}' is taken", source.name));
            }
            config.sources.push(source);
        }
    }
}

/// polymeter must not send its traces to itself: each would make new ones.
fn own_traces(config: &Config, problems: &mut Vec<String>) {
    let Some(endpoint) = &config.traces_endpoint else { return };
    let own = config.all_receivers().flat_map(ReceiverConfig::addresses).any(|(_, address)| {
        let port = format!(":{}", address.port());
        let host = endpoint.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
        host.ends_with(&port)
            && (host.starts_with("127.")
                || host.starts_with("localhost")
                || host.starts_with(&address.ip().to_string()))
    });
    if own {
        problems.push(format!("telemetry.traces_endpoint: '{endpoint}' is polymeter's own receiver"));
    }
}

pub(super) fn typed<T: DeserializeOwned>(place: &str, table: Table, problems: &mut Vec<String>) -> Option<T> {
    match Value::Table(table).try_into() {
        Ok(read) => Some(read),
        Err(error) => {
            problems.push(format!("{place}: {}", error.to_string().trim()));
            None
        }
    }
}

pub(super) fn section(
    table: &Table,
    name: &str,
    keys: &[&str],
    problems: &mut Vec<String>,
    read: impl FnOnce(&mut Section<'_>),
) {
    match table.get(name) {
        None => {}
        Some(Value::Table(inner)) => {
            known(inner, name, keys, problems);
            read(&mut Section { name, table: inner, problems });
        }
        Some(_) => problems.push(format!("'{name}' must be a section [{name}]")),
    }
}

pub(super) fn known(table: &Table, place: &str, keys: &[&str], problems: &mut Vec<String>) {
    for key in table.keys().filter(|key| !keys.contains(&key.as_str())) {
        let full = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        problems.push(format!("unknown key '{full}'; did you mean '{}'?", nearest(key, keys)));
    }
}

pub(super) fn nearest<'a>(word: &str, words: &[&'a str]) -> &'a str {
    let best = words.iter().max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    best.copied().unwrap_or_default()
}

pub(super) struct Section<'a> {
    pub name: &'a str,
    pub table: &'a Table,
    pub problems: &'a mut Vec<String>,
}

impl Section<'_> {
    pub fn problem(&mut self, key: &str, what: impl Display) {
        let full = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.problems.push(format!("{full}: {what}"));
    }

    pub fn text(&mut self, key: &str, into: &mut String) {
        match self.table.get(key) {
            None => {}
            Some(Value::String(text)) => into.clone_from(text),
            Some(other) => self.problem(key, format_args!("must be text, not {}", other.type_str())),
        }
    }

    pub fn count(&mut self, key: &str, into: &mut usize) {
        match self.table.get(key) {
            None => {}
            Some(Value::Integer(count)) if *count > 0 => *into = usize::try_from(*count).unwrap_or(usize::MAX),
            Some(other) => self.problem(key, format_args!("must be a number above 0, not {other}")),
        }
    }

    /// A number of days, or `"forever"`.
    fn days(&mut self, key: &str, into: &mut Option<Duration>) {
        match self.table.get(key) {
            None => {}
            Some(Value::String(text)) if text == "forever" => *into = None,
            Some(Value::Integer(days)) if *days > 0 => {
                *into = Some(Duration::from_secs(days.unsigned_abs().saturating_mul(86_400)));
            }
            Some(other) => {
                self.problem(key, format_args!("must be a number of days above 0 or \"forever\", not {other}"))
            }
        }
    }

    pub fn seconds(&mut self, key: &str, into: &mut Duration) {
        match self.table.get(key) {
            None => {}
            Some(Value::Integer(seconds)) if *seconds > 0 => *into = Duration::from_secs(seconds.unsigned_abs()),
            Some(other) => self.problem(key, format_args!("must be a number of seconds above 0, not {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Config, Vec<String>> {
        read(text, Path::new(""), |_| {})
    }

    #[test]
    fn tells_every_problem_at_once_with_the_nearest_key() {
        let text = "dta = 'x'\n[http]\nlisten = 'nowhere'\n[otlp]\ngrcp = '1'\n[[source]]\nname = 'a'\nkind = 'bedrok'\nlocation = 's3://b'\n[[source]]\nkind = 'azure'\n";
        let problems = of(text).unwrap_err().join("\n");
        for expected in [
            "'dta'; did you mean 'data'",
            "http.listen",
            "did you mean 'grpc'",
            "did you mean 'bedrock'",
            "source[1].name: is required",
        ] {
            assert!(problems.contains(expected), "{expected} not in {problems}");
        }
    }

    #[test]
    fn refuses_to_trace_into_itself_and_reads_sources() {
        let own = "[telemetry]\ntraces_endpoint = 'http://localhost:4317'\n";
        assert!(of(own).unwrap_err()[0].contains("own receiver"));
        let config = of("[[source]]\nname='b'\nkind='bedrock'\nlocation='./logs'\nregion='us-east-1'\n").unwrap();
        assert_eq!(config.sources.len(), 1);
        assert!(
            of("[[source]]\nname='b'\nkind='bedrock'\nlocation='./logs'\nregoin='us'\n").unwrap_err()[0]
                .contains("did you mean 'region'")
        );
        assert_eq!(of("").unwrap(), Config::default());
    }
}
