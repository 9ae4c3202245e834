//! `polymeter journal inspect`: what the journal holds and what of it is settled.

use std::io::Write;

use anyhow::{Context, bail};

use super::existing_store;
use crate::journal::{WriterSummary, inspect, inspect_object};
use crate::pipeline::Tables;

/// Prints a summary of every writer, or of one object (`<writer>/<sequence>`).
///
/// # Errors
/// There is no store or no such object.
pub async fn journal_inspect(data: &str, object: Option<&str>, json: bool) -> anyhow::Result<()> {
    let store = existing_store(data).await?;
    let mut out = std::io::stdout().lock();
    if let Some(object) = object {
        let (writer, sequence) = object.split_once('/').context("give an object as <writer>/<sequence>")?;
        let sequence = sequence.trim_end_matches(".pmj").parse().context("the sequence is a number")?;
        let Some(summary) = inspect_object(&store, writer, sequence).await? else {
            bail!("there is no readable object {sequence} of the writer '{writer}'");
        };
        serde_json::to_writer_pretty(&mut out, &summary)?;
        return Ok(writeln!(out)?);
    }
    let covered = Tables::open(&store).await?.covered(&store).await?;
    let writers = inspect(&store, &covered).await?;
    if json {
        serde_json::to_writer_pretty(&mut out, &writers)?;
        return Ok(writeln!(out)?);
    }
    writeln!(
        out,
        "{:<24} {:>8} {:>12} {:>12} {:>12} {:>10}  positions",
        "writer", "objects", "bytes", "last", "settled", "unsettled"
    )?;
    for WriterSummary { writer, objects, bytes, last, settled, unsettled, missing, damaged, positions, .. } in writers {
        let positions: Vec<_> = positions.iter().map(|(source, n)| format!("{source}: {n}")).collect();
        let positions = positions.join(", ");
        writeln!(out, "{writer:<24} {objects:>8} {bytes:>12} {last:>12} {settled:>12} {unsettled:>10}  {positions}")?;
        if !missing.is_empty() {
            writeln!(out, "  missing and never settled: {missing:?}")?;
        }
        if !damaged.is_empty() {
            writeln!(out, "  damaged and set aside in journal-damaged/{writer}: {damaged:?}")?;
        }
    }
    Ok(())
}
