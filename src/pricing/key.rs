//! What a rate is for: layer, scope, mode and unit, with their words in price rows.

use std::fmt;
use std::str::FromStr;

/// Who says so; a later one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The list that comes with the program.
    #[default]
    Bundled,
    /// The operator's own list.
    Operator,
    /// A factor of a contract, on the list price.
    ContractMultiplier,
    /// A price of a contract.
    ContractRate,
}

/// How the call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Answered at once.
    #[default]
    Sync,
    /// Part of a batch job.
    Batch,
    /// Served by capacity that is paid by the hour, see [`Commitment`](super::Commitment).
    Provisioned,
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
    /// Search units of a rerank.
    SearchUnit,
    /// Hours of one unit of provisioned capacity; no bucket of a call.
    Hour,
}

impl Bucket {
    /// All of them, in the order of their lines.
    pub const ALL: [Self; 12] = [
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
        Self::SearchUnit,
        Self::Hour,
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
            Self::SearchUnit => "search_unit",
            Self::Hour => "hour",
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
            Self::SearchUnit => 10,
            Self::Hour => 11,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sync, Self::Batch, Self::Provisioned];

    /// The word in price rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Batch => "batch",
            Self::Provisioned => "provisioned",
        }
    }
}

impl FromStr for Mode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}

impl Layer {
    /// The word in price rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bundled => "bundled",
            Self::Operator => "operator",
            Self::ContractMultiplier => "contract_multiplier",
            Self::ContractRate => "contract_rate",
        }
    }
}

impl FromStr for Layer {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Bundled, Self::Operator, Self::ContractMultiplier, Self::ContractRate]
            .into_iter()
            .find(|layer| layer.as_str() == text)
            .ok_or(())
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
    /// Whether a call can be covered by both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::InRegion | Self::Region(_), Self::InRegion) | (Self::InRegion, Self::Region(_)) => true,
            (a, b) => a == b,
        }
    }

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
