//! The command line against real processes.

use std::process::Output;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_unix};
use crate::support::issue::{ISSUER, claims, now};
use crate::support::lab::{LIST, Lab};
use crate::support::wait::wait_for;

/// Runs `rescind` against the controller.
async fn rescind(lab: &Lab, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescind"));
    command.args(arguments).arg("--server").arg(lab.path("admin.sock"));
    command.kill_on_drop(true).output().await.unwrap()
}

/// Runs it, and returns what it answered for machines.
async fn answered(lab: &Lab, arguments: &[&str]) -> Value {
    let output = rescind(lab, &[arguments, &["-o", "json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", lab.logs());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns what the sidecar answers a request with a token.
async fn status(lab: &Lab, token: &str) -> u16 {
    ask_unix(&lab.path("auth.sock"), &Ask::get("/auth").bearer(token)).await.unwrap().status
}

/// A command that revokes, and what it must reach.
struct Revoking<'a> {
    arguments: Vec<&'a str>,
    reached: String,
    /// Differs from what is reached in a single respect.
    neighbour: String,
}

/// Returns one row for each command but `token`, whose issuer and list are found out by the controller.
fn revoking<'a>(lab: &Lab, ten_minutes_ago: &'a str) -> Vec<Revoking<'a>> {
    let of = |arguments: &[&'a str], reached: Value, neighbour: Value| Revoking {
        arguments: arguments.to_vec(),
        reached: lab.keys.token(&reached),
        neighbour: lab.keys.token(&neighbour),
    };
    let selector = ["selector", "subject-on-client", "sub=dave", "client_id=web"];
    let by_key = of(&["key", "k2"], json!({}), json!({}));
    vec![
        of(&["subject", "mallory"], json!({"sub": "mallory"}), json!({"sub": "bob", "sid": "mallory"})),
        of(&["session", "s7"], json!({"sid": "s7"}), json!({"sid": "s8"})),
        of(&["client", "stolen-app"], json!({"client_id": "stolen-app"}), json!({"client_id": "web"})),
        of(&selector, json!({"sub": "dave"}), json!({"sub": "dave", "client_id": "phone"})),
        Revoking { reached: lab.keys.second.sign(&claims(&json!({}))).unwrap(), ..by_key },
        of(
            &["issuer", ISSUER, "--cutoff", ten_minutes_ago],
            json!({"iat": now() - 900}),
            json!({"iat": now() - 300}),
        ),
    ]
}

/// Returns a time as users write it.
fn written(seconds: u64) -> String {
    Timestamp::from_second(seconds.try_into().unwrap()).unwrap().to_string()
}

#[tokio::test]
async fn every_revoking_command_is_enforced_when_it_returns_and_undone_by_the_name_it_told() {
    let lab = Lab::start().await;
    let cutoff = written(now() - 600);
    for row in revoking(&lab, &cutoff) {
        let both = async || [status(&lab, &row.reached).await, status(&lab, &row.neighbour).await];
        assert_eq!(both().await, [200, 200], "before {:?}", row.arguments);
        let told = answered(&lab, &row.arguments).await;
        assert_eq!(both().await, [401, 200], "after {:?}: {told}\n{}", row.arguments, lab.logs());
        let revocation = &told["revocation"];
        assert_eq!(revocation["spec"]["issuer"], ISSUER, "{told}");
        answered(&lab, &["undo", revocation["metadata"]["name"].as_str().unwrap()]).await;
        wait_for("it passes again", PATIENCE, async || match both().await {
            [200, 200] => Ok(()),
            seen => Err(format!("{:?}: {seen:?}", row.arguments)),
        })
        .await;
    }
    answered(&lab, &["issuer", ISSUER, "--ban"]).await;
    assert_eq!(status(&lab, &lab.keys.token(&json!({}))).await, 401, "of whatever was issued later, too");
}

/// What a controller tells is what is so: what it holds, who follows it, and how far each has come.
#[tokio::test]
async fn the_status_of_a_controller_is_that_of_its_lists_and_sidecars() {
    // Long enough to see a sidecar that is gone and still counts.
    let mut lab = Lab::declaring(|spec| spec["freshness"]["boundSeconds"] = json!(6));
    lab.start_controller(&[]).await;
    let empty = answered(&lab, &["status"]).await;
    assert_eq!((&empty["lists"][0]["sidecars"], &empty["sidecars"]), (&json!(0), &json!([])), "{empty}");

    lab.start_sidecar(&["--identity=web-1"]).await;
    lab.until_fresh().await;
    answered(&lab, &["subject", "alice"]).await;
    let told = answered(&lab, &["subject", "mallory"]).await;
    let version = &told["revocation"]["status"]["version"];
    let mut seen = answered(&lab, &["status"]).await;
    let age = seen["sidecars"][0]["lastPingAgeMilliseconds"].take();
    assert!(age.as_u64().is_some_and(|age| age <= 6_000), "{age}");
    let sidecar = json!({
        "identity": "web-1", "list": LIST, "acknowledgedVersion": version, "lastPingAgeMilliseconds": null,
        "connected": true, "replica": "replica-0", "lag": "Current",
    });
    assert_eq!(seen["sidecars"], json!([sidecar]), "{}", lab.logs());
    let list = json!({
        "list": LIST, "records": 2, "keys": 2, "sidecars": 1, "version": version, "configGeneration": 1,
        "boundSeconds": 6, "maximumSeconds": 300, "policy": "Strict", "enforcement": "Enforce",
        "conditions": [],
    });
    assert_eq!(seen["lists"], json!([list]));

    // Whoever dies counts until it can allow nothing any more; then it is shown no longer.
    lab.sidecar().child.kill().await.unwrap();
    for what in ["web-1 is not connected", "No sidecars."] {
        wait_for(what, PATIENCE, async || {
            let output = rescind(&lab, &["status"]).await;
            let text = String::from_utf8(output.stdout).unwrap();
            let line =
                text.lines().find(|line| line.starts_with("web-1") || line.starts_with("No ")).unwrap();
            let is_so = match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["web-1", .., "no", "replica-0"] => what.starts_with("web-1"),
                _ => line == what,
            };
            if is_so { Ok(()) } else { Err(text) }
        })
        .await;
    }
}

/// Who holds a token ends it, and it alone: no list, issuer or identifier is named.
#[tokio::test]
async fn a_token_that_is_handed_in_is_refused_from_then_on_and_no_other() {
    let lab = Lab::start().await;
    let [stolen, kept] = [(); 2].map(|()| lab.keys.token(&json!({"sub": "alice"})));
    assert_eq!((status(&lab, &stolen).await, status(&lab, &kept).await), (200, 200));
    let file = lab.path("token.txt");
    std::fs::write(&file, format!("{stolen}\n")).unwrap();
    // It waits until every sidecar refuses the token.
    let revoked = rescind(&lab, &["token", "--reason", "Stolen", "--file", file.to_str().unwrap()]).await;
    assert!(revoked.status.success(), "{revoked:?}\n{}", lab.logs());
    assert_eq!((status(&lab, &stolen).await, status(&lab, &kept).await), (401, 200));

    let forged = lab.keys.stranger.sign(&claims(&json!({}))).unwrap();
    std::fs::write(&file, &forged).unwrap();
    let refused = rescind(&lab, &["token", "--file", file.to_str().unwrap()]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("BAD_SIGNATURE"), "{said}");
    assert!(!said.contains(&forged), "{said}");
}
