//! The generator's own promises: it repeats itself, its records can be read, and its truth counts them.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;

use super::*;
use crate::model::{HOUR_US, MINUTE_US, SECOND_US, Timestamp, platform};

const HOURS: u32 = 48;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-20T14:03:07.123456Z").unwrap()
}

fn history(calls: usize) -> Vec<DemoBatch> {
    Demo::new(42, now()).history(calls, HOURS).collect()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn spans(batches: &[DemoBatch]) -> Vec<&Span> {
    batches
        .iter()
        .flat_map(|batch| &batch.otlp)
        .flat_map(|request| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect()
}

fn text(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()?;
    match value {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(span: &Span, key: &str) -> u64 {
    text(span, key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn strings(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

fn properties(row: &Value) -> Value {
    serde_json::from_str(row["properties"].as_str().unwrap()).unwrap()
}

fn total(batches: &[DemoBatch]) -> DemoTruth {
    let mut truth = DemoTruth::default();
    batches.iter().for_each(|batch| truth.add(&batch.truth));
    truth
}

/// True where the gateway answered from its cache.
fn is_cached(span: &Span) -> bool {
    let hidden: Value = serde_json::from_str(&text(span, "hidden_params").unwrap()).unwrap();
    !hidden["cache_key"].is_null()
}

/// Request ids that the attempts of the gateway carry, by LiteLLM's name of the platform.
fn gateway_ids(spans: &[&Span]) -> BTreeMap<String, Vec<String>> {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.name == "litellm_request" && !is_cached(span)) {
        let hidden: Value = serde_json::from_str(&text(span, "hidden_params").unwrap()).unwrap();
        let headers = hidden["additional_headers"].as_object().unwrap();
        let model = text(span, "litellm.provider.model").unwrap();
        let platform = model.split('/').next().unwrap().to_owned();
        let header = match platform.as_str() {
            "azure" => "apim-request-id",
            "bedrock" => "x-amzn-requestid",
            "openai" => "x-request-id",
            _ => "request-id",
        };
        let id = headers.iter().find(|(key, _)| key.trim_start_matches("llm_provider-") == header).unwrap().1;
        ids.entry(platform).or_default().push(id.as_str().unwrap().to_owned());
    }
    ids
}

#[test]
fn repeats_itself_from_the_same_seed_and_moment() {
    let (one, two) = (history(600), history(600));
    assert_eq!(one.len(), two.len());
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(
            (&one.bedrock, &one.azure, &one.otlp, &one.truth),
            (&two.bedrock, &two.azure, &two.otlp, &two.truth)
        );
    }
    let other: Vec<_> = Demo::new(42, now().plus(1)).history(600, HOURS).collect();
    let ids = |batches: &[DemoBatch]| -> BTreeSet<String> {
        batches.iter().flat_map(|b| lines(&b.bedrock)).map(|row| strings(&row, "requestId")).collect()
    };
    assert!(ids(&one).is_disjoint(&ids(&other)), "another moment gives other ids");
}

#[test]
fn truth_counts_what_the_records_say() {
    let batches = history(6000);
    let truth = total(&batches);
    assert_eq!(truth.calls(), 6000);
    let spans = spans(&batches);
    let by_gateway = gateway_ids(&spans);

    let bedrock: Vec<Value> = batches.iter().flat_map(|b| lines(&b.bedrock)).collect();
    let expected = truth.platforms[platform::BEDROCK];
    let ids: BTreeSet<_> = bedrock.iter().map(|row| strings(row, "requestId")).collect();
    assert_eq!((ids.len(), bedrock.len()), (expected.calls.try_into().unwrap(), ids.len()));
    let tokens = |row: &Value, path: &str| row.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let input: u64 = bedrock
        .iter()
        .flat_map(|row| {
            ["inputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"]
                .map(|key| tokens(row, &format!("/input/{key}")))
        })
        .sum();
    let output: u64 = bedrock.iter().map(|row| tokens(row, "/output/outputTokenCount")).sum();
    assert_eq!((input, output), (expected.input_tokens, expected.output_tokens));

    let azure: Vec<Value> = batches.iter().flat_map(|b| lines(&b.azure)).collect();
    let expected = truth.platforms[platform::AZURE_OPENAI];
    let mut usage: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in &azure {
        let (properties, sum) = (properties(row), usage.entry(strings(row, "correlationId")).or_default());
        let count = |key: &str| properties[key].as_u64().or_else(|| properties[key][0].as_u64()).unwrap_or(0);
        sum.0 = sum.0.max(count("promptTokens"));
        sum.1 = sum.1.max(count("completionTokens")).max(count("generatedTokens"));
    }
    assert_eq!(u64::try_from(usage.len()).unwrap(), expected.calls);
    let sums = usage.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sums, (expected.input_tokens, expected.output_tokens));
    assert!(azure.len() > 2 * usage.len(), "rows are not requests");

    for (litellm, name) in [("openai", platform::OPENAI), ("anthropic", platform::ANTHROPIC)] {
        let ids: BTreeSet<_> = by_gateway[litellm].iter().collect();
        assert_eq!(
            (u64::try_from(ids.len()).unwrap(), ids.len()),
            (truth.platforms[name].calls, by_gateway[litellm].len())
        );
    }
    for name in [platform::OPENAI, platform::ANTHROPIC] {
        let of = |span: &&&Span| {
            span.name == "litellm_request"
                && !is_cached(span)
                && text(span, "litellm.provider.model").unwrap().starts_with(&format!("{name}/"))
        };
        let input: u64 = spans.iter().filter(of).map(|span| number(span, "gen_ai.usage.input_tokens")).sum();
        let output: u64 = spans.iter().filter(of).map(|span| number(span, "gen_ai.usage.output_tokens")).sum();
        assert_eq!((input, output), (truth.platforms[name].input_tokens, truth.platforms[name].output_tokens));
    }
}

#[test]
fn truth_counts_what_is_no_call() {
    let batches = history(20_000);
    let truth = total(&batches);
    let spans = spans(&batches);
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "litellm_request").collect();
    let hits: Vec<_> = attempts.iter().filter(|span| is_cached(span)).collect();
    let sum = |key: &str| hits.iter().map(|span| number(span, key)).sum::<u64>();
    let (input, output) = (sum("gen_ai.usage.input_tokens"), sum("gen_ai.usage.output_tokens"));
    let requests = u64::try_from(hits.len()).unwrap();
    assert_eq!(truth.cached, Beside { requests, input_tokens: input, output_tokens: output });
    assert!((attempts.len() / 50..attempts.len() / 15).contains(&hits.len()), "{} of {}", hits.len(), attempts.len());
    for hit in hits {
        let same_trace = spans.iter().filter(|span| span.trace_id == hit.trace_id).count();
        assert_eq!(same_trace, 2, "the hit and the request as it came in, nothing of a provider");
    }

    let mut reported = Beside::default();
    let mut until = None;
    let exports = batches.iter().filter_map(|batch| batch.metrics.as_ref()).flat_map(|one| &one.resource_metrics);
    for metric in exports.flat_map(|one| &one.scope_metrics).flat_map(|one| &one.metrics) {
        let Some(Data::Histogram(data)) = &metric.data else { panic!("{metric:?}") };
        for point in &data.data_points {
            let sum = point.sum.unwrap();
            let kind = point.attributes.iter().find(|one| one.key == "gen_ai.token.type");
            let kind = kind.and_then(|one| one.value.as_ref()?.value.as_ref());
            match kind {
                Some(Any::StringValue(kind)) if kind == "input" => {
                    reported.input_tokens += format!("{sum}").parse::<u64>().unwrap()
                }
                Some(Any::StringValue(_)) => reported.output_tokens += format!("{sum}").parse::<u64>().unwrap(),
                _ => {
                    assert!(until.is_none_or(|until| until == point.start_time_unix_nano), "no gap, no overlap");
                    until = Some(point.time_unix_nano);
                    reported.requests += point.count;
                }
            }
        }
    }
    assert_eq!(reported, truth.metered);
    assert!(reported.requests > 1000, "{reported:?}");
}

#[test]
fn spans_of_cloud_calls_carry_ids_of_the_log() {
    let batches = history(4000);
    let (truth, spans) = (total(&batches), spans(&batches));
    let by_gateway = gateway_ids(&spans);
    let bedrock: BTreeSet<_> =
        batches.iter().flat_map(|b| lines(&b.bedrock)).map(|row| strings(&row, "requestId")).collect();
    let azure: BTreeSet<_> =
        batches.iter().flat_map(|b| lines(&b.azure)).map(|row| strings(&row, "correlationId")).collect();
    assert!(by_gateway["azure"].iter().all(|id| azure.contains(id)));
    assert!(by_gateway["bedrock"].iter().all(|id| bedrock.contains(id)));
    let aws: Vec<_> = spans.iter().filter_map(|span| text(span, "aws.request_id")).collect();
    assert!(!aws.is_empty() && aws.iter().all(|id| bedrock.contains(id)));
    let seen_twice = |name| truth.platforms[name].seen_twice;
    assert_eq!(u64::try_from(by_gateway["azure"].len()).unwrap(), seen_twice(platform::AZURE_OPENAI));
    assert_eq!(u64::try_from(by_gateway["bedrock"].len() + aws.len()).unwrap(), seen_twice(platform::BEDROCK));
    let cloud = truth.platforms[platform::AZURE_OPENAI].calls + truth.platforms[platform::BEDROCK].calls;
    let gateway = u64::try_from(by_gateway["azure"].len() + by_gateway["bedrock"].len()).unwrap();
    assert!((cloud / 4..cloud / 2).contains(&gateway), "{gateway} of {cloud}");
}

#[test]
fn failovers_share_call_id_and_trace() {
    let batches = history(30_000);
    let truth = total(&batches);
    let mut chains: BTreeMap<String, Vec<&Span>> = BTreeMap::new();
    for span in spans(&batches).into_iter().filter(|span| span.name == "litellm_request") {
        chains.entry(text(span, "litellm.call_id").unwrap()).or_default().push(span);
    }
    let doubles: Vec<_> = chains.values().filter(|chain| chain.len() > 1).collect();
    assert_eq!(u64::try_from(doubles.len()).unwrap(), truth.failovers);
    assert!(truth.rescued > truth.failovers / 2 && truth.failovers > 30, "{truth:?}");
    for chain in doubles {
        assert_eq!((chain.len(), chain[0].trace_id == chain[1].trace_id), (2, true));
        assert_eq!(
            (chain[0].parent_span_id == chain[1].parent_span_id, chain[0].status.as_ref().unwrap().code),
            (true, 2)
        );
        assert!(chain[0].end_time_unix_nano <= chain[1].start_time_unix_nano);
        assert_ne!(text(chain[0], "litellm.model_group"), text(chain[1], "litellm.model_group"));
    }
}

#[test]
fn every_record_lies_in_its_time() {
    let begin = now().plus(-i64::from(HOURS) * HOUR_US);
    let mut before = begin;
    for batch in history(8000) {
        assert!(batch.until > before && batch.until <= now());
        before = batch.until;
        let mut times: Vec<_> = lines(&batch.bedrock).iter().map(|row| strings(row, "timestamp")).collect();
        for row in lines(&batch.azure) {
            times.extend([strings(&row, "time"), strings(&row, "EnqueueTime")]);
            let properties = properties(&row);
            let ticks = ["requestTime", "responseTime"].map(|key| properties[key].as_i64());
            times.extend(ticks.iter().flatten().map(|ticks| Timestamp::from_ticks(*ticks).unwrap().to_string()));
        }
        for span in spans(std::slice::from_ref(&batch)) {
            assert!(span.start_time_unix_nano < span.end_time_unix_nano);
            let ends = [span.start_time_unix_nano, span.end_time_unix_nano];
            times.extend(ends.map(|nanos| Timestamp::from_unix_nanos(nanos).unwrap().to_string()));
        }
        for time in times {
            let at = Timestamp::parse(&time).unwrap();
            assert!(at > begin && at <= batch.until, "{at} is not in ({begin}, {}]", batch.until);
        }
    }
    assert_eq!(before, now());
}

#[test]
fn incidents_can_be_seen() {
    let batches = history(50_000);
    let during = |(ago, length): (i64, i64), at: Timestamp| {
        let begin = now().plus(-ago);
        at >= begin && at < begin.plus(length)
    };
    // Attempts, failures and milliseconds, outside and inside of the incident.
    let mut east = [(0_u64, 0_u64, 0_u64); 2];
    let mut throttled = [(0_u64, 0_u64); 2];
    for batch in &batches {
        for row in lines(&batch.azure) {
            let properties = properties(&row);
            let status = row["resultSignature"].as_str().unwrap_or("");
            if row["location"] != "eastus" || status.is_empty() || (status == "200" && row["durationMs"] == 0) {
                continue;
            }
            let at = Timestamp::from_ticks(properties["requestTime"].as_i64().unwrap()).unwrap();
            let slot = &mut east[usize::from(during(scenario::Scenario::AZURE_INCIDENT, at))];
            slot.0 += 1;
            slot.1 += u64::from(status == "429" || status == "503");
            slot.2 += if status == "200" { row["durationMs"].as_u64().unwrap() } else { 0 };
        }
        for row in lines(&batch.bedrock) {
            let at = Timestamp::parse(&strings(&row, "timestamp")).unwrap();
            let slot = &mut throttled[usize::from(during(scenario::Scenario::BEDROCK_INCIDENT, at))];
            slot.0 += 1;
            slot.1 += u64::from(row["errorCode"] == "ThrottlingException");
        }
    }
    let rate = |part: u64, whole: u64| part * 100 / whole.max(1);
    let [calm, storm] = east;
    assert!(rate(calm.1, calm.0) < 4 && (25..45).contains(&rate(storm.1, storm.0)), "{east:?}");
    let mean = |(all, failed, ms): (u64, u64, u64)| ms / (all - failed).max(1);
    assert!(mean(storm) > 5 * mean(calm) / 2, "{east:?}");
    assert!(rate(throttled[0].1, throttled[0].0) < 4 && rate(throttled[1].1, throttled[1].0) > 30, "{throttled:?}");
}

#[test]
fn live_traffic_is_about_one_call_a_second() {
    let mut demo = Demo::new(7, now());
    let (mut calls, mut ids) = (0, BTreeSet::new());
    let mut from = now();
    for _ in 0..600 {
        let to = from.plus(SECOND_US);
        let batch = demo.live(from, to);
        calls += batch.truth.calls();
        for row in lines(&batch.bedrock) {
            assert!(ids.insert(strings(&row, "requestId")));
            let at = Timestamp::parse(&strings(&row, "timestamp")).unwrap();
            assert!(at <= to && at > from.plus(-10 * MINUTE_US));
        }
        from = to;
    }
    assert!((450..750).contains(&calls), "{calls}");
    assert_eq!(demo.live(from, from).truth.calls(), 0);
    assert_eq!(demo.live(from, from.plus(-SECOND_US)).truth.calls(), 0);
    assert!(demo.live(Timestamp(i64::MIN), Timestamp(i64::MAX)).truth.calls() < 4000);
}

#[test]
fn odd_arguments_do_no_harm() {
    for moment in [i64::MIN, -1, 0, i64::MAX] {
        let mut demo = Demo::new(0, Timestamp(moment));
        assert!(demo.history(20, 0).count() <= 13);
        let _ = demo.live(Timestamp(moment), Timestamp(moment).plus(SECOND_US));
    }
    assert_eq!(total(&Demo::new(1, now()).history(0, 2).collect::<Vec<_>>()).calls(), 0);
    assert_eq!(total(&Demo::new(1, now()).history(500, 1).collect::<Vec<_>>()).calls(), 500);
}

#[test]
fn fifty_thousand_calls_have_the_shares_of_their_platforms() {
    let mut truth = DemoTruth::default();
    Demo::new(3, now()).history(50_000, HOURS).for_each(|batch| truth.add(&batch.truth));
    assert_eq!(truth.calls(), 50_000);
    let share = |name| truth.platforms[name].calls / 500;
    assert!(share(platform::AZURE_OPENAI) > 30 && share(platform::BEDROCK) > 25, "{truth:?}");
}

#[test]
fn the_clouds_count_what_is_logged_and_what_was_lost_on_the_way() {
    let batches = history(20_000);
    let end = now().plus(-10 * MINUTE_US).floor(HOUR_US);
    let bedrock = batches.iter().flat_map(|batch| batch.counters.bedrock.values());
    let series: Vec<Value> = bedrock.flat_map(|bytes| lines(bytes)).collect();
    let sum = |metric: &str| -> u64 {
        series.iter().filter(|one| one["metric"] == metric).map(|one| one["sums"][0][1].as_u64().unwrap()).sum()
    };
    let logged = batches
        .iter()
        .flat_map(|batch| lines(&batch.bedrock))
        .filter(|row| Timestamp::parse(row["timestamp"].as_str().unwrap()).unwrap() < end);
    assert_eq!(sum("ModelInvocationLogsS3DeliverySuccess"), u64::try_from(logged.count()).unwrap());
    let lost = sum("ModelInvocationLogsS3DeliveryFailure");
    let failed = sum("InvocationThrottles") + sum("InvocationClientErrors") + sum("InvocationServerErrors");
    assert!(lost > 0, "nothing shows what control totals are for");
    assert_eq!(sum("Invocations") + failed, sum("ModelInvocationLogsS3DeliverySuccess") + lost);

    let azure = batches.iter().flat_map(|batch| lines(&batch.counters.azure));
    let requests: u64 = azure
        .map(|answer| answer["value"][0].clone())
        .filter(|value| value["name"]["value"] == "AzureOpenAIRequests")
        .map(|value| value["timeseries"][0]["data"][0]["total"].as_u64().unwrap())
        .sum();
    let all = total(&batches).platforms["azure.ai.openai"].calls;
    assert!(requests <= all && requests * 20 > all * 18, "{requests} of {all}");

    let torn: Vec<_> = batches.iter().map(|batch| &batch.counters.torn).filter(|torn| !torn.is_empty()).collect();
    assert!(!torn.is_empty() && torn.iter().all(|torn| serde_json::from_slice::<Value>(torn).is_err()));
}

#[test]
fn counters_are_read_as_counters_and_what_is_torn_is_set_aside() {
    use crate::model::{Normalized, RecordRef};
    use crate::sources::LogFormat;
    use crate::sources::azure::{AzureConfig, AzureDiagnostics};
    use crate::sources::bedrock::{BedrockConfig, BedrockLog, BedrockMetrics};

    let at = RecordRef { source: "demo", object: "o", position: 0, object_time: now(), observed_at: now() };
    let read = |format: &dyn LogFormat, bytes: &[u8]| {
        let mut out = Vec::new();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .for_each(|line| format.normalize(line, &at, &mut out));
        out
    };
    let (mut metrics, mut ids) = (0, BTreeSet::new());
    for batch in history(5_000) {
        let counters = batch.counters;
        let mut all = read(&AzureDiagnostics::new(AzureConfig::default()), &counters.azure);
        for ((account, region), series) in &counters.bedrock {
            let of = BedrockConfig { account: Some((*account).to_owned()), region: Some((*region).to_owned()) };
            all.extend(read(&BedrockMetrics::new(of), series));
        }
        for one in all {
            let Normalized::Metric(metric) = one else { panic!("no counter: {one:?}") };
            assert!(metric.platform.is_some() && metric.account.is_some() && metric.total.is_some(), "{metric:?}");
            assert!(ids.insert(metric.metric_id), "counted twice: {metric:?}");
            metrics += 1;
        }
        for torn in read(&BedrockLog::new(BedrockConfig::default()), &counters.torn) {
            assert!(matches!(torn, Normalized::Rejected(_)), "{torn:?}");
        }
    }
    assert!(metrics > 1_000, "{metrics}");
}
