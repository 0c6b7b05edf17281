//! Two API servers on one etcd, and a network in front of the second that delays, loses, or cuts.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::time::Instant;

use crate::lab::{LIST, Lab, Node, PATIENCE};
use crate::objects::revocation;
use crate::observation::{Acknowledged, Observation};
use crate::relay::{Mode, Relay};
use crate::support::metrics::metric;

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

/// What is wrong with the second API server, or on the way to it.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Network(Mode),
    Paused,
    Killed,
}

impl Trouble {
    /// A name for what is revoked meanwhile.
    fn name(self) -> String {
        let text = if let Self::Network(mode) = self { format!("{mode:?}") } else { format!("{self:?}") };
        text.to_lowercase()
    }

    fn begin(self, lab: &Lab, relay: &Relay) {
        match self {
            Self::Network(mode) => relay.set(mode),
            Self::Paused => lab.servers[0].pause(),
            Self::Killed => lab.servers[0].kill(),
        }
    }

    fn end(self, lab: &Lab, relay: &Relay) {
        match self {
            Self::Network(_) => relay.set(Mode::Pass),
            Self::Paused => lab.servers[0].resume(),
            Self::Killed => lab.servers[0].begin(),
        }
    }
}

/// Invariant 1: who knows no other controller allows nothing after the bound.
/// Invariant 13: a controller whose watch is late, or that is cut off, vouches for nothing.
/// Invariant 12: what it does not get an answer to proves nothing.
/// Invariant 22: its sidecars move to one that can prove, where they know one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_cut_off_from_the_log_vouches_for_nothing_and_its_sidecars_move_or_refuse() {
    let (lab, relay) = start().await;
    let network = [Mode::HoldWatches, Mode::Hang, Mode::Cut].map(Trouble::Network);
    for trouble in network.into_iter().chain([Trouble::Paused, Trouble::Killed]) {
        let subject = trouble.name();
        let (revoked, bob) = (lab.token(&subject), lab.token("bob"));
        trouble.begin(&lab, &relay);
        lab.create(vec![revocation(&subject, &json!({"subject": subject}))]).await;
        let acknowledged = Instant::now();
        // Whoever can move does, and knows it; the other refuses everybody before long.
        lab.until_answer(FIRST, &revoked, 401).await;
        lab.until_answer(SECOND, &revoked, 401).await;
        lab.until_answer(SECOND, &bob, 200).await;
        lab.until_doubted(ONLY_SECOND, &revoked, acknowledged).await;
        let doubted = Observation::begin(&lab, &[ONLY_SECOND], &bob, &[503]);
        let refused = Observation::of_all(&lab, &revoked, &[401, 503]);
        // All that the second could have told is too old: `Enforced` counts without it.
        lab.until(&subject, "Enforced", "True").await;
        // And vouch while the other can't.
        let now = Instant::now();
        lab.until_proven_after(FIRST, &bob, now).await;
        lab.until_proven_after(SECOND, &bob, now).await;
        doubted.end(&lab).await;
        trouble.end(&lab, &relay);
        lab.until_answer(ONLY_SECOND, &revoked, 401).await;
        lab.until_answer(ONLY_SECOND, &bob, 200).await;
        refused.end(&lab).await;
    }
}

/// Creates revocations and lifts old ones without a pause until something has happened, and some more; tells of the new
/// ones.
async fn burst(
    lab: &Lab,
    prefix: &str,
    old: &[String],
    acknowledged: &Acknowledged,
    has_happened: impl Fn() -> bool,
) {
    let (mut count, mut old) = (0, old.iter());
    let mut batches_left = 4;
    let begun = Instant::now();
    while batches_left > 0 {
        assert!(begun.elapsed() < PATIENCE, "it has not happened:\n{}", lab.logs());
        let batch: Vec<String> = (count..count + 20).map(|number| format!("{prefix}-{number}")).collect();
        let manifests = batch.iter().map(|name| revocation(name, &json!({"subject": name})));
        lab.create(manifests.collect()).await;
        batch.iter().for_each(|name| acknowledged.add(lab, name));
        count += batch.len();
        for name in old.by_ref().take(5) {
            lab.lift(name).await;
        }
        batches_left -= u32::from(has_happened());
    }
    for name in old {
        lab.lift(name).await;
    }
}

/// Waits until sidecars refuse, and let pass, whom they should.
async fn until_known(lab: &Lab, revoked: &[String], lifted: &[String]) {
    for name in revoked {
        lab.until_all(&lab.token(name), 401).await;
    }
    for name in lifted {
        lab.until_all(&lab.token(name), 200).await;
    }
}

/// Kills the controller that a sidecar follows, and waits until it has a proof of the other one. What it holds it goes on
/// with: it is sent no snapshot, and its digest, which every proof is compared with, is that of the other.
async fn move_to_the_other(lab: &mut Lab) {
    let health = lab.sidecars[FIRST].address("health");
    let count = async |name| metric(&health, &format!("rescind_{name}_total")).await;
    let (snapshots, connections) = (count("snapshots").await, count("stream_connections").await);
    let log = lab.sidecars[FIRST].log();
    let (_, followed) = log.rsplit_once(r#""message":"following","controller":"unix:"#).unwrap();
    let is_followed = |node: &Node| followed.starts_with(node.socket().to_str().unwrap());
    let from = lab.controllers.iter().position(is_followed).unwrap();
    lab.controllers[from].kill().await;
    lab.until_proven_after(FIRST, &lab.token("nobody"), Instant::now()).await;
    assert_eq!(count("snapshots").await, snapshots, "{}", lab.logs());
    assert!(count("stream_connections").await > connections, "{}", lab.logs());
    lab.controllers[from].start().await;
}

/// Invariant 3: what is created while a watch is opened again, or everything is listed anew, is not lost.
/// Invariant 14: replicas that came to a state by different ways, from every single event or from a list, have the same
/// one under the same version: a sidecar of one goes on at the other by version and digest.
/// Invariants 1 and 4: meanwhile no revoked token passes later than the bound, and none that was refused before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relist_in_the_middle_of_a_burst_loses_nothing() {
    let (mut lab, relay) = start().await;
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    lab.until_all(&lab.token("alice"), 401).await;
    let refused = Observation::of_all(&lab, &lab.token("alice"), &[401]);
    let others = Observation::of_all(&lab, &lab.token("bob"), &[200, 503]);
    let acknowledged = Acknowledged::observe(&lab);
    burst(&lab, "old", &[], &acknowledged, || true).await;
    let old = acknowledged.end(&lab).await;
    for name in &old {
        lab.until(name, "Enforced", "True").await;
    }
    let relists = || lab.controllers[1].log().matches("fetching everything anew").count();
    let since = relists();
    let is_cut = AtomicBool::new(false);
    let cut = async {
        relay.cut_once().await;
        is_cut.store(true, Ordering::SeqCst);
    };
    let acknowledged = Acknowledged::observe(&lab);
    tokio::join!(cut, burst(&lab, "cut", &old, &acknowledged, || is_cut.load(Ordering::SeqCst)));
    let cut = acknowledged.names();
    until_known(&lab, &cut, &old).await;
    acknowledged.end(&lab).await;
    assert_eq!(relists(), since, "a watch that was cut is opened where it ended:\n{}", lab.logs());

    // A server that starts anew has no history to resume from.
    let acknowledged = Acknowledged::observe(&lab);
    lab.servers[0].kill();
    lab.servers[0].begin();
    burst(&lab, "relist", &cut, &acknowledged, || relists() > since).await;
    let new = acknowledged.names();
    until_known(&lab, &new, &cut).await;
    lab.until_fresh().await;
    for name in [&new[0], &new[new.len() - 1]] {
        lab.until(name, "Enforced", "True").await;
    }
    acknowledged.end(&lab).await;
    refused.end(&lab).await;
    others.end(&lab).await;
    // Between the one that has seen each event and the one that has listed anew, and to one that has seen but a list.
    move_to_the_other(&mut lab).await;
    move_to_the_other(&mut lab).await;
    lab.until_all(&lab.token(&new[0]), 401).await;
}
