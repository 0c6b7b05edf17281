//! The control plane of the tests does what the tests count on.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, test_kill_process};

use crate::cluster::{done as stdout, wait_until};
use crate::support::control_plane::ControlPlane;

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

/// The program of the next test: it waits to be killed.
#[test]
#[ignore = "it is started by another test, and ends only with it"]
fn started_to_be_killed() {
    let plane = ControlPlane::shared();
    let (etcd, server) = (plane.etcd().pid(), plane.api_server().pid());
    println!(
        "\nstarted {} {} {}",
        etcd.as_raw_nonzero(),
        server.as_raw_nonzero(),
        plane.etcd_data().display()
    );
    // Until the other test is gone, too.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_test_that_is_killed_leaves_nothing_behind() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "control_plane::started_to_be_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.into_iter().find(|line| line.starts_with("started ")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let pids = [words[1], words[2]].map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap());
    let folder = Path::new(words[3]).parent().unwrap();
    assert!(folder.exists() && pids.iter().all(|pid| test_kill_process(*pid).is_ok()));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("everything is gone", || {
        !folder.exists() && pids.iter().all(|pid| test_kill_process(*pid).is_err())
    });
}
