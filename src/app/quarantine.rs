//! `polymeter quarantine`: what was set aside, and taking it in again once it can be read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use super::{ImportKind, ImportOptions, StoreOptions, existing_store, import_again, rules};
use crate::clock::{Clock, SystemClock};
use crate::columns::Row;
use crate::config::Config;
use crate::model::{Quarantined, RecordId};
use crate::pipeline::load_view;
use crate::query::{Engine, Limits, Params};

/// What became of a retry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RetrySummary {
    /// Objects that were read again.
    pub objects: usize,
    /// Records that are now taken in.
    pub resolved: usize,
    /// Records that are still set aside.
    pub still_quarantined: usize,
    /// Records of clients that sent them over the network: nothing of them was kept.
    pub not_kept: usize,
    /// Records whose object is not there any more or whose source is not known.
    pub unreachable: usize,
}

async fn rows(options: &StoreOptions, filter: &str) -> anyhow::Result<Vec<Quarantined>> {
    let store = existing_store(&options.data).await?;
    let rules = rules::rules(&store, &options.said).await?;
    let view = load_view(&store, &rules, SystemClock.now()).await?;
    let engine = Engine::new(Limits { rows: 1_000_000, ..Limits::default() }, rules)?;
    let sql = format!("SELECT * FROM quarantine WHERE {filter} ORDER BY ts, quarantine_id");
    let mut answer = engine.run(&view, &sql, Params::None).await?;
    let mut rows = Vec::new();
    for batch in answer.collect().await? {
        rows.append(&mut Quarantined::decode(&batch)?);
    }
    Ok(rows)
}

/// Lists what is set aside, grouped; `all` also shows what was taken in since.
///
/// # Errors
/// There is no store.
pub async fn quarantine_list(options: StoreOptions, all: bool, json: bool) -> anyhow::Result<()> {
    let rows = rows(&options, if all { "true" } else { "resolved_at IS NULL" }).await?;
    let mut out = std::io::stdout().lock();
    if json {
        for row in &rows {
            writeln!(out, "{}", told(row))?;
        }
        return Ok(());
    }
    let mut groups: BTreeMap<(&str, &str, &str, bool), (usize, &Quarantined)> = BTreeMap::new();
    for row in &rows {
        let key = (row.source.as_str(), row.reason.as_str(), row.object.as_str(), row.resolved_at.is_some());
        groups.entry(key).or_insert((0, row)).0 += 1;
    }
    writeln!(out, "{:>7}  {:<20} {:<24} {:<34} object", "records", "source", "reason", "first id")?;
    for ((source, reason, object, resolved), (count, first)) in groups {
        let resolved = if resolved { " (taken in)" } else { "" };
        writeln!(out, "{count:>7}  {source:<20} {reason:<24} {:<34} {object}{resolved}", first.quarantine_id)?;
    }
    writeln!(out, "{} record(s)", rows.len())?;
    Ok(())
}

/// Shows one record that is set aside: where it lies and why it could not be read.
///
/// # Errors
/// There is none with this id.
pub async fn quarantine_show(options: StoreOptions, id: &str) -> anyhow::Result<()> {
    let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let rows = rows(&options, &format!("quarantine_id LIKE '{id}%'")).await?;
    if rows.is_empty() || id.is_empty() {
        bail!("nothing is set aside under this id; `polymeter quarantine list` shows what is");
    }
    let mut out = std::io::stdout().lock();
    for row in &rows {
        writeln!(out, "{:#}", told(row))?;
    }
    Ok(())
}

fn told(row: &Quarantined) -> serde_json::Value {
    serde_json::json!({
        "quarantine_id": row.quarantine_id.to_string(),
        "source": row.source,
        "object": row.object,
        "position": row.position,
        "bytes": row.bytes,
        "reason": row.reason,
        "detail": row.detail,
        "object_time": row.ts.to_string(),
        "observed_at": row.observed_at.to_string(),
        "resolved_at": row.resolved_at.map(|at| at.to_string()),
    })
}

/// Reads the objects of what is set aside again. A record that can be read now is taken in like any other (what was taken
/// in before is recognised, so nothing is counted twice) and its quarantine row is marked as resolved.
///
/// # Errors
/// There is no store, or it fails.
pub async fn quarantine_retry(
    options: StoreOptions,
    config: Option<Config>,
    kind: Option<ImportKind>,
) -> anyhow::Result<RetrySummary> {
    let open = rows(&options, "resolved_at IS NULL").await?;
    let mut summary = RetrySummary::default();
    let mut objects: BTreeMap<(String, String), Vec<Quarantined>> = BTreeMap::new();
    for row in open {
        objects.entry((row.source.clone(), row.object.clone())).or_default().push(row);
    }
    for ((source, object), records) in objects {
        if was_sent(&object) {
            summary.not_kept += records.len();
            continue;
        }
        let Some((kind, location)) = place(&source, &object, config.as_ref(), kind) else {
            summary.unreachable += records.len();
            continue;
        };
        let import = ImportOptions {
            kind,
            locations: vec![location.clone()],
            data: options.data.clone(),
            source: Some(source.clone()),
            said: options.said.clone(),
            azure: config.as_ref().map(Config::azure_deployments).unwrap_or_default(),
            retention: config.as_ref().map(Config::retention).unwrap_or_default(),
        };
        match import_again(import, &records).await.with_context(|| format!("can't read {location} again")) {
            Ok(resolved) => {
                summary.objects += 1;
                summary.resolved += resolved;
                summary.still_quarantined += records.len() - resolved;
            }
            Err(error) => {
                writeln!(std::io::stderr(), "{error:#}")?;
                summary.unreachable += records.len();
            }
        }
    }
    Ok(summary)
}

/// Whether it stands for a request to the OTLP receiver: those are named by their content, and files in a folder `otlp`
/// are not.
fn was_sent(object: &str) -> bool {
    object.strip_prefix("otlp/").is_some_and(|digest| RecordId::parse(digest).is_some())
}

/// Where the object of a source lies and what its records are. Objects of files are named by their absolute path.
fn place(
    source: &str,
    object: &str,
    config: Option<&Config>,
    kind: Option<ImportKind>,
) -> Option<(ImportKind, String)> {
    let local = format!("/{}", object.trim_start_matches('/'));
    let on_disk = Path::new(&local).is_file().then_some(local);
    let configured = config.and_then(|config| config.sources.iter().find(|known| known.name == source));
    if let Some(configured) = configured {
        let remote = configured.location.split_once("://").and_then(|(scheme, rest)| {
            let bucket = rest.split('/').next()?;
            Some(format!("{scheme}://{bucket}/{object}"))
        });
        return Some((ImportKind::of(&configured.format)?, remote.or(on_disk)?));
    }
    let by_name = [
        ("bedrock", ImportKind::Bedrock),
        ("azure", ImportKind::Azure),
        ("otlp", ImportKind::Otlp),
        ("vertex", ImportKind::Vertex),
    ];
    let named = by_name.iter().find(|(name, _)| *name == source).map(|(_, kind)| *kind);
    Some((kind.or(named)?, on_disk?))
}

/// Prints the summary.
///
/// # Errors
/// Standard output is closed.
pub fn tell_retry(summary: &RetrySummary) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if summary.not_kept > 0 {
        writeln!(
            std::io::stderr(),
            "{} record(s) came over OTLP: nothing of them was kept, their sender was told",
            summary.not_kept
        )?;
    }
    if summary.unreachable > 0 {
        writeln!(
            std::io::stderr(),
            "{} record(s) can't be read again: their object is gone or their source is not known (give --config, or --kind for imported files)",
            summary.unreachable
        )?;
    }
    writeln!(out, "{}", serde_json::to_string(summary)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_a_folder_named_otlp_was_not_sent() {
        assert!(was_sent("otlp/3268a8e4aa2539eb719a791bdba39d7e"));
        assert!(!was_sent("otlp/traces.json"));
        assert!(!was_sent("3268a8e4aa2539eb719a791bdba39d7e"));
    }
}
