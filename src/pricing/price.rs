//! From a call's counts to its cost.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::book::{PriceBook, Row, Tariff};
use super::rate::{Bucket, Mode};
use crate::model::{CostStatus, Money, Timestamp, Usage, UsageStatus, platform};

/// What a call's price depends on. `None` where it is not known.
#[derive(Clone, Copy, Debug)]
pub struct PriceQuery<'a> {
    /// Who bills.
    pub platform: Option<&'a str>,
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
    /// `chat`, `embeddings`, …
    pub operation: Option<&'a str>,
    /// When the call was made.
    pub at: Timestamp,
    /// Its counts.
    pub usage: &'a Usage,
    /// How far they can be trusted.
    pub usage_status: UsageStatus,
    /// It certainly was not served: refused, throttled, an error, filtered before the model. False for a cancelled
    /// call and where the outcome is unknown: these may be billed without a count.
    pub failed: bool,
}

/// One bucket of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostLine {
    /// What was counted.
    pub bucket: Bucket,
    /// How many, above 0.
    pub quantity: u64,
    /// The row that priced it; `None` where there is none.
    pub rate_id: Option<Arc<str>>,
    /// Price of one unit.
    pub unit_price: Option<Decimal>,
    /// Cost at list price.
    pub list_cost: Option<Money>,
    /// Cost at the contract's price.
    pub cost: Option<Money>,
}

/// What a call costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priced {
    /// Cost at list price; `None` for unknown, never 0 for it.
    pub list_cost: Option<Money>,
    /// Cost at the contract's price; equal to `list_cost` without a contract.
    pub cost: Option<Money>,
    /// ISO 4217; `None` without any priced line.
    pub currency: Option<Arc<str>>,
    /// What is known about the cost.
    pub status: CostStatus,
    /// Rows that the cost was computed from, in the order of the lines.
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
struct Split {
    counts: [u64; Bucket::ALL.len()],
    /// The subsets exceed their whole, so the rest is unknown.
    broken: bool,
}

impl PriceBook {
    /// The cost of one call, exact.
    #[must_use]
    pub fn price(&self, q: &PriceQuery<'_>) -> Priced {
        if q.tier == Some("provisioned") {
            return Priced { status: CostStatus::Allocated, ..Priced::default() };
        }
        let missing = q.usage_status == UsageStatus::Missing || q.usage.is_empty();
        if q.failed && (missing || q.usage.is_zero()) {
            return Priced::free();
        }
        if missing {
            return Priced::default();
        }
        let (tier, mode) = match q.tier {
            None | Some("" | "default" | "standard") => ("standard", Mode::Sync),
            Some("batch") => ("standard", Mode::Batch),
            Some(other) => (other, Mode::Sync),
        };
        let tariff = match (q.platform, q.model) {
            (Some(platform), Some(model)) => self.tariff(platform, model, q.snapshot, tier, mode),
            _ => None,
        };
        let finder = Finder { q, tariff, scope: scope(q), context: q.usage.input.unwrap_or(0) };
        finder.price()
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

struct Finder<'a> {
    q: &'a PriceQuery<'a>,
    tariff: Option<&'a Tariff>,
    scope: (Option<&'a str>, Option<&'a str>),
    context: u64,
}

impl<'a> Finder<'a> {
    /// The row for a bucket: the first of the sorted rows that covers the call.
    fn row(&self, bucket: Bucket) -> Option<&'a Row> {
        let (scope, geo) = self.scope;
        self.tariff?.rows(bucket).iter().find(|row| {
            row.rate.context_over.is_none_or(|over| self.context > over)
                && row.rate.scope.covers(scope, geo, self.q.region)
                && row.rate.valid_at(self.q.at)
        })
    }

    fn price(&self) -> Priced {
        let split = self.split();
        if split.broken {
            return Priced::default();
        }
        let mut priced = Priced { lines: Vec::with_capacity(4), rate_ids: Vec::with_capacity(4), ..Priced::default() };
        let mut total = Decimal::ZERO;
        let mut without = self.lacks_a_count();
        for (bucket, quantity) in Bucket::ALL.into_iter().zip(split.counts).filter(|(_, quantity)| *quantity > 0) {
            let found = self.row(bucket).and_then(|row| {
                let currency = priced.currency.as_ref().is_none_or(|currency| *currency == row.currency);
                let cost = currency.then(|| multiply(row.unit_price, quantity)).flatten()?;
                total.checked_add(cost).filter(|sum| exact_sum(*sum, total, cost)).map(|sum| (row, cost, sum))
            });
            let line = CostLine { bucket, quantity, rate_id: None, unit_price: None, list_cost: None, cost: None };
            let Some((row, cost, sum)) = found else {
                without = true;
                priced.lines.push(line);
                continue;
            };
            total = sum;
            priced.currency.get_or_insert_with(|| Arc::clone(&row.currency));
            priced.rate_ids.push(Arc::clone(&row.row_id));
            priced.lines.push(CostLine {
                rate_id: Some(Arc::clone(&row.row_id)),
                unit_price: Some(row.unit_price),
                list_cost: Some(Money(cost)),
                cost: Some(Money(cost)),
                ..line
            });
        }
        priced.status = match (priced.rate_ids.is_empty(), without) {
            (_, false) => CostStatus::Priced,
            (false, true) => CostStatus::Partial,
            (true, true) => CostStatus::Unpriced,
        };
        if priced.status != CostStatus::Unpriced {
            priced.list_cost = Some(Money(total));
            priced.cost = priced.list_cost;
        }
        priced
    }

    /// A total that the provider would bill but the record does not tell. Absent is not 0.
    fn lacks_a_count(&self) -> bool {
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
    fn split(&self) -> Split {
        let usage = self.q.usage;
        let or_zero = |count: Option<u64>| count.unwrap_or(0);
        let (read, write) = (or_zero(usage.cache_read), or_zero(usage.cache_write));
        let hour = or_zero(usage.cache_write_1h);
        let (audio_in, audio_out) = (or_zero(usage.audio_input), or_zero(usage.audio_output));
        // Image tokens cost what text costs unless the vendor says otherwise; audio never does.
        let image_in = if self.row(Bucket::ImageInput).is_some() { or_zero(usage.image_input) } else { 0 };
        let by_image = usage.output.is_none_or(|output| output == 0) || self.row(Bucket::Image).is_some();
        let images = if by_image { or_zero(usage.images) } else { 0 };
        let request = u64::from(!self.q.failed && self.row(Bucket::Request).is_some());

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
        ];
        Split { counts, broken }
    }
}

/// Exact or nothing: a product that would need rounding does not exist.
fn multiply(unit_price: Decimal, quantity: u64) -> Option<Decimal> {
    let product = unit_price.checked_mul(Decimal::from(quantity))?;
    (product.scale() == unit_price.scale() || product.is_zero()).then_some(product)
}

fn exact_sum(sum: Decimal, a: Decimal, b: Decimal) -> bool {
    sum.scale() >= a.scale().max(b.scale())
}
