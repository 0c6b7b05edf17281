//! What the caller and the controllers may do.

use super::super::facts::{Facts, Given, Right};
use super::super::finding::{Finding, some};
use super::super::shipped::ACCOUNT;

const OWN: &str = "your-rights";
const THEIRS: &str = "controller-rights";
const GROUP: &str = "rescind.dev";

/// Returns the permissions of a person who revokes in a namespace.
pub(in super::super) fn wanted(namespace: &str) -> Vec<Right> {
    let rights = [
        ("create", "revocations"),
        ("delete", "revocations"),
        ("get", "revocations"),
        ("list", "revocations"),
        ("watch", "revocations"),
        ("get", "tokenrevocationlists"),
        ("list", "tokenrevocationlists"),
        ("revoke-wide", "tokenrevocationlists"),
        ("revoke-issuer", "tokenrevocationlists"),
    ];
    let right = |(verb, resource): (&str, &str)| Right {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        resource: resource.to_owned(),
        name: String::new(),
        namespace: namespace.to_owned(),
    };
    rights.map(right).to_vec()
}

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![own(&facts.own_rights), theirs(&facts.controller_rights, &facts.controllers)]
}

fn own(given: &Given) -> Finding {
    let given = match given {
        Ok(given) => given,
        Err(error) => return Finding::unread(OWN, error),
    };
    let namespace = given.first().map(|(right, _)| right.namespace.clone()).unwrap_or_default();
    let is_wide = |right: &Right| right.verb.starts_with("revoke-");
    let missing: Vec<String> =
        given.iter().filter(|(right, has)| !has && !is_wide(right)).map(|(right, _)| name(right)).collect();
    if !missing.is_empty() {
        return Finding::warning(
            OWN,
            format!("in namespace {namespace} you may not {}", some(&missing)),
            format!(
                "to revoke there: kubectl create rolebinding NAME --clusterrole=rescind-revoker --user=YOU -n {namespace}"
            ),
        );
    }
    let wide: Vec<&str> = given
        .iter()
        .filter(|(right, has)| *has && is_wide(right))
        .map(|(right, _)| right.verb.as_str())
        .collect();
    let wide = match wide.as_slice() {
        [] => "only what is narrow: no issuer, key or client (ClusterRole rescind-revoker-wide)".to_owned(),
        verbs => format!("also what is wide ({})", verbs.join(", ")),
    };
    Finding::ok(OWN, format!("in namespace {namespace} you may revoke and lift, {wide}"))
}

fn theirs(given: &Given, namespace: &str) -> Finding {
    let given = match given {
        Ok(given) => given,
        Err(error) => return Finding::unread(THEIRS, error),
    };
    let missing: Vec<String> = given.iter().filter(|(_, has)| !has).map(|(right, _)| name(right)).collect();
    let account = format!("ServiceAccount {namespace}/{ACCOUNT}");
    if missing.is_empty() {
        return Finding::ok(THEIRS, format!("{account} has every permission of its roles"));
    }
    Finding::failure(
        THEIRS,
        format!("{account} may not {}", some(&missing)),
        "upgrade the chart, or kubectl apply -f examples/kubernetes/rbac.yaml",
    )
}

/// Says in a few words what is permitted.
fn name(right: &Right) -> String {
    let Right { verb, group, resource, name, .. } = right;
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let (resource, sub) = resource
        .split_once('/')
        .map_or((resource.as_str(), String::new()), |(resource, sub)| (resource, format!("/{sub}")));
    let name = if name.is_empty() { String::new() } else { format!(" {name}") };
    format!("{verb} {resource}{group}{sub}{name}")
}

#[cfg(test)]
mod tests {
    use super::super::super::super::cluster::{ClusterError, Wanted};
    use super::super::super::finding::Level;
    use super::*;

    fn given(missing: &[&str]) -> Given {
        Ok(wanted("shop")
            .into_iter()
            .map(|right| (right.clone(), !missing.contains(&right.verb.as_str())))
            .collect())
    }

    #[test]
    fn who_may_not_revoke_is_told_what_is_missing_and_how_to_get_it() {
        let found = own(&given(&["create", "revoke-issuer"]));
        assert_eq!(found.level, Level::Warning);
        assert_eq!(found.seen, "in namespace shop you may not create revocations.rescind.dev");
        assert!(found.next.unwrap().contains("--clusterrole=rescind-revoker --user=YOU -n shop"));
    }

    #[test]
    fn what_is_wide_is_told_and_nobody_needs_it() {
        let check = |missing: &[&str], expected: &str| {
            let expected = format!("in namespace shop you may revoke and lift, {expected}");
            assert_eq!(own(&given(missing)), Finding::ok(OWN, expected));
        };
        check(&[], "also what is wide (revoke-wide, revoke-issuer)");
        check(&["revoke-issuer"], "also what is wide (revoke-wide)");
        check(
            &["revoke-issuer", "revoke-wide"],
            "only what is narrow: no issuer, key or client (ClusterRole rescind-revoker-wide)",
        );
    }

    #[test]
    fn a_controller_without_a_right_is_a_failure_and_not_to_know_is_none() {
        let right = Right {
            verb: "patch".to_owned(),
            group: GROUP.to_owned(),
            resource: "revocations/status".to_owned(),
            name: String::new(),
            namespace: String::new(),
        };
        let found = theirs(&Ok(vec![(right.clone(), false)]), "rescind-system");
        assert_eq!(found.level, Level::Failure);
        assert_eq!(
            found.seen,
            "ServiceAccount rescind-system/rescind-controller may not patch revocations.rescind.dev/status"
        );
        let found = theirs(&Ok(vec![(right, true)]), "rescind-system");
        assert_eq!(found.level, Level::Ok);
        let why = "User \"bob\" cannot create".to_owned();
        let wanted = Wanted::new("create", "subjectaccessreviews.authorization.k8s.io", None);
        let found = theirs(&Err(ClusterError::Forbidden { why, wanted }), "rescind-system");
        assert_eq!(found.level, Level::Skipped);
    }
}
