//! Two logs of the same calls, damaged in known places.

use std::collections::BTreeSet;

use super::*;

fn call(id: &str, request: Option<&str>, at_s: i64, input: u64, output: u64) -> LoggedCall {
    LoggedCall {
        id: id.into(),
        request_id: request.map(str::to_owned),
        platform: "openai".into(),
        model: Some("gpt-4o".into()),
        at: Timestamp(1_790_000_000 * SECOND_US + at_s * SECOND_US),
        input: Some(input),
        output: Some(output),
    }
}

fn run(gateway: &[LoggedCall], provider: &[LoggedCall]) -> Vec<(CallVerdict, Option<usize>, Option<usize>, u8)> {
    let found = match_calls(gateway, provider, &CallOptions::default());
    found.findings.iter().map(|f| (f.verdict, f.gateway, f.provider, f.confidence)).collect()
}

#[test]
fn an_id_is_certain_and_is_one_call() {
    let gateway = [call("a", Some("r1"), 0, 10, 5), call("b", Some("r2"), 1, 10, 5), call("c", Some("r3"), 2, 9, 9)];
    let provider = [call("x", Some("r1"), 0, 10, 5), call("y", Some("r1"), 0, 10, 5), call("z", Some("r3"), 2, 9, 8)];
    let expected = [
        (CallVerdict::Match, Some(0), Some(0), 100),
        (CallVerdict::Mismatch, Some(2), Some(2), 100),
        (CallVerdict::GatewayOnly, Some(1), None, 0),
        (CallVerdict::ProviderDuplicate, None, Some(1), 0),
    ];
    assert_eq!(run(&gateway, &provider), expected);
}

#[test]
fn without_ids_the_nearest_alike_are_one_call() {
    // Equal calls every ten seconds; the provider lacks the third. It alone is named, not the last one.
    let gateway: Vec<_> = (0..20).map(|n| call("g", None, n * 10, 100, 20)).collect();
    let provider: Vec<_> = (0..20).filter(|n| *n != 2).map(|n| call("p", None, n * 10 + 1, 100, 20)).collect();
    let found = run(&gateway, &provider);
    let named: Vec<_> = found.iter().filter(|f| f.0 != CallVerdict::Match).collect();
    assert_eq!(named, [&(CallVerdict::GatewayOnly, Some(2), None, 0)]);
    // The only one that could be meant is surer than one of many.
    let alone = run(&[call("g", None, 0, 7, 7)], &[call("p", None, 1, 7, 7)]);
    assert_eq!(alone, [(CallVerdict::Match, Some(0), Some(0), 95)]);
}

#[test]
fn clocks_that_differ_are_measured() {
    let gateway: Vec<_> = (0..20).map(|n| call("g", None, n * 10, 100, 20)).collect();
    let provider: Vec<_> = (0..20).filter(|n| *n != 12).map(|n| call("p", None, n * 10 + 3, 100, 20)).collect();
    let found = match_calls(&gateway, &provider, &CallOptions::default());
    assert_eq!(found.usual_us["openai"], 3 * SECOND_US);
    assert_eq!(found.differences().map(|f| f.gateway).collect::<Vec<_>>(), [Some(12)]);
}

#[test]
fn ids_that_both_tell_and_that_differ_are_two_calls() {
    let found = run(&[call("g", Some("r1"), 0, 7, 7)], &[call("p", Some("r2"), 0, 7, 7)]);
    assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [CallVerdict::GatewayOnly, CallVerdict::ProviderOnly]);
    let mixed = run(&[call("g", None, 0, 7, 7)], &[call("p", Some("r2"), 0, 7, 7)]);
    assert_eq!(mixed[0].0, CallVerdict::Match);
}

#[test]
fn many_rows_that_can_not_be_told_apart_are_paired_in_time() {
    // Twenty thousand calls of the same tokens within 20 seconds, all with a word for "no id".
    let at = |n: i64, us: i64| LoggedCall { at: Timestamp(n * 1000 + us), ..call("x", Some("unknown"), 0, 5, 0) };
    let gateway: Vec<_> = (0..20_000).map(|n| at(n, 0)).collect();
    let provider: Vec<_> = (0..20_000).filter(|n| *n != 7).map(|n| at(n, 300)).collect();
    let found = match_calls(&gateway, &provider, &CallOptions::default());
    assert_eq!(found.differences().map(|f| f.gateway).collect::<Vec<_>>(), [Some(7)]);
    assert!(found.findings.iter().all(|f| f.by != Some(MatchedBy::RequestId)));
}

/// A small generator.
fn below(seed: &mut u64, limit: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % limit
}

/// 1 % of the provider's rows are deleted, doubled and altered, each; with and without ids.
fn damaged(seed: &mut u64, ids: bool, late_s: i64) {
    let made = |n: usize, seed: &mut u64| {
        let id = format!("r{n}");
        let at = i64::try_from(n * 3).unwrap() + i64::try_from(below(seed, 3)).unwrap();
        let mut call =
            call(&n.to_string(), ids.then_some(id.as_str()), at, below(seed, 6000) + 10, below(seed, 900) + 1);
        call.model = Some(["gpt-4o", "gpt-4o-mini", "o3"][usize::try_from(below(seed, 3)).unwrap()].into());
        call
    };
    let gateway: Vec<_> = (0..3000).map(|n| made(n, seed)).collect();
    let mut provider: Vec<LoggedCall> = gateway.clone();
    for row in &mut provider {
        row.at = row.at.plus(late_s * SECOND_US + i64::try_from(below(seed, 400_000)).unwrap());
    }
    let mut expected = BTreeSet::new();
    let mut doubled = Vec::new();
    for _ in 0..30 {
        for kind in 0..3 {
            let at = usize::try_from(below(seed, u64::try_from(provider.len()).unwrap())).unwrap();
            let id = provider[at].id.clone();
            if !expected.insert(id) {
                continue;
            }
            match kind {
                0 => drop(provider.remove(at)),
                1 => doubled.push(provider[at].clone()),
                _ => provider[at].output = provider[at].output.map(|count| count + 1 + below(seed, 50)),
            }
        }
    }
    provider.append(&mut doubled);
    let found = match_calls(&gateway, &provider, &CallOptions::default());
    let name = |f: &CallFinding| {
        f.gateway.map_or_else(|| provider[f.provider.unwrap()].id.clone(), |at| gateway[at].id.clone())
    };
    let named: BTreeSet<String> = found.differences().map(name).collect();
    assert_eq!(named, expected);
    // Each row of both logs is in exactly one finding.
    let rows: BTreeSet<_> = found.findings.iter().filter_map(|f| f.gateway).collect();
    assert_eq!((rows.len(), found.findings.iter().filter_map(|f| f.gateway).count()), (3000, 3000));
    assert_eq!(found.findings.iter().filter_map(|f| f.provider).count(), provider.len());
    let matches = found.findings.iter().filter(|f| f.verdict == CallVerdict::Match);
    for f in matches {
        assert_eq!(gateway[f.gateway.unwrap()].id, provider[f.provider.unwrap()].id);
    }
}

#[test]
fn damage_of_a_log_is_named_and_nothing_else() {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for round in 0..12 {
        damaged(&mut seed, round % 2 == 0, round % 3 * 7);
    }
}
