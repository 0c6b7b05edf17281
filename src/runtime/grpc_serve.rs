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
    /// By TLS, with the protocols that the configuration offers: HTTP/1.1 only if it is among them.
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
            let http1 = config.alpn_protocols.iter().any(|name| name == tls::ALPN_HTTP1);
            let incoming = tls::incoming(incoming, config);
            server = server.accept_http1(http1);
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
mod tests;
