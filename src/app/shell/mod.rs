//! `polymeter sql` without a statement: a prompt with history and completion.

mod command;
mod words;

use std::io::Write;
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::SqlFormat;
use super::sql::Session;
use crate::query::{NamedQueries, Params};
use command::Command;
use words::Words;

type Prompt = Editor<Words, FileHistory>;

/// Asks and answers until the end.
///
/// # Errors
/// The terminal can't be used.
pub(super) async fn talk(session: Session, mut format: SqlFormat) -> anyhow::Result<()> {
    let queries = NamedQueries::bundled();
    let mut prompt = Prompt::with_config(Config::builder().auto_add_history(true).build())?;
    prompt.set_helper(Some(Words::new(known(&session, &queries).await?)));
    let history = history();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = prompt.load_history(file);
    }
    writeln!(
        std::io::stdout(),
        "polymeter {}: SQL ends with ;   \\? for help, \\q to leave",
        env!("CARGO_PKG_VERSION")
    )?;
    loop {
        let (back, read) = tokio::task::spawn_blocking(move || {
            let read = prompt.readline("polymeter> ");
            (prompt, read)
        })
        .await?;
        prompt = back;
        let line = match read {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        let done = match Command::read(&line, &queries) {
            Ok(Command::Nothing) => Ok(()),
            Ok(Command::Leave) => break,
            Ok(Command::Help) => Ok(write!(std::io::stdout(), "{}", command::HELP)?),
            Ok(Command::Form(other)) => {
                format = other;
                Ok(())
            }
            Ok(Command::Ask(sql)) => ask(&session, &sql, Params::None, format).await,
            Ok(Command::Named { sql, params }) => ask(&session, &sql, params, format).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            writeln!(std::io::stderr(), "error: {error:#}")?;
        }
        if let Some(file) = &history {
            // A history that can't be kept is no reason to stop.
            let _ = prompt.append_history(file);
        }
    }
    Ok(())
}

/// Ctrl-C ends the statement, not the session.
async fn ask(session: &Session, sql: &str, params: Params, format: SqlFormat) -> anyhow::Result<()> {
    tokio::select! {
        done = session.answer(sql, params, format) => done,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("cancelled"),
    }
}

/// What can be completed: tables, columns, functions and named queries.
async fn known(session: &Session, queries: &NamedQueries) -> anyhow::Result<Vec<String>> {
    let mut words = session.names("SELECT DISTINCT table_name FROM information_schema.tables").await?;
    words.extend(session.names("SELECT DISTINCT column_name FROM information_schema.columns").await?);
    words.extend(session.names("SELECT DISTINCT routine_name FROM information_schema.routines").await?);
    words.extend(queries.all().map(|query| query.name.clone()));
    Ok(words)
}

/// Where statements are remembered, by the rules of the XDG.
fn history() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?.join("polymeter");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql-history"))
}
