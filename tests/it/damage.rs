//! What a crash of the machine, a full disk or a hand leaves in the store: nothing else is lost, nothing is doubled, and
//! the server goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polymeter::clock::SystemClock;
use polymeter::journal::{JournalError, Positions};
use polymeter::model::Rows;
use polymeter::pipeline::MeterOptions;
use tempfile::TempDir;

use crate::faults::{Client, open, options};
use crate::faulty_store::Faults;
use crate::harness::{PATIENCE, files_below};
use crate::inside::{Inside, Said};

async fn start(dir: &Path) -> Inside {
    start_with(dir, options()).await
}

async fn start_with(dir: &Path, options: MeterOptions) -> Inside {
    Inside::start(open(dir, &Faults::none()).await, Arc::new(SystemClock), options).await
}

/// Sends one request, so that it is a journal object of its own.
async fn send_one(client: &mut Client, server: &Inside) {
    assert_eq!(client.send(server, 1).await, [Said::Kept]);
}

/// Goes on: takes in more, settles it, and all is exact, also after one more start.
async fn goes_on(dir: &Path, client: &mut Client, what: &str) {
    for _ in 0..2 {
        let server = start(dir).await;
        client.assert_exact(&server, what).await;
        send_one(client, &server).await;
        client.assert_exact(&server, what).await;
        server.stop().await;
    }
}

fn files(dir: &Path, below: &str, end: &str) -> Vec<PathBuf> {
    files_below(&dir.join(below)).into_iter().filter(|path| path.to_str().unwrap().ends_with(end)).collect()
}

fn cut_in_half(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Pointer {
    Garbage,
    ToNothing,
    ToAnEmptyFile,
}

fn damage_pointer(dir: &Path, pointer: Pointer) {
    let log = dir.join("calls/_delta_log");
    let version = files(dir, "calls/_delta_log", ".json").len() - 1;
    if matches!(pointer, Pointer::ToAnEmptyFile) {
        std::fs::write(log.join(format!("{version:020}.checkpoint.parquet")), "").unwrap();
    }
    let named = format!("{{\"version\":{version},\"size\":7}}");
    let text = if matches!(pointer, Pointer::Garbage) { "\u{0}\u{1}garbage" } else { named.as_str() };
    std::fs::write(log.join("_last_checkpoint"), text).unwrap();
}

async fn outlives_pointer(run: u32, pointer: Pointer) {
    let what = format!("{pointer:?}");
    let dir = TempDir::new().unwrap();
    let mut client = Client::new(run);
    let server = start(dir.path()).await;
    for _ in 0..3 {
        send_one(&mut client, &server).await;
        server.settles().await;
    }
    damage_pointer(dir.path(), pointer);
    send_one(&mut client, &server).await;
    client.assert_exact(&server, &format!("{what}, running")).await;
    server.stop().await;
    damage_pointer(dir.path(), pointer);
    goes_on(dir.path(), &mut client, &what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pointer_to_a_checkpoint_that_is_garbage() {
    outlives_pointer(300, Pointer::Garbage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pointer_to_a_checkpoint_that_is_not_there() {
    outlives_pointer(301, Pointer::ToNothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pointer_to_a_checkpoint_that_is_empty() {
    outlives_pointer(302, Pointer::ToAnEmptyFile).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn half_a_file_that_no_commit_names_and_what_unfinished_writes_leave() {
    let dir = TempDir::new().unwrap();
    let mut client = Client::new(310);
    let server = start(dir.path()).await;
    for _ in 0..3 {
        send_one(&mut client, &server).await;
        server.settles().await;
    }
    server.stop().await;
    for (table, end) in [("calls", ".parquet"), ("observations", ".parquet"), ("journal", ".pmj"), ("calls", ".json")] {
        let file = files(dir.path(), table, end).pop().unwrap();
        std::fs::copy(&file, format!("{}#123456000001", file.display())).unwrap();
        if end == ".parquet" {
            let name = file.file_name().unwrap().to_str().unwrap();
            let orphan = file.with_file_name(name.replace(".parquet", "f.parquet"));
            std::fs::copy(&file, &orphan).unwrap();
            cut_in_half(&orphan);
        }
    }
    goes_on(dir.path(), &mut client, "leftovers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn torn_journal_objects_cost_their_own_rows_only() {
    // The second, one in the middle with the newest, and two in a row.
    for (run, torn) in [(320, vec![1]), (321, vec![2, 5]), (322, vec![4, 5])] {
        let dir = TempDir::new().unwrap();
        let mut client = Client::new(run);
        let server = start_with(dir.path(), MeterOptions { settles: false, ..options() }).await;
        for _ in 0..6 {
            send_one(&mut client, &server).await;
        }
        server.stop().await;
        let objects = files(dir.path(), "journal", ".pmj");
        assert_eq!(objects.len(), 6);
        for index in &torn {
            cut_in_half(&objects[*index]);
            client.forget_request(u64::try_from(*index).unwrap());
        }
        goes_on(dir.path(), &mut client, &format!("torn: {torn:?}")).await;
        assert_eq!(files(dir.path(), "journal-damaged", ".pmj").len(), torn.len());
    }
}

/// The newest object carries the number to continue from. Torn, it is set aside; a number that the tables cover must not
/// be given again, or what comes under it counts as settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_settled_newest_object_that_is_torn_gives_no_number_twice() {
    let dir = TempDir::new().unwrap();
    let mut client = Client::new(330);
    let server = start(dir.path()).await;
    for _ in 0..3 {
        send_one(&mut client, &server).await;
        server.settles().await;
    }
    server.settles().await;
    server.stop().await;
    let left = files(dir.path(), "journal", ".pmj");
    assert_eq!(left.len(), 1, "{left:?}");
    cut_in_half(&left[0]);
    // This start sets it aside and writes nothing.
    start(dir.path()).await.stop().await;
    goes_on(dir.path(), &mut client, "torn after it was settled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_process_under_the_same_name_stops_the_first() {
    let dir = TempDir::new().unwrap();
    let (mut client, mut other) = (Client::new(340), Client::new(341));
    let first = start(dir.path()).await;
    send_one(&mut client, &first).await;
    first.settles().await;
    let second = start_with(dir.path(), MeterOptions { settles: false, ..options() }).await;
    send_one(&mut other, &second).await;

    let refused = first.journal.append(Rows::default(), Positions::default()).await.unwrap_err();
    assert!(matches!(&*refused, JournalError::Foreign { sequence: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    tokio::time::timeout(Duration::from_secs(1), first.journal.stopped()).await.expect("the journal stops");
    let said = client.send(&first, 2).await;
    assert_eq!(said, [Said::Unavailable, Said::Unavailable]);
    // The second goes on.
    send_one(&mut other, &second).await;
    tokio::time::timeout(PATIENCE, first.stop()).await.unwrap();
    tokio::time::timeout(PATIENCE, second.stop()).await.unwrap();

    let server = start(dir.path()).await;
    client.deliver_refused(&server).await;
    client.also(&other);
    client.assert_exact(&server, "both").await;
    server.stop().await;
}

/// The tables were restored without the journal, or somebody tidied it up: numbers that the tables cover must not come
/// again, because nobody looks behind them.
#[test]
fn a_journal_that_was_removed_costs_nothing_that_comes_after_it() {
    crate::harness::runtime().block_on(async {
        let (place, mut client) = (TempDir::new().unwrap(), Client::new(77));
        let server = start(place.path()).await;
        for _ in 0..5 {
            send_one(&mut client, &server).await;
        }
        client.assert_exact(&server, "before").await;
        server.stop().await;
        std::fs::remove_dir_all(place.path().join("journal")).unwrap();
        goes_on(place.path(), &mut client, "without the journal").await;
    });
}
