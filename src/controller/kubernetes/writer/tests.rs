//! What is removed, and when: by a clock that the test moves, on a real API server.

use std::collections::BTreeSet;

use tokio::sync::MutexGuard;

use super::*;
use crate::api::revocation::ListReport;
use crate::controller::audit::silent;
use crate::distribution::enforcement::{Predecessor, Sessions};
use crate::runtime::clock::{ManualClock, SystemClock};
use crate::store::contract::{list, new, revoke};
use crate::store::kubernetes::tests::{cluster, kubectl, open, open_at};
use crate::store::{Beat, NewRevocation};

/// For how long an object stays that has expired.
const DAY: Duration = Duration::from_secs(86_400);

struct Bench {
    writer: StatusWriter,
    clock: Arc<ManualClock>,
    _cluster: MutexGuard<'static, ()>,
}

impl Bench {
    async fn start() -> Self {
        let _cluster = cluster().await;
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let store = open_at(Arc::clone(&clock) as Arc<dyn Clock>).await;
        let hub = Hub::new("test", store.seal_key(), Arc::new(Sessions::new(Predecessor::None)));
        let (events, _) = Events::new();
        let writer = StatusWriter::new(store, hub, Arc::clone(&clock) as Arc<dyn Clock>, events, silent());
        Self { writer, clock, _cluster }
    }

    fn store(&self) -> &KubernetesStore {
        &self.writer.store
    }

    /// Sees all that is there.
    async fn look(&mut self) {
        Store::fetch(self.store()).await.unwrap();
        assert!(self.writer.look().await);
        self.writer.read_lists();
    }

    /// Returns the names of the objects in a namespace, but for those that stay.
    fn names(namespace: &str) -> BTreeSet<String> {
        let names = kubectl(&["get", "revocations", "-n", namespace, "-o", "name"]);
        let names = names.lines().map(|line| line.rsplit('/').next().unwrap().to_owned());
        names.filter(|name| name != "epoch" && name != "horizon").collect()
    }
}

/// Invariant 15: what was taken over by others, or made anew under its name, behind the watch of who removes, stays.
#[tokio::test]
async fn what_has_expired_is_removed_after_a_day_unless_it_is_another_by_then() {
    let mut bench = Bench::start().await;
    let store = bench.store().clone();
    bench.look().await;
    let mut revoked = Vec::new();
    for subject in ["expired", "taken-over", "made-anew", "live"] {
        revoked.push(revoke(&store, subject).await);
    }
    let [expired, taken_over, made_anew, live] = [0, 1, 2, 3].map(|at: usize| revoked[at].name.clone());
    bench.look().await;
    let step = NewStep::Expire { judged: revoked[..3].to_vec(), horizon: bench.clock.now().wall().floor() };
    assert_eq!(Store::append(&store, step).await.unwrap().expired.len(), 3);
    let of_all = BTreeSet::from([&expired, &taken_over, &made_anew, &live].map(Clone::clone));
    let namespace = list().namespace().to_owned();
    for passes in [Duration::ZERO, DAY - Duration::from_secs(1)] {
        bench.clock.advance(passes);
        bench.look().await;
        bench.writer.clean_up().await;
        assert_eq!(Bench::names(&namespace), of_all, "after {passes:?}");
    }
    bench.clock.advance(Duration::from_secs(1));
    let label = "app.kubernetes.io/managed-by=argocd";
    kubectl(&["label", "revocation", "-n", &namespace, &taken_over, label, "--overwrite"]);
    kubectl(&["delete", "revocation", "-n", &namespace, &made_anew]);
    let other = open().await;
    Store::fetch(&other).await.unwrap();
    let named = NewRevocation { name: Some(made_anew.clone()), ..new(revoked[2].spec.clone()) };
    Store::append(&other, NewStep::Revoke(Box::new(named))).await.unwrap();
    let rest = BTreeSet::from([taken_over, made_anew, live]);
    bench.writer.clean_up().await;
    assert_eq!(Bench::names(&namespace), rest);
    // And when that was seen.
    bench.look().await;
    bench.writer.clean_up().await;
    assert_eq!(Bench::names(&namespace), rest);
}

/// Writes the heartbeats of a replica that has a sidecar.
async fn beat(store: &KubernetesStore, replica: u64, nonce: u128) {
    let of_list = ListReport {
        namespace: list().namespace().to_owned(),
        name: list().name().to_owned(),
        subscribers: 1,
        connected: 1,
        lowest: None,
        generation: None,
        hash_key: None,
    };
    Store::report(store, replica, vec![of_list]).await.unwrap();
    Store::beat(store, Beat { replica, nonce }).await.unwrap();
}

/// Invariant 1: a replica that beats again, behind the watch of who takes it for gone, keeps its report: its sidecars may
/// be told to be fresh.
#[tokio::test]
async fn the_heartbeats_of_a_replica_that_is_gone_are_removed_and_those_of_one_that_wakes_up_stay() {
    let mut bench = Bench::start().await;
    let store = bench.store().clone();
    bench.look().await;
    let (gone, runs, wakes_up) = (0xaa, 0xbb, 0xcc);
    for replica in [gone, runs, wakes_up] {
        beat(&store, replica, 1).await;
    }
    bench.look().await;
    let of = |replica: u64| [format!("pulse-{replica:016x}"), format!("report-{replica:016x}")];
    let of_all: BTreeSet<String> = [gone, runs, wakes_up].into_iter().flat_map(of).collect();
    bench.clock.advance(Duration::from_nanos(2 * bench.writer.declared[&list()].window.nanos));
    beat(&store, runs, 2).await;
    bench.look().await;
    bench.writer.clean_up().await;
    assert_eq!(Bench::names(store.namespace()), of_all);
    bench.clock.advance(Duration::from_millis(1));
    bench.look().await;
    beat(&store, wakes_up, 3).await;
    bench.writer.clean_up().await;
    let rest: BTreeSet<String> = [runs, wakes_up].into_iter().flat_map(of).collect();
    assert_eq!(Bench::names(store.namespace()), rest);
}
