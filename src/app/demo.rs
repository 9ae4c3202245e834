//! `serve --demo`: invented traffic in the providers' own formats, through the real pipeline.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::rules::{is_demo, mark_demo};
use crate::clock::Clock;
use crate::collect::otlp_server::{Export, Sink};
use crate::demo::{Demo, DemoBatch, DemoCounters};
use crate::finance::calendar::{Month, Zone};
use crate::journal::Journal;
use crate::model::{Flaws, HOUR_US, Interval, Timestamp};
use crate::pipeline::{Ingest, Meter, OtlpSink};
use crate::sources::azure::{AzureConfig, AzureDiagnostics, Deployment};
use crate::sources::bedrock::{BedrockConfig, BedrockLog, BedrockMetrics};
use crate::store::Store;

const CALLS: usize = 50_000;
const HOURS: u32 = 48;
const SEED: u64 = 20_260_401;
/// Calls of a month that has ended.
const MONTH_CALLS: usize = 10_000;
/// Batches of history that are taken in at once.
const AT_ONCE: usize = 4;

/// Marks an empty store for the demo; refuses to mix invented calls into real ones.
pub async fn prepare(store: &Store, demo: bool) -> anyhow::Result<()> {
    if !demo || is_demo(store).await {
        return Ok(());
    }
    let journal = store.path("journal");
    let real: Vec<_> = store.objects().list(Some(&journal)).try_collect().await?;
    if !real.is_empty() {
        bail!("{} holds real calls; --demo would mix invented ones into them: give another --data", store.display());
    }
    mark_demo(store).await
}

struct Feeds {
    bedrock: Ingest,
    azure: Ingest,
    azure_monitor: Ingest,
    otlp: Arc<OtlpSink>,
}

impl Feeds {
    async fn take(&self, batch: DemoBatch) -> anyhow::Result<()> {
        let spans = batch.otlp.into_iter().flat_map(|request| request.resource_spans).collect();
        let spans = Export::Traces(ExportTraceServiceRequest { resource_spans: spans });
        let metrics = Export::Metrics(batch.metrics.unwrap_or_default());
        let (bedrock, azure, otlp, metrics) = tokio::join!(
            self.bedrock.bytes("demo/bedrock.json", batch.bedrock),
            self.azure.bytes("demo/PT1H.json", batch.azure),
            self.otlp.keep(spans, Flaws::default()),
            self.otlp.keep(metrics, Flaws::default()),
        );
        bedrock?;
        azure?;
        if otlp.and(metrics).is_err() {
            bail!("the journal can't be written");
        }
        self.count(batch.until, batch.counters).await
    }

    /// Takes in what the clouds counted themselves: nothing but once an hour.
    async fn count(&self, until: Timestamp, counters: DemoCounters) -> anyhow::Result<()> {
        for ((account, region), series) in counters.bedrock {
            let of = BedrockConfig { account: Some(account.to_owned()), region: Some(region.to_owned()) };
            let cloudwatch = Ingest {
                source: "demo-cloudwatch".into(),
                format: Arc::new(BedrockMetrics::new(of)),
                journal: self.bedrock.journal.clone(),
                clock: Arc::clone(&self.bedrock.clock),
            };
            cloudwatch.bytes("demo/cloudwatch.json", series).await?;
        }
        if !counters.azure.is_empty() {
            self.azure_monitor.bytes("demo/azure-monitor.json", counters.azure).await?;
        }
        if !counters.torn.is_empty() {
            self.bedrock.bytes(&format!("demo/until-{until}.json"), counters.torn).await?;
        }
        Ok(())
    }
}

/// History if there is none yet, then live traffic until `cancel`.
pub async fn run(
    journal: Journal,
    otlp: Arc<OtlpSink>,
    meter: Meter,
    clock: Arc<dyn Clock>,
    month: Option<Month>,
    cancel: CancellationToken,
) {
    let ingest = |source: &str, format| Ingest {
        source: source.into(),
        format,
        journal: journal.clone(),
        clock: Arc::clone(&clock),
    };
    let feeds = Feeds {
        bedrock: ingest("demo-bedrock", Arc::new(BedrockLog::new(BedrockConfig::default()))),
        azure: ingest("demo-azure", Arc::new(AzureDiagnostics::new(azure()))),
        azure_monitor: ingest("demo-azure-monitor", Arc::new(AzureDiagnostics::new(azure()))),
        otlp,
    };
    let outcome = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        outcome = feed(&feeds, &meter, &clock, month) => outcome,
    };
    if let Err(error) = outcome {
        error!(error = %error, "demo traffic has ended");
    }
}

async fn feed(feeds: &Feeds, meter: &Meter, clock: &Arc<dyn Clock>, month: Option<Month>) -> anyhow::Result<()> {
    let now = clock.now();
    let mut demo = Demo::new(SEED, now);
    if meter.view().load().is_empty() {
        let mut calls = 0;
        if let Some(month) = month {
            let Interval { from, to } = month.interval(Zone::UTC);
            let hours = u32::try_from((to.0 - from.0) / HOUR_US).unwrap_or_default();
            calls += history(feeds, &mut Demo::new(SEED, to.plus(-1)), MONTH_CALLS, hours).await?;
        }
        calls += history(feeds, &mut demo, CALLS, HOURS).await?;
        meter.settle_now().await.map_err(anyhow::Error::msg)?;
        info!(demo.calls = calls, "demo history is ready");
    }
    let mut from: Timestamp = now;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let to = clock.now();
        feeds.take(demo.live(from, to)).await?;
        from = to;
    }
}

async fn history(feeds: &Feeds, demo: &mut Demo, calls: usize, hours: u32) -> anyhow::Result<u64> {
    let batches: Vec<DemoBatch> = tokio::task::block_in_place(|| demo.history(calls, hours).collect());
    let calls: u64 = batches.iter().map(|batch| batch.truth.calls()).sum();
    let taken = stream::iter(batches.into_iter().map(|batch| feeds.take(batch))).buffered(AT_ONCE);
    taken.try_for_each(|()| async { Ok(()) }).await?;
    Ok(calls)
}

/// What no log says and an operator would: all deployments of the demo are pay-as-you-go.
fn azure() -> AzureConfig {
    let sku = |sku: &str| Deployment { sku: Some(sku.to_owned()), ..Deployment::default() };
    let deployments = crate::demo::DEPLOYMENTS.iter().map(|name| ((*name).to_owned(), sku("GlobalStandard")));
    AzureConfig { deployments: deployments.collect() }
}
