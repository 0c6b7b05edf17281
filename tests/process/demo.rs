//! The demonstration and the development server, as a user runs them.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::lab::Lab;

const RESCIND: &str = env!("CARGO_BIN_EXE_rescind");

#[tokio::test]
async fn every_step_of_the_demonstration_holds() {
    let output = Command::new(RESCIND).args(["demo", "-o", "json"]).output().await.unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{told:#}");
    assert_eq!(told["held"], Value::Bool(true));
    let steps = told["steps"].as_array().unwrap();
    assert!(steps.len() >= 20, "{told:#}");
    for step in steps {
        assert_eq!(step["expected"], step["seen"], "{step}");
        assert!(step["name"].is_string() && step["milliseconds"].is_u64(), "{step}");
    }
}

#[tokio::test]
async fn the_demonstration_is_plain_in_a_pipe() {
    let output = Command::new(RESCIND).arg("demo").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains('\u{1b}') && text.ends_with("steps held.\n"), "{text}");
}

#[tokio::test]
async fn the_development_server_takes_a_folder_an_address_and_manifests_and_ends_on_ctrl_c() {
    let lab = Lab::new();
    let (data, socket) = (lab.path("dev"), lab.path("stream.sock"));
    let mut child = Command::new(RESCIND)
        .arg("dev")
        .arg(format!("--data={}", data.display()))
        .arg(format!("--listen={}", socket.display()))
        .arg("-f")
        .arg(lab.path("lists.yaml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = async {
        let mut told = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            told.push_str(&line);
            told.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        told
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(told.contains("default/shop") && told.contains(&socket.display().to_string()), "{told}");
    assert!(told.contains("curl -i -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:"), "{told}");
    let revoke = "rescind subject SUB --list default/shop --issuer https://";
    assert!(told.contains(revoke), "{told}");
    assert!(data.join("store").join("rescind.redb").exists());
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(ended.success());
}
