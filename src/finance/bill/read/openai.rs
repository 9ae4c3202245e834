//! OpenAI's costs: <https://platform.openai.com/docs/api-reference/usage/costs>.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{BillLine, Category};
use super::json::{self, Lines};
use super::number::Read;
use super::{Bill, Names, Problems, meter};
use crate::model::{Interval, RecordId, SECOND_US, Timestamp, fingerprint, platform};

#[derive(Deserialize)]
struct Cost {
    amount: Amount,
    line_item: Option<String>,
    project_id: Option<String>,
    organization_id: Option<String>,
    api_key_id: Option<String>,
    quantity: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Amount {
    value: Box<RawValue>,
    currency: String,
}

pub(super) fn read(text: &str, names: Names<'_>, problems: &mut Problems<'_>) -> Bill {
    let lines = Lines::new(text);
    let mut bill = Bill::default();
    let mut seen = HashMap::new();
    for raw in json::buckets(text, &lines, problems) {
        let Ok(bucket) = serde_json::from_str::<Bucket<'_>>(raw.get()) else {
            let hint = "it must have start_time, end_time and results";
            problems.add(lines.of(raw.get()), "this is no bucket of costs", hint);
            continue;
        };
        for raw in bucket.results {
            let at = lines.of(raw.get());
            let Some(cost) = json::part::<Cost>(raw, &lines, problems) else { continue };
            if let Some((line, read)) = line(bucket.start_time, bucket.end_time, &cost, at, names, problems) {
                bill.rounded += u64::from(read.rounded);
                json::once(&mut seen, identity(bucket.start_time, &cost), at, problems);
                bill.lines.push(line);
            }
        }
    }
    bill
}

#[derive(Deserialize)]
struct Bucket<'a> {
    start_time: i64,
    end_time: i64,
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

fn identity(start: i64, cost: &Cost) -> RecordId {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let parts = [
        start.to_string(),
        text(&cost.line_item),
        text(&cost.project_id),
        text(&cost.organization_id),
        text(&cost.api_key_id),
        cost.amount.currency.clone(),
    ];
    fingerprint(parts.iter().map(String::as_bytes))
}

fn line(
    start: i64,
    end: i64,
    cost: &Cost,
    at: usize,
    names: Names<'_>,
    problems: &mut Problems<'_>,
) -> Option<(BillLine, Read)> {
    let amount = json::amount(&cost.amount.value, at, problems)?;
    let Some(item) = cost.line_item.as_deref() else {
        let hint = "ask for it with group_by=project_id and group_by=line_item";
        problems.add(at, "the result does not say what it is for (line_item is null)", hint);
        return None;
    };
    let instant = |seconds: i64| seconds.checked_mul(SECOND_US).map(Timestamp).filter(|at| *at >= Timestamp::EARLIEST);
    let (Some(from), Some(to)) = (instant(start), instant(end)) else {
        problems.add(at, "the bucket's times are no seconds since 1970", "look into the export");
        return None;
    };
    if to <= from {
        problems.add(at, "the bucket ends before it starts", "look into the export");
        return None;
    }
    let quantity = match cost.quantity.as_deref() {
        Some(raw) if raw.get() != "null" => Some(json::amount(raw, at, problems)?.number),
        _ => None,
    };
    let meter = names.meters.get(item).cloned().unwrap_or_else(|| meter::openai(names.catalog, item));
    let line = BillLine {
        place: problems.at(at),
        platform: platform::OPENAI.to_owned(),
        account: cost.project_id.clone().or_else(|| cost.organization_id.clone()),
        model: meter.model,
        bucket: meter.bucket,
        scope: meter.scope,
        tier: meter.tier,
        usage_type: item.to_owned(),
        unit: "tokens".to_owned(),
        period: Interval { from, to },
        quantity,
        cost: amount.number,
        currency: cost.amount.currency.to_uppercase(),
        category: Category::Usage,
        sku: Some(item.to_owned()),
        ..BillLine::default()
    };
    Some((line, amount))
}
