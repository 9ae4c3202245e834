//! TLS of the receiver over both transports, with an authority of the test's own.

use std::io::Write;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;

use crate::harness::{Place, QUICK, Reply, ask, eventually, runtime};
use crate::receiver::{listens, protobuf};
use crate::records::{now_us, span, spans};

const SOON: Duration = Duration::from_secs(10);

/// An authority that signs certificates for the loopback.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key in PEM.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    /// A post over HTTPS by a client that trusts only this authority.
    fn post(&self, address: &str) -> Option<Reply> {
        let trusted = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(trusted);
        let url = format!("{address}/v1/traces");
        ask(client.build().unwrap().post(url).header("content-type", "application/json").body("{}"))
    }

    fn connector(&self, alpn: &[u8]) -> Connector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let mut config =
            config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Connector(TlsConnector::from(Arc::new(config)))
    }
}

/// Connects a tonic client over TLS.
#[derive(Clone)]
struct Connector(TlsConnector);

impl Connector {
    async fn connect(self, address: String) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        self.0.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<tokio::net::TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri.authority().expect("an address").to_string());
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}

fn plain(address: &str) -> String {
    address.replace("https://", "")
}

#[test]
fn tls_works_over_both_transports_and_a_new_certificate_is_used_without_a_restart() {
    // The client library takes whichever provider the process has.
    let _ = aws_lc_rs::default_provider().install_default();
    let place = Place::new();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let (cert, key) = first.sign();
    let (cert_file, key_file) = (place.file("tls/cert.pem", cert), place.file("tls/key.pem", key));
    let config = format!(
        "{QUICK}[[receiver]]\nname = 'safe'\ngrpc = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\n\
         tls = {{ cert = '{cert_file}', key = '{key_file}' }}\n"
    );
    let server = place.serve_with(&config, &[]);
    let (http, grpc) = (listens(&place, "safe", "OTLP/HTTP"), listens(&place, "safe", "OTLP/gRPC"));
    assert!(http.starts_with("https://") && grpc.starts_with("https://"), "{http} {grpc}");

    // Handshakes that never end, or are none, hold up nobody.
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(plain(&http)).unwrap()).collect();
    let mut noisy = TcpStream::connect(plain(&http)).unwrap();
    noisy.write_all(b"POST /v1/traces HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(first.post(&http).unwrap().status, 200);
    assert!(second.post(&http).is_none(), "a client that does not trust the certificate is not served");
    assert!(ask(reqwest::Client::new().post(http.replace("https", "http"))).is_none(), "nor is one without TLS");
    runtime().block_on(async {
        for alpn in ["h2", "http/1.1"] {
            let stream = first.connector(alpn.as_bytes()).connect(plain(&http)).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
        }
        let endpoint = Endpoint::from_shared(grpc.replace("https", "http")).unwrap();
        let channel = endpoint.connect_with_connector(first.connector(b"h2")).await.unwrap();
        let mut client = TraceServiceClient::new(channel);
        assert!(client.export(ExportTraceServiceRequest::default()).await.is_ok());
        assert!(client.export(protobuf(&spans(vec![span(1, 0, now_us())]))).await.is_ok());
    });
    eventually("the call is there", SOON, || (server.number("SELECT count(*) FROM calls") == 1).then_some(()));

    // A certificate that does not fit its key changes nothing; once the key is there too, both are used.
    let (cert, key) = second.sign();
    place.file("tls/cert.pem", cert);
    eventually("the misfit is told", SOON, || {
        assert_eq!(first.post(&http).unwrap().status, 200);
        server.stderr().contains("the TLS certificate changed but can't be used").then_some(())
    });
    place.file("tls/key.pem", key);
    eventually("the new one is used", SOON, || {
        second.post(&http).is_some_and(|reply| reply.status == 200).then_some(())
    });
    assert!(first.post(&http).is_none());
    drop((silent, noisy));
    server.stop();
}
