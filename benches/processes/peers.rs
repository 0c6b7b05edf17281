//! What ours is compared with, as processes of their own.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use prost_types::value::Kind;
use rescind::api::document::ListDocument;
use rescind::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use rescind::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use rescind::proto::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use rescind::proto::envoy::service::auth::v3::check_response::HttpResponse;
use rescind::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use rescind::proto::google::rpc;
use rescind::revocation::record::{CompareWith, RevocationSpec};
use rescind::revocation::selector::{Selection, Target};
use rescind::runtime::clock::SystemClock;
use rescind::runtime::grpc_serve::{self, Transport};
use rescind::runtime::listen::{self, Address};
use rescind::runtime::random::SystemRandomness;
use rescind::store::embedded::{DEFAULT_LIMIT, EmbeddedStore, Environment};
use rescind::store::{NewRevocation, NewStep, Store};
use serde_json::json;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::sample::{self, ISSUER, LIST};

/// Sends back what it gets.
pub(crate) const ECHO: &str = "serve-echo";
/// Lets every request pass.
pub(crate) const NO_OP: &str = "serve-no-op";
/// Lets every request pass, with as much in its answer as ours has.
pub(crate) const TALKATIVE: &str = "serve-talkative";
/// Writes a store, and ends.
pub(crate) const FILL: &str = "fill-store";

const FILLED_AT_ONCE: usize = 512;

/// The parent waits for this line.
fn say_listening() {
    eprintln!("{}", json!({"message": "listening"}));
}

/// Serves one connection with blocking calls.
pub(crate) fn echo(socket: &Path) -> anyhow::Result<()> {
    let listener = UnixListener::bind(socket)?;
    say_listening();
    let (mut stream, _) = listener.accept()?;
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// As many as the sidecar takes.
const MAX_CONNECTIONS: usize = 4096;

/// Serves ext_authz that decides nothing, as the sidecar serves its own: one thread with a runtime.
pub(crate) fn no_op(socket: &Path, answer: CheckResponse) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = listen::bind(&Address::Unix(socket.to_owned()), 0o600)?;
        say_listening();
        let routes = Routes::new(AuthorizationServer::new(NoOp(answer)));
        let (transport, never) = (Transport::Plain(None), CancellationToken::new());
        grpc_serve::serve(listener, transport, routes, MAX_CONNECTIONS, never, Duration::ZERO).await
    })
}

struct NoOp(CheckResponse);

#[tonic::async_trait]
impl Authorization for NoOp {
    async fn check(&self, _request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

/// The answer that says nothing but yes.
pub(crate) fn plain() -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status::default()),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
    }
}

/// The answer that sets the headers and the metadata that ours sets.
pub(crate) fn talkative() -> CheckResponse {
    let header = |(key, value): (&str, &str)| HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        keep_empty_value: true,
        ..HeaderValueOption::default()
    };
    let headers = [
        ("x-rescind-verdict", "active"),
        ("x-rescind-reason", ""),
        ("x-rescind-age", "120"),
        ("x-rescind-version", "1/100000"),
    ];
    let text = |text: &str| Kind::StringValue(text.to_owned());
    let fields = [
        ("verdict", text("active")),
        ("reason", text("")),
        ("shadow", Kind::BoolValue(false)),
        ("best_effort", Kind::BoolValue(false)),
    ];
    let field = |(name, kind): (&str, Kind)| (name.to_owned(), prost_types::Value { kind: Some(kind) });
    let ok = OkHttpResponse { headers: headers.map(header).into(), ..OkHttpResponse::default() };
    CheckResponse {
        dynamic_metadata: Some(prost_types::Struct { fields: fields.into_iter().map(field).collect() }),
        http_response: Some(HttpResponse::OkResponse(ok)),
        ..plain()
    }
}

/// Fills a store with revocations of single tokens.
pub(crate) fn fill(folder: &Path, count: u64) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let environment = Environment {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandomness::new()),
            limit: DEFAULT_LIMIT,
        };
        let store = EmbeddedStore::open(folder, environment)?;
        // The controller replaces the declaration by its own.
        let issuer = sample::issuer();
        let document: ListDocument = sample::declare(&json!({"keys": [sample::jwk(&issuer)]}));
        store.put_list(document).await?;
        futures::stream::iter(0..count)
            .map(|number| store.append(NewStep::Revoke(Box::new(revocation(number)))))
            .buffer_unordered(FILLED_AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(())
    })
}

fn revocation(number: u64) -> NewRevocation {
    let selection = Selection::Token(format!("00000000-0000-4000-8000-{number:012x}"));
    NewRevocation {
        list: LIST.parse().unwrap(),
        name: None,
        spec: RevocationSpec {
            target: Target { issuer: ISSUER.to_owned(), selection },
            cutoff: None,
            compare_with: CompareWith::default(),
            expires_at: None,
        },
        reason: None,
        message: None,
    }
}
