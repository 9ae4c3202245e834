//! Alert rules as Grafana's provisioning reads them (JSON is YAML). The time that a rule looks at is the query's own
//! default, so that both data sources look at the same.

use serde_json::{Value, json};

use super::definition::{Alerts, DefinitionError, Definitions, Rule};
use super::target::{Form, TIMES, fixed};
use crate::queries::{NamedQueries, Parameter};

/// The data source of Grafana's own expressions.
const EXPRESSIONS: &str = "__expr__";

pub(super) fn rules(
    alerts: &Alerts,
    definitions: &Definitions,
    queries: &NamedQueries,
    form: Form,
) -> Result<Value, DefinitionError> {
    let rules: Result<Vec<Value>, _> = alerts.rule.iter().map(|rule| one(rule, definitions, queries, form)).collect();
    let group = json!({
        "orgId": 1, "name": alerts.group, "folder": alerts.folder, "interval": alerts.interval, "rules": rules?,
    });
    Ok(json!({"apiVersion": 1, "groups": [group]}))
}

fn one(rule: &Rule, definitions: &Definitions, queries: &NamedQueries, form: Form) -> Result<Value, DefinitionError> {
    let wrong =
        |what: String| DefinitionError { file: "alerts".to_owned(), what: format!("rule '{}' {what}", rule.name) };
    let (source, model) = match (&rule.query, &rule.expr, &rule.value) {
        (Some(query), None, Some(value)) => {
            let known =
                queries.get(query).ok_or_else(|| wrong(format!("asks the query '{query}', which is not there")))?;
            if TIMES.iter().any(|time| rule.args.contains_key(*time)) {
                return Err(wrong("looks at the time that its query has by default".to_owned()));
            }
            if let Some(unknown) = rule.args.keys().find(|name| !known.params.iter().any(|param| &param.name == *name))
            {
                return Err(wrong(format!("gives '{unknown}', which its query does not take")));
            }
            let mut fields: Vec<&str> = rule.labels.iter().map(String::as_str).collect();
            fields.push(value);
            let given = |param: &Parameter| rule.args.get(&param.name).map(|value| fixed(value));
            let datasource = json!({"type": form.plugin(), "uid": form.provisioned()});
            let mut target = form.target("A", known, &fields, definitions, &datasource, &given);
            if let Some(sql) = target.get_mut("rawSql") {
                // An alert takes text as labels and one number; other columns would be further series.
                *sql = json!(format!(
                    "SELECT {} FROM (\n{}\n) AS asked",
                    fields.join(", "),
                    sql.as_str().unwrap_or_default()
                ));
            }
            (form.provisioned(), target)
        }
        (None, Some(expr), None) => {
            ("polymeter-prometheus".to_owned(), json!({"refId": "A", "expr": expr, "instant": true, "range": false}))
        }
        _ => return Err(wrong("needs a query and its value, or an expression of Prometheus".to_owned())),
    };
    let (evaluator, bound) = match (rule.above, rule.below) {
        (Some(bound), None) => ("gt", bound),
        (None, Some(bound)) => ("lt", bound),
        _ => return Err(wrong("needs either `above` or `below`".to_owned())),
    };
    let range = json!({"from": 3600, "to": 0});
    let condition = json!({
        "refId": "B", "type": "threshold", "expression": "A", "datasource": {"type": EXPRESSIONS, "uid": EXPRESSIONS},
        "conditions": [{"type": "query", "evaluator": {"type": evaluator, "params": [bound]}}],
    });
    Ok(json!({
        "uid": format!("polymeter-{}", rule.name),
        "title": rule.title,
        "condition": "B",
        "data": [
            {"refId": "A", "datasourceUid": source, "relativeTimeRange": range, "model": model},
            {"refId": "B", "datasourceUid": EXPRESSIONS, "relativeTimeRange": range, "model": condition},
        ],
        // No row is no such thing; that polymeter is not there tells its own rule.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": rule.lasting,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary, "description": rule.description, "dashboard": format!("/d/{}", form.uid(&rule.dashboard)),
        },
    }))
}
