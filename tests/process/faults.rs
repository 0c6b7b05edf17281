//! A disk that is full.

use std::io::ErrorKind;

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use serde_json::json;

use crate::small_disk::SmallDisk;
use crate::support::PATIENCE;
use crate::support::lab::{CONTROLLER, Lab, SIDECAR, revoke_request};
use crate::support::metrics::metric;
use crate::support::wait::wait_for;

/// Waits until the sidecar has failed to write so often.
async fn until_not_written(lab: &mut Lab, times: f64) {
    let health = lab.sidecar().address("health").to_owned();
    wait_for("the snapshot can't be written", PATIENCE, async || {
        let failures = metric(&health, "rescind_snapshot_write_failures_total").await;
        if failures >= times { Ok(()) } else { Err(format!("{failures} failures")) }
    })
    .await;
}

/// Invariant 12: a write that failed acknowledges nothing; and what was acknowledged before is there afterwards.
#[tokio::test]
async fn on_a_full_disk_the_controller_ends_with_a_sentence_and_has_everything_that_it_acknowledged() {
    let mut lab = Lab::new();
    let disk = SmallDisk::mount(lab.path("store"), 8 * 1024).await;
    let arguments = lab.controller_arguments();
    let mut controller = disk.start("controller", CONTROLLER, &arguments).await.unwrap();
    let mut acknowledged = vec![lab.revoke(Target::Subject("alice".into())).await.uid];
    disk.fill();
    // The store's file has room of its own.
    let mut refused = None;
    for n in 0..4000 {
        let message = "x".repeat(256);
        let request = v1::RevokeRequest { message, ..revoke_request(Target::Subject(format!("user-{n}"))) };
        match lab.try_revoke(request).await {
            Ok(revocation) => acknowledged.push(revocation.uid),
            Err(status) => {
                refused = Some(status);
                break;
            }
        }
    }
    let refused = refused.expect("the disk was never full");
    assert_eq!(refused.code(), tonic::Code::Internal, "{refused:?}");
    let said = refused.message();
    assert!(
        said.contains("No space left on device") && said.contains("start the controller again"),
        "{said}"
    );
    let ended = controller.child.ended(PATIENCE).await.unwrap();
    assert_eq!(ended.code(), Some(1), "{}", controller.child.log());
    // Its advice must not be the one for a damaged file: to move it away.
    let error = disk.start("controller", CONTROLLER, &arguments).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("No space left on device") && error.contains("has room"), "{error}");
    disk.clear();
    lab.controller = Some(disk.start("controller", CONTROLLER, &arguments).await.unwrap());
    let kept = lab.live().await;
    let lost: Vec<&String> = acknowledged.iter().filter(|uid| !kept.contains(uid)).collect();
    assert!(lost.is_empty(), "{} of {} were lost", lost.len(), acknowledged.len());
    let bob = lab.revoke(Target::Subject("bob".into())).await.uid;
    assert!(lab.live().await.contains(&bob));
}

/// A disk without room costs a sidecar nothing but what a restart would know.
#[tokio::test]
async fn on_a_full_disk_a_sidecar_stays_fresh_keeps_its_older_snapshot_and_writes_again_when_there_is_room() {
    let mut lab = Lab::new();
    let token = |subject: &str| lab.keys.token(&json!({"sub": subject}));
    let (alice, bob, carol) = (token("alice"), token("bob"), token("carol"));
    let disk = SmallDisk::mount(lab.path("sidecar"), 1024).await;
    let file = disk.path("default_shop.snapshot");
    let arguments = lab.sidecar_arguments();
    lab.start_controller(&[]).await;
    lab.sidecar = Some(disk.start("sidecar", SIDECAR, &arguments).await.unwrap());
    lab.until_fresh().await;
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    lab.until_proven(&revoked.version).await;
    // An orderly end writes the last state.
    lab.end_sidecar().await;
    let older = std::fs::read(&file).unwrap();

    lab.sidecar = Some(disk.start("sidecar", SIDECAR, &arguments).await.unwrap());
    lab.until_fresh().await;
    disk.fill();
    let revoked = lab.revoke(Target::Subject("bob".into())).await;
    lab.until_enforced(&revoked.version).await;
    until_not_written(&mut lab, 3.0).await;
    assert_eq!(lab.check(&alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    assert_eq!(lab.check(&bob).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    assert_eq!(lab.check(&carol).await.unwrap().verdict(), v1::VerdictKind::Active);
    let log = lab.sidecar().child.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("can't be written")).collect();
    assert!(
        matches!(said[..], [said] if said.contains("No space left on device") && said.contains("make room")),
        "{log}"
    );
    // The end of the process finds no room, either.
    lab.end_sidecar().await;
    assert!(std::fs::read(&file).unwrap() == older, "the older snapshot was changed");
    let half = std::fs::metadata(file.with_extension("snapshot.new")).map_err(|error| error.kind());
    assert_eq!(half.map(|half| half.len()), Err(ErrorKind::NotFound));

    lab.controller = None;
    lab.sidecar = Some(disk.start("sidecar", SIDECAR, &arguments).await.unwrap());
    assert_eq!(lab.check(&alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    assert_eq!(lab.check(&bob).await.unwrap().reason, "NEVER_FRESH");
    lab.start_controller(&[]).await;
    lab.until_fresh().await;
    until_not_written(&mut lab, 1.0).await;
    disk.clear();
    wait_for("the snapshot is written again", PATIENCE, async || {
        let log = lab.sidecar().child.log();
        if log.contains("written again") { Ok(()) } else { Err(log) }
    })
    .await;
    lab.controller = None;
    lab.sidecar().child.kill().await.unwrap();
    lab.sidecar = Some(disk.start("sidecar", SIDECAR, &arguments).await.unwrap());
    assert_eq!(lab.check(&bob).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    assert_eq!(lab.check(&carol).await.unwrap().reason, "NEVER_FRESH");
}
