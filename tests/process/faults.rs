//! A disk that is full.

use rescind::proto::v1;
use rescind::proto::v1::target::Target;

use crate::small_disk::SmallDisk;
use crate::support::PATIENCE;
use crate::support::lab::{CONTROLLER, Lab, revoke_request};

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
