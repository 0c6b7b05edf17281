//! What operators are told: conditions of lists, events, and the audit log.

use serde_json::{Value, json};

use crate::lab::{Lab, NAMESPACE, PATIENCE};
use crate::objects::{of, revocation};
use crate::support::issue::now;
use crate::support::wait::wait_for;

/// Waits until `kubectl describe` shows an event of this reason; returns what it has shown.
async fn described(lab: &Lab, kind: &str, name: &str, reason: &str) -> String {
    wait_for(&format!("{kind} {name} tells {reason}"), PATIENCE, async || {
        let text = lab.kubectl(&["describe", kind, name, "--namespace", NAMESPACE]);
        let events = text.split("\nEvents:").nth(1).unwrap_or_default();
        if events.contains(reason) { Ok(events.to_owned()) } else { Err(format!("{text}\n{}", lab.logs())) }
    })
    .await
}

/// The lines of the audit logs of all controllers.
pub(crate) fn audited(lab: &Lab) -> Vec<Value> {
    let files = (0..lab.controllers.len()).map(|number| lab.path(&format!("audit-{number}.log")));
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for the line of an act on an object.
pub(crate) async fn line(lab: &Lab, act: &str, name: &str) -> Value {
    wait_for(&format!("a line of {act} {name}"), PATIENCE, async || {
        let lines = audited(lab);
        let found = lines.iter().find(|line| line["act"] == act && line["name"] == name);
        found.cloned().ok_or_else(|| format!("{lines:?}\n{}", lab.logs()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_the_audit_log_tell_what_became_of_a_revocation() {
    let lab = Lab::start(2, 2).await;
    lab.kubectl_with(&["create", "-f", "-"], &revocation("ticket-1", &json!({"subject": "alice"})));
    let enforced = lab.until("ticket-1", "Enforced", "True").await;
    let told = described(&lab, "revocation", "ticket-1", "Enforced").await;
    assert!(told.contains("Normal") && told.contains("2 of 2 sidecars have it in use"), "{told}");
    let mut nowhere = revocation("ticket-2", &json!({"subject": "bob"}));
    nowhere["spec"]["listName"] = json!("nowhere");
    nowhere["spec"]["reason"] = json!("LostDevice");
    let mut over = revocation("ticket-3", &json!({"subject": "carol"}));
    over["spec"]["cutoff"] = json!("Always");
    let end = jiff::Timestamp::from_second(i64::try_from(now() + 10).unwrap()).unwrap();
    over["spec"]["expiresAt"] = json!(end.to_string());
    lab.create(vec![nowhere, over]).await;
    let told = described(&lab, "revocation", "ticket-2", "Refused").await;
    assert!(told.contains("Warning") && told.contains("UnknownList"), "{told}");

    let revoked = line(&lab, "revoke", "ticket-1").await;
    let expected = json!({
        "outcome": "accepted", "who": "unknown: see the API server's audit log", "manager": "kubectl-create",
        "via": "object", "kind": "subject", "list": "apps/shop",
        "id": enforced["metadata"]["uid"], "issuer": enforced["spec"]["issuer"], "target": "rescind::audit",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&revoked[field], value, "{field} of {revoked}");
    }
    let refused = line(&lab, "revoke", "ticket-2").await;
    assert_eq!([&refused["cause"], &refused["reason"]], ["UnknownList", "LostDevice"], "{refused}");
    lab.kubectl(&["delete", "revocation", "ticket-1", "--namespace", NAMESPACE]);
    let lifted = line(&lab, "lift", "ticket-1").await;
    assert_eq!([&lifted["id"], &lifted["key"]], [&revoked["id"], &revoked["key"]], "{lifted}");
    assert_eq!(lifted["key"].as_str().unwrap().len(), 32, "{lifted}");
    let expired = line(&lab, "expire", "ticket-3").await;
    assert_eq!(expired["who"], "rescind-controller", "{expired}");
    // By the one that leads alone, and about nobody.
    let lines = audited(&lab);
    let same = |line: &&Value| line["act"] == "revoke" && line["name"] == "ticket-1";
    assert_eq!(lines.iter().filter(same).count(), 1, "{lines:?}");
    let text = json!(lines).to_string();
    assert!(["alice", "bob", "carol"].iter().all(|name| !text.contains(name)), "{text}");
}

/// Writes what the quota controller would, which a control plane without a controller manager has not.
fn quota_status(lab: &Lab, used: &str) {
    let status = json!({"status": {
        "hard": {"count/revocations.rescind.dev": "50"}, "used": {"count/revocations.rescind.dev": used},
    }});
    let patch = format!("--patch={status}");
    let quota = ["patch", "resourcequota", "revocations", "--namespace", NAMESPACE, "--type=merge"];
    lab.kubectl(&[&quota[..], &["--subresource=status", &patch]].concat());
}

/// Waits until a condition of the list is there, or is not.
async fn until_list(lab: &Lab, condition: &str, is_there: bool) -> Value {
    wait_for(&format!("{condition} is there: {is_there}"), PATIENCE, async || {
        let list = lab.list("shop").await?;
        if of(&list, condition).is_null() == is_there {
            return Err(format!("{}\n{}", list["status"], lab.logs()));
        }
        Ok(list)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_that_its_quota_is_nearly_used_up_and_that_much_has_gone_at_once() {
    let lab = Lab::start(1, 1).await;
    let mut quota = json!({"apiVersion": "v1", "kind": "ResourceQuota"});
    quota["metadata"] = json!({"name": "revocations", "namespace": NAMESPACE});
    quota["spec"] = json!({"hard": {"count/revocations.rescind.dev": "50"}});
    lab.apply(&quota);
    quota_status(&lab, "0");
    let began = tokio::time::Instant::now();
    let names: Vec<String> = (0..40).map(|number| format!("many-{number}")).collect();
    let manifests = names.iter().map(|name| revocation(name, &json!({"subject": name})));
    lab.create(manifests.collect()).await;
    let list = until_list(&lab, "NearQuota", true).await;
    assert!(of(&list, "NearQuota")["message"].as_str().unwrap().contains("50 objects"), "{list}");
    described(&lab, "tokenrevocationlist", "shop", "NearQuota").await;
    for name in &names {
        lab.until(name, "Enforced", "True").await;
    }
    // Many at once are a burst of events, and then one a second.
    let fields = ["--field-selector=reason=Enforced", "--output=name", "--namespace", NAMESPACE];
    let told = lab.kubectl(&[&["get", "events.events.k8s.io"], &fields[..]].concat()).lines().count();
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(told <= 25 + 2 + seconds, "{told} events");

    for name in &names[..30] {
        lab.lift(name).await;
    }
    let list = until_list(&lab, "LargeShareGone", true).await;
    assert!(of(&list, "LargeShareGone")["message"].as_str().unwrap().contains("were lifted"), "{list}");
    described(&lab, "tokenrevocationlist", "shop", "LargeShareGone").await;
    // It changes nothing else.
    assert_eq!(of(&list, "Ready")["status"], "True", "{list}");
    lab.until_answer(0, &lab.token("many-0"), 200).await;
    assert_eq!(lab.ask(0, &lab.token("many-39")).await, Ok(401));
    quota_status(&lab, "10");
    until_list(&lab, "NearQuota", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_tells_of_a_replica_that_proves_nothing_any_more() {
    let mut lab = Lab::new().await;
    for number in 0..2 {
        let kubeconfig = lab.plane.kubeconfig().to_owned();
        lab.add_controller(&kubeconfig).await;
        lab.add_sidecar(&[number], "apps/shop").await;
    }
    lab.until_steady().await;
    lab.controllers[0].kill().await;
    let told = described(&lab, "tokenrevocationlist", "shop", "StaleReplica").await;
    assert!(told.contains("Warning") && told.contains("proves nothing any more"), "{told}");
    // The other one goes on.
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    lab.until_answer(1, &lab.token("alice"), 401).await;
}
