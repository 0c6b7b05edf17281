use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::*;
use crate::runtime::dial;
use crate::runtime::listen::{self, Address};

const DRAIN: Duration = Duration::from_secs(5);

/// A server with nothing but its health, and the folder of its socket.
struct Served {
    folder: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen::bind(&Address::Unix(folder.path().join("s.sock")), 0o600).unwrap();
        let routes = described(Routes::default(), &[], &[]);
        let serving = serve(listener, Transport::Plain(None), routes, 16, CancellationToken::new(), DRAIN);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { serving.await.unwrap() });
        Self { folder, _tasks: tasks }
    }

    /// Every channel is a connection of its own.
    fn client(&self) -> HealthClient<Channel> {
        let uri = format!("unix:{}", self.folder.path().join("s.sock").display());
        HealthClient::new(dial::channel(&uri, None, |endpoint| endpoint).unwrap())
    }
}

async fn check(client: &mut HealthClient<Channel>, header_bytes: usize) -> Result<(), Code> {
    let mut request = Request::new(HealthCheckRequest::default());
    let value = MetadataValue::try_from("x".repeat(header_bytes)).unwrap();
    request.metadata_mut().insert("x-filler", value);
    client.check(request).await.map(drop).map_err(|status| status.code())
}

/// A stream that stays open.
async fn watch(mut client: HealthClient<Channel>) -> Streaming<HealthCheckResponse> {
    client.watch(HealthCheckRequest::default()).await.unwrap().into_inner()
}

/// Invariant 18: bounded memory: a connection brings no more work than the server has taken on.
#[tokio::test]
async fn a_connection_has_so_many_calls_under_way_and_the_next_waits_its_turn() {
    let served = Served::start();
    let (one, mut other) = (served.client(), served.client());
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(watch(one.clone()).await);
    }
    let mut next = std::pin::pin!(watch(one));
    // Another connection is served all the while.
    for _ in 0..50 {
        check(&mut other, 1).await.unwrap();
        assert!(next.as_mut().now_or_never().is_none());
    }
    open.pop();
    assert!(tokio::time::timeout(Duration::from_secs(30), next).await.is_ok());
}

/// Invariant 18: bounded memory: headers are not collected without end.
#[tokio::test]
async fn a_header_list_that_is_too_long_is_refused_and_the_connection_goes_on() {
    let served = Served::start();
    let mut client = served.client();
    assert_eq!(check(&mut client, 60 * 1024).await, Ok(()));
    assert!(check(&mut client, 70 * 1024).await.is_err());
    assert_eq!(check(&mut client, 1).await, Ok(()));
}

/// What an HTTP/2 client says first: the preface, and settings of which there are none.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The server answers it at once.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0rescind!";

async fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

async fn heard(stream: &mut TcpStream) -> usize {
    stream.read(&mut [0; 512]).await.unwrap()
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let listener = listen::bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
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
    let listener = listen::bind(&"127.0.0.1:0".parse().unwrap(), 0).unwrap();
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
