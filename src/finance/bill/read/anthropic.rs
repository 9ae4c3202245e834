//! Anthropic's cost report: <https://platform.claude.com/docs/en/api/admin/cost_report>. Amounts are in the currency's
//! smallest unit, cents. It has no counts of tokens, and no Priority Tier.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{BillLine, Category};
use super::json::{self, Lines};
use super::{Bill, Names, Problems, meter, number};
use crate::model::{Interval, RecordId, fingerprint, platform};
use crate::pricing::Bucket;

#[derive(Deserialize)]
struct Period<'a> {
    starting_at: String,
    ending_at: String,
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Cost {
    amount: Box<RawValue>,
    currency: String,
    cost_type: Option<String>,
    context_window: Option<String>,
    description: Option<String>,
    model: Option<String>,
    service_tier: Option<String>,
    token_type: Option<String>,
    workspace_id: Option<String>,
    inference_geo: Option<String>,
}

pub(super) fn read(text: &str, names: Names<'_>, problems: &mut Problems<'_>) -> Bill {
    let lines = Lines::new(text);
    let mut bill = Bill::default();
    let mut seen = HashMap::new();
    for raw in json::buckets(text, &lines, problems) {
        let Ok(period) = serde_json::from_str::<Period<'_>>(raw.get()) else {
            let hint = "it must have starting_at, ending_at and results";
            problems.add(lines.of(raw.get()), "this is no bucket of costs", hint);
            continue;
        };
        let (from, to) = (number::instant(&period.starting_at), number::instant(&period.ending_at));
        let Some((from, to)) = from.zip(to).filter(|(from, to)| from < to) else {
            problems.add(lines.of(raw.get()), "the bucket's times are no period", "look into the export");
            continue;
        };
        for raw in period.results {
            let at = lines.of(raw.get());
            let Some(cost) = json::part::<Cost>(raw, &lines, problems) else { continue };
            if let Some(line) = line(Interval { from, to }, &cost, at, names, problems, &mut bill) {
                json::once(&mut seen, identity(&period.starting_at, &cost), at, problems);
                bill.lines.push(line);
            }
        }
    }
    bill
}

fn identity(start: &str, cost: &Cost) -> RecordId {
    let texts = [
        &cost.cost_type,
        &cost.context_window,
        &cost.description,
        &cost.model,
        &cost.service_tier,
        &cost.token_type,
        &cost.workspace_id,
        &cost.inference_geo,
    ];
    let texts = texts.into_iter().map(|text| text.as_deref().unwrap_or_default());
    fingerprint([start, &cost.currency].into_iter().chain(texts).map(str::as_bytes))
}

fn line(
    period: Interval,
    cost: &Cost,
    at: usize,
    names: Names<'_>,
    problems: &mut Problems<'_>,
    bill: &mut Bill,
) -> Option<BillLine> {
    let cents = cost.amount.get().trim_matches('"');
    // Two digits are shifted before anything is rounded.
    let amount = number::decimal(&format!("{cents}e-2")).ok().filter(|_| !cents.contains(['e', 'E']));
    let amount = amount.or_else(|| {
        let read = json::amount(&cost.amount, at, problems)?;
        Some(number::Read { number: read.number * Decimal::new(1, 2), ..read })
    })?;
    if cost.currency.len() != 3 {
        problems.add(at, format!("the currency '{}' is none", cost.currency), "it must be like USD");
    }
    let Some(kind) = cost.cost_type.as_deref() else {
        let hint = "ask for it with group_by[]=workspace_id and group_by[]=description";
        problems.add(at, "the result does not say what it is for (cost_type is null)", hint);
        return None;
    };
    bill.rounded += u64::from(amount.rounded);
    let text = cost.description.as_deref().unwrap_or(kind);
    let own = names.meters.get(text);
    let named = cost.model.as_deref().and_then(|name| meter::full_name(names.catalog, platform::ANTHROPIC, name));
    Some(BillLine {
        place: problems.at(at),
        platform: platform::ANTHROPIC.to_owned(),
        account: cost.workspace_id.clone(),
        region: None,
        model: own.and_then(|meter| meter.model.clone()).or(named),
        bucket: own.and_then(|meter| meter.bucket).or_else(|| bucket(cost)),
        scope: match cost.inference_geo.as_deref() {
            Some("us") => Some("geo".to_owned()),
            Some("global") => Some("global".to_owned()),
            _ => None,
        },
        tier: cost.service_tier.clone(),
        context_over: cost.context_window.as_deref().filter(|window| window.starts_with("200k")).map(|_| 200_000),
        usage_type: text.to_owned(),
        unit: String::new(),
        period,
        quantity: None,
        unit_price: None,
        cost: amount.number,
        currency: cost.currency.to_uppercase(),
        category: Category::Usage,
        sku: Some(text.to_owned()),
    })
}

fn bucket(cost: &Cost) -> Option<Bucket> {
    Some(match cost.token_type.as_deref()? {
        "uncached_input_tokens" => Bucket::Input,
        "output_tokens" => Bucket::Output,
        "cache_read_input_tokens" => Bucket::CacheRead,
        "cache_creation.ephemeral_5m_input_tokens" => Bucket::CacheWrite5m,
        "cache_creation.ephemeral_1h_input_tokens" => Bucket::CacheWrite1h,
        _ => return None,
    })
}
