//! `[[budget]]` and `[[alert]]`: what may be spent, and who is told.

use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;
use toml::{Table, Value};

use super::Config;
use super::read::{Section, known};
use crate::finance::ask::{Ask, Column};
use crate::finance::budget::Plan;
use crate::finance::calendar::Zone;
use crate::finance::forecast::Budget;

/// Percent of a budget at which somebody is told, unless the budget says others.
const THRESHOLDS: [i64; 2] = [80, 100];
/// Most thresholds of a budget.
const MOST_THRESHOLDS: usize = 20;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertTarget {
    /// Unique name; alerts that were sent are remembered under it.
    pub name: String,
    /// What it understands.
    pub kind: AlertTargetKind,
    /// Where it is; never logged, because the path of a webhook is its password.
    pub url: UrlSource,
}

/// What a target understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertTargetKind {
    /// A POST of one JSON object.
    Webhook,
    /// The v2 API of Alertmanager.
    Alertmanager,
}

/// Where a URL is found.
#[derive(Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// In the configuration: for addresses that are no secret.
    Plain(String),
    /// In an environment variable.
    Variable(String),
    /// In a file, read again for every alert.
    File(PathBuf),
}

impl std::fmt::Debug for UrlSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain"),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Budgets and who is told about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// What may be spent.
    pub plans: Vec<Plan>,
    /// Who is told.
    pub targets: Vec<AlertTarget>,
    /// Pause between two looks.
    pub every: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { plans: Vec::new(), targets: Vec::new(), every: Duration::from_secs(300) }
    }
}

/// Reads them all.
pub(super) fn read(table: &Table, config: &mut Config, problems: &mut Vec<String>) {
    super::read::section(table, "alerts", &["interval_s"], problems, |section| {
        section.seconds("interval_s", &mut config.budgets.every);
    });
    for (place, entry) in listed(table, "budget", problems) {
        let before = problems.len();
        let plan = budget(&entry, &place, problems);
        if let Some(plan) = plan.filter(|_| problems.len() == before) {
            if config.budgets.plans.iter().any(|other| other.budget.name == plan.budget.name) {
                problems.push(format!("{place}: the name '{}' is taken", plan.budget.name));
            }
            config.budgets.plans.push(plan);
        }
    }
    for (place, entry) in listed(table, "alert", problems) {
        if let Some(target) = target(&entry, &place, problems) {
            if config.budgets.targets.iter().any(|other| other.name == target.name) {
                problems.push(format!("{place}: the name '{}' is taken", target.name));
            }
            config.budgets.targets.push(target);
        }
    }
}

fn listed(table: &Table, name: &str, problems: &mut Vec<String>) -> Vec<(String, Table)> {
    let listed = match table.get(name) {
        None => return Vec::new(),
        Some(Value::Array(listed)) => listed,
        Some(_) => {
            problems.push(format!("'{name}' must be written as [[{name}]]"));
            return Vec::new();
        }
    };
    let mut tables = Vec::new();
    for (index, entry) in listed.iter().enumerate() {
        let place = format!("{name}[{index}]");
        match entry.as_table() {
            Some(table) => tables.push((place, table.clone())),
            None => problems.push(format!("{place} must be a table")),
        }
    }
    tables
}

fn budget(entry: &Table, place: &str, problems: &mut Vec<String>) -> Option<Plan> {
    known(entry, place, &["name", "amount", "currency", "filter", "thresholds", "time_zone"], problems);
    let mut section = Section { name: place, table: entry, problems };
    let (mut name, mut currency, mut zone) = (String::new(), String::new(), "UTC".to_owned());
    for (key, value) in [("name", &mut name), ("currency", &mut currency)] {
        section.text(key, value);
        if value.is_empty() {
            section.problem(key, "is required");
        }
    }
    section.text("time_zone", &mut zone);
    if !currency.is_empty() && (currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase())) {
        section.problem("currency", format_args!("'{currency}' is no ISO 4217 code; write it as \"EUR\""));
    }
    let amount = match entry.get("amount") {
        None => {
            section.problem("amount", "is required");
            None
        }
        Some(value) => decimal(&mut section, "amount", value),
    };
    let thresholds = match entry.get("thresholds") {
        None => THRESHOLDS.map(Decimal::from).to_vec(),
        Some(Value::Array(values)) if values.len() <= MOST_THRESHOLDS => {
            values.iter().filter_map(|value| decimal(&mut section, "thresholds", value)).collect()
        }
        Some(_) => {
            section.problem(
                "thresholds",
                format_args!("must be a list of at most {MOST_THRESHOLDS} percentages: [80, 100]"),
            );
            Vec::new()
        }
    };
    let filter = filter(&mut section);
    let zone: Option<Zone> = match zone.parse() {
        Ok(zone) => Some(zone),
        Err(error) => {
            section.problem("time_zone", error);
            None
        }
    };
    Some(Plan { budget: Budget { name, amount: amount?, currency, thresholds }, filter, zone: zone? })
}

/// A number above 0, exact: as text, or a whole number. A TOML fraction is a float, and money is none.
fn decimal(section: &mut Section<'_>, key: &str, value: &Value) -> Option<Decimal> {
    let read = match value {
        Value::Integer(number) => Some(Decimal::from(*number)),
        Value::String(text) => Decimal::from_str_exact(text).ok(),
        _ => None,
    };
    match read {
        Some(read) if read > Decimal::ZERO => Some(read),
        _ => {
            section.problem(key, format_args!("must be above 0, a whole number or text as \"1234.50\", not {value}"));
            None
        }
    }
}

fn filter(section: &mut Section<'_>) -> Vec<(Column, Vec<String>)> {
    let given = match section.table.get("filter") {
        None => return Vec::new(),
        Some(Value::Table(given)) => given.clone(),
        Some(_) => {
            section.problem("filter", "must be written as { team = \"search\" }");
            return Vec::new();
        }
    };
    let mut filter = Vec::new();
    for (name, value) in given {
        let column = match Ask::new("2026-01", &name, None, None).map(|ask| ask.by) {
            Ok(by) if by.len() == 1 => by.into_iter().next(),
            Ok(_) => None,
            Err(error) => {
                section.problem("filter", error);
                continue;
            }
        };
        let values = match value {
            Value::String(one) => Some(vec![one]),
            Value::Array(several) => several.into_iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        match (column, values) {
            (Some(column), Some(values)) if !values.is_empty() => filter.push((column, values)),
            _ => section.problem("filter", format_args!("'{name}' must be text or a list of texts")),
        }
    }
    if filter.len() > 6 {
        section.problem("filter", "has more than 6 columns");
    }
    filter
}

fn target(entry: &Table, place: &str, problems: &mut Vec<String>) -> Option<AlertTarget> {
    known(entry, place, &["name", "kind", "url", "url_env", "url_file"], problems);
    let before = problems.len();
    let mut section = Section { name: place, table: entry, problems };
    let (mut name, mut kind) = (String::new(), String::new());
    for (key, value) in [("name", &mut name), ("kind", &mut kind)] {
        section.text(key, value);
        if value.is_empty() {
            section.problem(key, "is required");
        }
    }
    let kind = match kind.as_str() {
        "alertmanager" => AlertTargetKind::Alertmanager,
        "webhook" | "" => AlertTargetKind::Webhook,
        other => {
            section.problem("kind", format_args!("must be 'webhook' or 'alertmanager', not '{other}'"));
            AlertTargetKind::Webhook
        }
    };
    let mut urls = Vec::new();
    for key in ["url", "url_env", "url_file"] {
        let mut value = String::new();
        section.text(key, &mut value);
        if value.is_empty() {
            continue;
        }
        urls.push(match key {
            "url_env" => UrlSource::Variable(value),
            "url_file" => UrlSource::File(PathBuf::from(value)),
            _ => {
                // Whoever reads the file would read the password.
                if value.contains('@') || value.contains('?') {
                    section.problem(key, "looks as if it held a secret; put it into url_file or url_env");
                }
                if !value.starts_with("http://") && !value.starts_with("https://") {
                    section.problem(key, "must begin with http:// or https://");
                }
                UrlSource::Plain(value)
            }
        });
    }
    if urls.len() != 1 {
        section.problem("url", "give one of url, url_env and url_file");
    }
    if problems.len() > before { None } else { urls.pop().map(|url| AlertTarget { name, kind, url }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_with_their_defaults() {
        let config = Config::parse(
            "[alerts]\ninterval_s = 60\n[[budget]]\nname = 'search'\namount = '1234.50'\ncurrency = 'EUR'\n\
             filter = { team = 'search', model = ['gpt-4o', 'gpt-4.1'] }\ntime_zone = 'Europe/Berlin'\n\
             [[budget]]\nname = 'all'\namount = 100\ncurrency = 'USD'\nthresholds = [50, '99.5']\n\
             [[alert]]\nname = 'ops'\nkind = 'alertmanager'\nurl = 'http://127.0.0.1:9093'\n\
             [[alert]]\nname = 'chat'\nkind = 'webhook'\nurl_env = 'HOOK'\n",
        )
        .unwrap();
        let plans = &config.budgets.plans;
        assert_eq!(
            (plans[0].told().as_str(), plans[1].told().as_str()),
            ("model gpt-4o or gpt-4.1, team search", "everything")
        );
        assert_eq!(plans[0].budget.thresholds, [Decimal::from(80), Decimal::from(100)]);
        assert_eq!(config.budgets.targets.len(), 2);
        assert!(!format!("{:?}", config.budgets).contains("9093"));
    }

    #[test]
    fn every_mistake_is_told() {
        let problems = Config::parse(
            "[[budget]]\nname = 'a'\namount = 1.5\ncurrency = 'Euro'\nfilter = { teem = 'x' }\ntime_zone = 'Berlin'\n\
             [[budget]]\namount = '-1'\ncurrency = 'EUR'\nthreshold = [1]\n\
             [[alert]]\nname = 'x'\nkind = 'mail'\nurl = 'https://h/?token=1'\n[[alert]]\nname = 'y'\nkind = 'webhook'\n",
        )
        .unwrap_err()
        .join("\n");
        for expected in [
            "budget[0].amount: must be above 0",
            "no ISO 4217",
            "did you mean 'team'",
            "did you mean 'Europe/Berlin'",
            "budget[1].name: is required",
            "did you mean 'thresholds'",
            "must be 'webhook' or 'alertmanager'",
            "looks as if it held a secret",
            "give one of url, url_env and url_file",
        ] {
            assert!(problems.contains(expected), "{expected} not in {problems}");
        }
    }
}
