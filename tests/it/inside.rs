//! The parts of a server put together inside the test's own process, over a store and a clock of the test's choice.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use polymeter::attribution::Attribution;
use polymeter::catalog::Catalog;
use polymeter::clock::Clock;
use polymeter::collect::otlp_server::{Access, Gate, Limits as ReceiverLimits, Receiver, serve};
use polymeter::journal::Journal;
use polymeter::ledger::{Retention, View};
use polymeter::model::{Flaws, HOUR_US, Interval};
use polymeter::pipeline::{Audit, Meter, MeterOptions, OtlpSink, Settler, Tables, load_view};
use polymeter::pricing::PriceBook;
use polymeter::query::{Engine, Limits, Params, QueryError};
use polymeter::settle::Rules;
use polymeter::sources::otlp::{OtlpSpans, decode_traces};
use polymeter::store::Store;
use polymeter::telemetry::SourceBoard;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::harness::PATIENCE;

/// Name of the journal's writer.
pub const WRITER: &str = "inside";
/// Time that a query may take.
const QUERY_TIME: Duration = Duration::from_secs(10);

pub fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        catalog: Catalog::bundled().unwrap(),
        attribution: Attribution::default(),
        prices: PriceBook::bundled().unwrap(),
    })
}

/// What an OTLP request was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Kept,
    /// Come back later, in a form that exporters understand.
    Unavailable,
    Else(String),
}

/// A server without its API.
pub struct Inside {
    pub store: Store,
    pub journal: Journal,
    pub meter: Meter,
    clock: Arc<dyn Clock>,
    engine: Engine,
    http: String,
    grpc: String,
    client: reqwest::Client,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Inside {
    pub async fn start(store: Store, clock: Arc<dyn Clock>, options: MeterOptions) -> Self {
        let (commits, inbox) = mpsc::unbounded_channel();
        let tables = Tables::open(&store).await.expect("the tables open");
        let journal = tables.journal(&store, WRITER, Some(commits)).await.expect("the journal opens");
        let (own, brake) = (Some(Arc::clone(journal.writer())), journal.brake());
        let meter = Meter::start(&store, rules(), Arc::clone(&clock), options, inbox, own, brake).await;
        let meter = meter.expect("the meter starts");
        let sink = OtlpSink {
            source: "otlp".into(),
            spans: Arc::new(OtlpSpans::default()),
            journal: journal.clone(),
            clock: Arc::clone(&clock),
            board: SourceBoard::default(),
        };
        let receiver = Receiver::new(Arc::new(sink), Access::open(), Gate::new(ReceiverLimits::default()));
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (http, grpc) = (bind().await.unwrap(), bind().await.unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (http_at, grpc_at) = (address(&http), address(&grpc));
        tasks.spawn(serve(receiver.clone(), http, None, cancel.clone()));
        tasks.spawn(serve(receiver, grpc, None, cancel.clone()));
        let engine = Engine::new(Limits { time: QUERY_TIME, ..Limits::default() }, rules()).unwrap();
        let client = reqwest::Client::new();
        Self { store, journal, meter, clock, engine, http: http_at, grpc: grpc_at, client, tasks, cancel }
    }

    /// Sends spans over HTTP.
    pub async fn post(&self, request: &Value) -> Said {
        let request = self.client.post(format!("{}/v1/traces", self.http)).json(request).timeout(PATIENCE);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Said::Else(error.to_string()),
        };
        let retry = answer.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse::<u64>().ok());
        match (answer.status().as_u16(), retry) {
            (200, _) => Said::Kept,
            (503, Some(1..)) => Said::Unavailable,
            (status, retry) => Said::Else(format!("{status}, retry after {retry:?}: {:?}", answer.text().await)),
        }
    }

    /// Sends spans over gRPC.
    pub async fn call(&self, request: &Value) -> Said {
        use tonic_types::StatusExt;
        let request = decode_traces(request.to_string().as_bytes(), &mut Flaws::default()).unwrap();
        let mut client = TraceServiceClient::connect(self.grpc.clone()).await.expect("a connection");
        match client.export(request).await {
            Ok(_) => Said::Kept,
            Err(status) => {
                let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
                let later = status.code() == tonic::Code::Unavailable && delay.is_some_and(|delay| !delay.is_zero());
                if later { Said::Unavailable } else { Said::Else(status.to_string()) }
            }
        }
    }

    /// The only row of a statement over the view that is shown now.
    pub async fn numbers(&self, sql: &str) -> Result<Vec<i64>, QueryError> {
        let view = self.meter.view().load_full();
        self.numbers_of(&view, sql).await
    }

    /// The only row of a statement over a view; NULL reads as 0.
    pub async fn numbers_of(&self, view: &View, sql: &str) -> Result<Vec<i64>, QueryError> {
        let rows = self.rows_of(view, sql).await?;
        let row = rows.iter().find(|batch| batch.num_rows() > 0).expect("a row");
        Ok(row.columns().iter().map(|column| integer(column, 0)).collect())
    }

    pub async fn rows_of(&self, view: &View, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        self.engine.run(view, sql, Params::None).await?.collect().await
    }

    /// The view that a process would have that only reads the store.
    pub async fn loaded(&self) -> View {
        load_view(&self.store, &rules(), self.clock.now()).await.expect("the store can be read")
    }

    /// Settles until it works.
    pub async fn settles(&self) {
        let settled = async {
            while let Err(error) = self.meter.settle_now().await {
                assert!(!error.contains("has stopped"), "{error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("a settle works again");
    }

    /// Drains, and gives the store back.
    pub async fn stop(self) -> Store {
        self.cancel.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the requests end");
        drop(self.journal);
        self.meter.stop().await;
        self.store
    }
}

/// Computes the last hours of the ledger again and compares.
pub async fn audit(store: &Store, clock: &dyn Clock) -> Audit {
    let tables = Tables::open(store).await.expect("the tables open");
    let mut settler = Settler::new(store, tables, Retention::default(), Duration::from_secs(5));
    let now = clock.now();
    let range = Interval { from: now.plus(-12 * HOUR_US), to: now.plus(HOUR_US) };
    settler.audit(range, &rules(), now, |_| ()).await.expect("an audit")
}

pub fn integer(column: &dyn Array, row: usize) -> i64 {
    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).expect("a number");
    let column = column.as_primitive::<Int64Type>();
    if column.is_null(row) { 0 } else { column.value(row) }
}
