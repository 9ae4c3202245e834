//! `polymeter import bedrock 'cloudwatch://GROUP?…'`: a stretch of time of a log group.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, bail};
use url::Url;

use super::import::PLAIN_EVERY;
use crate::collect::LogGroup;
use crate::model::{HOUR_US, Rows, Timestamp};
use crate::pipeline::{Ingest, Totals, import_log_group};
use crate::store::AwsAccess;

const SCHEME: &str = "cloudwatch://";
/// How far back an import goes that does not say.
const BACK_US: i64 = 48 * HOUR_US;

/// A stretch of time of a log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogRange {
    group: String,
    from: Timestamp,
    to: Timestamp,
    access: AwsAccess,
}

impl LogRange {
    /// Whether the location is a log group.
    pub fn is(location: &str) -> bool {
        location.starts_with(SCHEME)
    }

    /// Reads `cloudwatch://GROUP?region=…&from=…&to=…&role_arn=…&external_id=…&endpoint=…`.
    pub fn parse(location: &str, now: Timestamp) -> anyhow::Result<Self> {
        let rest = location.strip_prefix(SCHEME).unwrap_or(location);
        let (group, query) = rest.split_once('?').unwrap_or((rest, ""));
        if group.is_empty() {
            bail!("'{location}' names no log group; write cloudwatch:///aws/bedrock/logs?region=us-east-1");
        }
        let mut range =
            Self { group: group.to_owned(), from: now.plus(-BACK_US), to: now, access: AwsAccess::default() };
        // The query of a URL, which is what is written here.
        let url = Url::parse(&format!("x://x/?{query}")).context("the options behind '?' can't be read")?;
        for (key, value) in url.query_pairs() {
            let time = || {
                let day = || Timestamp::parse(&format!("{value}T00:00:00Z"));
                let time = Timestamp::parse(&value).or_else(day);
                time.with_context(|| format!("{key}={value} is no time; write 2026-11-01 or 2026-11-01T06:00:00Z"))
            };
            match &*key {
                "from" => range.from = time()?,
                "to" => range.to = time()?,
                "region" => range.access.region = Some(value.into_owned()),
                "role_arn" => range.access.role_arn = Some(value.into_owned()),
                "external_id" => range.access.external_id = Some(value.into_owned()),
                "endpoint" => range.access.endpoint = Some(value.into_owned()),
                other => {
                    bail!(
                        "unknown option '{other}' of a log group: there are from, to, region, role_arn, external_id and endpoint"
                    )
                }
            }
        }
        if range.from >= range.to {
            bail!("'{location}' ends before it begins");
        }
        Ok(range)
    }

    /// Takes its events in; says now and then how far it is.
    pub async fn read(&self, ingest: &Ingest, on_rows: impl AsyncFnMut(&Rows)) -> anyhow::Result<Totals> {
        let mut group = LogGroup::open(&self.group, &self.access).await;
        let mut told = Instant::now();
        let progress = |at: Timestamp| {
            if told.elapsed() >= PLAIN_EVERY {
                told = Instant::now();
                // Progress that nobody can read is no reason to stop.
                let _ = writeln!(std::io::stderr(), "imported {} up to {at}, until {}", self.group, self.to);
            }
        };
        Ok(import_log_group(ingest, &mut group, (self.from, self.to), on_rows, progress).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_group_time_and_role() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let range = LogRange::parse(
            "cloudwatch:///aws/bedrock/logs?region=eu-west-1&from=2026-11-01&to=2026-11-02T06:00:00Z",
            now,
        )
        .unwrap();
        assert_eq!((range.group.as_str(), range.access.region.as_deref()), ("/aws/bedrock/logs", Some("eu-west-1")));
        assert_eq!(range.to.0 - range.from.0, 30 * HOUR_US);
        assert_eq!(LogRange::parse("cloudwatch://g", now).unwrap().from, now.plus(-BACK_US));
        for bad in
            ["cloudwatch://", "cloudwatch://g?from=soon", "cloudwatch://g?from=2026-12-01", "cloudwatch://g?rgion=x"]
        {
            assert!(LogRange::parse(bad, now).is_err(), "{bad}");
        }
    }
}
