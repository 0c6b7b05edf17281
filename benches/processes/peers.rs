//! What ours is compared with, as processes of their own.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use rescind::api::document::ListDocument;
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
use rescind::store::{Entry, NewRevocation, Store};
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

/// Serves ext_authz that decides nothing, as the sidecar serves its own: one thread with a runtime.
pub(crate) fn no_op(socket: &Path) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = listen::bind(&Address::Unix(socket.to_owned()), 0o600)?;
        say_listening();
        let routes = Routes::new(AuthorizationServer::new(NoOp));
        grpc_serve::serve(listener, Transport::Plain(None), routes, CancellationToken::new()).await
    })
}

struct NoOp;

#[tonic::async_trait]
impl Authorization for NoOp {
    async fn check(&self, _request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            dynamic_metadata: None,
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        }))
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
            .map(|number| store.append(Entry::Revoke(Box::new(revocation(number)))))
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
