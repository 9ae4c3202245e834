//! Grafana's settings of each kind of panel.

use serde_json::{Value, json};

use super::definition::{Definitions, FieldKind, Kind, Panel};

impl Kind {
    /// Grafana's name.
    pub(super) const fn plugin(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Timeseries => "timeseries",
            Self::StateTimeline => "state-timeline",
            Self::Table => "table",
            Self::Bar => "barchart",
        }
    }
}

/// Settings of the panel.
pub(super) fn options(panel: &Panel, definitions: &Definitions) -> Value {
    let legend = json!({"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true});
    let tooltip = json!({"mode": "multi", "sort": "desc"});
    match panel.kind {
        Kind::Stat => {
            let numbers = panel.columns.iter().all(|name| definitions.kind(name) == FieldKind::Number);
            json!({
                "reduceOptions": {"calcs": ["lastNotNull"], "values": false, "fields": if numbers { "" } else { "/.*/" }},
                "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
                "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
            })
        }
        Kind::Timeseries => json!({"legend": legend, "tooltip": tooltip}),
        Kind::StateTimeline => json!({
            "legend": legend, "tooltip": tooltip, "mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.9,
        }),
        Kind::Table => json!({"showHeader": true, "cellHeight": "sm"}),
        Kind::Bar => json!({
            "legend": legend, "tooltip": tooltip, "xField": panel.series.first(), "orientation": "horizontal",
            "stacking": "none", "showValue": "auto", "barWidth": 0.9, "groupWidth": 0.7, "fullHighlight": false,
            "xTickLabelRotation": 0, "xTickLabelMaxLength": 30,
        }),
    }
}

/// Settings of the columns that only this kind of panel knows.
pub(super) fn custom(panel: &Panel) -> Value {
    match panel.kind {
        Kind::Stat => json!({}),
        Kind::Timeseries if panel.stack => json!({
            "drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"},
        }),
        Kind::Timeseries => {
            json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "auto", "spanNulls": false})
        }
        Kind::StateTimeline => json!({"lineWidth": 0, "fillOpacity": 80}),
        Kind::Table => json!({"align": "auto", "cellOptions": {"type": "auto"}, "filterable": true}),
        Kind::Bar => json!({"lineWidth": 1, "fillOpacity": 80}),
    }
}

/// From the columns of a query to what the panel draws; the same for both data sources.
pub(super) fn transformations(panel: &Panel) -> Vec<Value> {
    if panel.query.is_none() {
        return Vec::new();
    }
    let fields = panel.fields();
    let mut list = vec![json!({"id": "filterFieldsByName", "options": {"include": {"names": fields}}})];
    match (&panel.time, panel.kind) {
        (Some(time), Kind::Timeseries | Kind::StateTimeline) => {
            list.push(json!({"id": "sortBy", "options": {"fields": {}, "sort": [{"field": time, "desc": false}]}}));
            list.push(json!({"id": "prepareTimeSeries", "options": {"format": "multi"}}));
        }
        (_, Kind::Table) => {
            let places: serde_json::Map<String, Value> =
                fields.iter().enumerate().map(|(place, name)| ((*name).to_owned(), json!(place))).collect();
            let options = json!({"indexByName": places, "excludeByName": {}, "includeByName": {}, "renameByName": {}});
            list.push(json!({"id": "organize", "options": options}));
        }
        _ => {}
    }
    list
}
