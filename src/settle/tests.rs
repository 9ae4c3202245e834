//! Tests of settling as a whole.

use std::sync::Arc;

use super::{Rules, Settled, group, settle};
use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::model::{Observation, Outcome, RecordId, Timestamp, Usage, UsageStatus, Witness, fingerprint};
use crate::pricing::PriceBook;

const T0: Timestamp = Timestamp(1_790_000_000_000_000);

fn rules() -> Rules {
    Rules {
        catalog: Catalog::bundled().unwrap(),
        attribution: Attribution::default(),
        prices: PriceBook::bundled().unwrap(),
    }
}

fn observation(name: &str, witness: Witness) -> Observation {
    Observation {
        observation_id: fingerprint([name.as_bytes()]),
        source: format!("source-of-{name}"),
        witness,
        ts: T0,
        observed_at: T0,
        ..Observation::default()
    }
}

fn measured(input: u64, output: u64) -> (Usage, UsageStatus) {
    (Usage { input: Some(input), output: Some(output), ..Usage::default() }, UsageStatus::Measured)
}

fn run(observations: Vec<Observation>) -> Vec<Settled> {
    let rules = rules();
    let observations = observations.into_iter().map(Arc::new).collect();
    let mut settled: Vec<_> = group(observations).iter().flat_map(|group| settle(group, &rules, T0)).collect();
    settled.sort_by_key(|settled| settled.call.call_id);
    settled
}

/// One Azure request: a usage row, its log row, its placeholder, and the gateway's span.
fn azure_request(n: u64) -> Vec<Observation> {
    let id = Some(format!("corr-{n}"));
    let resource = Some("/subscriptions/s/accounts/a".to_owned());
    let base = |name: &str, witness| Observation {
        provider_request_id: id.clone(),
        resource: resource.clone(),
        platform: Some("azure.ai.openai".into()),
        ..observation(&format!("{name}-{n}"), witness)
    };
    let (usage, usage_status) = measured(100 + n, 10);
    vec![
        Observation { usage, usage_status, ..base("usage", Witness::ProviderUsage) },
        Observation { outcome: Some(Outcome::Ok), http_status: Some(200), ..base("log", Witness::ProviderLog) },
        Observation { http_status: Some(200), ..base("twin", Witness::Placeholder) },
        Observation {
            usage,
            usage_status,
            resource: None,
            outcome: Some(Outcome::Ok),
            duration_ms: Some(12.0),
            team: Some("search".into()),
            ts: T0.plus(-5),
            ..base("span", Witness::Gateway)
        },
    ]
}

#[test]
fn all_rows_of_a_request_are_one_call() {
    let settled = run(azure_request(1));
    assert_eq!(settled.len(), 1);
    let call = &settled[0].call;
    assert_eq!((call.usage.input, call.outcome, call.http_status), (Some(101), Outcome::Ok, Some(200)));
    assert_eq!((call.duration_ms, call.team.as_deref(), call.ts), (Some(12.0), Some("search"), T0.plus(-5)));
    assert_eq!(call.witnesses.len(), 4);
    assert!(!call.conflict);
}

#[test]
fn order_and_repetition_do_not_matter() {
    let mut observations: Vec<_> = (0..20).flat_map(azure_request).collect();
    let expected = run(observations.clone());
    assert_eq!(expected.len(), 20);
    let mut state = 7_u64;
    for _ in 0..20 {
        for index in (1..observations.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            observations.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        let doubled = observations.iter().chain(observations.iter().take(17)).cloned().collect();
        assert_eq!(run(doubled), expected);
    }
}

#[test]
fn one_request_id_in_two_accounts_is_two_calls() {
    let log = |account: &str| Observation {
        provider_request_id: Some("r1".into()),
        account: Some(account.into()),
        platform: Some("aws.bedrock".into()),
        ..observation(account, Witness::ProviderLog)
    };
    assert_eq!(run(vec![log("1"), log("2")]).len(), 2);
}

#[test]
fn a_throttled_row_beats_its_placeholder() {
    let row = |name: &str, witness, outcome, status| Observation {
        provider_request_id: Some("c".into()),
        resource: Some("r".into()),
        outcome,
        http_status: Some(status),
        ..observation(name, witness)
    };
    let settled = run(vec![
        row("a", Witness::Placeholder, None, 200),
        row("b", Witness::ProviderLog, Some(Outcome::Throttled), 429),
    ]);
    assert_eq!(settled.len(), 1);
    assert_eq!((settled[0].call.outcome, settled[0].call.http_status), (Outcome::Throttled, Some(429)));
}

#[test]
fn the_innermost_span_with_usage_speaks_and_agents_are_no_calls() {
    let span = |name: &str, parent: Option<&str>, witness, tokens: Option<u64>| {
        let (usage, usage_status) = tokens.map_or_else(Default::default, |n| measured(n, 1));
        Observation {
            trace_id: Some("t".into()),
            span_id: Some(name.into()),
            parent_span_id: parent.map(str::to_owned),
            usage,
            usage_status,
            ..observation(name, witness)
        }
    };
    let settled = run(vec![
        Observation { team: Some("x".into()), ..span("agent", None, Witness::Context, Some(999)) },
        span("outer", Some("agent"), Witness::Client, Some(50)),
        span("tool", Some("outer"), Witness::Context, None),
        span("inner", Some("tool"), Witness::Client, Some(40)),
        span("sibling", Some("agent"), Witness::Client, Some(7)),
    ]);
    let mut inputs: Vec<_> = settled.iter().map(|settled| settled.call.usage.input).collect();
    inputs.sort();
    assert_eq!(inputs, [Some(7), Some(40)]);
    assert!(settled.iter().all(|settled| settled.call.team.as_deref() == Some("x")));
}

#[test]
fn cyclic_parents_end() {
    let span = |name: &str, parent: &str| Observation {
        trace_id: Some("t".into()),
        span_id: Some(name.into()),
        parent_span_id: Some(parent.into()),
        ..observation(name, Witness::Client)
    };
    assert_eq!(run(vec![span("a", "b"), span("b", "a"), span("c", "c")]).len(), 2);
}

#[test]
fn a_cache_hit_is_no_call() {
    let hit = Observation { response_id: Some("r".into()), ..observation("hit", Witness::NotACall) };
    let call = Observation { response_id: Some("r".into()), ..observation("call", Witness::Gateway) };
    let settled = run(vec![hit, call.clone()]);
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].members, [call.observation_id]);
    assert_ne!(settled[0].call.call_id, RecordId::default());
}

#[test]
fn no_link_reaches_across_hours() {
    let log = |name: &str, ts| Observation {
        provider_request_id: Some("r".into()),
        resource: Some("a".into()),
        ts,
        ..observation(name, Witness::ProviderLog)
    };
    assert_eq!(run(vec![log("a", T0), log("b", T0.plus(12 * 60_000_000))]).len(), 1);
    assert_eq!(run(vec![log("a", T0), log("b", T0.plus(7_200_000_000))]).len(), 2);
}

#[test]
fn attempts_of_a_gateway_under_one_client_span_stay_apart() {
    let span = |name: &str, parent: Option<&str>, witness| Observation {
        trace_id: Some("t".into()),
        span_id: Some(name.into()),
        parent_span_id: parent.map(str::to_owned),
        ..observation(name, witness)
    };
    let (usage, usage_status) = measured(40, 4);
    let client =
        Observation { usage, usage_status, service: Some("app".into()), ..span("client", None, Witness::Client) };
    let first = Observation { http_status: Some(429), ..span("first", Some("client"), Witness::Gateway) };
    let second = Observation { usage, usage_status, ..span("second", Some("client"), Witness::Gateway) };
    let settled = run(vec![client.clone(), first.clone(), second.clone()]);
    assert_eq!(settled.len(), 2);
    let members: std::collections::BTreeSet<_> = settled.iter().map(|settled| settled.members.len()).collect();
    assert_eq!(members, [1, 2].into());
    assert!(settled.iter().all(|settled| settled.call.service.as_deref() == Some("app")));
    let total: u64 = settled.iter().filter_map(|settled| settled.call.usage.input).sum();
    assert_eq!(total, 40);
}

fn failed_span(name: &str, dialect: &str, after_us: i64) -> Observation {
    Observation {
        dialect: dialect.into(),
        ts: T0.plus(after_us),
        trace_id: Some(format!("trace-{name}")),
        span_id: Some(name.into()),
        service: Some("shop".into()),
        request_model: Some("claude-sonnet-4".into()),
        outcome: Some(Outcome::Timeout),
        duration_ms: Some(2000.0),
        ..observation(name, Witness::Client)
    }
}

#[test]
fn a_failure_that_two_instrumentations_describe_is_one_call() {
    let outer = || failed_span("outer", "otlp.openllmetry", 0);
    let inner = || failed_span("inner", "otlp.anthropic_sdk", 3_000);
    assert_eq!(run(vec![outer(), inner()]).len(), 1);
    // Two at once: each outer one has its own inner one.
    let second =
        vec![failed_span("outer-2", "otlp.openllmetry", 20_000), failed_span("inner-2", "otlp.anthropic_sdk", 23_000)];
    assert_eq!(run([vec![outer(), inner()], second].concat()).len(), 2);
    let apart = [
        Observation { dialect: "otlp.openllmetry".into(), ..inner() },
        Observation { service: Some("search".into()), ..inner() },
        Observation { service: None, ..inner() },
        Observation { outcome: Some(Outcome::Throttled), ..inner() },
        Observation { request_model: Some("gpt-4o".into()), ..inner() },
        Observation { response_id: Some("r".into()), ..inner() },
        Observation { http_status: Some(503), ..inner() },
        failed_span("late", "otlp.anthropic_sdk", 60_000),
    ];
    for other in apart {
        let outer = Observation { http_status: Some(504), ..outer() };
        assert_eq!(run(vec![outer, other.clone()]).len(), 2, "{other:?}");
    }
}

#[test]
fn tries_of_one_request_are_numbered_after_failed_ones_only() {
    let span = |name: &str, after_s: i64, outcome| Observation {
        trace_id: Some("t".into()),
        parent_span_id: Some("p".into()),
        outcome: Some(outcome),
        ..failed_span(name, "otlp.genai", after_s * 1_000_000)
    };
    let tries = |spans: Vec<Observation>| -> Vec<u16> {
        let mut calls: Vec<_> = run(spans).into_iter().map(|settled| settled.call).collect();
        calls.sort_by_key(|call| call.ts);
        calls.iter().map(|call| call.attempt.unwrap()).collect()
    };
    let (throttled, ok) = (Outcome::Throttled, Outcome::Ok);
    assert_eq!(
        tries(vec![span("a", 0, throttled), span("b", 5, throttled), span("c", 9, ok), span("d", 15, ok)]),
        [1, 2, 3, 1]
    );
    // Beside each other, and under another parent.
    assert_eq!(tries(vec![span("a", 0, throttled), span("b", 1, ok)]), [1, 1]);
    let elsewhere = Observation { parent_span_id: Some("q".into()), ..span("b", 5, ok) };
    assert_eq!(tries(vec![span("a", 0, throttled), elsewhere.clone()]), [1, 1]);
    // A gateway's chain holds whatever the spans look like; what it counts and does not describe counts.
    let named = |o: Observation| Observation { chain_id: Some("c".into()), ..o };
    assert_eq!(tries(vec![named(span("a", 0, throttled)), named(elsewhere.clone())]), [1, 2]);
    let counted = |tag: &str| Observation { tags: [(tag.to_owned(), "2".into())].into(), ..elsewhere.clone() };
    assert_eq!(tries(vec![named(span("a", 0, throttled)), named(counted("retries"))]), [1, 4]);
    assert_eq!(tries(vec![named(span("a", 0, throttled)), named(counted("chain_retries"))]), [1, 4]);
    assert_eq!(tries(vec![counted("retries")]), [3]);
}

#[test]
fn what_a_gateway_answers_by_itself_is_no_call_of_the_client_either() {
    let (usage, usage_status) = measured(10, 5);
    let span = |name: &str, parent: Option<&str>, witness| Observation {
        trace_id: Some("t".into()),
        span_id: Some(name.into()),
        parent_span_id: parent.map(str::to_owned),
        usage,
        usage_status,
        ..observation(name, witness)
    };
    let app = || span("app", Some("agent"), Witness::Client);
    let hit = || span("hit", Some("server"), Witness::NotACall);
    let server = || Observation { dialect: "otlp.bridge".into(), ..span("server", Some("app"), Witness::Context) };
    let around = || [span("agent", None, Witness::Context), server()];
    assert_eq!(run([vec![app(), hit()], around().to_vec()].concat()), []);
    // Refused once and then let through: the client's span is a witness of what reached the provider.
    let sent = span("sent", Some("server"), Witness::Gateway);
    let calls = run([vec![app(), hit(), sent], around().to_vec()].concat());
    assert_eq!((calls.len(), calls[0].members.len()), (1, 2));
}

#[test]
fn an_event_below_a_tool_leaves_the_call_above_it_and_one_below_two_clients_leaves_neither() {
    let (usage, usage_status) = measured(500, 50);
    let span = |name: &str, parent: Option<&str>, witness, dialect: &str| Observation {
        trace_id: Some("t".into()),
        span_id: Some(name.into()),
        parent_span_id: parent.map(str::to_owned),
        dialect: dialect.into(),
        outcome: Some(Outcome::Ok),
        usage,
        usage_status,
        ..observation(name, witness)
    };
    let event = |name: &str, parent: &str, kind: &str| Observation {
        tags: [("gateway_event".to_owned(), kind.to_owned())].into(),
        ..span(name, Some(parent), Witness::NotACall, "otlp.envoy")
    };
    let llm = || span("llm", None, Witness::Client, "otlp.genai");
    let tool = span("tool", Some("llm"), Witness::Context, "otlp.genai");
    assert_eq!(run(vec![llm(), tool, event("hit", "tool", "cache_hit")]).len(), 1);
    // Refused here, answered elsewhere.
    assert_eq!(run(vec![llm(), event("no", "llm", "rejected")]).len(), 1);
    let sdk = span("sdk", Some("llm"), Witness::Client, "otlp.openllmetry");
    assert_eq!(run(vec![llm(), sdk, event("hit", "sdk", "cache_hit")]), []);
}

#[test]
fn a_success_above_a_failed_attempt_is_another_attempt() {
    let (usage, usage_status) = measured(44, 5);
    let client = Observation {
        usage,
        usage_status,
        outcome: Some(Outcome::Ok),
        error_code: None,
        ..failed_span("c", "otlp.genai", 0)
    };
    let attempt = Observation {
        trace_id: client.trace_id.clone(),
        parent_span_id: client.span_id.clone(),
        error_code: Some("429".into()),
        witness: Witness::Gateway,
        ..failed_span("g", "otlp.litellm", 1000)
    };
    assert_eq!(run(vec![client, attempt]).len(), 2);
}

#[test]
fn ten_failures_at_once_told_twice_are_ten() {
    for (apart_us, offset_us) in [(500, 5_000), (0, 5_000), (20_000, 15_000), (20_000, 5_000)] {
        let told = |n: i64| {
            let outer = failed_span(&format!("o{n}"), "otlp.openllmetry", n * apart_us);
            [outer, failed_span(&format!("i{n}"), "otlp.anthropic_sdk", n * apart_us + offset_us)]
        };
        assert_eq!(run((0..10).flat_map(told).collect()).len(), 10, "{apart_us} {offset_us}");
    }
}

#[test]
fn a_word_for_no_id_joins_nobody() {
    let span =
        |name: &str, id: &str| Observation { response_id: Some(id.into()), ..observation(name, Witness::Client) };
    for word in ["unknown", "N/A", "-", "0"] {
        assert_eq!(run(vec![span("a", word), span("b", word)]).len(), 2, "{word}");
    }
    assert_eq!(run(vec![span("a", "chatcmpl-9f2c"), span("b", "chatcmpl-9f2c")]).len(), 1);
}

fn answered(name: &str, after_us: i64, tokens: (u64, u64)) -> Observation {
    let (usage, usage_status) = measured(tokens.0, tokens.1);
    Observation {
        ts: T0.plus(after_us),
        dialect: "otel.genai".into(),
        trace_id: Some(format!("trace of {name}")),
        span_id: Some("s".into()),
        response_id: Some("chatcmpl-123".into()),
        usage,
        usage_status,
        ..observation(name, Witness::Client)
    }
}

#[test]
fn an_id_that_a_server_writes_into_all_its_answers_joins_nobody() {
    let strangers = [answered("a", 0, (10, 5)), answered("b", 1_000_000, (900, 5))];
    assert_eq!(run(strangers.to_vec()).len(), 2);
    // The same answer in two traces is one; and one that another instrumentation counts otherwise still is.
    assert_eq!(run(vec![answered("a", 0, (10, 5)), answered("b", 1_000_000, (10, 5))]).len(), 1);
    let other = Observation { dialect: "openinference".into(), ..answered("b", 1_000_000, (12, 5)) };
    assert_eq!(run(vec![answered("a", 0, (10, 5)), other]).len(), 1);
}

#[test]
fn an_id_seen_for_hours_names_no_single_call() {
    const STEP: i64 = 10 * 60 * 1_000_000;
    let seen = |n: i64| answered(&n.to_string(), n * STEP, (10, 5));
    assert_eq!(run((0..2).map(seen).collect()).len(), 1);
    assert_eq!(run((0..12).map(seen).collect()).len(), 12);
    // Two hours apart it may name one again.
    assert_eq!(run([0, 1, 12, 13].map(seen).to_vec()).len(), 2);
}
