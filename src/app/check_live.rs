//! `polymeter check-config --live`: asks every source once, so that a missing permission shows before the first night.

use std::io::Write;

use anyhow::bail;

use crate::clock::{Clock, SystemClock};
use crate::collect::{AzureMonitor, LogGroup, MetricNamespace, MetricsAsked, Objects, Queue, ReportAsked, UsageApi};
use crate::config::{Config, SourceConfig, Transport};
use crate::model::{HOUR_US, MINUTE_US};
use crate::sources::azure::METRICS as AZURE_METRICS;
use crate::sources::bedrock::METRICS_NAMESPACE;

const DAY_US: i64 = 24 * HOUR_US;

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

/// What was asked of one source, and what it refused.
#[derive(Default)]
struct Asked {
    found: Vec<String>,
    refused: Vec<String>,
}

impl Asked {
    /// Notes what a step ended with; `needs` names the permission that it takes.
    fn step<T, E>(&mut self, needs: &str, done: Result<T, E>) -> Option<T>
    where
        anyhow::Error: From<E>,
    {
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                // Some services answer in several lines; a source has one here.
                let why = format!("{:#}", anyhow::Error::from(error));
                let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                self.refused.push(format!("needs {needs}: {why}"));
                None
            }
        }
    }

    fn note(&mut self, what: String) {
        self.found.push(what);
    }

    fn result(self) -> anyhow::Result<String> {
        if self.refused.is_empty() { Ok(self.found.join("; ")) } else { bail!("{}", self.refused.join("; ")) }
    }
}

/// No message has this receipt: the service tells whether it may be used before it tells that there is none.
const NO_RECEIPT: &str = "polymeter-check";

async fn ask(source: &SourceConfig) -> anyhow::Result<String> {
    let (aws, now) = (&source.access.aws, SystemClock.now());
    let mut asked = Asked::default();
    match &source.transport {
        Transport::Objects { queue } => {
            let objects = Objects::open_as(&source.location, &source.access).await?;
            let (list, read) = match source.location.split_once("://").map(|(scheme, _)| scheme) {
                Some("s3" | "s3a") => ("s3:ListBucket", "s3:GetObject (kms:Decrypt where it is encrypted)"),
                Some("gs") => ("storage.objects.list", "storage.objects.get"),
                Some(_) => {
                    ("Storage Blob Data Reader, or a SAS with list", "Storage Blob Data Reader, or a SAS with read")
                }
                None => ("leave to list the folder", "leave to read the files"),
            };
            if let Some(some) = asked.step(list, objects.any().await) {
                let read = match &some {
                    Some(entry) => asked.step(read, objects.reader(entry, 0).await).map(|_| "and read"),
                    None => Some("and is empty"),
                };
                asked.found.extend(read.map(|what| format!("{} can be listed {what}", source.location)));
            }
            if let Some(url) = queue {
                let queue = Queue::open(url, aws).await;
                // What it receives others see at once.
                asked.step("sqs:ReceiveMessage", queue.receive(0, 0).await);
                asked.step("sqs:DeleteMessage", queue.delete(&[NO_RECEIPT.to_owned()]).await);
                asked.step("sqs:ChangeMessageVisibility", queue.hide(&[(NO_RECEIPT.to_owned(), 0)]).await);
                asked.note(format!("queue {} answers", queue.name()));
            }
        }
        Transport::LogGroup { group: name, live_tail, .. } => {
            let to_ms = now.0.div_euclid(1000);
            let mut group = LogGroup::open(name, aws).await;
            asked.step("logs:FilterLogEvents", group.page(to_ms - 60_000, to_ms, None).await);
            if *live_tail && let Some(arn) = asked.step("logs:DescribeLogGroups", group.arn().await) {
                // A session ends when it is dropped.
                asked.step("logs:StartLiveTail", group.live_tail(&arn).await);
            }
            asked.note(format!("log group {name} answers"));
        }
        #[cfg(feature = "kafka")]
        Transport::Kafka(topic) => {
            let none = std::collections::BTreeMap::new();
            let mut client = crate::collect::KafkaConsumer::connect(topic, &source.access.azure, none).await?;
            let partitions = client.partitions().await;
            if let Some(count) = asked.step("Azure Event Hubs Data Receiver, a key with Listen, or an ACL", partitions)
            {
                asked.note(format!("topic {} has {count} partition(s)", topic.topic));
            }
        }
        Transport::CloudWatchMetrics { .. } => {
            let metrics = MetricNamespace::open(METRICS_NAMESPACE, aws).await;
            let series = asked.step("cloudwatch:ListMetrics", metrics.series().await).unwrap_or_default();
            let to_s = now.0.div_euclid(1_000_000);
            let one = series.get(..1).unwrap_or_default();
            asked.step("cloudwatch:GetMetricData", metrics.sums(one, to_s - 600, to_s).await);
            asked.note(format!("{METRICS_NAMESPACE} has {} series", series.len()));
        }
        Transport::UsageReports(reports) => {
            let mut api = UsageApi::open(reports.service, reports.endpoint.as_deref(), reports.key.clone())?;
            let (from, to) = (now.floor(DAY_US), now.floor(DAY_US).plus(DAY_US));
            for (name, path, group_by) in reports.reports {
                let report = ReportAsked { path, group_by, daily: *name == "costs", from, to };
                asked.step("an admin key", api.buckets(report).await);
            }
            asked.note(format!("{} report(s) answer", reports.reports.len()));
        }
        Transport::AzureMonitor { resources, .. } => {
            let mut monitor = AzureMonitor::open(&source.access.azure)?;
            for resource in resources {
                let [(names, filter), ..] = AZURE_METRICS;
                let from = now.plus(-10 * MINUTE_US);
                let metrics = monitor.metrics(MetricsAsked { resource, names, filter, from, to: now }).await;
                asked.step("Monitoring Reader", metrics);
            }
            asked.note(format!("{} resource(s) answer", resources.len()));
        }
    }
    asked.result()
}
