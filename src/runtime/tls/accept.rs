//! Turns connections into TLS connections, many at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::super::listen::Peer;

/// Handshakes at one time; when all are taken, connections wait in the queue of the kernel.
const MAX_HANDSHAKES: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts connections and yields those whose handshake succeeds. It never ends, and never yields an error:
/// a failed handshake is logged, and a slow one delays no other.
pub fn incoming<S>(
    listener: impl futures::Stream<Item = io::Result<S>> + Send + Unpin,
    config: Arc<ServerConfig>,
) -> impl futures::Stream<Item = io::Result<TlsStream<S>>> + Send + Unpin
where
    S: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Send + Unpin,
{
    let acceptor = TlsAcceptor::from(config);
    listener
        .map(move |stream| handshake(acceptor.clone(), stream))
        .buffer_unordered(MAX_HANDSHAKES)
        .filter_map(std::future::ready)
}

/// Makes a TLS connection of a connection; none, and a line in the log, if that fails or takes too long.
pub(in crate::runtime) async fn handshake<S>(
    acceptor: TlsAcceptor,
    stream: io::Result<S>,
) -> Option<io::Result<TlsStream<S>>>
where
    S: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin,
{
    let stream = stream.ok()?;
    let peer = stream.connect_info();
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
