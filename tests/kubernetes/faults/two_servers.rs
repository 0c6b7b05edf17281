//! Two API servers on one etcd, and a network in front of the second that delays, loses, or cuts.

use serde_json::json;
use tokio::time::Instant;

use crate::lab::{BOUND, LIST, Lab, revocation};
use crate::observation::Observation;
use crate::relay::{Mode, Relay};

/// The sidecar that knows the first controller before the second, the other way round, and the second alone.
const FIRST: usize = 0;
const SECOND: usize = 1;
const ONLY_SECOND: usize = 2;

/// A lab whose second controller reaches another API server, through a relay.
async fn start() -> (Lab, Relay) {
    let mut lab = Lab::new().await;
    let other = tokio::task::block_in_place(|| lab.plane.add_api_server());
    let relay = Relay::start(other.url()).await;
    lab.servers.push(other);
    let kubeconfig = lab.plane.kubeconfig().to_owned();
    lab.add_controller(&kubeconfig).await;
    lab.add_controller(&lab.plane.kubeconfig_at(&relay.url())).await;
    lab.add_sidecar(&[0, 1], LIST).await;
    lab.add_sidecar(&[1, 0], LIST).await;
    lab.add_sidecar(&[1], LIST).await;
    lab.until_steady().await;
    (lab, relay)
}

/// Invariant 13: a controller whose watch is late, or that is cut off, vouches for nothing.
/// Invariant 12: what it does not get an answer to proves nothing.
/// Invariant 22: its sidecars move to one that can prove, where they know one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_behind_a_bad_network_vouches_for_nothing_and_its_sidecars_move_or_refuse() {
    let (lab, relay) = start().await;
    for mode in [Mode::HoldWatches, Mode::Hang, Mode::Cut] {
        let subject = format!("{mode:?}").to_lowercase();
        let (revoked, bob) = (lab.token(&subject), lab.token("bob"));
        relay.set(mode);
        lab.create(vec![revocation(&subject, &json!({"subject": subject}))]).await;
        let acknowledged = Instant::now();
        // Whoever can move does, and knows it; the other refuses everybody before long.
        lab.until_answer(FIRST, &revoked, 401).await;
        lab.until_answer(SECOND, &revoked, 401).await;
        lab.until_answer(SECOND, &bob, 200).await;
        lab.until_doubted(ONLY_SECOND, &revoked, acknowledged).await;
        let doubted = Observation::begin(&lab, &[ONLY_SECOND], &bob, &[503]);
        let fresh = Observation::begin(&lab, &[FIRST, SECOND], &bob, &[200]);
        let refused = Observation::of_all(&lab, &revoked, &[401, 503]);
        // All that the second could have told is too old: `Enforced` counts without it.
        lab.until(&subject, "Enforced", "True").await;
        doubted.end(&lab).await;
        relay.set(Mode::Pass);
        lab.until_answer(ONLY_SECOND, &revoked, 401).await;
        lab.until_answer(ONLY_SECOND, &bob, 200).await;
        fresh.end(&lab).await;
        refused.end(&lab).await;
    }
}

/// Invariant 3: what is created while everything is listed anew is in the list or in the watch after it.
/// Invariant 14: two replicas that came there by different ways are in the same state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relist_in_the_middle_of_a_burst_loses_nothing() {
    let (lab, relay) = start().await;
    let names: Vec<String> = (0..600).map(|number| format!("user-{number}")).collect();
    let manifests = |names: &[String]| {
        names.iter().map(|name| revocation(name, &json!({"subject": name}))).collect::<Vec<_>>()
    };
    let disturb = async {
        // A cut watch is resumed; one of a server that starts anew has no history to resume from.
        relay.set(Mode::Cut);
        tokio::time::sleep(BOUND / 10).await;
        relay.set(Mode::Pass);
        tokio::task::block_in_place(|| {
            lab.servers[0].kill();
            lab.servers[0].start();
        });
    };
    let (first, second) = names.split_at(300);
    tokio::join!(lab.create(manifests(first)), disturb);
    lab.create(manifests(second)).await;
    for name in &names {
        lab.until_all(&lab.token(name), 401).await;
    }
    lab.until_fresh().await;
    // Each has the same number of rows, from another controller.
    let logs = lab.logs();
    assert!(logs.contains("fetching everything anew"), "nothing was listed anew:\n{logs}");
    for name in [&names[0], &names[299], &names[599]] {
        lab.until(name, "Enforced", "True").await;
    }
}
