//! Grafana dashboards and alert rules, made from the named queries: a panel names a query and says which of its columns
//! it shows, so that every number has one definition.
//!
//! `dashboards/*.toml` says what is shown ([`Definitions`]); [`generate`] makes Grafana's JSON of it, once for the built-in
//! PostgreSQL data source and once for the Infinity data source over HTTP. Pure: text in, text out.

mod alert;
mod definition;
mod field;
mod options;
mod panel;
mod target;
mod variable;

#[cfg(test)]
mod tests;

pub use definition::{DefinitionError, Definitions};
pub use target::Form;

use serde_json::{Value, json};

use crate::queries::NamedQueries;
use definition::Dashboard;

/// What Grafana knows its dashboards by; newer ones are migrated by itself.
const SCHEMA_VERSION: u32 = 42;
/// Columns of Grafana's grid.
const GRID: u32 = 24;

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Path below the folder of all.
    pub path: String,
    /// JSON.
    pub text: String,
}

/// Everything of one form: the dashboards and the alert rules.
///
/// # Errors
/// A definition names what is not there.
pub fn generate(
    definitions: &Definitions,
    queries: &NamedQueries,
    form: Form,
) -> Result<Vec<Generated>, DefinitionError> {
    let mut files = Vec::new();
    for board in &definitions.dashboards {
        let maker = Maker { definitions, queries, form, board };
        files
            .push(Generated { path: format!("{}/{}.json", form.folder(), board.name), text: text(maker.dashboard()?) });
    }
    if let Some(alerts) = &definitions.alerts {
        let rules = alert::rules(alerts, definitions, queries, form)?;
        files.push(Generated { path: format!("alerting/{}.json", form.folder()), text: text(rules) });
    }
    Ok(files)
}

/// The same text for the same value: keys are sorted, whatever features serde_json was built with.
fn text(mut value: Value) -> String {
    value.sort_all_objects();
    format!("{value:#}\n")
}

/// Makes one dashboard in one form.
struct Maker<'a> {
    definitions: &'a Definitions,
    queries: &'a NamedQueries,
    form: Form,
    board: &'a Dashboard,
}

impl Maker<'_> {
    fn dashboard(&self) -> Result<Value, DefinitionError> {
        let board = self.board;
        Ok(json!({
            "uid": self.form.uid(&board.name),
            "title": board.title,
            "description": board.description,
            "tags": ["polymeter", self.form.tag()],
            "schemaVersion": SCHEMA_VERSION,
            "editable": true,
            "graphTooltip": 1,
            "refresh": board.refresh,
            "time": {"from": board.time, "to": "now"},
            "timezone": "utc",
            "links": [self.links()],
            "annotations": {"list": self.annotations()?},
            "templating": {"list": self.variables()?},
            "panels": self.panels()?,
        }))
    }

    /// The other dashboards of the same form, with the same time and variables.
    fn links(&self) -> Value {
        json!({
            "type": "dashboards", "tags": [self.form.tag()], "title": "polymeter", "tooltip": "", "icon": "external link",
            "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false, "url": "",
        })
    }

    fn annotations(&self) -> Result<Vec<Value>, DefinitionError> {
        let mut list = vec![json!({
            "builtIn": 1, "name": "Annotations & Alerts", "type": "dashboard", "enable": true, "hide": true,
            "iconColor": "rgba(0, 211, 255, 1)", "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        })];
        for name in &self.board.annotations {
            let known = self.definitions.annotations.get(name);
            let shown = known.ok_or_else(|| self.wrong(format!("there is no annotation '{name}'")))?;
            let fields: Vec<&str> = [Some(&shown.time), shown.end.as_ref(), Some(&shown.text)]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            let mut mappings = json!({
                "time": {"source": "field", "value": shown.time}, "text": {"source": "field", "value": shown.text},
            });
            if let (Some(end), Some(mappings)) = (&shown.end, mappings.as_object_mut()) {
                mappings.insert("timeEnd".to_owned(), json!({"source": "field", "value": end}));
            }
            list.push(json!({
                "name": shown.title, "enable": true, "hide": false, "iconColor": shown.color,
                "datasource": self.form.datasource(),
                "target": self.target("Anno", &shown.query, &fields, &shown.args)?,
                "mappings": mappings,
            }));
        }
        Ok(list)
    }

    fn panels(&self) -> Result<Vec<Value>, DefinitionError> {
        let mut panels: Vec<Value> = Vec::new();
        let mut y = 0;
        for row in &self.board.row {
            if let Some(title) = &row.title {
                panels.push(json!({
                    "id": panels.len() + 1, "type": "row", "title": title, "collapsed": false, "panels": [],
                    "gridPos": {"h": 1, "w": GRID, "x": 0, "y": y},
                }));
                y += 1;
            }
            let mut x = 0;
            for panel in &row.panel {
                if x > 0 && x + panel.width > GRID {
                    (x, y) = (0, y + row.height);
                }
                let mut made = self.panel(panel)?;
                if let Some(made) = made.as_object_mut() {
                    made.insert("id".to_owned(), json!(panels.len() + 1));
                    made.insert("gridPos".to_owned(), json!({"h": row.height, "w": panel.width, "x": x, "y": y}));
                }
                panels.push(made);
                x += panel.width;
            }
            y += row.height;
        }
        Ok(panels)
    }

    fn wrong(&self, what: String) -> DefinitionError {
        DefinitionError { file: self.board.name.clone(), what }
    }
}
