//! A disk that is full.

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use rescind::runtime::child::Child;
use std::path::Path;

use crate::support::PATIENCE;
use crate::support::lab::{LIST, Lab, revoke_request};

/// Invariant 12: a write that failed acknowledges nothing; and what was acknowledged before is there afterwards.
#[tokio::test]
async fn on_a_full_disk_the_controller_ends_with_a_sentence_and_has_everything_that_it_acknowledged() {
    let mut lab = Lab::new();
    // The shell's limit on the size of files stands in for a full disk; its signal is ignored, so that a write fails.
    let program = env!("CARGO_BIN_EXE_rescind-controller");
    let script = "trap '' XFSZ; ulimit -f 1400; exec \"$0\" \"$@\"";
    let mut arguments = vec!["-c".to_owned(), script.to_owned(), program.to_owned()];
    arguments.extend(lab.controller_arguments());
    let mut child = Child::start("controller", Path::new("/bin/sh"), arguments).unwrap();
    child.listening(PATIENCE).await.unwrap();
    let mut acknowledged = Vec::new();
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
    let refused = refused.expect("the limit was never reached");
    assert!(!acknowledged.is_empty() && refused.code() == tonic::Code::Internal, "{refused:?}");
    let ended = child.ended(PATIENCE).await.unwrap();
    assert_eq!(ended.code(), Some(1), "{}", child.log());
    assert!(child.log().contains("error: "), "{}", child.log());
    lab.start_controller(&[]).await;
    let mut kept = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListRequest { list: LIST.to_owned(), page_token, ..v1::ListRequest::default() };
        let page = lab.admin().list(request).await.unwrap().into_inner();
        kept.extend(page.revocations.into_iter().map(|revocation| revocation.uid));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let lost: Vec<&String> = acknowledged.iter().filter(|uid| !kept.contains(uid)).collect();
    assert!(lost.is_empty(), "{} of {} were lost", lost.len(), acknowledged.len());
}
