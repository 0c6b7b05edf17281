//! Machines that hang: of a controller, of the API server, and of etcd.

use serde_json::json;
use tokio::time::Instant;

use crate::lab::{BOUND, LIST, Lab, RELAXED_BOUND};
use crate::objects::revocation;
use crate::observation::Observation;

/// What hangs.
#[derive(Clone, Copy, Debug)]
enum Hung {
    Controllers,
    ApiServer,
    Etcd,
}

fn pause(lab: &Lab, hung: Hung) {
    match hung {
        Hung::Controllers => lab.controllers.iter().for_each(|controller| controller.pause()),
        Hung::ApiServer => lab.plane.api_server().pause(),
        Hung::Etcd => lab.plane.etcd().pause(),
    }
}

fn resume(lab: &Lab, hung: Hung) {
    match hung {
        Hung::Controllers => lab.controllers.iter().for_each(|controller| controller.resume()),
        Hung::ApiServer => lab.plane.api_server().resume(),
        Hung::Etcd => lab.plane.etcd().resume(),
    }
}

/// Invariant 12: what hangs proves nothing, so nobody passes after the bound; what is revoked stays refused.
/// Invariant 21: afterwards all are fresh again by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_any_part_hangs_sidecars_refuse_and_afterwards_they_are_fresh_without_a_restart() {
    let lab = Lab::start(2, 2).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let ids: Vec<i32> = lab.controllers.iter().chain(&lab.sidecars).map(|node| node.id()).collect();
    let refused = Observation::of_all(&lab, &alice, &[401]);
    for hung in [Hung::Controllers, Hung::ApiServer, Hung::Etcd] {
        pause(&lab, hung);
        let since = Instant::now();
        tokio::join!(lab.until_doubted(0, &bob, since), lab.until_doubted(1, &bob, since));
        // Nothing lets it pass meanwhile, not even once.
        let doubted = Observation::of_all(&lab, &bob, &[503]);
        tokio::time::sleep(BOUND / 2).await;
        doubted.end(&lab).await;
        resume(&lab, hung);
        lab.until_all(&bob, 200).await;
        let name = format!("after-{hung:?}").to_lowercase();
        lab.revoke(&name).await;
        lab.until(&name, "Enforced", "True").await;
        lab.until_all(&lab.token(&name), 401).await;
    }
    refused.end(&lab).await;
    let after: Vec<i32> = lab.controllers.iter().chain(&lab.sidecars).map(|node| node.id()).collect();
    assert_eq!(ids, after);
    let has_ended = |log: &str| log.contains("panicked");
    assert!(!has_ended(&lab.logs()), "{}", lab.logs());
}

/// Invariant 22: one of two controllers hangs, and sidecars move to the other without ever being in doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_of_a_hung_controller_move_to_the_other_and_stay_fresh() {
    let mut lab = Lab::new().await;
    lab.declare_with_bound("shop", RELAXED_BOUND);
    for _ in 0..2 {
        let kubeconfig = lab.plane.kubeconfig().to_owned();
        lab.add_controller(&kubeconfig).await;
    }
    lab.add_sidecar(&[0, 1], LIST).await;
    lab.add_sidecar(&[1, 0], LIST).await;
    lab.until_steady().await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    let fresh = Observation::of_all(&lab, &bob, &[200]);
    for hung in [0, 1] {
        lab.controllers[hung].pause();
        let name = format!("alice-{hung}");
        lab.create(vec![revocation(&name, &json!({"subject": "alice"}))]).await;
        lab.until_all(&alice, 401).await;
        lab.controllers[hung].resume();
        lab.until(&name, "Enforced", "True").await;
        lab.lift(&name).await;
        lab.until_all(&alice, 200).await;
    }
    fresh.end(&lab).await;
}
