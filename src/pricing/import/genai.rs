//! genai-prices: providers with models, amounts of a million tokens, with the day from which they hold.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Cell, Cells, NamedModel, decimal};
use crate::model::{Timestamp, platform};

#[derive(Deserialize)]
pub(super) struct Provider {
    id: String,
    #[serde(default)]
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    prices: Box<RawValue>,
}

#[derive(Deserialize)]
struct Period {
    #[serde(default)]
    constraint: Option<Constraint>,
    prices: Amounts,
}

#[derive(Deserialize)]
struct Constraint {
    #[serde(default)]
    start_date: Option<String>,
}

#[derive(Deserialize)]
struct Tiered {
    base: Box<RawValue>,
    #[serde(default)]
    tiers: Vec<Tier>,
}

#[derive(Deserialize)]
struct Tier {
    start: u64,
    price: Box<RawValue>,
}

type Amounts = BTreeMap<String, Option<Box<RawValue>>>;

const UNITS: [(&str, &str); 7] = [
    ("input_mtok", "input"),
    ("output_mtok", "output"),
    ("cache_read_mtok", "cache_read"),
    ("cache_write_mtok", "cache_write_5m"),
    ("cache_write_1h_mtok", "cache_write_1h"),
    ("input_audio_mtok", "audio_input"),
    ("output_audio_mtok", "audio_output"),
];
/// Units that no call record counts, beside tokens that are billed as above.
const IGNORED: [&str; 4] =
    ["web_searches_kcount", "storage_searches_kcount", "input_video_mtok", "cache_audio_read_mtok"];

/// Amount by bucket and threshold.
type Found = BTreeMap<(&'static str, Option<u64>), Decimal>;

pub(super) fn cells(
    providers: &[Provider],
    name_of: &dyn Fn(&str, &str) -> NamedModel,
    notes: &mut Vec<String>,
) -> Cells {
    let mut cells = Cells::new();
    for provider in providers {
        for model in &provider.models {
            let places = places(&provider.id, &model.id);
            if places.is_empty() {
                continue;
            }
            let entry = format!("{}/{}", provider.id, model.id);
            let periods = match periods(&model.prices) {
                Ok(periods) => periods,
                Err(why) => {
                    notes.push(format!("{entry}: {why}"));
                    continue;
                }
            };
            for (platform, spelling, scopes) in places {
                let name = name_of(platform, spelling);
                let Some(canonical) = name.model else {
                    notes.push(format!("{entry}: the catalogue does not know this model"));
                    continue;
                };
                for scope in scopes {
                    for (start, found) in &periods {
                        for ((bucket, over), amount) in found {
                            let cell = Cell {
                                platform: platform.to_owned(),
                                model: canonical.clone(),
                                snapshot: name.snapshot.clone(),
                                scope: (*scope).to_owned(),
                                tier: "standard",
                                mode: "sync",
                                bucket,
                                over: *over,
                            };
                            let prices = cells.entry(cell).or_default();
                            if !prices.iter().any(|(from, _, _)| from == start) {
                                prices.push((*start, *amount, entry.clone()));
                            }
                        }
                    }
                }
            }
        }
    }
    cells
}

/// Platform, spelling and scopes that an entry speaks for.
fn places<'a>(provider: &str, name: &'a str) -> Vec<(&'static str, &'a str, &'static [&'static str])> {
    match provider {
        "openai" => vec![(platform::OPENAI, name, &["*"])],
        "anthropic" => vec![(platform::ANTHROPIC, name, &["*"])],
        "aws" => match name.split_once('.') {
            Some(("global", rest)) => vec![(platform::BEDROCK, rest, &["global"])],
            Some(("regional", rest)) => vec![(platform::BEDROCK, rest, &["in_region", "geo:us", "geo:eu"])],
            // An id without a prefix speaks for the region only.
            _ => vec![(platform::BEDROCK, name, &["in_region"])],
        },
        "azure" => {
            let foundry = ["phi", "mai", "wizard"].iter().any(|start| name.starts_with(start));
            vec![(if foundry { platform::AZURE_INFERENCE } else { platform::AZURE_OPENAI }, name, &["global"])]
        }
        "google" if name.starts_with("claude") || name.ends_with("-maas") => vec![(platform::VERTEX, name, &["*"])],
        "google" => vec![(platform::VERTEX, name, &["*"]), (platform::GEMINI, name, &["*"])],
        _ => Vec::new(),
    }
}

fn periods(prices: &RawValue) -> Result<Vec<(Option<Timestamp>, Found)>, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let periods: Vec<Period> = if prices.get().trim_start().starts_with('[') {
        serde_json::from_str(prices.get()).map_err(wrong)?
    } else {
        vec![Period { constraint: None, prices: serde_json::from_str(prices.get()).map_err(wrong)? }]
    };
    let mut all = Vec::new();
    for Period { constraint, prices } in periods {
        let start = match constraint {
            None => None,
            Some(Constraint { start_date: Some(day) }) => {
                let at = Timestamp::parse(&format!("{day}T00:00:00Z"));
                Some(at.ok_or_else(|| format!("'{day}' is no day"))?)
            }
            Some(Constraint { start_date: None }) => return Err("its price depends on the time of day".to_owned()),
        };
        all.push((start, amounts(&prices)?));
    }
    Ok(all)
}

fn amounts(prices: &Amounts) -> Result<Found, String> {
    let mut found = Found::new();
    for (unit, value) in prices {
        let Some(value) = value else { continue };
        if IGNORED.contains(&unit.as_str()) {
            continue;
        }
        let Some((_, bucket)) = UNITS.iter().find(|(name, _)| name == unit) else {
            return Err(format!("no call record counts the unit {unit}"));
        };
        if value.get().trim_start().starts_with('{') {
            let tiered: Tiered = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
            found.insert((bucket, None), decimal(&tiered.base).ok_or("an amount is no number")?);
            for tier in tiered.tiers {
                found.insert((bucket, Some(tier.start)), decimal(&tier.price).ok_or("an amount is no number")?);
            }
        } else {
            found.insert((bucket, None), decimal(value).ok_or("an amount is no number")?);
        }
    }
    Ok(found)
}
