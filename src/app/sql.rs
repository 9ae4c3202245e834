//! `polymeter sql`: statements over the store, also beside a running `serve`.

use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use super::{existing_store, rules, shell};
use crate::clock::{Clock, SystemClock};
use crate::config::Said;
use crate::pipeline::load_view;
use crate::query::{Answer, Engine, Limits, Params};
use crate::serve::{Format, Writer, json_rows};
use crate::store::Store;

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlFormat {
    /// For people.
    Table,
    /// One JSON array of objects.
    Json,
    /// With a header line.
    Csv,
}

/// What to ask.
#[derive(Clone, Debug)]
pub struct SqlOptions {
    /// The statement; without one they are read from the terminal, or from standard input.
    pub statement: Option<String>,
    /// Data location.
    pub data: String,
    /// Form of the answer.
    pub format: SqlFormat,
    /// Prices and who pays, where a configuration says it.
    pub said: Said,
}

/// Answers the statement, or one after the other, on standard output.
///
/// # Errors
/// There is no store, or the statement fails.
pub async fn sql(options: SqlOptions) -> anyhow::Result<()> {
    let session = Session::open(&options).await?;
    match options.statement {
        Some(statement) => session.answer(&statement, Params::None, options.format).await,
        None if std::io::stdin().is_terminal() => shell::talk(session, options.format).await,
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text)?;
            for statement in session.engine.statements(&text).await? {
                session.answer(&statement.text, Params::None, options.format).await?;
            }
            Ok(())
        }
    }
}

/// A store to ask again and again.
pub(super) struct Session {
    store: Store,
    pub engine: Engine,
    limits: Limits,
}

impl Session {
    async fn open(options: &SqlOptions) -> anyhow::Result<Self> {
        let store = existing_store(&options.data).await?;
        let rules::InForce { rules, terms, .. } = rules::in_force(&store, &options.said).await?;
        let limits = Limits { rows: 1_000_000, time: Duration::from_secs(600), ..Limits::default() };
        Ok(Self { store, engine: Engine::new(limits, rules)?.with_terms(terms), limits })
    }

    /// Writes the answer of now.
    ///
    /// # Errors
    /// The statement fails, or nobody reads.
    pub async fn answer(&self, statement: &str, params: Params, format: SqlFormat) -> anyhow::Result<()> {
        let mut answer = self.ask(statement, params).await?;
        let schema = answer.schema();
        let batches = answer.collect().await?;
        let mut out = std::io::stdout().lock();
        match format {
            SqlFormat::Table => {
                let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
                let table = if batches.is_empty() {
                    arrow::util::pretty::pretty_format_batches(&[arrow::array::RecordBatch::new_empty(schema)])?
                } else {
                    arrow::util::pretty::pretty_format_batches(&batches)?
                };
                writeln!(out, "{table}\n{rows} row(s), {} ms", answer.elapsed().as_millis())?;
            }
            SqlFormat::Json => {
                let rows = batches.iter().map(json_rows).collect::<Result<Vec<_>, _>>()?;
                serde_json::to_writer(&mut out, &rows.concat())?;
                writeln!(out)?;
            }
            SqlFormat::Csv => {
                let mut writer = Writer::new(Format::Csv, schema)?;
                batches.iter().try_for_each(|batch| anyhow::Ok(out.write_all(&writer.write(batch)?)?))?;
                out.write_all(&writer.finish(&serde_json::Map::new())?)?;
            }
        }
        if answer.truncated() {
            writeln!(std::io::stderr(), "only the first {} rows are shown", self.limits.rows)?;
        }
        Ok(())
    }

    /// Asks what is in the store now.
    async fn ask(&self, statement: &str, params: Params) -> anyhow::Result<Answer> {
        let view = load_view(&self.store, self.engine.rules(), SystemClock.now()).await?;
        Ok(self.engine.run(&view, statement, params).await?)
    }

    /// The texts of the first column of an answer.
    pub async fn names(&self, statement: &str) -> anyhow::Result<Vec<String>> {
        let batches = self.ask(statement, Params::None).await?.collect().await?;
        let mut names = Vec::new();
        for batch in &batches {
            let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
            let texts = arrow::array::AsArray::as_string::<i32>(&column);
            names.extend(texts.iter().flatten().map(str::to_owned));
        }
        Ok(names)
    }
}
