//! LiteLLM's model list: one entry for each spelling, amounts of one token, no dates.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::{Cell, Cells, NamedModel, decimal, text};
use crate::model::{Timestamp, platform};

type Entry = BTreeMap<String, Box<RawValue>>;

/// Fields of an amount, longest first where one begins like another.
const FIELDS: [(&str, &str); 8] = [
    ("cache_creation_input_token_cost_above_1hr", "cache_write_1h"),
    ("cache_creation_input_token_cost", "cache_write_5m"),
    ("cache_read_input_token_cost", "cache_read"),
    ("input_cost_per_audio_token", "audio_input"),
    ("output_cost_per_audio_token", "audio_output"),
    ("input_cost_per_image_token", "image_input"),
    ("input_cost_per_token", "input"),
    ("output_cost_per_token", "output"),
];

const MODES: [&str; 5] = ["chat", "responses", "completion", "embedding", "rerank"];

/// Routes that are bought otherwise: another product, or commitments that are never priced per token.
fn bought_otherwise(key: &str) -> bool {
    key.contains("claude_platform/")
        || key.contains("-commitment/")
        || key.starts_with("bedrock/invoke/")
        || key.starts_with("container")
        || key.starts_with("azure/ft")
        || key.split('/').any(|part| part.contains("-x-"))
}

fn platform_of(provider: &str) -> Option<&'static str> {
    Some(match provider {
        "openai" | "text-completion-openai" => platform::OPENAI,
        "anthropic" => platform::ANTHROPIC,
        "gemini" => platform::GEMINI,
        "azure" | "azure_text" => platform::AZURE_OPENAI,
        "azure_ai" => platform::AZURE_INFERENCE,
        "bedrock" | "bedrock_converse" | "bedrock_mantle" => platform::BEDROCK,
        other if other.starts_with("vertex_ai") => platform::VERTEX,
        _ => return None,
    })
}

pub(super) fn cells(
    entries: &BTreeMap<String, Entry>,
    name_of: &dyn Fn(&str, &str) -> NamedModel,
    today: Timestamp,
    notes: &mut Vec<String>,
) -> Cells {
    let (mut cells, mut disputed) = (Cells::new(), BTreeSet::new());
    let mut ordered: Vec<(&String, &Entry)> = entries.iter().collect();
    ordered.sort_by_key(|(key, _)| (key.len(), *key));
    for (key, entry) in ordered {
        let provider = entry.get("litellm_provider").and_then(|value| text(value)).unwrap_or_default();
        let mode = entry.get("mode").and_then(|value| text(value)).unwrap_or_default();
        let Some(platform) = platform_of(&provider) else { continue };
        // Rerank is billed by search units, which no field tells exactly.
        if !MODES.contains(&mode.as_str()) || mode == "rerank" || bought_otherwise(key) {
            continue;
        }
        let name = name_of(platform, key);
        let Some(model) = name.model.clone().filter(|_| name.tier.is_none()) else {
            notes.push(format!("{key}: the catalogue does not know this model"));
            continue;
        };
        let amount = |field: &str| entry.get(field).and_then(|value| decimal(value));
        let reasoning = amount("output_cost_per_reasoning_token");
        if reasoning.is_some() && reasoning != amount("output_cost_per_token") {
            notes.push(format!("{key}: reasoning has a price of its own"));
            continue;
        }
        for (field, value) in entry {
            let Some((bucket, over, suffix)) = field_of(field) else { continue };
            // 0 stands for unknown too often to be taken for a price.
            let Some(token) = decimal(value).filter(|amount| !amount.is_zero()) else { continue };
            let (tier, mode) = match suffix {
                Some("batches") => ("standard", "batch"),
                Some("flex") => ("flex", "sync"),
                Some("priority") => ("priority", "sync"),
                _ => ("standard", "sync"),
            };
            for (scope, factor) in scopes(platform, key, &name, entry) {
                let whole = Decimal::from(1_000_000);
                let Some(amount) = token.checked_mul(whole).and_then(|million| million.checked_mul(factor)) else {
                    continue;
                };
                let cell = Cell {
                    platform: platform.to_owned(),
                    model: model.clone(),
                    snapshot: name.snapshot.clone(),
                    scope,
                    tier,
                    mode,
                    bucket,
                    over,
                };
                let price = (Some(today), amount.normalize(), key.clone());
                match cells.get(&cell).and_then(|prices| prices.first()) {
                    None => drop(cells.insert(cell, vec![price])),
                    Some((_, known, _)) if *known == price.1 => {}
                    Some((_, known, other)) => {
                        notes.push(format!(
                            "{platform} {model} {} {bucket}: {other} says {known}, {key} says {}: neither is taken",
                            cell.scope, price.1
                        ));
                        disputed.insert(cell);
                    }
                }
            }
        }
    }
    // Where the standard price is in dispute, so are the tiers and modes beside it.
    let place = |cell: &Cell| (cell.platform.clone(), cell.model.clone(), cell.snapshot.clone(), cell.scope.clone());
    let doubtful: BTreeSet<_> = disputed.iter().filter(|cell| cell.bucket == "input").map(place).collect();
    cells.retain(|cell, _| !disputed.contains(cell) && !doubtful.contains(&place(cell)));
    // A price of long contexts without one of short ones would leave those unpriced without a word.
    let bases: BTreeSet<Cell> = cells.keys().filter(|cell| cell.over.is_none()).cloned().collect();
    cells.retain(|cell, _| cell.over.is_none() || bases.contains(&Cell { over: None, ..cell.clone() }));
    cells
}

/// Bucket, threshold and tier of a field: `input_cost_per_token_above_200k_tokens_priority`.
fn field_of(field: &str) -> Option<(&'static str, Option<u64>, Option<&'static str>)> {
    for (name, bucket) in FIELDS {
        let Some(mut rest) = field.strip_prefix(name) else { continue };
        let mut over = None;
        if let Some((thousands, after)) = rest.strip_prefix("_above_").and_then(|rest| rest.split_once("k_tokens")) {
            over = Some(thousands.parse::<u64>().ok()?.checked_mul(1000)?);
            rest = after;
        }
        let tier = ["batches", "flex", "priority"].into_iter().find(|tier| rest.strip_prefix('_') == Some(*tier));
        return (rest.is_empty() || tier.is_some()).then_some((bucket, over, tier));
    }
    None
}

/// Scopes that an entry speaks for, each with the factor on its amounts.
fn scopes(platform: &str, key: &str, name: &NamedModel, entry: &Entry) -> Vec<(String, Decimal)> {
    let one = |scope: &str| vec![(scope.to_owned(), Decimal::ONE)];
    let geo = name.geo.as_ref().map(|geo| format!("geo:{geo}"));
    let factor = |field: &str| entry.get(field).and_then(|value| decimal(value)).filter(|factor| !factor.is_zero());
    match platform {
        platform::BEDROCK => match region(key) {
            Some(region) => one(&format!("in_region:{region}")),
            None => one(geo.as_deref().or(name.scope.as_deref()).unwrap_or("in_region")),
        },
        platform::AZURE_OPENAI | platform::AZURE_INFERENCE => match geo {
            Some(geo) => one(&geo),
            None if platform == platform::AZURE_OPENAI => one("global"),
            None if matches!(name.publisher.as_deref(), Some("openai" | "anthropic")) => one("global"),
            None => one("*"),
        },
        platform::VERTEX => match factor("regional_endpoint_uplift_multiplier") {
            Some(uplift) => {
                let mut scopes = one("global");
                scopes.extend(["in_region", "geo:us", "geo:eu"].map(|scope| (scope.to_owned(), uplift)));
                scopes
            }
            None => one("*"),
        },
        _ => {
            let mut scopes = one("*");
            for geo in ["us", "eu"] {
                let uplift = factor(&format!("regional_processing_uplift_multiplier_{geo}"));
                scopes.extend(uplift.map(|uplift| (format!("geo:{geo}"), uplift)));
            }
            scopes
        }
    }
}

/// `bedrock/eu-west-1/…` names the region.
fn region(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("bedrock/").or_else(|| key.strip_prefix("bedrock_mantle/"))?;
    let (region, _) = rest.split_once('/')?;
    let digit = region.chars().last().is_some_and(|c| c.is_ascii_digit());
    (digit && region.matches('-').count() >= 2).then_some(region)
}
