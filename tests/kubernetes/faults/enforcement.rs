//! What must not make a revocation count as enforced: whoever speaks for another, has gone, stood still, or is late.

use serde_json::json;
use tokio::time::Instant;

use super::leaders::leader;
use crate::lab::{BOUND, LIST, Lab, NAMESPACE, PATIENCE, RELAXED_BOUND};
use crate::late::LateWrites;
use crate::objects::{of, revocation};
use crate::relay::{Mode, Relay};
use crate::support::control_plane::program;
use crate::support::issue::now;
use crate::support::program::Program;
use crate::support::wait::wait_for;

/// Waits until a sidecar vouches; returns a moment before which the last ping did not come that it sends from then on.
async fn until_proven(lab: &Lab, sidecar: usize, token: &str) -> Instant {
    wait_for("it vouches", PATIENCE, async || lab.proven(sidecar, token).await).await
}

/// Invariant 1: a sidecar that has the name of one before does not speak for it. That one may run on, as far as a
/// controller can know, and counts until it can allow nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_is_started_again_under_its_name_does_not_confirm_for_the_one_before() {
    let mut lab = Lab::new().await;
    lab.declare_with_bound("shop", RELAXED_BOUND);
    lab.add(1, 0).await;
    for name in ["shop-0", "shop-1"] {
        lab.add_sidecar_with(&[0], LIST, &[format!("--identity={name}")]).await;
    }
    lab.until_steady().await;
    let alice = lab.token("alice");
    let proven = until_proven(&lab, 1, &alice).await;
    lab.sidecars[1].pause();
    lab.revoke("alice").await;
    lab.until_answer(0, &alice, 401).await;
    lab.sidecars[1].kill().await;
    lab.sidecars[1].start().await;
    lab.until_answer(1, &alice, 401).await;
    wait_for("three are known", PATIENCE, async || {
        let object = lab.get("alice").await?;
        assert!(of(&object, "Enforced")["status"] != "True" || proven.elapsed() > RELAXED_BOUND, "{object}");
        if object["status"]["enforcement"]["subscribers"] == 3 { Ok(()) } else { Err(object.to_string()) }
    })
    .await;
    let object = lab.until("alice", "Enforced", "True").await;
    assert!(proven.elapsed() > RELAXED_BOUND, "after {:?}: {object}", proven.elapsed());
}

/// Invariant 1: whom a replica had told to be fresh counts until it can allow nothing, though the replica is gone and
/// says nothing more. Then it is counted as away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_replica_that_is_killed_the_sidecars_are_waited_for_until_they_are_away() {
    let mut lab = Lab::new().await;
    lab.add(2, 0).await;
    let leads = leader(&lab).await;
    let killed = 1 - leads;
    let stays = lab.add_sidecar(&[leads], LIST).await;
    let lost = lab.add_sidecar(&[killed], LIST).await;
    lab.until_steady().await;
    let alice = lab.token("alice");
    let proven = until_proven(&lab, lost, &alice).await;
    lab.controllers[killed].kill().await;
    lab.revoke("alice").await;
    let object = lab.until("alice", "Enforced", "True").await;
    assert!(proven.elapsed() > BOUND, "after {:?}: {object}", proven.elapsed());
    assert_ne!(lab.ask(lost, &alice).await, Ok(200));
    let counts = &object["status"]["enforcement"];
    assert_eq!(
        (&counts["subscribers"], &counts["applied"], &counts["away"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(of(&object, "Enforced")["reason"], "AllApplied", "{object}");
    assert_eq!(lab.ask(stays, &alice).await, Ok(401));
    // And it is counted again where it comes back.
    lab.controllers[killed].start().await;
    lab.until_answer(lost, &lab.token("bob"), 200).await;
    lab.revoke("bob").await;
    let object = lab.until("bob", "Enforced", "True").await;
    assert_eq!(object["status"]["enforcement"]["applied"], 2, "{object}");
    assert_eq!(lab.ask_all(&lab.token("bob")).await, [401, 401]);
}

fn in_minutes(minutes: u64) -> String {
    jiff::Timestamp::from_second((now() + minutes * 60).try_into().unwrap()).unwrap().to_string()
}

/// Invariant 15: a leader that stood still, and takes itself for the leader when it goes on, writes nothing of what it
/// believes over what another has written since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_writes_nothing_over_what_another_has_written_since() {
    let mut lab = Lab::new().await;
    let relay = Relay::start(lab.plane.url()).await;
    let stale = lab.add_controller(&lab.plane.kubeconfig_at(&relay.url())).await;
    assert_eq!(leader(&lab).await, stale);
    let kubeconfig = lab.plane.kubeconfig().to_owned();
    let other = lab.add_controller(&kubeconfig).await;
    // One that knows the stale one alone, one that hangs, so that the revocation stays to be enforced, and one more.
    let follows_stale = lab.add_sidecar(&[stale], LIST).await;
    let hangs = lab.add_sidecar(&[other], LIST).await;
    lab.add_sidecar(&[other], LIST).await;
    lab.until_steady().await;
    let leaves = || lab.controllers[stale].log().matches("Follower").count();
    let before = leaves();
    lab.sidecars[hangs].pause();
    let mut ban = revocation("alice", &json!({"subject": "alice"}));
    ban["spec"]["cutoff"] = json!("Always");
    ban["spec"]["expiresAt"] = json!(in_minutes(30));
    lab.create(vec![ban]).await;
    lab.until("alice", "Accepted", "True").await;
    lab.controllers[stale].pause();
    wait_for("another leads", PATIENCE, async || match leader(&lab).await {
        led if led == other => Ok(()),
        _ => Err("the same leads".to_owned()),
    })
    .await;
    // What the stale one has seen is about another end than this.
    let patch = json!({"spec": {"expiresAt": in_minutes(60)}});
    let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations/alice");
    lab.request("PATCH", &path, &patch).await.unwrap();
    let said = wait_for("it is enforced with its new end", PATIENCE, async || {
        let object = lab.get("alice").await?;
        let enforced = of(&object, "Enforced");
        let is_so = enforced["status"] == "True" && enforced["observedGeneration"] == 2;
        if is_so { Ok(object) } else { Err(object.to_string()) }
    })
    .await;
    // It goes on, and its watch is late: what it writes now, it writes by what it knew.
    relay.set(Mode::HoldWatches);
    lab.controllers[stale].resume();
    let resumed = Instant::now();
    wait_for("it sees that it leads no more", PATIENCE, async || {
        if leaves() > before { Ok(()) } else { Err(lab.logs()) }
    })
    .await;
    relay.set(Mode::Pass);
    lab.sidecars[hangs].resume();
    lab.until_proven_after(follows_stale, &lab.token("bob"), resumed).await;
    assert_eq!(lab.get("alice").await.unwrap(), said, "{}", lab.logs());
    lab.until_all(&lab.token("alice"), 401).await;
}

/// Invariant 1: a report that the network kept back, and that says that nobody follows, does not land over the newer one
/// that counts a sidecar.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_comes_late_is_refused_and_takes_no_sidecar_out_of_the_newer_one() {
    let mut lab = Lab::new().await;
    lab.add(1, 0).await;
    let socket = lab.path("api.sock");
    let arguments = ["proxy".to_owned(), format!("--unix-socket={}", socket.display())];
    let kubeconfig = format!("--kubeconfig={}", lab.plane.kubeconfig().display());
    let _proxy = Program::start(
        "kubectl",
        &program("kubectl"),
        arguments.into_iter().chain([kubeconfig]),
        &lab.path(""),
    );
    wait_for("the API server is there in plain text", PATIENCE, async || {
        tokio::net::UnixStream::connect(&socket).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let mut late = LateWrites::start(socket).await;
    let reports = lab.add_controller(&lab.plane.kubeconfig_at(&late.url())).await;
    let sidecar = lab.add_sidecar(&[reports], LIST).await;
    lab.until_steady().await;
    late.hold(&["PATCH", "/report-", r#""lists":[]"#]);
    // It takes its leave, and the report that nobody follows any more does not arrive.
    lab.sidecars[sidecar].end().await;
    late.until_held().await;
    lab.sidecars[sidecar].start().await;
    let alice = lab.token("alice");
    let proven = until_proven(&lab, sidecar, &alice).await;
    lab.sidecars[sidecar].pause();
    lab.revoke("alice").await;
    let answered = late.release().await;
    let object = lab.until("alice", "Enforced", "True").await;
    assert!(proven.elapsed() > BOUND, "after {:?}: {object}", proven.elapsed());
    assert_eq!(answered, 409);
    lab.sidecars[sidecar].resume();
    assert_ne!(lab.ask(sidecar, &alice).await, Ok(200));
    lab.until_answer(sidecar, &alice, 401).await;
}
