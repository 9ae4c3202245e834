//! `polymeter dashboards`: Grafana's files, from the definitions and queries in the binary and those of the operator.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::whole_files::write_whole;
use crate::dashboards::{Definitions, Form, Generated, generate};
use crate::queries::NamedQueries;

/// What to make dashboards of.
#[derive(Clone, Debug)]
pub struct DashboardOptions {
    /// Folder to write to.
    pub out: PathBuf,
    /// For which data sources.
    pub forms: Vec<Form>,
    /// Folder of definitions (`*.toml`) beside those of the binary.
    pub definitions: Option<PathBuf>,
    /// Folder of queries (`*.sql`) beside those of the binary.
    pub queries: Option<PathBuf>,
}

/// Writes the files; all of them or none.
///
/// # Errors
/// A definition is wrong, or a file can't be read or written.
pub fn dashboards(options: &DashboardOptions) -> anyhow::Result<()> {
    let mut definitions = Definitions::bundled()?;
    for (name, text) in texts(options.definitions.as_deref(), "toml")? {
        definitions.add(&name, &text)?;
    }
    let own = texts(options.queries.as_deref(), "sql")?;
    let own = NamedQueries::from_texts(own.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let queries = NamedQueries::bundled().with(own);
    let mut made: Vec<(PathBuf, Generated)> = Vec::new();
    for form in &options.forms {
        made.extend(
            generate(&definitions, &queries, *form)?.into_iter().map(|file| (options.out.join(&file.path), file)),
        );
    }
    for (path, _) in &made {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        }
    }
    let files: Vec<(&Path, &[u8])> = made.iter().map(|(path, file)| (path.as_path(), file.text.as_bytes())).collect();
    write_whole(&files)?;
    let mut out = std::io::stdout().lock();
    made.iter().try_for_each(|(path, _)| writeln!(out, "{}", path.display()))?;
    Ok(())
}

/// Name without ending, and text, of every file with this ending in a folder, by name.
fn texts(folder: Option<&Path>, ending: &str) -> anyhow::Result<Vec<(String, String)>> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let unreadable = || format!("{} can't be read", folder.display());
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|end| end == ending)) {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
            texts.push((name, text));
        }
    }
    texts.sort();
    Ok(texts)
}
