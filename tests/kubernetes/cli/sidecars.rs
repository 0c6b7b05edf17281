//! What `status` learns from the sidecars of pods.
//!
//! No kubelet runs: the tests write the status of pods, and what listens at their addresses are processes and sockets
//! of this machine.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::Instant;

use super::transcript::Transcript;
use super::{Place, Seen, finish, rescind, until};
use crate::lab::{LIST, Lab, NAMESPACE, PATIENCE};
use crate::support::wait::wait_for;

/// An address of this machine that is not loopback: an API server forwards to no other.
fn own_address() -> IpAddr {
    // Nothing is sent: the system says from where it would be.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    let address = socket.local_addr().unwrap().ip();
    assert!(!address.is_loopback(), "this machine has no address but loopback");
    address
}

/// A pod as injection makes it, whose sidecar listens at a port.
fn pod(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "annotations": {"rescind.dev/injected": "0.1.0"},
        },
        "spec": {
            "containers": [{"name": "app", "image": "app"}],
            "initContainers": [{
                "name": "rescind-sidecar", "image": "sidecar", "restartPolicy": "Always",
                "ports": [{"name": "rescind-probes", "containerPort": port}],
            }],
        },
    })
}

/// What a kubelet writes as soon as the sidecar runs.
fn running(address: IpAddr) -> Value {
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "initContainerStatuses": [{
            "name": "rescind-sidecar", "ready": true, "restartCount": 0, "image": "sidecar", "imageID": "sidecar",
            "state": {"running": {"startedAt": "2026-11-21T10:00:00Z"}},
        }],
    }})
}

fn patch(status: &Value) -> [String; 3] {
    ["--subresource=status".to_owned(), "--type=merge".to_owned(), format!("--patch={status}")]
}

impl Lab {
    /// Makes a pod that runs, with a sidecar at a port of this machine.
    fn add_pod(&self, name: &str, port: u16, address: IpAddr) {
        self.apply(&pod(NAMESPACE, name, port));
        let patch = patch(&running(address));
        let arguments = ["patch", "pod", name, "--namespace", NAMESPACE, &patch[0], &patch[1], &patch[2]];
        self.kubectl(&arguments);
    }
}

/// Whoever may see everything but what is in pods.
const VIEWER: &str = "create clusterrole viewer --verb=get,list,watch \
                      --resource=pods,tokenrevocationlists.rescind.dev,revocations.rescind.dev";

#[tokio::test(flavor = "multi_thread")]
async fn every_sidecar_of_a_pod_is_shown_with_age_version_and_lag_or_with_what_is_in_the_way() {
    let address = own_address();
    let mut lab = Lab::start(1, 0).await;
    let health = format!("--health={address}:0");
    let number = lab.add_sidecar_with(&[0], LIST, &[health]).await;
    lab.until_steady().await;
    let port = |address: &str| address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let probes = lab.sidecars[number].address("health");
    lab.kubectl(&["create", "serviceaccount", "default", "--namespace", NAMESPACE]);
    lab.add_pod("web-1", port(&probes), address);
    lab.apply(&pod(NAMESPACE, "web-2", 7404));
    let refused = TcpListener::bind((address, 0)).await.unwrap().local_addr().unwrap().to_string();
    lab.add_pod("web-3", port(&refused), address);
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    }));
    lab.kubectl(&VIEWER.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
    lab.kubectl(&["create", "clusterrolebinding", "viewer", "--clusterrole=viewer", "--user=viewer"]);
    let home = tempfile::tempdir().unwrap();
    let ask = |line: &str| -> Seen {
        let mut command = rescind(home.path());
        command.env("KUBECONFIG", lab.plane.kubeconfig()).args(line.split(' '));
        block_in_place(|| finish(command, ""))
    };
    // Until the controller has written what it knows of the list, and the sidecar has heard it.
    let json = wait_for("the sidecar lags by nothing", PATIENCE, async || {
        let seen: Value =
            serde_json::from_str(&ask(&format!("status -n {NAMESPACE} -o json")).done()).unwrap();
        let list = &seen["lists"][0];
        let is_written = (&list["entries"], &list["subscribers"]) == (&json!(0), &json!(1));
        let is_steady = is_written && seen["sidecars"][0]["lag"] == "Current";
        if is_steady { Ok(seen) } else { Err(format!("{seen:#}\n{}", lab.logs())) }
    })
    .await;
    let sidecar = &json["sidecars"][0];
    assert_eq!((&sidecar["identity"], &sidecar["state"]), (&json!("apps/web-1"), &json!("Fresh")), "{json}");
    assert!(sidecar["ageMilliseconds"].as_u64().unwrap() < 20_000, "{json}");
    assert_eq!(json["sidecars"].as_array().unwrap().len(), 3, "{json}");
    let mut transcript = Transcript::new(vec![
        (refused.clone(), "10.0.0.9:7404"),
        (lab.plane.url().to_owned(), "https://api.example.com"),
        (NAMESPACE.to_owned(), "shop"),
    ]);
    for line in ["status -n apps", "status -A --as viewer", "status -n apps --as viewer -o name"] {
        transcript.note(line, &ask(line));
    }
    assert_snapshot!("transcript_sidecars", transcript.text());
    // One whose controllers are gone goes stale before our eyes.
    lab.controllers[0].kill().await;
    wait_for("the sidecar is stale", PATIENCE, async || {
        let seen = ask(&format!("status -n {NAMESPACE}")).done();
        let row = seen.lines().find(|line| line.starts_with("apps/web-1")).unwrap().to_owned();
        let words: Vec<&str> = row.split_whitespace().collect();
        if words[2] == "Stale" && words.contains(&"no") { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// Answers every question with bytes, or, if there are none, with nothing, and keeps the line open.
async fn answering(tasks: &mut JoinSet<()>, address: IpAddr, answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = [0; 1024];
            drop(stream.read(&mut question).await);
            drop(stream.write_all(&answer).await);
            open.push(stream);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_answers_late_or_with_anything_else_hides_no_other() {
    let address = own_address();
    let place = block_in_place(Place::new);
    let mut tasks = JoinSet::new();
    let http = |length: usize, body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
    };
    let good = "rescind_build_info{version=\"9.9.9\",component=\"sidecar\"} 1\nrescind_stream_connected 0\n\
                rescind_list_fresh{list=\"elsewhere/shop\"} 0\n";
    let large = "#".repeat(2 << 20);
    let answers = [
        ("late", Vec::new()),
        ("garbage", http(9, "<html>\u{1b}[2")),
        ("large", http(large.len(), &large)),
        ("good", http(good.len(), good)),
    ];
    block_in_place(|| place.kubectl("create serviceaccount default"));
    // More that are late than are asked at one time.
    for (name, answer) in answers {
        let port = answering(&mut tasks, address, answer).await;
        let late = if name == "late" { 20 } else { 1 };
        for number in 0..late {
            let name = format!("{name}-{number}");
            block_in_place(|| {
                place.apply(&pod(&place.namespace, &name, port));
                let patch = patch(&running(address)).join(" ");
                place.kubectl(&format!("patch pod {name} {patch}"));
            });
        }
    }
    // A server that has just got our kinds says that its storage is initializing.
    let is_served = || (place.run("status -o name").code == 0).then_some(());
    block_in_place(|| until("the kinds are served", is_served));
    let started = Instant::now();
    let seen = block_in_place(|| place.run("status -o json")).done();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let json: Value = serde_json::from_str(&seen).unwrap();
    let rows = json["sidecars"].as_array().unwrap();
    assert_eq!(rows.len(), 23, "{seen}");
    let check = |name: &str, state: &str, problem: &str| {
        let identity = format!("{}/{name}", place.namespace);
        let row = rows.iter().find(|row| row["identity"] == identity).unwrap();
        let said = row["problem"].as_str().unwrap_or_default();
        assert!(row["state"] == state && said.contains(problem), "{row}");
    };
    check("late-0", "Unread", "no answer within 3 s");
    check("late-19", "Unread", "no answer within 3 s");
    check("garbage-0", "Unread", "what answers is no sidecar of this version: rescind_build_info is missing");
    check("large-0", "Unread", "its answer can't be read: length limit exceeded");
    check("good-0", "Unproven", "");
    let text = block_in_place(|| place.run("status")).done();
    assert!(text.contains("late-0, ") && text.contains(" and 15 more: no answer within 3 s\n"), "{text}");
}
