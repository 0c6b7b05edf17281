//! Whatever is sent to whichever socket: nothing panics, nothing grows without bound, and good questions are answered.

use std::path::PathBuf;

use rescind::proto::v1;
use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::runtime::dial;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::PATIENCE;
use crate::support::lab::Lab;

/// What nobody should send: noise, heads without an end, HTTP/2 that means nothing.
fn nonsense() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let frame =
        |length: u32, kind: u8| [&length.to_be_bytes()[1..], &[kind, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
    vec![
        vec![0; 1 << 20],
        (0..1u32 << 18).flat_map(u32::to_le_bytes).collect(),
        b"GET /auth HTTP/1.1\r\n".to_vec(),
        [b"GET /auth HTTP/1.1\r\nhost: x\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat(),
        format!("GET /auth?{} HTTP/1.1\r\nhost: x\r\n\r\n", "token=optional&".repeat(10_000)).into_bytes(),
        [preface.clone(), vec![0xff; 1 << 16]].concat(),
        [preface.clone(), frame(0, 4), frame(0x00ff_ffff, 0)].concat(),
        [preface, (0..2000).flat_map(|_| frame(0, 4)).collect()].concat(),
    ]
}

/// Writes bytes to a socket and reads whatever comes, until the other side has enough.
async fn send(socket: PathBuf, bytes: Vec<u8>) {
    let Ok(mut stream) = UnixStream::connect(&socket).await else { return };
    // The other side may close before it has read all: that is its right.
    drop(stream.write_all(&bytes).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    let mut limited = stream.take(1 << 20);
    drop(tokio::time::timeout(PATIENCE, limited.read_to_end(&mut answer)).await);
}

/// Invariant 18: any input, any size: no panic, and the last good state stays.
#[tokio::test]
async fn nonsense_on_every_socket_stops_nobody() {
    let mut lab = Lab::start().await;
    let sockets = ["check.sock", "auth.sock", "stream.sock", "admin.sock"].map(|name| lab.path(name));
    let sends =
        sockets.iter().flat_map(|socket| nonsense().into_iter().map(|bytes| send(socket.clone(), bytes)));
    futures::future::join_all(sends).await;
    let idle = (0..200).map(|_| UnixStream::connect(&sockets[0]));
    let idle = futures::future::join_all(idle).await;
    assert_eq!(lab.check(&lab.keys.token(&json!({}))).await.unwrap().verdict(), v1::VerdictKind::Active);
    drop(idle);
    for log in [lab.controller().child.log(), lab.sidecar().child.log()] {
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Invariant 18: a token, a batch or a claim of any size is refused, and costs no more than it brings.
#[tokio::test]
async fn questions_of_any_size_are_refused_in_order() {
    let lab = Lab::start().await;
    let channel = dial::channel(&format!("unix:{}", lab.path("check.sock").display()), None, |e| e).unwrap();
    let mut checks = RevocationCheckClient::new(channel);
    let question = |token: String| v1::CheckRequest { token, ..v1::CheckRequest::default() };
    let large = checks.check(question("x".repeat(1 << 20))).await.unwrap().into_inner();
    assert_eq!((large.decision(), large.reason.as_str()), (v1::Decision::Deny, "TOO_LARGE"));
    let over = checks.check(question("x".repeat(16 << 20))).await;
    assert!(over.is_err());
    let requests = vec![question("x".to_owned()); 257];
    let batch = checks.check_batch(v1::CheckBatchRequest { requests }).await;
    assert_eq!(batch.unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(lab.check(&lab.keys.token(&json!({}))).await.unwrap().verdict(), v1::VerdictKind::Active);
}
