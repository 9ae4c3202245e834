//! The receiver's limits, with small ones and a sink of the test's own: too many, too much, too slow, and its end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use polymeter::collect::otlp_server::{Access, Export, Gate, Kept, Limits, Receiver, Signal, Sink, SinkError, serve};
use polymeter::model::Flaws;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{Place, Reply, ask, eventually, runtime};
use crate::records::gzip;

const SOON: Duration = Duration::from_secs(10);
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Keeps a request once it is let go on.
struct Slow {
    began: AtomicUsize,
    leave: Semaphore,
}

#[async_trait]
impl Sink for Slow {
    async fn keep(&self, _: Export, _: Flaws) -> Result<Kept, SinkError> {
        self.began.fetch_add(1, Ordering::SeqCst);
        let leave = self.leave.acquire().await.expect("open");
        leave.forget();
        Ok(Kept::default())
    }

    fn decode_json(&self, _: Signal, _: &[u8], _: &mut Flaws) -> Result<Export, String> {
        Err("not here".to_owned())
    }
}

/// A listener of its own; stopped when dropped.
struct Local {
    address: String,
    sink: Arc<Slow>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Local {
    /// Lets `leave` requests through before it holds them.
    fn start(limits: Limits, leave: usize) -> Self {
        let sink = Arc::new(Slow { began: AtomicUsize::new(0), leave: Semaphore::new(leave) });
        let receiver = Receiver::new(sink.clone(), Access::open(), Gate::new(limits));
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tasks.spawn_on(serve(receiver, listener, None, cancel.clone()), runtime().handle());
        Self { address, sink, tasks, cancel }
    }

    fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let request = reqwest::Client::new().post(format!("http://{}/v1/traces", self.address)).body(body);
        let request = request.header(PROTOBUF.0, PROTOBUF.1);
        ask(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).expect("an answer")
    }

    /// Posts in a thread of its own, and waits until the sink holds it.
    fn held(&self, body: Vec<u8>) -> std::thread::JoinHandle<Option<Reply>> {
        let before = self.sink.began.load(Ordering::SeqCst);
        let request = reqwest::Client::new().post(format!("http://{}/v1/traces", self.address)).body(body);
        let request = request.header(PROTOBUF.0, PROTOBUF.1);
        let thread = std::thread::spawn(move || ask(request));
        eventually("the request is under way", SOON, || {
            (self.sink.began.load(Ordering::SeqCst) > before).then_some(())
        });
        thread
    }

    fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// Stops, and says how long that took.
    fn stop(&self) -> Duration {
        let from = Instant::now();
        self.cancel.cancel();
        self.tasks.close();
        runtime().block_on(async { tokio::time::timeout(SOON * 2, self.tasks.wait()).await }).expect("it ends");
        from.elapsed()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What comes until the other side ends, or its error.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    if let Err(error) = stream.read_to_end(&mut text) {
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset), "{error}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A request of about this size.
fn request(bytes: usize) -> ExportTraceServiceRequest {
    let mut request = ExportTraceServiceRequest::default();
    request.resource_spans.resize_with(1, Default::default);
    request.resource_spans[0].schema_url = "x".repeat(bytes);
    request
}

fn body(bytes: usize) -> Vec<u8> {
    request(bytes).encode_to_vec()
}

const HEAD: &[u8] = b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n";

#[test]
fn more_requests_at_once_than_allowed_are_told_to_come_back() {
    let local = Local::start(Limits { requests_at_once: 2, ..Limits::default() }, 0);
    let held = [local.held(Vec::new()), local.held(Vec::new())];
    let reply = local.post(&[], Vec::new());
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{}", reply.text());
    let status = runtime().block_on(async {
        let mut client = TraceServiceClient::connect(format!("http://{}", local.address)).await.unwrap();
        client.export(ExportTraceServiceRequest::default()).await.unwrap_err()
    });
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some()), "{status:?}");
    local.sink.leave.add_permits(3);
    assert!(held.into_iter().all(|held| held.join().unwrap().is_some_and(|reply| reply.status == 200)));
    assert_eq!(local.post(&[], Vec::new()).status, 200);
}

#[test]
fn all_requests_together_hold_no_more_bytes_than_allowed() {
    let local = Local::start(Limits { bytes_at_once: 1 << 20, ..Limits::default() }, 0);
    let held = local.held(body(400 << 10));
    let late = |reply: Reply| assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{}", reply.text());
    late(local.post(&[], body(400 << 10)));
    // Small on the wire, and counted by what it becomes.
    let packed = gzip(&body(400 << 10));
    assert!(packed.len() < 8 << 10);
    late(local.post(&[("content-encoding", "gzip")], packed.clone()));
    late(local.post(&[("content-encoding", "zstd")], zstd::bulk::compress(&body(400 << 10), 3).unwrap()));
    let status = runtime().block_on(async {
        let mut client = TraceServiceClient::connect(format!("http://{}", local.address)).await.unwrap();
        client.export(request(400 << 10)).await
    });
    assert_eq!(status.map(drop).map_err(|status| status.code()), Err::<(), _>(Code::Unavailable));
    // There is room for small ones.
    let small = local.held(body(50 << 10));
    local.sink.leave.add_permits(3);
    for held in [held, small] {
        assert_eq!(held.join().unwrap().unwrap().status, 200);
    }
    assert_eq!(local.post(&[("content-encoding", "gzip")], packed).status, 200, "room comes back");
}

#[test]
fn what_would_become_gigabytes_is_refused_before_it_is_decoded() {
    let local = Local::start(Limits::default(), 10);
    // A resource with a scope of nothing but empty spans, two bytes each.
    let nested = |mut inner: Vec<u8>, field: u8| {
        let mut message = vec![field];
        prost::encoding::encode_varint(u64::try_from(inner.len()).unwrap(), &mut message);
        message.append(&mut inner);
        message
    };
    let dense = nested(nested(b"\x12\0".repeat(30 << 20), 0x12), 0x0a);
    let packed = gzip(&dense);
    assert!(dense.len() < 64 << 20 && packed.len() < 1 << 20);
    let reply = local.post(&[("content-encoding", "gzip")], packed);
    assert_eq!((reply.status, reply.header("retry-after")), (413, ""), "{}", reply.text());
    assert_eq!(local.sink.began.load(Ordering::SeqCst), 0);
    assert_eq!(local.post(&[], body(10)).status, 200);
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let limits =
        Limits { body_pause: Duration::from_millis(400), body: Duration::from_millis(1200), ..Limits::default() };
    let local = Local::start(limits, 10);
    let head = [HEAD, b"content-length: 1000\r\n\r\n"].concat();
    let from = Instant::now();
    let answer = rest(local.raw(&head));
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(from.elapsed() < Duration::from_secs(5));
    let mut stream = local.raw(&head);
    let from = Instant::now();
    let mut sender = stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(100));
            if sender.write_all(b"x").is_err() {
                return;
            }
        }
    });
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 503");
    assert!((Duration::from_millis(1100)..Duration::from_secs(5)).contains(&from.elapsed()));
    drop(stream);
    trickle.join().unwrap();
    assert_eq!(local.post(&[], body(10)).status, 200);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let local = Local::start(Limits { idle: Duration::from_millis(500), ..Limits::default() }, 10);
    let used = [HEAD, b"content-length: 0\r\n\r\n"].concat();
    for (what, bytes) in
        [("nothing", &b""[..]), ("half a head", HEAD), ("half a preface", b"PRI * HT"), ("idle", &used)]
    {
        let from = Instant::now();
        let answer = rest(local.raw(bytes));
        assert!(from.elapsed() < Duration::from_secs(5), "{what} stays for {:?}", from.elapsed());
        assert_eq!(answer.starts_with("HTTP/1.1 200"), what == "idle", "{what}: {answer}");
    }
    // One that is used stays.
    let mut stream = local.raw(b"");
    for _ in 0..6 {
        stream.write_all(&used).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(stream);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let local = Local::start(Limits { connections: 1, ..Limits::default() }, 10);
    let used = [HEAD, b"content-length: 0\r\n\r\n"].concat();
    let mut first = local.raw(&used);
    let mut start = [0; 12];
    first.read_exact(&mut start).unwrap();
    let mut second = local.raw(&used);
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(second.read(&mut start).is_err(), "it waits");
    drop(first);
    second.set_read_timeout(Some(SOON)).unwrap();
    second.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
}

#[test]
fn the_end_waits_for_requests_and_for_nothing_else() {
    let local = Local::start(Limits::default(), 1);
    let used = [HEAD, b"content-length: 0\r\n\r\n"].concat();
    let mut idle = local.raw(&used);
    let mut start = [0; 12];
    idle.read_exact(&mut start).unwrap();
    let others = [local.raw(b""), local.raw(HEAD), local.raw(b"PRI * HT")];
    let channel = runtime().block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", local.address)).unwrap();
        endpoint.connect().await.unwrap()
    });
    let held = local.held(body(10));
    let leave = local.sink.clone();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        leave.leave.add_permits(1);
    });
    let took = local.stop();
    assert!((Duration::from_millis(1400)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert_eq!(held.join().unwrap().expect("an answer").status, 200, "what was under way is answered");
    later.join().unwrap();
    assert!(TcpStream::connect(&local.address).is_err(), "nobody listens any more");
    drop((idle, others, channel));

    let stuck = Local::start(Limits { drain: Duration::from_millis(500), ..Limits::default() }, 0);
    let held = stuck.held(body(10));
    assert!(stuck.stop() < Duration::from_secs(4), "what does not end is cut");
    assert!(held.join().unwrap().is_none());
}

#[test]
fn a_server_with_idle_clients_stops_at_once() {
    let place = Place::new();
    let server = place.serve();
    let request = [HEAD, b"content-length: 0\r\n\r\n"].concat();
    let mut idle = Vec::new();
    for address in [&server.otlp, &server.grpc] {
        for bytes in [&request[..], HEAD, b""] {
            let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
            stream.write_all(bytes).unwrap();
            if bytes.len() > HEAD.len() {
                stream.read_exact(&mut [0; 12]).unwrap();
            }
            idle.push(stream);
        }
    }
    let from = Instant::now();
    server.stop();
    assert!(from.elapsed() < Duration::from_secs(8), "{:?}", from.elapsed());
    drop(idle);
}
