//! The audit log of a controller: each act has a line, whatever the logs are told to leave out.

use std::path::Path;

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use rescind::runtime::child::Child;
use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::lab::{CONTROLLER, Lab, revoke_request};
use crate::support::wait::wait_for;

/// The lines of a text that are of the audit log.
fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "rescind::audit").collect()
}

async fn until(count: usize, text: impl Fn() -> String) -> Vec<Value> {
    wait_for(&format!("{count} lines"), PATIENCE, async || {
        let found = lines(&text());
        if found.len() >= count { Ok(found) } else { Err(text()) }
    })
    .await
}

fn shown(line: &Value) -> [&str; 4] {
    ["act", "outcome", "cause", "kind"].map(|field| line[field].as_str().unwrap_or_default())
}

/// Revokes, is refused, tries, and lifts.
async fn act(lab: &Lab) {
    let mut request = revoke_request(Target::Subject("alice".to_owned()));
    request.name = "ticket-4711".to_owned();
    request.reason = "LostDevice".to_owned();
    lab.try_revoke(request).await.unwrap();
    lab.try_revoke(revoke_request(Target::Session(String::new()))).await.unwrap_err();
    let planned = revoke_request(Target::Subject("bob".to_owned()));
    lab.try_revoke(v1::RevokeRequest { dry_run: true, ..planned }).await.unwrap();
    let lift = v1::LiftRequest { name: "ticket-4711".to_owned(), ..v1::LiftRequest::default() };
    lab.admin().lift(lift.clone()).await.unwrap();
    lab.admin().lift(lift).await.unwrap_err();
}

#[tokio::test]
async fn every_act_has_a_line_in_a_file_that_may_be_rotated() {
    let mut lab = Lab::new();
    let file = lab.path("audit.log");
    lab.start_controller(&["--audit-log", file.to_str().unwrap()]).await;
    let before = jiff::Timestamp::now();
    act(&lab).await;
    let told = until(4, || std::fs::read_to_string(&file).unwrap()).await;
    let when: Vec<jiff::Timestamp> =
        told.iter().map(|line| line["timestamp"].as_str().unwrap().parse().unwrap()).collect();
    assert!(when.is_sorted() && before <= when[0] && when[3] <= jiff::Timestamp::now(), "{when:?}");
    let expected = [
        ["revoke", "accepted", "", "subject"],
        ["revoke", "refused", "INVALID_ARGUMENT", "session"],
        ["lift", "accepted", "", "subject"],
        ["lift", "refused", "NOT_FOUND", ""],
    ];
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), expected, "{told:?}");
    let who = format!("local user {}", rustix::process::getuid().as_raw());
    assert!(told.iter().all(|line| line["who"] == who.as_str() && line["via"] == "admin-api"), "{told:?}");
    assert_eq!([&told[0]["name"], &told[0]["reason"]], ["ticket-4711", "LostDevice"]);
    assert_eq!([&told[0]["id"], &told[0]["key"]], [&told[2]["id"], &told[2]["key"]]);
    assert_ne!(told[0]["version"], told[2]["version"]);
    assert_eq!(told[0]["list"], "default/shop");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("alice"));

    std::fs::rename(&file, lab.path("audit.log.1")).unwrap();
    lab.try_revoke(revoke_request(Target::Subject("carol".to_owned()))).await.unwrap();
    until(1, || std::fs::read_to_string(&file).unwrap_or_default()).await;
}

#[tokio::test]
async fn without_a_file_the_lines_are_on_standard_error_whatever_the_logs_leave_out() {
    let lab = Lab::new();
    let script = "RUST_LOG=error,rescind::process=info exec \"$0\" \"$@\"".to_owned();
    let arguments = ["-c".to_owned(), script, CONTROLLER.to_owned()];
    let mut arguments: Vec<String> = arguments.into_iter().chain(lab.controller_arguments()).collect();
    arguments.push("--log-format=json".to_owned());
    let mut controller = Child::start("controller", Path::new("/bin/sh"), arguments).unwrap();
    controller.listening(PATIENCE).await.unwrap();
    act(&lab).await;
    until(4, || controller.log()).await;
}
