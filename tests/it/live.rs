//! A call that an application reports can be asked for at once.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use polymeter::model::Flaws;
use polymeter::sources::otlp::decode_traces;
use prost::Message;
use serde_json::Value;
use tonic::codec::CompressionEncoding;

use crate::harness::{Place, Server, eventually, runtime};
use crate::records::{gzip, now_us, span, spans, trace_id};

const SOON: Duration = Duration::from_secs(2);

fn arrives(server: &Server<'_>, run: u32) {
    let statement = format!(
        "SELECT input_tokens, output_tokens, model, platform, service FROM calls WHERE trace_id = '{}'",
        trace_id(run, 0)
    );
    let row = eventually("the call is in SQL", SOON, || server.sql(&statement).pop());
    let expected =
        [("input_tokens", "100"), ("output_tokens", "10"), ("model", "\"gpt-4o\""), ("platform", "\"openai\"")];
    for (name, value) in expected {
        assert_eq!(row[name].to_string(), value, "{row}");
    }
    assert_eq!(row["service"], "shop");
}

fn request(run: u32) -> Value {
    spans(vec![span(run, 0, now_us())])
}

fn protobuf(run: u32) -> ExportTraceServiceRequest {
    decode_traces(request(run).to_string().as_bytes(), &mut Flaws::default()).unwrap()
}

#[test]
fn a_call_over_http_is_in_sql_within_two_seconds() {
    let place = Place::new();
    let server = place.serve_with("", &[]);
    server.export(&request(1));
    arrives(&server, 1);
    let post = |headers: &[(&str, &str)], body: Vec<u8>| server.post("/v1/traces", headers, body).unwrap().status;
    assert_eq!(post(&[("content-type", "application/x-protobuf")], protobuf(2).encode_to_vec()), 200);
    arrives(&server, 2);
    let packed = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    assert_eq!(post(&packed, gzip(&protobuf(3).encode_to_vec())), 200);
    arrives(&server, 3);
    server.stop();
}

#[test]
fn a_call_over_grpc_is_in_sql_within_two_seconds() {
    let place = Place::new();
    let server = place.serve_with("", &[]);
    for (run, packed) in [(4, false), (5, true)] {
        let answer = runtime().block_on(async {
            let client = TraceServiceClient::connect(server.grpc.clone()).await.unwrap();
            let mut client = if packed { client.send_compressed(CompressionEncoding::Gzip) } else { client };
            client.export(protobuf(run)).await.unwrap().into_inner()
        });
        assert_eq!(answer.partial_success, None);
        arrives(&server, run);
    }
    server.stop();
}
