//! A watch over a connection that is dead says nothing, and nothing says that it is dead.
//!
//! The API server is played in memory, so that time can be paused.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::super::follower::IDLE_LIMIT;
use super::*;
use crate::store::{Event, What};

const EPOCH: Epoch = Epoch { counter: 1, id: 1 };
const BEAT: Beat = Beat { replica: 0xaa, nonce: 7 };

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

fn body(chunks: impl futures::Stream<Item = Value> + Send + 'static) -> Body {
    let frame = |chunk: Value| Ok(Frame::data(Bytes::from(format!("{chunk}\n"))));
    StreamBody::new(chunks.map(frame).boxed())
}

fn internal(name: &str, target: Value, revision: u64, status: Value) -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1",
        "kind": "Revocation",
        "metadata": {
            "name": name, "namespace": DEFAULT_NAMESPACE, "uid": format!("{revision:036}"),
            "resourceVersion": revision.to_string(), "creationTimestamp": "2026-11-21T10:00:00Z",
        },
        "spec": {"target": target},
        "status": status,
    })
}

/// A heartbeat as a watch delivers it.
fn heartbeat(revision: u64) -> Value {
    let target = json!({"heartbeat": {"replica": "00000000000000aa", "kind": "Pulse"}});
    let status = json!({"heartbeat": {"nonce": format!("{:032x}", BEAT.nonce)}});
    let object = internal("pulse-00000000000000aa", target, revision, status);
    json!({"type": "MODIFIED", "object": object})
}

fn bookmark(revision: u64) -> Value {
    let metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    let object = json!({"apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation", "metadata": metadata});
    json!({"type": "BOOKMARK", "object": object})
}

/// Where each watch has begun, in the order in which they were opened.
type Opened = Arc<Mutex<Vec<String>>>;

/// Returns a client of an API server whose watches deliver, each time, what `watches` gives with the number of the
/// watch, and then stay open and silent.
fn server(watches: fn(usize) -> BoxStream<'static, Value>) -> (Client, Opened) {
    let opened = Opened::default();
    let seen = Arc::clone(&opened);
    let answer = move |request: Request<kube::client::Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=").map(str::to_owned));
        let answer = if query.contains("watch=true") {
            let mut opened = seen.lock().unwrap();
            opened.push(from.unwrap());
            body(watches(opened.len()).chain(stream::pending()))
        } else if request.uri().path().ends_with("/epoch") {
            let epoch = json!({"epoch": {"counter": 1, "id": format!("{:032x}", EPOCH.id)}});
            body(stream::iter([internal("epoch", json!({"epoch": {}}), 1, epoch)]))
        } else {
            let list = json!({
                "apiVersion": "rescind.dev/v1alpha1", "kind": "RevocationList",
                "metadata": {"resourceVersion": "100"}, "items": [],
            });
            body(stream::iter([list]))
        };
        std::future::ready(Ok::<_, Infallible>(Response::new(answer)))
    };
    (Client::new(tower::service_fn(answer), DEFAULT_NAMESPACE), opened)
}

/// Follows from version 10, and returns what comes first, when, and where watches have begun.
async fn check(
    watches: fn(usize) -> BoxStream<'static, Value>,
    revision: u64,
    begun_at: &[&str],
) -> Duration {
    let (client, opened) = server(watches);
    let config = Config::new("http://nowhere.invalid".parse().unwrap());
    let (seal_key, environment) = (SealKey::new(&[4; 32]), Environment::of_machine());
    let store = KubernetesStore::over(client, config, DEFAULT_NAMESPACE, seal_key, environment);
    let started = Instant::now();
    let mut follow = Store::follow(&store, object::version(EPOCH, 10)).await.unwrap();
    let event = timeout(IDLE_LIMIT * 10, follow.next()).await.expect("it was waited for ever").unwrap();
    let expected = Event { version: object::version(EPOCH, revision), what: What::Heartbeat(BEAT) };
    assert_eq!(event, expected);
    assert_eq!(*opened.lock().unwrap(), begun_at);
    started.elapsed()
}

/// Invariant 21: a connection that died without a word holds nobody up for ever.
#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_is_given_up_and_another_goes_on_where_it_was() {
    let watches = |number| match number {
        1 => stream::iter([bookmark(12)]).boxed(),
        2 => stream::empty().boxed(),
        _ => stream::iter([heartbeat(13)]).boxed(),
    };
    let waited = check(watches, 13, &["10", "12", "12"]).await;
    assert!((2 * IDLE_LIMIT..2 * IDLE_LIMIT + Duration::from_secs(1)).contains(&waited), "{waited:?}");
}

/// The API server sends a bookmark a minute where nothing happens.
#[tokio::test(start_paused = true)]
async fn a_watch_with_bookmarks_is_kept() {
    let watches = |_| {
        let events = [bookmark(11), bookmark(12), bookmark(13), heartbeat(14)];
        let one_a_minute = |event| async move {
            sleep(Duration::from_secs(60)).await;
            event
        };
        stream::iter(events).then(one_a_minute).boxed()
    };
    let waited = check(watches, 14, &["10"]).await;
    assert_eq!(waited.as_secs(), 240);
}
