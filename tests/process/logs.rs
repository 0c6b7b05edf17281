//! What processes write about what they do: enough to find a mistake, and nothing about anybody.

use std::path::Path;

use rescind::proto::v1;
use rescind::proto::v1::claims_check_client::ClaimsCheckClient;
use rescind::proto::v1::cutoff::Cutoff;
use rescind::proto::v1::target::Target;
use rescind::runtime::dial;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_unix};
use crate::support::issue::claims;
use crate::support::lab::{Lab, revoke_request};
use crate::support::metrics::get;
use crate::support::program::Program;
use crate::support::wait::wait_for;

/// Starts a program of ours that logs everything of interest, to a file without an end.
fn start(lab: &Lab, name: &str, program: &str, arguments: Vec<String>) -> Program {
    let script = "RUST_LOG=debug exec \"$0\" \"$@\"".to_owned();
    let arguments = ["-c".to_owned(), script, program.to_owned()].into_iter().chain(arguments);
    Program::start(name, Path::new("/bin/sh"), arguments, &lab.path(""))
}

/// Waits until a program says where its probes are, and returns its metrics.
async fn metrics(program: &Program) -> String {
    let health = wait_for("the address of the probes", PATIENCE, async || {
        let log = program.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut listening = lines.filter(|line| line["message"] == "listening");
        listening.find_map(|line| line["health"].as_str().map(ToOwned::to_owned)).ok_or(log)
    })
    .await;
    get(&health, "/metrics", &[]).await.1
}

/// Revokes in every way, is refused, lifts, and asks on every path.
async fn use_everything(lab: &Lab, tokens: &[&str]) {
    let mut last = String::new();
    for target in [
        Target::Subject("subject-of-nobody".to_owned()),
        Target::Session("session-of-nobody".to_owned()),
        Target::Token("identifier-of-nobody".to_owned()),
        Target::Client("client-of-nobody".to_owned()),
        Target::PresentedToken(tokens[1].to_owned()),
    ] {
        let cutoff = Some(v1::Cutoff { cutoff: Some(Cutoff::Always(true)) });
        let revoked = lab.try_revoke(v1::RevokeRequest { cutoff, ..revoke_request(target) }).await.unwrap();
        last = revoked.version;
    }
    lab.until_enforced(&last).await;
    for refused in [Target::PresentedToken(tokens[2].to_owned()), Target::Session(String::new())] {
        assert!(lab.try_revoke(revoke_request(refused)).await.is_err());
    }
    let uri = format!("unix:{}", lab.path("claims.sock").display());
    let mut by_claims = ClaimsCheckClient::new(dial::channel(&uri, None, |endpoint| endpoint).unwrap());
    let auth = lab.path("auth.sock");
    for token in tokens {
        lab.check(token).await.unwrap();
        ask_unix(&auth, &Ask::get("/auth").bearer(token)).await.unwrap();
        let cookie = format!("theme=dark; access_token={token}");
        ask_unix(&auth, &Ask::get("/auth?token=lenient").line("cookie", &cookie)).await.unwrap();
        ask_unix(&auth, &Ask::get("/auth").bearer(token).line("cookie", cookie)).await.unwrap();
    }
    let claims = claims(&json!({"sub": "subject-of-nobody"})).to_string().into_bytes().into();
    let request = v1::CheckClaimsRequest { claims, key_id: "k1".to_owned(), options: None };
    by_claims.check_claims(request).await.unwrap();
    for revocation in lab.admin().list(v1::ListRequest::default()).await.unwrap().into_inner().revocations {
        let lift =
            v1::LiftRequest { list: revocation.list, name: revocation.name, ..v1::LiftRequest::default() };
        last = lab.admin().lift(lift).await.unwrap().into_inner().version;
    }
    lab.until_enforced(&last).await;
    assert_eq!(lab.check(tokens[0]).await.unwrap().verdict(), v1::VerdictKind::Active);
}

#[tokio::test]
async fn neither_logs_nor_metrics_hold_a_token_a_claim_or_an_identifier() {
    let lab = Lab::new();
    let of_nobody = json!({
        "sub": "subject-of-nobody", "sid": "session-of-nobody", "jti": "identifier-of-nobody",
        "client_id": "client-of-nobody", "email": "address-of-nobody",
    });
    let good = lab.keys.token(&of_nobody);
    let presented = lab.keys.token(&json!({"jti": "presented-of-nobody"}));
    let forged = lab.keys.stranger.sign(&claims(&of_nobody)).unwrap();
    let controller =
        start(&lab, "controller", env!("CARGO_BIN_EXE_rescind-controller"), lab.controller_arguments());
    wait_for("the admin API", PATIENCE, async || {
        lab.admin().status(v1::AdminStatusRequest {}).await.map_err(|status| format!("{status}"))
    })
    .await;
    let mut arguments = lab.sidecar_arguments();
    arguments.push(format!("--claims-socket={}", lab.path("claims.sock").display()));
    let sidecar = start(&lab, "sidecar", env!("CARGO_BIN_EXE_rescind-sidecar"), arguments);
    lab.until_fresh().await;
    use_everything(&lab, &[&good, &presented, &forged]).await;
    let told = [
        ("the controller's log", controller.log()),
        ("the sidecar's log", sidecar.log()),
        ("the controller's metrics", metrics(&controller).await),
        ("the sidecar's metrics", metrics(&sidecar).await),
    ];
    for (name, text) in &told[..2] {
        assert!(text.contains("\"level\":\"DEBUG\""), "{name} has no details:\n{text}");
    }
    assert!(told[0].1.contains("\"revoked\"") && told[0].1.contains("\"lifted\""), "{}", told[0].1);
    let parts = [&good, &presented, &forged].into_iter().flat_map(|token| token.split('.').skip(1));
    for secret in parts.chain(["of-nobody"]) {
        for (name, text) in &told {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in {name}");
        }
    }
}

/// A route that is wrong is answered with 503 to everybody: whoever looks for the reason finds it.
#[tokio::test]
async fn a_policy_that_is_not_understood_is_named_in_the_log_and_once() {
    let lab = Lab::start().await;
    let token = lab.keys.token(&json!({}));
    let sidecar = lab.sidecar.as_ref().unwrap();
    let policies = [
        ("tokn=optional", "unknown key \\\"tokn\\\""),
        ("token=maybe", "token=\\\"maybe\\\" is not understood"),
        ("lists=default/unlisted", "a list that is not followed here"),
    ];
    for policy in policies.iter().flat_map(|(policy, _)| [policy, policy]) {
        let ask = Ask::get(&format!("/auth?{policy}")).bearer(&token);
        assert_eq!(ask_unix(&lab.path("auth.sock"), &ask).await.unwrap().status, 503, "{policy}");
    }
    let complaints = wait_for("the log says why", PATIENCE, async || {
        let log = sidecar.child.log();
        let complaints = log.lines().filter(|line| line.contains("a policy can't be followed"));
        let complaints: Vec<String> = complaints.map(ToOwned::to_owned).collect();
        if complaints.len() >= policies.len() { Ok(complaints) } else { Err(log) }
    })
    .await;
    for ((_, named), line) in policies.iter().zip(&complaints) {
        assert!(line.contains(named) && line.contains("\"transport\":\"forward_auth\""), "{line}");
    }
}
