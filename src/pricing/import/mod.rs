//! Public catalogues of list prices as rows: genai-prices and LiteLLM, by the mapping that `data/README.md` tells of the
//! bundled list. Pure: whoever calls brings the text and knows what models are called.

mod fresh;
mod genai;
mod litellm;
#[cfg(test)]
mod tests;

pub use fresh::{NewRows, new_rows};

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::key::{Bucket, Layer, Mode, RateScope};
use super::rate::Rate;
use crate::model::Timestamp;

/// What a catalogue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogueKind {
    /// An array of providers, dated.
    GenaiPrices,
    /// One object with an entry for each model, undated.
    LiteLlm,
}

impl CatalogueKind {
    /// The name of its package.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GenaiPrices => "genai-prices",
            Self::LiteLlm => "litellm",
        }
    }
}

/// Why a catalogue can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not JSON of one of the known forms.
    #[error(
        "this is neither the price data of genai-prices (a JSON array of providers) nor of LiteLLM (a JSON object with an entry \
         for each model): {0}"
    )]
    Form(String),
    /// Nothing of it could be used.
    #[error("no price of a known platform and model is in it")]
    Empty,
}

/// What a spelling of a model stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedModel {
    /// Who made it.
    pub publisher: Option<String>,
    /// Canonical name.
    pub model: Option<String>,
    /// Dated edition.
    pub snapshot: Option<String>,
    /// Scope that the spelling proves.
    pub scope: Option<String>,
    /// Its geography.
    pub geo: Option<String>,
    /// Tier that the spelling proves.
    pub tier: Option<String>,
}

/// What a catalogue says.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Its rows.
    pub rates: Vec<Rate>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// What a price is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    platform: String,
    model: String,
    snapshot: Option<String>,
    scope: String,
    tier: &'static str,
    mode: &'static str,
    bucket: &'static str,
    over: Option<u64>,
}

/// A price: first instant (`None` for ever before), amount of a million, entry that it is from.
type Prices = Vec<(Option<Timestamp>, Decimal, String)>;
type Cells = BTreeMap<Cell, Prices>;

/// Reads a catalogue. `today` is from when undated prices are known to hold.
///
/// # Errors
/// The text is of no known form, or holds nothing that can be used.
pub fn import_catalogue(
    text: &str,
    name_of: &dyn Fn(&str, &str) -> NamedModel,
    source: &str,
    today: Timestamp,
    recorded_at: Timestamp,
) -> Result<(CatalogueKind, Imported), ImportError> {
    let form = |error: serde_json::Error| ImportError::Form(error.to_string());
    let mut notes = Vec::new();
    let (kind, cells) = if text.trim_start().starts_with('[') {
        let providers: Vec<genai::Provider> = serde_json::from_str(text).map_err(form)?;
        (CatalogueKind::GenaiPrices, genai::cells(&providers, name_of, &mut notes))
    } else {
        let entries: BTreeMap<String, BTreeMap<String, Box<RawValue>>> = serde_json::from_str(text).map_err(form)?;
        (CatalogueKind::LiteLlm, litellm::cells(&entries, name_of, today, &mut notes))
    };
    let cells = collapsed(cells);
    let rates: Vec<Rate> =
        cells.into_iter().flat_map(|(cell, prices)| rows(&cell, prices, source, recorded_at)).collect();
    if rates.is_empty() {
        return Err(ImportError::Empty);
    }
    Ok((kind, Imported { rates, notes }))
}

/// An edition that never differs from its model is the model; editions of a model that nobody names without a date are the
/// model if they agree.
fn collapsed(cells: Cells) -> Cells {
    let mut models: BTreeMap<(String, String), BTreeMap<Option<String>, Cells>> = BTreeMap::new();
    for (cell, prices) in cells {
        let editions = models.entry((cell.platform.clone(), cell.model.clone())).or_default();
        let plain = Cell { snapshot: None, ..cell.clone() };
        editions.entry(cell.snapshot).or_default().insert(plain, prices);
    }
    let amounts = |prices: &Prices| prices.iter().map(|(from, amount, _)| (*from, *amount)).collect::<Vec<_>>();
    let differ = |a: &Cells, b: &Cells| {
        a.iter().any(|(cell, prices)| b.get(cell).is_some_and(|other| amounts(other) != amounts(prices)))
    };
    let mut kept = Cells::new();
    for editions in models.into_values() {
        let dated: Vec<(&Option<String>, &Cells)> = editions.iter().filter(|(edition, _)| edition.is_some()).collect();
        let undated = editions.get(&None);
        let disagree = dated.iter().any(|(_, one)| dated.iter().any(|(_, other)| differ(one, other)));
        let own: BTreeSet<Option<String>> = dated
            .into_iter()
            .filter(|(_, cells)| undated.map_or(disagree, |undated| differ(cells, undated)))
            .map(|(edition, _)| edition.clone())
            .collect();
        for (edition, cells) in editions {
            let snapshot = edition.filter(|edition| own.contains(&Some(edition.clone())));
            for (cell, prices) in cells {
                kept.entry(Cell { snapshot: snapshot.clone(), ..cell }).or_insert(prices);
            }
        }
    }
    kept
}

fn rows(cell: &Cell, mut prices: Prices, source: &str, recorded_at: Timestamp) -> Vec<Rate> {
    prices.sort_by_key(|(from, _, _)| *from);
    let ends: Vec<Option<Timestamp>> = prices.iter().skip(1).map(|(from, _, _)| *from).chain([None]).collect();
    let words = || {
        let scope: RateScope = cell.scope.parse().ok()?;
        let (mode, bucket): (Mode, Bucket) = (cell.mode.parse().ok()?, cell.bucket.parse().ok()?);
        Some((scope, mode, bucket))
    };
    let Some((scope, mode, bucket)) = words() else { return Vec::new() };
    let row = |((from, amount, entry), to): ((Option<Timestamp>, Decimal, String), Option<Timestamp>)| {
        let rate = Rate {
            layer: Layer::Operator,
            platform: cell.platform.clone(),
            model: cell.model.clone(),
            snapshot: cell.snapshot.clone(),
            scope: scope.clone(),
            tier: cell.tier.to_owned(),
            mode,
            bucket,
            context_over: cell.over,
            per: Decimal::from(1_000_000),
            amount,
            currency: "USD".to_owned(),
            valid_from: from,
            valid_to: to,
            recorded_at,
            source: source.to_owned(),
            source_ref: entry,
            ..Rate::default()
        };
        Rate { row_id: rate.derived_id(Layer::Operator.as_str()), ..rate }
    };
    prices.into_iter().zip(ends).map(row).collect()
}

/// The exact number that a JSON value is, a number or text; never through a float.
fn decimal(value: &RawValue) -> Option<Decimal> {
    let text = value.get().trim().trim_matches('"');
    let amount = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()?;
    (!amount.is_sign_negative()).then(|| amount.normalize())
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
