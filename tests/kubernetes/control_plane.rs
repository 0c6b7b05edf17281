//! The control plane of the tests does what the tests count on.

use std::process::Output;

use rustix::process::test_kill_process;

use crate::support::control_plane::ControlPlane;

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn kubectl_talks_to_the_shared_server_as_whom_it_is_told() {
    let plane = ControlPlane::shared();
    assert!(stdout(&plane.kubectl(&["version"])).contains("Server Version: v1.35"));
    let alice = plane.kubeconfig_as("alice", &["team"]);
    let said = plane.kubectl_with(&alice, &["auth", "whoami", "--output=json"], "");
    let who: serde_json::Value = serde_json::from_str(&stdout(&said)).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "alice");
    assert!(who["status"]["userInfo"]["groups"].to_string().contains("\"team\""));
    assert!(!plane.kubectl_with(&alice, &["get", "namespaces"], "").status.success());
}

#[test]
fn servers_come_back_with_their_data_and_end_with_their_owner() {
    let plane = ControlPlane::start();
    let second = plane.add_api_server();
    stdout(&plane.kubectl(&["create", "namespace", "kept"]));
    assert!(stdout(&second.kubectl(&["get", "namespace", "kept"])).contains("Active"));

    let copy = plane.etcd_data().with_extension("copy");
    plane.api_server().kill();
    plane.etcd().kill();
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(plane.etcd_data())
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    plane.etcd().start();
    plane.api_server().start();
    assert!(stdout(&plane.kubectl(&["get", "namespace", "kept"])).contains("Active"));

    plane.api_server().pause();
    assert!(!plane.kubectl(&["get", "namespaces", "--request-timeout=1s"]).status.success());
    plane.api_server().resume();
    stdout(&plane.kubectl(&["get", "namespaces"]));

    let pids = [plane.etcd().pid(), plane.api_server().pid(), second.pid()];
    let folder = copy.parent().unwrap().to_owned();
    drop(second);
    drop(plane);
    assert!(!folder.exists());
    assert!(pids.into_iter().all(|pid| test_kill_process(pid).is_err()));
}
