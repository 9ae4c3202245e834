//! Commands that look at a store or work on it.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Kind, load};
use crate::app::{self, StoreOptions, Subject};
use crate::config::{Config, DEFAULT_DATA};
use crate::model::{Interval, Timestamp};
use crate::telemetry::{self, LogFormat};

/// Where the store is and what belongs to it.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Where data lies.
    #[arg(long, env = "POLYMETER_DATA", default_value = DEFAULT_DATA)]
    data: String,
    /// Configuration file, for attribution, sources and retention.
    #[arg(long, env = "POLYMETER_CONFIG")]
    config: Option<PathBuf>,
}

impl Place {
    pub(super) fn read(self) -> anyhow::Result<(StoreOptions, Option<Config>)> {
        telemetry::init("warn", LogFormat::Text, None);
        let config = load(self.config.as_ref())?;
        let said = config.as_ref().map(|config| config.said.clone()).unwrap_or_default();
        Ok((StoreOptions { data: self.data, said }, config))
    }

    pub(super) async fn maintain(self) -> anyhow::Result<()> {
        let (options, config) = self.read()?;
        app::maintain(options, config.as_ref().map(Config::retention).unwrap_or_default()).await
    }
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    subject: ExplainSubject,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ExplainSubject {
    /// Everything in this trace (32 hex digits).
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// This call, by its `call_id`.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
}

impl Explain {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (options, _) = self.place.read()?;
        let ExplainSubject { trace, call } = self.subject;
        let subject = trace.map(Subject::Trace).or(call.map(Subject::Call)).context("give --trace or --call")?;
        app::explain(options, &subject, self.json).await
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// What each writer's journal holds, and what of it is settled.
    #[command(after_help = "Examples:\n  polymeter journal inspect\n  polymeter journal inspect serve/42")]
    Inspect {
        /// One object, as <writer>/<sequence>.
        object: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

impl Journal {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Inspect { object, json, place } = self;
        let (options, _) = place.read()?;
        app::journal_inspect(&options.data, object.as_deref(), json).await
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// What is set aside, by source, reason and object.
    List {
        /// Also what was taken in since.
        #[arg(long)]
        all: bool,
        /// One JSON object for each record.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Where one record lies and why it could not be read.
    Show {
        /// Its id, or the start of it.
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Read the objects of what is set aside again; what can be read now is taken in, and nothing is counted twice.
    #[command(
        after_help = "Objects are found through the sources of --config, and files by their path. What came over OTLP was not kept: its sender was told.\n\nPrints a JSON summary."
    )]
    Retry {
        /// What imported files hold whose source name does not say it.
        #[arg(long)]
        kind: Option<Kind>,
        #[command(flatten)]
        place: Place,
    },
}

impl Quarantine {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { all, json, place } => app::quarantine_list(place.read()?.0, all, json).await,
            Self::Show { id, place } => app::quarantine_show(place.read()?.0, &id).await,
            Self::Retry { kind, place } => {
                let (options, config) = place.read()?;
                app::tell_retry(&app::quarantine_retry(options, config, kind.map(Into::into)).await?)
            }
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Range {
    /// First instant of the calls (UTC), for example 2026-10-01 or 2026-10-01T12:00:00Z [default: the first there is]
    #[arg(long, value_parser = instant)]
    from: Option<Timestamp>,
    /// First instant behind them (UTC) [default: the horizon]
    #[arg(long, value_parser = instant)]
    to: Option<Timestamp>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn instant(text: &str) -> anyhow::Result<Timestamp> {
    let day = format!("{text}T00:00:00Z");
    let read = Timestamp::parse(text).or_else(|| Timestamp::parse(&day));
    read.context("write it as 2026-10-01 or 2026-10-01T12:00:00Z")
}

impl Range {
    fn interval(&self) -> Interval {
        Interval { from: self.from.unwrap_or(Interval::ALL.from), to: self.to.unwrap_or(Interval::ALL.to) }
    }

    pub(super) async fn audit(self) -> anyhow::Result<()> {
        let (range, json) = (self.interval(), self.json);
        app::audit(self.place.read()?.0, range, json).await
    }
}

#[derive(Debug, Args)]
pub(super) struct Resettle {
    #[command(flatten)]
    range: Range,
    /// Replace without asking.
    #[arg(long)]
    yes: bool,
}

impl Resettle {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (range, json) = (self.range.interval(), self.range.json);
        app::resettle(self.range.place.read()?.0, range, json, self.yes).await
    }
}
