//! Who may open a stream, and which lists it gets: tokens of a real API server, its audiences, labels and silence.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rescind::proto::v1;
use rescind::proto::v1::distribution_client::DistributionClient;
use rescind::proto::v1::publisher_message::Message as Out;
use rescind::proto::v1::subscriber_message::Message as In;
use rescind::runtime::dial;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use crate::lab::{ACCOUNT, ACCOUNT_GROUPS, LIST, Lab, PATIENCE};
use crate::support::control_plane::TOKEN;
use crate::support::issue::now;
use crate::support::metrics::get;
use crate::support::wait::wait_for;

/// How often a stream asks for a proof.
const PING: Duration = Duration::from_millis(500);
/// The audience of tokens for us.
pub(crate) const OURS: &str = "rescind.dev";

impl Lab {
    /// Makes a lab with a controller that asks for tokens, and has the permissions of the examples.
    pub(crate) async fn guarded() -> Self {
        let mut lab = Self::new().await;
        let kubeconfig = lab.plane.kubeconfig_as(ACCOUNT, &ACCOUNT_GROUPS);
        let admin = format!("--admin={}", lab.path("admin.sock").display());
        lab.add_controller_with(&kubeconfig, &[format!("--audience={OURS}"), admin]).await;
        lab
    }

    /// Makes a ServiceAccount, and its namespace if need be.
    pub(crate) fn add_account(&self, namespace: &str, name: &str) {
        self.kubectl_with(
            &["apply", "-f", "-"],
            &json!({"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
            ]}),
        );
    }

    /// Asks the API server for a token of a ServiceAccount.
    pub(crate) async fn account_token(&self, namespace: &str, name: &str, audience: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 3600},
        });
        let answer = self.request("POST", &path, &request).await.unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Changes who may follow the list.
    fn allow(&self, allowed: &Value) {
        let patch = json!([{"op": "add", "path": "/spec/allowedSubscribers", "value": allowed}]).to_string();
        self.kubectl(&["patch", "trl", "shop", "-n", "apps", "--type=json", "-p", &patch]);
    }

    async fn follow(&self, token: Option<&str>, lists: &[&str]) -> Result<Follower, Status> {
        let uri = format!("unix:{}", self.controllers[0].socket().display());
        let channel = dial::channel(&uri, None, |endpoint| endpoint).unwrap();
        let (outbound, messages) = mpsc::channel(64);
        let hello = v1::Hello { identity: "test#ab".to_owned(), ..v1::Hello::default() };
        let subscribe = lists.iter().zip(1..).map(|(list, r#ref)| {
            let (namespace, name) = list.split_once('/').unwrap();
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            In::Subscribe(v1::Subscribe { r#ref, namespace, name, mode: 1, ..v1::Subscribe::default() })
        });
        for message in [In::Hello(hello)].into_iter().chain(subscribe) {
            outbound.send(v1::SubscriberMessage { message: Some(message) }).await.unwrap();
        }
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let inbound = DistributionClient::new(channel).follow(request).await?.into_inner();
        let mut pings = JoinSet::new();
        // Declarations are read in rounds of proof, and rounds are for those who ask.
        pings.spawn(async move {
            let ping = v1::Ping { nonce: vec![1; 16].into(), acknowledged: Vec::new() };
            while outbound.send(v1::SubscriberMessage { message: Some(In::Ping(ping.clone())) }).await.is_ok()
            {
                tokio::time::sleep(PING).await;
            }
        });
        Ok(Follower { _pings: pings, inbound })
    }

    /// Opens a stream that is taken.
    async fn following(&self, token: &str, lists: &[&str]) -> Follower {
        wait_for("a stream is taken", PATIENCE, async || {
            let followed = self.follow(Some(token), lists).await;
            followed.map_err(|status| format!("{status}\n{}", self.logs()))
        })
        .await
    }

    async fn check_refused(&self, token: Option<&str>, code: Code, words: &str) {
        let refused = wait_for("a refusal", PATIENCE, async || {
            let refused = self.follow(token, &[LIST]).await.map(drop).unwrap_err();
            // An API server that is busy has no time to say who somebody is.
            if refused.code() == Code::Unavailable && code != refused.code() {
                return Err(refused.to_string());
            }
            Ok(refused)
        })
        .await;
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }

    /// Signs what the API server would sign, whatever it says.
    fn forged(&self, namespace: &str, name: &str, expires: u64) -> String {
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.plane.accounts_key().as_bytes()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).unwrap();
        let account = self.kubectl(&["get", "serviceaccount", name, "-n", namespace, "-o", "json"]);
        let account: Value = serde_json::from_str(&account).unwrap();
        let claims = json!({
            "iss": "https://kubernetes.default.svc",
            "aud": [OURS],
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "iat": expires - 600, "nbf": expires - 600, "exp": expires, "jti": "0e8a2a3c-8d5a-4a8f-9a50-9a9b3f1a7c11",
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
            },
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&json!({"alg": "ES256"})), encode(&claims));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// A stream without a sidecar behind it.
struct Follower {
    _pings: JoinSet<()>,
    inbound: Streaming<v1::PublisherMessage>,
}

impl Follower {
    /// Returns what is decided about a list: nothing if it is given, or why it is not.
    async fn next(&mut self, reference: u32) -> Result<(), (v1::NotAdmittedReason, String)> {
        loop {
            match self.told(reference).await {
                Err((v1::NotAdmittedReason::Unavailable, _)) => {}
                decided => return decided,
            }
        }
    }

    /// Returns what comes next about a list, also that nobody can be asked yet.
    async fn told(&mut self, reference: u32) -> Result<(), (v1::NotAdmittedReason, String)> {
        let found = async {
            loop {
                let message = self.inbound.message().await.unwrap().unwrap().message.unwrap();
                if matches!(&message, Out::SnapshotEnd(end) if end.r#ref == reference) {
                    return Ok(());
                }
                if let Out::NotAdmitted(told) = message
                    && told.r#ref == reference
                {
                    return Err((told.reason(), told.detail));
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("nothing about the list")
    }

    /// Waits until the list is given.
    async fn given(&mut self, reference: u32) {
        while self.next(reference).await.is_err() {}
    }

    async fn refused(&mut self, reference: u32, reason: v1::NotAdmittedReason) -> String {
        let (told, why) = self.next(reference).await.unwrap_err();
        assert_eq!(told, reason, "{why}");
        why
    }
}

/// Invariant 24: nobody follows who does not show who they are.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_of_a_service_account_for_our_audience_opens_a_stream() {
    let lab = Lab::guarded().await;
    lab.add_account("apps", "web");
    let good = lab.account_token("apps", "web", OURS).await;
    lab.following(&good, &[LIST]).await.next(1).await.unwrap();
    lab.check_refused(None, Code::Unauthenticated, "--token-file").await;
    let other = lab.account_token("apps", "web", "https://kubernetes.default.svc").await;
    for token in ["nonsense", TOKEN, &other, &good[..good.len() - 4]] {
        lab.check_refused(Some(token), Code::Unauthenticated, "the token is not good").await;
    }
    // What is forged here differs from a good one in nothing but its end.
    lab.following(&lab.forged("apps", "web", now() + 600), &[LIST]).await.next(1).await.unwrap();
    // The API server takes a token for a minute longer.
    let expired = lab.forged("apps", "web", now() - 120);
    lab.check_refused(Some(&expired), Code::Unauthenticated, "the token is not good").await;
    assert!(!lab.logs().contains(&good), "a token is in the logs");
}

/// Invariant 24: the declaration in force decides, and the labels as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gets_the_lists_that_admit_its_account_as_they_change() {
    use v1::NotAdmittedReason::NotAllowed;
    let lab = Lab::guarded().await;
    lab.add_account("apps", "web");
    lab.add_account("other", "web");
    let own = lab.account_token("apps", "web", OURS).await;
    let foreign = lab.account_token("other", "web", OURS).await;
    let mut web = lab.following(&own, &[LIST, "apps/none"]).await;
    web.next(1).await.unwrap();
    assert!(web.refused(2, NotAllowed).await.contains("there is no list apps/none"));
    // Who is in another namespace does not learn what is there.
    let mut stranger = lab.following(&foreign, &[LIST, "apps/none"]).await;
    let there = stranger.refused(1, NotAllowed).await;
    let gone = lab.following(&foreign, &["apps/none"]).await.refused(1, NotAllowed).await;
    assert_eq!(there, gone.replace("apps/none", LIST));
    assert!(there.contains("other/web") && there.contains("spec.allowedSubscribers"), "{there}");

    lab.allow(&json!({"namespaces": {"from": "All"}}));
    stranger.next(1).await.unwrap();
    lab.allow(&json!({"namespaces": {"from": "All"}, "serviceAccounts": ["other/web"]}));
    let told = web.refused(1, NotAllowed).await;
    assert!(told.contains("change spec.allowedSubscribers.serviceAccounts"), "{told}");
    let selector = json!({"matchLabels": {"team": "a"}});
    lab.allow(&json!({"namespaces": {"from": "Selector", "selector": selector}}));
    stranger.refused(1, NotAllowed).await;
    lab.kubectl(&["label", "namespace", "other", "team=a"]);
    stranger.next(1).await.unwrap();
    lab.kubectl(&["label", "namespace", "other", "team-"]);
    stranger.refused(1, NotAllowed).await;
}

/// A name that is misspelt is found in the log and by the probe, and not by waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_of_a_list_that_does_not_exist_says_so_and_is_not_ready() {
    let mut lab = Lab::guarded().await;
    lab.add_account("apps", "web");
    let token = lab.account_token("apps", "web", OURS).await;
    let sidecar = lab.add_sidecar_that_shows(&token, "apps/none").await;
    wait_for("the log names the list", PATIENCE, async || {
        let log = lab.sidecars[sidecar].log();
        let told = log.lines().find(|line| line.contains("the controller gives nothing of this list"));
        match told {
            Some(line) if line.contains("WARN") && line.contains("there is no list apps/none") => Ok(()),
            _ => Err(lab.logs()),
        }
    })
    .await;
    let (status, body) = get(&lab.sidecars[sidecar].address("health"), "/readyz", &[]).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("list apps/none was not proven yet: is it declared"), "{body}");
    // Once it is declared, nothing has to be started again.
    lab.declare("none");
    lab.until_answer(sidecar, &lab.token("alice"), 200).await;
    assert_eq!(get(&lab.sidecars[sidecar].address("health"), "/readyz", &[]).await.0, 200);
}

/// Reconnections of many sidecars must not become as many questions.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_asked_once_about_a_token_that_is_shown_again() {
    let lab = Lab::guarded().await;
    lab.add_account("apps", "web");
    let token = lab.account_token("apps", "web", OURS).await;
    let reviews = || {
        let metrics = lab.kubectl(&["get", "--raw", "/metrics"]);
        let of_reviews = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{") && line.contains("resource=\"tokenreviews\"")
        });
        of_reviews.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum::<f64>()
    };
    let (before, begun) = (reviews(), tokio::time::Instant::now());
    for _ in 0..3 {
        lab.following(&token, &[LIST]).await.given(1).await;
    }
    let asked = reviews() - before;
    // An answer is good for ten seconds, which a machine may need that is very busy.
    assert!((asked - 1.0).abs() < 0.5 || begun.elapsed() > Duration::from_secs(10), "{asked} questions");
}

/// Invariant 24: a sidecar that is known goes on, and comes back; who is not known keeps what it holds and waits.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_silent_known_pairs_of_account_and_list_come_back() {
    let mut lab = Lab::guarded().await;
    lab.add_account("apps", "web");
    lab.add_account("apps", "late");
    let known = lab.account_token("apps", "web", OURS).await;
    let unknown = lab.account_token("apps", "late", OURS).await;
    let sidecar = lab.add_sidecar_that_shows(&known, LIST).await;
    lab.until_fresh().await;
    lab.declare("second");

    lab.plane.api_server().pause();
    // For a while the answer is remembered that the API server gave about the token.
    wait_for("the token is verified by its signature", PATIENCE, async || {
        let mut again = lab.following(&known, &[LIST, "apps/second"]).await;
        again.next(1).await.unwrap();
        match again.told(2).await {
            Err((v1::NotAdmittedReason::Unavailable, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    lab.check_refused(Some(&unknown), Code::Unavailable, "does not know it").await;
    let expired = lab.forged_at_rest(&known);
    lab.check_refused(Some(&expired), Code::Unauthenticated, "the token is not good").await;
    // A real sidecar, too: one that is started again.
    lab.sidecars[sidecar].kill().await;
    lab.sidecars[sidecar].start().await;
    wait_for("the sidecar follows", PATIENCE, async || {
        let log = lab.sidecars[sidecar].log();
        if log.contains("following") { Ok(()) } else { Err(log) }
    })
    .await;

    lab.plane.api_server().resume();
    lab.following(&unknown, &["apps/second"]).await.given(1).await;
    lab.until_fresh().await;
}

impl Lab {
    /// Starts a sidecar that shows a token; returns its number.
    async fn add_sidecar_that_shows(&mut self, token: &str, list: &str) -> usize {
        let file = self.path("token");
        std::fs::write(&file, token).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        self.add_sidecar_with(&[0], list, &[format!("--token-file={}", file.display())]).await
    }

    /// Returns a good token with its signature damaged.
    fn forged_at_rest(&self, token: &str) -> String {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}
