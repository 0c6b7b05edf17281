//! Complete sessions, mistakes included, as a user sees them.

use std::path::Path;

use insta::assert_snapshot;
use tokio::task::block_in_place;

use super::transcript::Transcript;
use super::{Place, Seen, crds, finish, rescind};
use crate::lab::{LIST, Lab, NAMESPACE};
use crate::support::control_plane::ControlPlane;

impl Place {
    fn transcript(&self) -> Transcript {
        let url = self.plane.url().to_owned();
        Transcript::new(vec![(self.namespace.clone(), "shop"), (url, "https://api.example.com")])
    }
}

/// Runs commands in a namespace where no controller runs, and notes them.
fn play(place: &Place, commands: &[&str]) -> String {
    let mut transcript = place.transcript();
    for command in commands {
        transcript.note(command, &place.run(command));
    }
    transcript.text().to_owned()
}

#[test]
fn mistakes_about_what_is_revoked_are_told_before_anything_is_stored() {
    let place = Place::new();
    let commands = [
        "subject alice --list other",
        "subject alice --issuer https://evil.example.com",
        "issuer https://id.example.com",
        "selector tenant /tenant/id=1",
        "subject alice --reason lost_device",
        "subject alice --cutoff yesterday",
        "undo ticket-1",
        "list",
    ];
    assert_snapshot!("transcript_mistakes", play(&place, &commands));
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn what_is_not_enforced_in_time_stays_and_can_be_undone_once() {
    let place = Place::new();
    let commands = [
        "subject alice --reason LostDevice --dry-run=server",
        "subject alice --reason LostDevice --name ticket-1 --timeout 100ms",
        "subject bob --name ticket-1 --timeout 100ms",
        "list",
        "undo ticket-1 --dry-run=server",
        "undo ticket-1",
        "undo ticket-1",
    ];
    assert_snapshot!("transcript_timeout", play(&place, &commands));
}

#[test]
fn who_may_not_is_told_the_verb_and_the_role() {
    let place = Place::new();
    let commands = ["subject alice --as bob", "list --as bob", "undo ticket-1 --as bob", "status --as bob"];
    assert_snapshot!("transcript_rights", play(&place, &commands));
}

#[test]
fn without_a_cluster_it_is_told_how_to_name_one() {
    let home = tempfile::tempdir().unwrap();
    let plane = ControlPlane::shared();
    // A port on which nobody listens.
    let away = plane.kubeconfig_at("https://127.0.0.1:1");
    let mut transcript = Transcript::new(vec![(away.display().to_string(), "config")]);
    let run = |transcript: &mut Transcript, kubeconfig: Option<&Path>, line: &str| {
        let mut command = rescind(home.path());
        command.args(line.split(' '));
        if let Some(path) = kubeconfig {
            command.env("KUBECONFIG", path);
        }
        transcript.note(line, &finish(command, ""));
    };
    for line in ["subject alice", "doctor"] {
        run(&mut transcript, None, line);
        run(&mut transcript, Some(&away), line);
    }
    run(&mut transcript, Some(&away), "status --context production");
    assert_snapshot!("transcript_no_cluster", transcript.text());
    assert!(crds().is_dir());
}

/// A controller and a sidecar run.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_back_looked_for_explained_and_given_back() {
    let lab = Lab::start(1, 1).await;
    let home = tempfile::tempdir().unwrap();
    let folder = lab.path("").display().to_string();
    let url = lab.plane.url().to_owned();
    let mut transcript = Transcript::new(vec![
        (url, "https://api.example.com"),
        (folder, "/run/rescind/"),
        (NAMESPACE.to_owned(), "shop"),
    ]);
    let mut run = |line: &str, input: &str| {
        let mut command = rescind(home.path());
        command.env("KUBECONFIG", lab.plane.kubeconfig()).args(line.split(' '));
        let seen: Seen = block_in_place(|| finish(command, input));
        transcript.note(line, &seen);
        seen
    };
    let socket = lab.path("check.sock");
    let explain = format!("explain --server {}", socket.display());
    let alice = lab.token("alice");
    run(&explain, &alice);
    run(&format!("subject alice --list {LIST} --name ticket-1 --reason LostDevice"), "");
    run(&format!("list -n {NAMESPACE}"), "");
    let explained = run(&explain, &alice);
    assert!(!format!("{explained:?}").contains(&alice), "{explained:?}");
    run(&format!("status -n {NAMESPACE} -o wide"), "");
    run(&format!("status -n {NAMESPACE} -o name"), "");
    run(&format!("doctor -n {NAMESPACE}"), "");
    run(&format!("undo ticket-1 -n {NAMESPACE}"), "");
    run(&format!("undo ticket-1 -n {NAMESPACE}"), "");
    assert_snapshot!("transcript_story", transcript.text());
}
