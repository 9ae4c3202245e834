//! What the clouds count themselves, by the hour: CloudWatch of Bedrock, Azure Monitor of Azure OpenAI. Now and then the
//! delivery of a Bedrock log fails: the call is counted and in no log, which is what control totals are for.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::azure;
use super::bedrock;
use super::company::Platform;
use super::request::{Attempt, Ending, Request};
use crate::model::{HOUR_US, MINUTE_US, SECOND_US, Timestamp};

/// Counters are final so long after their hour.
const FINAL_AFTER_US: i64 = 10 * MINUTE_US;
/// Of so many hours one loses a log record of each account, Region and model.
const LOSES_EVERY: i64 = 9;

/// The counters of hours that are final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoCounters {
    /// Series of `AWS/Bedrock`, one a line, by account and Region.
    pub bedrock: BTreeMap<(&'static str, &'static str), Vec<u8>>,
    /// Answers of Azure Monitor, one a line.
    pub azure: Vec<u8>,
    /// A log record of which only the beginning arrived.
    pub torn: Vec<u8>,
}

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    Bedrock { account: &'static str, region: &'static str, model: &'static str },
    Azure { resource: String, region: &'static str, deployment: &'static str, model: &'static str },
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    answered: u64,
    throttled: u64,
    refused: u64,
    broken: u64,
    input: u64,
    output: u64,
}

/// The counters of hours that go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals(BTreeMap<(Timestamp, Series), Counts>);

impl Totals {
    /// Counts an attempt in the hour that it began in.
    pub(super) fn count(&mut self, request: &Request, attempt: &Attempt) {
        let place = attempt.place;
        let series = match place.platform {
            Platform::Bedrock { .. } => {
                Series::Bedrock { account: bedrock::account(request.staging), region: place.region, model: place.model }
            }
            Platform::Azure { account, deployment, .. } => Series::Azure {
                resource: azure::resource(account, request.staging),
                region: place.region,
                deployment,
                model: place.model,
            },
            Platform::OpenAi | Platform::Anthropic => return,
        };
        let azure = matches!(series, Series::Azure { .. });
        let counts = self.0.entry((attempt.start.floor(HOUR_US), series)).or_default();
        match attempt.ending {
            Ending::Finished | Ending::CutOff | Ending::ToolUse => counts.answered += 1,
            // Bedrock answers what a guardrail stopped; Azure refuses it.
            Ending::Filtered if !azure => counts.answered += 1,
            Ending::Throttled => counts.throttled += 1,
            Ending::BadRequest | Ending::Filtered => counts.refused += 1,
            Ending::Broken | Ending::TimedOut => counts.broken += 1,
        }
        counts.input += attempt.usage.input.unwrap_or(0);
        counts.output += attempt.usage.output.unwrap_or(0);
    }

    /// Takes out the hours that are final at `now`.
    pub(super) fn take(&mut self, now: Timestamp) -> DemoCounters {
        let end = now.plus(-FINAL_AFTER_US).floor(HOUR_US);
        let later = self.0.split_off(&(end, Series::Bedrock { account: "", region: "", model: "" }));
        let mut counters = DemoCounters::default();
        for ((hour, series), counts) in std::mem::replace(&mut self.0, later) {
            match series {
                Series::Bedrock { account, region, model } => {
                    let lines = counters.bedrock.entry((account, region)).or_default();
                    let lost = u64::from(hour.0.div_euclid(HOUR_US).rem_euclid(LOSES_EVERY) == 0);
                    lines.extend(bedrock_lines(hour, model, counts, lost).into_bytes());
                    if lost > 0 && counters.torn.is_empty() {
                        counters.torn = torn(hour, account, region).into_bytes();
                    }
                }
                Series::Azure { resource, region, deployment, model } => {
                    counters
                        .azure
                        .extend(azure_lines(hour, &resource, region, (deployment, model), counts).into_bytes());
                }
            }
        }
        counters
    }
}

fn bedrock_lines(hour: Timestamp, model: &str, counts: Counts, lost: u64) -> String {
    let start = hour.0.div_euclid(SECOND_US);
    let mut lines = String::new();
    let mut line = |metric: &str, dimension: &str, value: &str, sum: u64| {
        // Writing to a string can't fail.
        let _ = writeln!(
            lines,
            r#"{{"metric":"{metric}","dimensions":{{"{dimension}":"{value}"}},"period_s":3600,"sums":[[{start},{sum}]]}}"#
        );
    };
    let told = counts.answered + counts.throttled + counts.refused + counts.broken;
    for (metric, sum) in [
        ("Invocations", counts.answered + lost),
        ("InvocationThrottles", counts.throttled),
        ("InvocationClientErrors", counts.refused),
        ("InvocationServerErrors", counts.broken),
        // What was lost was short.
        ("InputTokenCount", counts.input + lost * 640),
        ("OutputTokenCount", counts.output + lost * 90),
    ] {
        line(metric, "ModelId", model, sum);
    }
    // Delivery is not counted by model; the sums of an hour are added up.
    line("ModelInvocationLogsS3DeliverySuccess", "Prefix", model, told);
    line("ModelInvocationLogsS3DeliveryFailure", "Prefix", model, lost);
    lines
}

fn azure_lines(
    hour: Timestamp,
    resource: &str,
    region: &str,
    (deployment, model): (&str, &str),
    counts: Counts,
) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, status: &str, total: u64| {
        let status = match status {
            "" => String::new(),
            status => format!(r#",{{"name":{{"value":"statuscode"}},"value":"{status}"}}"#),
        };
        let _ = writeln!(
            lines,
            r#"{{"timespan":"PT1H","interval":"PT1H","resourceregion":"{region}","value":[{{"id":"{resource}/PROVIDERS/MICROSOFT.INSIGHTS/METRICS/{name}","name":{{"value":"{name}"}},"unit":"Count","timeseries":[{{"metadatavalues":[{{"name":{{"value":"modeldeploymentname"}},"value":"{deployment}"}},{{"name":{{"value":"modelname"}},"value":"{model}"}}{status}],"data":[{{"timeStamp":"{hour}","total":{total}}}]}}]}}]}}"#
        );
    };
    line("AzureOpenAIRequests", "200", counts.answered);
    line("AzureOpenAIRequests", "429", counts.throttled);
    line("AzureOpenAIRequests", "400", counts.refused);
    line("AzureOpenAIRequests", "500", counts.broken);
    line("ProcessedPromptTokens", "", counts.input);
    line("GeneratedTokens", "", counts.output);
    lines
}

fn torn(hour: Timestamp, account: &str, region: &str) -> String {
    format!("{{\"timestamp\":\"{hour}\",\"accountId\":\"{account}\",\"region\":\"{region}\",\"requestId\":\"\n")
}
