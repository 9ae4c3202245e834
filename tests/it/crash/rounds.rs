//! One kill after the other: what strikes, the load meanwhile, and what is looked at before the next.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::logs::Logs;
use super::rng::Rng;
use super::truth::COUNTS;
use super::world::World;
use crate::harness::{Ended, Place, Server, ask};

/// The steps of the failure table at which the process can be told to die, and how often each is reached while a
/// server lives some seconds.
pub const POINTS: [(&str, u64); 10] = [
    ("journal.before_put", 15),
    ("journal.after_put", 15),
    ("settle.before_archive", 2),
    ("settle.after_archive", 2),
    ("settle.before_ledger", 2),
    ("settle.after_ledger", 2),
    ("settle.after_trim", 2),
    ("upkeep.before_commit", 1),
    ("upkeep.after_commit", 1),
    ("upkeep.after_checkpoint", 1),
];
/// Upkeep is rare: lives that end at random are told to end there too, if they get there.
const RARE: [&str; 3] = ["upkeep.before_commit", "upkeep.after_commit", "upkeep.after_checkpoint"];
/// How much there is to do in one life, and how long it may last.
#[derive(Clone, Copy)]
struct Load {
    /// Longest life of a server that was told to die at a step.
    longest: Duration,
    /// Calls that are made.
    calls: usize,
    /// Longest pause of a client between two requests, milliseconds.
    pause_ms: u64,
}

const BUSY: Load = Load { longest: Duration::from_secs(4), calls: 60, pause_ms: 60 };
/// Upkeep comes with the fifth settle, and nothing is settled where nothing arrives.
const STEADY: Load = Load { longest: Duration::from_secs(15), calls: 120, pause_ms: 1500 };
/// Longest wait for the rest of the load.
const DELIVERY: Duration = Duration::from_secs(120);
const SENDERS: usize = 3;
const SIGABRT: i32 = 6;

/// How a life ends.
enum Blow {
    /// SIGKILL while the process starts.
    Starting(Duration),
    /// SIGKILL some time after it was ready.
    Running(Duration),
    /// It dies at a step.
    Point,
}

/// What happened so far.
#[derive(Default)]
pub struct Tally {
    pub kills: u32,
    starting: u32,
    running: u32,
    points: BTreeMap<&'static str, (u32, u32)>,
    /// Looks at a living server that found no call twice.
    looks: u32,
}

impl Tally {
    /// How often a process died at a step.
    pub fn died_at(&self, point: &str) -> u32 {
        self.points.get(point).map_or(0, |(died, _)| *died)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<26} {:>4}", "SIGKILL while starting", self.starting)?;
        writeln!(f, "  {:<26} {:>4}", "SIGKILL while running", self.running)?;
        for (point, _) in POINTS {
            let (died, missed) = self.points.get(point).copied().unwrap_or_default();
            write!(f, "  {point:<26} {died:>4}")?;
            writeln!(f, "{}", if missed > 0 { format!("   not reached {missed}, SIGKILL") } else { String::new() })?;
        }
        write!(f, "  {} looks between found no call twice", self.looks)
    }
}

/// The harness at work.
pub struct Rounds<'a> {
    place: &'a Place,
    config: &'a str,
    world: Mutex<World>,
    logs: Mutex<Logs>,
    rng: Rng,
    pub tally: Tally,
}

impl<'a> Rounds<'a> {
    pub fn new(place: &'a Place, config: &'a str, seed: u64) -> Self {
        let (world, logs) = (Mutex::new(World::new(seed)), Mutex::new(Logs::new(place, seed)));
        Self { place, config, world, logs, rng: Rng::new(seed, u64::MAX - 1), tally: Tally::default() }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One life of the server and its end.
    pub fn next(&mut self) {
        let turn = usize::try_from(self.tally.kills / 2).unwrap();
        let (blow, point, most) = if self.tally.kills.is_multiple_of(2) {
            let blow = if self.rng.chance(20) {
                Blow::Starting(Duration::from_millis(self.rng.below(500)))
            } else {
                Blow::Running(Duration::from_millis(self.rng.below(1500)))
            };
            (blow, RARE[turn % RARE.len()], 1)
        } else {
            let (point, most) = POINTS[turn % POINTS.len()];
            (Blow::Point, point, most)
        };
        let load = if matches!(blow, Blow::Point) && RARE.contains(&point) { STEADY } else { BUSY };
        self.world().begin_round(load.calls);
        self.write_logs();
        let order = format!("{point}:{}", 1 + self.rng.below(most));
        self.tally.kills += 1;
        let starting = self.place.launch(self.config, &[], &[("POLYMETER_CRASH_AT", &order)]);
        if let Blow::Starting(after) = blow {
            std::thread::sleep(after);
            self.tally.starting += 1;
            return starting.kill();
        }
        let mut server = match starting.ready() {
            Ok(server) => server,
            Err(ended) => return self.died(point, &ended),
        };
        let life = if let Blow::Running(life) = blow { life } else { load.longest };
        match self.live(&mut server, Some((load, life))) {
            Some(ended) => self.died(point, &ended),
            None => {
                server.kill();
                match blow {
                    Blow::Point => self.tally.points.entry(point).or_default().1 += 1,
                    _ => self.tally.running += 1,
                }
            }
        }
    }

    /// It ended without a signal of ours: only the step that it was told may be the reason.
    fn died(&mut self, point: &'static str, ended: &Ended) {
        assert_eq!(ended.status.signal(), Some(SIGABRT), "ended by itself ({}): {}", ended.status, ended.stderr);
        self.tally.points.entry(point).or_default().0 += 1;
    }

    /// Everything that is left, until it is delivered; gives how the server ended if it did by itself.
    pub fn deliver(&mut self, server: &mut Server<'_>) -> Option<Ended> {
        self.live(server, None)
    }

    /// Load on a server for some time, or until everything is delivered; gives how it ended if it did by itself.
    fn live(&mut self, server: &mut Server<'_>, time: Option<(Load, Duration)>) -> Option<Ended> {
        let stop = AtomicBool::new(false);
        let (client, traces) = (server.client().clone(), format!("{}/v1/traces", server.otlp));
        let questions = format!("{}/api/v1/sql", server.http);
        let seeds: Vec<u64> = (0..SENDERS).map(|_| self.rng.below(u64::MAX)).collect();
        let end = time.map(|(_, life)| Instant::now() + life);
        let pause_ms = time.map_or(BUSY, |(load, _)| load).pause_ms;
        let latest = Instant::now() + DELIVERY;
        let this = &*self;
        let (ended, looks) = std::thread::scope(|scope| {
            for seed in seeds {
                let (client, traces, stop) = (&client, &traces, &stop);
                scope.spawn(move || this.send(client, traces, Rng::new(seed, 0), pause_ms, stop));
            }
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    this.write_logs();
                    std::thread::sleep(Duration::from_millis(60));
                }
            });
            let looker = scope.spawn(|| look(&client, &questions, &stop));
            let ended = loop {
                let ended = server.ended();
                let over = end.map_or_else(|| this.world().is_delivered(), |end| Instant::now() >= end);
                // Nobody is left to wait for where a look has failed.
                if ended.is_some() || over || looker.is_finished() {
                    break ended;
                }
                assert!(Instant::now() < latest, "the load is not delivered within {DELIVERY:?}");
                std::thread::sleep(Duration::from_millis(3));
            };
            if end.is_some() && ended.is_none() {
                // While everybody is at work.
                server.strike();
            }
            stop.store(true, Ordering::SeqCst);
            (ended, looker.join())
        });
        match looks {
            Ok(looks) => self.tally.looks += looks,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        ended
    }

    /// A client: sends, and keeps what was not acknowledged.
    fn send(&self, client: &reqwest::Client, url: &str, mut rng: Rng, pause_ms: u64, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let batch = self.world().next_batch();
            let Some(batch) = batch else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let request = client.post(url).header("content-type", "application/json").body(batch.body.to_string());
            match ask(request) {
                Some(reply) if reply.status == 200 => {
                    // A rejected span would never come again.
                    assert_eq!(reply.text(), "{}");
                    self.world().acknowledged(batch);
                }
                _ => self.world().failed(batch),
            }
            std::thread::sleep(Duration::from_millis(rng.below(pause_ms)));
        }
    }

    /// Writes what is due into the folders.
    fn write_logs(&self) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // A lock in the condition would be held while writing.
            let next = self.world().next_lines();
            let Some((source, lines)) = next else { break };
            logs.write(source, &lines);
        }
        if self.world().is_last_round() {
            logs.finish();
        }
    }
}

/// Looks at the calls again and again while they change: none may be there twice. Gives how often it looked.
fn look(client: &reqwest::Client, url: &str, stop: &AtomicBool) -> u32 {
    let mut looks = 0;
    while !stop.load(Ordering::SeqCst) {
        let Some(reply) = ask(client.post(url).json(&serde_json::json!({"sql": COUNTS}))) else { break };
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        let counts = &answer["rows"][0];
        assert_eq!(counts["calls"], counts["keys"], "a call is there twice");
        looks += 1;
        std::thread::sleep(Duration::from_millis(150));
    }
    looks
}
