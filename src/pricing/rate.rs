//! One row of the price book and the checks it has to pass.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

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
    #[error("price row {0}: the price of one unit has more than 12 fraction digits")]
    TooFine(String),
    /// It ends before it starts.
    #[error("price row {0}: valid_to is not after valid_from")]
    EmptyPeriod(String),
    /// Two rows say something about the same thing, from the same instant, recorded at the same instant.
    #[error("price rows {0} and {1} contradict each other")]
    Duplicate(String, String),
}

/// Who says so; a later one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The list that comes with the program.
    #[default]
    Bundled,
    /// The operator's own list.
    Operator,
}

/// How the call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Answered at once.
    #[default]
    Sync,
    /// Part of a batch job.
    Batch,
}

/// What is counted. The buckets of a call are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    /// Input tokens that have no other bucket.
    #[default]
    Input,
    /// Input tokens read from a cache.
    CacheRead,
    /// Input tokens written to a cache for its usual time (5 minutes with most).
    CacheWrite5m,
    /// Input tokens written to a cache for an hour.
    CacheWrite1h,
    /// Output tokens, reasoning included.
    Output,
    /// Audio input tokens.
    AudioInput,
    /// Audio output tokens.
    AudioOutput,
    /// Image input tokens.
    ImageInput,
    /// Images made.
    Image,
    /// The request itself.
    Request,
}

impl Bucket {
    /// All of them, in the order of their lines.
    pub const ALL: [Self; 10] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Output,
        Self::AudioInput,
        Self::AudioOutput,
        Self::ImageInput,
        Self::Image,
        Self::Request,
    ];

    /// The word in price rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::AudioInput => "audio_input",
            Self::AudioOutput => "audio_output",
            Self::ImageInput => "image_input",
            Self::Image => "image",
            Self::Request => "request",
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Input => 0,
            Self::CacheRead => 1,
            Self::CacheWrite5m => 2,
            Self::CacheWrite1h => 3,
            Self::Output => 4,
            Self::AudioInput => 5,
            Self::AudioOutput => 6,
            Self::ImageInput => 7,
            Self::Image => 8,
            Self::Request => 9,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Bucket {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|bucket| bucket.as_str() == text).ok_or(())
    }
}

impl Mode {
    /// The word in price rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Batch => "batch",
        }
    }
}

impl FromStr for Mode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Sync, Self::Batch].into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}

impl Layer {
    /// The word in price rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bundled => "bundled",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for Layer {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Bundled, Self::Operator].into_iter().find(|layer| layer.as_str() == text).ok_or(())
    }
}

/// Which calls a row is for, by where they may run. Ordered from the least to the most exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RateScope {
    /// `*`: any, and also where it is not known.
    #[default]
    Any,
    /// `global`.
    Global,
    /// `geo:us`.
    Geo(String),
    /// `in_region`.
    InRegion,
    /// `in_region:eu-west-1`: in this region.
    Region(String),
}

impl RateScope {
    /// True if the row is for a call of this scope, geography and region.
    pub(super) fn covers(&self, scope: Option<&str>, geo: Option<&str>, region: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Global => scope == Some("global"),
            Self::Geo(name) => scope == Some("geo") && geo == Some(name),
            Self::InRegion => scope == Some("in_region"),
            Self::Region(name) => scope == Some("in_region") && region == Some(name),
        }
    }
}

impl fmt::Display for RateScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Global => f.write_str("global"),
            Self::Geo(name) => write!(f, "geo:{name}"),
            Self::InRegion => f.write_str("in_region"),
            Self::Region(name) => write!(f, "in_region:{name}"),
        }
    }
}

impl FromStr for RateScope {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            Some(("geo", name)) if !name.is_empty() => Ok(Self::Geo(name.to_owned())),
            Some(("in_region", name)) if !name.is_empty() => Ok(Self::Region(name.to_owned())),
            Some(_) => Err(()),
            None => match text {
                "*" => Ok(Self::Any),
                "global" => Ok(Self::Global),
                "in_region" | "in-region" => Ok(Self::InRegion),
                _ => Err(()),
            },
        }
    }
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
    /// Sync or batch.
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
    /// Which version and entry of the source.
    pub source_ref: String,
}

impl Rate {
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
        let unit = self.amount.checked_div(self.per).ok_or_else(|| invalid("per"))?.normalize();
        let exact = unit.checked_mul(self.per).is_some_and(|amount| amount == self.amount);
        if !exact || unit.scale() > u32::from(MONEY_SCALE.unsigned_abs()) {
            return Err(PriceError::TooFine(self.row_id.clone()));
        }
        Ok(unit)
    }

    /// True if the row is about calls at this instant.
    pub(super) fn valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| at >= from) && self.valid_to.is_none_or(|to| at < to)
    }
}
