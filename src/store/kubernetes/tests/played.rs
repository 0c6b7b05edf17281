//! An API server that is played in memory: it answers as a real one can't be made to, and time can be paused.

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;

use super::*;

pub(super) const EPOCH: Epoch = Epoch { counter: 1, id: 1 };
pub(super) const BEAT: Beat = Beat { replica: 0xaa, nonce: 7 };

/// What it answers: a whole document, or what a watch delivers.
pub(super) type Answer = Response<StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

fn answer(code: u16, chunks: impl Stream<Item = Value> + Send + 'static) -> Answer {
    let frame = |chunk: Value| Ok(Frame::data(Bytes::from(format!("{chunk}\n"))));
    Response::builder().status(code).body(StreamBody::new(chunks.map(frame).boxed())).unwrap()
}

/// Answers with a document.
pub(super) fn whole(document: Value) -> Answer {
    answer(200, stream::iter([document]))
}

/// Answers with events, and then with the end of the watch.
pub(super) fn watching(events: impl Stream<Item = Value> + Send + 'static) -> Answer {
    answer(200, events)
}

/// Answers that it will not, with the reason of this code.
pub(super) fn refusing(code: u16, message: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "message": message,
        "reason": match code {
            403 => "Forbidden",
            404 => "NotFound",
            410 => "Expired",
            429 => "TooManyRequests",
            500 => "InternalError",
            _ => "ServiceUnavailable",
        },
    });
    answer(code, stream::iter([status]))
}

/// A list of objects at a revision; `more` leads to its next page.
pub(super) fn page(revision: u64, items: &[Value], more: Option<&str>) -> Answer {
    whole(json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "RevocationList", "items": items,
        "metadata": {"resourceVersion": revision.to_string(), "continue": more},
    }))
}

pub(super) fn internal(name: &str, target: Value, revision: u64, status: Value) -> Value {
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

/// Returns a client that gets these answers.
pub(super) fn answering(answer: impl Fn(&Request<kube::client::Body>) -> Answer + Send + 'static) -> Client {
    responding(move |request| Some(answer(request)))
}

/// Returns a client that gets these answers, and where there is none waits for ever.
fn responding(answer: impl Fn(&Request<kube::client::Body>) -> Option<Answer> + Send + 'static) -> Client {
    let respond = move |request: Request<kube::client::Body>| {
        let answer = answer(&request);
        async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(answer),
                None => std::future::pending().await,
            }
        }
    };
    Client::new(tower::service_fn(respond), DEFAULT_NAMESPACE)
}

/// Returns what a request says of this parameter.
pub(super) fn parameter(request: &Request<kube::client::Body>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// Where each watch has begun, in the order in which they were opened.
pub(super) type Opened = Arc<Mutex<Vec<String>>>;

/// Returns a client of an API server that has reached revision 100, and answers each watch as `watches` does with its
/// number.
pub(super) fn server(watches: impl Fn(usize) -> Answer + Send + 'static) -> (Client, Opened) {
    let opened = Opened::default();
    let seen = Arc::clone(&opened);
    (answering(move |request| of_log(request, &seen, &watches)), opened)
}

fn of_log(request: &Request<kube::client::Body>, seen: &Opened, watches: impl Fn(usize) -> Answer) -> Answer {
    if parameter(request, "watch").is_some() {
        let mut opened = seen.lock().unwrap();
        opened.push(parameter(request, "resourceVersion").unwrap());
        watches(opened.len())
    } else if request.uri().path().ends_with("/epoch") {
        whole(epoch())
    } else {
        page(100, &[], None)
    }
}

/// Follows the log of a server that is played, from a revision.
pub(super) async fn follow(client: Client, from: u64) -> Box<dyn Follow> {
    Store::follow(&store(client), object::version(EPOCH, from)).await.unwrap()
}

fn store(client: Client) -> KubernetesStore {
    let config = Config::new("http://nowhere.invalid".parse().unwrap());
    let (seal_key, environment) = (SealKey::new(&[4; 32]), Environment::of_machine());
    KubernetesStore::over(client, config, DEFAULT_NAMESPACE, seal_key, environment)
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
    fn answer(self) -> Option<Answer> {
        let found = |metadata: Value| {
            whole(
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}),
            )
        };
        match self {
            Self::Finds(uid) => Some(found(json!({"name": "it", "uid": uid}))),
            Self::FindsGoing(uid) => {
                Some(found(json!({"name": "it", "uid": uid, "deletionTimestamp": "2026-11-21T10:00:00Z"})))
            }
            Self::FindsSince(uid, created) => {
                Some(found(json!({"name": "it", "uid": uid, "creationTimestamp": created})))
            }
            Self::Fails(code) => Some(refusing(code, "no")),
            Self::Hangs => None,
        }
    }
}

/// What looks at the type's definition, and at any namespace, find.
pub(super) type Looks = Arc<Mutex<(Look, Look)>>;

/// Returns a store over a server on which this is listed, at revision 100, and what looks at the definition find in turn.
pub(super) fn listing(items: Vec<Value>, definition: Vec<Look>) -> KubernetesStore {
    let definition = Mutex::new(definition.into_iter());
    let client = responding(move |request| {
        let path = request.uri().path();
        if path.contains("/customresourcedefinitions/") {
            definition.lock().unwrap().next().expect("another look").answer()
        } else if path.starts_with("/api/v1/namespaces/") {
            Look::Finds("namespace").answer()
        } else {
            let is_of_lists = path.ends_with("/tokenrevocationlists");
            Some(page(100, if is_of_lists { &[] } else { &items }, None))
        }
    });
    store(client)
}

/// The object that names the history.
pub(super) fn epoch() -> Value {
    let status = json!({"epoch": {"counter": EPOCH.counter, "id": format!("{:032x}", EPOCH.id)}});
    internal("epoch", json!({"epoch": {}}), 1, status)
}

/// A store over a server whose watches deliver, each time, the same, and then stay open and silent.
pub(super) struct Played {
    pub(super) store: KubernetesStore,
    pub(super) opened: Opened,
    pub(super) looks: Looks,
}

impl Played {
    pub(super) fn delivering(events: Vec<Value>) -> Self {
        let opened = Opened::default();
        let looks: Looks = Arc::new(Mutex::new((Look::Finds("definition"), Look::Finds("namespace"))));
        let (seen, found) = (Arc::clone(&opened), Arc::clone(&looks));
        let client = responding(move |request| {
            let (definition, namespace) = *found.lock().unwrap();
            let path = request.uri().path();
            if path.contains("/customresourcedefinitions/") {
                definition.answer()
            } else if path.starts_with("/api/v1/namespaces/") {
                namespace.answer()
            } else {
                let watch = |_| watching(stream::iter(events.clone()).chain(stream::pending()));
                Some(of_log(request, &seen, watch))
            }
        });
        Self { store: store(client), opened, looks }
    }

    /// Follows from version 10.
    pub(super) async fn follow(&self) -> Box<dyn Follow> {
        Store::follow(&self.store, object::version(EPOCH, 10)).await.unwrap()
    }
}
