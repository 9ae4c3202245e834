//! `polymeter check-config --live`: asks every source once, so that a missing permission shows before the first night.

use std::io::Write;

use anyhow::bail;

use crate::clock::{Clock, SystemClock};
use crate::collect::{AzureMonitor, LogGroup, MetricNamespace, MetricsAsked, Objects, Queue};
use crate::config::{Config, SourceConfig, Transport};
use crate::model::MINUTE_US;
use crate::sources::azure::METRICS as AZURE_METRICS;
use crate::sources::bedrock::METRICS_NAMESPACE;

/// Asks every source for a little and prints a line for each; nothing is taken in.
///
/// # Errors
/// A source can't be read; what failed is in the lines.
pub async fn check_live(config: &Config) -> anyhow::Result<()> {
    let mut failed = 0;
    for source in &config.sources {
        let asked = ask(source).await;
        let mut out = std::io::stdout().lock();
        match asked {
            Ok(found) => writeln!(out, "ok      {}: {found}", source.name)?,
            Err(error) => {
                failed += 1;
                writeln!(out, "FAILED  {}: {error:#}", source.name)?;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} source(s) can't be read", config.sources.len());
    }
    Ok(())
}

async fn ask(source: &SourceConfig) -> anyhow::Result<String> {
    let (aws, now) = (&source.access.aws, SystemClock.now());
    Ok(match &source.transport {
        Transport::Objects { queue } => {
            let objects = Objects::open_as(&source.location, &source.access).await?;
            let (loose, folders) = objects.folder(objects.prefix()).await?;
            let mut found = format!("{} lists {} folder(s), {} object(s)", source.location, folders.len(), loose.len());
            if let Some(entry) = loose.first() {
                objects.reader(entry, 0).await?;
            }
            if let Some(url) = queue {
                let queue = Queue::open(url, aws).await;
                // Seen by others at once.
                queue.receive(0, 0).await?;
                found = format!("{found}; queue {} answers", queue.name());
            }
            found
        }
        Transport::LogGroup { group, .. } => {
            let to_ms = now.0.div_euclid(1000);
            LogGroup::open(group, aws).await.page(to_ms - 60_000, to_ms, None).await?;
            format!("log group {group} answers")
        }
        Transport::CloudWatchMetrics { .. } => {
            let series = MetricNamespace::open(METRICS_NAMESPACE, aws).await.series().await?;
            format!("{METRICS_NAMESPACE} has {} series", series.len())
        }
        Transport::AzureMonitor { resources, .. } => {
            let mut monitor = AzureMonitor::open(&source.access.azure)?;
            for resource in resources {
                let [(names, filter), ..] = AZURE_METRICS;
                let from = now.plus(-10 * MINUTE_US);
                monitor.metrics(MetricsAsked { resource, names, filter, from, to: now }).await?;
            }
            format!("{} resource(s) answer", resources.len())
        }
    })
}
