//! The price book: rows indexed by platform, model and edition, then tier, mode and bucket, best first.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::contract::{Contract, Contracts};
use super::key::{Bucket, Mode};
use super::list;
use super::rate::{PriceError, Rate};
use crate::model::Timestamp;

/// A row, ready to multiply with.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub rate: Rate,
    pub row_id: Arc<str>,
    pub currency: Arc<str>,
    pub unit_price: Decimal,
}

/// Rows of one tier and mode, by bucket; in each, the first that covers a call is its price.
#[derive(Clone, Debug, Default)]
pub(super) struct Tariff {
    tier: String,
    mode: Mode,
    buckets: [Vec<Row>; Bucket::ALL.len()],
}

impl Tariff {
    pub(super) fn rows(&self, bucket: Bucket) -> &[Row] {
        self.buckets.get(bucket.index()).map_or(&[], Vec::as_slice)
    }
}

/// The tariffs of one model.
#[derive(Clone, Debug, Default)]
struct Model {
    tariffs: Vec<Tariff>,
    snapshots: HashMap<String, Vec<Tariff>>,
}

/// Dated rates; immutable once loaded.
#[derive(Clone, Debug, Default)]
pub struct PriceBook {
    platforms: HashMap<String, HashMap<String, Model>>,
    pub(super) contracts: Contracts,
    rows: usize,
}

impl PriceBook {
    /// The list prices that come with the program.
    ///
    /// # Errors
    /// If the bundled list is damaged; never at run time, a test loads it.
    pub fn bundled() -> Result<Self, PriceError> {
        Self::from_rows(list::bundled()?)
    }

    /// A book of these rows; their order does not matter.
    ///
    /// # Errors
    /// The first row that can't be true, or two that contradict each other.
    pub fn from_rows(rows: Vec<Rate>) -> Result<Self, PriceError> {
        Self::new(rows, Vec::new())
    }

    /// A book of list prices and contracts; their order does not matter.
    ///
    /// # Errors
    /// The first row that can't be true, or two that contradict each other.
    pub fn new(rows: Vec<Rate>, contracts: Vec<Contract>) -> Result<Self, PriceError> {
        let mut book = Self { rows: rows.len(), contracts: Contracts::new(contracts)?, ..Self::default() };
        let mut ids = HashSet::with_capacity(rows.len());
        if let Some(twice) = rows.iter().find(|rate| !ids.insert(rate.row_id.as_str())) {
            return Err(PriceError::Duplicate(twice.row_id.clone(), twice.row_id.clone()));
        }
        for rate in rows {
            book.add(rate)?;
        }
        book.sort()?;
        Ok(book)
    }

    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// True without any row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Every row, in no particular order.
    pub fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.platforms
            .values()
            .flat_map(HashMap::values)
            .flat_map(|model| model.tariffs.iter().chain(model.snapshots.values().flatten()))
            .flat_map(|tariff| tariff.buckets.iter().flatten())
            .map(|row| &row.rate)
    }

    /// Every contract row, in no particular order.
    pub fn contracts(&self) -> impl Iterator<Item = &Contract> {
        self.contracts.rows()
    }

    /// The platforms that it has rows for, sorted.
    #[must_use]
    pub fn platforms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.platforms.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The rows of all platforms for models with this name, best first within each tier, mode and bucket.
    pub(super) fn rows_of_model<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Row> {
        self.platforms
            .values()
            .filter_map(move |models| models.get(name))
            .flat_map(|model| model.tariffs.iter().chain(model.snapshots.values().flatten()))
            .flat_map(|tariff| tariff.buckets.iter().flatten())
    }

    /// The models that a platform has rows for.
    pub(super) fn models(&self, platform: &str) -> impl Iterator<Item = &str> {
        self.platforms.get(platform).into_iter().flat_map(|models| models.keys().map(String::as_str))
    }

    /// The book as it was known at `at`: without the rows recorded later.
    ///
    /// # Errors
    /// None in practice: the rows have passed the checks before.
    pub fn as_known_at(&self, at: Timestamp) -> Result<Self, PriceError> {
        Self::new(
            self.rates().filter(|rate| rate.recorded_at <= at).cloned().collect(),
            self.contracts().filter(|contract| contract.recorded_at <= at).cloned().collect(),
        )
    }

    /// The tariff for a model, edition, tier and mode. An edition with any row has only its own.
    pub(super) fn tariff(
        &self,
        platform: &str,
        model: &str,
        snapshot: Option<&str>,
        tier: &str,
        mode: Mode,
    ) -> Option<&Tariff> {
        let model = self.platforms.get(platform)?.get(model)?;
        let own = snapshot.filter(|_| !model.snapshots.is_empty()).and_then(|name| model.snapshots.get(name));
        own.unwrap_or(&model.tariffs).iter().find(|tariff| tariff.tier == tier && tariff.mode == mode)
    }

    fn add(&mut self, rate: Rate) -> Result<(), PriceError> {
        let unit_price = rate.unit_price()?;
        let model = self.platforms.entry(rate.platform.clone()).or_default().entry(rate.model.clone()).or_default();
        let tariffs = match &rate.snapshot {
            Some(snapshot) => model.snapshots.entry(snapshot.clone()).or_default(),
            None => &mut model.tariffs,
        };
        let known = tariffs.iter().position(|tariff| tariff.tier == rate.tier && tariff.mode == rate.mode);
        let at = known.unwrap_or(tariffs.len());
        if known.is_none() {
            tariffs.push(Tariff { tier: rate.tier.clone(), mode: rate.mode, ..Tariff::default() });
        }
        let bucket = rate.bucket.index();
        if let Some(rows) = tariffs.get_mut(at).and_then(|tariff| tariff.buckets.get_mut(bucket)) {
            let (row_id, currency) = (rate.row_id.as_str().into(), rate.currency.as_str().into());
            rows.push(Row { row_id, currency, unit_price, rate });
        }
        Ok(())
    }

    /// Best first: layer, exactness of the scope, larger threshold, later start, later recorded.
    fn sort(&mut self) -> Result<(), PriceError> {
        let tariffs = self
            .platforms
            .values_mut()
            .flat_map(HashMap::values_mut)
            .flat_map(|model| model.tariffs.iter_mut().chain(model.snapshots.values_mut().flatten()));
        for rows in tariffs.flat_map(|tariff| tariff.buckets.iter_mut()) {
            rows.sort_by(|a, b| rank(&a.rate).cmp(&rank(&b.rate)).then_with(|| a.row_id.cmp(&b.row_id)));
            for pair in rows.windows(2) {
                if let [a, b] = pair
                    && rank(&a.rate) == rank(&b.rate)
                {
                    return Err(PriceError::Duplicate(a.rate.row_id.clone(), b.rate.row_id.clone()));
                }
            }
        }
        Ok(())
    }
}

fn rank(rate: &Rate) -> impl Ord + '_ {
    Reverse((rate.layer, &rate.scope, rate.context_over, rate.valid_from, rate.recorded_at))
}
