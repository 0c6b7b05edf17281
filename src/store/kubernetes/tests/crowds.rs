//! What others do to the cluster at the same time: who reads, who edits, and who declares much.

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;

use super::*;
use crate::store::What;
use crate::store::contract::revoke;

/// A store whose calls go through `answer`, with a client of the API server.
async fn through<F>(
    answer: impl Fn(Client, Request<Body>) -> F + Clone + Send + Sync + 'static,
) -> KubernetesStore
where
    F: Future<Output = Result<Response<Body>, kube::Error>> + Send + 'static,
{
    let store = open().await;
    let server = store.client();
    let service = tower::service_fn(move |request| answer(server.clone(), request));
    store.shared.client.store(Arc::new(Client::new(service, DEFAULT_NAMESPACE)));
    store
}

async fn answered(server: &Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
    let (head, body) = server.send(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(head, Body::from(body.to_vec())))
}

/// Invariant 1: whoever lists or lifts through the admin API does not replace what the watch has shown, which may be
/// newer by the time that everything was read; a report that was lost so would count nobody.
#[tokio::test]
async fn who_only_reads_leaves_to_the_watch_what_it_shows() {
    let _cluster = cluster().await;
    let store = open().await;
    let from = Store::fetch(&store).await.unwrap().version;
    let mut follow = Store::follow(&store, from).await.unwrap();
    let alice = revoke(&open().await, "alice").await;
    let known = || store.with_mirror(|mirror| (mirror.revision, mirror.revocations.contains_key(&alice.id)));
    assert_eq!(Store::read(&store).await.unwrap().revocations, std::slice::from_ref(&alice));
    assert_eq!(known(), (from.revisions.revocations, false));
    let event = tokio::time::timeout(Duration::from_secs(30), follow.next()).await.unwrap().unwrap();
    assert_eq!(event.what, What::Added(Box::new(alice.clone())));
    assert_eq!(known(), (alice.version.revisions.revocations, true));
}

/// Declares lists in the namespace of the others.
fn declare(names: &[String]) {
    let of = |name: &String| {
        let mut document = document();
        document.metadata.name.clone_from(name);
        String::from_utf8(document.encode()).unwrap()
    };
    apply(&names.iter().map(of).collect::<Vec<_>>().join("\n---\n"));
}

fn delete(names: &[String]) {
    let names = names.iter().map(String::as_str);
    kubectl(
        &["delete", "tokenrevocationlists", "-n", "default"].into_iter().chain(names).collect::<Vec<_>>(),
    );
}

fn names(lists: &[StoredList]) -> Vec<String> {
    lists.iter().map(|list| list.document.metadata.name.clone()).collect()
}

/// Invariant 23: who edits a list all the time stops that list alone.
#[tokio::test]
async fn a_list_that_changes_all_the_time_is_withheld_and_the_others_are_not() {
    let _cluster = cluster().await;
    let busy = ["busy".to_owned()];
    declare(&busy);
    let store = through(|server, request| async move {
        if request.method() == Method::PATCH && request.uri().path().ends_with("/tokenrevocationlists/busy") {
            let status = r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "Conflict",
                "message": "the object has been modified"}"#;
            let conflict = Response::builder().status(409).header("content-type", "application/json");
            return Ok(conflict.body(Body::from(status.as_bytes().to_vec())).unwrap());
        }
        answered(&server, request).await
    })
    .await;
    let lists = Store::lists(&store).await;
    let declared = store.declared();
    delete(&busy);
    assert_eq!(names(&lists.unwrap()), ["shop"]);
    let why = declared.iter().find(|list| list.name.name() == "busy").unwrap().document.clone().unwrap_err();
    assert!(why.starts_with("it changes all the time"), "{why}");
}

/// Invariant 23: one look does so much for new lists, and the next one more.
#[tokio::test]
async fn of_many_new_lists_each_look_records_some() {
    const MORE_THAN_ONE_LOOK: usize = 70;
    let _cluster = cluster().await;
    let store = open().await;
    Store::lists(&store).await.unwrap();
    let many: Vec<String> = (0..MORE_THAN_ONE_LOOK).map(|n| format!("many-{n:02}")).collect();
    declare(&many);
    let first = names(&Store::lists(&store).await.unwrap());
    let second = names(&Store::lists(&store).await.unwrap());
    delete(&many);
    assert!(first.contains(&"shop".to_owned()));
    assert_eq!((first.len(), second.len()), (1 + 64, 1 + MORE_THAN_ONE_LOOK));
}
