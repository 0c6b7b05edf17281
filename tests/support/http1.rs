//! HTTP/1.1 without a library's good manners: lines go out as they are given, and nothing is followed or retried.

use std::path::Path;

use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::PATIENCE;

/// What to send. Lines of one name are sent one after another, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) lines: Vec<(String, Vec<u8>)>,
}

impl Ask {
    /// Asks for a path with nothing but a host.
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), lines: Vec::new() }
    }

    /// Adds a header line.
    pub(crate) fn line(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.lines.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds an `Authorization` line with a token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.line("authorization", format!("Bearer {token}"))
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// Returns the values of all lines of a name, which is in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the body as JSON; null if it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Sends a request to a Unix socket, over a connection of its own.
pub(crate) async fn ask_unix(socket: &Path, ask: &Ask) -> Result<Reply, String> {
    within(async { send(UnixStream::connect(socket).await.map_err(said)?, ask).await }).await
}

/// Sends a request to `IP:PORT`, over a connection of its own.
pub(crate) async fn ask_tcp(address: &str, ask: &Ask) -> Result<Reply, String> {
    within(async { send(TcpStream::connect(address).await.map_err(said)?, ask).await }).await
}

async fn within(reply: impl Future<Output = Result<Reply, String>>) -> Result<Reply, String> {
    tokio::time::timeout(PATIENCE, reply).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn send(stream: impl AsyncRead + AsyncWrite + Unpin, ask: &Ask) -> Result<Reply, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = ask.path.parse().map_err(said)?;
    request.headers_mut().insert("host", HeaderValue::from_static("localhost"));
    for (name, value) in &ask.lines {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(said)?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value).map_err(said)?);
    }
    let answer = async {
        let response = sender.send_request(request).await.map_err(said)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(said)?.to_bytes();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines = head.headers.iter();
        Ok(Reply {
            status: head.status.as_u16(),
            headers: lines.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: text(&body),
        })
    };
    // The connection works only while somebody drives it; it may end before its last answer was read.
    let drive = async {
        let ended = connection.await;
        std::future::pending::<()>().await;
        drop(ended);
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => Err("the connection has ended".to_owned()),
    }
}
