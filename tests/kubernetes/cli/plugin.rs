//! The program as a plugin of `kubectl`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::{Place, Seen};
use crate::support::control_plane::program;

/// Runs `kubectl` with the plugin, and the script that completes it, in the `PATH`.
fn kubectl(place: &Place, arguments: &[&str]) -> Seen {
    let folder = place.home.path().join("plugins");
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        symlink(env!("CARGO_BIN_EXE_rescind"), folder.join("kubectl-rescind")).unwrap();
        let script = folder.join("kubectl_complete-rescind");
        std::fs::write(&script, "#!/bin/sh\nexec kubectl-rescind __complete \"$@\"\n").unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let output = Command::new(program("kubectl"))
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env("HOME", place.home.path())
        .env("KUBECONFIG", place.plane.kubeconfig())
        .output()
        .unwrap();
    output.into()
}

#[test]
fn kubectl_runs_it_under_its_own_name() {
    let place = Place::new();
    let namespace = &place.namespace;
    let run = |line: &str| kubectl(&place, &line.split(' ').collect::<Vec<_>>());
    let done =
        run(&format!("rescind subject alice -n {namespace} --wait=false -o name --name ticket-1")).done();
    assert_eq!(done, "revocation/ticket-1\n");
    let seen = run("rescind subject");
    assert!(seen.err.contains("\nUsage: kubectl rescind subject "), "{seen:?}");
    let seen = run(&format!("rescind subject bob -n {namespace} --timeout 100ms --name ticket-2"));
    // kubectl hands the exit code on.
    assert_eq!(seen.code, 2, "{seen:?}");
    assert!(seen.err.ends_with("; `kubectl rescind status` shows who lags\n"), "{seen:?}");
}

#[test]
fn kubectl_completes_its_commands_and_the_names_of_the_cluster() {
    let place = Place::new();
    let namespace = &place.namespace;
    place.declare("another");
    place.run("subject alice --list shop --wait=false --name ticket-1").done();
    let complete = |words: &[&str]| {
        let words: Vec<&str> = ["__complete", "rescind"].iter().chain(words).copied().collect();
        kubectl(&place, &words).done()
    };
    assert!(complete(&["sta"]).starts_with("status\tShow the lists"));
    assert_eq!(complete(&["undo", "-n", namespace, ""]), "ticket-1\tsubject alice\n:4\n");
    assert_eq!(complete(&["subject", "alice", "-n", namespace, "--list", ""]), "another\nshop\n:4\n");
    assert!(complete(&["list", "-n", namespace]).lines().any(|line| line == namespace));
    assert_eq!(complete(&["list", "--context", ""]), "test\n:4\n");
    assert_eq!(complete(&["undo", "-n", "nowhere", ""]), ":4\n");
    assert!(Path::new(place.plane.kubeconfig()).exists());
}
