//! Requests through Envoy with our ext_authz, beside the same with one that decides nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use rescind::runtime::child::Child;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::lab::{Lab, Verifier, peer};
use crate::lean::Http;
use crate::peers::{NO_OP, TALKATIVE};
use crate::sample::{self, ISSUER};
use crate::table::Row;
use crate::times::{Times, row};

const ENTRIES: u64 = 100_000;
const ROUNDS: usize = 40;
const PER_ROUND: usize = 100;
const PAYLOAD_KEY: &str = "claims";
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<Vec<Row>> {
    let program = program()?;
    let mut rows = Vec::new();
    for (verifier, who) in
        [(Verifier::Envoy(PAYLOAD_KEY), "Envoy verifies for both"), (Verifier::Sidecar, "only ours verifies")]
    {
        let [ours, no_op, talkative] = compare(runtime, &program, verifier)?;
        let aim = Some(1.05).filter(|_| verifier != Verifier::Sidecar);
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let what = format!("5: Envoy with our ext_authz / with a no-op, {who}, {name}");
            rows.push(row(&what, part, &ours, &no_op, aim));
            let what = format!("Envoy with a no-op that sets what ours sets / with a no-op, {who}, {name}");
            rows.push(row(&what, part, &talkative, &no_op, None));
        }
    }
    Ok(rows)
}

fn program() -> anyhow::Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup-test-tools");
    let told = Command::new(script).arg("--print").output()?;
    let told = String::from_utf8(told.stdout)?;
    let path = told.lines().find_map(|line| line.strip_prefix("envoy="));
    path.map(PathBuf::from).context("there is no Envoy: run scripts/setup-test-tools first")
}

fn compare(runtime: &Runtime, program: &Path, verifier: Verifier) -> anyhow::Result<[Times; 3]> {
    let lab = Lab::start(runtime, verifier, ENTRIES)?;
    let _sidecar = lab.sidecar()?;
    let _no_op = peer(runtime, NO_OP, &lab.path("no-op.sock"))?;
    let _talkative = peer(runtime, TALKATIVE, &lab.path("talkative.sock"))?;
    let mut proxies = Vec::new();
    let mut clients = Vec::new();
    for (name, service) in [("ours", "check.sock"), ("no-op", "no-op.sock"), ("talkative", "talkative.sock")]
    {
        let socket = lab.path(&format!("{name}-envoy.sock"));
        let file = lab.path(&format!("{name}-envoy.json"));
        std::fs::write(&file, configuration(&lab, verifier, &socket, &lab.path(service))?)?;
        proxies.push(start(runtime, program, &file, &socket)?);
        clients.push(Http::connect(&socket, "/orders", &lab.token("alice")?)?);
    }
    let mut times: [Times; 3] = Default::default();
    for round in 0..=ROUNDS {
        if round == 1 {
            times = Default::default();
        }
        // Each goes first in every third round.
        for turn in 0..clients.len() {
            let which = (round + turn) % clients.len();
            for _ in 0..PER_ROUND {
                times[which].measure(|| clients[which].get())?;
            }
        }
    }
    for mut proxy in proxies {
        runtime.block_on(proxy.kill())?;
    }
    Ok(times)
}

fn start(runtime: &Runtime, program: &Path, file: &Path, socket: &Path) -> anyhow::Result<Child> {
    let _guard = runtime.enter();
    let arguments = ["-c".as_ref(), file.as_os_str()].into_iter();
    let options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"];
    let child = Child::start("envoy", program, arguments.chain(options.map(AsRef::as_ref)))?;
    let started = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        anyhow::ensure!(started.elapsed() < DEADLINE, "Envoy does not listen:\n{}", child.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(child)
}

/// Takes the configuration that the examples show. Envoy answers by itself, so that nothing but the question to the
/// sidecar is in the figures.
fn configuration(lab: &Lab<'_>, verifier: Verifier, socket: &Path, service: &Path) -> anyhow::Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/envoy.yaml");
    let text = std::fs::read_to_string(file)?;
    let text = text
        .replace("path: envoy.sock", &format!("path: {}", socket.display()))
        .replace("path: check.sock", &format!("path: {}", service.display()));
    let mut config: Value = serde_saphyr::from_str(&text)?;
    let manager = config
        .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
        .context("the example has another shape")?;
    let routes = manager.pointer_mut("/route_config/virtual_hosts/0/routes").and_then(Value::as_array_mut);
    for route in routes.into_iter().flatten().filter_map(Value::as_object_mut) {
        route.remove("route");
        route.insert("direct_response".to_owned(), json!({"status": 200}));
    }
    if let Verifier::Envoy(key) = verifier {
        let filters = manager.pointer_mut("/http_filters").and_then(Value::as_array_mut);
        filters.context("the example has no filters")?.insert(0, verification(lab, key));
    }
    Ok(config.to_string())
}

fn verification(lab: &Lab<'_>, payload_key: &str) -> Value {
    let keys = json!({"keys": [sample::jwk(&lab.issuer)]}).to_string();
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"issuer": {
                "issuer": ISSUER,
                "local_jwks": {"inline_string": keys},
                "forward": true,
                "payload_in_metadata": payload_key,
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
        },
    })
}
