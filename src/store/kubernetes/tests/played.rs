//! An API server that is played in memory, so that time can be paused, and calls can hang.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;

use super::*;

pub(super) const EPOCH: Epoch = Epoch { counter: 1, id: 1 };
pub(super) const BEAT: Beat = Beat { replica: 0xaa, nonce: 7 };

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
pub(super) fn heartbeat(revision: u64) -> Value {
    let target = json!({"heartbeat": {"replica": "00000000000000aa", "kind": "Pulse"}});
    let status = json!({"heartbeat": {"nonce": format!("{:032x}", BEAT.nonce)}});
    let object = internal("pulse-00000000000000aa", target, revision, status);
    json!({"type": "MODIFIED", "object": object})
}

pub(super) fn bookmark(revision: u64) -> Value {
    let metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    let object = json!({"apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation", "metadata": metadata});
    json!({"type": "BOOKMARK", "object": object})
}

/// What a look at an object finds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    /// The object, with this UID.
    Finds(&'static str),
    /// It, about to go.
    FindsGoing(&'static str),
    /// It, created then.
    FindsSince(&'static str, &'static str),
    /// A refusal.
    Fails(u16),
    /// There is no answer.
    Hangs,
}

impl Look {
    async fn answer(self) -> Response<Body> {
        let metadata = match self {
            Self::Finds(uid) => json!({"name": "it", "uid": uid}),
            Self::FindsGoing(uid) => {
                json!({"name": "it", "uid": uid, "deletionTimestamp": "2026-11-21T10:00:00Z"})
            }
            Self::FindsSince(uid, created) => json!({"name": "it", "uid": uid, "creationTimestamp": created}),
            Self::Fails(code) => {
                let status = json!({
                    "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": "no",
                });
                let mut response = Response::new(body(stream::iter([status])));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                return response;
            }
            Self::Hangs => return std::future::pending().await,
        };
        let found =
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        Response::new(body(stream::iter([found])))
    }
}

/// What looks at the type's definition, and at any namespace, find.
pub(super) type Looks = Arc<Mutex<(Look, Look)>>;

/// Where each watch has begun, in the order in which they were opened.
pub(super) type Opened = Arc<Mutex<Vec<String>>>;

/// A server whose watches deliver, each time, what a function gives with the number of the watch, and then stay open
/// and silent.
pub(super) struct Played {
    pub(super) store: KubernetesStore,
    pub(super) opened: Opened,
    pub(super) looks: Looks,
}

pub(super) fn play(watches: fn(usize) -> BoxStream<'static, Value>) -> Played {
    let opened = Opened::default();
    let looks: Looks = Arc::new(Mutex::new((Look::Finds("definition"), Look::Finds("namespace"))));
    let (seen, found) = (Arc::clone(&opened), Arc::clone(&looks));
    let answer = move |request: Request<kube::client::Body>| {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=").map(str::to_owned));
        let (definition, namespace) = *found.lock().unwrap();
        let (answer, look) = if path.contains("/customresourcedefinitions/") {
            (None, Some(definition))
        } else if path.starts_with("/api/v1/namespaces/") {
            (None, Some(namespace))
        } else if query.contains("watch=true") {
            let mut opened = seen.lock().unwrap();
            opened.push(from.unwrap());
            (Some(body(watches(opened.len()).chain(stream::pending()))), None)
        } else if path.ends_with("/epoch") {
            let epoch = json!({"epoch": {"counter": 1, "id": format!("{:032x}", EPOCH.id)}});
            (Some(body(stream::iter([internal("epoch", json!({"epoch": {}}), 1, epoch)]))), None)
        } else {
            let list = json!({
                "apiVersion": "rescind.dev/v1alpha1", "kind": "RevocationList",
                "metadata": {"resourceVersion": "100"}, "items": [],
            });
            (Some(body(stream::iter([list]))), None)
        };
        async move {
            let response = match (answer, look) {
                (Some(body), _) => Response::new(body),
                (None, look) => look.unwrap_or(Look::Hangs).answer().await,
            };
            Ok::<_, Infallible>(response)
        }
    };
    let client = Client::new(tower::service_fn(answer), DEFAULT_NAMESPACE);
    let config = Config::new("http://nowhere.invalid".parse().unwrap());
    let (seal_key, environment) = (SealKey::new(&[4; 32]), Environment::of_machine());
    let store = KubernetesStore::over(client, config, DEFAULT_NAMESPACE, seal_key, environment);
    Played { store, opened, looks }
}

/// Follows from version 10.
pub(super) async fn follow(played: &Played) -> Box<dyn Follow> {
    Store::follow(&played.store, object::version(EPOCH, 10)).await.unwrap()
}
