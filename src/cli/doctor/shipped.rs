//! The roles and the policies that come with this program, as the examples have them.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::facts::Right;

const ROLES: &str = include_str!("../../../examples/kubernetes/rbac.yaml");
const POLICIES: &str = include_str!("../../../examples/kubernetes/policies.yaml");
/// The controllers' namespace in the examples, and their ServiceAccount anywhere.
const NAMESPACE: &str = "rescind-system";
pub(super) const ACCOUNT: &str = "rescind-controller";

/// Reads the objects of one kind.
fn objects<T: DeserializeOwned>(text: &str, kind: &str) -> Vec<T> {
    let documents =
        text.split("\n---\n").filter_map(|document| serde_saphyr::from_str::<Value>(document).ok());
    let of_kind = documents.filter(|document| document.get("kind").and_then(Value::as_str) == Some(kind));
    of_kind.filter_map(|document| serde_json::from_value(document).ok()).collect()
}

/// Returns the policies, for controllers that live in a namespace.
pub(super) fn policies(namespace: &str) -> Vec<ValidatingAdmissionPolicy> {
    // The namespace is named in expressions, alone in quotes and as a part of the ServiceAccount's user.
    let text = POLICIES
        .replace(&format!("'{NAMESPACE}'"), &format!("'{namespace}'"))
        .replace(&format!(":{NAMESPACE}:"), &format!(":{namespace}:"));
    objects(&text, "ValidatingAdmissionPolicy")
}

/// Returns the permissions that the roles give to the controllers' ServiceAccount.
pub(super) fn controller_rights(namespace: &str) -> Vec<Right> {
    let is_ours = |subjects: Option<Vec<Subject>>| {
        subjects
            .unwrap_or_default()
            .iter()
            .any(|subject| subject.kind == "ServiceAccount" && subject.name == ACCOUNT)
    };
    let mut rights = Vec::new();
    for binding in objects::<ClusterRoleBinding>(ROLES, "ClusterRoleBinding") {
        let roles = objects::<ClusterRole>(ROLES, "ClusterRole").into_iter();
        let bound = roles.filter(|role| role.metadata.name.as_ref() == Some(&binding.role_ref.name));
        if is_ours(binding.subjects) {
            bound.for_each(|role| rights.extend(of_rules(&role.rules.unwrap_or_default(), "")));
        }
    }
    for binding in objects::<RoleBinding>(ROLES, "RoleBinding") {
        let roles = objects::<Role>(ROLES, "Role").into_iter();
        let bound = roles.filter(|role| role.metadata.name.as_ref() == Some(&binding.role_ref.name));
        if is_ours(binding.subjects) {
            bound.for_each(|role| rights.extend(of_rules(&role.rules.unwrap_or_default(), namespace)));
        }
    }
    rights.sort();
    rights.dedup();
    rights
}

fn of_rules(rules: &[PolicyRule], namespace: &str) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in rules {
        let any = [String::new()];
        let names = rule.resource_names.as_deref().filter(|names| !names.is_empty()).unwrap_or(&any);
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let of_verb = |verb: &String| {
                    let right = |name: &String| Right {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        namespace: namespace.to_owned(),
                    };
                    names.iter().map(right).collect::<Vec<_>>()
                };
                rights.extend(rule.verbs.iter().flat_map(of_verb));
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_of_the_examples_is_read() {
        let documents = |text: &str, kind: &str| text.matches(&format!("\nkind: {kind}\n")).count();
        assert_eq!(policies("x").len(), documents(POLICIES, "ValidatingAdmissionPolicy"));
        assert_eq!(objects::<Role>(ROLES, "Role").len(), documents(ROLES, "Role"));
        assert_eq!(objects::<ClusterRole>(ROLES, "ClusterRole").len(), documents(ROLES, "ClusterRole"));
    }

    #[test]
    fn policies_name_the_namespace_of_the_controllers() {
        let text = format!("{:?}", policies("elsewhere"));
        assert!(!text.contains(NAMESPACE));
        assert!(text.contains("'system:serviceaccount:elsewhere:rescind-controller'"));
    }

    #[test]
    fn the_controllers_rights_are_those_of_their_roles_and_of_nobody_elses() {
        let rights = controller_rights("elsewhere");
        let right = |verb: &str, group: &str, resource: &str, name: &str, namespace: &str| Right {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        };
        assert!(rights.contains(&right("watch", "rescind.dev", "revocations", "", "")));
        assert!(rights.contains(&right("patch", "rescind.dev", "revocations/status", "", "")));
        let lease = right("update", "coordination.k8s.io", "leases", "rescind-controller", "elsewhere");
        assert!(rights.contains(&lease), "{rights:?}");
        // That of the role for people.
        assert!(!rights.contains(&right("delete", "rescind.dev", "tokenrevocationlists", "", "")));
    }
}
