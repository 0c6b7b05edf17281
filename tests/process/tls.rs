//! TLS between sidecar and controller, with certificates that fit and that do not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::issue::now;
use crate::support::lab::Lab;
use crate::support::metrics::metric;
use crate::support::wait::wait_for;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// Writes a certificate for loopback, its key and the authority; returns their paths.
    fn certify(&self, lab: &Lab, name: &str) -> [PathBuf; 3] {
        self.certify_for(lab, name, &["localhost", "127.0.0.1"], |_| ())
    }

    /// The same for other names, with changes.
    fn certify_for(
        &self,
        lab: &Lab,
        name: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> [PathBuf; 3] {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let write = |suffix: &str, content: String| {
            let path = lab.path(&format!("{name}-{suffix}.pem"));
            std::fs::write(&path, content).unwrap();
            path
        };
        [write("cert", certificate.pem()), write("key", key.serialize_pem()), write("ca", self.pem.clone())]
    }
}

async fn start_controller(lab: &mut Lab, server: &[PathBuf; 3], client_ca: Option<&PathBuf>) -> String {
    let mut arguments = lab.controller_arguments();
    arguments.retain(|argument| !argument.starts_with("--listen"));
    arguments.push("--listen=127.0.0.1:0".to_owned());
    arguments.push(format!("--tls-cert={}", server[0].display()));
    arguments.push(format!("--tls-key={}", server[1].display()));
    arguments.extend(client_ca.map(|ca| format!("--tls-client-ca={}", ca.display())));
    let controller = lab.start_other(crate::support::lab::Program::Controller, &arguments).await.unwrap();
    let address = controller.address("streams").to_owned();
    lab.controller = Some(controller);
    address
}

async fn start_sidecar(lab: &mut Lab, address: &str, ca: &Path, client: Option<&[PathBuf; 3]>) {
    let mut arguments = lab.sidecar_arguments_to(&[format!("https://{address}")]);
    arguments.push(format!("--tls-ca={}", ca.display()));
    if let Some([certificate, key, _]) = client {
        arguments.push(format!("--tls-cert={}", certificate.display()));
        arguments.push(format!("--tls-key={}", key.display()));
    }
    lab.start_sidecar_with(&arguments).await;
}

/// Waits until the controller says something.
async fn until_said(lab: &Lab, text: &str) {
    let controller = lab.controller.as_ref().unwrap();
    wait_for(&format!("the controller says {text:?}"), PATIENCE, async || {
        let log = controller.child.log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Returns what the controller tells of the end of its certificate.
async fn certificate_end(lab: &Lab) -> Duration {
    let health = lab.controller.as_ref().unwrap().address("health");
    let told = metric(health, "rescind_serving_certificate_expiry_timestamp_seconds").await;
    Duration::from_secs_f64(told)
}

async fn never_fresh_because(lab: &mut Lab, why: &str) {
    let token = lab.keys.token(&json!({}));
    let sidecar = lab.sidecar.as_ref().unwrap();
    wait_for("the sidecar says why", PATIENCE, async || {
        let log = sidecar.child.log();
        if log.contains("the stream was lost") && log.contains(why) { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(lab.check(&token).await.unwrap().reason, "NEVER_FRESH");
}

#[tokio::test]
async fn with_certificates_that_fit_the_sidecar_is_fresh() {
    let (mut lab, authority) = (Lab::new(), Authority::new());
    let server = authority.certify(&lab, "server");
    let client = authority.certify(&lab, "client");
    let address = start_controller(&mut lab, &server, Some(&client[2])).await;
    start_sidecar(&mut lab, &address, &server[2], Some(&client)).await;
    lab.until_fresh().await;
}

#[tokio::test]
async fn a_controller_with_a_strangers_certificate_is_not_followed() {
    let (mut lab, authority, stranger) = (Lab::new(), Authority::new(), Authority::new());
    let server = stranger.certify(&lab, "server");
    let trusted = authority.certify(&lab, "trusted");
    let address = start_controller(&mut lab, &server, None).await;
    start_sidecar(&mut lab, &address, &trusted[2], None).await;
    never_fresh_because(&mut lab, "invalid peer certificate: BadSignature").await;
}

#[tokio::test]
async fn a_controller_with_an_expired_certificate_is_not_followed() {
    let (mut lab, authority) = (Lab::new(), Authority::new());
    let server = authority.certify_for(&lab, "server", &["127.0.0.1"], |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let address = start_controller(&mut lab, &server, None).await;
    start_sidecar(&mut lab, &address, &server[2], None).await;
    never_fresh_because(&mut lab, "invalid peer certificate: certificate expired").await;
    until_said(&lab, "the certificate has expired, and peers refuse it").await;
    // 2021-01-01.
    assert_eq!(certificate_end(&lab).await, Duration::from_secs(1_609_459_200));

    // Its renewal is taken up without a restart, and the alarm is over.
    authority.certify(&lab, "server");
    until_said(&lab, "the certificates were read anew").await;
    lab.until_fresh().await;
    assert!(certificate_end(&lab).await > Duration::from_secs(now()));
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_and_still_followed() {
    let (mut lab, authority) = (Lab::new(), Authority::new());
    let end = now() + 3600;
    let server = authority.certify_for(&lab, "server", &["127.0.0.1"], |parameters| {
        parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
    });
    let address = start_controller(&mut lab, &server, None).await;
    start_sidecar(&mut lab, &address, &server[2], None).await;
    lab.until_fresh().await;
    until_said(&lab, "the certificate ends soon and was not renewed").await;
    assert_eq!(certificate_end(&lab).await, Duration::from_secs(end));
}

#[tokio::test]
async fn a_controller_with_a_certificate_for_another_name_is_not_followed() {
    let (mut lab, authority) = (Lab::new(), Authority::new());
    let server = authority.certify_for(&lab, "server", &["controller.example.com", "127.0.0.2"], |_| ());
    let address = start_controller(&mut lab, &server, None).await;
    start_sidecar(&mut lab, &address, &server[2], None).await;
    never_fresh_because(&mut lab, "invalid peer certificate: certificate not valid for name").await;
}

#[tokio::test]
async fn a_sidecar_without_a_certificate_is_not_served_where_one_is_wanted() {
    let (mut lab, authority) = (Lab::new(), Authority::new());
    let server = authority.certify(&lab, "server");
    let address = start_controller(&mut lab, &server, Some(&server[2])).await;
    start_sidecar(&mut lab, &address, &server[2], None).await;
    never_fresh_because(&mut lab, "CertificateRequired").await;
}

#[tokio::test]
async fn an_unusable_certificate_ends_the_start_with_a_sentence() {
    let (lab, authority) = (Lab::new(), Authority::new());
    let [one, other] = ["one", "other"].map(|name| authority.certify(&lab, name));
    let mut arguments = lab.controller_arguments();
    arguments.push(format!("--tls-cert={}", one[0].display()));
    arguments.push(format!("--tls-key={}", other[1].display()));
    arguments.push("--listen=127.0.0.1:0".to_owned());
    let said = match lab.start_other(crate::support::lab::Program::Controller, &arguments).await {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    };
    assert!(said.contains("other-key.pem") || said.contains("one-cert.pem"), "{said}");
}
