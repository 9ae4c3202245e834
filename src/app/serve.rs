//! `polymeter serve`: bind, open, start, wait for a signal, drain.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::budgets::Watch;
use super::followers::follower;
use super::receivers::{Bound, Prepared};
use super::report::periods_of;
use super::{demo, rules};
use crate::access::{Audit, Directory, Protocol, Tls};
use crate::clock::{Clock, SystemClock};
use crate::collect::otlp_server::{Gate, Limits as ReceiverLimits};
use crate::config::{Config, ListenConfig, ReceiverConfig};
use crate::finance::calendar::{Month, Zone};
use crate::pipeline::{Meter, MeterOptions, OtlpSink, Pauses, Tables, follow};
use crate::query::{Engine, Limits, NamedQueries};
use crate::serve::{Admission, ApiState, serve_api, serve_pg};
use crate::sources::otlp::OtlpSpans;
use crate::store::{FileLock, Store};
use crate::telemetry::{self, SourceBoard};

/// Longest wait for tasks at the end.
const DRAIN: Duration = Duration::from_secs(20);

/// What `serve` is asked to do beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Feed invented traffic through the pipeline.
    pub demo: bool,
    /// With it, calls of a month that has ended.
    pub demo_month: Option<Month>,
}

pub(super) async fn bind(what: &str, address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("can't listen on {address} for {what}; choose another address with {option}"))
}

/// Serves until a signal, then drains.
///
/// # Errors
/// One clear reason why it can't start.
pub async fn serve(config: Config, options: ServeOptions) -> anyhow::Result<()> {
    let traces = telemetry::init(&config.log_level, config.log_format, config.traces_endpoint.as_deref());
    let metrics = telemetry::metrics::install().context("metrics can't be set up")?;
    let access = admission(&config)?;
    let receivers = Prepared::all(&config, access.directory.as_ref())?;
    let (http_tls, pg_tls) = (tls("http", &config.http, Protocol::Http)?, tls("pg", &config.pg, Protocol::Postgres)?);
    let store = Store::open(&config.data).await?;
    let _serving = sole_server(&store, &config.writer)?;
    let (http, pg) = listeners(&config).await?;
    let receivers = Bound::all(receivers).await?;
    if let Some(month) = options.demo_month.filter(|month| month.interval(Zone::UTC).to > SystemClock.now()) {
        bail!("{month} has not ended; the calls of now come by themselves");
    }
    demo::prepare(&store, options.demo).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    rules::keep(&store, &config.said, clock.now()).await?;
    let rules::InForce { rules, terms, .. } = rules::in_force(&store, &config.said).await?;
    let (commits, inbox) = mpsc::unbounded_channel();
    let journal = Tables::open(&store).await?.journal(&store, &config.writer, Some(commits)).await?;
    let writer = Some(Arc::clone(journal.writer()));
    let engine = Engine::new(Limits::default(), Arc::clone(&rules))?
        .with_terms(Arc::clone(&terms))
        .with_roles(config.access.limits);
    let meter =
        Meter::start(&store, rules, Arc::clone(&clock), meter_options(&config), inbox, writer, journal.brake()).await?;
    let board = SourceBoard::default();
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let http_at = http.local_addr()?;
    let scheme = if http_tls.is_some() { "https" } else { "http" };

    let watch = Watch {
        budgets: config.budgets.clone(),
        view: meter.view(),
        engine: engine.clone(),
        terms: Arc::clone(&terms),
        clock: Arc::clone(&clock),
        store: store.clone(),
    };
    watch.start(&tasks, &cancel)?;
    let state = ApiState {
        view: meter.view(),
        access,
        periods: periods_of(&store, &engine).read_only(),
        engine,
        terms,
        budgets: Arc::new(config.budgets.plans.clone()),
        clock: Arc::clone(&clock),
        queries: Arc::new(NamedQueries::bundled()),
        board: board.clone(),
        metrics,
    };
    let mut lines = Vec::new();
    if let Some(pg) = pg {
        let encrypted = if pg_tls.is_some() { "?sslmode=require" } else { "" };
        lines.push(format!("PostgreSQL  postgresql://{}/polymeter{encrypted}", pg.local_addr()?));
        tasks.spawn(serve_pg(state.clone(), pg, pg_tls, cancel.clone()));
    }
    tasks.spawn(ended("HTTP API", serve_api(state, http, http_tls, cancel.clone().cancelled_owned())));
    let sink = |receiver: &ReceiverConfig| {
        Arc::new(OtlpSink {
            source: receiver.name.as_str().into(),
            spans: Arc::new(OtlpSpans::new(receiver.otlp.clone())),
            journal: journal.clone(),
            clock: Arc::clone(&clock),
            board: board.clone(),
        })
    };
    let gate = Gate::new(ReceiverLimits::default());
    for receiver in receivers {
        lines.extend(receiver.lines()?);
        let sink = sink(&receiver.config);
        receiver.start(sink, &gate, &board, &tasks, &cancel);
    }
    for source in &config.sources {
        let (source, station) = follower(source, &journal, &clock, &board);
        tasks.spawn(follow(source, station, Pauses::default(), cancel.clone()));
    }
    if options.demo {
        let (sink, clock, month) = (sink(&config.otlp), Arc::clone(&clock), options.demo_month);
        tasks.spawn(demo::run(journal.clone(), sink, meter.clone(), clock, month, cancel.clone()));
    }
    banner(&store, &format!("{scheme}://{http_at}"), &lines, options.demo)?;
    let claimed = tokio::select! {
        outcome = signal() => outcome.map(|()| false)?,
        () = journal.stopped() => true,
    };
    info!("stopping: no new requests, what is under way is finished");
    cancel.cancel();
    drained(&tasks).await;
    drop(journal);
    meter.stop().await;
    info!("stopped");
    traces.shutdown();
    if claimed {
        bail!("another process writes as '{}' into {}; give each its own `writer`", config.writer, store.display());
    }
    Ok(())
}

async fn drained(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        error!("some requests did not end in time");
    }
}

fn meter_options(config: &Config) -> MeterOptions {
    MeterOptions {
        settles: config.settles,
        settle_every: config.settle_every,
        hot_us: i64::try_from(config.hot.as_micros()).unwrap_or(i64::MAX),
        hot_rows: config.hot_rows,
        retention: config.retention(),
    }
}

async fn listeners(config: &Config) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
    let Some(http) = config.http.listen else { bail!("the HTTP API has no address; give one with --http") };
    let http = bind("the HTTP API", http, "--http").await?;
    let pg = match config.pg.listen {
        Some(address) => Some(bind("the PostgreSQL wire", address, "--pg").await?),
        None => None,
    };
    Ok((http, pg))
}

/// Who may ask, and where that is written down.
fn admission(config: &Config) -> anyhow::Result<Admission> {
    let access = &config.access;
    let directory = match access.required {
        true => Some(Arc::new(Directory::new(access.entries.clone(), access.file.as_deref())?)),
        false => None,
    };
    let audit = access.audit_file.as_deref().map_or_else(|| Ok(Audit::default()), Audit::to_file)?;
    Ok(Admission { directory, audit })
}

fn tls(what: &str, config: &ListenConfig, protocol: Protocol) -> anyhow::Result<Option<Arc<Tls>>> {
    let tls = config.tls.as_ref().map(|files| Tls::load(files, protocol)).transpose();
    let tls = tls.with_context(|| format!("{what}.tls"))?;
    if config.is_remote() && tls.is_none() && !config.allow_unauthenticated {
        warn!("[{what}] takes log-ins without TLS: keep it behind something that adds it");
    }
    Ok(tls.map(Arc::new))
}

/// Each journal has one writer: on a local disk a lock makes sure, on an object store the journal itself does.
fn sole_server(store: &Store, writer: &str) -> anyhow::Result<Option<FileLock>> {
    let Some(dir) = store.local() else { return Ok(None) };
    match FileLock::try_acquire(dir, &format!("writer-{writer}.lock"))? {
        Some(lock) => Ok(Some(lock)),
        None => bail!(
            "another polymeter serves {} already; stop it, give another --data, or give this one its own `writer` in the configuration",
            dir.display()
        ),
    }
}

async fn ended<E: std::error::Error>(what: &'static str, server: impl Future<Output = Result<(), E>>) {
    if let Err(error) = server.await {
        error!(error = %telemetry::chain(&error), "{what} has ended");
    }
}

fn banner(store: &Store, http: &str, receivers: &[String], demo: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "polymeter {} is ready", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  HTTP API    {http}    (open it in a browser: the board)")?;
    for line in receivers {
        writeln!(out, "  {line}")?;
    }
    writeln!(out, "  data        {}", store.display())?;
    if demo {
        writeln!(
            out,
            "  demo        about 50,000 invented calls of the last 48 hours are being taken in, then one a second"
        )?;
    }
    writeln!(out, "Try:")?;
    writeln!(out, "  curl -s '{http}/api/v1/queries/overview'")?;
    writeln!(out, "  curl -s '{http}/api/v1/queries/spend_by_team_per_day?format=csv'")?;
    writeln!(
        out,
        "  polymeter sql --data '{}' \"SELECT platform, count(*) AS calls FROM calls GROUP BY platform\"",
        store.display()
    )?;
    out.flush()
}

/// Ctrl-C or SIGTERM.
async fn signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome,
        _ = terminate.recv() => Ok(()),
    }
}
