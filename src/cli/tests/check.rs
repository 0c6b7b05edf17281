//! Asking a sidecar.

use insta::assert_snapshot;

use super::fake::{Behaviour, token};
use super::*;

#[tokio::test]
async fn the_exit_code_is_the_decision() {
    let harness = Harness::new(Behaviour::default()).await;
    let check = async |sub: &str, options: &str, exit, out: &str| {
        let seen = harness.run_with(&format!("check{options}"), &token("j1", sub)).await;
        assert_eq!(seen, Seen::new(exit, out, ""), "{sub}{options}");
    };
    let known = "(as of 120 ms ago, version 1/7)";
    check("bob", "", Exit::Done, &format!("allow: active {known}\n")).await;
    check("alice", "", Exit::Failed, &format!("deny REVOKED: revoked {known}\n")).await;
    let stale = format!("deny STALE: the sidecar can't vouch {known}\n");
    check("bob", " --max-age 1ms", Exit::Pending, &stale).await;
    check("bob", " --min-version 9/9", Exit::Pending, &stale).await;
    let audience = format!("deny WRONG_AUDIENCE: the token itself fails {known}\n");
    check("bob", " --audience other", Exit::Failed, &audience).await;
    let best = "allow: active (as of 120 ms ago, version 1/7, stale, but the list allows best effort)\n";
    check("bob", " --source access_token", Exit::Done, best).await;
    check("bob", " --lists shop/shop", Exit::Done, &format!("allow: active {known}\n")).await;
}

#[tokio::test]
async fn a_question_that_is_refused_is_wrong_usage() {
    let harness = Harness::new(Behaviour::default()).await;
    let seen = harness.run_with("check --lists a,b/c", &token("j1", "bob")).await;
    assert_eq!(seen, Seen::new(Exit::Failed, "", "error: default/a, b/c is not followed here\n"));
    let seen = harness.run_with("check --max-age 0s", "").await;
    assert_eq!(seen, Seen::new(Exit::Failed, "", "error: --max-age must be a millisecond or more\n"));
}

#[tokio::test]
async fn machines_get_one_object() {
    let harness = Harness::new(Behaviour::default()).await;
    let seen = harness.run_with("check -o json", &token("j1", "alice")).await;
    assert_eq!((seen.exit, seen.err.as_str()), (Exit::Failed, ""));
    assert_snapshot!("check_json", seen.out);
    let seen = harness.run_with("explain -o yaml", &token("j1", "alice")).await;
    assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, ""));
    assert_snapshot!("explain_yaml", seen.out);
}

#[tokio::test]
async fn steps_are_explained_without_quoting_the_token() {
    let harness = Harness::new(Behaviour::default()).await;
    let plain = harness.run_with("explain", &token("j1", "alice")).await;
    let last = "deny REVOKED: revoked (as of 120 ms ago, version 1/7)\n\
                What to do: it was revoked: `rescind list` shows by what, in the namespace of the list whose lookup \
                failed; get a new token, or lift the revocation with `rescind undo`\n";
    let expected = format!("pass  parse    [a token] is well-formed\nfail  look up  REVOKED\n{last}");
    assert_eq!(plain, Seen::new(Exit::Done, &expected, ""));
    let terminal = harness.run_on(Surface::Monochrome, "explain", &token("j1", "alice")).await;
    assert!(terminal.out.starts_with("✓  parse    [a token] is well-formed\n✗  look up  REVOKED\n"));
}

#[tokio::test]
async fn a_sidecar_that_is_not_there_can_not_vouch() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s").display().to_string();
    let check = async |command: &str, exit| {
        let seen = run_alone(&[command, "--server", &path], &token("j1", "bob")).await;
        let expected = format!(
            "error: can't reach unix:{path}: there is no such socket; give the address of a sidecar with --server: in \
             a pod it listens at /run/rescind/check.sock, in the containers that mount it; to try things out, start \
             `rescind dev`\n"
        );
        assert_eq!(seen, Seen::new(exit, "", &expected));
    };
    check("check", Exit::Pending).await;
    check("explain", Exit::Failed).await;
}
