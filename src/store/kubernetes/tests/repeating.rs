//! A client sends nothing again by itself: a write may be done twice, and whoever waits hears of no refusal.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// Answers after which clients like to ask again, status and body. The last one is the end of the connection.
pub(crate) const PASSING: [(&str, &str); 4] = [
    ("429 Too Many Requests", "busy"),
    // As somebody on the way may answer: it is JSON, and no status as the API server has it.
    ("503 Service Unavailable", "{}"),
    ("504 Gateway Timeout", "late"),
    ("", ""),
];

/// A server that answers all requests alike, if at all, and counts them.
pub(crate) struct Counting {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Counting {
    pub(crate) async fn start(answer: (&'static str, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, mut task) = (Arc::default(), JoinSet::new());
        task.spawn(accept(listener, answer, Arc::clone(&asked)));
        Self { url, asked, _task: task }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, answer: (&'static str, &'static str), asked: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // One request to a connection: whoever asks again opens another.
        drop(serve(stream, answer, &asked).await);
    }
}

async fn serve(
    mut stream: TcpStream,
    (status, body): (&str, &str),
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !is_whole(&String::from_utf8_lossy(&request)) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    if !status.is_empty() {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
    stream.shutdown().await
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Invariant 12: a write that was refused or is not answered proves nothing, and is not made twice.
#[tokio::test]
async fn the_store_sends_each_request_once_whatever_comes_back() {
    for answer in PASSING {
        let server = Counting::start(answer).await;
        let client = call::connect(&Config::new(server.url.parse().unwrap())).unwrap();
        let api = Api::namespaced_with(client, DEFAULT_NAMESPACE, &call::resource());
        let error = call::create(&api, "ticket", json!({})).await.unwrap_err();
        assert_eq!(server.asked(), 1, "{answer:?}: {error}");
        // That it was too much is said before anything is done.
        assert_eq!(error.is_undecided(), !answer.0.starts_with("429"), "{answer:?}: {error}");
    }
}
