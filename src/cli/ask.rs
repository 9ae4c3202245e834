//! `polymeter sql` and `polymeter top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::load;
use crate::app::{self, SqlFormat, SqlOptions, TopOptions};
use crate::config::DEFAULT_DATA;
use crate::telemetry::{self, LogFormat};

/// Asks with SQL.
#[derive(Debug, Args)]
pub struct Sql {
    /// The statement; without one a prompt opens, or statements are read from standard input.
    statement: Option<String>,
    /// Where data lies.
    #[arg(long, env = "POLYMETER_DATA", default_value = DEFAULT_DATA)]
    data: String,
    /// Form of the answer.
    #[arg(long, default_value = "table")]
    format: Form,
    /// Configuration file, for attribution.
    #[arg(long, env = "POLYMETER_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// A JSON array of objects.
    Json,
    /// Comma-separated with a header line.
    Csv,
}

impl Sql {
    /// Runs it.
    ///
    /// # Errors
    /// What to tell the user.
    pub async fn run(self) -> anyhow::Result<()> {
        telemetry::init("warn", LogFormat::Text, None);
        let said = load(self.config.as_ref())?.unwrap_or_default().said;
        let format = match self.format {
            Form::Table => SqlFormat::Table,
            Form::Json => SqlFormat::Json,
            Form::Csv => SqlFormat::Csv,
        };
        app::sql(SqlOptions { statement: self.statement, data: self.data, format, said }).await
    }
}

/// Shows what is going on.
#[derive(Debug, Args)]
pub struct Top {
    /// The HTTP API of a running `serve`.
    #[arg(long, env = "POLYMETER_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// File with a token, where the server asks for one; POLYMETER_TOKEN does too.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// How many minutes back.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Look once.
    #[arg(long)]
    once: bool,
}

impl Top {
    /// Runs it.
    ///
    /// # Errors
    /// What to tell the user.
    pub async fn run(self) -> anyhow::Result<()> {
        let options = TopOptions {
            url: self.url,
            token_file: self.token_file,
            window: Duration::from_secs(self.minutes * 60),
            every: Duration::from_secs(self.every),
            once: self.once,
        };
        app::top(options).await
    }
}
