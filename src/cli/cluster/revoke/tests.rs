use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::api::compile::tests::config;
use crate::cli::view::View;
use crate::cli::wait::{Report, Waited};
use crate::proto::v1::target::Target;

const NOW: Moment = Moment { boot_nanos: 0, wall_nanos: 1_795_255_200_500_000_000 };

fn planned(request: &v1::RevokeRequest) -> Result<api::Revocation, String> {
    let config = config();
    let (spec, _) = admin::read(request, &config, NOW).map_err(|status| status.message().to_owned())?;
    let spec = with_clock_of_cluster(spec, request.cutoff, NOW);
    object(request, &config, &spec).map_err(|error| error.to_string())
}

fn request(target: Target) -> v1::RevokeRequest {
    v1::RevokeRequest { target: Some(v1::Target { target: Some(target) }), ..Default::default() }
}

fn now() -> Option<v1::Cutoff> {
    Some(v1::Cutoff { cutoff: Some(WireCutoff::Now(true)) })
}

#[test]
fn an_object_is_named_at_random_and_says_who_made_it() {
    let [one, two] = [(); 2].map(|()| planned(&request(Target::Subject("alice".to_owned()))).unwrap());
    let names = [&one, &two].map(|object| object.metadata.name.clone().unwrap());
    assert!(names.iter().all(|name| name.starts_with("r-") && name.len() == 12), "{names:?}");
    assert_ne!(names[0], names[1]);
    let labels = one.metadata.labels.clone().unwrap();
    assert_eq!(labels.get("app.kubernetes.io/managed-by").map(String::as_str), Some("rescind"));
    assert_eq!(one.spec, two.spec);
}

#[test]
fn a_cutoff_of_now_is_left_to_the_clock_of_the_cluster_where_it_is_the_default() {
    let cutoff =
        |target, cutoff| planned(&v1::RevokeRequest { cutoff, ..request(target) }).unwrap().spec.cutoff;
    let second = Some("2026-11-21T10:00:00Z".to_owned());
    assert_eq!(cutoff(Target::Subject("alice".to_owned()), now()), None);
    assert_eq!(cutoff(Target::Subject("alice".to_owned()), None), None);
    assert_eq!(cutoff(Target::Session("s".to_owned()), now()), second);
    assert_eq!(cutoff(Target::Everything(true), now()), second);
    let at = Some(v1::Cutoff { cutoff: Some(WireCutoff::UnixSeconds(1_795_255_200)) });
    assert_eq!(cutoff(Target::Subject("alice".to_owned()), at), second);
}

#[test]
fn what_the_list_does_not_declare_is_refused_before_anything_is_sent() {
    let other = v1::RevokeRequest {
        issuer: "https://else".to_owned(),
        ..request(Target::Subject("alice".to_owned()))
    };
    let problem = planned(&other).unwrap_err();
    assert!(problem.starts_with("spec.issuer: is not declared by list "), "{problem}");
    let named = v1::RevokeRequest { name: "No Label".to_owned(), ..request(Target::Subject("a".to_owned())) };
    assert!(planned(&named).unwrap_err().starts_with("name: is not a name"));
}

/// An API server that stores what is sent, and answers as a test wants.
struct Server {
    /// How many calls that change something have their effect and are not answered.
    lost_answers: u32,
    stored: Option<Value>,
    /// As whom it knows the caller, if it says so.
    user: Option<&'static str>,
}

impl Server {
    fn answer(&mut self, request: &Request<Body>, body: Option<Value>) -> (u16, Value) {
        let status = |code: u16, reason: &str| {
            let text = format!("said the server: {reason}");
            let details = json!({"name": "r-1"});
            let status = json!({"kind": "Status", "code": code, "reason": reason, "message": text, "details": details});
            (code, status)
        };
        if request.uri().path().ends_with("/selfsubjectreviews") {
            let reviewed = |user| (201, json!({"status": {"userInfo": {"username": user}}}));
            return self.user.map_or_else(|| status(403, "Forbidden"), reviewed);
        }
        let answer = match (request.method(), request.uri().path().contains("tokenrevocationlists"), body) {
            (&Method::GET, true, _) => return (200, declared()),
            (&Method::GET, false, _) => {
                let stored = self.stored.clone();
                return stored.map_or_else(|| status(404, "NotFound"), |stored| (200, stored));
            }
            (&Method::DELETE, _, body) => {
                let wanted = body.map(|body| body["preconditions"]["uid"].clone());
                let uid = self.stored.as_ref().map(|stored| stored["metadata"]["uid"].clone());
                if wanted != uid {
                    return status(409, "Conflict");
                }
                self.stored = None;
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            (_, _, Some(mut object)) if self.stored.is_none() => {
                object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000001");
                object["metadata"]["creationTimestamp"] = json!("2026-11-21T10:00:00Z");
                self.stored = Some(object.clone());
                (201, object)
            }
            _ => status(409, "AlreadyExists"),
        };
        if self.lost_answers > 0 {
            self.lost_answers -= 1;
            return status(504, "Timeout");
        }
        answer
    }
}

fn declared() -> Value {
    json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "TokenRevocationList",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"issuers": [{
            "issuer": "https://id.example.com", "anyAudience": true, "maxTokenLifetimeSeconds": 3600,
            "requiredClaims": ["sub"],
            "verification": {"trustUpstream": {"envoyMetadata": {"payloadKey": "jwt"}}},
        }]},
    })
}

fn cluster(lost_answers: u32) -> (Cluster, Arc<Mutex<Server>>) {
    let server = Arc::new(Mutex::new(Server { lost_answers, stored: None, user: None }));
    let answering = Arc::clone(&server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&answering);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap();
            let request = Request::from_parts(parts, Body::empty());
            let (code, answer) = server.lock().unwrap().answer(&request, serde_json::from_slice(&bytes).ok());
            let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, tower::BoxError>(response.unwrap())
        }
    });
    let client = kube::Client::new(service, "shop");
    let (url, namespace) = ("https://api.example.com".to_owned(), "shop".to_owned());
    let answer_within = Duration::from_secs(10);
    (Cluster { client, url, namespace, is_namespace_given: false, answer_within }, server)
}

async fn revoke(cluster: &Cluster) -> Result<View, String> {
    let list = "shop".parse().unwrap();
    let request = request(Target::Subject("alice".to_owned()));
    match cluster.revoke(Some(&list), &request, DryRun::None, NOW).await {
        Ok(Revoked::Stored { view, .. }) => Ok(*view),
        Ok(Revoked::Planned { .. }) => Err("it was planned only".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_whose_answer_is_lost_is_found_again_by_its_name() {
    for lost_answers in 0..ATTEMPTS {
        let (cluster, server) = cluster(lost_answers);
        let view = revoke(&cluster).await.unwrap();
        let stored = server.lock().unwrap().stored.clone().unwrap();
        assert_eq!(stored["metadata"]["name"], view.name.as_str(), "{lost_answers}");
        assert_eq!(stored["metadata"]["uid"], view.uid.as_str());
    }
}

#[tokio::test]
async fn an_object_names_who_has_made_it_where_the_api_server_says_it() {
    for user in [Some("alice-support"), None] {
        let (cluster, server) = cluster(0);
        server.lock().unwrap().user = user;
        revoke(&cluster).await.unwrap();
        let stored = server.lock().unwrap().stored.clone().unwrap();
        assert_eq!(stored["metadata"]["annotations"][REVOKED_BY], json!(user), "{stored}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_answer_comes_it_is_not_known_and_the_name_tells_how_to_go_on() {
    let (cluster, server) = cluster(u32::MAX);
    let problem = revoke(&cluster).await.unwrap_err();
    let name = server.lock().unwrap().stored.clone().unwrap()["metadata"]["name"].clone();
    let name = name.as_str().unwrap();
    assert_eq!(
        problem,
        format!(
            "the cluster at https://api.example.com failed: said the server: Timeout; whether the revocation was \
             stored is not known: repeat the command with --name {name}, or see `rescind list`"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_lift_whose_answer_is_lost_is_seen_to_have_had_its_effect() {
    let (cluster, server) = cluster(0);
    let view = revoke(&cluster).await.unwrap();
    server.lock().unwrap().lost_answers = 1;
    let lifted = cluster.lift(None, &view.name, Some(&view.uid), DryRun::None).await.unwrap();
    assert_eq!(lifted.view.uid, view.uid);
    assert_eq!(server.lock().unwrap().stored, None);
}

#[tokio::test]
async fn a_namesake_is_not_taken_for_the_revocation_that_is_waited_for() {
    let (cluster, server) = cluster(0);
    let view = revoke(&cluster).await.unwrap();
    let condition = json!({
        "type": "Enforced", "status": "True", "reason": "Applied", "message": ".",
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    });
    let mut namesake = server.lock().unwrap().stored.clone().unwrap();
    namesake["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000002");
    namesake["status"] = json!({"conditions": [condition]});
    let first = async |stored: Value| {
        server.lock().unwrap().stored = Some(stored);
        cluster.reports(&view).next().await.unwrap()
    };
    let expected = Waited::Over("it was deleted meanwhile, which lifts it".to_owned());
    let report = first(namesake.clone()).await;
    assert!(matches!(&report, Report::End(waited, None) if *waited == expected), "{report:?}");
    namesake["metadata"]["uid"] = json!(view.uid);
    let report = first(namesake).await;
    assert!(matches!(&report, Report::End(Waited::Enforced(_), Some(_))), "{report:?}");
}
