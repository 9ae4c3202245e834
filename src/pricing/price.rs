//! From a call's counts to its cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::book::{PriceBook, Row, Tariff};
use super::contract::{Agreed, Asked, Term};
use super::key::{Bucket, Mode};
use crate::model::{CostStatus, Money, Timestamp, Usage, UsageStatus, platform};

/// What a call's price depends on. `None` where it is not known.
#[derive(Clone, Copy, Debug)]
pub struct PriceQuery<'a> {
    /// Who bills.
    pub platform: Option<&'a str>,
    /// Billing account, for contracts.
    pub account: Option<&'a str>,
    /// Canonical model.
    pub model: Option<&'a str>,
    /// Dated edition of the model.
    pub snapshot: Option<&'a str>,
    /// `in_region`, `geo`, `global`.
    pub scope: Option<&'a str>,
    /// Geography of scope `geo`.
    pub geo: Option<&'a str>,
    /// Region that was called.
    pub region: Option<&'a str>,
    /// Tier as served: `standard` (also `None` and `default`), `priority`, `flex`, `batch`, `provisioned`.
    pub tier: Option<&'a str>,
    /// Where it is known apart from the tier; `None` to take it from there.
    pub mode: Option<Mode>,
    /// `chat`, `embeddings`, …
    pub operation: Option<&'a str>,
    /// When the call was made.
    pub at: Timestamp,
    /// Its counts.
    pub usage: &'a Usage,
    /// Search units of a rerank; no usage record counts them yet.
    pub search_units: Option<u64>,
    /// How far they can be trusted.
    pub usage_status: UsageStatus,
    /// It certainly was not served: refused, throttled, an error, filtered before the model. False for a cancelled
    /// call and where the outcome is unknown: these may be billed without a count.
    pub failed: bool,
}

impl<'a> PriceQuery<'a> {
    /// A measured, served call of which nothing else is known; to be filled in with `..`.
    #[must_use]
    pub const fn new(at: Timestamp, usage: &'a Usage) -> Self {
        Self {
            platform: None,
            account: None,
            model: None,
            snapshot: None,
            scope: None,
            geo: None,
            region: None,
            tier: None,
            mode: None,
            operation: None,
            at,
            usage,
            search_units: None,
            usage_status: UsageStatus::Measured,
            failed: false,
        }
    }

    /// The tier and mode of price rows. `auto` and other words that name no tier stay what they are, and have no rows.
    pub(super) fn tier_and_mode(&self) -> (&'a str, Mode) {
        let (tier, mode) = match self.tier {
            None | Some("" | "default" | "standard") => ("standard", Mode::Sync),
            Some("batch") => ("standard", Mode::Batch),
            Some("provisioned") => ("standard", Mode::Provisioned),
            Some(other) => (other, Mode::Sync),
        };
        (tier, self.mode.unwrap_or(mode))
    }
}

/// One bucket of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostLine {
    /// What was counted.
    pub bucket: Bucket,
    /// How many, above 0.
    pub quantity: u64,
    /// The list row that priced it; `None` where there is none.
    pub rate_id: Option<Arc<str>>,
    /// List price of one unit; `None` too where it is in another currency than the contract's.
    pub unit_price: Option<Decimal>,
    /// Cost at list price.
    pub list_cost: Option<Money>,
    /// The contract that changes or replaces the list price.
    pub contract_id: Option<Arc<str>>,
    /// The contract's price of one unit.
    pub contract_price: Option<Decimal>,
    /// Cost at the contract's price, at list price without a contract; `None` where nothing has a price for it.
    pub cost: Option<Money>,
}

impl CostLine {
    const fn unpriced(bucket: Bucket, quantity: u64) -> Self {
        Self {
            bucket,
            quantity,
            rate_id: None,
            unit_price: None,
            list_cost: None,
            contract_id: None,
            contract_price: None,
            cost: None,
        }
    }
}

/// What a call costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priced {
    /// Cost at list price; `None` for unknown, never 0 for it: also where a contract prices what no list does.
    pub list_cost: Option<Money>,
    /// Cost at the contract's price; equal to `list_cost` without a contract.
    pub cost: Option<Money>,
    /// ISO 4217; `None` without any priced line.
    pub currency: Option<Arc<str>>,
    /// What is known about the cost.
    pub status: CostStatus,
    /// Rows that the cost was computed from, those of contracts included, in the order of the lines.
    pub rate_ids: Vec<Arc<str>>,
    /// Every bucket with a quantity, priced or not.
    pub lines: Vec<CostLine>,
}

impl Priced {
    fn free() -> Self {
        let zero = Some(Money(Decimal::ZERO));
        Self { list_cost: zero, cost: zero, status: CostStatus::Priced, ..Self::default() }
    }
}

/// A call's disjoint counts.
pub(super) struct Split {
    pub counts: [u64; Bucket::ALL.len()],
    /// The subsets exceed their whole, so the rest is unknown.
    pub broken: bool,
}

/// The disjoint buckets of canonical counts; `None` if subsets exceed their whole.
#[must_use]
pub fn disjoint(usage: &Usage) -> Option<BTreeMap<Bucket, u64>> {
    let n = |count: Option<u64>| count.unwrap_or(0);
    let parts = [
        (Bucket::CacheRead, n(usage.cache_read)),
        (Bucket::CacheWrite5m, n(usage.cache_write).checked_sub(n(usage.cache_write_1h))?),
        (Bucket::CacheWrite1h, n(usage.cache_write_1h)),
        (Bucket::AudioInput, n(usage.audio_input)),
        (Bucket::ImageInput, n(usage.image_input)),
    ];
    let taken = parts.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count))?;
    let rest = [
        (Bucket::Input, n(usage.input).checked_sub(taken)?),
        (Bucket::Output, n(usage.output).checked_sub(n(usage.audio_output))?),
        (Bucket::AudioOutput, n(usage.audio_output)),
        (Bucket::Image, n(usage.images)),
    ];
    Some(parts.into_iter().chain(rest).filter(|(_, count)| *count > 0).collect())
}

impl PriceBook {
    /// The cost of one call, exact.
    #[must_use]
    pub fn price(&self, q: &PriceQuery<'_>) -> Priced {
        if q.tier_and_mode().1 == Mode::Provisioned {
            return Priced { status: CostStatus::Allocated, ..Priced::default() };
        }
        let counted = q.search_units.is_some_and(|units| units > 0);
        let missing = (q.usage_status == UsageStatus::Missing || q.usage.is_empty()) && !counted;
        if q.failed && (missing || (q.usage.is_zero() && !counted)) {
            return Priced::free();
        }
        if missing {
            return Priced::default();
        }
        Finder::new(self, q).price()
    }
}

/// Vertex serves a location, and the location is the scope.
fn scope<'a>(q: &PriceQuery<'a>) -> (Option<&'a str>, Option<&'a str>) {
    match (q.scope, q.platform, q.region) {
        (None, Some(platform::VERTEX), Some("global")) => (Some("global"), None),
        (None, Some(platform::VERTEX), Some(region @ ("us" | "eu"))) => (Some("geo"), Some(region)),
        (None, Some(platform::VERTEX), Some(_)) => (Some("in_region"), None),
        (scope, _, _) => (scope, q.geo),
    }
}

/// The prices that hold for one call.
pub(super) struct Finder<'a> {
    q: &'a PriceQuery<'a>,
    tariff: Option<&'a Tariff>,
    /// Scope and geography.
    pub scope: (Option<&'a str>, Option<&'a str>),
    /// Input tokens, cached ones included.
    pub context: u64,
    contracts: Vec<&'a Agreed>,
    /// Tier and mode of the rows that are looked at.
    pub tariff_key: (&'a str, Mode),
}

/// What one bucket costs.
pub(super) struct Found<'a> {
    /// Its list price.
    pub list: Option<&'a Row>,
    /// The contract row that changes or replaces it.
    pub agreed: Option<&'a Agreed>,
    /// Price of one unit after the contract.
    pub unit_price: Decimal,
    /// Its currency.
    pub currency: &'a Arc<str>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(book: &'a PriceBook, q: &'a PriceQuery<'a>) -> Self {
        let (tier, mode) = q.tier_and_mode();
        let scope = scope(q);
        let (mut tariff, mut contracts) = (None, Vec::new());
        if let (Some(platform), Some(model)) = (q.platform, q.model) {
            tariff = book.tariff(platform, model, q.snapshot, tier, mode);
            contracts = book.contracts.holding(&Asked {
                platform,
                account: q.account,
                model,
                scope: scope.0,
                geo: scope.1,
                region: q.region,
                tier,
                mode,
                at: q.at,
            });
        }
        Self { q, tariff, scope, context: q.usage.input.unwrap_or(0), contracts, tariff_key: (tier, mode) }
    }

    /// The list row for a bucket: the first of the sorted rows that covers the call.
    fn row(&self, bucket: Bucket) -> Option<&'a Row> {
        let (scope, geo) = self.scope;
        self.tariff?.rows(bucket).iter().find(|row| {
            row.rate.context_over.is_none_or(|over| self.context > over)
                && row.rate.scope.covers(scope, geo, self.q.region)
                && row.rate.valid_at(self.q.at)
        })
    }

    /// The price of a contract for a bucket, else the list price times the factor of one, else the list price.
    pub(super) fn find(&self, bucket: Bucket) -> Option<Found<'a>> {
        let list = self.row(bucket);
        let own = self.contracts.iter().copied().find_map(|agreed| match &agreed.term {
            Term::Rate { bucket: own, unit_price, currency } if *own == bucket => {
                Some(Found { list, agreed: Some(agreed), unit_price: *unit_price, currency })
            }
            _ => None,
        });
        if own.is_some() {
            return own;
        }
        let row = list?;
        let factor = self.contracts.iter().copied().find_map(|agreed| match &agreed.term {
            Term::Multiplier(factor) => Some((agreed, *factor)),
            Term::Rate { .. } => None,
        });
        let Some((agreed, factor)) = factor else {
            return Some(Found { list, agreed: None, unit_price: row.unit_price, currency: &row.currency });
        };
        let unit_price = exact_product(row.unit_price, factor)?;
        Some(Found { list, agreed: Some(agreed), unit_price, currency: &row.currency })
    }

    pub(super) fn price(&self) -> Priced {
        let split = self.split();
        if split.broken {
            return Priced::default();
        }
        let mut priced = Priced { lines: Vec::with_capacity(4), rate_ids: Vec::with_capacity(4), ..Priced::default() };
        let (mut total, mut list_total) = (Decimal::ZERO, Some(Decimal::ZERO));
        let mut without = self.lacks_a_count();
        for (bucket, quantity) in Bucket::ALL.into_iter().zip(split.counts).filter(|(_, quantity)| *quantity > 0) {
            let line = self.line(bucket, quantity, priced.currency.as_ref());
            let sum = line.as_ref().and_then(|(line, _)| exact_sum(total, line.cost?.0));
            let (Some((line, found)), Some(sum)) = (line, sum) else {
                without = true;
                priced.lines.push(CostLine::unpriced(bucket, quantity));
                continue;
            };
            total = sum;
            list_total = list_total.zip(line.list_cost).and_then(|(sum, cost)| exact_sum(sum, cost.0));
            priced.currency.get_or_insert_with(|| Arc::clone(found.currency));
            let ids = [found.list.map(|row| &row.row_id), found.agreed.map(|agreed| &agreed.row_id)];
            for id in ids.into_iter().flatten() {
                if !priced.rate_ids.contains(id) {
                    priced.rate_ids.push(Arc::clone(id));
                }
            }
            priced.lines.push(line);
        }
        priced.status = match (priced.rate_ids.is_empty(), without) {
            (_, false) => CostStatus::Priced,
            (false, true) => CostStatus::Partial,
            (true, true) => CostStatus::Unpriced,
        };
        if priced.status != CostStatus::Unpriced {
            priced.list_cost = list_total.map(Money);
            priced.cost = Some(Money(total));
        }
        priced
    }

    /// A priced bucket; nothing if it has no price, or none in the currency of the call.
    fn line(&self, bucket: Bucket, quantity: u64, currency: Option<&Arc<str>>) -> Option<(CostLine, Found<'a>)> {
        let found = self.find(bucket).filter(|found| currency.is_none_or(|currency| currency == found.currency))?;
        let cost = exact_product(found.unit_price, Decimal::from(quantity))?;
        // A list price in another currency than the contract's says nothing about this cost.
        let list = found.list.filter(|row| row.currency == *found.currency);
        let list_cost = list.and_then(|row| exact_product(row.unit_price, Decimal::from(quantity)));
        let line = CostLine {
            rate_id: found.list.map(|row| Arc::clone(&row.row_id)),
            unit_price: list.map(|row| row.unit_price),
            list_cost: list_cost.map(Money),
            contract_id: found.agreed.map(|agreed| Arc::clone(&agreed.contract_id)),
            contract_price: found.agreed.map(|_| found.unit_price),
            cost: Some(Money(cost)),
            ..CostLine::unpriced(bucket, quantity)
        };
        Some((line, found))
    }

    /// A total that the provider would bill but the record does not tell. Absent is not 0.
    pub(super) fn lacks_a_count(&self) -> bool {
        if self.q.failed {
            return false;
        }
        let no_output = matches!(self.q.operation, Some("embeddings" | "rerank" | "moderation" | "image"));
        let input_rate = self.tariff.is_none_or(|tariff| !tariff.rows(Bucket::Input).is_empty());
        let output_rate = self.tariff.is_none_or(|tariff| !tariff.rows(Bucket::Output).is_empty());
        let usage = self.q.usage;
        (usage.input.is_none() && input_rate && usage.images.is_none())
            || (usage.output.is_none() && output_rate && !no_output)
    }

    /// The disjoint buckets: what has no bucket of its own stays in input and output.
    pub(super) fn split(&self) -> Split {
        let usage = self.q.usage;
        let or_zero = |count: Option<u64>| count.unwrap_or(0);
        let (read, write) = (or_zero(usage.cache_read), or_zero(usage.cache_write));
        let hour = or_zero(usage.cache_write_1h);
        let (audio_in, audio_out) = (or_zero(usage.audio_input), or_zero(usage.audio_output));
        // Image tokens cost what text costs unless the vendor says otherwise; audio never does.
        // Most calls have neither: nothing is looked up for them.
        let image_in = usage.image_input.filter(|count| *count > 0 && self.find(Bucket::ImageInput).is_some());
        let image_in = or_zero(image_in);
        let by_image = || usage.output.is_none_or(|output| output == 0) || self.find(Bucket::Image).is_some();
        let images = or_zero(usage.images.filter(|count| *count > 0 && by_image()));
        let request = u64::from(!self.q.failed && self.find(Bucket::Request).is_some());

        let taken = [read, write, audio_in, image_in].iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        let fresh = taken.and_then(|taken| or_zero(usage.input).checked_sub(taken));
        let spoken = or_zero(usage.output).checked_sub(audio_out);
        let usual = write.checked_sub(hour);
        let broken = fresh.is_none() || spoken.is_none() || usual.is_none();
        let counts = [
            or_zero(fresh),
            read,
            or_zero(usual),
            hour,
            or_zero(spoken),
            audio_in,
            audio_out,
            image_in,
            images,
            request,
            self.q.search_units.unwrap_or(0),
            0,
        ];
        Split { counts, broken }
    }
}

/// Exact or nothing: a product that would need rounding does not exist.
pub(super) fn exact_product(a: Decimal, b: Decimal) -> Option<Decimal> {
    let product = a.checked_mul(b)?;
    (product.scale() == a.scale() + b.scale() || product.is_zero()).then_some(product)
}

pub(super) fn exact_sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    // Nothing is lost by adding nothing, whatever the digits of that zero.
    a.checked_add(b).filter(|sum| a.is_zero() || b.is_zero() || sum.scale() >= a.scale().max(b.scale()))
}
