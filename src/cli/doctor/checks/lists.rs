//! The lists: are they ready, and followed? And is there room for more revocations?

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::super::super::cluster::is_trouble;
use super::super::facts::Facts;
use super::super::finding::{Finding, count, some};
use crate::api::condition::{ConditionReason, ConditionType};
use crate::api::token_revocation_list::{Condition, ConditionStatus, TokenRevocationList};

const LISTS: &str = "lists";
const REPORTS: &str = "reports";
const QUOTAS: &str = "quotas";
/// What quotas call our objects.
const COUNTED: &str = "count/revocations.rescind.dev";

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    let lists = match &facts.lists {
        Ok(lists) => lists,
        Err(error) => return vec![Finding::unread(LISTS, error)],
    };
    if lists.is_empty() {
        let seen = "no TokenRevocationList is declared: nothing can be revoked";
        return vec![Finding::warning(LISTS, seen, "apply one, like examples/kubernetes/list.yaml")];
    }
    let mut findings = ready(lists);
    findings.push(reports(facts, lists));
    match &facts.quotas {
        Ok(all) => findings.extend(quotas(facts, lists, all)),
        Err(error) => findings.push(Finding::unread(QUOTAS, error)),
    }
    findings
}

fn name(list: &TokenRevocationList) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&list.metadata.namespace), text(&list.metadata.name))
}

fn conditions(list: &TokenRevocationList) -> &[Condition] {
    list.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

fn ready(lists: &[TokenRevocationList]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in lists {
        let observed = list.status.as_ref().and_then(|status| status.observed_generation);
        let found = conditions(list).iter().find(|condition| condition.type_ == ConditionType::Ready);
        match found.map(|condition| (condition.status, condition)) {
            Some((ConditionStatus::False, condition)) => {
                let seen = format!(
                    "{} is not ready ({}): {}",
                    name(list),
                    condition.reason,
                    condition.message.trim_end_matches('.')
                );
                findings.push(Finding::failure(LISTS, seen, next_step(condition)));
            }
            Some((ConditionStatus::True, _)) if observed == list.metadata.generation => {}
            _ => {
                let seen = format!("{}: no controller has looked at what it declares", name(list));
                findings.push(Finding::failure(
                    LISTS,
                    seen,
                    "see whether a controller runs and leads (lease, above)",
                ));
            }
        }
        let others =
            conditions(list).iter().filter(|one| one.type_ != ConditionType::Ready && is_trouble(one));
        findings.extend(others.map(|one| {
            let seen = format!("{}: {} ({})", name(list), one.message.trim_end_matches('.'), one.type_);
            Finding::warning(LISTS, seen, next_step(one))
        }));
    }
    if findings.is_empty() {
        let who = count(lists.len(), "list is", "lists are");
        findings.push(Finding::ok(LISTS, format!("{who} ready")));
    }
    findings
}

/// What to do about a condition that is trouble.
fn next_step(condition: &Condition) -> &'static str {
    use ConditionReason::{DefinitionGone, NamespaceGone, StoreDeleted};
    if [StoreDeleted, DefinitionGone, NamespaceGone].iter().any(|reason| condition.reason == *reason) {
        "bring back what is gone; controllers that run on write the revocations again"
    } else if condition.type_ == ConditionType::Ready {
        "change its declaration, or look at the logs of the controllers"
    } else if [ConditionType::StoreDeleted, ConditionType::StoreWentBack]
        .iter()
        .any(|type_| condition.type_ == *type_)
    {
        "revoke again what must be denied everywhere"
    } else {
        "do what it says; it goes when that is done, or no longer matters"
    }
}

/// Sums up what replicas report of each list.
fn reports(facts: &Facts, lists: &[TokenRevocationList]) -> Finding {
    let replicas = match &facts.replicas {
        Ok(looks) => &looks.second,
        Err(error) => return Finding::unread(REPORTS, error),
    };
    let mut known: BTreeMap<String, (i64, i64, bool)> = BTreeMap::new();
    for report in replicas.iter().flat_map(|replica| &replica.lists) {
        let sums = known.entry(format!("{}/{}", report.namespace, report.name)).or_default();
        sums.0 += report.subscribers;
        sums.1 += report.connected;
        sums.2 |= report.subscribers > 0 && report.lowest.is_none();
    }
    let (mut alone, mut away, mut empty, mut whole) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for list in lists {
        let name = name(list);
        match known.get(&name) {
            None | Some((0, _, _)) => alone.push(name),
            Some((_, _, true)) => empty.push(name),
            Some((subscribers, connected, _)) if connected < subscribers => {
                away.push(format!("{name} ({} of {subscribers})", subscribers - connected));
            }
            Some((_, connected, _)) => whole += connected,
        }
    }
    let status = "`rescind status -A` shows which replica serves them";
    if !empty.is_empty() {
        let seen = format!("a sidecar follows and has nothing yet: {}", some(&empty));
        return Finding::warning(REPORTS, seen, status);
    }
    if !away.is_empty() {
        let seen = format!("sidecars were lost lately: {}", some(&away));
        return Finding::warning(
            REPORTS,
            seen,
            format!("if their pods run on, look at their logs; {status}"),
        );
    }
    if !alone.is_empty() {
        let seen = format!("no sidecar follows {}: nothing is refused by it", some(&alone));
        return Finding::warning(
            REPORTS,
            seen,
            "label a namespace or a pod with rescind.dev/inject=enabled, or start a sidecar",
        );
    }
    Finding::ok(REPORTS, format!("sidecars follow every list: {whole} in all"))
}

fn quotas(facts: &Facts, lists: &[TokenRevocationList], quotas: &[ResourceQuota]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of = |quota: &ResourceQuota| quota.metadata.namespace.clone().unwrap_or_default();
    let limits = |quota: &&ResourceQuota| hard(quota).is_some();
    for quota in quotas.iter().filter(limits) {
        let namespace = of(quota);
        let most = hard(quota).unwrap_or_default();
        if namespace == facts.controllers {
            let seen = format!(
                "a quota limits {COUNTED} in {namespace}: a refused heartbeat makes every list stale"
            );
            findings.push(Finding::failure(
                QUOTAS,
                seen,
                "delete it; quotas are for the namespaces of lists",
            ));
            continue;
        }
        let Some(used) = used(quota) else { continue };
        let seen = format!("namespace {namespace} has {used} of {most} revocations");
        let next = "lift what is not needed any more, or raise the quota";
        if used >= most {
            findings.push(Finding::failure(QUOTAS, format!("{seen}: new ones are refused"), next));
        } else if used.saturating_mul(5) >= most.saturating_mul(4) {
            findings.push(Finding::warning(QUOTAS, seen, next));
        }
    }
    let mut unlimited: Vec<String> =
        lists.iter().filter_map(|list| list.metadata.namespace.clone()).collect();
    unlimited.retain(|namespace| !quotas.iter().filter(limits).any(|quota| of(quota) == *namespace));
    unlimited.dedup();
    if !unlimited.is_empty() {
        let seen = format!(
            "no quota limits {COUNTED} in {}: many thousands of objects slow the API server",
            some(&unlimited)
        );
        findings.push(Finding::warning(QUOTAS, seen, "apply one, like examples/kubernetes/quota.yaml"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(QUOTAS, "every namespace of a list has room for revocations"));
    }
    findings
}

fn hard(quota: &ResourceQuota) -> Option<u64> {
    number(quota.spec.as_ref()?.hard.as_ref()?.get(COUNTED)?)
}

fn used(quota: &ResourceQuota) -> Option<u64> {
    number(quota.status.as_ref()?.used.as_ref()?.get(COUNTED)?)
}

/// Counts are plain, or in thousands.
fn number(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.as_str();
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1000),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::facts::Twice;
    use super::super::super::finding::Level;
    use super::super::tests::facts;
    use super::*;
    use crate::api::revocation::ListReport;
    use crate::cli::cluster::Replica;

    fn list(namespace: &str, ready: &str, observed: i64) -> TokenRevocationList {
        serde_json::from_value(json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "TokenRevocationList",
            "metadata": {"name": "shop", "namespace": namespace, "generation": 2},
            "spec": {"issuers": [{
                "issuer": "https://a", "anyAudience": true, "maxTokenLifetimeSeconds": 60, "verification": {"keys": []},
            }]},
            "status": {"observedGeneration": observed, "conditions": [{
                "type": "Ready", "status": ready, "reason": "Invalid", "message": "No.",
                "lastTransitionTime": "2026-11-21T10:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn a_list_must_be_ready_as_it_is_declared_now() {
        let check = |declared: TokenRevocationList, level, expected: &str| {
            let found = ready(&[declared]);
            assert_eq!((found[0].level, found[0].seen.as_str()), (level, expected));
        };
        check(list("a", "True", 2), Level::Ok, "1 list is ready");
        check(list("a", "False", 2), Level::Failure, "a/shop is not ready (Invalid): No");
        let unseen = "a/shop: no controller has looked at what it declares";
        check(list("a", "True", 1), Level::Failure, unseen);
        check(list("a", "Unknown", 2), Level::Failure, unseen);
        let mut lost = list("a", "True", 2);
        lost.status.as_mut().unwrap().conditions.push(Condition {
            status: ConditionStatus::True,
            ..Condition::unknown(ConditionType::StoreWentBack)
        });
        assert_eq!(ready(&[lost])[0].level, Level::Warning);
    }

    #[test]
    fn whose_store_is_gone_is_told_to_bring_it_back() {
        let mut gone = list("a", "False", 2);
        let conditions = &mut gone.status.as_mut().unwrap().conditions;
        conditions[0].reason = ConditionReason::StoreDeleted.word().to_owned();
        conditions.push(Condition {
            status: ConditionStatus::True,
            reason: ConditionReason::DefinitionGone.word().to_owned(),
            ..Condition::unknown(ConditionType::StoreDeleted)
        });
        let found = ready(&[gone]);
        assert_eq!(found.len(), 2);
        for finding in found {
            let next = finding.next.unwrap_or_default();
            assert!(next.starts_with("bring back what is gone"), "{next}");
        }
    }

    #[test]
    fn every_list_should_be_followed_by_sidecars_that_are_connected() {
        let check = |reported: Option<(i64, i64, Option<&str>)>, level, expected: &str| {
            let report = reported.map(|(subscribers, connected, lowest)| ListReport {
                namespace: "a".to_owned(),
                name: "shop".to_owned(),
                subscribers,
                connected,
                lowest: lowest.map(str::to_owned),
                generation: None,
                hash_key: None,
            });
            let replica = Replica { lists: report.into_iter().collect(), ..Replica::default() };
            let replicas = Ok(Twice { first: Vec::new(), second: vec![replica] });
            let found = reports(&Facts { replicas, ..facts() }, &[list("a", "True", 2)]);
            assert_eq!((found.level, found.seen.as_str()), (level, expected));
        };
        check(Some((2, 2, Some("1/5"))), Level::Ok, "sidecars follow every list: 2 in all");
        check(Some((2, 1, Some("1/5"))), Level::Warning, "sidecars were lost lately: a/shop (1 of 2)");
        check(Some((2, 2, None)), Level::Warning, "a sidecar follows and has nothing yet: a/shop");
        check(Some((0, 0, None)), Level::Warning, "no sidecar follows a/shop: nothing is refused by it");
        check(None, Level::Warning, "no sidecar follows a/shop: nothing is refused by it");
    }

    fn quota(namespace: &str, hard: &str, used: Value) -> ResourceQuota {
        serde_json::from_value(json!({
            "metadata": {"name": "q", "namespace": namespace},
            "spec": {"hard": {COUNTED: hard}}, "status": {"used": {COUNTED: used}},
        }))
        .unwrap()
    }

    #[test]
    fn a_quota_warns_at_four_fifths_and_is_never_for_heartbeats() {
        let check = |held: ResourceQuota, level, expected: &str| {
            let found = quotas(&facts(), &[list("a", "True", 2)], &[held]);
            assert_eq!(found[0].level, level, "{found:?}");
            assert!(found[0].seen.contains(expected), "{found:?}");
        };
        check(quota("a", "10k", json!("7999")), Level::Ok, "has room");
        check(quota("a", "10k", json!("8k")), Level::Warning, "namespace a has 8000 of 10000 revocations");
        check(quota("a", "10", json!("10")), Level::Failure, "new ones are refused");
        check(
            quota("b", "10", json!("1")),
            Level::Warning,
            "no quota limits count/revocations.rescind.dev in a",
        );
        check(
            quota("rescind-system", "10", json!("1")),
            Level::Failure,
            "a refused heartbeat makes every list stale",
        );
    }
}
