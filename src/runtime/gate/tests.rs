use std::convert::Infallible;

use axum::routing::{any, post};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// Says what the gate has said.
async fn told(request: Request) -> String {
    format!("{:?}", Admission::of(request.extensions()))
}

/// Says the same when the body is complete.
async fn told_after_the_body(request: Request) -> String {
    let (head, body) = request.into_parts();
    match axum::body::to_bytes(body, 1024).await {
        Ok(_) => format!("{:?}", Admission::of(&head.extensions)),
        Err(error) => format!("{error}"),
    }
}

fn router(gate: &Gate) -> Router {
    let router = Router::new().route("/", any(told)).route("/body", post(told_after_the_body));
    let told_anything = async |request: Request| format!("{:?}", request.extensions().get::<Admission>());
    gate.in_front_of(router).route("/probe", any(told_anything))
}

async fn send(router: &Router, path: &str, body: Body) -> String {
    let request = Request::builder().method("POST").uri(path).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    String::from_utf8(axum::body::to_bytes(response.into_body(), 1024).await.unwrap().into()).unwrap()
}

/// A body that comes when it is told to.
fn held_back() -> (Arc<Notify>, Body) {
    let come = Arc::new(Notify::new());
    let told = Arc::clone(&come);
    let body = async move {
        told.notified().await;
        Ok::<_, Infallible>(Bytes::from_static(b"late"))
    };
    (come, Body::from_stream(futures::stream::once(body)))
}

/// Sends requests whose bodies are held back, and waits until they are taken on.
async fn fill(router: &Router, gate: &Gate, count: usize) -> (Vec<Arc<Notify>>, JoinSet<String>) {
    let mut held = JoinSet::new();
    let mut bodies = Vec::new();
    let before = gate.in_flight();
    for _ in 0..count {
        let (come, body) = held_back();
        let router = router.clone();
        held.spawn(async move { send(&router, "/body", body).await });
        bodies.push(come);
    }
    while gate.in_flight() < before + count {
        tokio::task::yield_now().await;
    }
    (bodies, held)
}

/// Invariant 18: over the limit, nothing more is held, and what was taken on goes on.
#[tokio::test]
async fn beyond_the_limit_requests_are_told_so_until_one_is_answered() {
    let gate = Gate::new(2, PATIENCE);
    let router = router(&gate);
    let (bodies, mut held) = fill(&router, &gate, 2).await;
    assert_eq!(send(&router, "/", Body::empty()).await, "Refused");
    assert_eq!(gate.in_flight(), 2);
    bodies[0].notify_one();
    assert_eq!(held.join_next().await.unwrap().unwrap(), "Granted");
    assert_eq!(send(&router, "/", Body::empty()).await, "Granted");
    bodies[1].notify_one();
    assert_eq!(held.join_next().await.unwrap().unwrap(), "Granted");
    assert_eq!(gate.in_flight(), 0);
}

#[tokio::test]
async fn a_request_whose_peer_is_gone_counts_no_more() {
    let gate = Gate::new(1, PATIENCE);
    let router = router(&gate);
    let (_bodies, mut held) = fill(&router, &gate, 1).await;
    held.shutdown().await;
    assert_eq!(gate.in_flight(), 0);
    assert_eq!(send(&router, "/", Body::empty()).await, "Granted");
}

/// The work of each is over as soon as it has begun. Yet those that have come together are in one queue.
#[tokio::test]
async fn what_waits_for_its_turn_counts() {
    let gate = Gate::new(2, PATIENCE);
    let router = router(&gate);
    let mut burst = JoinSet::new();
    for _ in 0..5 {
        let router = router.clone();
        burst.spawn(async move { send(&router, "/", Body::empty()).await });
    }
    let mut answers = burst.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers, ["Granted", "Granted", "Refused", "Refused", "Refused"]);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let gate = Gate::new(1, PATIENCE);
    let router = router(&gate);
    let (_bodies, mut held) = fill(&router, &gate, 1).await;
    tokio::time::pause();
    let answer = tokio::time::timeout(PATIENCE * 2, held.join_next()).await.unwrap().unwrap().unwrap();
    assert!(answer.contains("the body did not come within 5 s"), "{answer}");
    assert_eq!(gate.in_flight(), 0);
}

/// Nor is it where the request was not taken on: what it holds is memory, too.
#[tokio::test]
async fn a_refused_request_is_not_waited_for_either() {
    let gate = Gate::new(0, PATIENCE);
    let (_come, body) = held_back();
    tokio::time::pause();
    let router = router(&gate);
    let answer = tokio::time::timeout(PATIENCE * 2, send(&router, "/body", body)).await.unwrap();
    assert!(answer.contains("the body did not come within 5 s"), "{answer}");
}

#[tokio::test]
async fn routes_that_are_added_later_are_told_nothing() {
    let gate = Gate::new(1, PATIENCE);
    let router = router(&gate);
    let (_bodies, _held) = fill(&router, &gate, 1).await;
    assert_eq!(send(&router, "/probe", Body::empty()).await, "None");
}

#[test]
fn whoever_came_past_the_gate_is_not_taken_on() {
    assert_eq!(Admission::of(&Extensions::new()), Admission::Refused);
}
