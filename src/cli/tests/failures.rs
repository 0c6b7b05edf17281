//! What people read when a command fails: every sentence, and that each says what to do.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::super::cluster::{ClusterError, LISTS, REVOCATIONS, Wanted};
use super::super::failure::Failure;
use super::super::server::{CallError, OpenError, ServerAddress};
use super::*;

const URL: &str = "https://api.example.com";
const WITHIN: Duration = Duration::from_secs(10);

fn url() -> String {
    URL.to_owned()
}

fn said(text: &str) -> String {
    format!("<{text}>")
}

fn wanted(verb: &'static str, resource: &'static str, namespace: Option<&str>) -> ClusterError {
    ClusterError::Forbidden { why: said("reason"), wanted: Wanted::new(verb, resource, namespace) }
}

/// Every variant; what is marked by <> comes from others, and has its own next step.
fn of_clusters() -> Vec<ClusterError> {
    let broken = || ClusterError::Broken { url: url(), why: said("reason") };
    let unsettled = ClusterError::Unsettled { error: Box::new(broken()), name: "r-1".to_owned() };
    let all = vec![
        ClusterError::NoKubeconfig,
        ClusterError::Kubeconfig(said("reason")),
        ClusterError::NoContext { problem: said("problem"), known: vec!["a".to_owned(), "b".to_owned()] },
        ClusterError::Unreachable { url: url(), why: said("reason") },
        ClusterError::Login { url: url(), why: said("reason") },
        broken(),
        ClusterError::NoAnswer { url: url(), within: WITHIN },
        ClusterError::Failed { url: url(), why: said("reason") },
        unsettled,
        ClusterError::Busy { url: url(), why: said("reason") },
        ClusterError::Unauthenticated { url: url(), why: said("reason") },
        wanted("create", REVOCATIONS, Some("shop")),
        wanted("get", LISTS, Some("shop")),
        wanted("list", "namespaces", None),
        ClusterError::Denied(said("reason")),
        ClusterError::NoKinds { url: url() },
        ClusterError::NotFound(said("sentence")),
        ClusterError::Gone(said("sentence")),
        ClusterError::Conflict(said("sentence")),
        ClusterError::Invalid(vec![said("sentence"), said("sentence")]),
        ClusterError::Refused(said("sentence")),
        ClusterError::Answer(said("reason")),
    ];
    // A new variant is added above as well.
    all.iter().for_each(|error| match error {
        ClusterError::NoKubeconfig
        | ClusterError::Kubeconfig(_)
        | ClusterError::NoContext { .. }
        | ClusterError::Unreachable { .. }
        | ClusterError::Login { .. }
        | ClusterError::Broken { .. }
        | ClusterError::NoAnswer { .. }
        | ClusterError::Failed { .. }
        | ClusterError::Unsettled { .. }
        | ClusterError::Busy { .. }
        | ClusterError::Unauthenticated { .. }
        | ClusterError::Forbidden { .. }
        | ClusterError::Denied(_)
        | ClusterError::NoKinds { .. }
        | ClusterError::NotFound(_)
        | ClusterError::Gone(_)
        | ClusterError::Conflict(_)
        | ClusterError::Invalid(_)
        | ClusterError::Refused(_)
        | ClusterError::Answer(_) => {}
    });
    all
}

fn of_calls() -> Vec<CallError> {
    let server = || ServerAddress::Unix(PathBuf::from("/a"));
    let all = vec![
        CallError::Unreachable { server: server(), why: said("reason"), next_step: said("next step") },
        CallError::Broken { server: server(), why: said("reason") },
        CallError::NoAnswer { server: server(), within: WITHIN },
        CallError::Unavailable { server: server(), why: said("reason") },
        CallError::Refused(said("sentence")),
    ];
    all.iter().for_each(|error| match error {
        CallError::Unreachable { .. }
        | CallError::Broken { .. }
        | CallError::NoAnswer { .. }
        | CallError::Unavailable { .. }
        | CallError::Refused(_) => {}
    });
    all
}

#[test]
fn every_failure_says_what_is_wrong_and_what_to_do() {
    let no_server = Failure::from(OpenError::NoServer);
    let broken = CallError::Broken { server: ServerAddress::Unix(PathBuf::from("/a")), why: said("reason") };
    let unsettled = Failure::Unsettled { error: broken, next_step: "<next step>" };
    let all = of_clusters().into_iter().map(Failure::from).chain(of_calls().into_iter().map(Failure::from));
    let lines: Vec<String> = all.chain([unsettled, no_server]).map(|failure| failure.to_string()).collect();
    assert_snapshot!("failures", lines.join("\n"));
}
