//! Controllers that go, one after another, under a steady stream of requests and revocations.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::{Cluster, Turn};
use crate::forward::Forward;
use crate::release::{self, CONTROLLERS};
use crate::requests::age;
use crate::support::PATIENCE;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;
use crate::traffic::{Revocations, Traffic};
use crate::{requests, shop};

const NAMESPACE: &str = "replicas";
/// The bound of the list.
const BOUND: Duration = Duration::from_secs(15);

/// Two pods behind a Service, and the streams.
struct Scene {
    turn: Turn,
    traffic: Traffic,
    revocations: Revocations,
    bob: String,
}

impl Scene {
    async fn begin(turn: Turn) -> Self {
        let cluster = turn.cluster;
        let keys = Arc::new(Keys::generate());
        let [alice, bob] = shop::alice_and_bob(&keys);
        let address = shop::run(cluster, NAMESPACE, &keys, 2);
        let revoked = cluster.rescind(&["subject", "alice", "-n", NAMESPACE]);
        assert!(revoked.status.success(), "{revoked:?}");
        requests::until(&address, &bob, 200).await;
        let traffic = Traffic::start(address, bob.clone(), alice);
        let revocations = Revocations::start(cluster, NAMESPACE, keys, &traffic);
        revocations.go_on(3).await;
        Self { turn, traffic, revocations, bob }
    }

    /// Ends the streams, and then the turn: the next test may want the same namespace.
    fn end(self) {
        let Self { turn, traffic, revocations, .. } = self;
        drop((traffic, revocations));
        turn.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]);
    }

    /// Waits until every sidecar rests on a proof that is much younger than its bound, and revocations are enforced
    /// again; all answers until then were right.
    async fn settle(&mut self, after: &str) {
        for pod in pods(&self.turn, NAMESPACE, "app=shop") {
            let envoy = Forward::to(&self.turn, NAMESPACE, &format!("pod/{pod}"), shop::PORT);
            wait_for(&format!("{pod} is fresh after {after}"), BOUND, async || {
                let reply = envoy.show(&self.bob).await?;
                age(&reply).filter(|age| *age < BOUND / 3).ok_or_else(|| format!("{reply:?}"))
            })
            .await;
        }
        let shops = self.turn.objects(&["get", "pods", "-n", NAMESPACE, "-l", "app=shop"]);
        let restarts = |pod: &Value| pod["status"]["initContainerStatuses"][0]["restartCount"].clone();
        assert!(
            shops.iter().all(|pod| restarts(pod) == 0),
            "{after}: a sidecar was started anew: {shops:#?}"
        );
        self.revocations.go_on(3).await;
        self.traffic.go_on(100).await;
        let answers = self.traffic.assert_right(after);
        println!("{after}: {answers} answers so far, all right");
    }
}

/// A pod that is told to end, the leader among them, and an upgrade: whoever ends tells its sidecars to move.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn nobody_notices_that_controllers_are_deleted_and_upgraded() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    release::upgrade(cluster, &[]);
    let mut scene = Scene::begin(turn).await;

    let leader = release::leader(cluster);
    let other = controllers(cluster).into_iter().find(|pod| *pod != leader).unwrap();
    for (pod, what) in [(other, "deleting a controller"), (leader, "deleting the leader")] {
        cluster.kubectl(&["delete", "pod", &pod, "-n", release::NAMESPACE, "--timeout=60s"]);
        wait_for_controllers(cluster, 2).await;
        scene.settle(what).await;
    }
    release::upgrade(cluster, &["controller.podAnnotations.upgraded=yes"]);
    wait_for_controllers(cluster, 2).await;
    scene.settle("an upgrade with another value").await;
    scene.end();
}

/// Without a warning to anybody: a frozen controller, and one that is killed, of three.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make e2e runs it"]
async fn of_three_controllers_one_may_freeze_and_another_die_at_any_time() {
    let Some(turn) = Cluster::take_turn().await else { return };
    let cluster = turn.cluster;
    release::upgrade(cluster, &["controller.replicas=3"]);
    // Helm does not wait for those that are replaced to be gone.
    wait_for_controllers(cluster, 3).await;
    let mut scene = Scene::begin(turn).await;

    let leader = release::leader(cluster);
    let other = controllers(cluster).into_iter().find(|pod| *pod != leader).unwrap();
    for (pod, what) in [(&other, "freezing a controller"), (&leader, "freezing the leader")] {
        let process = await_process(cluster, pod, None).await;
        kill_process(process, Signal::STOP).unwrap();
        scene.settle(what).await;
        // It may have been started anew meanwhile: the kubelet has asked it whether it lives.
        _ = kill_process(process, Signal::CONT);
        wait_for_controllers(cluster, 3).await;
        scene.settle(&format!("{what}, and its return")).await;
    }
    let leader = release::leader(cluster);
    let other = controllers(cluster).into_iter().find(|pod| *pod != leader).unwrap();
    for (pod, what) in [(other, "killing a controller"), (leader, "killing the leader")] {
        let killed = await_process(cluster, &pod, None).await;
        kill_process(killed, Signal::KILL).unwrap();
        // The kubelet has to notice, and calls it ready until then.
        await_process(cluster, &pod, Some(killed)).await;
        wait_for_controllers(cluster, 3).await;
        scene.settle(what).await;
    }
    scene.end();
}

/// Waits until so many controllers are ready, and no other is left.
async fn wait_for_controllers(cluster: &Cluster, count: usize) {
    wait_for(&format!("{count} controllers are ready"), 4 * PATIENCE, async || {
        let pods = cluster.objects(&["get", "pods", "-n", release::NAMESPACE, "-l", CONTROLLERS]);
        let ready = pods.iter().filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true).count();
        if (ready, pods.len()) == (count, count) { Ok(()) } else { Err(format!("{ready} of {}", pods.len())) }
    })
    .await;
}

fn controllers(cluster: &Cluster) -> Vec<String> {
    pods(cluster, release::NAMESPACE, CONTROLLERS)
}

fn pods(cluster: &Cluster, namespace: &str, selector: &str) -> Vec<String> {
    let path = "--output=jsonpath={.items[*].metadata.name}";
    let names = cluster.kubectl(&["get", "pods", "-n", namespace, "-l", selector, path]);
    names.split_whitespace().map(str::to_owned).collect()
}

/// Waits until a controller's pod has a process, other than one that it had; returns its id, as this machine knows it.
async fn await_process(cluster: &Cluster, pod: &str, before: Option<Pid>) -> Pid {
    let path = "--output=jsonpath={.metadata.uid}";
    let uid = cluster.kubectl(&["get", "pod", pod, "-n", release::NAMESPACE, path]);
    wait_for(&format!("{pod} has a process"), 4 * PATIENCE, async || {
        let mut found = processes(&uid).filter(|process| Some(*process) != before);
        found.next().ok_or_else(|| cluster.seen(release::NAMESPACE))
    })
    .await
}

fn processes(uid: &str) -> impl Iterator<Item = Pid> {
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(move |entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        // The name is cut to 15 characters. The other process of the pod is the one that holds its namespaces.
        let ours = read("comm")?.trim_end() == "rescind-control" && read("cgroup")?.contains(uid);
        Pid::from_raw(id).filter(|_| ours)
    })
}
