//! A gRPC workload behind a proxy: no refusal may reach its client as INTERNAL or UNKNOWN.
//!
//! Behind Envoy the client and the application are real ones; the other examples speak HTTP/1.1 to the application.

use axum::Router;
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};
use rescind::token::list_config::Enforcement;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

use crate::doubt::{freeze, samples, whole_table, with_room_for_one};
use crate::expected::{Expected, Knowledge, Route, expect};
use crate::fronts::{Fronts, Proxy};
use crate::presented::{self, Presented};
use crate::support::PATIENCE;
use crate::support::held::while_held;
use crate::support::http1::{Ask, Reply};
use crate::support::lab::Lab;
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::wait::wait_for;

/// What a gRPC client makes of an answer: its grpc-status, or the one of the HTTP status.
fn code(reply: &Reply) -> String {
    let said = reply.all("grpc-status").first().map(ToString::to_string);
    said.unwrap_or_else(|| match reply.status {
        401 => "16".to_owned(),
        503 => "14".to_owned(),
        other => format!("HTTP {other}"),
    })
}

/// The same, of what must follow.
fn expected_code(expected: Expected) -> String {
    match expected {
        Expected::Passes { .. } | Expected::Unasked => "HTTP 200".to_owned(),
        Expected::NoToken | Expected::Ambiguous | Expected::Invalid => "16".to_owned(),
        Expected::Unavailable => "14".to_owned(),
        Expected::ByProxy(status) => format!("HTTP {status}"),
    }
}

/// The column for gRPC workloads, through every proxy, by HTTP/1.1.
#[tokio::test]
async fn refusals_are_unauthenticated_or_unavailable_to_a_grpc_client() {
    let fronts = Fronts::start(Lab::start().await).await;
    let table = whole_table(&fronts.lab).await;
    let mut wrong = Vec::new();
    for (proxy, route) in Proxy::ALL.iter().flat_map(|proxy| Route::ALL.map(|route| (*proxy, route))) {
        for presented in &table {
            let ask = presented.ask(route.path()).line("content-type", "application/grpc");
            let ask = Ask { method: http::Method::POST, ..ask.line("te", "trailers") };
            let seen = code(&fronts.ask(proxy, &ask).await);
            let expected = expect(Knowledge::Fresh, Enforcement::Enforce, route, presented, proxy);
            if seen != expected_code(expected) {
                wrong.push(format!("{proxy:?} {route:?} {}: {seen} instead of {expected:?}", presented.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} deviations:\n{}", wrong.len(), wrong.join("\n"));
}

/// The example for Envoy before an application that speaks gRPC.
struct Front {
    lab: Lab,
    _envoy: Program,
    _application: JoinSet<()>,
}

impl Front {
    /// Starts both before a lab; what runs in the lab stays as it is.
    async fn start(lab: Lab) -> Self {
        let application = serve_health(&lab).await;
        let example = include_str!("../../examples/envoy/envoy.yaml");
        // What `examples/README.md` says that such an application needs.
        let [name, options] = ["\n    - name: application\n", "      typed_extension_protocol_options:\n"];
        let (before, after) = example.split_once(name).unwrap();
        let options = format!("{options}{}", of_cluster(example, options));
        std::fs::write(lab.path("envoy.yaml"), format!("{before}{name}{options}{after}")).unwrap();
        let arguments = ["-c", "envoy.yaml", "--disable-hot-restart"];
        let mut envoy = Program::start("envoy", &tool("envoy"), arguments, &lab.path(""));
        wait_for("Envoy listens", PATIENCE, async || {
            assert!(!envoy.has_ended(), "{}", envoy.log());
            UnixStream::connect(lab.path("envoy.sock")).await.map_err(|_| envoy.log())
        })
        .await;
        Self { lab, _envoy: envoy, _application: application }
    }

    /// Calls the application on a route, with what is presented.
    async fn call(&self, route: Route, presented: &Presented) -> Result<HealthCheckResponse, Status> {
        let mut headers = HeaderMap::new();
        for (name, value) in presented.ask("/").lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        let body = HealthCheckRequest { service: String::new() };
        let request = Request::from_parts(MetadataMap::from_headers(headers), Default::default(), body);
        let mut client = tonic::client::Grpc::new(self.lab.channel("envoy.sock"));
        client.ready().await.unwrap();
        let path = format!("{}/grpc.health.v1.Health/Check", below(route));
        let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
        client.unary(request, path.parse().unwrap(), codec).await.map(tonic::Response::into_inner)
    }

    /// Calls on every route with every row.
    async fn call_all(
        &self,
        table: &[Presented],
    ) -> Vec<(Route, Presented, Result<HealthCheckResponse, Status>)> {
        let mut answers = Vec::new();
        for route in Route::ALL.into_iter().filter(|route| *route != Route::Unasked) {
            for presented in table {
                answers.push((route, presented.clone(), self.call(route, presented).await));
            }
        }
        answers
    }

    /// Calls with everything, and fails with everything that is wrong.
    async fn check(&self, knowledge: Knowledge, table: &[Presented]) {
        judge(knowledge, &self.call_all(table).await);
    }

    /// Waits until a good token is answered so; none is that it passes.
    async fn until(&self, good: &Presented, code: Option<Code>) {
        wait_for(&format!("the client sees {code:?}"), PATIENCE, async || {
            let answer = self.call(Route::Required, good).await;
            if answer.as_ref().err().map(Status::code) == code { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
}

/// Returns the lines that follow one in the first cluster, as far as they belong to it.
fn of_cluster(example: &str, line: &str) -> String {
    let (_, after) = example.split_once(line).unwrap();
    after.split_inclusive('\n').take_while(|line| line.starts_with("        ")).collect()
}

/// Where the application's services are on a route.
fn below(route: Route) -> &'static str {
    let path = route.path();
    if route == Route::Required { "" } else { path.rsplit_once('/').unwrap().0 }
}

/// Starts an application with the standard health service, below every route.
async fn serve_health(lab: &Lab) -> JoinSet<()> {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let services = Routes::new(service).into_axum_router();
    let nested = Route::ALL.into_iter().map(below).filter(|path| !path.is_empty());
    let router = nested.fold(Router::new(), |router, path| router.nest(path, services.clone()));
    let listener = UnixListener::bind(lab.path("upstream.sock")).unwrap();
    let mut server = JoinSet::new();
    let routes = Routes::from(router.merge(services));
    // A token that is too large for the sidecar is not for the application, or report mode would not show.
    let application = Server::builder().http2_max_header_list_size(64 * 1024).add_routes(routes);
    let serving = application.serve_with_incoming(UnixListenerStream::new(listener));
    server.spawn(async move { serving.await.unwrap() });
    server
}

/// What a client is told: the code, the message, and what the proxy adds to it.
type Told = (Code, String, [Option<String>; 3]);

fn told(status: &Status) -> Told {
    let lines = status.metadata().clone().into_headers();
    let line = |name| lines.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let lines = [WWW_AUTHENTICATE, CACHE_CONTROL, RETRY_AFTER].map(line);
    (status.code(), status.message().to_owned(), lines)
}

/// States what a client must be told; none is that the application answers.
fn expected_told(expected: Expected) -> Option<Told> {
    let (code, retry_after) = match expected {
        Expected::Passes { .. } => return None,
        Expected::NoToken | Expected::Ambiguous | Expected::Invalid => (Code::Unauthenticated, None),
        Expected::Unavailable => (Code::Unavailable, Some("1")),
        Expected::Unasked | Expected::ByProxy(_) => {
            panic!("{expected:?} is not of a route that is asked about")
        }
    };
    let lines = [expected.challenge(), Some("no-store"), retry_after];
    Some((code, String::new(), lines.map(|line| line.map(str::to_owned))))
}

fn judge(knowledge: Knowledge, answers: &[(Route, Presented, Result<HealthCheckResponse, Status>)]) {
    let mut wrong = Vec::new();
    for (route, presented, answer) in answers {
        let expected = expect(knowledge, Enforcement::Enforce, *route, presented, Proxy::Envoy);
        let is_so = match (answer, expected_told(expected)) {
            (Ok(answer), None) => answer.status() == ServingStatus::Serving,
            (Err(status), Some(expected)) => told(status) == expected,
            (Ok(_), Some(_)) | (Err(_), None) => false,
        };
        if !is_so {
            let name = &presented.name;
            wrong.push(format!("{route:?} {name}: {answer:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} deviations, {knowledge:?}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Invariant 19: also where a client library acts on the code alone, and gets another token, comes again, or gives up.
#[tokio::test]
async fn a_grpc_client_behind_envoy_is_told_the_code_of_every_row() {
    let mut front = Front::start(Lab::start().await).await;
    let table = whole_table(&front.lab).await;
    front.until(&table[0], None).await;
    front.check(Knowledge::Fresh, &table).await;
    freeze(&mut front.lab);
    front.until(&table[0], Some(Code::Unavailable)).await;
    front.check(Knowledge::Stale, &table).await;
    front.lab.sidecar().child.kill().await.unwrap();
    for route in [Route::Required, Route::Optional, Route::Report] {
        let status = front.call(route, &table[0]).await.unwrap_err();
        assert_eq!(Some(told(&status)), expected_told(Expected::Unavailable), "{route:?} without a sidecar");
    }
}

#[tokio::test]
async fn a_grpc_client_behind_envoy_and_a_sidecar_that_was_never_fresh_is_told_unavailable() {
    let mut lab = Lab::new();
    lab.start_sidecar(&[]).await;
    let front = Front::start(lab).await;
    front.check(Knowledge::None, &presented::all(&front.lab.keys)).await;
}

#[tokio::test]
async fn a_grpc_client_behind_envoy_and_a_sidecar_that_is_overloaded_is_told_unavailable() {
    let front = Front::start(with_room_for_one().await).await;
    let table = samples(&front.lab).await;
    front.until(&table[0], None).await;
    let (answers, _) = while_held(&front.lab, 1, async || front.call_all(&table).await).await;
    judge(Knowledge::Overloaded, &answers);
}
