//! The Kubernetes store: the time from a create to the last sidecar that refuses and to `Enforced`, what heartbeats
//! cost, and the memory of a controller with many revocations. The API server and etcd are real, and on this machine.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::StreamExt;
use kube::api::{Api, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use kube::{Client, Config};
use rescind::api::revocation::{Revocation, RevocationSpec};
use rescind::api::token_revocation_list::ConditionStatus;
use rescind::runtime::child::Child;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control_plane::ControlPlane;
use crate::memory::anonymous_kibibytes;
use crate::sample::{self, ISSUER};
use crate::streams::{Heard, Question, client};
use crate::table::Row;
use crate::times::{Times, row};

const CONTROLLER: &str = env!("CARGO_BIN_EXE_rescind-controller");
const CONTROLLERS: usize = 3;
const STREAMS: usize = 50;
const ROUNDS: u64 = 100;
const MANY: usize = 10_000;
const PARALLEL_CREATES: usize = 32;
const PAUSE: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "bench";

pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<Vec<Row>> {
    let plane = ControlPlane::start();
    install(&plane)?;
    let _guard = runtime.enter();
    let mut controllers = Vec::new();
    for number in 0..CONTROLLERS {
        controllers.push(controller(runtime, &plane, number)?);
    }
    let sidecars = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (events, heard) = mpsc::channel();
    let question = Arc::new(Question::default());
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    for number in 0..STREAMS {
        let uri = &controllers[number % CONTROLLERS].1;
        tasks.spawn_on(client(uri, number, &question, &events).run(shutdown.clone()), sidecars.handle());
    }
    for _ in 0..STREAMS {
        anyhow::ensure!(matches!(heard.recv_timeout(DEADLINE)?, Heard::Proven), "too early");
    }
    let mut rows = quiet(&plane)?;
    let client = sidecars.block_on(connect(&plane))?;
    rows.extend(rounds(&sidecars, &client, &question, &heard)?);
    rows.extend(memory(&sidecars, &client, &controllers)?);
    shutdown.cancel();
    tasks.close();
    sidecars.block_on(tasks.wait());
    Ok(rows)
}

fn install(plane: &ControlPlane) -> anyhow::Result<()> {
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    kubectl(plane, &["apply", "-f", crds], "")?;
    kubectl(plane, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "")?;
    for namespace in [NAMESPACE, "rescind-system"] {
        kubectl(plane, &["create", "namespace", namespace], "")?;
    }
    let list = sample::declare(&json!({"keys": [sample::jwk(&sample::issuer())]})).encode();
    kubectl(plane, &["apply", "-f", "-"], &String::from_utf8(list)?)
}

fn kubectl(plane: &ControlPlane, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let output = plane.kubectl_with(plane.kubeconfig(), arguments, input);
    let text = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "kubectl {arguments:?}: {text}");
    Ok(())
}

fn controller(runtime: &Runtime, plane: &ControlPlane, number: usize) -> anyhow::Result<(Child, String)> {
    let arguments = [
        "--kubernetes".to_owned(),
        format!("--kubeconfig={}", plane.kubeconfig().display()),
        "--listen=127.0.0.1:0".to_owned(),
    ];
    let mut child = Child::start(&format!("controller-{number}"), Path::new(CONTROLLER), arguments)?;
    let fields = runtime.block_on(child.listening(DEADLINE))?;
    let streams = fields.get("streams").and_then(Value::as_str).context("no address")?;
    Ok((child, format!("http://{streams}")))
}

async fn connect(plane: &ControlPlane) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// What it costs that all sidecars are fresh and nothing happens.
fn quiet(plane: &ControlPlane) -> anyhow::Result<Vec<Row>> {
    let counters = || -> anyhow::Result<(f64, f64)> {
        let text = |path: &str| {
            let output = plane.kubectl(&["get", "--raw", path]);
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let requests = sum(&text("/metrics"), "apiserver_request_total{", "rescind.dev");
        Ok((requests, written(plane)?))
    };
    let before = counters()?;
    std::thread::sleep(QUIET);
    let after = counters()?;
    let seconds = QUIET.as_secs_f64();
    Ok(vec![
        Row {
            what: format!("{CONTROLLERS} controllers and {STREAMS} sidecars, nothing happens: API requests"),
            ours: format!("{:.1} per s", (after.0 - before.0) / seconds),
            beside: "-".to_owned(),
            ratio: None,
            aim: None,
        },
        Row {
            what: "the same: bytes written by etcd, the lease and the API server's own included".to_owned(),
            ours: format!("{:.0} KiB per min", (after.1 - before.1) / 1024.0 / seconds * 60.0),
            beside: "-".to_owned(),
            ratio: None,
            aim: None,
        },
    ])
}

fn written(plane: &ControlPlane) -> anyhow::Result<f64> {
    let url = format!("{}/metrics", plane.etcd().url());
    let output = std::process::Command::new("curl").args(["--silent", "--fail", &url]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let bytes = sum(&text, "etcd_disk_wal_write_bytes_total", "");
    anyhow::ensure!(bytes > 0.0, "{url} does not say how much was written");
    Ok(bytes)
}

/// Adds up the samples of a metric whose labels contain a word.
fn sum(exposition: &str, metric: &str, word: &str) -> f64 {
    let lines = exposition.lines().filter(|line| line.starts_with(metric) && line.contains(word));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn revocation(name: &str, subject: &str) -> Revocation {
    let spec = json!({"listName": "shop", "issuer": ISSUER, "target": {"subject": subject}});
    let spec: RevocationSpec = serde_json::from_value(spec).unwrap();
    Revocation::new(name, spec)
}

/// When a watch of the test's own has seen what.
struct Watched {
    created: Instant,
    enforced: Instant,
}

fn rounds(
    runtime: &Runtime,
    client: &Client,
    question: &Question,
    heard: &mpsc::Receiver<Heard>,
) -> anyhow::Result<Vec<Row>> {
    let api: Api<Revocation> = Api::namespaced(client.clone(), NAMESPACE);
    let (mut bare, mut refused, mut enforced) = (Times::default(), Times::default(), Times::default());
    // The lease, and the first window of a new store: until then the bound decides.
    std::thread::sleep(Duration::from_secs(20));
    for round in 1..=ROUNDS {
        let (name, subject) = (format!("round-{round}"), format!("subject-{round}"));
        question.set(round, &subject);
        let (started, watched) = runtime.block_on(create(&api, &name, &subject))?;
        bare.push(watched.created - started);
        enforced.push(watched.enforced - started);
        let mut last = started;
        for _ in 0..STREAMS {
            match heard.recv_timeout(DEADLINE)? {
                Heard::Refused { round: of, at } if of == round => last = last.max(at),
                Heard::Proven | Heard::Refused { .. } => anyhow::bail!("a sidecar refused too early"),
            }
        }
        refused.push(last - started);
        std::thread::sleep(PAUSE);
    }
    let mut rows = Vec::new();
    for (name, part, aim) in [("p50", 0.5, Some(1.3)), ("p99", 0.99, None)] {
        let what =
            format!("10: create -> the last of {STREAMS} sidecars refuses / create -> watch event, {name}");
        rows.push(row(&what, part, &refused, &bare, aim));
        let what = format!("create -> Enforced / create -> watch event, {name}");
        rows.push(row(&what, part, &enforced, &bare, None));
    }
    Ok(rows)
}

async fn create(api: &Api<Revocation>, name: &str, subject: &str) -> anyhow::Result<(Instant, Watched)> {
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let watch = api.watch(&parameters, "0").await?;
    futures::pin_mut!(watch);
    let started = Instant::now();
    let creating = async {
        api.create(&PostParams::default(), &revocation(name, subject)).await.map(drop).context("create")
    };
    let watching = async {
        let mut created = None;
        while let Some(event) = watch.next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event? else { continue };
            let created = *created.get_or_insert_with(Instant::now);
            let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|c| c.type_ == "Enforced" && c.status == ConditionStatus::True) {
                return Ok(Watched { created, enforced: Instant::now() });
            }
        }
        anyhow::bail!("the watch has ended")
    };
    let both = async { tokio::try_join!(creating, watching) };
    let ((), watched) =
        tokio::time::timeout(DEADLINE, both).await.context("it is not enforced in time")??;
    Ok((started, watched))
}

fn memory(runtime: &Runtime, client: &Client, controllers: &[(Child, String)]) -> anyhow::Result<Vec<Row>> {
    let memory = || anonymous_kibibytes(&controllers[0].0);
    let before = memory()?;
    let api: Api<Revocation> = Api::namespaced(client.clone(), NAMESPACE);
    let started = Instant::now();
    let creates = (0..MANY).map(|number| {
        let object = revocation(&format!("many-{number}"), &format!("many-{number}"));
        let api = api.clone();
        async move { api.create(&PostParams::default(), &object).await.map(drop) }
    });
    let creating = futures::stream::iter(creates).buffer_unordered(PARALLEL_CREATES);
    let outcomes: Vec<_> = runtime.block_on(creating.collect());
    outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
    let created = started.elapsed();
    await_enforced(runtime, &api)?;
    let per = |what: &str, ours: String| Row {
        what: what.to_owned(),
        ours,
        beside: "-".to_owned(),
        ratio: None,
        aim: None,
    };
    Ok(vec![
        per(
            &format!("{MANY} creates, {PARALLEL_CREATES} at a time"),
            format!("{:.1} s", created.as_secs_f64()),
        ),
        per("until the last of them is Enforced", format!("{:.1} s", started.elapsed().as_secs_f64())),
        per("anonymous memory of a controller before", format!("{:.1} MiB", before / 1024.0)),
        per(&format!("and with {MANY} revocations"), format!("{:.1} MiB", memory()? / 1024.0)),
    ])
}

fn await_enforced(runtime: &Runtime, api: &Api<Revocation>) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE * 10 {
        let last = runtime.block_on(api.get_status(&format!("many-{}", MANY - 1)))?;
        let conditions = last.status.map(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Enforced" && c.status == ConditionStatus::True) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("the last revocation is not enforced")
}
