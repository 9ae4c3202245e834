//! Commits around a checkpoint on a disk that loses its power.
#![expect(clippy::print_stdout, reason = "a test says how much it looked at")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Change, DeltaError, Marks, Table};
use crate::store::{Fault, SimDisk, Store, World};

/// Commits before the checkpoint.
const CHECKPOINT_AT: i64 = 50;
const APP: &str = "journal/w";

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)]))
}

/// Commits `number`, as one row in a file of its own.
async fn commit(table: &mut Table, number: i64) -> Result<u64, DeltaError> {
    let ts = TimestampMicrosecondArray::from(vec![number]).with_timezone("UTC");
    let batch = RecordBatch::try_new(columns(), vec![Arc::new(ts)]).unwrap();
    let file = table.write_file("2026-01-01", &format!("part-{number}"), batch).await?;
    let marks = Marks::from([(APP.to_owned(), number)]);
    let version = table.commit(Change { add: vec![file], ..Change::default() }, &marks).await?;
    if number == CHECKPOINT_AT {
        table.checkpoint().await?;
    }
    Ok(version)
}

async fn open(dir: &Path, disk: &SimDisk) -> Result<Table, DeltaError> {
    Table::open_or_create(&Store::open_on(dir, Box::new(disk.clone()))?, "t", &columns()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_goes_around_a_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let base = SimDisk::new(place.path(), Fault::Nothing);
    let mut table = open(&place.path().join("data"), &base).await.unwrap();
    let before = CHECKPOINT_AT - 2;
    for number in 1..=before {
        commit(&mut table, number).await.unwrap();
    }
    // One on each side of the checkpoint.
    let last_number = before + 3;
    for last in 0.. {
        let place = tempfile::tempdir().unwrap();
        base.after(World::Synced, place.path());
        let disk = SimDisk::new(place.path(), Fault::CutAfter(last));
        let mut acknowledged = before;
        if let Ok(mut table) = open(&place.path().join("data"), &disk).await {
            for number in before + 1..=last_number {
                // An answer that is given after the cut is not given: a commit that reads its own mark doesn't know.
                if commit(&mut table, number).await.is_err() || disk.is_off() {
                    break;
                }
                acknowledged = number;
            }
        }
        // The worlds in turn; all of them where nothing is cut any more.
        let worlds = if disk.is_off() { &World::ALL[last % 3..][..1] } else { &World::ALL };
        for world in worlds.iter().copied() {
            let found = tempfile::tempdir().unwrap();
            disk.after(world, found.path());
            let whole = SimDisk::new(found.path(), Fault::Nothing);
            let table = open(&found.path().join("data"), &whole).await;
            let mut table = table.unwrap_or_else(|error| panic!("cut after {last}, {world:?}: {error:?}"));
            let mark = table.mark(APP).await.unwrap().unwrap();
            let files = i64::try_from(table.files().unwrap().len()).unwrap();
            assert!(mark >= acknowledged, "cut after {last}, {world:?}: {mark} of {acknowledged}");
            assert_eq!(files, mark, "cut after {last}, {world:?}");
            let rows: usize = table
                .scan_files(table.files().unwrap().into_iter().map(|file| file.path).collect(), None)
                .await
                .unwrap()
                .iter()
                .map(RecordBatch::num_rows)
                .sum();
            assert_eq!(i64::try_from(rows).unwrap(), mark, "cut after {last}, {world:?}");
            commit(&mut table, mark + 1).await.unwrap();
        }
        if !disk.is_off() {
            assert_eq!(acknowledged, last_number);
            let log = place.path().join("data/t/_delta_log");
            let checkpoints = std::fs::read_dir(log)
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".checkpoint."));
            assert!(checkpoints.count() > 0, "there was no checkpoint to cut into");
            println!("around a checkpoint: the power goes after each of {last} steps");
            return;
        }
    }
}
