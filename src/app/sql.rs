//! `polymeter sql`: one statement over the store, also beside a running `serve`.

use std::io::Write;
use std::time::Duration;

use super::{existing_store, rules};
use crate::clock::{Clock, SystemClock};
use crate::config::Said;
use crate::pipeline::load_view;
use crate::query::{Engine, Limits, Params};

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
    /// The statement.
    pub statement: String,
    /// Data location.
    pub data: String,
    /// Form of the answer.
    pub format: SqlFormat,
    /// Prices and who pays, where a configuration says it.
    pub said: Said,
}

/// Answers the statement on standard output.
///
/// # Errors
/// There is no store, or the statement fails.
pub async fn sql(options: SqlOptions) -> anyhow::Result<()> {
    let store = existing_store(&options.data).await?;
    let rules::InForce { rules, terms, .. } = rules::in_force(&store, &options.said).await?;
    let view = load_view(&store, &rules, SystemClock.now()).await?;
    let limits = Limits { rows: 1_000_000, time: Duration::from_secs(600), ..Limits::default() };
    let mut answer = Engine::new(limits, rules)?.with_terms(terms).run(&view, &options.statement, Params::None).await?;
    let schema = answer.schema();
    let batches = answer.collect().await?;
    let mut out = std::io::stdout().lock();
    match options.format {
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
            let rows = crate::serve::json_rows(&batches)?;
            serde_json::to_writer(&mut out, &rows)?;
            writeln!(out)?;
        }
        SqlFormat::Csv => out.write_all(&crate::serve::csv(&schema, &batches)?)?,
    }
    if answer.truncated() {
        writeln!(std::io::stderr(), "only the first {} rows are shown", limits.rows)?;
    }
    Ok(())
}
