//! The OTLP receiver as the specification has it, with real clients: every encoding and compression over both
//! transports, what is refused and how it is called, tokens, and several receivers in one process.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use polymeter::model::Flaws;
use polymeter::sources::otlp::decode_traces;
use prost::Message;
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::cli::one_clear_line;
use crate::harness::{Place, QUICK, Reply, Server, ask, eventually, runtime};
use crate::records::{gzip, now_us, span, spans};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const SOON: Duration = Duration::from_secs(10);

/// `google.rpc.Status` as a client reads it.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

fn one(run: u32) -> Value {
    spans(vec![span(run, 0, now_us())])
}

pub fn protobuf(request: &Value) -> ExportTraceServiceRequest {
    decode_traces(request.to_string().as_bytes(), &mut Flaws::default()).unwrap()
}

fn packed(how: Option<&str>, plain: Vec<u8>) -> Vec<u8> {
    match how {
        Some("gzip") => gzip(&plain),
        Some("zstd") => zstd::bulk::compress(&plain, 3).unwrap(),
        _ => plain,
    }
}

/// Posts to a full URL.
pub fn post(url: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
    let request = reqwest::Client::new().post(url).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    ask(request).unwrap_or_else(|| panic!("{url} does not answer"))
}

/// Sends spans over gRPC, with a token and compression if wanted.
fn call(
    address: &str,
    token: Option<&str>,
    packed: Option<CompressionEncoding>,
    request: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Status> {
    let mut request = Request::new(request);
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    runtime().block_on(async {
        let client = TraceServiceClient::connect(address.to_owned()).await.expect("a connection");
        let mut client = packed.into_iter().fold(client, TraceServiceClient::send_compressed);
        client.export(request).await.map(tonic::Response::into_inner)
    })
}

/// Where a receiver of the only server of a place listens.
pub fn listens(place: &Place, source: &str, what: &str) -> String {
    let texts = place.logs().into_iter().filter(|path| path.extension().is_some_and(|end| end == "out"));
    let texts: String = texts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mark = format!("(source {source})");
    let line = texts.lines().find(|line| line.trim_start().starts_with(what) && line.ends_with(&mark));
    let line = line.unwrap_or_else(|| panic!("no {what} of {source} in {texts}"));
    line.split_whitespace().find(|word| word.contains("://")).expect("an address").to_owned()
}

fn arrived(server: &Server<'_>, calls: i64) {
    eventually("all calls are there", SOON, || (server.number("SELECT count(*) FROM calls") == calls).then_some(()));
}

#[test]
fn every_transport_encoding_and_compression_is_understood() {
    let place = Place::new();
    let server = place.serve();
    let mut run = 0;
    let mut next = || {
        run += 1;
        one(run)
    };
    // Each listener speaks both, so that a client with the other port in its settings is served as well.
    for base in [server.otlp.clone(), format!("{}/some/prefix", server.otlp), server.grpc.clone()] {
        for how in [None, Some("gzip"), Some("zstd"), Some("identity")] {
            for form in [JSON, PROTOBUF, "application/json; charset=utf-8", "Application/X-Protobuf"] {
                let is_json = form.contains("json");
                let request = next();
                let body = if is_json { request.to_string().into_bytes() } else { protobuf(&request).encode_to_vec() };
                let mut headers = vec![("content-type", form)];
                headers.extend(how.map(|how| ("content-encoding", how)));
                let reply = post(&format!("{base}/v1/traces"), &headers, packed(how, body));
                assert_eq!(reply.status, 200, "{form} {how:?}: {}", reply.text());
                assert_eq!(reply.header("content-type"), if is_json { JSON } else { PROTOBUF });
                assert_eq!(reply.text(), if is_json { "{}" } else { "" }, "success has no partial_success");
            }
        }
    }
    for address in [&server.grpc, &server.otlp] {
        for how in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
            let answer = call(address, None, how, protobuf(&next())).unwrap();
            assert_eq!(answer.partial_success, None);
            assert_eq!(call(address, None, how, ExportTraceServiceRequest::default()).unwrap(), answer, "empty");
        }
    }
    runtime().block_on(async {
        let channel = Endpoint::from_shared(server.grpc.clone()).unwrap().connect().await.unwrap();
        let metrics = MetricsServiceClient::new(channel.clone()).export(ExportMetricsServiceRequest::default()).await;
        assert_eq!(metrics.unwrap().into_inner().partial_success, None);
        let logs = LogsServiceClient::new(channel).export(ExportLogsServiceRequest::default()).await;
        assert_eq!(logs.unwrap().into_inner().partial_success, None);
    });
    arrived(&server, i64::from(run));
    server.stop();
}

#[test]
fn a_large_request_is_decoded_beside_small_ones() {
    let place = Place::new();
    let server = place.serve();
    let request = spans((0..2000).map(|n| span(1, n, now_us())).collect());
    let body = request.to_string();
    assert!(body.len() > 1 << 20);
    let url = format!("{}/v1/traces", server.otlp);
    assert_eq!(post(&url, &[("content-type", JSON), ("content-encoding", "gzip")], gzip(body.as_bytes())).status, 200);
    let request = spans((2000..4000).map(|n| span(1, n, now_us())).collect());
    assert!(call(&server.grpc, None, Some(CompressionEncoding::Zstd), protobuf(&request)).is_ok());
    arrived(&server, 4000);
    server.stop();
}

#[test]
fn json_may_be_written_in_all_the_ways_that_clients_do() {
    let place = Place::new();
    let server = place.serve();
    let now = now_us();
    let mut numbers = span(1, 0, now);
    numbers["startTimeUnixNano"] = json!(now * 1000);
    numbers["endTimeUnixNano"] = json!(now * 1000 + 1_000_000);
    numbers["attributes"][4]["value"] = json!({"intValue": 4242});
    let mut upper = span(10, 0, now);
    for id in ["traceId", "spanId"] {
        upper[id] = json!(format!("{}AbCdEf", upper[id].as_str().unwrap().split_at(6).1));
    }
    let mut named = span(3, 0, now);
    named["kind"] = json!("SPAN_KIND_CLIENT");
    named["status"] = json!({"code": "STATUS_CODE_ERROR", "message": "boom"});
    named["attributes"].as_array_mut().unwrap().push(json!({"key": "error.type", "value": {"stringValue": "timeout"}}));
    let mut unknown = span(4, 0, now);
    unknown["fromTheFuture"] = json!({"deep": [1, {"x": null}]});
    let mut request = spans(vec![numbers, upper, named, unknown]);
    request["alsoUnknown"] = json!([1, 2]);
    request["resourceSpans"][0]["schemaUrl"] = json!("https://opentelemetry.io/schemas/1.37.0");
    server.export(&request);
    arrived(&server, 4);
    let rows = server.sql("SELECT trace_id, span_id, input_tokens, outcome FROM calls");
    let of = |end: &str| {
        let row = rows.iter().find(|row| row["trace_id"].as_str().unwrap().ends_with(end));
        row.unwrap_or_else(|| panic!("{end} is not in {rows:?}"))
    };
    assert_eq!(of("10000000000000001")["input_tokens"], 4242);
    assert!(of("abcdef")["span_id"].as_str().unwrap().ends_with("abcdef"));
    assert_ne!(of("30000000000000001")["outcome"], "ok");
    assert_eq!(of("40000000000000001")["outcome"], "ok");
    server.stop();
}

#[test]
fn a_partial_success_tells_how_many_and_why() {
    let place = Place::new();
    let server = place.serve();
    let mut n = 0;
    let mut mixed = || {
        n += 10;
        let far = |n: u64| {
            let mut span = span(1, n, now_us());
            span["startTimeUnixNano"] = json!("16725225600000000000");
            span["endTimeUnixNano"] = json!("16725225600000000000");
            span
        };
        let mut absurd = span(1, n + 1, now_us());
        absurd["attributes"][4]["value"] = json!({"intValue": "9223372036854775807"});
        protobuf(&spans(vec![span(1, n, now_us()), absurd, far(n + 2), far(n + 3)]))
    };
    let over_grpc = call(&server.grpc, None, None, mixed()).unwrap();
    let url = format!("{}/v1/traces", server.otlp);
    let reply = post(&url, &[("content-type", PROTOBUF)], mixed().encode_to_vec());
    assert_eq!(reply.status, 200);
    let over_http = ExportTraceServiceResponse::decode(reply.body.as_slice()).unwrap();
    for answer in [over_grpc, over_http] {
        let partial = answer.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 3);
        assert!(partial.error_message.ends_with("bad_time (2), absurd_tokens (1)"), "{}", partial.error_message);
    }
    arrived(&server, 2);
    server.stop();
}

/// Answers of both forms: rejected spans and the message.
fn partial(reply: &Reply) -> (i64, String) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    if reply.header("content-type") == JSON {
        let partial = reply.json()["partialSuccess"].clone();
        let rejected = partial["rejectedSpans"].as_str().map_or(0, |number| number.parse().unwrap());
        return (rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned());
    }
    let answer = ExportTraceServiceResponse::decode(reply.body.as_slice()).unwrap();
    answer.partial_success.map(|partial| (partial.rejected_spans, partial.error_message)).unwrap_or_default()
}

#[test]
fn a_damaged_span_costs_no_span_beside_it_and_repairs_are_told() {
    let place = Place::new();
    let server = place.serve();
    let url = format!("{}/v1/traces", server.otlp);
    let marked = |n: u64| {
        let mut marked = span(1, n, now_us());
        marked["attributes"].as_array_mut().unwrap().push(json!({"key": "note", "value": {"stringValue": "MARK"}}));
        spans(vec![marked, span(1, n + 1, now_us())])
    };
    let told = |request: &Value, by: &[u8]| {
        let text = request.to_string();
        let (before, behind) = text.split_once("MARK").unwrap();
        let body = [before.as_bytes(), by, behind.as_bytes()].concat();
        partial(&post(&url, &[("content-type", JSON)], body))
    };
    assert_eq!(told(&marked(0), b"fine"), (0, String::new()));
    for (n, by, word) in [(10, &b"a\\ud800"[..], "lone_surrogate"), (20, b"\xff\xfe\xc3", "invalid_utf8")] {
        let (rejected, message) = told(&marked(n), by);
        assert_eq!((rejected, message), (0, format!("accepted after repair: {word} (1)")));
    }
    let mut mixed = marked(30);
    let list = mixed["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap();
    list.extend([json!(null), json!("x")]);
    list[1]["traceId"] = json!("not an id");
    let (rejected, message) = told(&mixed, b"fine");
    assert_eq!(rejected, 2, "{message}");
    assert!(message.contains("bad_otlp_json (2)") && message.contains("malformed_id (1)"), "{message}");

    let mut body = protobuf(&marked(40)).encode_to_vec();
    let at = body.windows(4).position(|window| window == b"MARK").unwrap();
    body[at] = 0xff;
    let (rejected, message) = partial(&post(&url, &[("content-type", PROTOBUF)], body.clone()));
    assert_eq!((rejected, message.as_str()), (0, "accepted after repair: invalid_utf8 (1)"));
    // A length that reaches beyond its attribute.
    body[at - 1] = 0x7f;
    let (rejected, message) = partial(&post(&url, &[("content-type", PROTOBUF)], body));
    assert_eq!(rejected, 1, "{message}");
    assert!(message.ends_with("bad_protobuf (1)"), "{message}");
    arrived(&server, 10);
    let set_aside = eventually("both are set aside", SOON, || {
        let rows = server.sql("SELECT reason, detail FROM quarantine ORDER BY reason");
        (rows.len() == 2).then_some(rows)
    });
    let reasons: Vec<_> = set_aside.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["bad_otlp_json", "bad_protobuf"], "{set_aside:?}");
    server.stop();
}

/// What is sent, its headers and body, and the status and code of `google.rpc.Status` that it is answered.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>, u16, i32);

#[test]
fn what_is_refused_is_called_what_the_specification_calls_it() {
    let place = Place::new();
    let server = place.serve();
    let url = |path: &str| format!("{}{path}", server.otlp);
    let traces = url("/v1/traces");
    let json = ("content-type", JSON);
    let cases: [Case<'_>; 7] = [
        ("JSON garbage", &[json], b"{[".to_vec(), 400, 3),
        ("protobuf garbage", &[("content-type", PROTOBUF)], b"\x01garbage".to_vec(), 400, 3),
        ("no gzip", &[json, ("content-encoding", "gzip")], b"plain".to_vec(), 400, 3),
        ("no zstd", &[("content-type", PROTOBUF), ("content-encoding", "zstd")], b"plain".to_vec(), 400, 3),
        ("unknown type", &[("content-type", "text/plain")], b"{}".to_vec(), 415, 12),
        ("gRPC without HTTP/2", &[("content-type", "application/grpc")], b"\0\0\0\0\0".to_vec(), 415, 12),
        ("unknown compression", &[json, ("content-encoding", "br")], b"{}".to_vec(), 415, 12),
    ];
    for (what, headers, body, status, code) in cases {
        let reply = post(&traces, headers, body);
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        let is_protobuf = headers.contains(&("content-type", PROTOBUF));
        assert_eq!(reply.header("content-type"), if is_protobuf { PROTOBUF } else { JSON }, "{what}");
        let found = if is_protobuf {
            let status = RpcStatus::decode(reply.body.as_slice()).unwrap();
            (i64::from(status.code), status.message)
        } else {
            let status = reply.json();
            (status["code"].as_i64().unwrap(), status["message"].as_str().unwrap().to_owned())
        };
        assert_eq!(found.0, i64::from(code), "{what}");
        assert!(!found.1.is_empty(), "{what}: a message says why");
        assert_eq!(reply.header("retry-after"), "", "{what} is never retried");
    }
    assert_eq!(post(&url("/v1/nothing"), &[json], "{}").status, 404);
    let get = server.ask(server.client().get(&traces)).unwrap();
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
    // Too large as it is, announced or not, and after decompression.
    let large = vec![b' '; (64 << 20) + 6];
    assert_eq!(post(&traces, &[json], large.clone()).status, 413);
    let reply = post(&traces, &[json, ("content-encoding", "gzip")], gzip(&large));
    assert_eq!((reply.status, reply.json()["code"].as_i64()), (413, Some(8)));
    assert_eq!(reply.header("connection"), "close", "the rest of the body is not read");

    let dense = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{}{{}}]}}]}}]}}", "{},".repeat(20 << 20));
    let reply = post(&traces, &[json, ("content-encoding", "gzip")], gzip(dense.as_bytes()));
    assert_eq!((reply.status, reply.json()["code"].as_i64()), (413, Some(8)), "what would become gigabytes");

    let refused = |packed, request| call(&server.grpc, None, packed, request).unwrap_err();
    let mut huge = ExportTraceServiceRequest::default();
    huge.resource_spans.resize_with(1, Default::default);
    huge.resource_spans[0].schema_url = "x".repeat((64 << 20) + 1);
    for packed in [None, Some(CompressionEncoding::Gzip)] {
        let status = refused(packed, huge.clone());
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.get_details_retry_info().is_none(), "never retried");
    }
    // What no generated client sends. A refusal has its status among the headers.
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let raw = |path: &str, body: &'static [u8], encoding: &str| {
        let request = http2.post(format!("{}{path}", server.grpc)).body(body);
        let request = request.header("content-type", "application/grpc").header("grpc-encoding", encoding);
        let reply = server.ask(request).unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/grpc"));
        (reply.header("grpc-status").parse::<i32>().unwrap(), reply.header("grpc-accept-encoding").to_owned())
    };
    let export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let accepted = "identity,gzip,zstd".to_owned();
    assert_eq!(raw(export, b"\0\0\0\0\0", "br"), (12, accepted));
    assert_eq!(raw("/opentelemetry.proto.collector.trace.v1.TraceService/Import", b"\0\0\0\0\0", "identity").0, 12);
    for wrong in [&b""[..], b"\0\0\0\0\x09cut", b"\0\0\0\0\x02\x01g", b"\x01\0\0\0\x02xx"] {
        assert_eq!(raw(export, wrong, "gzip").0, 3, "{wrong:?}");
    }
    server.export(&one(9));
    arrived(&server, 1);
    server.stop();
}

#[test]
fn a_token_is_needed_where_one_is_set_and_can_be_replaced() {
    let place = Place::new();
    let file = place.file("tokens", "the-first-token\n");
    let config = format!(
        "{QUICK}[[receiver]]\nname = 'closed'\ngrpc = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\ntoken_file = '{file}'\n\
         [[receiver]]\nname = 'variable'\nhttp = '127.0.0.1:0'\ntoken_env = 'TEST_RECEIVER_TOKEN'\n"
    );
    let server =
        place.launch(&config, &[], &[("TEST_RECEIVER_TOKEN", "token-of-the-environment")]).ready().ok().unwrap();
    let (http, grpc) = (listens(&place, "closed", "OTLP/HTTP"), listens(&place, "closed", "OTLP/gRPC"));
    let http = format!("{http}/v1/traces");
    let sent = |form: &str, token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", form)];
        headers.extend(bearer.as_ref().map(|bearer| ("authorization", bearer.as_str())));
        post(&http, &headers, if form == JSON { "{}" } else { "" })
    };
    let called = |token| call(&grpc, token, None, ExportTraceServiceRequest::default()).map_err(|status| status.code());
    let mut answers = Vec::new();
    for token in [None, Some("wrong"), Some("the-first-toke"), Some("")] {
        let reply = sent(JSON, token);
        assert_eq!((reply.status, reply.header("www-authenticate"), reply.header("retry-after")), (401, "Bearer", ""));
        assert_eq!(reply.json()["code"], 16);
        answers.push(reply.text());
        let reply = sent(PROTOBUF, token);
        assert_eq!(RpcStatus::decode(reply.body.as_slice()).unwrap().code, 16);
        assert_eq!(called(token), Err(Code::Unauthenticated));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answer does not tell what was wrong: {answers:?}");
    assert_eq!((sent(JSON, Some("the-first-token")).status, called(Some("the-first-token")).is_ok()), (200, true));
    let variable = format!("{}/v1/traces", listens(&place, "variable", "OTLP/HTTP"));
    let bearer = ("authorization", "bearer token-of-the-environment");
    assert_eq!(post(&variable, &[("content-type", JSON), bearer], "{}").status, 200);
    assert_eq!(post(&variable, &[("content-type", JSON)], "{}").status, 401);

    // Both for a while, then only the new one.
    place.file("tokens", "the-first-token\nthe-second-token\n");
    eventually("the new token is good", SOON, || (sent(JSON, Some("the-second-token")).status == 200).then_some(()));
    assert_eq!(sent(JSON, Some("the-first-token")).status, 200);
    place.file("tokens", "the-second-token\n");
    eventually("the old one is not", SOON, || (called(Some("the-first-token")).is_err()).then_some(()));
    place.file("tokens", "");
    eventually("an empty file is told", SOON, || {
        assert_eq!(sent(JSON, Some("the-second-token")).status, 200, "and changes nothing");
        server.stderr().contains("token file changed but can't be used").then_some(())
    });
    server.export(&one(1));
    assert!(server.get("/metrics").text().contains("answer=\"unauthenticated\""));
    server.stop();
    for path in place.logs() {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains("-token\n") && !text.contains("the-first") && !text.contains("the-second"), "{text}");
    }
}

#[test]
fn receivers_beside_each_other_have_their_own_names_and_attributes() {
    let place = Place::new();
    let config = format!(
        "{QUICK}[otlp]\nattributes = {{ environment = 'dev' }}\n\
         [[receiver]]\nname = 'eu-gateway'\ngrpc = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\n\
         attributes = {{ environment = 'prod', gateway = 'litellm', team = 'search' }}\n\
         [[receiver]]\nname = 'batch'\nhttp = '127.0.0.1:0'\nattributes = {{ environment = 'batch' }}\n"
    );
    let server = place.serve_with(&config, &[]);
    let form = [("content-type", JSON)];
    server.export(&one(1));
    let eu = format!("{}/v1/traces", listens(&place, "eu-gateway", "OTLP/HTTP"));
    assert_eq!(post(&eu, &form, one(2).to_string()).status, 200);
    assert!(call(&listens(&place, "eu-gateway", "OTLP/gRPC"), None, None, protobuf(&one(3))).is_ok());
    let batch = format!("{}/v1/traces", listens(&place, "batch", "OTLP/HTTP"));
    assert_eq!(post(&batch, &form, one(4).to_string()).status, 200);
    arrived(&server, 4);
    let rows = server.sql(
        "SELECT environment, gateway, team, array_to_string(witnesses, ',') AS witness, service FROM calls ORDER BY trace_id",
    );
    let row = |environment: &str, gateway: Value, team: Value, witness: &str| json!({"environment": environment, "gateway": gateway, "team": team, "witness": witness, "service": "shop"});
    let eu = row("prod", json!("litellm"), json!("search"), "eu-gateway");
    let expected =
        [row("dev", Value::Null, Value::Null, "otlp"), eu.clone(), eu, row("batch", Value::Null, Value::Null, "batch")];
    assert_eq!(rows, expected);
    let observed = server.sql("SELECT source, count(*) AS n FROM observations GROUP BY source ORDER BY source");
    let n = |source: &str, n: u64| json!({"source": source, "n": n});
    assert_eq!(observed, [n("batch", 1), n("eu-gateway", 2), n("otlp", 1)]);
    let sources = server.get("/api/v1/sources").text();
    for name in ["\"otlp\"", "\"eu-gateway\"", "\"batch\""] {
        assert!(sources.contains(name), "{sources}");
    }
    server.stop();
}

#[test]
fn an_open_receiver_for_other_machines_is_refused_unless_told() {
    let place = Place::new();
    let data = place.data();
    let serve = |more: &[&str]| {
        let mut args = vec!["serve", "--data", &data, "--http", "127.0.0.1:0"];
        args.extend(more);
        place.run(&args)
    };
    let done = serve(&["--otlp-grpc", "0.0.0.0:0", "--otlp-http", "127.0.0.1:0"]);
    one_clear_line(&done, &["otlp.grpc", "0.0.0.0:0", "token_file", "--allow-unauthenticated"]);
    let config = place.file("open.toml", "[[receiver]]\nname = 'out'\nhttp = '[::]:0'\n");
    let done = serve(&["--config", &config, "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"]);
    one_clear_line(&done, &["open.toml", "receiver[0].http", "allow_unauthenticated"]);
    let config = "[[receiver]]\nname = 'out'\nhttp = '127.0.0.1:0'\ntoken_file = 'no-such-file'\n\
                  tls = { cert = 'no-cert.pem', key = 'no-key.pem' }\n";
    let config = place.file("missing.toml", config);
    let done = serve(&["--config", &config, "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"]);
    assert!(!done.status.success());
    for part in ["'out'", "no-such-file", "no-cert.pem"] {
        assert!(done.stderr.contains(part), "{part} is not in {}", done.stderr);
    }
    assert!(!place.path("data").exists(), "nothing is made before the receivers are right");

    let checked = place.run(&["check-config", &place.file("off.toml", "[otlp]\ngrpc = false\nhttp = ''\n")]);
    assert!(checked.stdout.contains("0 OTLP receiver"), "{}", checked.stdout);
    let open = "[[receiver]]\nname = 'out'\nhttp = '0.0.0.0:0'\n";
    let server = place.serve_with(&format!("{QUICK}{open}"), &["--allow-unauthenticated"]);
    let out = listens(&place, "out", "OTLP/HTTP").replace("0.0.0.0", "127.0.0.1");
    assert_eq!(post(&format!("{out}/v1/traces"), &[("content-type", JSON)], "{}").status, 200);
    server.stop();
}

/// What comes in one piece and what comes in many, over one connection that is kept.
#[test]
fn bodies_of_all_sizes_come_over_one_connection() {
    let place = Place::new();
    let server = place.serve_with(QUICK, &[]);
    let mut sent = 0;
    for (run, count) in [(1, 1), (2, 200), (3, 3000), (4, 1), (5, 9000), (6, 2)] {
        let many = spans((0..count).map(|n| span(run, n, now_us())).collect());
        for body in [protobuf(&many).encode_to_vec(), many.to_string().into_bytes()] {
            let kind = if body.starts_with(b"{") { JSON } else { PROTOBUF };
            let size = body.len();
            let reply = server.post("/v1/traces", &[("content-type", kind)], body);
            assert_eq!(reply.map(|reply| reply.status), Some(200), "{size} bytes of {kind}");
        }
        sent += i64::try_from(count).unwrap();
    }
    eventually("all of them are there, each once", SOON, || {
        (server.number("SELECT count(*) FROM calls") == sent).then_some(())
    });
    server.stop();
}
