//! Files that are there whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Writes files in the place of what was there; none is there before all are written.
pub fn write_whole(files: &[(&Path, &[u8])]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        for (path, bytes) in files {
            let mut file = File::create(part(path))?;
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

fn part(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}
