//! Rate of OTLP ingest with durable acknowledgement: requests and calls per second over 1, 8 and 32 connections,
//! against what this machine's disk (write and fsync of files of the journal's size) and one core (decoding and
//! normalizing in the library, or encoding the rows as Parquet) allow. See `benches/README.md`.
//!
//! The load client speaks HTTP/1.1 by hand over blocking sockets: it runs on the cores that the server needs too.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use polymeter::clock::{Clock, SystemClock};
use polymeter::columns::Row;
use polymeter::model::{Normalized, Observation, RecordRef};
use polymeter::sources::otlp::{OtlpConfig, OtlpSpans};
use prost::Message;

const CONNECTIONS: [u32; 3] = [1, 8, 32];
/// Spans of calls in one request: what a batching exporter of a busy service sends.
const CALLS: u32 = 10;
const LOAD: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(2);
/// Rows of a file of the yardstick that only writes Parquet.
const PARQUET_ROWS: u32 = 10_000;
/// Stands where each span's number goes; of the same length, so that requests are patched and not encoded.
const NUMBER: [u8; 8] = *b"\xf0number\xf1";
const TEXT_NUMBER: &str = "chatcmpl-0123456789abcdef";

fn main() -> Result<()> {
    let binary = std::env::var("POLYMETER_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_polymeter").to_owned());
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let work = tempfile::Builder::new().prefix("otlp-ingest-").tempdir_in(&place)?;
    let mut out = std::io::stdout().lock();
    let template = Template::new();
    let decoding = decoding_rate(&template)?;
    let cores = std::thread::available_parallelism()?;
    writeln!(out, "# {binary}, {cores} cores, {CALLS} calls and {} bytes a request", template.body.len())?;
    let (parquet, row_bytes) = parquet_rate(&template)?;
    let yardstick = decoding.min(parquet);
    writeln!(
        out,
        "# one thread: decoding and normalizing alone {decoding:.0} calls/s, Parquet alone {parquet:.0} calls/s of {row_bytes} bytes"
    )?;

    let server = Server::start(&binary, &work.path().join("data"))?;
    let mut summary = Vec::new();
    let mut acknowledged = 0;
    for connections in CONNECTIONS {
        acknowledged += load(&server, &template, connections, WARM_UP)?.requests;
        let before = server.commits()?;
        let run = load(&server, &template, connections, LOAD)?;
        acknowledged += run.requests;
        let commits = f64::from(server.commits()? - before) / LOAD.as_secs_f64();
        let size = server.object_size()?;
        let disk = sync_rate(work.path(), size)?;
        let requests = f64::from(run.requests) / run.took.as_secs_f64();
        let calls = requests * f64::from(CALLS);
        writeln!(
            out,
            "# {connections:>2} connections: {requests:.0} requests/s, {calls:.0} calls/s, p50 {:.1} ms, p99 {:.1} ms; {commits:.0} commits/s \
             of {size} bytes on average, disk alone {disk:.0} write+fsync/s",
            run.quantile(50),
            run.quantile(99),
        )?;
        summary.push(format!(
            "{connections} conn {requests:.0} requests/s {calls:.0} calls/s, {:.2} requests per write+fsync of the disk, {:.3} of {} alone",
            requests / disk,
            calls / yardstick,
            if decoding < parquet { "decoding" } else { "Parquet" },
        ));
    }
    let counted = server.count()?;
    let lost = i64::from(acknowledged) * i64::from(CALLS) - counted;
    writeln!(out, "# {counted} calls in SQL, {lost} acknowledged ones missing")?;
    writeln!(out, "otlp_ingest: {}", summary.join(" | "))?;
    Ok(())
}

/// An encoded request and where the numbers of its spans stand.
struct Template {
    body: Vec<u8>,
    numbers: Vec<usize>,
    texts: Vec<usize>,
}

impl Template {
    fn new() -> Self {
        let spans = (0..CALLS).map(|_| span()).collect();
        let scope = InstrumentationScope {
            name: "opentelemetry.instrumentation.openai_v2".to_owned(),
            version: "2.2b0".to_owned(),
            ..InstrumentationScope::default()
        };
        let resource = [("service.name", "checkout"), ("deployment.environment.name", "production")];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: resource.map(|(key, value)| text(key, value)).to_vec(),
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
                schema_url: String::new(),
            }],
        };
        let body = request.encode_to_vec();
        let numbers = places(&body, &NUMBER);
        let texts = places(&body, TEXT_NUMBER.as_bytes());
        Self { body, numbers, texts }
    }

    /// A request of which every span is a call of its own.
    fn request(&self, number: u64) -> Vec<u8> {
        let mut body = self.body.clone();
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = body.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        // Trace id and span id of each span.
        for (index, at) in (0_u64..).zip(&self.numbers) {
            put(*at, &(number * u64::from(CALLS) * 2 + index + 1).to_be_bytes());
        }
        for (index, at) in (0_u64..).zip(&self.texts) {
            put(at + 9, format!("{:016x}", number * u64::from(CALLS) + index).as_bytes());
        }
        body
    }
}

fn places(body: &[u8], mark: &[u8]) -> Vec<usize> {
    body.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).map(|(at, _)| at).collect()
}

fn span() -> Span {
    let now = u64::try_from(SystemClock.now().0).unwrap_or(0) * 1000;
    let texts = [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o"),
        ("gen_ai.response.model", "gpt-4o-2024-11-20"),
        ("gen_ai.response.id", TEXT_NUMBER),
        ("server.address", "api.openai.com"),
        ("user.id", "u-10442"),
    ];
    let numbers = [
        ("gen_ai.usage.input_tokens", 1842),
        ("gen_ai.usage.output_tokens", 211),
        ("gen_ai.usage.cache_read.input_tokens", 1024),
        ("server.port", 443),
    ];
    let number = |(key, value): (&str, i64)| attribute(key, Value::IntValue(value));
    Span {
        trace_id: [*b"pm-bench", NUMBER].concat(),
        span_id: NUMBER.to_vec(),
        name: "chat gpt-4o".to_owned(),
        kind: 3,
        start_time_unix_nano: now.saturating_sub(2_100_000_000),
        end_time_unix_nano: now,
        attributes: texts
            .into_iter()
            .map(|(key, value)| text(key, value))
            .chain(numbers.into_iter().map(number))
            .collect(),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Calls per second that one thread decodes and normalizes through the library, nothing else.
fn decoding_rate(template: &Template) -> Result<f64> {
    let format = OtlpSpans::new(OtlpConfig::default());
    let now = SystemClock.now();
    let at = RecordRef { source: "bench", object: "otlp", position: 0, object_time: now, observed_at: now };
    let (mut calls, mut out, start) = (0_u32, Vec::new(), Instant::now());
    let mut number = 0;
    while start.elapsed() < LIMIT {
        let request = ExportTraceServiceRequest::decode(template.request(number).as_slice())?;
        format.traces(&request, &at, &mut out);
        calls += u32::try_from(out.drain(..).count())?;
        number += 1;
    }
    Ok(f64::from(calls) / start.elapsed().as_secs_f64())
}

/// Calls per second that one thread turns into Parquet files in memory (zstd 1), and the bytes that each takes there.
/// What they are made of was decoded before.
fn parquet_rate(template: &Template) -> Result<(f64, usize)> {
    let format = OtlpSpans::new(OtlpConfig::default());
    let now = SystemClock.now();
    let at = RecordRef { source: "bench", object: "otlp", position: 0, object_time: now, observed_at: now };
    let mut normalized = Vec::new();
    for number in 0..u64::from(PARQUET_ROWS / CALLS) {
        let request = ExportTraceServiceRequest::decode(template.request(number).as_slice())?;
        format.traces(&request, &at, &mut normalized);
    }
    let observation = |row| if let Normalized::Observation(row) = row { Some(*row) } else { None };
    let rows: Vec<Observation> = normalized.into_iter().filter_map(observation).collect();
    ensure!(rows.len() == usize::try_from(PARQUET_ROWS)?, "{} of {PARQUET_ROWS} rows are observations", rows.len());
    let settings = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
    let (mut calls, mut bytes, start) = (0_u32, 0, Instant::now());
    while start.elapsed() < LIMIT {
        let mut writer = ArrowWriter::try_new(Vec::new(), Observation::schema(), Some(settings.clone()))?;
        writer.write(&Observation::encode(rows.iter())?)?;
        bytes += writer.into_inner()?.len();
        calls += PARQUET_ROWS;
    }
    Ok((f64::from(calls) / start.elapsed().as_secs_f64(), bytes / usize::try_from(calls)?))
}

/// Files of `size` bytes that one thread writes and syncs per second in `folder`.
fn sync_rate(folder: &Path, size: usize) -> Result<f64> {
    let (bytes, path) = (vec![b'x'; size], folder.join("probe"));
    let (mut files, start) = (0_u32, Instant::now());
    while start.elapsed() < LIMIT {
        let mut file = File::create(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        drop(file);
        fs::remove_file(&path)?;
        files += 1;
    }
    Ok(f64::from(files) / start.elapsed().as_secs_f64())
}

struct Run {
    requests: u32,
    took: Duration,
    latencies: Vec<Duration>,
}

impl Run {
    /// Latency in milliseconds that this percentage of requests stayed below.
    fn quantile(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Sends requests over `connections` for `time`, each connection the next one when the last is acknowledged.
fn load(server: &Server, template: &Template, connections: u32, time: Duration) -> Result<Run> {
    let begin = u64::try_from(SystemClock.now().0)?;
    let start = Instant::now();
    let results: Vec<Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let one = |connection: u32| -> Result<Vec<Duration>> {
            let mut stream = Connection::open(&server.otlp)?;
            let mut latencies = Vec::new();
            // Numbers that no other connection or run uses.
            let mut number = begin * 64 + u64::from(connection);
            while start.elapsed() < time {
                let body = template.request(number);
                let sent = Instant::now();
                let (status, _) = stream.exchange("POST", "/v1/traces", "application/x-protobuf", &body)?;
                ensure!(status == 200, "answer {status}");
                latencies.push(sent.elapsed());
                number += 64;
            }
            Ok(latencies)
        };
        let threads: Vec<_> = (0..connections).map(|connection| scope.spawn(move || one(connection))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client has died"))).collect()
    });
    let took = start.elapsed();
    let mut latencies: Vec<Duration> = results.into_iter().collect::<Result<Vec<_>>>()?.concat();
    latencies.sort_unstable();
    Ok(Run { requests: u32::try_from(latencies.len())?, took, latencies })
}

struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address: address.to_owned() })
    }

    fn exchange(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let (address, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.starts_with("http/1.1 ") {
                status = line.split(' ').nth(1).unwrap_or_default().parse()?;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}

/// A serving polymeter with its defaults, on free ports.
struct Server {
    child: Child,
    api: String,
    otlp: String,
    data: PathBuf,
}

impl Server {
    fn start(binary: &str, data: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(data).stdout(Stdio::piped()).stderr(Stdio::null());
        for option in ["--http", "--otlp-grpc", "--otlp-http"] {
            command.args([option, "127.0.0.1:0"]);
        }
        let mut child = command.spawn().with_context(|| format!("can't start {binary}"))?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut server = Self { child, api: String::new(), otlp: String::new(), data: data.to_owned() };
        for line in lines.lines() {
            let line = line?;
            let address = line.split_once("http://").map(|(_, rest)| rest.split_whitespace().next().unwrap_or(rest));
            match address {
                Some(address) if line.contains("HTTP API") => server.api = address.to_owned(),
                Some(address) if line.contains("OTLP/HTTP") => server.otlp = address.to_owned(),
                // The last line: until then standard output must be read.
                _ if line.contains("polymeter sql") => return Ok(server),
                _ => {}
            }
        }
        bail!("{binary} did not start")
    }

    /// Journal commits so far.
    fn commits(&self) -> Result<u32> {
        let (_, text) = Connection::open(&self.api)?.exchange("GET", "/metrics", "text/plain", b"")?;
        let text = String::from_utf8(text)?;
        let line = text.lines().find(|line| line.starts_with("polymeter_journal_commits_total{result=\"ok\"}"));
        Ok(line.and_then(|line| line.rsplit(' ').next()).map(str::parse).transpose()?.unwrap_or(0))
    }

    /// Mean size of the last journal objects: those of the run that has just ended.
    fn object_size(&self) -> Result<usize> {
        let mut names = Vec::new();
        for writer in fs::read_dir(self.data.join("journal"))? {
            for object in fs::read_dir(writer?.path())? {
                names.push(object?.path());
            }
        }
        names.sort();
        let sizes = names.iter().rev().skip(1).take(100).filter_map(|name| fs::metadata(name).ok());
        let (sum, number) = sizes.fold((0, 0), |(sum, number), meta| (sum + meta.len(), number + 1));
        Ok(usize::try_from(sum / std::cmp::max(number, 1))?)
    }

    /// Calls in SQL, when the last acknowledged ones had time to show up.
    fn count(&self) -> Result<i64> {
        std::thread::sleep(Duration::from_secs(2));
        let body = br#"{"sql": "SELECT count(*) AS n FROM calls"}"#;
        let (_, answer) = Connection::open(&self.api)?.exchange("POST", "/api/v1/sql", "application/json", body)?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        answer.pointer("/rows/0/n").and_then(serde_json::Value::as_i64).with_context(|| format!("no count: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
