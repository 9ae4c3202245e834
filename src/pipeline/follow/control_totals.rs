//! Polling the providers' own counters: by the minute, once a minute is old enough to be final. The minutes that were
//! read are noted with their rows, so each is kept once.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Follow, Station};
use crate::collect::{AzureMonitor, MetricNamespace, MetricsAsked, Series};
use crate::journal::Positions;
use crate::model::{HOUR_US, MINUTE_US, Rows, SECOND_US, Timestamp};
use crate::pipeline::PipelineError;
use crate::pipeline::ingest::{IngestError, Record};
use crate::store::{AwsAccess, AzureAccess};

/// Stretch of time that is asked for at once.
const STRETCH_US: i64 = 3 * HOUR_US;
/// New models appear among the series after at most this long.
const LIST_EVERY: Duration = Duration::from_secs(600);
const CURSOR: &str = "cursor";

/// Which minutes are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaching {
    /// Pause between two looks.
    pub poll_every: Duration,
    /// How far back the first look goes.
    pub back: Duration,
    /// How old a minute must be to be final.
    pub delay: Duration,
}

/// The minutes that were not read yet.
struct Clockwork {
    station: Station,
    reaching: Reaching,
    cursor: Timestamp,
}

impl Clockwork {
    fn new(station: Station, reaching: Reaching, location: &str) -> Self {
        let stored = station.ingest.journal.positions_at_start().of(station.name());
        let cursor = stored.filter(|(entry, _)| *entry == CURSOR).find_map(|(_, at)| Some(Timestamp(at.parse().ok()?)));
        let cursor = cursor.unwrap_or_else(|| station.now().before(reaching.back).floor(MINUTE_US));
        station.starting(location);
        Self { station, reaching, cursor }
    }

    /// The next stretch of final minutes, if there is one.
    fn stretch(&self) -> Option<(Timestamp, Timestamp)> {
        let end = self.station.now().before(self.reaching.delay).floor(MINUTE_US).min(self.cursor.plus(STRETCH_US));
        (end > self.cursor).then_some((self.cursor, end))
    }

    /// The stretch up to `end` was read.
    async fn take(&mut self, object: &str, records: Vec<Vec<u8>>, end: Timestamp) -> Result<(), IngestError> {
        let mut positions = Positions::default();
        positions.set(self.station.name(), CURSOR, end.0.to_string());
        if records.is_empty() {
            let journal = &self.station.ingest.journal;
            journal.append_patiently(Rows::default(), positions).await.map_err(PipelineError::from)?;
        } else {
            let start = u64::try_from(self.cursor.0).unwrap_or_default();
            let record = |(n, bytes): (u64, Vec<u8>)| Record { position: start + n, at: self.cursor, bytes };
            let records = (0..).zip(records).map(record).collect();
            let totals = self.station.ingest.records(object, records, positions, async |_| {}).await?;
            self.station.counted(totals);
        }
        self.cursor = end;
        self.station.board.complete(self.station.name(), end);
        Ok(())
    }
}

/// Follows a namespace of CloudWatch.
pub struct MetricsTail {
    clock: Clockwork,
    namespace: String,
    wants: fn(&str, &[(String, String)]) -> bool,
    access: AwsAccess,
    service: Option<MetricNamespace>,
    series: Vec<Series>,
    listed: Option<Instant>,
}

impl MetricsTail {
    /// Follows the series of `namespace` that `wants` wants.
    #[must_use]
    pub fn new(
        station: Station,
        namespace: &str,
        location: &str,
        wants: fn(&str, &[(String, String)]) -> bool,
        access: AwsAccess,
        reaching: Reaching,
    ) -> Self {
        Self {
            clock: Clockwork::new(station, reaching, location),
            namespace: namespace.to_owned(),
            wants,
            access,
            service: None,
            series: Vec::new(),
            listed: None,
        }
    }

    async fn look(&mut self, service: &MetricNamespace) -> Result<(), IngestError> {
        while let Some((from, end)) = self.clock.stretch() {
            if self.listed.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
                let wants = self.wants;
                self.series = service.series().await?;
                self.series.retain(|series| wants(&series.name, &series.dimensions));
                self.listed = Some(Instant::now());
            }
            let points = service.sums(&self.series, from.0.div_euclid(SECOND_US), end.0.div_euclid(SECOND_US)).await?;
            let record = |points: crate::collect::Points| {
                let dimensions: serde_json::Map<String, serde_json::Value> =
                    points.series.dimensions.into_iter().map(|(name, value)| (name, value.into())).collect();
                let record = json!({"metric": points.series.name, "dimensions": dimensions, "period_s": 60,
                    "sums": points.values});
                record.to_string().into_bytes()
            };
            let records = points.into_iter().map(record).collect();
            self.clock.take(&format!("cloudwatch-metrics:{}", self.namespace), records, end).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Follow for MetricsTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        let service = match self.service.take() {
            Some(service) => service,
            None => MetricNamespace::open(&self.namespace, &self.access).await,
        };
        self.look(&service).await?;
        // After a failure it is made anew: credentials may have changed.
        self.service = Some(service);
        Ok(self.clock.reaching.poll_every)
    }
}

/// Follows metrics of resources in Azure Monitor.
pub struct AzureMonitorTail {
    clock: Clockwork,
    resources: Vec<String>,
    metrics: &'static [(&'static str, &'static str)],
    access: AzureAccess,
    service: Option<AzureMonitor>,
}

impl AzureMonitorTail {
    /// Follows `metrics` (names, and the dimensions to split by) of each of the resources.
    #[must_use]
    pub fn new(
        station: Station,
        resources: Vec<String>,
        metrics: &'static [(&'static str, &'static str)],
        access: AzureAccess,
        reaching: Reaching,
    ) -> Self {
        let clock = Clockwork::new(station, reaching, &resources.join(", "));
        Self { clock, resources, metrics, access, service: None }
    }

    async fn look(&mut self, service: &mut AzureMonitor) -> Result<(), IngestError> {
        while let Some((from, to)) = self.clock.stretch() {
            let mut records = Vec::new();
            for resource in &self.resources {
                for (names, filter) in self.metrics {
                    let asked = MetricsAsked { resource, names, filter, from, to };
                    records.extend(service.metrics(asked).await?);
                }
            }
            self.clock.take("azure-monitor", records, to).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Follow for AzureMonitorTail {
    async fn round(&mut self) -> Result<Duration, IngestError> {
        let mut service = match self.service.take() {
            Some(service) => service,
            None => AzureMonitor::open(&self.access)?,
        };
        self.look(&mut service).await?;
        self.service = Some(service);
        Ok(self.clock.reaching.poll_every)
    }
}
