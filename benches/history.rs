//! Whether anything grows with history: 30 days of calls, settled 10,000 times on a clock that runs fast. Prints what a
//! settle, a query of the last hour, a start and the memory cost at the end, against the same in the first week. See
//! `benches/README.md`.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use polymeter::attribution::Attribution;
use polymeter::catalog::Catalog;
use polymeter::delta::LogUpkeep;
use polymeter::journal::{Missing, Positions, read_tail};
use polymeter::ledger::Retention;
use polymeter::model::{
    HOUR_US, MINUTE_US, Observation, Outcome, Rows, SLICE_US, Timestamp, Usage, UsageStatus, Witness, fingerprint,
};
use polymeter::pipeline::{Loaded, Settler, Tables, load_view};
use polymeter::pricing::PriceBook;
use polymeter::query::{Engine, Limits, Params};
use polymeter::settle::Rules;
use polymeter::store::Store;

const DAYS: i64 = 30;
const START: Timestamp = Timestamp(1_788_220_800_000_000); // 2026-09-01
const HOT_US: i64 = 15 * MINUTE_US;
/// One settle in so many brings an observation of two hours before.
const LATE_EVERY: u64 = 10;

fn main() -> Result<()> {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (settles, calls) = (number("SETTLES", 10_000), number("CALLS", 100));
    tokio::runtime::Runtime::new()?.block_on(run(settles, calls))
}

/// What is measured at one moment. Times are processor time of this process (median wall time beside it for settles), so
/// that other work on the machine does not look like growth.
#[derive(Default)]
struct Probe {
    settle_wall_ms: f64,
    settle_ms: f64,
    upkeep_ms: f64,
    query_ms: f64,
    start_ms: f64,
    rss_mb: f64,
    files: usize,
}

async fn run(settles: u64, calls: u64) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("history-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::open(&dir.path().display().to_string()).await?;
    let rules = Arc::new(Rules {
        catalog: Catalog::bundled()?,
        attribution: Attribution::default(),
        prices: PriceBook::bundled()?,
    });
    // Six hours of log and a day of replaced files, on a clock that runs this much faster, are seconds.
    let log = LogUpkeep { keep_log: Duration::from_secs(10), keep_files: Duration::from_secs(10) };
    let retention = Retention { log, ..Retention::default() };
    let mut settler = Settler::new(&store, Tables::open(&store).await?, retention, Duration::from_secs(60));
    let journal = settler.tables.journal(&store, "bench", None).await?;
    let engine = Engine::new(Limits::default(), Arc::clone(&rules))?;
    let step = DAYS * 24 * HOUR_US / i64::try_from(settles)?;
    let per_day = settles / u64::try_from(DAYS)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "# {settles} settles of {calls} calls over {DAYS} days of event time, {per_day} settles a day")?;
    let (mut probes, mut walls) = (Vec::new(), Vec::new());
    let (mut times, mut upkeeps) = (Mean::default(), Mean::default());
    for n in 1..=settles {
        let now = START.plus(step * i64::try_from(n)?);
        let rows = Rows { observations: observations(n, calls, now, step), ..Rows::default() };
        journal.append(rows, Positions::default()).await?;
        let covered = settler.tables.covered(&store).await?;
        let (tail, _) = read_tail(&store, &covered, usize::MAX, Missing::Refuse).await?;
        let (started, busy) = (Instant::now(), processor_ms()?);
        settler.settle(&tail, now.plus(-HOT_US).floor(SLICE_US), &rules, now).await?;
        settler.tidy(now).await;
        walls.push(started.elapsed().as_secs_f64() * 1e3);
        // Every fiftieth carries the upkeep.
        let of_its_kind = if n % 50 == 5 { &mut upkeeps } else { &mut times };
        of_its_kind.add(processor_ms()? - busy);
        // At the same hour of the day, so that the day's open files are as many.
        if n % per_day == 0 {
            let probe = Probe {
                settle_wall_ms: median(&mut walls),
                settle_ms: times.take(),
                upkeep_ms: upkeeps.take(),
                query_ms: query(&store, &engine, &rules, now).await?,
                start_ms: start(&store, &rules).await?,
                rss_mb: rss_mb()?,
                files: settler.tables.calls.table().files()?.len() + settler.tables.archive.table().files()?.len(),
            };
            let day = n / per_day;
            writeln!(
                out,
                "# day {day:>2}: settle {:.1} ms (wall {:.1}), with upkeep {:.0} ms, last hour {:.1} ms, start {:.0} ms, RSS {:.0} MB, {} files",
                probe.settle_ms,
                probe.settle_wall_ms,
                probe.upkeep_ms,
                probe.query_ms,
                probe.start_ms,
                probe.rss_mb,
                probe.files
            )?;
            out.flush()?;
            probes.push(probe);
            walls.clear();
        }
    }
    let view = load_view(&store, &rules, START.plus(DAYS * 24 * HOUR_US)).await?;
    let mut answer = engine.run(&view, "SELECT count(*), count(DISTINCT call_id) FROM calls", Params::None).await?;
    let counts = format!("{:?}", answer.collect().await?.first().context("an answer")?.columns());
    let expected = (settles * calls).to_string();
    ensure!(counts.matches(&expected).count() == 2, "{counts}, not {expected}");
    // The means of three days, after those whose files are still open.
    let ratio = |of: fn(&Probe) -> f64| {
        let sum = |days: &[Probe]| days.iter().map(of).sum::<f64>();
        sum(probes.get(probes.len() - 3..).unwrap_or_default()) / sum(probes.get(4..7).unwrap_or_default())
    };
    writeln!(
        out,
        "last three days / days 5 to 7: settle {:.2}, with upkeep {:.2}, query of the last hour {:.2}, start {:.2}, memory {:.2}; {} calls exact",
        ratio(|p| p.settle_ms),
        ratio(|p| p.upkeep_ms),
        ratio(|p| p.query_ms),
        ratio(|p| p.start_ms),
        ratio(|p| p.rss_mb),
        expected
    )?;
    Ok(())
}

fn observations(settle: u64, calls: u64, now: Timestamp, step: i64) -> Vec<Arc<Observation>> {
    let made = (0..calls).map(|n| {
        let id = settle * calls + n;
        let late = n == 0 && settle.is_multiple_of(LATE_EVERY);
        let back =
            if late { 2 * HOUR_US } else { step * i64::try_from(n).unwrap_or(0) / i64::try_from(calls).unwrap_or(1) };
        Arc::new(Observation {
            observation_id: fingerprint([&id.to_le_bytes()[..]]),
            source: "bench".into(),
            dialect: "bench".into(),
            witness: Witness::ProviderLog,
            ts: now.plus(-back),
            observed_at: now,
            provider_request_id: Some(format!("{:032x}", u128::from(id) * 0x9e37_79b9_7f4a_7c15)),
            platform: Some("aws.bedrock".into()),
            account: Some("111122223333".into()),
            region: Some("eu-central-1".into()),
            request_model: Some("anthropic.claude-sonnet-4-20250514-v1:0".into()),
            outcome: Some(Outcome::Ok),
            usage: Usage { input: Some(100 + id % 900), output: Some(id % 300), ..Usage::default() },
            usage_status: UsageStatus::Measured,
            ..Observation::default()
        })
    });
    made.collect()
}

/// The last hour by model, on a view that is read anew, mean of five.
async fn query(store: &Store, engine: &Engine, rules: &Rules, now: Timestamp) -> Result<f64> {
    let view = load_view(store, rules, now).await?;
    let sql = format!(
        "SELECT platform, model, count(*), sum(cost) FROM calls WHERE ts >= timestamp '{}' GROUP BY 1, 2",
        now.plus(-HOUR_US)
    );
    let mut times = Mean::default();
    for _ in 0..5 {
        let busy = processor_ms()?;
        let rows = engine.run(&view, &sql, Params::None).await?.collect().await?;
        ensure!(!rows.is_empty(), "no calls in the last hour");
        times.add(processor_ms()? - busy);
    }
    Ok(times.take())
}

/// What a start reads, mean of three.
async fn start(store: &Store, rules: &Rules) -> Result<f64> {
    let mut times = Mean::default();
    for _ in 0..3 {
        let busy = processor_ms()?;
        let mut hot = Loaded::read(store).await?.hot(250_000, rules);
        hot.batches(rules, START)?;
        times.add(processor_ms()? - busy);
    }
    Ok(times.take())
}

fn rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).context("VmRSS")?;
    let kb: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kb / 1024.0)
}

/// Processor time of all threads of this process, milliseconds; it counts in ticks of 10 ms, so means of many are taken.
fn processor_ms() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold blanks.
    let (_, rest) = stat.rsplit_once(')').context("a name")?;
    let ticks = |at: usize| rest.split_whitespace().nth(at).and_then(|n| n.parse::<f64>().ok()).context("ticks");
    Ok((ticks(11)? + ticks(12)?) * 10.0)
}

#[derive(Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn take(&mut self) -> f64 {
        let mean = self.sum / self.count.max(1.0);
        *self = Self::default();
        mean
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
