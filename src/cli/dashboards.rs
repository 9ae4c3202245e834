//! `polymeter dashboards`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::app::{self, DashboardOptions};
use crate::dashboards::Form;

#[derive(Debug, Args)]
pub(super) struct Dashboards {
    /// Folder to write to.
    #[arg(long, value_name = "DIR", default_value = "dashboards")]
    out: PathBuf,
    /// Which data source they ask.
    #[arg(long, default_value = "both")]
    datasource: DataSource,
    /// Folder of definitions of your own (*.toml); one with the name of a bundled one takes its place.
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// Folder of queries of your own (*.sql); one with the name of a bundled one takes its place.
    #[arg(long, value_name = "DIR")]
    queries: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataSource {
    /// Grafana's built-in PostgreSQL data source.
    Postgres,
    /// The Infinity data source, over HTTP.
    Infinity,
    /// One folder for each.
    Both,
}

impl Dashboards {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let forms = match self.datasource {
            DataSource::Postgres => vec![Form::Postgres],
            DataSource::Infinity => vec![Form::Infinity],
            DataSource::Both => Form::ALL.to_vec(),
        };
        let Self { out, definitions, queries, .. } = self;
        app::dashboards(&DashboardOptions { out, forms, definitions, queries })
    }
}
