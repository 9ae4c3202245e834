//! A small cloud on the loopback that speaks the wire of S3, SQS, CloudWatch Logs and Blob storage, as far as a
//! collector needs it, and goes wrong on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::live_tail;
use crate::harness::runtime;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 403 to everything.
    Denied,
    /// The keys that are used have expired.
    Expired,
    /// Bucket, container, queue or group are not there.
    Missing,
    /// Too many requests.
    Throttled,
    /// 500 to everything.
    Broken,
    /// Bodies end in the middle.
    HalfBodies,
    /// Every third request fails with 500.
    EveryThird,
    /// No answer.
    Hang,
}

/// A log event: id, milliseconds, text.
pub type Event = (String, i64, String);

/// What becomes of Live Tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Live {
    /// It works.
    #[default]
    On,
    /// 400 to whoever asks for it, as AWS refuses there.
    Denied,
    /// The next frame is cut in the middle, and the connection ends; once.
    Cut,
    /// The time of the session is over; once.
    Over,
}

struct Object {
    bytes: Vec<u8>,
    modified: DateTime<Utc>,
    version: u64,
}

struct Message {
    id: String,
    body: String,
    hidden_until: Instant,
    deliveries: u32,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Object>,
    messages: Vec<Message>,
    events: Vec<Event>,
    streamed: Vec<Event>,
    live: Live,
    sampled: bool,
    fault: Option<Fault>,
    asked: Vec<String>,
    versions: u64,
    delivered: usize,
    slow: Duration,
}

/// The cloud.
#[derive(Clone)]
pub struct Cloud {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Cloud {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cloud = Self { url, inner: Arc::default() };
        let router = Router::new().fallback(answer).with_state(cloud.clone());
        drop(runtime().spawn(async move { axum::serve(listener, router).await }));
        cloud
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        let mut inner = self.lock();
        inner.versions += 1;
        let object = Object { bytes, modified: now(), version: inner.versions };
        inner.objects.insert(key.to_owned(), object);
    }

    /// Writes on at the end.
    pub fn append(&self, key: &str, more: &[u8]) {
        let before = self.lock().objects.get(key).map(|object| object.bytes.clone()).unwrap_or_default();
        self.put(key, [&before, more].concat());
    }

    pub fn send(&self, body: String) {
        let mut inner = self.lock();
        let id = format!("m-{}", inner.messages.len() + usize::try_from(inner.versions).unwrap());
        inner.versions += 1;
        inner.messages.push(Message { id, body, hidden_until: Instant::now(), deliveries: 0 });
    }

    pub fn log(&self, event: Event) {
        self.stream(event.clone());
        self.show(event);
    }

    /// Lets Live Tail see an event that `FilterLogEvents` does not show yet.
    pub fn stream(&self, event: Event) {
        self.lock().streamed.push(event);
    }

    /// Lets `FilterLogEvents` show an event, whether Live Tail saw it or not.
    pub fn show(&self, event: Event) {
        self.lock().events.push(event);
    }

    pub fn live(&self, live: Live) {
        self.lock().live = live;
    }

    /// From now on Live Tail says that it leaves events out.
    pub fn sample(&self) {
        self.lock().sampled = true;
    }

    /// How many events Live Tail has seen.
    pub(super) fn streamed(&self) -> usize {
        self.lock().streamed.len()
    }

    /// What Live Tail says next: events from `from` on, and whether there are more. Nothing in trouble.
    pub(super) fn tail(&self, from: usize) -> Result<(Vec<Event>, bool), Live> {
        let mut inner = self.lock();
        if inner.fault.is_some_and(|fault| fault != Fault::EveryThird) {
            return Err(Live::Cut);
        }
        match std::mem::take(&mut inner.live) {
            Live::On => Ok((inner.streamed[from..].to_vec(), inner.sampled)),
            Live::Denied => {
                inner.live = Live::Denied;
                Err(Live::Over)
            }
            once => Err(once),
        }
    }

    pub fn fault(&self, fault: Option<Fault>) {
        let mut inner = self.lock();
        inner.fault = fault;
        inner.asked.clear();
    }

    /// What was asked since the last change of the fault, or the last look.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().asked)
    }

    pub fn asked(&self) -> usize {
        self.lock().asked.len()
    }

    /// Messages in the queue, hidden ones too.
    pub fn messages(&self) -> usize {
        self.lock().messages.len()
    }

    /// Messages that whoever asks would be given.
    pub fn visible(&self) -> usize {
        self.lock().messages.iter().filter(|message| message.hidden_until <= Instant::now()).count()
    }

    /// How many messages were given to somebody, copies too.
    pub fn delivered(&self) -> usize {
        self.lock().delivered
    }

    /// Objects come so late.
    pub fn slow(&self, slow: Duration) {
        self.lock().slow = slow;
    }

    /// Lets all messages be delivered at once.
    pub fn show_all(&self) {
        self.lock().messages.iter_mut().for_each(|message| message.hidden_until = Instant::now());
    }
}

fn now() -> DateTime<Utc> {
    use polymeter::clock::{Clock, SystemClock};
    DateTime::from_timestamp_micros(SystemClock.now().0).unwrap()
}

async fn answer(State(cloud): State<Cloud>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let what = operation(&parts.method, &parts.uri, &parts.headers);
    let fault = {
        let mut inner = cloud.lock();
        inner.asked.push(what.clone());
        let third = inner.asked.len() % 3 == 0;
        inner.fault.filter(|fault| *fault != Fault::EveryThird || third)
    };
    let json = parts.headers.contains_key("x-amz-target");
    let blob = parts.headers.contains_key("x-ms-version");
    let refused = |status, code| refusal(status, code, json, blob);
    let keys = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let keys = format!("{keys}{}", parts.uri.query().unwrap_or_default());
    match fault {
        Some(Fault::Denied) => return refused(403, "AccessDenied"),
        Some(Fault::Expired) if !keys.contains("NEWKEY") => return refused(403, "ExpiredToken"),
        Some(Fault::Missing) => return refused(404, "ResourceNotFoundException"),
        Some(Fault::Throttled) => return refused(if json { 400 } else { 503 }, "ThrottlingException"),
        Some(Fault::Broken | Fault::EveryThird) => return refused(500, "InternalError"),
        Some(Fault::Hang) => tokio::time::sleep(Duration::from_secs(3600)).await,
        _ => {}
    }
    let half = fault == Some(Fault::HalfBodies);
    if json {
        return service(&cloud, &what, &body, half);
    }
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = percent(parts.uri.path());
    let key = path.trim_start_matches('/').split_once('/').map(|(_, key)| key.to_owned()).unwrap_or_default();
    if query.contains_key("list-type") || query.get("comp").is_some_and(|comp| comp == "list") {
        return list(&cloud, &query, blob, half);
    }
    let head = parts.method == Method::HEAD;
    let slow = if head { Duration::ZERO } else { cloud.lock().slow };
    tokio::time::sleep(slow).await;
    object(&cloud, &key, &parts.headers, head, half)
}

fn operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(target) = headers.get("x-amz-target").and_then(|value| value.to_str().ok()) {
        return target.rsplit('.').next().unwrap().to_owned();
    }
    let query = uri.query().unwrap_or_default();
    if query.contains("list-type") || query.contains("comp=list") { "List".to_owned() } else { method.to_string() }
}

fn percent(path: &str) -> String {
    let form = path.replace('+', "%2B");
    url::form_urlencoded::parse(form.as_bytes())
        .map(
            |(key, value)| {
                if value.is_empty() && !form.contains('=') { key.into_owned() } else { format!("{key}={value}") }
            },
        )
        .collect()
}

fn refusal(status: u16, code: &str, json: bool, blob: bool) -> Response {
    let body = match (json, blob) {
        (true, _) => json!({"__type": code, "message": "on purpose"}).to_string(),
        _ => format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>"),
    };
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

/// An answer that says how long it is and, on demand, ends before that.
fn whole(mut response: axum::http::response::Builder, bytes: Vec<u8>, half: bool) -> Response {
    if !half || bytes.len() < 2 {
        return response.body(Body::from(bytes)).unwrap();
    }
    response = response.header("content-length", bytes.len());
    let first = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    let pieces = [Ok(first), Err(std::io::Error::other("cut"))];
    response.body(Body::from_stream(futures::stream::iter(pieces))).unwrap()
}

fn list(cloud: &Cloud, query: &BTreeMap<String, String>, blob: bool, half: bool) -> Response {
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let after = [text("start-after"), text("continuation-token"), text("marker")].into_iter().max().unwrap();
    let inner = cloud.lock();
    let (mut keys, mut folders, mut next) = (Vec::new(), Vec::<String>::new(), None);
    for (key, object) in inner.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after) {
        let rest = &key[prefix.len()..];
        if let Some(at) = rest.find('/').filter(|_| !delimiter.is_empty()) {
            let folder = format!("{prefix}{}", &rest[..=at]);
            if folders.last() != Some(&folder) {
                folders.push(folder);
            }
            continue;
        }
        if keys.len() == 1000 {
            next = keys.last().map(|(key, _): &(&String, &Object)| (*key).clone());
            break;
        }
        keys.push((key, object));
    }
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    if blob {
        xml += "<EnumerationResults><Blobs>";
        for (key, object) in keys {
            xml += &format!(
                "<Blob><Name>{key}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length><Content-Type>x</Content-Type><BlobType>AppendBlob</BlobType></Properties></Blob>",
                object.modified.format("%a, %d %b %Y %H:%M:%S GMT"),
                object.version,
                object.bytes.len()
            );
        }
        folders.iter().for_each(|folder| xml += &format!("<BlobPrefix><Name>{folder}</Name></BlobPrefix>"));
        xml += &format!("</Blobs><NextMarker>{}</NextMarker></EnumerationResults>", next.unwrap_or_default());
    } else {
        xml += &format!("<ListBucketResult><IsTruncated>{}</IsTruncated>", next.is_some());
        for (key, object) in keys {
            let time = object.modified.format("%Y-%m-%dT%H:%M:%S.000Z");
            xml += &format!(
                "<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
                object.version,
                object.bytes.len()
            );
        }
        folders.iter().for_each(|folder| xml += &format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
        next.iter().for_each(|next| xml += &format!("<NextContinuationToken>{next}</NextContinuationToken>"));
        xml += "</ListBucketResult>";
    }
    whole(Response::builder().header("content-type", "application/xml"), xml.into_bytes(), half)
}

fn object(cloud: &Cloud, key: &str, headers: &HeaderMap, head: bool, half: bool) -> Response {
    let inner = cloud.lock();
    let Some(object) = inner.objects.get(key) else { return refusal(404, "NoSuchKey", false, false) };
    let etag = format!("\"{}\"", object.version);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("if-match").is_some_and(|wanted| wanted.trim_matches('"') != etag.trim_matches('"')) {
        return refusal(412, "PreconditionFailed", false, false);
    }
    let range = text("range").or_else(|| text("x-ms-range")).and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        let to = to.parse().unwrap_or(usize::MAX).min(object.bytes.len() - 1);
        Some((from.parse::<usize>().ok()?, to))
    });
    let mut response = Response::builder()
        .header("etag", etag)
        .header("last-modified", object.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if head {
        return response.header("content-length", object.bytes.len()).body(Body::empty()).unwrap();
    }
    let bytes = match range {
        None => object.bytes.clone(),
        Some((from, _)) if from >= object.bytes.len() => return refusal(416, "InvalidRange", false, false),
        Some((from, to)) => {
            let place = format!("bytes {from}-{to}/{}", object.bytes.len());
            response = response.status(StatusCode::PARTIAL_CONTENT).header("content-range", place);
            object.bytes[from..=to].to_vec()
        }
    };
    whole(response, bytes, half)
}

fn service(cloud: &Cloud, what: &str, body: &Bytes, half: bool) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut inner = cloud.lock();
    let receipts = |asked: &Value| -> Vec<(String, u64)> {
        let entries = asked["Entries"].as_array().cloned().unwrap_or_default();
        let entry = |entry: &Value| {
            (
                entry["ReceiptHandle"].as_str().unwrap_or_default().to_owned(),
                entry["VisibilityTimeout"].as_u64().unwrap_or(0),
            )
        };
        entries.iter().map(entry).collect()
    };
    let answer = match what {
        "ReceiveMessage" => {
            let hide = Duration::from_secs(asked["VisibilityTimeout"].as_u64().unwrap_or(30));
            let inner = &mut *inner;
            let free = inner.messages.iter_mut().filter(|message| message.hidden_until <= Instant::now()).take(10);
            let given: Vec<Value> = free
                .map(|message| {
                    message.hidden_until = Instant::now() + hide;
                    message.deliveries += 1;
                    inner.delivered += 1;
                    json!({"MessageId": message.id, "ReceiptHandle": message.id, "Body": message.body,
                        "Attributes": {"ApproximateReceiveCount": message.deliveries.to_string()}})
                })
                .collect();
            if given.is_empty() { json!({}) } else { json!({"Messages": given}) }
        }
        "DeleteMessageBatch" => {
            let gone: Vec<String> = receipts(&asked).into_iter().map(|(receipt, _)| receipt).collect();
            inner.messages.retain(|message| !gone.contains(&message.id));
            json!({"Successful": [], "Failed": []})
        }
        "ChangeMessageVisibilityBatch" => {
            for (receipt, seconds) in receipts(&asked) {
                for message in inner.messages.iter_mut().filter(|message| message.id == receipt) {
                    message.hidden_until = Instant::now() + Duration::from_secs(seconds);
                }
            }
            json!({"Successful": [], "Failed": []})
        }
        "FilterLogEvents" => events(&inner, &asked),
        "DescribeLogGroups" => live_tail::groups(&asked),
        "StartLiveTail" if inner.live == Live::Denied => return refusal(400, "AccessDeniedException", true, false),
        "StartLiveTail" if !live_tail::names_the_group(&asked) => {
            return refusal(400, "InvalidParameterException", true, false);
        }
        "StartLiveTail" => {
            drop(inner);
            return live_tail::session(cloud.clone());
        }
        other => return refusal(400, other, true, false),
    };
    let response = Response::builder().header("content-type", "application/x-amz-json-1.0");
    whole(response, answer.to_string().into_bytes(), half)
}

/// Pages of three events; in front of them comes an empty page with a token, as the service does it.
fn events(inner: &Inner, asked: &Value) -> Value {
    let (from, to) = (asked["startTime"].as_i64().unwrap_or(0), asked["endTime"].as_i64().unwrap_or(i64::MAX));
    let mut found: Vec<&Event> = inner.events.iter().filter(|(_, at, _)| (from..=to).contains(at)).collect();
    found.sort_by_key(|(_, at, _)| *at);
    let Some(token) = asked["nextToken"].as_str() else { return json!({"events": [], "nextToken": "0"}) };
    let first: usize = token.parse().unwrap_or(0);
    let event = |(id, at, message): &&Event| {
        json!({"eventId": id, "timestamp": at, "ingestionTime": at + 5000, "message": message,
            "logStreamName": "aws/bedrock/modelinvocations"})
    };
    let page: Vec<Value> = found.iter().skip(first).take(3).map(event).collect();
    let mut answer = json!({"events": page});
    if first + 3 < found.len() {
        answer["nextToken"] = json!((first + 3).to_string());
    }
    answer
}
