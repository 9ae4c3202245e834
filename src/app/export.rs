//! `polymeter export focus`: a month in FOCUS, and the manifest beside it. Both files or none.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::StoreOptions;
use super::report::{Opened, open, periods_of};
use super::whole_files::write_whole;
use crate::clock::{Clock, SystemClock};
use crate::finance::focus::FocusAsk;
use crate::periods::{FocusForm, Moment};

/// Writes the export of a month. `out` is a folder, or the file.
///
/// # Errors
/// There is no store, the export can't be made, or a file can't be written. Nothing was written then.
pub async fn export_focus(
    options: StoreOptions,
    ask: FocusAsk,
    format: Option<FocusForm>,
    out: &Path,
) -> anyhow::Result<()> {
    let Opened { store, engine, view, in_force } = open(&options).await?;
    let none = BTreeMap::new();
    let moment = Moment { live: &view, terms: &in_force.terms, complete_to: &none, now: SystemClock.now() };
    let (file, form) = target(out, format, &ask);
    let made = periods_of(&store, &engine).focus(&ask, form, moment).await?;
    let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?.to_string_lossy();
    let manifest = made.manifest_of(&name);
    let beside = file.with_extension("manifest.json");
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be written", file.display()))?;
    }
    write_whole(&[(&file, &made.bytes), (&beside, manifest.as_bytes())])?;
    Ok(writeln!(std::io::stdout().lock(), "{}: {}{}", file.display(), made.summary, beside.display())?)
}

/// Where it goes: a folder gets a file with the usual name.
fn target(out: &Path, format: Option<FocusForm>, ask: &FocusAsk) -> (PathBuf, FocusForm) {
    let parquet = out.extension().is_some_and(|ending| ending == "parquet");
    let format = format.unwrap_or(if parquet { FocusForm::Parquet } else { FocusForm::Csv });
    let folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/') || out.extension().is_none();
    let file = if folder { out.join(ask.file_name(format.ending())) } else { out.to_owned() };
    (file, format)
}
