//! Platform metrics as control totals: exported by a diagnostic setting (no dimensions), of Application Insights, and
//! the answer of the Metrics REST API (one series per combination of dimensions).

use super::naming;
use super::record::{Fields, nested, text};
use super::row::Row;
use crate::model::{Normalized, ProviderMetric, RecordRef, Tags, Timestamp, fingerprint};

/// A metric record of a diagnostic setting or of the table `AzureMetrics`.
pub fn exported(row: &Row<'_>) -> Normalized {
    let Some(name) = row.top.text("metricName") else { return Normalized::Skipped("other_category") };
    let mut metric = new(row.at, &name, row.resource());
    metric.interval_s = row.top.text("timeGrain").as_deref().and_then(seconds);
    metric.unit = row.top.text("unitName").or_else(|| row.top.text("unit"));
    metric.region = row.top.text("location").as_deref().and_then(naming::region);
    read_values(row.top, &mut metric);
    dimensions_of(row, "dimensions", &mut metric);
    finish(metric, row.time())
}

/// A metric that an application sent to Application Insights, such as those of the policy `llm-emit-token-metric`.
pub fn application(row: &Row<'_>) -> Normalized {
    let Some(name) = row.top.text("name") else { return Normalized::Skipped("other_category") };
    let mut metric = new(row.at, &name, row.resource());
    let number = |name: &str| row.top.number(name);
    metric.count = number("itemCount");
    metric.total = number("sum");
    metric.minimum = number("min");
    metric.maximum = number("max");
    for (key, value) in row.properties.iter() {
        if let Some(value) = text(value) {
            set_dimension(&mut metric, key, value);
        }
    }
    finish(metric, row.time())
}

/// True for an answer of the Metrics REST API.
pub fn is_answer(fields: &Fields<'_>) -> bool {
    let Some(values) = fields.array("value") else { return false };
    let is_metric = |fields: &Fields<'_>| fields.has("timeseries") && fields.has("name");
    values.iter().all(|value| Fields::parse(value.get()).is_some_and(|value| is_metric(&value)))
        && (!values.is_empty() || fields.has("interval") || fields.has("timespan"))
}

/// All points of an answer of the Metrics REST API; those without a value are not there.
pub fn answer(fields: &Fields<'_>, at: &RecordRef<'_>, out: &mut Vec<Normalized>) {
    let before = out.len();
    let interval = fields.text("interval").as_deref().and_then(seconds);
    let region = fields.text("resourceregion").as_deref().and_then(naming::region);
    for value in fields.array("value").unwrap_or_default() {
        let Some(value) = Fields::parse(value.get()) else { continue };
        let Some(name) = name_of(&value) else { continue };
        // `…/providers/Microsoft.Insights/metrics/NAME` hangs below the resource.
        let id = value.text("id").unwrap_or_default().to_ascii_lowercase();
        let resource = id.split_once("/providers/microsoft.insights/").map(|(resource, _)| resource.to_owned());
        let resource = resource.filter(|id| !id.is_empty()).or_else(|| {
            fields.text("resourceId").or_else(|| fields.text("resourceid")).map(|id| id.to_ascii_lowercase())
        });
        for series in value.array("timeseries").unwrap_or_default() {
            let Some(series) = Fields::parse(series.get()) else { continue };
            let mut template = new(at, &name, resource.clone());
            template.interval_s = interval;
            template.unit = value.text("unit");
            template.region.clone_from(&region);
            for pair in series.array("metadatavalues").unwrap_or_default() {
                let Some(pair) = Fields::parse(pair.get()) else { continue };
                if let (Some(key), Some(value)) = (name_of(&pair), pair.text("value")) {
                    set_dimension(&mut template, &key, value);
                }
            }
            for point in series.array("data").unwrap_or_default() {
                let Some(point) = Fields::parse(point.get()) else { continue };
                let mut metric = template.clone();
                if read_values(&point, &mut metric) {
                    let time = point.text("timeStamp").as_deref().and_then(Timestamp::parse);
                    out.push(finish(metric, time));
                }
            }
        }
    }
    if out.len() == before {
        out.push(Normalized::Skipped("empty_metrics"));
    }
}

/// A metric without values yet.
pub fn new(at: &RecordRef<'_>, name: &str, resource: Option<String>) -> ProviderMetric {
    ProviderMetric {
        source: at.source.to_owned(),
        observed_at: at.observed_at,
        name: name.to_owned(),
        account: resource.as_deref().and_then(naming::subscription),
        resource,
        ..ProviderMetric::default()
    }
}

/// Takes over the aggregates that the fields hold; false if there are none.
pub fn read_values(fields: &Fields<'_>, metric: &mut ProviderMetric) -> bool {
    let number = |name: &str, short: &str| fields.number(name).or_else(|| fields.number(short));
    metric.count = number("count", "count");
    metric.total = number("total", "sum");
    metric.minimum = number("minimum", "min");
    metric.maximum = number("maximum", "max");
    metric.average = number("average", "avg");
    [metric.count, metric.total, metric.minimum, metric.maximum, metric.average].iter().any(Option::is_some)
}

/// Sets one dimension, whatever its spelling: `ModelDeploymentName`, `modeldeploymentname`, `model_deployment_name`.
pub fn set_dimension(metric: &mut ProviderMetric, key: &str, value: String) {
    let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match letters.as_str() {
        "modeldeploymentname" => metric.deployment = Some(value),
        // The older metrics name the model as feature.
        "modelname" => metric.model = Some(value),
        "featurename" => metric.model = metric.model.take().or(Some(value)),
        "region" => metric.region = naming::region(&value).or_else(|| metric.region.take()),
        _ => {
            metric.dimensions.insert(key.to_owned(), value);
        }
    }
}

/// The metric with platform, time and id, or its rejection.
pub fn finish(mut metric: ProviderMetric, time: Option<Timestamp>) -> Normalized {
    let Some(time) = time else { return Normalized::rejected("bad_time", "the metric has no readable time") };
    metric.ts = time;
    let of_models = metric.resource.as_deref().is_some_and(|id| id.contains("/providers/microsoft.cognitiveservices/"));
    if of_models {
        let name = naming::platform_of(metric.model.as_deref(), metric.deployment.as_deref());
        metric.platform = Some(name.to_owned());
    }
    metric.metric_id = identify(&metric);
    Normalized::Metric(Box::new(metric))
}

fn identify(metric: &ProviderMetric) -> crate::model::RecordId {
    let mut parts = vec![
        "azure.metric".to_owned(),
        metric.source.clone(),
        metric.resource.clone().unwrap_or_default(),
        metric.name.to_ascii_lowercase(),
        metric.ts.0.to_string(),
        metric.interval_s.map(|s| s.to_string()).unwrap_or_default(),
        metric.region.clone().unwrap_or_default(),
        metric.deployment.clone().unwrap_or_default(),
        metric.model.clone().unwrap_or_default(),
    ];
    parts.extend(metric.dimensions.iter().flat_map(|(key, value)| [key.to_ascii_lowercase(), value.clone()]));
    fingerprint(parts.iter().map(String::as_bytes))
}

fn dimensions_of(row: &Row<'_>, field: &str, metric: &mut ProviderMetric) {
    let text_of = row.top.get(field).and_then(nested);
    let Some(fields) = text_of.as_deref().and_then(Fields::parse) else { return };
    let dimensions: Tags = fields.iter().filter_map(|(key, value)| Some((key.to_owned(), text(value)?))).collect();
    dimensions.into_iter().for_each(|(key, value)| set_dimension(metric, &key, value));
}

/// `{"name": {"value": "X"}}` or `{"name": "X"}`.
fn name_of(fields: &Fields<'_>) -> Option<String> {
    fields.object("name").and_then(|name| name.text("value")).or_else(|| fields.text("name"))
}

/// Seconds of an ISO 8601 duration of the kind that metrics use: `PT1M`, `PT1H`, `P1D`; `None` if it is another.
pub fn seconds(grain: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut digits = String::new();
    let mut in_time = false;
    let rest = grain.trim().to_ascii_uppercase();
    for c in rest.strip_prefix('P')?.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if c == 'T' {
            in_time = true;
            continue;
        }
        let unit: u64 = match (c, in_time) {
            ('D', false) => 86_400,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (total > 0 && digits.is_empty()).then_some(total)
}
