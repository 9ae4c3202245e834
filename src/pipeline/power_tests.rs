//! The whole pipeline on a disk that loses its power: what was acknowledged is there, once.
#![expect(clippy::print_stdout, reason = "a test says how much it looked at")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::util::display::array_value_to_string;
use tokio::sync::mpsc;

use super::{Meter, MeterOptions, Tables};
use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::clock::ManualClock;
use crate::journal::{Journal, Positions};
use crate::model::{
    HOUR_US, MINUTE_US, Observation, Outcome, Quarantined, Rows, Timestamp, Usage, UsageStatus, Witness, fingerprint,
};
use crate::pricing::PriceBook;
use crate::query::{Engine, Limits, Params};
use crate::settle::Rules;
use crate::store::{EIO, Fault, SimDisk, Step, Store, World};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
/// Points of the story at which the power goes, evenly spread; other things go wrong at half as many.
const POINTS: usize = 62;
/// Set to anything: every point, and at each of them every world.
const ALL_POINTS: &str = "POLYMETER_TEST_ALL_CUTS";

/// A polymeter without its sockets. This is the one place that knows how the pipeline is driven.
struct Process {
    journal: Journal,
    meter: Meter,
}

impl Process {
    async fn start(store: Store) -> Result<Self, String> {
        let rules = rules();
        let (commits, inbox) = mpsc::unbounded_channel();
        let tables = Tables::open(&store).await.map_err(|error| format!("{error:?}"))?;
        let journal = tables.journal(&store, "w", Some(commits)).await.map_err(|error| format!("{error:?}"))?;
        let options = MeterOptions { settle_every: Duration::from_secs(3600), ..MeterOptions::default() };
        let (clock, writer) = (Arc::new(ManualClock::at(NOW)), Arc::clone(journal.writer()));
        let (own, brake) = (Some(writer), journal.brake());
        let meter = Meter::start(&store, Arc::new(rules), clock, options, inbox, own, brake).await;
        Ok(Self { journal, meter: meter.map_err(|error| format!("{error:?}"))? })
    }

    /// True is an acknowledgement.
    async fn append(&self, rows: Rows) -> bool {
        self.journal.append(rows, Positions::default()).await.is_ok()
    }

    async fn settle(&self) -> Result<(), String> {
        self.meter.settle_now().await
    }

    /// The first column of each row to the others.
    async fn query(&self, sql: &str) -> Vec<(String, Vec<String>)> {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        let engine = ENGINE.get_or_init(|| Engine::new(Limits::default(), Arc::new(rules())).unwrap());
        let view = self.meter.view().load_full();
        let batches = engine.run(&view, sql, Params::None).await.unwrap().collect().await.unwrap();
        let text = |column: &ArrayRef, row| array_value_to_string(column, row).unwrap();
        let rows = |batch: &RecordBatch| {
            let row = |row| batch.columns().iter().map(|column| text(column, row)).collect::<Vec<_>>();
            (0..batch.num_rows()).map(row).collect::<Vec<_>>()
        };
        let rows = batches.iter().flat_map(rows);
        rows.map(|row| (row[0].clone(), row[1..].to_vec())).collect()
    }

    async fn stop(self) {
        drop(self.journal);
        self.meter.stop().await;
    }
}

fn rules() -> Rules {
    Rules {
        catalog: Catalog::bundled().unwrap(),
        attribution: Attribution::default(),
        prices: PriceBook::bundled().unwrap(),
    }
}

/// Call `n`: every fifth is hot, the others lie in several hours of two days.
fn observation(n: u64) -> Observation {
    let back = if n.is_multiple_of(5) { MINUTE_US } else { 20 * HOUR_US };
    Observation {
        observation_id: fingerprint([n.to_le_bytes().as_slice()]),
        source: "s".into(),
        dialect: "bedrock.invocation_log".into(),
        witness: Witness::ProviderLog,
        ts: NOW.plus(i64::try_from(n % 12).unwrap() * 30 * MINUTE_US / if n.is_multiple_of(5) { 60 } else { 1 } - back),
        observed_at: NOW,
        provider_request_id: Some(format!("r{n}")),
        account: Some("1".into()),
        platform: Some("aws.bedrock".into()),
        outcome: Some(Outcome::Ok),
        usage: Usage { input: Some(100 + n), output: Some(1 + n % 7), ..Usage::default() },
        usage_status: UsageStatus::Measured,
        ..Observation::default()
    }
}

fn tokens(n: u64) -> Vec<String> {
    vec![(100 + n).to_string(), (1 + n % 7).to_string()]
}

fn batch(numbers: &[u64]) -> Rows {
    Rows { observations: numbers.iter().copied().map(observation).map(Arc::new).collect(), ..Rows::default() }
}

/// What the appends of the story carry, in groups between which it settles; many numbers come twice.
const STORY: [&[&[u64]]; 3] =
    [&[&[1, 2, 3, 4, 5], &[4, 5, 6, 7]], &[&[7, 8, 9, 1], &[10, 11, 11, 12]], &[&[13, 5, 14], &[15, 16]]];
/// The record set aside that travels with the second group.
const SET_ASIDE: &str = "not_json";

fn set_aside() -> Quarantined {
    Quarantined { ts: NOW.plus(-HOUR_US), observed_at: NOW, reason: SET_ASIDE.into(), ..Quarantined::default() }
}

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
struct Acknowledged {
    numbers: BTreeSet<u64>,
    set_aside: bool,
}

/// Lives the story. A step that fails once is met with another try, as a client and the meter would do.
async fn live(disk: &SimDisk, dir: &Path, acknowledged: &Mutex<Acknowledged>) -> Result<(), String> {
    let mut process = None;
    for _ in 0..3 {
        let store = Store::open_on(dir, Box::new(disk.clone()));
        let Ok(store) = store else { continue };
        process = Process::start(store).await.ok();
        if process.is_some() || disk.is_off() {
            break;
        }
    }
    let process = process.ok_or("it did not start")?;
    for (group, appends) in STORY.iter().enumerate() {
        for numbers in *appends {
            let mut rows = batch(numbers);
            let aside = group == 1 && numbers.contains(&8);
            rows.quarantined.extend(aside.then(set_aside));
            if process.append(rows).await {
                let mut acknowledged = acknowledged.lock().unwrap();
                acknowledged.numbers.extend(*numbers);
                acknowledged.set_aside |= aside;
            }
        }
        if group < 2 && process.settle().await.is_err() && !disk.is_off() {
            // The meter tries again by itself; here it is told to.
            process.settle().await?;
        }
    }
    process.stop().await;
    Ok(())
}

/// Lives the story to its end or to the cut; then the machine is off, and with it everything that runs.
fn run(disk: &SimDisk, dir: &Path) -> (Acknowledged, Result<(), String>) {
    let acknowledged = Mutex::default();
    let runtime = runtime();
    let outcome = runtime.block_on(async {
        let off = async {
            while !disk.is_off() {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            // What was durable before the cut may still be on its way to who asked.
            tokio::time::sleep(Duration::from_millis(400)).await;
        };
        tokio::select! {
            outcome = live(disk, dir, &acknowledged) => outcome,
            () = off => Err("off".to_owned()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    (acknowledged.into_inner().unwrap(), outcome)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What is wrong with a directory that held `acknowledged`, after a start, after a settle, and after everything was
/// sent again.
async fn wrong_in(dir: &Path, acknowledged: &Acknowledged) -> Result<(), String> {
    let store = Store::open(&dir.display().to_string()).await.map_err(|error| format!("{error:?}"))?;
    let process = Process::start(store).await?;
    let check = async |when: &str, acknowledged: &Acknowledged| {
        let rows = process.query("SELECT provider_request_id, input_tokens, output_tokens FROM calls").await;
        let found: BTreeMap<_, _> = rows.iter().cloned().collect();
        if found.len() != rows.len() {
            return Err(format!("{when}: a call is there twice: {rows:?}"));
        }
        let lost: Vec<_> =
            acknowledged.numbers.iter().filter(|n| found.get(&format!("r{n}")) != Some(&tokens(**n))).collect();
        if !lost.is_empty() {
            return Err(format!("{when}: lost {lost:?} of {:?}, found {found:?}", acknowledged.numbers));
        }
        let aside = process.query("SELECT reason FROM quarantine").await.len();
        if aside > 1 || (acknowledged.set_aside && aside == 0) {
            return Err(format!("{when}: {aside} records set aside"));
        }
        Ok(())
    };
    // What is late is shown with its hour when that is settled.
    check("started", &Acknowledged::default()).await?;
    process.settle().await?;
    check("settled", acknowledged).await?;
    let all: Vec<u64> = STORY.iter().copied().flatten().copied().flatten().copied().collect();
    if !process.append(batch(&all)).await {
        return Err("what is sent again is refused".to_owned());
    }
    process.settle().await?;
    let all = Acknowledged { numbers: all.into_iter().collect(), ..acknowledged.clone() };
    check("sent again", &all).await?;
    process.stop().await;
    Ok(())
}

/// The same for worlds that the cut may leave.
fn check(disk: &SimDisk, acknowledged: &Acknowledged, worlds: &[World]) -> Result<(), String> {
    for world in worlds {
        let place = tempfile::tempdir().unwrap();
        disk.after(*world, place.path());
        let wrong = runtime().block_on(wrong_in(&place.path().join("data"), acknowledged));
        wrong.map_err(|wrong| format!("{world:?}: {wrong}"))?;
    }
    Ok(())
}

/// Where something goes wrong, and the worlds to look at then: in turn, unless all are asked for.
fn points(steps: usize, count: usize) -> BTreeMap<usize, &'static [World]> {
    if std::env::var_os(ALL_POINTS).is_some() {
        return (1..=steps).map(|point| (point, &World::ALL[..])).collect();
    }
    let worlds = World::ALL.chunks(1).cycle();
    (1..=count).map(|n| (n * steps).div_ceil(count)).zip(worlds).collect()
}

/// One line for people, and an end if anything is wrong.
fn report(what: &str, points: usize, steps: usize, kept: usize, wrong: &[String]) {
    println!("{what}: {points} of {steps} steps, {kept} acknowledged calls looked for, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn whole_story() -> usize {
    let place = tempfile::tempdir().unwrap();
    let disk = SimDisk::new(place.path(), Fault::Nothing);
    let (acknowledged, outcome) = run(&disk, &place.path().join("data"));
    outcome.unwrap();
    assert_eq!(acknowledged.numbers.len(), 16);
    assert!(acknowledged.set_aside);
    check(&disk, &acknowledged, &World::ALL).unwrap();
    disk.steps().len()
}

#[test]
fn the_power_goes_after_any_step() {
    let steps = whole_story();
    let points = points(steps, POINTS);
    let (mut kept, mut wrong) = (0, Vec::new());
    for (last, worlds) in &points {
        let place = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(place.path(), Fault::CutAfter(*last));
        let (acknowledged, _) = run(&disk, &place.path().join("data"));
        kept += acknowledged.numbers.len();
        let found = check(&disk, &acknowledged, worlds);
        wrong.extend(found.err().map(|found| format!("cut after step {last}: {found}")));
    }
    report("the power goes after", points.len(), steps, kept, &wrong);
}

#[test]
fn a_step_fails_once_and_the_power_goes_later() {
    let steps = whole_story();
    let points = points(steps, POINTS / 2);
    let (mut kept, mut wrong) = (0, Vec::new());
    for (step, worlds) in &points {
        let place = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(place.path(), Fault::Once(*step, EIO));
        let (acknowledged, outcome) = run(&disk, &place.path().join("data"));
        kept += acknowledged.numbers.len();
        let found = outcome.and_then(|()| check(&disk, &acknowledged, worlds));
        let what = disk.steps().get(step - 1).copied();
        wrong.extend(found.err().map(|found| format!("step {step} {what:?} fails: {found}")));
    }
    report("one step fails", points.len(), steps, kept, &wrong);
}

/// The next process finds, and settles, what the dead one wrote and did not sync.
#[test]
fn a_process_dies_after_any_step_and_the_power_goes_after_the_next_one_settled() {
    let steps = whole_story();
    let points = points(steps, POINTS);
    let (mut kept, mut wrong) = (0, Vec::new());
    for (last, worlds) in &points {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("data");
        let disk = SimDisk::new(place.path(), Fault::CutAfter(*last));
        let (acknowledged, _) = run(&disk, &dir);
        kept += acknowledged.numbers.len();
        // The machine goes on: everything that was written can be read, synced or not.
        disk.set(Fault::Nothing);
        let settled = runtime().block_on(async {
            let store = Store::open_on(&dir, Box::new(disk.clone())).map_err(|error| format!("{error:?}"))?;
            let process = Process::start(store).await?;
            process.settle().await?;
            process.stop().await;
            Ok::<_, String>(())
        });
        let found = settled.and_then(|()| check(&disk, &acknowledged, worlds));
        wrong.extend(found.err().map(|found| format!("killed after step {last}: {found}")));
    }
    report("the process dies after", points.len(), steps, kept, &wrong);
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    for step in [Step::SyncFile, Step::SyncDir] {
        let place = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(place.path(), Fault::Ignored(step));
        let (acknowledged, outcome) = run(&disk, &place.path().join("data"));
        outcome.unwrap();
        assert!(check(&disk, &acknowledged, &[World::Synced]).is_err(), "without {step:?} nothing is missed");
    }
}
