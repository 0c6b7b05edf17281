//! Asks the sidecar as a reverse proxy would: forward auth over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use http::Request;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the status that the sidecar answers for a token.
pub(super) async fn status(sidecar: SocketAddr, token: &str) -> anyhow::Result<u16> {
    let asked = tokio::time::timeout(TIMEOUT, ask(sidecar, token)).await;
    asked.context("the sidecar does not answer")?
}

async fn ask(sidecar: SocketAddr, token: &str) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(sidecar).await.context("can't connect to the sidecar")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .uri("/auth")
        .header("host", sidecar.to_string())
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    // The connection works only while somebody drives it; it ends with the answer.
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status().as_u16()),
        ended = connection => {
            ended?;
            anyhow::bail!("the sidecar closed the connection")
        }
    }
}
