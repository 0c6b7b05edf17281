//! Opens gRPC channels, in the clear or with a TLS configuration of ours.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::tls::ALPN_HTTP2;

/// Says why a channel can't be made for a URI.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The text is no URI of a server.
    #[error("{uri:?} can't be connected to; write http://host:port, https://host:port or unix:/a/path")]
    BadUri {
        /// What was given.
        uri: String,
    },
    /// The URI asks for TLS, but no authority was given to trust.
    #[error("{uri:?} asks for TLS, so an authority to trust must be given")]
    NoAuthority {
        /// What was given.
        uri: String,
    },
    /// A TLS configuration was given, but the URI does not ask for TLS.
    #[error("{uri:?} does not ask for TLS, but it is configured; write https, or remove the configuration")]
    InTheClear {
        /// What was given.
        uri: String,
    },
}

/// Makes a channel that connects when it is first used, and again whenever the connection is lost.
///
/// `configure` sets the timeouts and the keepalive of the endpoint; its URI and TLS must be left alone.
///
/// # Errors
/// [`DialError`] if the URI can't be used, or does not fit `tls`: neither is ever ignored.
pub fn channel(
    uri: &str,
    tls: Option<Arc<ClientConfig>>,
    configure: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, DialError> {
    channel_to(uri, None, tls, configure)
}

/// Makes a channel to one address of the URI's host; the name that is expected of the server stays the host's. Without
/// an address it is as [`channel`].
///
/// # Errors
/// As those of [`channel`].
pub fn channel_to(
    uri: &str,
    address: Option<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    configure: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, DialError> {
    let given = || uri.to_owned();
    let bad = || DialError::BadUri { uri: given() };
    let secure = uri.parse::<Uri>().ok().filter(|parsed| parsed.scheme() == Some(&Scheme::HTTPS));
    match (secure, tls) {
        (None, None) => {
            let is_known = ["http://", "unix:"].iter().any(|scheme| uri.starts_with(scheme));
            let endpoint = Endpoint::from_shared(given()).ok().filter(|_| is_known).ok_or_else(bad)?;
            let endpoint = configure(endpoint.tcp_nodelay(true));
            Ok(match address {
                None => endpoint.connect_lazy(),
                Some(address) => {
                    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| async move {
                        let stream = TcpStream::connect(address).await?;
                        stream.set_nodelay(true)?;
                        io::Result::Ok(TokioIo::new(stream))
                    }))
                }
            })
        }
        (None, Some(_)) => Err(DialError::InTheClear { uri: given() }),
        (Some(_), None) => Err(DialError::NoAuthority { uri: given() }),
        (Some(origin), Some(tls)) => {
            let server = Server::new(&origin, address, tls).ok_or_else(bad)?;
            // The library would want to add TLS of its own to https; so it gets http to connect to, and
            // https as the origin that requests name.
            let mut parts = origin.clone().into_parts();
            parts.scheme = Some(Scheme::HTTP);
            let plain = Uri::from_parts(parts).map_err(|_| bad())?;
            let endpoint = configure(Endpoint::from(plain).origin(origin));
            let connector = tower::service_fn(move |_: Uri| server.clone().connect());
            Ok(endpoint.connect_with_connector_lazy(connector))
        }
    }
}

/// Returns the host name and the port of a URI: what is to be resolved. There is none in one with an address or a path.
#[must_use]
pub fn host_name(uri: &str) -> Option<(String, u16)> {
    let parsed: Uri = uri.parse().ok()?;
    let port = match parsed.scheme_str()? {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let host = parsed.host()?;
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    (!is_address).then(|| (host.to_owned(), parsed.port_u16().unwrap_or(port)))
}

#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    address: Option<SocketAddr>,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Server {
    fn new(uri: &Uri, address: Option<SocketAddr>, tls: Arc<ClientConfig>) -> Option<Self> {
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).ok()?;
        let (port, tls) = (uri.port_u16().unwrap_or(443), TlsConnector::from(tls));
        Some(Self { host, port, address, name, tls })
    }

    async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = match self.address {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect((self.host, self.port)).await?,
        };
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(io::Error::other("the server does not offer HTTP/2 over TLS"));
        }
        Ok(TokioIo::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::super::listen::{Address, bind};
    use super::super::tls::tests::Files;
    use super::super::tls::{self, Clients, Protocols, ServerFiles};
    use super::*;

    async fn ask(channel: Channel) -> Result<i32, tonic::Code> {
        let request = HealthCheckRequest { service: String::new() };
        match HealthClient::new(channel).check(request).await {
            Ok(response) => Ok(response.into_inner().status),
            Err(status) => Err(status.code()),
        }
    }

    #[tokio::test]
    async fn a_channel_speaks_to_a_server_that_it_trusts_and_that_trusts_it() {
        let files = Files::new();
        let clients = Clients::CertifiedBy(files.authority());
        let files_of_server = ServerFiles::read(&files.identity("localhost"), &clients).unwrap();
        let config = files_of_server.config(Protocols::Http2).unwrap();
        let listener = bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        let (_, health) = tonic_health::server::health_reporter();
        let mut server = JoinSet::new();
        server.spawn(
            tonic::transport::Server::builder()
                .add_service(health)
                .serve_with_incoming(tls::incoming(listener, config)),
        );
        // It never says a word, and must not be in the way of others.
        let _silent = TcpStream::connect(address).await.unwrap();

        let uri = format!("https://localhost:{}", address.port());
        let identity = files.identity("client");
        let known = tls::client(&files.authority(), Some(&identity)).unwrap();
        assert_eq!(ask(channel(&uri, Some(Arc::clone(&known)), |endpoint| endpoint).unwrap()).await, Ok(1));
        // The name that is expected stays that of the host, wherever the connection goes.
        let to = |uri| channel_to(uri, Some(address), Some(Arc::clone(&known)), |endpoint| endpoint).unwrap();
        assert_eq!(ask(to("https://localhost:1")).await, Ok(1));
        assert!(ask(to("https://other.example:1")).await.is_err());
        let unknown = tls::client(&files.authority(), None).unwrap();
        let refused = ask(channel(&uri, Some(unknown), |endpoint| endpoint).unwrap()).await;
        assert!(refused.is_err());
    }

    #[test]
    fn only_a_name_is_to_be_resolved() {
        let named = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(host_name("https://a.example:7401"), named("a.example", 7401));
        assert_eq!(host_name("https://a.example"), named("a.example", 443));
        assert_eq!(host_name("http://localhost:1"), named("localhost", 1));
        for uri in ["https://10.0.0.1:1", "https://[::1]:1", "unix:/run/a.sock", "unix:///run/a.sock", ""] {
            assert_eq!(host_name(uri), None, "{uri}");
        }
    }

    #[tokio::test]
    async fn a_channel_speaks_in_the_clear_over_a_unix_socket() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Unix(directory.path().join("a.sock"));
        let listener = bind(&address, 0o600).unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let mut server = JoinSet::new();
        server.spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(listener));
        assert_eq!(ask(channel(&address.to_string(), None, |endpoint| endpoint).unwrap()).await, Ok(1));
    }

    #[tokio::test]
    async fn a_uri_that_does_not_fit_the_configuration_is_an_error() {
        let files = Files::new();
        let message = |uri: &str, tls| channel(uri, tls, |endpoint| endpoint).unwrap_err().to_string();
        let tls = || Some(tls::client(&files.authority(), None).unwrap());
        assert!(message("http://a:1", tls()).contains("does not ask for TLS"));
        assert!(message("unix:/a", tls()).contains("does not ask for TLS"));
        assert!(message("https://a:1", None).contains("an authority to trust must be given"));
        for uri in ["", "a:1", "ftp://a", "http://"] {
            assert!(message(uri, None).contains("can't be connected to"), "{uri}");
        }
    }
}
