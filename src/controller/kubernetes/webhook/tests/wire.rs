//! The webhook as it is reached, by TLS and HTTP/1.1, and without the API server, which asks nothing of all this.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::runtime::listen::{self, Address};
use crate::runtime::tls;

/// One connection, for several requests.
struct Line {
    reader: BufReader<TlsStream<TcpStream>>,
}

/// What came back.
#[derive(Debug)]
struct Said {
    status: u16,
    head: String,
    body: String,
}

struct Served {
    address: SocketAddr,
    client: Arc<rustls::ClientConfig>,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Served {
    fn start() -> Self {
        let files = tls::tests::Files::new();
        let certified = tls::Certified::read(&files.identity("localhost")).unwrap();
        let certificate = Arc::new(tls::ServerCertificate::new(certified));
        let server = tls::server(certificate, tls::Protocols::Http2AndHttp1).unwrap();
        let mut client = rustls::ClientConfig::clone(&tls::client(&files.authority(), None).unwrap());
        client.alpn_protocols = vec![tls::ALPN_HTTP1.to_vec()];
        let listener = listen::bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(webhook().serve(listener, server, shutdown.clone()));
        Self { address, client: Arc::new(client), shutdown, tasks }
    }

    async fn dial(&self) -> Line {
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await.unwrap();
        Line { reader: BufReader::new(stream) }
    }

    /// Another connection is served.
    async fn is_well(&self) {
        let review = review_of(&pod(), &[]).to_string();
        let said = self.dial().await.ask("POST /inject", "application/json", &review).await;
        assert_eq!(said.status, 200, "{said:?}");
    }

    async fn end(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

impl Line {
    async fn ask(&mut self, line: &str, content: &str, body: &str) -> Said {
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content}\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(&(head + body)).await;
        self.answer().await
    }

    /// A server that has refused may have closed while the rest is on its way.
    async fn send(&mut self, text: &str) {
        drop(self.reader.write_all(text.as_bytes()).await);
        drop(self.reader.flush().await);
    }

    async fn answer(&mut self) -> Said {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(
                self.reader.read_line(&mut head).await.unwrap(),
                0,
                "closed without an answer: {head:?}"
            );
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.reader.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Said { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Whether the server has closed it, properly or not.
    async fn is_closed(&mut self) -> bool {
        self.reader.read_u8().await.is_err()
    }
}

#[tokio::test]
async fn by_tls_and_http1_each_mistake_is_answered_and_the_connection_serves_on() {
    let served = Served::start();
    let mut line = served.dial().await;
    let (json, good) = ("application/json", review_of(&pod(), &[]).to_string());
    let beta = good.replace("/v1\"", "/v1beta1\"");
    for (ask, content, body, status, expected) in [
        ("POST /inject", json, good.as_str(), 200, "JSONPatch"),
        ("POST /injekt", json, good.as_str(), 404, "/inject"),
        ("POST /", json, good.as_str(), 404, "/inject"),
        ("PUT /inject", json, good.as_str(), 405, "POST"),
        ("GET /inject", json, "", 405, "POST"),
        ("POST /inject", "application/yaml", good.as_str(), 415, "application/json"),
        ("POST /inject", json, "{\"apiVersion\": \"admission", 400, "the body is no AdmissionReview"),
        ("POST /inject", json, "\u{0}\u{fffd}", 400, "the body is no AdmissionReview"),
        ("POST /inject", json, beta.as_str(), 400, "got \"admission.k8s.io/v1beta1\""),
        ("POST /inject?timeout=5s", json, good.as_str(), 200, "JSONPatch"),
    ] {
        let said = line.ask(ask, content, body).await;
        assert!(said.status == status && said.body.contains(expected), "{ask} {content}: {said:?}");
        assert!(status != 405 || said.head.contains("allow: post"), "{said:?}");
    }
    drop(line);
    served.end().await;
}

#[tokio::test]
async fn a_review_that_is_too_large_is_refused_and_the_next_connection_is_served() {
    let served = Served::start();
    let mut line = served.dial().await;
    let large = "x".repeat(MAX_REVIEW_BYTES + 1);
    let said = line.ask("POST /inject", "application/json", &large).await;
    assert!(said.status == 413 && said.body.contains("at most 3145728 bytes"), "{said:?}");
    // As one whose length is not said before.
    let mut line = served.dial().await;
    let head = "POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n";
    line.send(&format!("{head}\r\n{:x}\r\n{large}\r\n", large.len())).await;
    let said = line.answer().await;
    assert_eq!(said.status, 413, "{said:?}");
    assert!(line.is_closed().await, "the rest of it is not waited for");
    served.is_well().await;
    served.end().await;
}

/// Not even a request, and bytes that are no TLS.
#[tokio::test]
async fn what_is_no_request_ends_its_own_connection_alone() {
    let served = Served::start();
    let mut line = served.dial().await;
    line.send("\u{16} nonsense\r\n\r\n").await;
    let said = line.answer().await;
    assert_eq!(said.status, 400, "{said:?}");
    assert!(line.is_closed().await);
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"POST /inject HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    drop(plain.read_to_end(&mut rest).await);
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    served.is_well().await;
    served.end().await;
}
