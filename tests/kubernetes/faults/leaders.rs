//! Who writes the status changes, and nothing is lost or wrong for that.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::lab::{Lab, PATIENCE};
use crate::objects::{of, revocation};
use crate::support::wait::wait_for;

/// Returns the number of the controller that leads, once one does.
pub(super) async fn leader(lab: &Lab) -> usize {
    let path = "/apis/coordination.k8s.io/v1/namespaces/rescind-system/leases/rescind-controller";
    wait_for("a controller leads", PATIENCE, async || {
        let lease = lab.request("GET", path, &Value::Null).await?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let is_holder = |log: String| !holder.is_empty() && log.contains(&holder);
        let found = (0..lab.controllers.len()).find(|number| is_holder(lab.controllers[*number].log()));
        found.ok_or(holder)
    })
    .await
}

/// Compares what statuses say with what sidecars do: of what is called enforced, nobody passes.
async fn check_enforced(lab: &Lab, checked: &mut HashSet<String>) {
    for object in lab.all().await.unwrap_or_default() {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if of(&object, "Enforced")["status"] != "True" || !checked.insert(name.clone()) {
            continue;
        }
        assert_eq!(object["status"]["target"], format!("subject {name}"), "{object}");
        let token = lab.token(&name);
        for sidecar in 0..lab.sidecars.len() {
            let answer = lab.ask(sidecar, &token).await;
            assert_ne!(answer, Ok(200), "sidecar {sidecar}: {object}\n{}", lab.logs());
        }
    }
}

/// Invariant 2: what was acknowledged survives `kill -9` of any controller.
/// Invariant 3: a change of leader loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_in_a_stream_of_revocations_loses_no_status_and_makes_none_wrong() {
    let mut lab = Lab::start(2, 2).await;
    let mut checked = HashSet::new();
    let mut names = Vec::new();
    for round in 0..3 {
        for step in 0..20 {
            let name = format!("user-{round}-{step}");
            lab.revoke(&name).await;
            names.push(name);
            if step == 10 {
                let killed = leader(&lab).await;
                lab.controllers[killed].kill().await;
                if round == 2 {
                    // One alone gets on, too.
                    continue;
                }
                lab.controllers[killed].start().await;
            }
            if step % 5 == 0 {
                check_enforced(&lab, &mut checked).await;
            }
        }
    }
    wait_for("all are enforced", PATIENCE, async || {
        check_enforced(&lab, &mut checked).await;
        let missing: Vec<_> = names.iter().filter(|name| !checked.contains(*name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}\n{}", lab.logs())) }
    })
    .await;
    for name in &names {
        lab.until_all(&lab.token(name), 401).await;
    }
}

/// Invariant 15: an object that bears the name of a deleted one never gets its status, whoever believes to lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_namesake_never_gets_the_status_of_its_predecessor() {
    let lab = Lab::start(2, 1).await;
    for round in 0..9 {
        // A leader that hangs, before it has seen anything or with its writes under way, wakes up as one of two.
        let hangs = (round % 3 == 2).then_some(leader(&lab).await);
        let is_even = round % 2 == 0;
        if let (Some(hangs), false) = (hangs, is_even) {
            lab.controllers[hangs].pause();
        }
        lab.create(vec![revocation("ticket", &json!({"subject": format!("before-{round}")}))]).await;
        match (hangs, is_even) {
            // How far it has come is not known, and is another matter each time.
            (Some(hangs), true) => lab.controllers[hangs].pause(),
            (None, true) => drop(lab.until("ticket", "Accepted", "True").await),
            (_, false) => {}
        }
        lab.lift("ticket").await;
        let subject = format!("after-{round}");
        let created = lab.create(vec![revocation("ticket", &json!({"subject": subject}))]).await.remove(0);
        if let Some(hangs) = hangs {
            wait_for("another leads", PATIENCE, async || match leader(&lab).await {
                led if led == hangs => Err("the same leads".to_owned()),
                _ => Ok(()),
            })
            .await;
            lab.controllers[hangs].resume();
        }
        wait_for("it is enforced", PATIENCE, async || {
            let object = lab.get("ticket").await?;
            assert_eq!(object["metadata"]["uid"], created["metadata"]["uid"]);
            let status = &object["status"];
            let target = &status["target"];
            assert!(target.is_null() || *target == format!("subject {subject}"), "{object}");
            if of(&object, "Enforced")["status"] != "True" {
                return Err(format!("{object}\n{}", lab.logs()));
            }
            let version = status["version"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            assert_eq!(created["metadata"]["resourceVersion"], version, "{object}");
            assert_ne!(lab.ask(0, &lab.token(&subject)).await, Ok(200));
            Ok(())
        })
        .await;
        lab.lift("ticket").await;
    }
}
