//! One row of the price book and the checks it has to pass.

use rust_decimal::Decimal;

use super::key::{Bucket, Layer, Mode, RateScope};
use crate::model::{MONEY_SCALE, Timestamp};

/// Why a row can't be part of a price book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A field does not hold what it should.
    #[error("price row {row}: {field} is not valid")]
    Field {
        /// Row id, or line of the list.
        row: String,
        /// Name of the field.
        field: &'static str,
    },
    /// Amount divided by unit has more digits than a cost can keep.
    #[error("price row {0}: the price of one unit, or the factor, has more digits than a cost can keep exactly")]
    TooFine(String),
    /// It ends before it starts.
    #[error("price row {0}: valid_to is not after valid_from")]
    EmptyPeriod(String),
    /// A factor is not above 0 and at most 10.
    #[error("contract {0}: the factor must be above 0 and at most 10")]
    Factor(String),
    /// Two contracts are equally specific, and nothing says which holds.
    #[error("contracts {0} and {1} both hold for the same calls and are equally specific")]
    Clash(String, String),
    /// Two rows say something about the same thing, from the same instant, recorded at the same instant.
    #[error("price rows {0} and {1} contradict each other")]
    Duplicate(String, String),
}

/// One dated price. Rows are never edited: a change is a new row, which ends an earlier open one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Identity, stable and readable; named by every cost computed from it.
    pub row_id: String,
    /// Who says so.
    pub layer: Layer,
    /// Who bills.
    pub platform: String,
    /// Canonical model.
    pub model: String,
    /// A dated edition with prices of its own; `None` for the model itself. Where an edition has any row, only its own
    /// rows apply to it.
    pub snapshot: Option<String>,
    /// Where the call may run.
    pub scope: RateScope,
    /// Service tier as served: `standard`, `flex`, `priority`.
    pub tier: String,
    /// Sync, batch or provisioned.
    pub mode: Mode,
    /// What is counted.
    pub bucket: Bucket,
    /// For whole requests with strictly more input tokens than this (cached ones included); `None` for all.
    pub context_over: Option<u64>,
    /// The amount is for this many units.
    pub per: Decimal,
    /// Price, in `currency`.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// First instant of its validity; `None` for ever before.
    pub valid_from: Option<Timestamp>,
    /// First instant after its validity; `None` for ever after.
    pub valid_to: Option<Timestamp>,
    /// When it became known.
    pub recorded_at: Timestamp,
    /// Where it comes from.
    pub source: String,
    /// Which version and entry of the source; who entered it.
    pub source_ref: String,
    /// Why, in the words of who entered it.
    pub note: String,
}

impl Rate {
    /// The identity of a row that has none of its own: the key, the start of its validity and when it became known.
    #[must_use]
    pub fn derived_id(&self, prefix: &str) -> String {
        let edition = self.snapshot.as_deref().map(|name| format!("@{name}")).unwrap_or_default();
        let context = self.context_over.map(|over| format!(":over-{over}")).unwrap_or_default();
        let start = self.valid_from.map_or_else(|| "start".to_owned(), short);
        format!(
            "{prefix}:{}:{}{edition}:{}:{}:{}:{}{context}:{start}:r{}",
            self.platform,
            self.model,
            self.scope,
            self.tier,
            self.mode,
            self.bucket,
            short(self.recorded_at)
        )
    }

    /// True if both are about the same calls, whenever they are valid.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.layer == other.layer
            && self.bucket == other.bucket
            && self.mode == other.mode
            && self.context_over == other.context_over
            && self.model == other.model
            && self.platform == other.platform
            && self.tier == other.tier
            && self.scope == other.scope
            && self.snapshot == other.snapshot
    }

    /// The price of one unit, exact.
    ///
    /// # Errors
    /// If the row can't be true, or its price has more digits than a cost can keep.
    pub(super) fn unit_price(&self) -> Result<Decimal, PriceError> {
        let invalid = |field| PriceError::Field { row: self.row_id.clone(), field };
        let fields = [
            (self.row_id.is_empty(), "row_id"),
            (self.platform.is_empty(), "platform"),
            (self.model.is_empty(), "model"),
            (self.tier.is_empty(), "tier"),
            (self.per <= Decimal::ZERO, "per"),
            (self.amount < Decimal::ZERO, "amount"),
            (self.currency.len() != 3 || !self.currency.bytes().all(|b| b.is_ascii_uppercase()), "currency"),
        ];
        if let Some((_, field)) = fields.into_iter().find(|(wrong, _)| *wrong) {
            return Err(invalid(field));
        }
        if let (Some(from), Some(to)) = (self.valid_from, self.valid_to)
            && to <= from
        {
            return Err(PriceError::EmptyPeriod(self.row_id.clone()));
        }
        unit_price(self.amount, self.per).ok_or_else(|| PriceError::TooFine(self.row_id.clone()))
    }

    /// True if the row is about calls at this instant.
    pub(super) fn valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| at >= from) && self.valid_to.is_none_or(|to| at < to)
    }
}

/// The price of one unit, exact; `None` if it has more digits than a cost can keep.
pub(super) fn unit_price(amount: Decimal, per: Decimal) -> Option<Decimal> {
    let unit = amount.checked_div(per)?.normalize();
    let exact = unit.checked_mul(per).is_some_and(|whole| whole == amount);
    (exact && unit.scale() <= u32::from(MONEY_SCALE.unsigned_abs())).then_some(unit)
}

/// A day where the instant is one.
pub(super) fn short(at: Timestamp) -> String {
    let text = at.to_string();
    text.strip_suffix("T00:00:00.000000Z").map_or_else(|| text.replace(".000000Z", "Z"), str::to_owned)
}
