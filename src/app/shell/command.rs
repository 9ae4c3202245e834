//! What a line asks for.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

use crate::app::SqlFormat;
use crate::query::{NamedQueries, Params};

/// Shown by `\?`.
pub const HELP: &str = "\
SQL ends with ;   Tab completes tables, columns, functions and named queries. Times are UTC, NULL means unknown.
  \\d             tables and views
  \\d TABLE       its columns
  \\n             named queries
  \\n NAME [K=V]  run one, for example: \\n spend_by_team_per_day from=2026-11-01
  \\f FORM        form of answers: table, json, csv
  \\q             leave (or Ctrl-D); Ctrl-C ends a running statement
";

/// What a line asks for.
pub enum Command {
    /// Nothing.
    Nothing,
    /// The end.
    Leave,
    /// What there is.
    Help,
    /// Another form of answers.
    Form(SqlFormat),
    /// A statement.
    Ask(String),
    /// A named query.
    Named {
        /// Its statement.
        sql: String,
        /// Its values.
        params: Params,
    },
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// There is no such command, query or form.
    pub fn read(line: &str, queries: &NamedQueries) -> anyhow::Result<Self> {
        let line = line.trim();
        let Some(command) = line.strip_prefix('\\') else {
            return Ok(match line.trim_end_matches(';').trim() {
                "" => Self::Nothing,
                "quit" | "exit" => Self::Leave,
                "help" => Self::Help,
                sql => Self::Ask(sql.to_owned()),
            });
        };
        let mut words = command.split_whitespace();
        let (name, first) = (words.next().unwrap_or_default(), words.next());
        Ok(match (name, first) {
            ("q", _) => Self::Leave,
            ("?" | "h", _) => Self::Help,
            ("d" | "dt" | "dv" | "d+", None) => Self::Ask(TABLES.to_owned()),
            ("d" | "d+", Some(table)) => {
                Self::Ask(COLUMNS.replace("TABLE", &table.trim_end_matches(';').replace('\'', "''").to_lowercase()))
            }
            ("f", Some("table")) => Self::Form(SqlFormat::Table),
            ("f", Some("json")) => Self::Form(SqlFormat::Json),
            ("f", Some("csv")) => Self::Form(SqlFormat::Csv),
            ("f", _) => bail!("forms are table, json and csv"),
            ("n", None) => Self::Ask(listed(queries)),
            ("n", Some(query)) => {
                let found =
                    queries.get(query).with_context(|| format!("there is no query '{query}'; \\n lists them"))?;
                let given: Option<BTreeMap<_, _>> =
                    words.map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
                let (sql, params) = found.bind(&given.context("parameters are written name=value")?)?;
                Self::Named { sql, params }
            }
            (other, _) => bail!("there is no command \\{other}; \\? shows all"),
        })
    }
}

const TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables \
    WHERE table_schema = 'public' ORDER BY table_type, table_name";
const COLUMNS: &str = "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
    WHERE table_schema = 'public' AND table_name = 'TABLE' ORDER BY ordinal_position";

fn listed(queries: &NamedQueries) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let rows: Vec<String> =
        queries.all().map(|query| format!("({}, {})", quoted(&query.name), quoted(&query.description))).collect();
    format!("SELECT * FROM (VALUES {}) AS queries(name, answers)", rows.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Command> {
        Command::read(line, &NamedQueries::bundled())
    }

    #[test]
    fn lines_are_statements_or_commands() {
        assert!(matches!(read("SELECT 1 ;").unwrap(), Command::Ask(sql) if sql == "SELECT 1"));
        assert!(matches!(read("\\d Calls;").unwrap(), Command::Ask(sql) if sql.contains("= 'calls'")));
        assert!(matches!(read("\\d x'y").unwrap(), Command::Ask(sql) if sql.contains("'x''y'")));
        assert!(matches!(read("\\n overview from=2026-11-01").unwrap(), Command::Named { .. }));
        assert!(matches!(read(" ").unwrap(), Command::Nothing));
        assert!(matches!(read("\\q").unwrap(), Command::Leave));
        for wrong in ["\\n nothing", "\\n overview from", "\\f xml", "\\z"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
