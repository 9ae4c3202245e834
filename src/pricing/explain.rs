//! The arithmetic of a price line by line, and why a bucket has none: what `prices explain` shows. The same rows are found
//! by the same code as when a call is priced; this only writes down what it did.

use rust_decimal::Decimal;

use super::book::{PriceBook, Row};
use super::contract::{Contract, Terms};
use super::key::{Bucket, Layer, Mode};
use super::price::{Finder, Found, PriceQuery, Priced};
use super::rate::{Rate, short};
use crate::model::{CostStatus, Money, Timestamp};

/// So many rates that nearly fit are shown.
const NEAREST: usize = 3;

/// How a price came about.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceExplained {
    /// What the rows were looked up by.
    pub key: Key,
    /// The price, as a call with this usage gets it.
    pub priced: Priced,
    /// Every bucket with a quantity; without any usage, every bucket that the model has a rate for.
    pub lines: Vec<ExplainedLine>,
    /// What holds for the whole call: why it has no price, or what its price leaves out.
    pub remarks: Vec<String>,
}

/// What rows are looked up by, as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Who bills.
    pub platform: Option<String>,
    /// Billing account.
    pub account: Option<String>,
    /// Canonical model.
    pub model: Option<String>,
    /// Dated edition.
    pub snapshot: Option<String>,
    /// `global`, `geo:us`, `in_region:eu-west-1`, or `*` where it is not known.
    pub scope: String,
    /// Tier as served.
    pub tier: String,
    /// Sync, batch or provisioned.
    pub mode: Mode,
    /// Input tokens, cached ones included: what context thresholds are held against.
    pub context: u64,
    /// When the call was made.
    pub at: Timestamp,
}

/// One bucket: `quantity × unit_price × multiplier = cost`, or why not.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedLine {
    /// What is counted.
    pub bucket: Bucket,
    /// How many; `None` where only the rate was asked for.
    pub quantity: Option<u64>,
    /// The layer that decided.
    pub layer: Option<Layer>,
    /// The list row, with its provenance and validity.
    pub list: Option<Rate>,
    /// The contract row that changes or replaces it.
    pub contract: Option<Contract>,
    /// List price of one unit.
    pub list_unit_price: Option<Decimal>,
    /// Factor of the contract.
    pub multiplier: Option<Decimal>,
    /// Price of one unit in the end.
    pub unit_price: Option<Decimal>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Quantity times list price.
    pub list_cost: Option<Money>,
    /// Quantity times price.
    pub cost: Option<Money>,
    /// Why there is no cost.
    pub unpriced: Option<Unpriced>,
}

/// Why a bucket has no price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpriced {
    /// In words.
    pub why: String,
    /// Rates that nearly fit, the nearest first.
    pub nearest: Vec<NearRate>,
}

/// A rate that nearly fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearRate {
    /// The rate.
    pub rate: Rate,
    /// Where it does not fit.
    pub differs: Vec<Difference>,
}

/// One key in which a rate does not fit a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `platform`, `model`, `snapshot`, `scope`, `tier`, `mode`, `context_over`, `valid_from`, `valid_to`.
    pub key: &'static str,
    /// What the rate says.
    pub rate: String,
    /// What the call is.
    pub call: String,
}

impl PriceBook {
    /// How the price of a call comes about; with empty usage, what its buckets would cost.
    #[must_use]
    pub fn explain(&self, q: &PriceQuery<'_>) -> PriceExplained {
        let finder = Finder::new(self, q);
        let key = key(&finder, q);
        let priced = self.price(q);
        let only_rates = q.usage.is_empty() && q.search_units.is_none();
        let mut remarks = Vec::new();
        let mut lines: Vec<ExplainedLine> = Vec::new();
        if only_rates {
            let buckets = Bucket::ALL.into_iter().filter(|bucket| self.is_priced_at_all(q, *bucket));
            lines.extend(buckets.map(|bucket| self.line(&key, q, bucket, None, &finder)));
        } else if key.mode == Mode::Provisioned {
            remarks.push("its money is on the hours of a commitment, not on the call".to_owned());
        } else if finder.split().broken {
            remarks.push("parts of its counts exceed their whole, so that no price can be right".to_owned());
        } else {
            for line in &priced.lines {
                let mut told = self.line(&key, q, line.bucket, Some(line.quantity), &finder);
                if line.cost.is_none() && told.unpriced.is_none() {
                    let why = match (&told.currency, &priced.currency) {
                        (Some(own), Some(call)) if own.as_str() != call.as_ref() => {
                            format!(
                                "its price is in {own}, the call's other prices are in {call}: they are never added"
                            )
                        }
                        _ => "its cost has more digits than can be kept exactly".to_owned(),
                    };
                    told.unpriced = Some(Unpriced { why, nearest: Vec::new() });
                }
                (told.list_cost, told.cost) = (line.list_cost, line.cost);
                lines.push(told);
            }
        }
        if !only_rates && priced.status != CostStatus::Allocated && finder.lacks_a_count() {
            remarks.push("the record does not tell input or output tokens that the provider bills".to_owned());
        }
        PriceExplained { key, priced, lines, remarks }
    }

    /// True if any platform has any rate of this model for the bucket, or it is one that every call has.
    fn is_priced_at_all(&self, q: &PriceQuery<'_>, bucket: Bucket) -> bool {
        let own = |row: &Row| row.rate.bucket == bucket && Some(row.rate.platform.as_str()) == q.platform;
        let agreed = || self.contracts().any(|c| c.bucket() == Some(bucket) && Some(c.platform.as_str()) == q.platform);
        matches!(bucket, Bucket::Input | Bucket::Output)
            || q.model.is_some_and(|model| self.rows_of_model(model).any(own))
            || agreed()
    }

    fn line(
        &self,
        key: &Key,
        q: &PriceQuery<'_>,
        bucket: Bucket,
        quantity: Option<u64>,
        finder: &Finder<'_>,
    ) -> ExplainedLine {
        let found = finder.find(bucket);
        let list = found.as_ref().and_then(|found| found.list);
        let contract = found.as_ref().and_then(|found| found.agreed).map(|agreed| agreed.contract.clone());
        let layer = |found: &Found<'_>| {
            found.agreed.map(|agreed| agreed.contract.layer()).or_else(|| found.list.map(|row| row.rate.layer))
        };
        let unpriced = found.is_none().then(|| self.why(key, q, bucket));
        ExplainedLine {
            bucket,
            quantity,
            layer: found.as_ref().and_then(layer),
            list: list.map(|row| row.rate.clone()),
            multiplier: contract.as_ref().and_then(|contract| match contract.terms {
                Terms::Multiplier(factor) => Some(factor),
                Terms::Rate { .. } => None,
            }),
            contract,
            list_unit_price: list.map(|row| row.unit_price),
            unit_price: found.as_ref().map(|found| found.unit_price),
            currency: found.as_ref().map(|found| found.currency.to_string()),
            list_cost: None,
            cost: None,
            unpriced,
        }
    }

    fn why(&self, key: &Key, q: &PriceQuery<'_>, bucket: Bucket) -> Unpriced {
        let (Some(platform), Some(model)) = (q.platform, q.model) else {
            let what = if q.platform.is_none() { "platform" } else { "model" };
            return Unpriced { why: format!("the {what} of the call is not known"), nearest: Vec::new() };
        };
        let fits = |row: &&Row| row.rate.bucket == bucket;
        let own_edition = |row: &&Row| {
            q.snapshot.is_some() && row.rate.platform == platform && row.rate.snapshot.as_deref() == q.snapshot
        };
        let mut rows: Vec<&Row> = self.rows_of_model(model).filter(fits).collect();
        let on_platform = rows.iter().any(|row| row.rate.platform == platform);
        let mut why = if on_platform {
            format!("{platform} has rates for {bucket} of {model}, but none for this call")
        } else if self.models(platform).any(|name| name == model) {
            format!("{platform} has rates for {model}, but none for {bucket}")
        } else {
            format!("{platform} has no rate for a model {model}")
        };
        if self.rows_of_model(model).any(|row| own_edition(&row)) {
            why.push_str("; the edition has rates of its own, and only those hold");
        }
        if rows.is_empty() {
            let like = |name: &&str| strsim::jaro_winkler(name, model) > 0.85;
            let mut names: Vec<&str> = self.models(platform).filter(like).collect();
            names.sort_unstable_by(|a, b| {
                strsim::jaro_winkler(b, model).total_cmp(&strsim::jaro_winkler(a, model)).then_with(|| a.cmp(b))
            });
            for name in names.into_iter().take(NEAREST) {
                rows.extend(self.rows_of_model(name).filter(|row| row.rate.platform == platform).filter(fits));
            }
        }
        let mut nearest: Vec<NearRate> =
            rows.into_iter().map(|row| NearRate { rate: row.rate.clone(), differs: differs(key, &row.rate) }).collect();
        // A row of the same platform says more than any other; among equals the newest.
        nearest.sort_by_cached_key(|near| {
            let foreign = near.rate.platform != platform;
            (foreign, near.differs.len(), std::cmp::Reverse(near.rate.valid_from), near.rate.row_id.clone())
        });
        nearest.truncate(NEAREST);
        Unpriced { why, nearest }
    }
}

fn key(finder: &Finder<'_>, q: &PriceQuery<'_>) -> Key {
    let scope = match (finder.scope, q.region) {
        ((Some("geo"), Some(geo)), _) => format!("geo:{geo}"),
        ((Some("in_region"), _), Some(region)) => format!("in_region:{region}"),
        ((Some(scope), _), _) => scope.to_owned(),
        ((None, _), _) => "*".to_owned(),
    };
    let (tier, mode) = finder.tariff_key;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Key {
        platform: owned(q.platform),
        account: owned(q.account),
        model: owned(q.model),
        snapshot: owned(q.snapshot),
        scope,
        tier: tier.to_owned(),
        mode,
        context: finder.context,
        at: q.at,
    }
}

/// Where a rate does not fit a call.
fn differs(key: &Key, rate: &Rate) -> Vec<Difference> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let mut all = Vec::new();
    let mut add = |differs: bool, key: &'static str, rate: String, call: String| {
        if differs {
            all.push(Difference { key, rate, call });
        }
    };
    add(key.platform.as_deref() != Some(&rate.platform), "platform", rate.platform.clone(), text(&key.platform));
    add(key.model.as_deref() != Some(&rate.model), "model", rate.model.clone(), text(&key.model));
    add(
        rate.snapshot.is_some() && rate.snapshot != key.snapshot,
        "snapshot",
        text(&rate.snapshot),
        text(&key.snapshot),
    );
    let (scope, place) =
        key.scope.split_once(':').map_or((key.scope.as_str(), None), |(scope, place)| (scope, Some(place)));
    let (geo, region) = if scope == "geo" { (place, None) } else { (None, place) };
    add(!rate.scope.covers(Some(scope), geo, region), "scope", rate.scope.to_string(), key.scope.clone());
    add(rate.tier != key.tier, "tier", rate.tier.clone(), key.tier.clone());
    add(rate.mode != key.mode, "mode", rate.mode.to_string(), key.mode.to_string());
    if let Some(over) = rate.context_over {
        add(key.context <= over, "context_over", over.to_string(), key.context.to_string());
    }
    if let Some(from) = rate.valid_from {
        add(key.at < from, "valid_from", short(from), short(key.at));
    }
    if let Some(to) = rate.valid_to {
        add(key.at >= to, "valid_to", short(to), short(key.at));
    }
    all
}
