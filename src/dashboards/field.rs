//! How columns are shown: title, unit, colors.

use serde_json::{Value, json};

use super::Maker;
use super::definition::{Definitions, Field, FieldKind, Kind, Panel};

impl FieldKind {
    /// The word of the Infinity data source.
    pub(super) const fn infinity(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Boolean => "boolean",
        }
    }
}

impl Definitions {
    /// What a column holds: a number unless said otherwise.
    pub(super) fn kind(&self, field: &str) -> FieldKind {
        self.fields.get(field).map(|known| known.kind).unwrap_or_default()
    }

    fn title(&self, field: &str) -> String {
        let words = || {
            let spaced = field.replace('_', " ");
            let mut letters = spaced.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        };
        self.fields.get(field).and_then(|known| known.title.clone()).unwrap_or_else(words)
    }
}

/// Green, and from each value on the color beside it.
pub(super) fn thresholds(steps: &[(f64, String)]) -> Value {
    let first = json!({"color": "green", "value": null});
    let rest = steps.iter().map(|(value, color)| json!({"color": color, "value": value}));
    json!({"mode": "absolute", "steps": std::iter::once(first).chain(rest).collect::<Vec<_>>()})
}

impl Maker<'_> {
    /// What holds for all columns of a panel, and what for some.
    pub(super) fn field_config(&self, panel: &Panel) -> Value {
        let drawn = panel.value.first().or_else(|| panel.columns.first());
        let main = drawn.and_then(|name| self.definitions.fields.get(name)).cloned().unwrap_or_default();
        let steps = if panel.thresholds.is_empty() { &main.thresholds } else { &panel.thresholds };
        let by_steps = panel.kind == Kind::StateTimeline || panel.kind == Kind::Stat;
        let mut defaults = json!({
            "color": {"mode": if by_steps { "thresholds" } else { "palette-classic" }},
            "thresholds": thresholds(steps),
            "noValue": "unknown",
            "custom": super::options::custom(panel),
        });
        if let Some(defaults) = defaults.as_object_mut() {
            let mut set = |name: &str, value: Option<Value>| value.map(|value| defaults.insert(name.to_owned(), value));
            if panel.kind != Kind::Table {
                set("unit", panel.unit.clone().or(main.unit).map(Value::from));
                set("decimals", main.decimals.map(Value::from));
            }
            set("max", panel.max.map(Value::from));
            set("displayName", series_name(panel).map(Value::from));
        }
        json!({"defaults": defaults, "overrides": self.overrides(panel)})
    }

    fn overrides(&self, panel: &Panel) -> Vec<Value> {
        let named = panel.kind == Kind::Table || panel.series.is_empty() || panel.kind == Kind::Bar;
        let of = |name: &&str| {
            let field = self.definitions.fields.get(*name).cloned().unwrap_or_default();
            let mut properties = Vec::new();
            let mut set = |id: &str, value: Value| properties.push(json!({"id": id, "value": value}));
            if named {
                set("displayName", json!(self.definitions.title(name)));
            }
            if panel.kind == Kind::Table {
                self.table_field(panel, name, &field, &mut set);
            }
            (!properties.is_empty())
                .then(|| json!({"matcher": {"id": "byName", "options": name}, "properties": properties}))
        };
        panel.fields().iter().filter_map(of).collect()
    }

    fn table_field(&self, panel: &Panel, name: &str, field: &Field, set: &mut dyn FnMut(&str, Value)) {
        if let Some(unit) = &field.unit {
            set("unit", json!(unit));
        }
        if let Some(decimals) = field.decimals {
            set("decimals", json!(decimals));
        }
        if !field.thresholds.is_empty() {
            set("thresholds", thresholds(&field.thresholds));
            set("custom.cellOptions", json!({"type": "color-text"}));
            set("color", json!({"mode": "thresholds"}));
        }
        if !field.colors.is_empty() {
            let colors =
                field.colors.iter().map(|(value, color)| (value.clone(), json!({"color": color, "text": value})));
            let options: serde_json::Map<String, Value> = colors.collect();
            set("mappings", json!([{"type": "value", "options": options}]));
            set("custom.cellOptions", json!({"type": "color-text"}));
        }
        if let Some(board) = panel.links.get(name) {
            set("links", json!([self.link(board, name)]));
        }
    }

    /// Opens another dashboard of the same form with the value that was clicked, the same time and the other variables.
    fn link(&self, board: &str, field: &str) -> Value {
        let title =
            self.definitions.dashboards.iter().find(|known| known.name == board).map_or(board, |known| &known.title);
        let others = self.board.variables.iter().filter(|name| *name != field);
        let others: String = others.map(|name| format!("&${{{name}:queryparam}}")).collect();
        let url = format!(
            "/d/{}?${{__url_time_range}}&var-{field}=${{__value.raw:percentencode}}{others}",
            self.form.uid(board)
        );
        json!({"title": format!("Open in {title}"), "url": url})
    }
}

/// The name of a line: the values of the series' columns.
fn series_name(panel: &Panel) -> Option<String> {
    if panel.series.is_empty() || matches!(panel.kind, Kind::Table | Kind::Bar) {
        return None;
    }
    let several = (panel.value.len() > 1).then(|| "${__field.name}".to_owned());
    let labels = panel.series.iter().map(|name| format!("${{__field.labels.{name}}}"));
    Some(labels.chain(several).collect::<Vec<_>>().join(" "))
}
