//! The dashboard: a real Prometheus runs every query over the metrics of a real controller and sidecar.

use std::time::Duration;

use rescind::proto::v1::target::Target;
use serde_json::{Value, json};

use crate::helm::{objects, one, read_chart, render};
use crate::prometheus::Prometheus;
use crate::support::PATIENCE;
use crate::support::lab::Lab;

/// Queries without a series while all is well, by a part of their text, and why.
pub(crate) const EMPTY: [(&str, &str); 4] = [
    ("rescind_refused_updates_total", "nothing was refused, and a counter is told once it has counted"),
    ("rescind_snapshot_write_failures_total", "every snapshot was written"),
    (
        "rescind_serving_certificate_expiry_timestamp_seconds",
        "the streams are on a Unix socket, without a certificate",
    ),
    ("rescind_injections_total", "there is no webhook without a cluster"),
];

fn dashboard() -> Value {
    serde_json::from_str(&read_chart("files/dashboard.json")).unwrap()
}

/// The queries of all panels, as Grafana would send them.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let texts = targets.map(|target| target["expr"].as_str().unwrap());
    texts.map(|text| text.replace("$__rate_interval", "30s").replace("$list", ".*")).collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_finds_what_the_processes_tell() {
    let mut lab = Lab::start().await;
    let addresses =
        [lab.controller().address("health").to_owned(), lab.sidecar().address("health").to_owned()];
    let prometheus = Prometheus::start(&lab, &addresses.each_ref().map(String::as_str)).await;
    let token = lab.keys.token(&json!({"sub": "mallory"}));
    let mut queries = queries();
    assert!(queries.len() > 20);
    queries.retain(|query| !EMPTY.iter().any(|(part, _)| query.contains(part)));
    // Rates need something to count, again and again.
    let (mut number, mut missing) = (0, queries.clone());
    let deadline = tokio::time::Instant::now() + 2 * PATIENCE;
    while !missing.is_empty() {
        let late = tokio::time::Instant::now() > deadline;
        assert!(!late, "no series for {missing:#?}\n{}\n{}", prometheus.log(), lab.logs());
        number += 1;
        lab.revoke(Target::Subject(format!("mallory-{number}"))).await;
        for token in [&token, "x"] {
            lab.check(token).await.unwrap();
        }
        let mut left = Vec::new();
        for query in missing {
            let found = prometheus.series(&query).await;
            let found = found.unwrap_or_else(|problem| panic!("{query}: {problem}"));
            left.extend((found == 0).then_some(query));
        }
        missing = left;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Those can be asked, too; and they do tell nothing, or they belong above.
    for (part, why) in EMPTY {
        for query in self::queries().iter().filter(|query| query.contains(part)) {
            assert_eq!(prometheus.series(query).await, Ok(0), "{query}: not so: {why}");
        }
    }
}

/// A metric that nobody shows is missed when it matters.
#[test]
fn the_dashboard_shows_every_metric_of_the_reference() {
    let page = crate::helm::read("docs/reference/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `rescind_"));
    let names = rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2));
    let queries = queries().join("\n");
    // A round proves to all sidecars of a controller, so the rounds say the same with fewer series.
    // An epoch is a number without a size; that it changes shows as a version that falls.
    let left_out = ["rescind_proofs_total", "rescind_list_epoch"];
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<&&str> =
        names.iter().filter(|name| !queries.contains(**name) && !left_out.contains(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn the_config_map_is_the_file() {
    let objects = objects(&render("rescind", &["--values=tests/chart/all-on.yaml"]));
    let map = one(&objects, "ConfigMap", "rescind-dashboard");
    let text = map["data"]["rescind.json"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), dashboard());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}
