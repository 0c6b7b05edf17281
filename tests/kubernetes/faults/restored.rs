//! etcd is put back to an older copy of itself.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::lab::{LIST, Lab, NAMESPACE};
use crate::objects::{of, revocation};
use crate::observation::Observation;

/// Copies a folder, with all that is in it.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn stop(lab: &Lab) {
    lab.plane.api_server().kill();
    lab.plane.etcd().kill();
}

fn go_on(lab: &Lab) {
    tokio::task::block_in_place(|| {
        lab.plane.etcd().start();
        lab.plane.api_server().start();
    });
}

/// Puts aside what etcd has.
async fn back_up(lab: &Lab) {
    tokio::task::block_in_place(|| {
        stop(lab);
        copy(&lab.plane.etcd_data(), &lab.path("copy"));
    });
    go_on(lab);
    lab.until_fresh().await;
}

/// Puts the copy in the place of what etcd has.
fn restore(lab: &Lab) {
    tokio::task::block_in_place(|| {
        stop(lab);
        std::fs::remove_dir_all(lab.plane.etcd_data()).unwrap();
        copy(&lab.path("copy"), &lab.plane.etcd_data());
    });
}

/// Enough that the copy does not overtake what sidecars have seen before anybody notices.
async fn move_on(lab: &Lab) {
    let manifests = (0..300).map(|number| {
        let name = format!("later-{number}");
        revocation(&name, &json!({"subject": name}))
    });
    lab.create(manifests.collect()).await;
}

/// Invariant 20: what was acknowledged after the copy was made denies on, and a controller that has seen it writes it
/// again.
/// Invariant 5: no sidecar takes the older copy for news.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_copy_has_lost_denies_on_and_running_controllers_write_it_again() {
    let mut lab = Lab::start(2, 2).await;
    let (alice, lifted, bob) = (lab.token("alice"), lab.token("lifted"), lab.token("bob"));
    lab.revoke("lifted").await;
    back_up(&lab).await;
    lab.revoke("alice").await;
    lab.lift("lifted").await;
    move_on(&lab).await;
    lab.until("alice", "Enforced", "True").await;
    lab.until_all(&lifted, 200).await;
    let before = lab.get("alice").await.unwrap();

    let refused = Observation::of_all(&lab, &alice, &[401]);
    restore(&lab);
    go_on(&lab);
    lab.until_fresh().await;
    let again = lab.until("alice", "Enforced", "True").await;
    assert_ne!(again["metadata"]["uid"], before["metadata"]["uid"]);
    // It means what it meant: the time of creation is another, and the cutoff the same.
    assert_eq!(again["status"]["cutoff"], before["status"]["cutoff"], "{again}");
    assert_eq!(of(&again, "Accepted")["status"], "True", "{again}");
    assert_eq!(lab.all().await.unwrap().len(), 302);
    refused.end(&lab).await;
    lab.until_all(&bob, 200).await;
    // The copy says that it is revoked, and nobody remembers a lift.
    lab.until_all(&lifted, 401).await;
    // Who knows nothing of the old history learns it from the store.
    let new = lab.add_sidecar(&[0, 1], LIST).await;
    lab.until_answer(new, &bob, 200).await;
    assert_eq!(lab.ask(new, &alice).await, Ok(401));
    for name in ["later-0", "later-299"] {
        assert_eq!(lab.ask(new, &lab.token(name)).await, Ok(401));
    }
    lab.revoke("carol").await;
    lab.until("carol", "Enforced", "True").await;
    lab.until_all(&lab.token("carol"), 401).await;
}

/// Invariant 20: an older copy may go on counting above what was seen, before any controller looks: their own heartbeats show
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_that_has_gone_on_above_what_was_seen_lifts_nothing() {
    let lab = Lab::start(2, 2).await;
    back_up(&lab).await;
    check_overtaken(&lab).await;
}

/// Invariant 20: also if the copy is of before they were started, and has no heartbeat of theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_before_the_controllers_were_started_lifts_nothing() {
    let mut lab = Lab::start(2, 2).await;
    back_up(&lab).await;
    for controller in &mut lab.controllers {
        controller.kill().await;
        controller.start().await;
    }
    lab.until_fresh().await;
    check_overtaken(&lab).await;
}

async fn check_overtaken(lab: &Lab) {
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    let before = lab.until("alice", "Enforced", "True").await;
    lab.until_all(&bob, 200).await;
    lab.controllers.iter().for_each(|controller| controller.pause());
    let refused = Observation::of_all(lab, &alice, &[401]);
    restore(lab);
    go_on(lab);
    move_on(lab).await;
    let revision = |object: &serde_json::Value| -> u64 {
        object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    assert!(revision(&lab.get("later-299").await.unwrap()) > revision(&before) + 100);
    lab.controllers.iter().for_each(|controller| controller.resume());
    let again = lab.until("alice", "Enforced", "True").await;
    assert_ne!(again["metadata"]["uid"], before["metadata"]["uid"]);
    lab.until_fresh().await;
    lab.until_all(&bob, 200).await;
    assert_eq!(lab.ask_all(&lab.token("later-299")).await, [401, 401]);
    refused.end(lab).await;
}

/// Invariant 20: with no controller that has seen it, the sidecars that run deny it on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_that_new_controllers_find_takes_no_denial_away_from_sidecars_that_run() {
    let mut lab = Lab::start(2, 2).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    back_up(&lab).await;
    lab.revoke("alice").await;
    move_on(&lab).await;
    lab.until("alice", "Enforced", "True").await;
    lab.until_all(&lab.token("later-299"), 401).await;
    let refused = Observation::of_all(&lab, &alice, &[401]);
    for controller in &mut lab.controllers {
        controller.kill().await;
    }
    restore(&lab);
    go_on(&lab);
    for controller in &mut lab.controllers {
        controller.start().await;
    }
    lab.until_all(&bob, 200).await;
    assert_eq!(lab.ask_all(&lab.token("later-299")).await, [401, 401]);
    // Nobody knows any more what else was acknowledged since the copy: that is said.
    let told = ["wait", "--for=condition=StoreWentBack", "--timeout=60s", "-n", NAMESPACE, "trl/shop"];
    let told = lab.plane.kubectl(&told);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    lab.revoke("carol").await;
    lab.until("carol", "Enforced", "True").await;
    lab.until_all(&lab.token("carol"), 401).await;
    refused.end(&lab).await;
}
