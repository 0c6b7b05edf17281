//! Controllers that are told to stop, as a rollout does, one after the other.

use crate::lab::{LIST, Lab, PATIENCE, RELAXED_BOUND};
use crate::observation::Observation;
use crate::support::metrics::get;
use crate::support::wait::wait_for;

/// Invariant 22: sidecars are told to move, and leave the old stream only when the new one is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_of_a_controller_that_is_told_to_stop_move_to_the_other_before_they_lose_it() {
    let mut lab = Lab::new().await;
    lab.declare_with_bound("shop", RELAXED_BOUND);
    lab.add(2, 0).await;
    lab.add_sidecar(&[0, 1], LIST).await;
    lab.add_sidecar(&[1, 0], LIST).await;
    lab.until_steady().await;
    let lost = |lab: &Lab| {
        let logs = lab.sidecars.iter().map(|sidecar| sidecar.log()).collect::<String>();
        logs.matches("the stream was lost").count()
    };
    let (before, bob) = (lost(&lab), lab.token("bob"));
    let fresh = Observation::of_all(&lab, &bob, &[200]);
    for told in [0, 1] {
        lab.controllers[told].end().await;
        assert_eq!(lost(&lab), before, "{}", lab.logs());
        // They follow the other one now: what is revoked without the first arrives.
        let name = format!("during-{told}");
        lab.revoke(&name).await;
        lab.until_all(&lab.token(&name), 401).await;
        lab.controllers[told].start().await;
        let health = lab.controllers[told].address("health");
        wait_for("the controller is ready", PATIENCE, async || match get(&health, "/readyz", &[]).await {
            (200, _) => Ok(()),
            (status, text) => Err(format!("{status} {text}")),
        })
        .await;
    }
    fresh.end(&lab).await;
}
