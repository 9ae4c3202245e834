//! One panel.

use serde_json::{Value, json};

use super::Maker;
use super::definition::{DefinitionError, Kind, Panel};
use super::options::{options, transformations};

impl Maker<'_> {
    pub(super) fn panel(&self, panel: &Panel) -> Result<Value, DefinitionError> {
        let wrong = |what: &str| Err(self.wrong(format!("panel '{}' {what}", panel.title)));
        let axis = matches!(panel.kind, Kind::Timeseries | Kind::StateTimeline);
        let (datasource, targets) = match &panel.query {
            Some(_) if !panel.metric.is_empty() => return wrong("has a query and metrics"),
            Some(_) if axis != panel.time.is_some() => {
                return wrong("needs `time` if it has a time axis, and only then");
            }
            Some(_) if panel.fields().is_empty() => return wrong("shows no column"),
            Some(query) => (self.form.datasource(), vec![self.target("A", query, &panel.fields(), &panel.args)?]),
            None if panel.metric.is_empty() => return wrong("has neither a query nor a metric"),
            None => (prometheus(), metrics(panel)),
        };
        if let Some(missing) =
            panel.links.values().find(|name| !self.definitions.dashboards.iter().any(|b| b.name == **name))
        {
            return wrong(&format!("links to '{missing}', which is not there"));
        }
        let mut made = json!({
            "type": panel.kind.plugin(),
            "title": panel.title,
            "description": self.description(panel),
            "datasource": datasource,
            "targets": targets,
            "fieldConfig": self.field_config(panel),
            "options": options(panel, self.definitions),
            "transformations": transformations(panel),
        });
        let more = [("interval", &panel.interval), ("timeFrom", &panel.last)];
        for (name, value) in more.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            if let Some(made) = made.as_object_mut() {
                made.insert(name.to_owned(), json!(value));
            }
        }
        Ok(made)
    }

    /// What the panel says of itself, else what its query says; always with the units.
    fn description(&self, panel: &Panel) -> String {
        let Some(query) = panel.query.as_deref().and_then(|name| self.queries.get(name)) else {
            return panel.description.clone();
        };
        let own = if panel.description.is_empty() { &query.description } else { &panel.description };
        format!("{own}\n\nUnits: {}\n\nQuery: `{}`", query.unit, query.name)
    }
}

/// The data source of polymeter's own metrics.
pub(super) fn prometheus() -> Value {
    json!({"type": "prometheus", "uid": "${prometheus}"})
}

fn metrics(panel: &Panel) -> Vec<Value> {
    let instant = matches!(panel.kind, Kind::Stat | Kind::Table | Kind::Bar);
    let ids = (b'A'..=b'Z').map(char::from);
    let one = |(id, metric): (char, &super::definition::Metric)| {
        json!({
            "refId": id.to_string(), "datasource": prometheus(), "expr": metric.expr, "legendFormat": metric.legend,
            "instant": instant, "range": !instant, "editorMode": "code",
        })
    };
    ids.zip(&panel.metric).map(one).collect()
}
