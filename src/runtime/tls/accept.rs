//! Turns connections into TLS connections, many at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::super::listen::{Listener, Stream};

/// Handshakes at one time; when all are taken, connections wait in the queue of the kernel.
const MAX_HANDSHAKES: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts connections and yields those whose handshake succeeds. It never ends, and never yields an error:
/// a failed handshake is logged, and a slow one delays no other.
pub fn incoming(
    listener: Listener,
    config: Arc<ServerConfig>,
) -> impl futures::Stream<Item = io::Result<TlsStream<Stream>>> + Send + Unpin {
    let acceptor = TlsAcceptor::from(config);
    listener
        .map(move |stream| handshake(acceptor.clone(), stream))
        .buffer_unordered(MAX_HANDSHAKES)
        .filter_map(std::future::ready)
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: io::Result<Stream>,
) -> Option<io::Result<TlsStream<Stream>>> {
    let stream = stream.ok()?;
    let peer = stream.peer();
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Ok(stream)),
        Ok(Err(error)) => {
            tracing::info!(%error, %peer, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::info!(%peer, "a TLS handshake took too long");
            None
        }
    }
}
