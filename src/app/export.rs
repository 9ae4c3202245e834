//! `polymeter export focus`: a month in FOCUS, and the manifest beside it. Both files or none.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rust_decimal::Decimal;

use super::StoreOptions;
use super::report::open;
use crate::clock::{Clock, SystemClock};
use crate::finance::focus::{FocusAsk, FocusExport, Manifest};
use crate::query::{FocusSources, focus, focus_parquet};

/// Form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FocusFormat {
    /// As every tool reads it.
    Csv,
    /// With exact decimals.
    Parquet,
}

impl FocusFormat {
    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// Writes the export of a month. `out` is a folder, or the file.
///
/// # Errors
/// There is no store, the export can't be made, or a file can't be written. Nothing was written then.
pub async fn export_focus(
    options: StoreOptions,
    ask: FocusAsk,
    format: Option<FocusFormat>,
    out: &Path,
) -> anyhow::Result<()> {
    let (engine, view, in_force) = open(&options).await?;
    let sources = FocusSources {
        rules: &in_force.rules,
        terms: &in_force.terms,
        commitments: &in_force.terms.commitments,
        corrections: &[],
    };
    let export = focus(&engine, &view, ask, sources, SystemClock.now()).await?;
    let (file, format) = target(out, format, &export);
    let bytes = match format {
        FocusFormat::Csv => export.csv().into_bytes(),
        FocusFormat::Parquet => focus_parquet(&export)?,
    };
    let name = file.file_name().with_context(|| format!("{} is no file", file.display()))?.to_string_lossy();
    let manifest = export.manifest(&name, &bytes);
    let beside = file.with_extension("manifest.json");
    write_both(&[(&file, &bytes), (&beside, manifest.to_json().as_bytes())])?;
    Ok(std::io::stdout().lock().write_all(told(&file, &beside, &manifest).as_bytes())?)
}

/// Where it goes: a folder gets a file with the usual name.
fn target(out: &Path, format: Option<FocusFormat>, export: &FocusExport) -> (PathBuf, FocusFormat) {
    let parquet = out.extension().is_some_and(|ending| ending == "parquet");
    let format = format.unwrap_or(if parquet { FocusFormat::Parquet } else { FocusFormat::Csv });
    let folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/') || out.extension().is_none();
    let file = if folder { out.join(export.file_name(format.ending())) } else { out.to_owned() };
    (file, format)
}

/// Each is there whole or not at all, and none before all are written.
fn write_both(files: &[(&Path, &[u8])]) -> anyhow::Result<()> {
    let part = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.{}.part", std::process::id()))
    };
    let write = || -> std::io::Result<()> {
        for (path, bytes) in files {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            let mut file = std::fs::File::create(part(path))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        files.iter().try_for_each(|(path, _)| std::fs::rename(part(path), path))
    };
    let written = write();
    if written.is_err() {
        for (path, _) in files {
            // The error that counts is the first one.
            let _ = std::fs::remove_file(part(path));
        }
    }
    let first = files.first().map(|(path, _)| path.display().to_string()).unwrap_or_default();
    written.with_context(|| format!("{first} can't be written"))
}

/// What was written, and what is not in it.
fn told(file: &Path, beside: &Path, manifest: &Manifest) -> String {
    let plain = |number: &Decimal| number.normalize().to_string();
    let mut text = format!(
        "{}: FOCUS {}, {} rows, SHA-256 {}\n{}\n",
        file.display(),
        manifest.version.as_str(),
        manifest.rows,
        manifest.sha256,
        beside.display()
    );
    for (currency, sums) in &manifest.sums {
        text.push_str(&format!(
            "  {currency}: list {}, contracted {}, effective {}, billed {}\n",
            plain(&sums.list),
            plain(&sums.contracted),
            plain(&sums.effective),
            plain(&sums.billed)
        ));
    }
    let facts = [
        (!manifest.ended, "the month goes on: more will come".to_owned()),
        (manifest.corrections > 0, format!("{} rows correct closed months", manifest.corrections)),
        (
            manifest.partial_calls > 0,
            format!("{} calls are exported with their priced part only", manifest.partial_calls),
        ),
        (
            manifest.uncounted_calls > 0,
            format!("of {} answered calls nobody tells the tokens", manifest.uncounted_calls),
        ),
        (
            manifest.capacity_calls_without_price > 0,
            format!("{} calls ran on capacity that no [[commitment]] describes", manifest.capacity_calls_without_price),
        ),
    ];
    for (_, fact) in facts.iter().filter(|(holds, _)| *holds) {
        text.push_str(&format!("  ! {fact}\n"));
    }
    for usage in &manifest.unpriced {
        text.push_str(&format!(
            "  ! no price, so no row: {} {} {} of {} ({} calls)\n",
            plain(&usage.quantity),
            usage.bucket,
            usage.model.as_deref().unwrap_or("(unknown)"),
            usage.platform,
            usage.calls
        ));
    }
    text
}
