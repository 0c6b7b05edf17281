//! A client in Python finds the services by reflection and asks about tokens, without any generated code.

use std::path::Path;

use rescind::proto::v1::target::Target;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::lab::{Lab, parts};
use crate::support::tools::tool;

async fn python(lab: &Lab, socket: &str, tokens: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/check.py");
    let mut command = Command::new(tool("python"));
    command.arg(script).arg(lab.path(socket)).args(tokens).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the client hangs").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", lab.logs());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_foreign_client_finds_the_services_and_checks_tokens() {
    let lab = Lab::start().await;
    let (good, bad) = (lab.keys.token(&json!({})), lab.keys.token(&json!({"sub": "mallory"})));
    let revoked = lab.revoke(Target::Subject("mallory".to_owned())).await;
    lab.until_proven(&revoked.version).await;

    let mut told = python(&lab, "check.sock", &[&good, &bad]).await;
    assert_eq!(
        told["services"],
        json!([
            "envoy.service.auth.v3.Authorization",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "rescind.v1.RevocationCheck",
        ])
    );
    assert_eq!(told["health"], json!({"status": "SERVING"}));
    let batch = told["batch"]["responses"].take();
    for mut answers in [told["checks"].take(), batch] {
        for answer in answers.as_array_mut().unwrap() {
            // A number of 64 bits is a string in JSON.
            let age = answer["ageMilliseconds"].take();
            let age: u64 = age.as_str().unwrap_or_default().parse().unwrap();
            assert!(age <= 3000, "{age}");
            let version = answer["version"].take();
            let version = version.as_str().unwrap_or_default();
            assert!(parts(version) >= parts(&revoked.version), "{version} {}", revoked.version);
        }
        assert_eq!(
            answers,
            json!([
                {"decision": "DECISION_ALLOW", "verdict": "VERDICT_KIND_ACTIVE", "version": null,
                 "ageMilliseconds": null},
                {"decision": "DECISION_DENY", "verdict": "VERDICT_KIND_REVOKED", "version": null,
                 "reason": "REVOKED", "ageMilliseconds": null},
            ])
        );
    }
}

/// The controller's two sides describe themselves as well.
#[tokio::test]
async fn a_foreign_client_finds_the_services_of_the_controller() {
    let lab = Lab::start().await;
    for (socket, service) in
        [("admin.sock", "rescind.v1.RevocationAdmin"), ("stream.sock", "rescind.v1.Distribution")]
    {
        let told = python(&lab, socket, &[]).await;
        let expected = json!(["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", service]);
        assert_eq!(told["services"], expected, "{socket}");
        assert_eq!(told["health"], json!({"status": "SERVING"}), "{socket}");
    }
}
