//! The controllers' own authority: sidecars trust it by the ConfigMap that is published, and nobody is disturbed when it
//! is replaced.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rescind::proto::v1;
use rescind::proto::v1::revocation_admin_client::RevocationAdminClient;
use rescind::runtime::{dial, tls};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::in_project;
use crate::lab::{LIST, Lab, NAMESPACE, PATIENCE};
use crate::support::control_plane::TOKEN;
use crate::support::http1::{Ask, ask_unix};
use crate::support::metrics::{get, metric};
use crate::support::wait::wait_for;

const SECRET: &str = "/api/v1/namespaces/rescind-system/secrets/rescind-ca";
const WEBHOOK: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

fn config_map(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/rescind-ca")
}

fn webhook() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "rescind-injector"},
        "webhooks": [{
            "name": "pods.rescind.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Ignore",
            "clientConfig": {"service": {"name": "rescind-webhook", "namespace": "rescind-system"}},
        }],
    })
}

fn certificates(bundle: &str) -> usize {
    bundle.matches("BEGIN CERTIFICATE").count()
}

impl Lab {
    /// Waits until a namespace has a ConfigMap with so many authorities; returns them.
    async fn published(&self, namespace: &str, count: usize) -> String {
        wait_for(&format!("{count} authorities are published"), PATIENCE, async || {
            let map = self.request("GET", &config_map(namespace), &Value::Null).await?;
            let bundle = map["data"]["ca.crt"].as_str().unwrap_or_default().to_owned();
            if certificates(&bundle) == count { Ok(bundle) } else { Err(format!("{map}\n{}", self.logs())) }
        })
        .await
    }

    /// Brings the ConfigMap to the sidecars' disk, as the kubelet does; returns the file.
    async fn mount(&self, count: usize) -> PathBuf {
        let bundle = self.published(NAMESPACE, count).await;
        let (path, next) = (self.path("ca.crt"), self.path("ca.next"));
        std::fs::write(&next, bundle).unwrap();
        std::fs::rename(next, &path).unwrap();
        path
    }

    async fn authorities(&self) -> Value {
        let secret = self.request("GET", SECRET, &Value::Null).await.unwrap();
        let json = STANDARD.decode(secret["data"]["authorities.json"].as_str().unwrap()).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    /// Makes the authorities older by hand, as time would: the controllers do what is due then.
    async fn age(&self, change: impl FnOnce(&mut Value)) {
        let mut authorities = self.authorities().await;
        change(&mut authorities);
        let data = json!({"authorities.json": STANDARD.encode(authorities.to_string())});
        self.request("PATCH", SECRET, &json!({"data": data})).await.unwrap();
    }

    /// Waits until it is noted that the successor is published everywhere; returns the authorities.
    async fn until_noted(&self) -> Value {
        wait_for("the publication of the successor is noted", PATIENCE, async || {
            let authorities = self.authorities().await;
            if authorities.get("nextPublished").is_some() { Ok(authorities) } else { Err(self.logs()) }
        })
        .await
    }

    /// Waits until the API server is told whom to trust.
    async fn until_told(&self, bundle: &str) {
        wait_for("the API server is told whom to trust", PATIENCE, async || {
            let found = self.told().await?;
            let told = &found["webhooks"][0]["clientConfig"]["caBundle"];
            if *told == STANDARD.encode(bundle) { Ok(()) } else { Err(format!("{found}\n{}", self.logs())) }
        })
        .await;
    }

    async fn told(&self) -> Result<Value, String> {
        self.request("GET", &format!("{WEBHOOK}/rescind-injector"), &Value::Null).await
    }

    /// Puts a certificate of another authority into the folder of a controller's files; returns the authority.
    fn certify(&self) -> String {
        let authority_key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&authority_key).unwrap().pem().replace('\r', "");
        let issuer = Issuer::new(parameters, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["rescind-controller.localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let files = [
            ("tls.crt", certificate.pem()),
            ("tls.key", key.serialize_pem()),
            ("given.crt", authority.clone()),
        ];
        for (name, content) in files {
            std::fs::write(self.path(name), content).unwrap();
        }
        authority
    }

    /// The arguments of a controller with the files of [`certify`](Self::certify).
    fn given_certificate(&self) -> Vec<String> {
        let file = |name: &str| self.path(name).display().to_string();
        vec![
            "--listen=127.0.0.1:0".to_owned(),
            format!("--tls-cert={}", file("tls.crt")),
            format!("--tls-key={}", file("tls.key")),
            format!("--tls-publish-ca={}", file("given.crt")),
        ]
    }

    async fn unpublished(&self, controller: usize) -> f64 {
        metric(&self.controllers[controller].address("health"), "rescind_authorities_unpublished").await
    }

    /// Starts a sidecar that follows controllers over TLS.
    async fn add_trusting_sidecar(&mut self, controllers: &[usize], trusted: &str) -> usize {
        let name = format!("trusted-{}.crt", self.sidecars.len());
        std::fs::write(self.path(&name), trusted).unwrap();
        let path = self.path(&name);
        self.add_sidecar_over_tls(controllers, &path).await
    }

    async fn add_sidecar_over_tls(&mut self, controllers: &[usize], authorities: &std::path::Path) -> usize {
        let ports = controllers.iter().map(|number| self.controllers[*number].address("streams"));
        let uris = ports.map(|address| address.replace("127.0.0.1", "https://rescind-controller.localhost"));
        let mut arguments: Vec<String> = uris.map(|uri| format!("--controller={uri}")).collect();
        arguments.push(format!("--tls-ca={}", authorities.display()));
        self.add_sidecar_that_dials(arguments, LIST).await
    }

    async fn until_logged(&self, sidecar: usize, text: &str) {
        wait_for(&format!("sidecar {sidecar} says {text:?}"), PATIENCE, async || {
            let log = self.sidecars[sidecar].log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}

fn date(days_ago: u64) -> Value {
    let day = Duration::from_secs(86_400 * days_ago);
    json!((jiff::Timestamp::now() - day).to_string())
}

/// Asks a sidecar about a good token all the time; collects what it does not answer with 200.
fn load(lab: &Lab, tasks: &mut JoinSet<()>) -> Arc<Mutex<Vec<String>>> {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let (socket, told) = (lab.sidecars[0].socket().to_owned(), Arc::clone(&refused));
    let token = lab.token("load");
    tasks.spawn(async move {
        loop {
            match ask_unix(&socket, &Ask::get("/auth").bearer(&token)).await {
                Ok(reply) if reply.status == 200 => {}
                other => told.lock().unwrap().push(format!("{:?}", other.map(|reply| reply.status))),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    refused
}

fn stranger() -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&key).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_trust_what_is_published_and_nothing_else() {
    let mut lab = Lab::new().await;
    lab.add_certified_controller().await;
    // Its own namespace has it without being asked, another one when it is labelled.
    let bundle = lab.published("rescind-system", 1).await;
    lab.kubectl(&["label", "namespace", NAMESPACE, "rescind.dev/inject=enabled"]);
    assert_eq!(lab.published(NAMESPACE, 1).await, bundle);
    lab.add_trusting_sidecar(&[0], &bundle).await;
    lab.until_fresh().await;

    let strange = lab.add_trusting_sidecar(&[0], &stranger()).await;
    lab.until_logged(strange, "invalid peer certificate").await;
    let address = lab.controllers[0].address("streams");
    let plain = lab.add_sidecar_that_dials(vec![format!("--controller=http://{address}")], LIST).await;
    lab.until_logged(plain, "the stream was lost").await;
    for sidecar in [strange, plain] {
        assert_eq!(lab.ask(sidecar, &lab.token("nobody")).await, Ok(503));
    }

    // What others write there does not stay.
    lab.request("PATCH", &config_map(NAMESPACE), &json!({"data": {"ca.crt": stranger()}})).await.unwrap();
    wait_for("the ConfigMap is put right", PATIENCE, async || {
        let map = lab.request("GET", &config_map(NAMESPACE), &Value::Null).await?;
        if map["data"]["ca.crt"] == bundle { Ok(()) } else { Err(map.to_string()) }
    })
    .await;
    lab.request("POST", WEBHOOK, &webhook()).await.unwrap();
    lab.until_told(&bundle).await;
}

/// As the chart serves it: on a port, by the name of its Service.
#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_on_a_port_is_served_over_tls_only() {
    let mut lab = Lab::new().await;
    let arguments = ["--listen=127.0.0.1:0", "--service-domain=localhost", "--admin=127.0.0.1:0"];
    let controller = lab.add_controller_over_tcp(&arguments.map(ToOwned::to_owned)).await;
    let authorities = lab.path("admin.crt");
    std::fs::write(&authorities, lab.published("rescind-system", 1).await).unwrap();
    let address = lab.controllers[controller].address("admin");
    let over_tls = address.replace("127.0.0.1", "https://rescind-admin.localhost");
    let by = async |uri: &str, trusted: Option<&std::path::Path>| {
        let tls = trusted.map(|authorities| tls::client(authorities, None).unwrap());
        let here = Some(address.parse().unwrap());
        let channel = dial::channel_to(uri, here, tls, |endpoint| endpoint.timeout(PATIENCE)).unwrap();
        let mut request =
            tonic::Request::new(v1::ListRequest { list: LIST.to_owned(), ..v1::ListRequest::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        RevocationAdminClient::new(channel).list(request).await
    };
    wait_for("the administrator is answered", PATIENCE, async || {
        by(&over_tls, Some(&authorities)).await.map_err(|status| format!("{status}\n{}", lab.logs()))
    })
    .await;
    std::fs::write(lab.path("stranger.crt"), stranger()).unwrap();
    let refused = by(&over_tls, Some(&lab.path("stranger.crt"))).await.unwrap_err();
    assert!(format!("{refused:?}").contains("invalid peer certificate"), "{refused:?}");
    let plain = by(&format!("http://{address}"), None).await.unwrap_err();
    assert_ne!(plain.code(), tonic::Code::Unauthenticated, "it was read: {plain:?}");
}

/// Once: else there would be no end of successors.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_annotates_the_secret_gets_a_successor_and_the_annotation_goes() {
    let mut lab = Lab::new().await;
    lab.add_certified_controller().await;
    lab.published("rescind-system", 1).await;
    let annotation = "rescind.dev/rotate=now";
    lab.kubectl(&["annotate", "secret", "rescind-ca", annotation, "--namespace", "rescind-system"]);
    lab.published("rescind-system", 2).await;
    assert!(lab.authorities().await["next"].is_object());
    let secret = lab.request("GET", SECRET, &Value::Null).await.unwrap();
    assert_eq!(secret.pointer("/metadata/annotations/rescind.dev~1rotate"), None, "{}", secret["metadata"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_the_authority_under_load_leaves_everybody_fresh() {
    let mut lab = Lab::new().await;
    lab.kubectl(&["label", "namespace", NAMESPACE, "rescind.dev/inject=enabled"]);
    for _ in 0..2 {
        lab.add_certified_controller().await;
    }
    let mounted = lab.mount(1).await;
    lab.request("POST", WEBHOOK, &webhook()).await.unwrap();
    lab.add_sidecar_over_tls(&[0, 1], &mounted).await;
    lab.until_fresh().await;
    let mut tasks = JoinSet::new();
    let refused = load(&lab, &mut tasks);

    lab.age(|authorities| authorities["signing"]["created"] = date(91)).await;
    lab.mount(2).await;
    lab.until_told(&lab.published(NAMESPACE, 2).await).await;
    lab.until_logged(0, "the certificates were read anew").await;
    let before = lab.authorities().await;
    assert_eq!(before["next"]["key"].as_str().map(|key| key.contains("PRIVATE KEY")), Some(true));

    lab.until_noted().await;
    lab.age(|authorities| authorities["nextPublished"] = date(2)).await;
    let successor = before["next"]["name"].as_str().unwrap();
    wait_for("both replicas have a certificate of the successor", PATIENCE, async || {
        let has =
            |log: &str| log.lines().any(|line| line.contains("new certificate") && line.contains(successor));
        if lab.controllers.iter().all(|node| has(&node.log())) { Ok(()) } else { Err(lab.logs()) }
    })
    .await;
    let after = lab.authorities().await;
    assert_eq!(after["signing"]["certificate"], before["next"]["certificate"]);
    assert_eq!(after["retired"][0].get("key"), None, "the old key is gone");
    // Who knows the successor alone is served; who knew both connects anew when its controller goes.
    let alone = before["next"]["certificate"].as_str().unwrap().to_owned();
    let late = lab.add_trusting_sidecar(&[0, 1], &alone).await;
    lab.until_answer(late, &lab.token("nobody"), 200).await;
    lab.controllers[0].kill().await;
    lab.until_fresh().await;

    lab.age(|authorities| authorities["retired"][0]["since"] = date(3)).await;
    assert_eq!(lab.mount(1).await, mounted);
    assert_eq!(lab.published(NAMESPACE, 1).await, alone);
    lab.until_told(&alone).await;
    lab.controllers[0].start().await;
    lab.until_fresh().await;
    assert_eq!(*refused.lock().unwrap(), Vec::<String>::new(), "{}", lab.logs());
}

/// A sidecar there would not know whom to trust once the successor signs.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_can_not_be_published_somewhere_waits_until_it_can() {
    let mut lab = Lab::new().await;
    lab.add_certified_controller().await;
    let bundle = lab.published("rescind-system", 1).await;
    let stuck = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
        "metadata": {"name": "rescind-ca", "labels": {"app.kubernetes.io/managed-by": "rescind"}},
        "data": {"ca.crt": bundle},
    });
    lab.request("POST", "/api/v1/namespaces/apps/configmaps", &stuck).await.unwrap();
    lab.kubectl(&["label", "namespace", NAMESPACE, "rescind.dev/inject=enabled"]);

    lab.age(|authorities| authorities["signing"]["created"] = date(91)).await;
    lab.published("rescind-system", 2).await;
    wait_for("one place is told", PATIENCE, async || match lab.unpublished(0).await {
        1.0 => Ok(()),
        other => Err(format!("{other}: {}", lab.logs())),
    })
    .await;
    // Long enough: it would sign by now.
    lab.age(|authorities| authorities["next"]["created"] = date(2)).await;
    wait_for("the wait is told", PATIENCE, async || {
        let log = lab.controllers[0].log();
        let is_told = log.contains("is not published everywhere") && log.contains("field is immutable");
        if is_told { Ok(()) } else { Err(log) }
    })
    .await;
    let held_up = lab.authorities().await;
    assert_eq!(held_up.get("nextPublished"), None);
    let successor = held_up["next"]["certificate"].clone();
    assert_ne!(held_up["signing"]["certificate"], successor);

    lab.kubectl(&["delete", "configmap", "rescind-ca", "--namespace", NAMESPACE]);
    lab.published(NAMESPACE, 2).await;
    let noted = lab.until_noted().await;
    assert_eq!(noted["next"]["certificate"], successor, "it does not sign yet: sidecars have to read of it");
    lab.age(|authorities| authorities["nextPublished"] = date(2)).await;
    wait_for("the successor signs", PATIENCE, async || match lab.authorities().await {
        authorities if authorities["signing"]["certificate"] == successor => Ok(()),
        _ => Err(lab.logs()),
    })
    .await;
    assert!(lab.unpublished(0).await < 1.0);
}

/// As cert-manager renews them.
#[tokio::test(flavor = "multi_thread")]
async fn given_authorities_are_published_and_published_anew_when_the_file_changes() {
    let mut lab = Lab::new().await;
    lab.kubectl(&["label", "namespace", NAMESPACE, "rescind.dev/inject=enabled"]);
    lab.request("POST", WEBHOOK, &webhook()).await.unwrap();
    let first = lab.certify();
    lab.add_controller_over_tcp(&lab.given_certificate()).await;
    assert_eq!(lab.published("rescind-system", 1).await, first);
    let mounted = lab.mount(1).await;
    assert_eq!(std::fs::read_to_string(&mounted).unwrap(), first);
    lab.until_told(&first).await;
    lab.add_sidecar_over_tls(&[0], &mounted).await;
    lab.until_fresh().await;
    assert_eq!(lab.request("GET", SECRET, &Value::Null).await.ok(), None, "there is no other authority");

    // cert-manager tells the API server by itself from here on.
    let injected = json!({"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "a/b"}}});
    lab.request("PATCH", &format!("{WEBHOOK}/rescind-injector"), &injected).await.unwrap();
    let second = lab.certify();
    for namespace in ["rescind-system", NAMESPACE] {
        wait_for("the new authority is published", PATIENCE, async || {
            let published = lab.published(namespace, 1).await;
            if published == second { Ok(()) } else { Err(lab.logs()) }
        })
        .await;
    }
    let late = lab.add_trusting_sidecar(&[0], &second).await;
    lab.until_answer(late, &lab.token("nobody"), 200).await;
    let told = lab.told().await.unwrap();
    assert_eq!(told["webhooks"][0]["clientConfig"]["caBundle"], STANDARD.encode(&first));
}

/// Else the first pods after an installation would have no sidecar. cert-manager is to tell the API server here, and is
/// not there yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_is_ready_only_once_the_api_server_trusts_its_webhook() {
    let mut lab = Lab::new().await;
    let mut configuration = webhook();
    configuration["metadata"]["annotations"] = json!({"cert-manager.io/inject-ca-from": "a/b"});
    lab.request("POST", WEBHOOK, &configuration).await.unwrap();
    let authority = lab.certify();
    let settings = in_project("examples/injection.yaml");
    let more = [
        lab.given_certificate(),
        vec!["--webhook=127.0.0.1:0".to_owned(), format!("--injection={settings}")],
    ];
    lab.add_controller_over_tcp(&more.concat()).await;

    let awaited = "[-] webhook: the API server does not trust the webhook yet";
    let health = lab.controllers[0].address("health").to_owned();
    wait_for("nothing else is awaited", PATIENCE, async || {
        let (status, body) = get(&health, "/readyz", &[]).await;
        let unmet: Vec<_> = body.lines().filter(|line| line.starts_with("[-]")).collect();
        if status == 503 && unmet == [awaited] { Ok(()) } else { Err(body) }
    })
    .await;

    let mut told = lab.told().await.unwrap();
    told["webhooks"][0]["clientConfig"]["caBundle"] = json!(STANDARD.encode(&authority));
    lab.request("PUT", &format!("{WEBHOOK}/rescind-injector"), &told).await.unwrap();
    wait_for("it is ready", PATIENCE, async || {
        let (status, body) = get(&health, "/readyz", &[]).await;
        if status == 200 { Ok(()) } else { Err(body) }
    })
    .await;
    assert!(!lab.controllers[0].log().contains("made without a sidecar"), "{}", lab.controllers[0].log());
}
