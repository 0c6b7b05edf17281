//! The first hour of a user: the chart, a namespace whose pods get a sidecar, and a lost device.

use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, text};
use crate::forward::Forward;
use crate::release::{self, CONTROLLERS};
use crate::shop;
use crate::support::PATIENCE;
use crate::support::issue::Keys;
use crate::support::wait::wait_for;

const NAMESPACE: &str = "shop";
/// What a controller may say above the level info while all is well, and why.
const EXPLAINED: [(&str, &str); 2] = [
    ("the API server did not answer", LATE),
    ("the API server does not answer questions about rights in time", LATE),
];
const LATE: &str = "an API server that shares two cores with other tests is late at times";

/// Steps as README.md has them: install, declare a list, run a workload, revoke, lift.
#[tokio::test]
async fn a_user_installs_the_chart_and_revokes_a_lost_device() {
    let Some(cluster) = Cluster::take_turn().await else { return };
    let [install, test] = commands();
    release::uninstall(&cluster);
    let installed = cluster.shell(&format!("{install} {}", release::WAIT.join(" ")));
    assert!(installed.status.success(), "{}\n{}", text(&installed.stderr), cluster.seen(release::NAMESPACE));
    release::assert_injects(&cluster);
    assert_nothing_is_amiss(&cluster);
    let tested = cluster.shell(&format!("{test} --timeout 2m --logs"));
    assert!(tested.status.success(), "{}\n{}", text(&tested.stderr), text(&tested.stdout));
    let keys = Keys::generate();
    let [alice, bob] = shop::alice_and_bob(&keys);
    cluster.apply(&[shop::injected_namespace(NAMESPACE)]);
    let deployment = shop::deployment(NAMESPACE, "shop", "shop", 1);
    cluster.apply(&[shop::list(NAMESPACE, "shop", &keys), shop::configuration(NAMESPACE), deployment]);
    cluster.wait(NAMESPACE, "deployment/shop", "Available");
    let envoy = Forward::to(&cluster, NAMESPACE, "deployment/shop", shop::PORT);
    for token in [&alice, &bob] {
        assert_eq!(envoy.show(token).await.unwrap().status, 200, "it started fresh");
    }

    let revoked = cluster.shell("kubectl rescind subject alice -n shop --reason LostDevice");
    let said = text(&revoked.stdout);
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked.stderr));
    // It is enforced now, and not soon.
    assert_eq!(envoy.show(&alice).await.unwrap().status, 401);
    assert_eq!(envoy.show(&bob).await.unwrap().status, 200);
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("enforced after ") && last.ends_with(": 1 of 1 sidecar has applied it"),
        "{said}"
    );
    let name = said.split_whitespace().next().unwrap();
    assert_it_reads_well(&cluster, name).await;
    assert_it_is_explained(&cluster, &alice);
    // What is in its own hands is in order, once the leader has looked at the list; a quota is for people to choose.
    wait_for("doctor finds nothing", PATIENCE, async || {
        let examined = cluster.shell("kubectl rescind doctor -n shop");
        let found = text(&examined.stdout);
        let is_fine = examined.status.success()
            && found.contains("\n0 failures, 1 warning, ")
            && found.contains("\nwarning  quotas ");
        if is_fine { Ok(()) } else { Err(found) }
    })
    .await;

    let lifted = cluster.shell(&format!("kubectl rescind undo {name} -n shop"));
    assert_eq!(lifted.status.code(), Some(0), "{}", text(&lifted.stderr));
    envoy.until(&alice, 200).await;
    assert_nothing_is_amiss(&cluster);
}

/// The commands to install the chart and to test that, which two pages show.
fn commands() -> [String; 2] {
    let [commands, of_the_chart] = ["README.md", "charts/rescind/README.md"].map(|page| {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let mark = "<!-- tested: a_user_installs_the_chart_and_revokes_a_lost_device -->";
        let block = page.split(mark).nth(1).unwrap().split("```").nth(1).unwrap().trim_start_matches("sh\n");
        block.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(commands, of_the_chart);
    commands.try_into().unwrap()
}

/// In a pod there is nothing beside the sidecar's socket but the sidecar's own program.
fn assert_it_is_explained(cluster: &Cluster, token: &str) {
    let sidecar = ["exec", "-i", "-n", NAMESPACE, "deployment/shop", "-c", "rescind-sidecar"];
    let explain = ["--", "/rescind-sidecar", "explain", "--server", "/run/rescind/check.sock"];
    let explained = cluster.pipe(&[&sidecar[..], &explain].concat(), token);
    let said = text(&explained.stdout);
    assert!(explained.status.success() && said.contains("\ndeny REVOKED: revoked"), "{explained:?}");
    assert!(!said.contains(token), "{said}");
}

/// Two controllers, neither was started twice, and they have nothing to complain about.
fn assert_nothing_is_amiss(cluster: &Cluster) {
    let pods = cluster.objects(&["get", "pods", "-n", release::NAMESPACE, "-l", CONTROLLERS]);
    let containers: Vec<&Value> = pods.iter().map(|pod| &pod["status"]["containerStatuses"][0]).collect();
    let fine = |status: &&&Value| status["ready"] == true && status["restartCount"] == 0;
    assert_eq!(containers.iter().filter(fine).count(), 2, "{containers:#?}");
    let logs = cluster.kubectl(&["logs", "-n", release::NAMESPACE, "-l", CONTROLLERS, "--tail=-1"]);
    assert!(logs.contains("INFO"), "the log is not as it was: {logs}");
    let above = |line: &&str| ["WARN", "ERROR"].iter().any(|level| line.contains(level));
    let explained = |line: &str| EXPLAINED.iter().any(|(part, _)| line.contains(part));
    let amiss: Vec<&str> = logs.lines().filter(above).filter(|line| !explained(line)).collect();
    assert!(amiss.is_empty(), "{amiss:#?}");
}

/// What stock `kubectl` shows of a revocation.
async fn assert_it_reads_well(cluster: &Cluster, name: &str) {
    let table = cluster.kubectl(&["get", "revocations", "-n", NAMESPACE]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "TARGET", "LIST", "CUTOFF", "ENFORCED", "AGE"], "{table}");
    let row = &rows[1];
    assert_eq!([&row[..4], &row[5..6]].concat(), [name, "subject", "alice", "shop", "True"], "{table}");
    // Events are sent after the status is written.
    wait_for("kubectl describe shows that it is enforced", PATIENCE, async || {
        let described = cluster.kubectl(&["describe", "revocation", name, "-n", NAMESPACE]);
        let events = described.split("\nEvents:").nth(1).unwrap_or_default();
        if events.contains("Enforced") { Ok(()) } else { Err(described) }
    })
    .await;
}
