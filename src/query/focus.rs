//! The FOCUS export of a moment: its calls as lines of one price each, with capacity and corrections.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use rust_decimal::Decimal;

use super::Engine;
use super::priced::{Agreement, OtherPrices, PricedCall, each_priced};
use super::reports::{ReportFailure, report_rows};
use crate::finance::Terms;
use crate::finance::ask::{UNKNOWN, during};
use crate::finance::focus::{
    Capacity, Charge, CorrectionLine, ExportInputs, FocusAsk, FocusExport, FocusRefusal, LedgerSums, UnpricedUsage,
    UsageLine, accounts, resource,
};
use crate::ledger::View;
use crate::model::{Call, CostStatus, Interval, Outcome, Timestamp, UsageStatus};
use crate::pricing::{Bucket, Commitment, CostLine, Rate};
use crate::settle::Rules;

/// What an export is made from beside the view: all that is pinned with a closed month.
#[derive(Clone, Copy)]
pub struct FocusSources<'a> {
    /// What the calls were priced with.
    pub rules: &'a Rules,
    /// Versions to name.
    pub terms: &'a Terms,
    /// Differences to closed months.
    pub corrections: &'a [CorrectionLine],
}

/// Makes the export of a month.
///
/// # Errors
/// The store can't be asked, or there is a reason not to make it.
pub async fn focus(
    engine: &Engine,
    view: &View,
    ask: FocusAsk,
    of: FocusSources<'_>,
    now: Timestamp,
) -> Result<FocusExport, ReportFailure> {
    let within = ask.interval();
    let mut gathered = Gathered::new(&ask, &of.terms.commitments, of.rules);
    each_priced(engine, view, of.rules, within, |call| {
        gathered.take(call);
        Ok(())
    })
    .await?;
    let ledger = ledger(engine, view, within, &gathered.list_filled).await?;
    let version = &of.terms.prices_version;
    let capacity = gathered.capacity.lines(&ask, &of.rules.prices, version, now);
    let capacity = capacity.map_err(|error| ReportFailure::Report(error.into()))?;
    if gathered.other_prices.calls > 0 {
        let OtherPrices { calls, examples } = gathered.other_prices;
        return Err(FocusRefusal::OtherPrices { month: ask.month, calls, examples }.into());
    }
    let mut unpriced: Vec<UnpricedUsage> = gathered.unpriced.into_values().collect();
    unpriced.extend(capacity.unpriced);
    let mut usage = Vec::with_capacity(gathered.sums.len());
    for (key, sum) in &gathered.sums {
        let Some(place) = gathered.places.get(key.place) else { continue };
        let cost = CostLine { quantity: sum.quantity, ..key.line() };
        let rate = key.rate_id.as_deref().and_then(|id| gathered.rates.get(id).copied());
        let base = UsageLine { currency: key.currency.to_string(), calls: sum.calls, ..place.line(&ask, version) };
        usage.extend(base.priced(&cost, rate));
    }
    usage.extend(gathered.rounding.iter().filter_map(|((place, currency), (list_cost, cost))| {
        let charge = Charge::Difference { list_cost: *list_cost, cost: *cost };
        let line = gathered.places.get(*place)?.line(&ask, version);
        Some(UsageLine { currency: currency.to_string(), charge, ..line })
    }));
    let inputs = ExportInputs {
        usage,
        capacity: capacity.lines,
        capacity_cost: capacity.cost,
        corrections: of.corrections.to_vec(),
        ledger,
        unpriced,
        partial_calls: gathered.partial,
        uncounted_calls: gathered.uncounted,
        capacity_calls_without_price: gathered.unserved,
        rules_version: of.terms.version.clone(),
        prices_version: version.clone(),
        table_version: view.calls.table().version().to_string(),
        now,
    };
    Ok(FocusExport::new(ask, inputs)?)
}

/// The ledger's own sums, asked for without any group.
async fn ledger(
    engine: &Engine,
    view: &View,
    within: Interval,
    list_filled: &BTreeMap<String, Decimal>,
) -> Result<BTreeMap<String, LedgerSums>, ReportFailure> {
    let sql = format!(
        "SELECT currency, sum(list_cost), sum(cost) FROM calls WHERE {} AND currency IS NOT NULL GROUP BY currency",
        during(within)
    );
    let sums = report_rows(engine, view, &sql, |row| {
        let (list, cost) = (row.money(1).unwrap_or_default(), row.money(2).unwrap_or_default());
        Some((row.text(0)?, LedgerSums { list, cost }))
    })
    .await?;
    let mut sums: BTreeMap<String, LedgerSums> = sums.into_iter().collect();
    for (currency, more) in list_filled {
        sums.entry(currency.clone()).or_default().list += *more;
    }
    Ok(sums)
}

/// What lines of the same usage share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    period: Interval,
    platform: String,
    publisher: Option<String>,
    model: String,
    account: Option<String>,
    region: Option<String>,
    resource: Option<String>,
    deployment: Option<String>,
    tags: BTreeMap<String, String>,
}

impl Place {
    fn line(&self, ask: &FocusAsk, version: &str) -> UsageLine {
        let (billing_account, sub_account) = accounts(&self.platform, self.account.as_deref(), &ask.billing_accounts);
        UsageLine {
            period: self.period,
            platform: self.platform.clone(),
            billing_account,
            sub_account,
            region: self.region.clone().map(|region| (region, None)),
            resource: resource(&self.platform, self.resource.as_deref(), self.deployment.as_deref()),
            model: self.model.clone(),
            publisher: self.publisher.clone(),
            price_book: version.to_owned(),
            tags: self.tags.clone(),
            ..UsageLine::default()
        }
    }
}

/// A price at a place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    place: usize,
    bucket: Bucket,
    rate_id: Option<Arc<str>>,
    contract_id: Option<Arc<str>>,
    unit_price: Option<Decimal>,
    contract_price: Option<Decimal>,
    currency: Arc<str>,
}

impl Key {
    fn line(&self) -> CostLine {
        CostLine {
            bucket: self.bucket,
            quantity: 0,
            rate_id: self.rate_id.clone(),
            unit_price: self.unit_price,
            list_cost: None,
            contract_id: self.contract_id.clone(),
            contract_price: self.contract_price,
            // A line is one of a priced bucket; the amount is the row's own product.
            cost: Some(crate::model::Money::default()),
        }
    }
}

#[derive(Default)]
struct Sum {
    quantity: u64,
    calls: u64,
}

/// Sums of calls.
struct Gathered<'a> {
    ask: &'a FocusAsk,
    rates: HashMap<&'a str, &'a Rate>,
    capacity: Capacity<'a>,
    known: HashMap<Place, usize>,
    places: Vec<Place>,
    sums: HashMap<Key, Sum>,
    rounding: HashMap<(usize, Arc<str>), (Decimal, Decimal)>,
    /// List cost of calls whose list cost the ledger does not tell, because only a contract prices a bucket of them.
    list_filled: BTreeMap<String, Decimal>,
    unpriced: BTreeMap<(String, Option<String>, Bucket), UnpricedUsage>,
    partial: u64,
    uncounted: u64,
    unserved: u64,
    other_prices: OtherPrices,
}

impl<'a> Gathered<'a> {
    fn new(ask: &'a FocusAsk, commitments: &'a [Commitment], rules: &'a Rules) -> Self {
        Self {
            ask,
            rates: rules.prices.rates().map(|rate| (rate.row_id.as_str(), rate)).collect(),
            capacity: Capacity::new(commitments),
            known: HashMap::new(),
            places: Vec::new(),
            sums: HashMap::new(),
            rounding: HashMap::new(),
            list_filled: BTreeMap::new(),
            unpriced: BTreeMap::new(),
            partial: 0,
            uncounted: 0,
            unserved: 0,
            other_prices: OtherPrices::default(),
        }
    }

    fn take(&mut self, PricedCall { call, priced, agreement }: PricedCall) {
        let tags = tags(&call);
        if call.cost_status == CostStatus::Allocated && agreement != Agreement::No {
            self.unserved += u64::from(!self.capacity.take(&call, &tags));
            return;
        }
        if agreement == Agreement::No {
            self.other_prices.add(&call);
            return;
        }
        self.partial += u64::from(call.cost_status == CostStatus::Partial);
        self.uncounted += u64::from(call.usage_status == UsageStatus::Missing && call.outcome == Outcome::Ok);
        for line in priced.lines.iter().filter(|line| line.cost.is_none()) {
            let model = call.model.clone().or_else(|| call.request_model.clone());
            let platform = call.platform.clone().unwrap_or_else(|| UNKNOWN.to_owned());
            let key = (platform.clone(), model.clone(), line.bucket);
            let none = UnpricedUsage { platform, model, bucket: line.bucket, quantity: Decimal::ZERO, calls: 0 };
            let sum = self.unpriced.entry(key).or_insert(none);
            sum.quantity += Decimal::from(line.quantity);
            sum.calls += 1;
        }
        let Some(currency) = priced.currency.clone() else { return };
        let place = self.place(&call, tags);
        let mut list = Decimal::ZERO;
        for line in priced.lines.iter().filter(|line| line.cost.is_some()) {
            list += line.list_cost.or(line.cost).unwrap_or_default().0;
            let key = Key {
                place,
                bucket: line.bucket,
                rate_id: line.rate_id.clone(),
                contract_id: line.contract_id.clone(),
                unit_price: line.unit_price,
                contract_price: line.contract_price,
                currency: Arc::clone(&currency),
            };
            let sum = self.sums.entry(key).or_default();
            sum.quantity += line.quantity;
            sum.calls += 1;
        }
        let ledger_list = match call.list_cost {
            Some(told) => told.0,
            None => {
                *self.list_filled.entry(currency.to_string()).or_default() += list;
                list
            }
        };
        if agreement == Agreement::Rounded {
            let cost = priced.lines.iter().filter_map(|line| line.cost).map(|cost| cost.0).sum::<Decimal>();
            let told = call.cost.unwrap_or_default().0;
            let sum = self.rounding.entry((place, currency)).or_default();
            sum.0 += ledger_list - list;
            sum.1 += told - cost;
        }
    }

    fn place(&mut self, call: &Call, tags: BTreeMap<String, String>) -> usize {
        let place = Place {
            period: self.ask.period(call.ts),
            platform: call.platform.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            publisher: call.publisher.clone(),
            model: call.model.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            account: call.account.clone(),
            region: call.region.clone(),
            resource: call.resource.clone(),
            deployment: call.deployment.clone(),
            tags,
        };
        if let Some(at) = self.known.get(&place) {
            return *at;
        }
        let at = self.places.len();
        self.places.push(place.clone());
        self.known.insert(place, at);
        at
    }
}

/// What finance filters by; what nobody says is no tag.
fn tags(call: &Call) -> BTreeMap<String, String> {
    let named = [
        ("team", &call.team),
        ("feature", &call.feature),
        ("environment", &call.environment),
        ("cost_center", &call.cost_center),
        ("service", &call.service),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
}

/// The rows as one Parquet file with exact decimals; the same rows are the same bytes.
///
/// # Errors
/// A number has too many digits, or Arrow refuses.
pub fn focus_parquet(export: &FocusExport) -> Result<Vec<u8>, FocusRefusal> {
    let batch: RecordBatch = super::focus_columns::batch(export)?;
    let refused = |error: parquet::errors::ParquetError| FocusRefusal::File(error.to_string());
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).map_err(refused)?;
    writer.write(&batch).map_err(refused)?;
    writer.into_inner().map_err(refused)
}
