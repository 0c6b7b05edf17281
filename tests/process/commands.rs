//! The command line against real processes.

use std::process::Output;

use serde_json::json;
use tokio::process::Command;

use crate::support::http1::{Ask, ask_unix};
use crate::support::lab::Lab;

/// Runs `rescind` against the controller.
async fn rescind(lab: &Lab, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescind"));
    command.args(arguments).arg("--server").arg(lab.path("admin.sock"));
    command.kill_on_drop(true).output().await.unwrap()
}

/// Who holds a token ends it, and it alone: no list, issuer or identifier is named.
#[tokio::test]
async fn a_token_that_is_handed_in_is_refused_from_then_on_and_no_other() {
    let lab = Lab::start().await;
    let [stolen, kept] = [(); 2].map(|()| lab.keys.token(&json!({"sub": "alice"})));
    let status = async |token: &str| {
        ask_unix(&lab.path("auth.sock"), &Ask::get("/auth").bearer(token)).await.unwrap().status
    };
    assert_eq!((status(&stolen).await, status(&kept).await), (200, 200));
    let file = lab.path("token.txt");
    std::fs::write(&file, format!("{stolen}\n")).unwrap();
    // It waits until every sidecar refuses the token.
    let revoked = rescind(&lab, &["token", "--reason", "Stolen", "--file", file.to_str().unwrap()]).await;
    assert!(revoked.status.success(), "{revoked:?}\n{}", lab.logs());
    assert_eq!((status(&stolen).await, status(&kept).await), (401, 200));

    let forged = lab.keys.stranger.sign(&crate::support::issue::claims(&json!({}))).unwrap();
    std::fs::write(&file, &forged).unwrap();
    let refused = rescind(&lab, &["token", "--file", file.to_str().unwrap()]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("BAD_SIGNATURE"), "{said}");
    assert!(!said.contains(&forged), "{said}");
}
