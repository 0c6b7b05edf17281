//! Traces and metrics reach a real OpenTelemetry Collector, and one that is away harms nobody.

use std::path::Path;

use rescind::runtime::child::Child;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::control_plane::program;
use crate::support::lab::{CONTROLLER, Lab, SIDECAR};
use crate::support::metrics::get;
use crate::support::program::Program;
use crate::support::wait::wait_for;

/// Starts a program of ours that exports to an endpoint, often.
async fn exporting(name: &str, program: &str, endpoint: &str, arguments: Vec<String>) -> (Child, Value) {
    let script = "OTEL_EXPORTER_OTLP_ENDPOINT=\"$1\" OTEL_BSP_SCHEDULE_DELAY=100 OTEL_METRIC_EXPORT_INTERVAL=200; \
                  export OTEL_EXPORTER_OTLP_ENDPOINT OTEL_BSP_SCHEDULE_DELAY OTEL_METRIC_EXPORT_INTERVAL; shift; \
                  exec \"$0\" \"$@\"";
    let ours = [script, program, endpoint].map(ToOwned::to_owned);
    let arguments = ["-c".to_owned()].into_iter().chain(ours).chain(arguments);
    let mut child = Child::start(name, Path::new("/bin/sh"), arguments).unwrap();
    let fields = child.listening(PATIENCE).await.unwrap();
    (child, Value::Object(fields))
}

/// The names of the metrics that a process tells at its probes, as they are in the reference, and that have a value.
async fn at_probes(listening: &Value) -> Vec<String> {
    let text = get(listening["health"].as_str().unwrap(), "/metrics", &[]).await.1;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.map(|line| line.split(' ').next().unwrap());
    let has_value = |name: &&str| text.lines().any(|line| line.starts_with(*name));
    names.filter(has_value).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_real_collector_receives_spans_and_every_metric_of_the_probes() {
    let lab = Lab::new();
    let socket = lab.path("collector.sock");
    let config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": socket, "transport": "unix"}}}},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["debug"]},
                "metrics": {"receivers": ["otlp"], "exporters": ["debug"]},
            },
        },
    });
    std::fs::write(lab.path("collector.yaml"), config.to_string()).unwrap();
    let arguments = ["--config=file:collector.yaml"];
    let collector = Program::start("collector", &program("collector"), arguments, &lab.path(""));
    wait_for("the collector", PATIENCE, async || if socket.exists() { Ok(()) } else { Err(collector.log()) })
        .await;
    let endpoint = format!("unix://{}", socket.display());
    let (mut controller, of_controller) =
        exporting("controller", CONTROLLER, &endpoint, lab.controller_arguments()).await;
    let (mut sidecar, of_sidecar) = exporting("sidecar", SIDECAR, &endpoint, lab.sidecar_arguments()).await;
    lab.until_fresh().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    lab.check(&token).await.unwrap();
    let told = [at_probes(&of_controller).await, at_probes(&of_sidecar).await].concat();
    assert!(told.len() > 15, "{told:?}");
    // An orderly end exports what is left.
    for child in [&mut sidecar, &mut controller] {
        child.signal(Signal::TERM).unwrap();
        assert!(child.ended(PATIENCE).await.unwrap().success(), "{}", child.log());
    }
    let received = wait_for("everything is received", PATIENCE, async || {
        let received = collector.log();
        let names = told.iter().map(|name| format!("-> Name: {name}\n"));
        let missing: Vec<String> = names.filter(|name| !received.contains(name)).collect();
        let is_complete = missing.is_empty() && received.contains("Name           : check");
        if is_complete { Ok(received) } else { Err(format!("{missing:?} of\n{received}")) }
    })
    .await;
    for expected in [
        "service.name: Str(rescind-controller)",
        "service.name: Str(rescind-sidecar)",
        "DataType: Sum",
        "IsMonotonic: true",
        "AggregationTemporality: Cumulative",
        "DataType: Histogram",
        "Unit: s\n",
        "verdict: Str(active)",
        "list: Str(default/shop)",
    ] {
        assert!(received.contains(expected), "{expected} is not in\n{received}");
    }
    for secret in [token.as_str(), "alice"] {
        assert!(!received.contains(secret), "{secret} was exported");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_is_logged_once_and_harms_nobody() {
    let lab = Lab::new();
    let endpoint = format!("unix://{}", lab.path("nobody.sock").display());
    let (mut controller, _) =
        exporting("controller", CONTROLLER, &endpoint, lab.controller_arguments()).await;
    let (mut sidecar, listening) = exporting("sidecar", SIDECAR, &endpoint, lab.sidecar_arguments()).await;
    lab.until_fresh().await;
    let begun = tokio::time::Instant::now();
    wait_for("several exports have failed", PATIENCE, async || {
        assert_eq!(get(listening["health"].as_str().unwrap(), "/readyz", &[]).await.0, 200);
        // Five times the interval.
        if begun.elapsed().as_secs() >= 1 { Ok(()) } else { Err(String::new()) }
    })
    .await;
    lab.check(&lab.keys.token(&json!({}))).await.unwrap();
    for child in [&mut sidecar, &mut controller] {
        child.signal(Signal::TERM).unwrap();
        assert!(child.ended(PATIENCE).await.unwrap().success(), "{}", child.log());
        let complaints = child.log().matches("metrics can't be exported").count();
        assert_eq!(complaints, 1, "{}", child.log());
    }
}
