//! Serves gRPC on a listener, within limits, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server;
use tonic_reflection::pb::{v1, v1alpha};

use super::host_guard::{self, HostGuard};
use super::listen::Listener;
use super::tls;

const KEEPALIVE: Duration = Duration::from_secs(10);
const MAX_STREAMS_PER_CONNECTION: u32 = 256;
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// How connections are protected.
#[derive(Clone)]
pub enum Transport {
    /// In the clear: for this machine only. The guard refuses what a browser could have sent.
    Plain(Option<HostGuard>),
    /// By TLS.
    Tls(Arc<ServerConfig>),
}

/// Serves until `shutdown`, then lets calls in flight end for at most `drain`: a stream may have no end, and who reads
/// it may not care that the process is about to. Beyond `connections` at one time, others wait in the queue of the
/// kernel.
///
/// # Errors
/// The transport's.
pub async fn serve(
    listener: Listener,
    transport: Transport,
    routes: Routes,
    connections: usize,
    shutdown: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    let too_late = {
        let shutdown = shutdown.clone();
        async move {
            shutdown.cancelled().await;
            tokio::time::sleep(drain).await;
        }
    };
    tokio::select! {
        served = serve_until(listener, transport, routes, connections, shutdown) => served,
        () = too_late => {
            tracing::warn!("connections were cut off: their calls did not end in time");
            Ok(())
        }
    }
}

async fn serve_until(
    listener: Listener,
    transport: Transport,
    routes: Routes,
    connections: usize,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let incoming = listener.bounded(connections);
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES);
    let stop = shutdown.cancelled_owned();
    match transport {
        Transport::Plain(guard) => {
            let routes = guard.map_or(routes.clone(), |guard| guarded(routes, guard));
            server.add_routes(routes).serve_with_incoming_shutdown(incoming, stop).await?;
        }
        Transport::Tls(config) => {
            let incoming = tls::incoming(incoming, config);
            server.add_routes(routes).serve_with_incoming_shutdown(incoming, stop).await?;
        }
    }
    Ok(())
}

fn guarded(routes: Routes, guard: HostGuard) -> Routes {
    let guard = Arc::new(guard);
    Routes::from(routes.into_axum_router().layer(from_fn_with_state(guard, host_guard::enforce)))
}

/// Adds health and reflection, so that any gRPC client finds its way. The descriptors may hold more services than are
/// served here: clients are told of the named ones only.
#[must_use]
pub fn described(routes: Routes, descriptors: &[u8], services: &[&str]) -> Routes {
    let (_, health) = tonic_health::server::health_reporter();
    let routes = routes.add_service(health);
    let builder = |version: &str| {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(health_server::SERVICE_NAME)
            .with_service_name(version);
        services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
    };
    // Many clients know only the older version.
    let old = builder(v1alpha::server_reflection_server::SERVICE_NAME).build_v1alpha();
    match (builder(v1::server_reflection_server::SERVICE_NAME).build_v1(), old) {
        (Ok(new), Ok(old)) => routes.add_service(new).add_service(old),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "no reflection");
            routes
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::super::dial;
    use super::super::listen::{Address, bind};
    use super::*;

    /// What an HTTP/2 client says first: the preface, and settings of which there are none.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// The server answers it at once.
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0rescind!";
    const DRAIN: Duration = Duration::from_secs(5);

    async fn say(stream: &mut TcpStream, bytes: &[u8]) {
        stream.write_all(bytes).await.unwrap();
    }

    async fn heard(stream: &mut TcpStream) -> usize {
        stream.read(&mut [0; 512]).await.unwrap()
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_a_place() {
        let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        let routes = Routes::new(tonic_health::server::health_reporter().1);
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Transport::Plain(None), routes, 1, CancellationToken::new(), DRAIN));
        let mut first = TcpStream::connect(address).await.unwrap();
        say(&mut first, HELLO).await;
        assert!(heard(&mut first).await > 0);
        let mut second = TcpStream::connect(address).await.unwrap();
        say(&mut second, HELLO).await;
        for _ in 0..20 {
            say(&mut first, PING).await;
            tokio::select! {
                biased;
                _ = heard(&mut second) => panic!("there is one place only"),
                length = heard(&mut first) => assert!(length > 0),
            }
        }
        drop(first);
        assert!(heard(&mut second).await > 0);
    }

    #[tokio::test]
    async fn a_stream_without_an_end_is_cut_off_when_the_time_to_drain_is_over() {
        let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let uri = format!("http://{}", listener.address());
        let routes = Routes::new(tonic_health::server::health_reporter().1);
        let (mut server, shutdown) = (JoinSet::new(), CancellationToken::new());
        server.spawn(serve(listener, Transport::Plain(None), routes, 1, shutdown.clone(), DRAIN));
        let mut health = HealthClient::new(dial::channel(&uri, None, |endpoint| endpoint).unwrap());
        let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert!(watched.message().await.unwrap().is_some());
        tokio::time::pause();
        let asked = tokio::time::Instant::now();
        shutdown.cancel();
        let ended = tokio::time::timeout(DRAIN * 2, server.join_next()).await;
        ended.expect("in time").unwrap().unwrap().unwrap();
        assert!(asked.elapsed() >= DRAIN && asked.elapsed() < DRAIN * 2, "{:?}", asked.elapsed());
    }
}
