use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

fn check(status: u16, body: &str, expected: &Unread) {
    let status = StatusCode::from_u16(status).unwrap();
    assert_eq!(&refusal(status, body.as_bytes()), expected, "{body}");
}

fn failed(why: &str) -> Unread {
    Unread::Failed(why.to_owned())
}

#[test]
fn a_missing_permission_is_told_from_a_pod_that_does_not_answer() {
    check(
        403,
        r#"{"kind":"Status","status":"Failure","code":403,
            "message":"pods \"a\" is forbidden: User \"bob\" cannot get resource \"pods/proxy\""}"#,
        &Unread::Forbidden,
    );
    let refused = r#"{"kind":"Status","status":"Failure","code":503,"message":"dial tcp: refused"}"#;
    check(503, refused, &failed("dial tcp: refused"));
    check(403, "evil is no name\n", &failed("it answers 403 Forbidden: evil is no name"));
    check(404, "{}", &failed("it answers 404 Not Found: {}"));
}

#[test]
fn the_permission_that_is_missing_comes_with_the_role_that_has_it() {
    assert_eq!(
        missing(Some("shop")),
        "the numbers of sidecars can't be shown: it takes the verb get on pods/proxy in namespace shop, which the \
         ClusterRole rescind-sidecar-reader gives; an administrator grants it: \
         kubectl create rolebinding NAME --clusterrole=rescind-sidecar-reader --user=YOU -n shop"
    );
    assert!(missing(None).contains("get on pods/proxy in all namespaces"));
}

const METRICS: &str = "\
rescind_build_info{version=\"0.1.0\",component=\"sidecar\"} 1
rescind_stream_connected 1
rescind_list_age_seconds{list=\"bank/bank\"} 0.5
rescind_list_fresh{list=\"bank/bank\"} 1
rescind_list_version{list=\"bank/bank\"} 6
rescind_list_epoch{list=\"bank/bank\"} 1
";

fn pod(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("web-{number}"), "namespace": "shop"},
        "spec": {"containers": [{"name": "rescind-sidecar"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{
            "name": "rescind-sidecar", "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {}},
        }]},
    })
}

fn list() -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "TokenRevocationList",
        "metadata": {"name": "bank", "namespace": "bank"},
        "spec": {"issuers": [{
            "issuer": "https://a", "anyAudience": true, "maxTokenLifetimeSeconds": 60, "verification": {"keys": []},
        }]},
        "status": {"version": "1/7"},
    })
}

/// A cluster with so many pods, whose sidecars answer so. None: never.
fn cluster(
    pods: usize,
    sidecar: impl Fn(Option<&str>) -> Option<(u16, String)> + Clone + Send + 'static,
) -> Cluster {
    let api = service_fn(move |request: Request<Body>| {
        let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap().to_owned());
        let answer = match request.uri().path() {
            "/api/v1/namespaces/shop/pods" => {
                let items: Vec<Value> = (0..pods).map(pod).collect();
                Some((200, json!({"metadata": {}, "items": items}).to_string()))
            }
            "/apis/rescind.dev/v1alpha1/namespaces/bank/tokenrevocationlists/bank" => {
                Some((200, list().to_string()))
            }
            path => {
                assert!(path.starts_with("/api/v1/namespaces/shop/pods/web-"), "{path}");
                assert!(path.ends_with(":7404/proxy/metrics"), "{path}");
                sidecar(host.as_deref())
            }
        };
        async move {
            let Some((status, body)) = answer else { return std::future::pending().await };
            let answer = Response::builder().status(status).body(Body::from(body.into_bytes()));
            Ok::<_, tower::BoxError>(answer.unwrap())
        }
    });
    Cluster {
        client: kube::Client::new(api, "shop"),
        url: "https://api.example.com".to_owned(),
        namespace: "shop".to_owned(),
        is_namespace_given: false,
        answer_within: Duration::from_secs(10),
    }
}

async fn rows(cluster: &Cluster) -> Vec<Value> {
    let asked = cluster.sidecars(Some("shop"), BTreeMap::new()).await.unwrap();
    assert_eq!(asked.warning, None);
    asked.sidecars.iter().map(|sidecar| serde_json::to_value(sidecar).unwrap()).collect()
}

#[tokio::test]
async fn a_sidecar_that_does_not_know_the_name_of_the_api_server_is_asked_by_one_that_it_knows() {
    let cluster = cluster(1, |host| match host {
        Some("localhost") => Some((200, METRICS.to_owned())),
        _ => Some((403, "\"api.example.com\" is none of the names of this endpoint\n".to_owned())),
    });
    let rows = rows(&cluster).await;
    assert_eq!(rows[0]["state"], "Fresh");
    // Its list is in another namespace, and was looked up.
    assert_eq!((&rows[0]["version"], &rows[0]["lag"]), (&json!("1/6"), &json!("Behind")));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let cluster = cluster(1, |_| Some((200, METRICS.to_owned() + &"#".repeat(LONGEST_ANSWER))));
    let rows = rows(&cluster).await;
    assert_eq!(rows[0]["problem"], "its answer can't be read: length limit exceeded");
}

#[tokio::test(start_paused = true)]
async fn pods_that_never_answer_are_given_up_one_by_one_and_all_of_them_in_time() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let cluster = cluster(500, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    });
    let started = Instant::now();
    let rows = rows(&cluster).await;
    let took = started.elapsed();
    assert!(took < ALL_WITHIN + 2 * ANSWER_WITHIN, "{took:?}");
    let with = |problem: &str| rows.iter().filter(|row| row["problem"] == problem).count();
    // Sixteen at one time, ten times three seconds.
    assert_eq!((rows.len(), asked.load(Ordering::Relaxed)), (500, 160));
    assert_eq!((with("no answer within 3 s"), with("it was not asked: 30 s were over")), (160, 340));
}
