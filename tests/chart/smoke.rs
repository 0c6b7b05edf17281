//! What `helm test` runs, with the rights that the chart gives: to the controllers, and to the pod of the test.
//!
//! No kubelet runs here, so the programs are started as the pods say, but for where sockets and controllers are.

use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::helm::{done, helm, objects, one, refused, render};
use crate::support::control_plane::ControlPlane;
use crate::support::lab::{CONTROLLER, Process, SIDECAR};

const NAMESPACE: &str = "--namespace=rescind-system";

struct Place {
    plane: ControlPlane,
    pod: Value,
    folder: tempfile::TempDir,
}

impl Place {
    /// A cluster with the chart, and with what `helm test` makes first.
    fn new() -> Self {
        let plane = ControlPlane::start();
        let install = ["install", "rescind", "charts/rescind", NAMESPACE, "--create-namespace"];
        done(&helm(Some(plane.kubeconfig()), &install));
        let rendered = objects(&render("rescind", &[]));
        for kind in ["ServiceAccount", "Role", "RoleBinding"] {
            let object = one(&rendered, kind, "rescind-test").to_string();
            done(&plane.kubectl_with(plane.kubeconfig(), &["create", "--filename=-"], &object));
        }
        let pod = one(&rendered, "Pod", "rescind-test").clone();
        Self { plane, pod, folder: tempfile::tempdir().unwrap() }
    }

    fn kubeconfig(&self, account: &str) -> String {
        let user = format!("system:serviceaccount:rescind-system:{account}");
        self.plane.kubeconfig_as(&user, &[]).display().to_string()
    }

    /// The arguments of a container of the test's pod, here.
    fn arguments(&self, containers: &str, without: &[&str]) -> Vec<String> {
        let all = self.pod["spec"][containers][0]["args"].as_array().unwrap().iter();
        let all = all.map(|argument| argument.as_str().unwrap());
        let kept = all.filter(|argument| !without.iter().any(|start| argument.starts_with(start)));
        let folder = self.folder.path().display().to_string();
        kept.map(|argument| argument.replace("/run/rescind", &folder).replace("/var/lib/rescind", &folder))
            .collect()
    }

    async fn controller(&self) -> Process {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig("rescind-controller"));
        let arguments = ["--kubernetes", &kubeconfig, "--listen=127.0.0.1:0"].map(ToOwned::to_owned);
        Process::start("controller", CONTROLLER, &arguments).await.unwrap()
    }

    async fn sidecar(&self, controller: &Process) -> Process {
        let mut arguments =
            self.arguments("initContainers", &["--controller=", "--token-file=", "--tls-ca="]);
        arguments.push(format!("--controller=http://{}", controller.address("streams")));
        Process::start("sidecar", SIDECAR, &arguments).await.unwrap()
    }

    async fn smoke(&self, more: &[&str]) -> Output {
        let arguments =
            self.arguments("containers", &if more.is_empty() { vec![] } else { vec!["--timeout="] });
        let mut command = Command::new(env!("CARGO_BIN_EXE_rescind"));
        command.args(arguments).args(more).arg(format!("--kubeconfig={}", self.kubeconfig("rescind-test")));
        command.kill_on_drop(true).output().await.unwrap()
    }

    /// The user's own objects: heartbeats have no list.
    fn left(&self) -> String {
        let lists = ["get", "tokenrevocationlists", "--all-namespaces", "--output=name"];
        let revocations = ["get", "revocations", "--all-namespaces", "--output=name"];
        let revocations = [&revocations[..], &["--field-selector=spec.listName!="]].concat();
        [&lists[..], &revocations].map(|arguments| done(&self.plane.kubectl(arguments))).concat()
    }
}

#[tokio::test]
async fn the_test_of_the_chart_revokes_a_token_and_leaves_nothing_behind() {
    let place = Place::new();
    let controller = place.controller().await;
    let sidecar = place.sidecar(&controller).await;
    // Twice: what one run has left would be in the way of the next.
    for _ in 0..2 {
        let said = done(&place.smoke(&[]).await);
        let steps: Vec<&str> = said.lines().collect();
        let expected = [
            "ok   list rescind-system/rescind-test is declared",
            "ok   the sidecar vouches for alice's token",
            "ok   alice's tokens are revoked",
            "ok   the sidecar refuses alice's token",
            "ok   bob's token still passes",
            "ok   removed what was made",
        ];
        assert_eq!(steps, expected, "{}{}", controller.child.log(), sidecar.child.log());
        assert_eq!(place.left(), "");
    }
}

#[tokio::test]
async fn the_test_of_the_chart_fails_where_no_sidecar_answers() {
    let place = Place::new();
    let said = refused(&place.smoke(&["--timeout=1s"]).await);
    assert!(said.starts_with("error: within 1 s the sidecar did not answer Allow (Active)"), "{said}");
    assert_eq!(place.left(), "");
}
