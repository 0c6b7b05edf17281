//! Traces reach a collector, with a span from a check to its verdict, and without the token.

use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use rescind::runtime::child::Child;
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::support::PATIENCE;
use crate::support::lab::Lab;

/// A collector that hands on what it receives.
struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        drop(self.0.send(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn a_check_is_a_span_with_its_verdict() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    let server = Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tasks.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let script = "OTEL_EXPORTER_OTLP_ENDPOINT=\"$1\" OTEL_BSP_SCHEDULE_DELAY=100; export OTEL_EXPORTER_OTLP_ENDPOINT \
                  OTEL_BSP_SCHEDULE_DELAY; shift; exec \"$0\" \"$@\"";
    let program = env!("CARGO_BIN_EXE_rescind-sidecar").to_owned();
    let mut arguments = vec!["-c".to_owned(), script.to_owned(), program, endpoint];
    arguments.extend(lab.sidecar_arguments());
    let mut sidecar = Child::start("sidecar", Path::new("/bin/sh"), arguments).unwrap();
    sidecar.listening(PATIENCE).await.unwrap();
    lab.until_fresh().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    lab.check(&token).await.unwrap();
    // An orderly end flushes what is left.
    sidecar.signal(Signal::TERM).unwrap();
    assert!(sidecar.ended(PATIENCE).await.unwrap().success(), "{}", sidecar.log());
    let mut spans: Vec<Span> = Vec::new();
    let mut raw = String::new();
    while let Ok(request) = received.try_recv() {
        raw.push_str(&format!("{request:?}"));
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    let verdict = |span: &Span| {
        let attribute = span.attributes.iter().find(|attribute| attribute.key == "verdict");
        span.name == "check" && attribute.is_some_and(|a| format!("{:?}", a.value).contains("\"active\""))
    };
    assert!(spans.iter().any(verdict), "{spans:?}");
    for secret in [token.as_str(), "alice"] {
        assert!(!raw.contains(secret), "{secret} is in a trace");
    }
}
