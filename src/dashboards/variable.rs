//! Variables: the data source, columns of calls to choose a value of, and fixed choices.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Maker;
use super::definition::{Choice, DefinitionError};

/// The query that lists what there is to choose from.
const VALUES: &str = "filter_values";

impl Maker<'_> {
    pub(super) fn variables(&self) -> Result<Vec<Value>, DefinitionError> {
        let mut list = vec![datasource("datasource", "Data source", self.form.plugin(), &self.form.provisioned())];
        let panels = || self.board.row.iter().flat_map(|row| &row.panel);
        if panels().any(|panel| panel.query.is_none()) {
            list.push(datasource("prometheus", "Prometheus", "prometheus", "polymeter-prometheus"));
        }
        for name in &self.board.variables {
            list.push(self.column(name)?);
        }
        list.extend(self.board.choice.iter().map(choice));
        Ok(list)
    }

    fn column(&self, name: &str) -> Result<Value, DefinitionError> {
        let args = BTreeMap::from([("column".to_owned(), name.to_owned())]);
        let target = self.target("variable", VALUES, &["value"], &args)?;
        // The PostgreSQL data source takes the statement, Infinity its own query.
        let query = target.get("rawSql").cloned().unwrap_or_else(
            || json!({"queryType": "infinity", "refId": "variable", "query": "", "infinityQuery": target}),
        );
        Ok(json!({
            "type": "query", "name": name, "label": capital(name), "datasource": self.form.datasource(), "query": query,
            "includeAll": true, "allValue": self.form.all(), "multi": false, "refresh": 2, "sort": 1, "hide": 0,
            "regex": "", "options": [], "current": {"text": "All", "value": "$__all"},
        }))
    }
}

fn datasource(name: &str, label: &str, plugin: &str, uid: &str) -> Value {
    json!({
        "type": "datasource", "name": name, "label": label, "query": plugin, "includeAll": false, "multi": false,
        "refresh": 1, "regex": "", "hide": 0, "options": [], "current": {"text": uid, "value": uid},
    })
}

fn choice(choice: &Choice) -> Value {
    let first = choice.values.first();
    let option = |value: &String| json!({"text": value, "value": value, "selected": Some(value) == first});
    json!({
        "type": "custom", "name": choice.name, "label": choice.title, "query": choice.values.join(","), "includeAll": false,
        "multi": false, "hide": 0, "options": choice.values.iter().map(option).collect::<Vec<_>>(),
        "current": {"text": first, "value": first},
    })
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
