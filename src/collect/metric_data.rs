//! Metrics of CloudWatch: which there are, and their sums by the minute.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};

use super::ServiceError;
use crate::store::{AwsAccess, sdk_config};

/// Series that one request may ask for.
const SERIES: usize = 500;
/// Length of an interval, seconds.
const PERIOD_S: i32 = 60;

/// A metric with its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Name of the metric.
    pub name: String,
    /// Name and value of each dimension.
    pub dimensions: Vec<(String, String)>,
}

/// Sums of one series: start of each minute (seconds since 1970), and the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// Which series.
    pub series: Series,
    /// Its values; a minute without samples is not there.
    pub values: Vec<(i64, f64)>,
}

/// The metrics of one namespace.
#[derive(Clone, Debug)]
pub struct MetricNamespace {
    client: Client,
    namespace: String,
}

impl MetricNamespace {
    /// A client for the namespace.
    pub async fn open(namespace: &str, access: &AwsAccess) -> Self {
        let mut config = aws_sdk_cloudwatch::config::Builder::from(&sdk_config(access).await);
        if access.endpoint.is_some() {
            config.set_endpoint_url(access.endpoint.clone());
        }
        Self { client: Client::from_conf(config.build()), namespace: namespace.to_owned() }
    }

    /// The namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// The series that had values in the last two weeks.
    ///
    /// # Errors
    /// The service refused or did not answer.
    pub async fn series(&self) -> Result<Vec<Series>, ServiceError> {
        let failed = |error: &_| ServiceError::aws(format!("listing the metrics of {}", self.namespace), error);
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.list_metrics().namespace(&self.namespace).set_next_token(token);
            let answer = request.send().await.map_err(|error| failed(&error))?;
            all.extend(answer.metrics.unwrap_or_default().into_iter().map(series));
            token = answer.next_token;
            if token.is_none() {
                all.sort();
                all.dedup();
                return Ok(all);
            }
        }
    }

    /// The sums of `wanted` for the minutes from `from_s` on and before `to_s`.
    ///
    /// # Errors
    /// The service refused or did not answer.
    pub async fn sums(&self, wanted: &[Series], from_s: i64, to_s: i64) -> Result<Vec<Points>, ServiceError> {
        let mut all: Vec<Points> =
            wanted.iter().map(|series| Points { series: series.clone(), values: Vec::new() }).collect();
        for part in all.chunks_mut(SERIES) {
            let queries: Vec<_> = part.iter().enumerate().map(|(n, points)| self.query(n, &points.series)).collect();
            let mut token = None;
            loop {
                let request = self.client.get_metric_data().set_metric_data_queries(Some(queries.clone()));
                let request = request.start_time(DateTime::from_secs(from_s)).end_time(DateTime::from_secs(to_s));
                let request = request.scan_by(ScanBy::TimestampAscending).set_next_token(token);
                let answer = request.send().await;
                let answer = answer
                    .map_err(|error| ServiceError::aws(format!("reading the metrics of {}", self.namespace), &error))?;
                for result in answer.metric_data_results.unwrap_or_default() {
                    let index = result.id.as_deref().and_then(|id| id.strip_prefix('q')?.parse::<usize>().ok());
                    let Some(points) = index.and_then(|index| part.get_mut(index)) else { continue };
                    let times = result.timestamps.unwrap_or_default();
                    let values = times.iter().map(DateTime::secs).zip(result.values.unwrap_or_default());
                    points.values.extend(values.filter(|(at, _)| (from_s..to_s).contains(at)));
                }
                token = answer.next_token;
                if token.is_none() {
                    break;
                }
            }
        }
        all.retain(|points| !points.values.is_empty());
        Ok(all)
    }

    fn query(&self, n: usize, series: &Series) -> MetricDataQuery {
        let dimension = |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
        let metric = Metric::builder()
            .namespace(&self.namespace)
            .metric_name(&series.name)
            .set_dimensions(Some(series.dimensions.iter().map(dimension).collect()))
            .build();
        let stat = MetricStat::builder().metric(metric).period(PERIOD_S).stat("Sum").build();
        MetricDataQuery::builder().id(format!("q{n}")).metric_stat(stat).return_data(true).build()
    }
}

fn series(metric: Metric) -> Series {
    let dimension = |one: Dimension| Some((one.name?, one.value?));
    let mut dimensions: Vec<_> = metric.dimensions.unwrap_or_default().into_iter().filter_map(dimension).collect();
    dimensions.sort();
    Series { name: metric.metric_name.unwrap_or_default(), dimensions }
}
