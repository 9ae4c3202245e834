//! What `dashboards/*.toml` says.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Files that are no dashboard.
const FIELDS: &str = "fields";
const ANNOTATIONS: &str = "annotations";
const ALERTS: &str = "alerts";

/// What is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dashboards/{file}.toml: {what}")]
pub struct DefinitionError {
    /// Name of the file, without its ending.
    pub file: String,
    /// What.
    pub what: String,
}

/// All definitions.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    pub(super) dashboards: Vec<Dashboard>,
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) annotations: BTreeMap<String, Annotation>,
    pub(super) alerts: Option<Alerts>,
}

macro_rules! bundled {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../dashboards/", $name, ".toml")))),+]
    };
}

impl Definitions {
    /// The definitions that are part of the binary.
    ///
    /// # Errors
    /// Never in a released binary: a test reads them.
    pub fn bundled() -> Result<Self, DefinitionError> {
        let mut all = Self::default();
        let files = bundled![
            "fields",
            "annotations",
            "alerts",
            "overview",
            "cost",
            "provider-health",
            "same-model",
            "coverage",
            "slo",
            "self",
        ];
        files.iter().try_for_each(|(name, text)| all.add(name, text))?;
        Ok(all)
    }

    /// Adds a file by its name without ending: `fields`, `annotations`, `alerts`, or a dashboard, which takes the place of
    /// one of the same name.
    ///
    /// # Errors
    /// It can't be read as what it should be.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), DefinitionError> {
        match name {
            FIELDS => self.fields.extend(read::<BTreeMap<_, _>>(name, text)?),
            ANNOTATIONS => self.annotations.extend(read::<BTreeMap<_, _>>(name, text)?),
            ALERTS => self.alerts = Some(read(name, text)?),
            _ => {
                let board = Dashboard { name: name.to_owned(), ..read(name, text)? };
                self.dashboards.retain(|known| known.name != name);
                self.dashboards.push(board);
            }
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, DefinitionError> {
    toml::from_str(text).map_err(|error| DefinitionError { file: name.to_owned(), what: error.to_string() })
}

/// A column of any query: how it is called and shown everywhere.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Field {
    /// What people read; the name without underscores if there is none.
    pub title: Option<String>,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Grafana's word for the unit.
    pub unit: Option<String>,
    pub decimals: Option<u32>,
    /// From a value on, a color; green below the first.
    pub thresholds: Vec<(f64, String)>,
    /// Values and their colors.
    pub colors: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FieldKind {
    #[default]
    Number,
    String,
    Timestamp,
    Boolean,
}

/// Marks on the time axis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Annotation {
    pub title: String,
    pub query: String,
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    pub color: String,
    pub time: String,
    pub end: Option<String>,
    pub text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dashboard {
    /// Name of its file.
    #[serde(skip)]
    pub name: String,
    pub title: String,
    pub description: String,
    /// How far back it looks at first.
    #[serde(default = "a_day")]
    pub time: String,
    #[serde(default = "a_minute")]
    pub refresh: String,
    /// Columns of calls to choose a value of.
    #[serde(default)]
    pub variables: Vec<String>,
    /// Other things to choose from.
    #[serde(default)]
    pub choice: Vec<Choice>,
    #[serde(default)]
    pub annotations: Vec<String>,
    pub row: Vec<Row>,
}

/// A variable with fixed values, the first of which holds at first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    pub name: String,
    pub title: String,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub title: Option<String>,
    #[serde(default = "usual_height")]
    pub height: u32,
    pub panel: Vec<Panel>,
}

/// A panel shows columns of a query, or metrics of Prometheus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Panel {
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub kind: Kind,
    /// Of 24 columns.
    pub width: u32,
    pub query: Option<String>,
    /// Parameters of the query that are neither time nor variables; `$name` is a choice of the dashboard.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Column of the time axis.
    pub time: Option<String>,
    /// Columns whose values name a line; of bars the column of the other axis.
    #[serde(default)]
    pub series: Vec<String>,
    /// Columns of numbers that are drawn.
    #[serde(default)]
    pub value: Vec<String>,
    /// Columns of a table, or the numbers of a stat.
    #[serde(default)]
    pub columns: Vec<String>,
    #[serde(default)]
    pub metric: Vec<Metric>,
    /// Unit and thresholds, where the field has none or others.
    pub unit: Option<String>,
    #[serde(default)]
    pub thresholds: Vec<(f64, String)>,
    pub max: Option<f64>,
    /// Lines on top of each other, as bars.
    #[serde(default)]
    pub stack: bool,
    /// Shortest bucket.
    pub interval: Option<String>,
    /// Looks back so far, whatever the dashboard does.
    pub last: Option<String>,
    /// By column, the dashboard that a click on a value opens with that value chosen.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

impl Panel {
    /// The columns that it shows.
    pub fn fields(&self) -> Vec<&str> {
        self.time.iter().chain(&self.series).chain(&self.value).chain(&self.columns).map(String::as_str).collect()
    }
}

/// A metric of Prometheus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metric {
    pub expr: String,
    pub legend: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Stat,
    Timeseries,
    StateTimeline,
    Table,
    Bar,
}

/// Alert rules of one folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alerts {
    pub folder: String,
    pub group: String,
    pub interval: String,
    pub rule: Vec<Rule>,
}

/// Fires for each row of a query, or series of Prometheus, whose value is above or below a bound.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub name: String,
    pub title: String,
    pub query: Option<String>,
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Columns that tell the rows apart.
    #[serde(default)]
    pub labels: Vec<String>,
    pub value: Option<String>,
    pub expr: Option<String>,
    pub above: Option<f64>,
    pub below: Option<f64>,
    #[serde(rename = "for")]
    pub lasting: String,
    pub severity: String,
    pub summary: String,
    pub description: String,
    /// The dashboard that tells more.
    pub dashboard: String,
}

fn a_day() -> String {
    "now-24h".to_owned()
}

fn a_minute() -> String {
    "1m".to_owned()
}

const fn usual_height() -> u32 {
    8
}
