//! Which sidecars may follow a list: what an owner declares, and what that means for one of them. Pure.

#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    missing_docs,
    reason = "the derive macros write items of their own; what is written here is documented and reachable"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::revocation::names::ListName;

use super::invalid::{Invalid, count};
use super::rule;

/// Which sidecars may follow the list.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedSubscribers {
    /// By namespace.
    #[serde(default)]
    pub namespaces: AllowedNamespaces,
    /// By ServiceAccount, in these namespaces: NAME, or NAMESPACE/NAME for that of one namespace. Absent means each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 317)))]
    #[x_kube(validation = rule::accounts())]
    pub service_accounts: Vec<String>,
}

/// Namespaces whose sidecars may follow the list.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(has(self.from) && self.from == 'Selector') == has(self.selector)").message("from Selector goes with a selector, and a selector with from Selector only: add the one, or leave out the other")
)]
pub struct AllowedNamespaces {
    /// Same: the list's own. All: every namespace. Selector: those with certain labels.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels that a namespace must have. An empty one selects every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The list's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those that the selector matches.
    Selector,
}

/// Labels that an object must have: all of what is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// What one label must be like.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)").message("In and NotIn need values, Exists and DoesNotExist have none")
)]
pub struct LabelRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// Who a sidecar is, in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ServiceAccount {
    /// Reads the name by which an API server knows one; none if the user is something else.
    #[must_use]
    pub fn of_user(user: &str) -> Option<Self> {
        let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let is_name = |text: &str| !text.is_empty() && !text.contains([':', '/']);
        (is_name(namespace) && is_name(name))
            .then(|| Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// What a declaration means for one ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// It may follow the list.
    Yes,
    /// That depends on the labels of its namespace.
    DependsOnLabels,
    /// It may not, by this field of the list's specification.
    No {
        /// The field to change.
        field: &'static str,
    },
}

impl AllowedSubscribers {
    /// Tells whether a ServiceAccount may follow a list. `labels` are those of its namespace, if they are known.
    #[must_use]
    pub fn allows(
        &self,
        list: &ListName,
        account: &ServiceAccount,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Allowed {
        let by_namespace = match (self.namespaces.from, &self.namespaces.selector) {
            (NamespacesFrom::Same, _) => account.namespace == list.namespace(),
            (NamespacesFrom::All, _) => true,
            // A list that was stored before the rule, or past it: nothing is selected.
            (NamespacesFrom::Selector, None) => false,
            (NamespacesFrom::Selector, Some(selector)) => match labels {
                Some(labels) => selector.matches(labels),
                None => return Allowed::DependsOnLabels,
            },
        };
        let by_name = self.service_accounts.iter().any(|named| match named.split_once('/') {
            Some((namespace, name)) => namespace == account.namespace && name == account.name,
            None => *named == account.name,
        });
        match (by_namespace, by_name || self.service_accounts.is_empty()) {
            (true, true) => Allowed::Yes,
            (false, _) => Allowed::No { field: "spec.allowedSubscribers.namespaces" },
            (true, false) => Allowed::No { field: "spec.allowedSubscribers.serviceAccounts" },
        }
    }

    /// Checks what goes together, where no schema has.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        count("serviceAccounts", self.service_accounts.len(), 0..=64)?;
        if (self.namespaces.from == NamespacesFrom::Selector) != self.namespaces.selector.is_some() {
            return Err(Invalid::new("namespaces.selector", "goes with from Selector, and only with that"));
        }
        let requirements = self.namespaces.selector.iter().flat_map(|selector| &selector.match_expressions);
        for requirement in requirements {
            let compares = matches!(requirement.operator, LabelOperator::In | LabelOperator::NotIn);
            if compares == requirement.values.is_empty() {
                let problem = "In and NotIn need values, Exists and DoesNotExist have none";
                return Err(Invalid::new("namespaces.selector.matchExpressions", problem));
            }
        }
        Ok(())
    }
}

impl LabelSelector {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let by_label = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        by_label && self.match_expressions.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl LabelRequirement {
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        let is_among = found.is_some_and(|found| self.values.contains(found));
        match self.operator {
            LabelOperator::In => is_among,
            LabelOperator::NotIn => !is_among,
            LabelOperator::Exists => found.is_some(),
            LabelOperator::DoesNotExist => found.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NAMESPACES: Allowed = Allowed::No { field: "spec.allowedSubscribers.namespaces" };
    const ACCOUNTS: Allowed = Allowed::No { field: "spec.allowedSubscribers.serviceAccounts" };

    /// The list is `apps/shop`; labels are those of the account's namespace.
    fn check(declared: &Value, account: &str, labels: Option<&Value>, expected: Allowed) {
        let allowed = AllowedSubscribers::deserialize(declared).unwrap();
        let account = ServiceAccount::of_user(&format!("system:serviceaccount:{account}")).unwrap();
        let labels = labels.map(|labels| BTreeMap::deserialize(labels).unwrap());
        let list: ListName = "apps/shop".parse().unwrap();
        assert_eq!(allowed.allows(&list, &account, labels.as_ref()), expected, "{declared} {account}");
    }

    #[test]
    fn absent_means_the_own_namespace() {
        check(&json!({}), "apps:web", None, Allowed::Yes);
        check(&json!({}), "other:web", None, NAMESPACES);
        check(&json!({"namespaces": {"from": "All"}}), "other:web", None, Allowed::Yes);
    }

    #[test]
    fn named_accounts_narrow_the_namespaces() {
        let named = json!({"namespaces": {"from": "All"}, "serviceAccounts": ["web", "other/job"]});
        check(&named, "apps:web", None, Allowed::Yes);
        check(&named, "other:job", None, Allowed::Yes);
        check(&named, "apps:job", None, ACCOUNTS);
        check(&json!({"serviceAccounts": ["web"]}), "other:web", None, NAMESPACES);
    }

    #[test]
    fn a_selector_asks_for_labels() {
        let selector = |selector: Value| json!({"namespaces": {"from": "Selector", "selector": selector}});
        let team = selector(json!({"matchLabels": {"team": "a"}}));
        check(&team, "other:web", None, Allowed::DependsOnLabels);
        check(&team, "other:web", Some(&json!({"team": "a", "more": ""})), Allowed::Yes);
        check(&team, "other:web", Some(&json!({"team": "b"})), NAMESPACES);
        // The list's own namespace has no privilege then.
        check(&team, "apps:web", Some(&json!({})), NAMESPACES);
        for (operator, values, met, unmet) in [
            ("In", json!(["a", "b"]), json!({"team": "b"}), json!({})),
            ("NotIn", json!(["a"]), json!({}), json!({"team": "a"})),
            ("Exists", json!([]), json!({"team": ""}), json!({})),
            ("DoesNotExist", json!([]), json!({}), json!({"team": ""})),
        ] {
            let requirement = json!({"key": "team", "operator": operator, "values": values});
            let declared = selector(json!({"matchExpressions": [requirement]}));
            check(&declared, "other:web", Some(&met), Allowed::Yes);
            check(&declared, "other:web", Some(&unmet), NAMESPACES);
        }
    }

    #[test]
    fn a_selector_that_is_missing_selects_nothing_and_is_refused() {
        let declared = json!({"namespaces": {"from": "Selector"}});
        check(&declared, "apps:web", Some(&json!({})), NAMESPACES);
        assert!(AllowedSubscribers::deserialize(&declared).unwrap().check().is_err());
        let useless = json!({"namespaces": {"from": "All", "selector": {}}});
        assert!(AllowedSubscribers::deserialize(&useless).unwrap().check().is_err());
    }

    #[test]
    fn only_the_user_of_a_service_account_is_one() {
        let of = |user: &str| ServiceAccount::of_user(user).map(|account| account.to_string());
        assert_eq!(of("system:serviceaccount:apps:web").as_deref(), Some("apps/web"));
        for user in
            ["administrator", "system:serviceaccount:apps", "system:serviceaccount::web", "system:node:a:b"]
        {
            assert_eq!(of(user), None);
        }
        assert_eq!(of("system:serviceaccount:apps:web:more"), None);
    }
}
