//! The checks, each a function of what was read.

use super::facts::Facts;
use super::finding::Finding;

mod authority;
mod controllers;
mod definitions;
mod injection;
mod lists;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod server;
mod service;

/// Makes all checks but those of the API server itself, in the order in which a person would look.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    [
        definitions::check(facts),
        permissions::check(facts),
        policies::check(facts),
        controllers::check(facts),
        lists::check(facts),
        authority::check(facts),
        service::check(facts),
        injection::check(facts),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::facts::Twice;
    use super::*;

    /// 2026-11-21T10:00:00Z.
    pub(super) const NOW: i64 = 1_795_255_200;

    /// Facts of a cluster in which there is nothing.
    pub(super) fn facts() -> Facts {
        Facts {
            controllers: "rescind-system".to_owned(),
            now: NOW,
            definitions: vec![("revocations.rescind.dev", Ok(None))],
            own_rights: Ok(Vec::new()),
            controller_rights: Ok(Vec::new()),
            policies: Ok(Vec::new()),
            bindings: Ok(Vec::new()),
            webhook: Ok(None),
            webhook_service: Ok(None),
            webhook_endpoints: Ok(Vec::new()),
            authority_secret: Ok(false),
            authority: Ok(None),
            deployment: Ok(None),
            replicas: Ok(Twice { first: Vec::new(), second: Vec::new() }),
            lease: Ok(Twice { first: None, second: None }),
            lists: Ok(Vec::new()),
            quotas: Ok(Vec::new()),
            namespaces: Ok(Vec::new()),
            injected: Ok(BTreeMap::new()),
        }
    }

    #[test]
    fn each_check_says_something_of_a_cluster_in_which_there_is_nothing() {
        let names: Vec<&str> = all(&facts()).iter().map(|finding| finding.check).collect();
        let expected = [
            "definitions",
            "your-rights",
            "controller-rights",
            "policies",
            "controllers",
            "pulses",
            "lease",
            "lists",
            "authority",
            "webhook",
            "pods",
        ];
        assert_eq!(names, expected);
    }
}
