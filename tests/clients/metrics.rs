//! The metrics of both processes, as Prometheus reads and judges them.

use std::process::Stdio;

use rescind::proto::v1::target::Target;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::http1::{Ask, Reply, ask_tcp};
use crate::support::lab::{Lab, Process};
use crate::support::metrics::metric;
use crate::support::tools::tool;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn lint(text: &str) -> String {
    let mut command = Command::new(tool("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    format!("{}{}", String::from_utf8_lossy(&said), output.status)
}

async fn scrape(process: &Process, accept: &str) -> Reply {
    let ask = Ask::get("/metrics").line("accept", accept);
    ask_tcp(process.address("health"), &ask).await.unwrap()
}

/// Everything counts by then: checks of every decision, a stream, a snapshot, a delta, a proof.
async fn busy() -> Lab {
    let lab = Lab::start().await;
    let revoked = lab.revoke(Target::Subject("mallory".to_owned())).await;
    lab.until_enforced(&revoked.version).await;
    for token in [lab.keys.token(&json!({})), lab.keys.token(&json!({"sub": "mallory"})), "x".to_owned()] {
        lab.check(&token).await.unwrap();
    }
    lab
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics_of_either_process() {
    let lab = busy().await;
    for (name, process) in [("controller", &lab.controller), ("sidecar", &lab.sidecar)] {
        let reply = scrape(process.as_ref().unwrap(), "text/plain;version=0.0.4").await;
        assert_eq!((reply.status, reply.all("content-type")), (200, vec![PLAIN]), "{name}");
        assert_eq!(lint(&reply.body).await, "exit status: 0", "{name}\n{}", reply.body);
        assert!(reply.body.lines().any(|line| line.starts_with("rescind_")), "{name}\n{}", reply.body);
    }
}

/// What a present Prometheus asks for: both, and OpenMetrics first.
#[tokio::test]
async fn who_asks_for_openmetrics_gets_it() {
    let lab = busy().await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for process in [&lab.controller, &lab.sidecar] {
        let reply = scrape(process.as_ref().unwrap(), accept).await;
        assert_eq!((reply.status, reply.all("content-type")), (200, vec![OPEN_METRICS]));
        assert!(reply.body.ends_with("# EOF\n"), "{}", reply.body);
    }
}

/// Returns the sum of the samples of a metric that have all these labels.
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |line: &str, (label, value): &(&str, &str)| line.contains(&format!("{label}=\"{value}\""));
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let lines = lines.filter(|line| labels.iter().all(|label| has(line, label)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn checks_count_by_how_they_were_answered_and_a_revocation_by_how_long_it_took() {
    let mut lab = busy().await;
    for _ in 0..2 {
        lab.check("x").await.unwrap();
    }
    let sidecar = scrape(lab.sidecar.as_ref().unwrap(), "text/plain").await.body;
    let checks = |decision, reason| {
        let labels = [
            ("transport", "check"),
            ("decision", decision),
            ("reason", reason),
            ("shadow", "false"),
            ("best_effort", "false"),
        ];
        sum(&sidecar, "rescind_checks_total", &labels)
    };
    assert_eq!((checks("deny", "REVOKED"), checks("deny", "MALFORMED")), (1.0, 3.0), "{sidecar}");
    // Waiting until the sidecar was fresh took one, or some more.
    assert!(checks("allow", "") >= 2.0, "{sidecar}");
    assert_eq!(sum(&sidecar, "rescind_list_entries", &[("list", "default/shop")]), 1.0);
    let health = lab.controller().address("health").to_owned();
    let count = metric(&health, "rescind_propagation_seconds_count").await;
    assert!(count >= 1.0, "{count}");
    let (took, most) = (metric(&health, "rescind_propagation_seconds_sum").await, PATIENCE.as_secs_f64());
    assert!(took > 0.0 && took < count * most, "{took}");
}
