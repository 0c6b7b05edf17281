//! What can't be had at the start: a clear sentence, exit code 1, and nothing lost.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use rescind::runtime::child::Child;
use rustix::process::Signal;
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::lab::{CONTROLLER, Lab, Program};
use crate::support::wait::wait_for;

/// Runs a program of ours that is to fail at once; returns what it said.
fn failure(program: Program, arguments: &[String]) -> String {
    let path = match program {
        Program::Controller => env!("CARGO_BIN_EXE_rescind-controller"),
        Program::Sidecar => env!("CARGO_BIN_EXE_rescind-sidecar"),
    };
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{:?}: {said}", output.status);
    said
}

fn changed(arguments: &[String], from: &str, to: &str) -> Vec<String> {
    let mut arguments: Vec<String> = arguments.iter().filter(|a| !a.starts_with(from)).cloned().collect();
    if !to.is_empty() {
        arguments.push(to.to_owned());
    }
    arguments
}

#[test]
fn a_taken_port_is_named() {
    let lab = Lab::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = changed(&lab.controller_arguments(), "--listen", &format!("--listen={address}"));
    let said = failure(Program::Controller, &arguments);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    let arguments = changed(&lab.sidecar_arguments(), "--http", &format!("--http={address}"));
    let said = failure(Program::Sidecar, &arguments);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn a_store_in_use_is_named() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let arguments = changed(&lab.controller_arguments(), "--listen", "--listen=127.0.0.1:0");
    let arguments = changed(&arguments, "--admin", &format!("--admin={}", lab.path("a2.sock").display()));
    let said = failure(Program::Controller, &arguments);
    assert!(said.contains("rescind.redb is in use by another process"), "{said}");
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("store")).unwrap();
    let file = lab.path("store").join("rescind.redb");
    std::fs::write(&file, b"this is no store").unwrap();
    let said = failure(Program::Controller, &lab.controller_arguments());
    assert!(said.contains("is damaged or is not a store") && said.contains("Restore the file"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"this is no store");
}

#[test]
fn a_bad_manifest_is_named_with_line_and_field() {
    let lab = Lab::new();
    let text = include_str!("../../examples/lists.yaml").replace("boundSeconds: 15", "boundSeconds: 1");
    std::fs::write(lab.path("lists.yaml"), text).unwrap();
    let said = failure(Program::Controller, &lab.controller_arguments());
    assert!(said.contains("lists.yaml:30: spec.freshness.boundSeconds: is 1"), "{said}");
    let arguments = changed(&lab.controller_arguments(), "--filename", "--filename=/nowhere/lists.yaml");
    assert!(failure(Program::Controller, &arguments).contains("can't read /nowhere/lists.yaml"));
}

#[test]
fn wrong_flags_say_what_is_right() {
    let lab = Lab::new();
    let controller =
        |from: &str, to: &str| failure(Program::Controller, &changed(&lab.controller_arguments(), from, to));
    let sidecar =
        |from: &str, to: &str| failure(Program::Sidecar, &changed(&lab.sidecar_arguments(), from, to));
    let check = |said: String, expected: &str| assert!(said.contains(expected), "{said}");
    check(controller("--listen", "--listen=0.0.0.0:0"), "can be reached from other machines");
    check(controller("--listen", "--listen=nonsense"), "nonsense");
    check(controller("--admin", "--admin=127.0.0.1:0"), "the admin API on TCP (127.0.0.1:0) needs a token");
    check(controller("--data", ""), "--data");
    check(controller("--data", "--data=/proc/nowhere"), "/proc/nowhere");
    check(controller("--tls", "--tls-cert=/nowhere/cert.pem"), "--tls-key");
    check(sidecar("--controller", "--controller=http://192.0.2.1:1"), "is on another machine: use https");
    check(sidecar("--controller", "--controller=https://127.0.0.1:1"), "--tls-ca");
    check(sidecar("--list", "--list=Bad_Name"), "is not a name");
    check(sidecar("--socket", "--socket=/nowhere/check.sock"), "/nowhere");
    check(sidecar("--http", "--http=0.0.0.0:0"), "checks are in the clear");
    check(sidecar("--max", "--max-concurrent-checks=0"), "0 is not in 1..=1000000");
}

/// An unreadable or corrupt snapshot: the sidecar starts, and vouches for nobody until it is told more.
#[tokio::test]
async fn a_damaged_snapshot_is_not_used_and_does_not_stop_the_sidecar() {
    let mut lab = Lab::start().await;
    // Issued before the revocation, however long the rest takes.
    let alice = lab.keys.token(&json!({"sub": "alice"}));
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    lab.sidecar().child.kill().await.unwrap();
    std::fs::write(lab.path("sidecar").join("default_shop.snapshot"), b"nothing of ours").unwrap();
    lab.controller().child.kill().await.unwrap();
    lab.start_sidecar(&[]).await;
    let answer = lab.check(&lab.keys.token(&json!({"sub": "bob"}))).await.unwrap();
    assert_eq!(answer.reason, "NEVER_FRESH");
    assert!(lab.sidecar().child.log().contains("the snapshot on the disk can't be used"));
    lab.start_controller(&[]).await;
    lab.until_fresh().await;
    assert_eq!(lab.check(&alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
}

/// A list that nobody has declared: the sidecar runs, is not ready, and says why.
#[tokio::test]
async fn an_undeclared_list_keeps_the_sidecar_from_being_ready() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let arguments = changed(&lab.sidecar_arguments(), "--list", "--list=default/unknown");
    lab.start_sidecar_with(&arguments).await;
    let health = lab.sidecar().address("health").to_owned();
    let (status, body) = crate::support::metrics::get(&health, "/readyz", &[]).await;
    assert_eq!(status, 503);
    assert!(body.contains("list default/unknown was not proven yet"), "{body}");
    let answer = lab.check(&lab.keys.token(&json!({}))).await.unwrap();
    assert_eq!(answer.reason, "NEVER_FRESH");
}

#[test]
fn help_shows_an_example() {
    for path in [env!("CARGO_BIN_EXE_rescind-controller"), env!("CARGO_BIN_EXE_rescind-sidecar")] {
        let output = Command::new(Path::new(path)).arg("--help").output().unwrap();
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("\nExample:") || help.contains("\nExamples:"), "{help}");
    }
}

/// Whoever can read the store or a snapshot learns who is revoked; whoever can write to the admin API revokes.
#[tokio::test]
async fn files_and_sockets_are_open_to_nobody_who_has_no_use_for_them() {
    let mut lab = Lab::new();
    let claims = format!("--claims-socket={}", lab.path("claims.sock").display());
    lab.start_controller(&[]).await;
    lab.start_sidecar(&[&claims]).await;
    lab.until_fresh().await;
    let mode = |name: &str| std::fs::metadata(lab.path(name)).map(|found| found.permissions().mode() & 0o777);
    let written = async || mode("sidecar/default_shop.snapshot").map_err(|error| error.to_string());
    wait_for("the snapshot is written", PATIENCE, written).await;
    for (name, expected) in [
        ("admin.sock", 0o600),
        ("claims.sock", 0o600),
        ("stream.sock", 0o666),
        ("check.sock", 0o666),
        ("auth.sock", 0o666),
        ("store", 0o700),
        ("store/rescind.redb", 0o600),
        ("sidecar", 0o700),
        ("sidecar/default_shop.snapshot", 0o600),
    ] {
        let found = mode(name).unwrap();
        assert_eq!(found, expected, "{name}: {found:o} is not {expected:o}");
    }
}

#[tokio::test]
async fn a_controller_that_waits_for_its_api_server_ends_when_it_is_asked_to() {
    let lab = Lab::new();
    // It takes connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "silent",
        "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "nobody"}}],
        "clusters": [{"name": "silent", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
    });
    std::fs::write(lab.path("kubeconfig"), kubeconfig.to_string()).unwrap();
    let arguments = [
        "--kubernetes".to_owned(),
        format!("--kubeconfig={}", lab.path("kubeconfig").display()),
        "--listen=127.0.0.1:0".to_owned(),
    ];
    let mut controller = Child::start("controller", Path::new(CONTROLLER), &arguments).unwrap();
    wait_for("it waits", PATIENCE, async || {
        if controller.log().contains("trying again") { Ok(()) } else { Err(controller.log()) }
    })
    .await;
    controller.signal(Signal::TERM).unwrap();
    let ended = controller.ended(PATIENCE).await.unwrap();
    assert!(ended.success(), "{ended}: {}", controller.log());
}
