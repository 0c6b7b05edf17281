//! Serves HTTP on a listener, within bounds, until it is asked to stop: HTTP/1.1 in the clear, and by TLS HTTP/2, too.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Version;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::listen::places::{Place, Places};
use super::listen::{Listener, Peer, Stream};
use super::tls::{self, ALPN_HTTP2};

/// A peer that does not answer for so long has gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
const MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// What one server grants to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for the head of a request. A connection that is idle for as long is closed too.
    pub header_timeout: Duration,
    /// Room for the head of a request, per connection; at least 8 KiB.
    pub max_header_bytes: usize,
    /// Connections at one time, and an eighth of them of one machine; others wait in the queue of the kernel.
    pub max_connections: usize,
}

impl Default for Limits {
    /// 10 s, 64 KiB, 1024 connections.
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(10), max_header_bytes: 64 * 1024, max_connections: 1024 }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request that had begun was answered.
    Completely,
    /// Some connections were cut off when the time to drain was over.
    CutOff {
        /// Their number.
        connections: usize,
    },
}

/// Serves `router` until `shutdown` is cancelled, then answers what has begun for at most `drain`.
///
/// The [`Peer`] is in the extensions of every request. The listener is closed before
/// the drain. Dropping the future cuts every connection off. Works on every kind of runtime.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    drain: Duration,
) -> Drained {
    serve_over(listener, Server { router, limits, shutdown, tls: None }, drain).await
}

/// The same by TLS, with the protocols of the configuration.
pub async fn serve_tls(
    listener: Listener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    drain: Duration,
) -> Drained {
    let tls = Some(TlsAcceptor::from(tls));
    serve_over(listener, Server { router, limits, shutdown, tls }, drain).await
}

async fn serve_over(mut listener: Listener, server: Server, drain: Duration) -> Drained {
    let limits = server.limits;
    let places = Places::new(limits.max_connections);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = server.shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            Some((stream, place)) = places.accept(&mut listener) => {
                connections.spawn(server.clone().connection(stream, place));
            }
        }
    }
    drop(listener);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(drain, all).await.is_ok() {
        return Drained::Completely;
    }
    let connections = connections.len();
    tracing::warn!(connections, "connections were cut off: their requests were not answered in time");
    Drained::CutOff { connections }
}

/// Waits for a place first: a connection that can't be served is left to the queue of the kernel.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a panic");
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    tls: Option<TlsAcceptor>,
}

impl Server {
    async fn connection(self, stream: Stream, _place: Place) {
        let peer = stream.peer();
        let Some(acceptor) = self.tls.clone() else {
            return self.speak(Version::HTTP_11, stream, peer).await;
        };
        let Some(Ok(stream)) = tls::handshake(acceptor, Ok(stream)).await else { return };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        let version = if is_http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        self.speak(version, stream, peer).await;
    }

    /// Answers what comes until the peer has gone, or until shutdown.
    async fn speak(
        self,
        version: Version,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: Peer,
    ) {
        let server = self.protocol(version);
        let service = TowerToHyperService::new(told(self.router, peer));
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    }

    /// Which one is spoken was agreed on before: nothing is guessed from the first bytes.
    fn protocol(&self, version: Version) -> auto::Builder<TokioExecutor> {
        let mut server = auto::Builder::new(TokioExecutor::new());
        if version == Version::HTTP_2 {
            server
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE)
                .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
                .max_header_list_size(u32::try_from(self.limits.max_header_bytes).unwrap_or(u32::MAX));
            return server.http2_only();
        }
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            // Below its minimum hyper panics.
            .max_buf_size(self.limits.max_header_bytes.max(8 * 1024));
        server.http1_only()
    }
}

/// Has every request tell who asks.
fn told(
    router: Router,
    peer: Peer,
) -> impl tower::Service<
    http::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    router.map_request(move |mut request: http::Request<_>| {
        request.extensions_mut().insert(peer);
        request
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::listen::{Address, Peer, bind};
    use tokio::sync::Semaphore;

    use super::*;

    const DRAIN: Duration = Duration::from_secs(5);
    const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";

    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        /// Lets slow requests end.
        gate: Arc<Semaphore>,
        /// Has a permit for every slow request that has begun.
        begun: Arc<Semaphore>,
        server: JoinSet<Drained>,
    }

    fn start(limits: Limits) -> Running {
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let slow = {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            move || async move {
                begun.add_permits(1);
                gate.acquire().await.unwrap().forget();
                "late"
            }
        };
        let peer = |Extension(peer): Extension<Peer>| async move { peer.to_string() };
        let router = Router::new().route("/slow", get(slow)).route("/peer", get(peer));
        let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        let shutdown = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, router, limits, shutdown.clone(), DRAIN));
        Running { address, shutdown, gate, begun, server }
    }

    impl Running {
        async fn send(&self, bytes: &[u8]) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream
        }

        async fn slow_request_has_begun(&self) {
            self.begun.acquire().await.unwrap().forget();
        }

        async fn end(mut self) -> Drained {
            self.server.join_next().await.unwrap().unwrap()
        }
    }

    async fn rest_of(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn handlers_learn_who_asks() {
        let running = start(Limits::default());
        let stream = running.send(b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let expected = stream.local_addr().unwrap().to_string();
        let response = rest_of(stream).await;
        assert!(response.starts_with("HTTP/1.1 200") && response.ends_with(&expected), "{response}");
    }

    /// Asks by TLS, with these protocols to choose from; returns which one was taken, and the answer.
    async fn ask_by_tls(protocols: &[&[u8]]) -> (Vec<u8>, String) {
        use http_body_util::{BodyExt, Empty};
        use hyper::body::Bytes;
        let files = tls::tests::Files::new();
        let certified = tls::Certified::read(&files.identity("localhost")).unwrap();
        let certificate = Arc::new(tls::ServerCertificate::new(certified));
        let server = tls::server(certificate, tls::Protocols::Http2AndHttp1).unwrap();
        let mut client = rustls::ClientConfig::clone(&tls::client(&files.authority(), None).unwrap());
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        let router = Router::new().route("/", get(async || "here"));
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let serving = serve_tls(listener, server, router, Limits::default(), shutdown.clone(), DRAIN);
        tasks.spawn(async { assert_eq!(serving.await, Drained::Completely) });
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        let taken = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
        let request = http::Request::get("https://localhost/").body(Empty::<Bytes>::new()).unwrap();
        let answer = if taken == ALPN_HTTP2 {
            let io = TokioIo::new(stream);
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tasks.spawn(async { drop(connection.await) });
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tasks.spawn(async { drop(connection.await) });
            sender.send_request(request).await.unwrap()
        };
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        shutdown.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        (taken, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn by_tls_the_client_chooses_the_protocol_also_if_it_knows_but_one() {
        let here = "here".to_owned();
        assert_eq!(ask_by_tls(&[b"h2", b"http/1.1"]).await, (b"h2".to_vec(), here.clone()));
        assert_eq!(ask_by_tls(&[b"http/1.1"]).await, (b"http/1.1".to_vec(), here.clone()));
        assert_eq!(ask_by_tls(&[]).await, (Vec::new(), here));
    }

    #[tokio::test]
    async fn what_has_begun_is_answered_and_nothing_new_is_taken() {
        let running = start(Limits::default());
        let (idle, busy) = (running.send(b"").await, running.send(SLOW).await);
        running.slow_request_has_begun().await;
        running.shutdown.cancel();
        assert_eq!(rest_of(idle).await, "");
        assert!(TcpStream::connect(running.address).await.is_err());
        running.gate.add_permits(1);
        let response = rest_of(busy).await;
        assert!(response.contains("connection: close") && response.ends_with("late"), "{response}");
        assert_eq!(running.end().await, Drained::Completely);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_cut_off() {
        let running = start(Limits::default());
        let _busy = running.send(SLOW).await;
        running.slow_request_has_begun().await;
        tokio::time::pause();
        running.shutdown.cancel();
        assert_eq!(running.end().await, Drained::CutOff { connections: 1 });
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let running = start(Limits::default());
        let (busy, lazy) = (running.send(SLOW).await, running.send(b"GET / HTTP/1.1\r\nhost:").await);
        running.slow_request_has_begun().await;
        tokio::time::pause();
        assert_eq!(rest_of(lazy).await, "");
        // A slow answer is no reason to close.
        running.gate.add_permits(1);
        assert!(rest_of(busy).await.ends_with("late"));
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let running = start(Limits { max_header_bytes: 8 * 1024, ..Limits::default() });
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(8 * 1024));
        let response = rest_of(running.send(head.as_bytes()).await).await;
        assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_a_place() {
        let running = start(Limits { max_connections: 1, ..Limits::default() });
        let first = running.send(SLOW).await;
        running.slow_request_has_begun().await;
        let second = running.send(SLOW).await;
        tokio::task::yield_now().await;
        assert_eq!(running.begun.available_permits(), 0);
        drop(first);
        running.slow_request_has_begun().await;
        running.gate.add_permits(1);
        running.shutdown.cancel();
        assert!(rest_of(second).await.ends_with("late"));
        assert_eq!(running.end().await, Drained::Completely);
    }
}
