//! How fast calls are priced on one core: with the bundled list, and with an operator's contracts on top, against only
//! reading the same calls. See `benches/README.md`.
//!
//! Needs only the pure part: `cargo bench --no-default-features --bench pricing`.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench may stop where it stands")]

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use polymeter::model::{Timestamp, Usage};
use polymeter::pricing::{PriceBook, PriceQuery, Reading, assemble, read_file};

/// Calls that are priced again and again.
const CALLS: usize = 10_000;
/// Time of one measurement, and how often each is made; the fastest counts.
const SLICE: Duration = Duration::from_millis(250);
const ROUNDS: usize = 8;

const PLACES: [(&str, &str, Option<&str>); 6] = [
    ("openai", "gpt-4o", None),
    ("azure.ai.openai", "gpt-4o", Some("global")),
    ("aws.bedrock", "claude-sonnet-4-6", Some("global")),
    ("anthropic", "claude-haiku-4-5", None),
    ("gcp.vertex_ai", "gemini-2.5-flash", None),
    ("aws.bedrock", "nova-lite", Some("in_region")),
];

const CONTRACTS: &str = "contract_id,platform,account,model,factor\n\
    ea,azure.ai.openai,sub-*,,0.85\n\
    ea-4o,azure.ai.openai,sub-7,gpt-4o,0.80\n\
    edp,aws.bedrock,1234*,,0.93\n\
    premium,openai,org-*,,1.15\n";

struct Call {
    place: usize,
    account: &'static str,
    at: Timestamp,
    usage: Usage,
}

fn calls() -> Vec<Call> {
    let mut seed = 11_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let call = |_| {
        let (read, fresh) = (next(8) * 1000, next(20_000));
        Call {
            place: usize::try_from(next(6)).unwrap_or_default(),
            account: ["sub-7", "sub-8", "123456789012", "org-a"][usize::try_from(next(4)).unwrap_or_default()],
            at: Timestamp(1_795_000_000_000_000 + i64::try_from(next(86_400_000_000)).unwrap_or_default()),
            usage: Usage {
                input: Some(read + fresh),
                cache_read: Some(read),
                output: Some(next(2000)),
                ..Usage::default()
            },
        }
    };
    (0..CALLS).map(call).collect()
}

fn query(call: &Call) -> PriceQuery<'_> {
    let (platform, model, scope) = PLACES[call.place];
    PriceQuery {
        platform: Some(platform),
        model: Some(model),
        scope,
        account: Some(call.account),
        region: Some("us-east-1"),
        operation: Some("chat"),
        ..PriceQuery::new(call.at, &call.usage)
    }
}

/// Calls per second in the fastest round.
fn rate(calls: &[Call], mut each: impl FnMut(&Call)) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (start, mut done) = (Instant::now(), 0_u32);
        while start.elapsed() < SLICE {
            calls.iter().for_each(&mut each);
            done += u32::try_from(calls.len()).unwrap_or_default();
        }
        best = best.max(f64::from(done) / start.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    let calls = calls();
    let recorded = Timestamp(1_790_000_000_000_000);
    let list = PriceBook::bundled().expect("the bundled list");
    let contracts = read_file("contracts.csv", CONTRACTS, &Reading::operator(recorded)).expect("contracts");
    let rows = list.rates().cloned().collect();
    let agreed = assemble(rows, vec![contracts], None).expect("prices").book;
    let read = rate(&calls, |call| {
        black_box(query(black_box(call)));
    });
    let mut out = std::io::stdout().lock();
    for (name, book) in [("list", &list), ("contracts", &agreed)] {
        let priced = calls.iter().filter(|call| book.price(&query(call)).cost.is_some()).count();
        let rate = rate(&calls, |call| {
            black_box(book.price(black_box(&query(call))));
        });
        let line = format!(
            "{name}: {:.2} million calls/s on one core, {:.4} of reading them; {priced} of {CALLS} priced",
            rate / 1e6,
            rate / read
        );
        writeln!(out, "{line}").expect("stdout");
    }
}
