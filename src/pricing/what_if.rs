//! What a call would have cost elsewhere: the same counts, at the same instant, on another platform or under another
//! contract, with everything that makes the two not comparable.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::book::PriceBook;
use super::price::{CostLine, PriceQuery, Priced};
use crate::model::{CostStatus, platform};

/// Where the call would have been made; `None` for as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere<'a> {
    /// Who would bill.
    pub platform: Option<&'a str>,
    /// Billing account, for its contracts; `Some("")` for none.
    pub account: Option<&'a str>,
    /// Canonical model.
    pub model: Option<&'a str>,
    /// `in_region`, `geo`, `global`.
    pub scope: Option<&'a str>,
    /// Geography of scope `geo`.
    pub geo: Option<&'a str>,
    /// Region that would be called.
    pub region: Option<&'a str>,
    /// Tier that would be served.
    pub tier: Option<&'a str>,
}

/// A call here and elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// What it costs.
    pub here: Priced,
    /// What it would cost.
    pub elsewhere: Priced,
    /// Cost elsewhere minus cost here; only where both are known in full and in one currency.
    pub difference: Option<Decimal>,
    /// What was taken for granted about the other place.
    pub assumed: Vec<Assumed>,
    /// Why there is no difference to tell; empty if there is one.
    pub not_comparable: Vec<NotComparable>,
}

/// Something about the other place that nobody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assumed {
    /// The call has no scope that exists there; `global` was taken.
    GlobalScope,
    /// The region of the call means nothing there, so no row for one region was taken.
    NoRegion,
    /// The account of the call means nothing there, so no contract for an account was taken.
    NoAccount,
    /// The dated edition of the model is not known there; the model's own rows were taken.
    NoSnapshot,
    /// The contract does not hold at the time of the call; its first or last terms were taken.
    ContractDates,
}

impl Assumed {
    /// The stable word for columns and reports.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::GlobalScope => "global_scope",
            Self::NoRegion => "no_region",
            Self::NoAccount => "no_account",
            Self::NoSnapshot => "no_snapshot",
            Self::ContractDates => "contract_dates",
        }
    }
}

/// Why two prices can't be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotComparable {
    /// What the call costs here is not known in full.
    Here(CostStatus),
    /// Elsewhere there is no rate at all for this model, tier, scope and time.
    NoRates,
    /// Elsewhere these buckets have no rate.
    Buckets(Vec<CostLine>),
    /// Elsewhere a total that would be billed is not told by the record.
    MissingCount,
    /// The two are in different currencies.
    Currencies(Arc<str>, Arc<str>),
    /// Capacity that is paid by the hour has no price per call.
    Provisioned,
    /// The contract that is asked about is not one with the platform of the call.
    OtherPlatform,
}

impl NotComparable {
    /// The stable word for columns and reports.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Here(_) => "unknown_here",
            Self::NoRates => "no_rates",
            Self::Buckets(_) => "missing_buckets",
            Self::MissingCount => "missing_count",
            Self::Currencies(..) => "currencies",
            Self::Provisioned => "provisioned",
            Self::OtherPlatform => "other_platform",
        }
    }

    /// The word with what makes it so, the same for calls that lack the same.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Buckets(lines) => {
                let names: Vec<&str> = lines.iter().map(|line| line.bucket.as_str()).collect();
                format!("{}: {}", self.code(), names.join(" "))
            }
            Self::Here(status) => format!("{}: {status}", self.code()),
            Self::Currencies(here, there) => format!("{}: {here} {there}", self.code()),
            other => other.code().to_owned(),
        }
    }
}

impl PriceBook {
    /// Prices a call as it is and as it would be elsewhere.
    #[must_use]
    pub fn what_if(&self, q: &PriceQuery<'_>, to: &Elsewhere<'_>) -> WhatIf {
        self.compared(self.price(q), q, to)
    }

    /// Compares what a call cost, whoever says so, with what it would cost elsewhere by this book.
    #[must_use]
    pub fn compared(&self, here: Priced, q: &PriceQuery<'_>, to: &Elsewhere<'_>) -> WhatIf {
        let (moved, mut assumed) = moved(q, to);
        let mut elsewhere = self.price(&moved);
        // Rows of some platforms exist by scope only: the widest is the nearest to a call that has none.
        let unscoped = moved.scope.is_none() && to.scope.is_none() && moved.platform != q.platform;
        if unscoped && elsewhere.status != CostStatus::Priced {
            let global = self.price(&PriceQuery { scope: Some("global"), ..moved });
            if rank(global.status) > rank(elsewhere.status) {
                assumed.push(Assumed::GlobalScope);
                elsewhere = global;
            }
        }
        assumed.sort_unstable();
        let not_comparable = reasons(&here, &elsewhere);
        let difference = match (here.cost, elsewhere.cost) {
            (Some(here), Some(elsewhere)) if not_comparable.is_empty() => elsewhere.0.checked_sub(here.0),
            _ => None,
        };
        WhatIf { here, elsewhere, difference, assumed, not_comparable }
    }
}

fn moved<'a>(q: &PriceQuery<'a>, to: &Elsewhere<'a>) -> (PriceQuery<'a>, Vec<Assumed>) {
    let mut assumed = Vec::new();
    let mut moved = *q;
    moved.platform = to.platform.or(q.platform);
    moved.model = to.model.or(q.model);
    moved.tier = to.tier.or(q.tier);
    if to.tier.is_some() {
        moved.mode = None;
    }
    if moved.platform != q.platform || moved.model != q.model {
        // Editions are named by each platform in its own way, and rows of one's own are rare.
        moved.snapshot = None;
        if q.snapshot.is_some() {
            assumed.push(Assumed::NoSnapshot);
        }
    }
    if moved.platform != q.platform {
        if q.region.is_some() && to.region.is_none() {
            assumed.push(Assumed::NoRegion);
        }
        if q.account.is_some() && to.account.is_none() {
            assumed.push(Assumed::NoAccount);
        }
        (moved.region, moved.account) = (None, None);
        // The direct APIs have no scopes.
        let direct = matches!(moved.platform, Some(platform::OPENAI | platform::ANTHROPIC | platform::GEMINI));
        if direct {
            (moved.scope, moved.geo) = (None, None);
        }
    }
    moved.region = to.region.or(moved.region);
    moved.account = to.account.or(moved.account).filter(|account| !account.is_empty());
    if let Some(scope) = to.scope {
        (moved.scope, moved.geo) = (Some(scope), to.geo);
    }
    (moved, assumed)
}

const fn rank(status: CostStatus) -> u8 {
    match status {
        CostStatus::Priced => 2,
        CostStatus::Partial => 1,
        CostStatus::Unpriced | CostStatus::Allocated => 0,
    }
}

fn reasons(here: &Priced, elsewhere: &Priced) -> Vec<NotComparable> {
    let mut all = Vec::new();
    if here.status == CostStatus::Allocated || elsewhere.status == CostStatus::Allocated {
        all.push(NotComparable::Provisioned);
    } else if here.status != CostStatus::Priced {
        all.push(NotComparable::Here(here.status));
    }
    let missing: Vec<CostLine> = elsewhere.lines.iter().filter(|line| line.cost.is_none()).cloned().collect();
    match elsewhere.status {
        // Without any line there was nothing to apply a rate to.
        CostStatus::Unpriced if elsewhere.lines.is_empty() => all.push(NotComparable::MissingCount),
        CostStatus::Unpriced => all.push(NotComparable::NoRates),
        CostStatus::Partial if missing.is_empty() => all.push(NotComparable::MissingCount),
        CostStatus::Partial => all.push(NotComparable::Buckets(missing)),
        CostStatus::Priced | CostStatus::Allocated => {}
    }
    if let (Some(a), Some(b)) = (&here.currency, &elsewhere.currency)
        && a != b
    {
        all.push(NotComparable::Currencies(Arc::clone(a), Arc::clone(b)));
    }
    all
}
