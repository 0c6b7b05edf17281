//! The alerts: each is tested by promtool, and has a section of the runbook.

use std::collections::BTreeSet;
use std::process::Command;

use rescind::proto::v1::target::Target;
use serde_json::Value;

use crate::dashboard;
use crate::helm::{in_project, objects, one, read, read_chart, render, yaml};
use crate::prometheus::Prometheus;
use crate::support::PATIENCE;
use crate::support::lab::Lab;
use crate::support::tools::tool;
use crate::support::wait::wait_for;

fn alerts() -> Vec<Value> {
    yaml(&read_chart("files/alerts.yaml"))["groups"][0]["rules"].as_array().unwrap().clone()
}

fn promtool(arguments: &[&str], folder: &std::path::Path) {
    let output = Command::new(tool("promtool")).args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn each_alert_fires_when_it_should_and_is_silent_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(in_project("charts/rescind/files/alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
    std::fs::copy(in_project("tests/chart/alerts.yaml"), folder.path().join("tests.yaml")).unwrap();
    promtool(&["check", "rules", "alerts.yaml"], folder.path());
    promtool(&["test", "rules", "tests.yaml"], folder.path());
}

/// An alert that is only tested to be silent is not tested.
#[test]
fn each_alert_is_tested_to_fire_and_to_be_silent() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    let tests = yaml(&read("tests/chart/alerts.yaml"));
    let cases = tests["tests"].as_array().unwrap().iter();
    for case in cases.flat_map(|test| test["alert_rule_test"].as_array().unwrap()) {
        let name = case["alertname"].as_str().unwrap().to_owned();
        if case.get("exp_alerts").is_some() {
            fires.insert(name)
        } else {
            silent.insert(name)
        };
    }
    let names: BTreeSet<String> =
        alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!((&fires, &silent), (&names, &names));
}

#[test]
fn each_alert_has_a_section_of_the_runbook_and_each_section_an_alert() {
    let runbook = read("docs/runbook.md");
    let headings: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(headings, names, "left: docs/runbook.md; right: alerts.yaml");
    for alert in &alerts {
        let anchor = alert["alert"].as_str().unwrap().to_lowercase();
        assert_eq!(alert["annotations"]["runbook_url"], format!("docs/runbook.md#{anchor}"));
    }
}

#[test]
fn the_rule_of_the_operator_is_the_file_with_ones_own_runbook() {
    let objects = objects(&render("rescind", &["--values=tests/chart/all-on.yaml"]));
    let text = one(&objects, "PrometheusRule", "rescind")["spec"].to_string();
    let file = yaml(&read_chart("files/alerts.yaml")).to_string();
    assert_eq!(text, file.replace("docs/runbook.md", "https://runbooks.example.com/rescind.md"));
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("rescind_")).collect()
}

/// An alert on a metric that nobody tells is silent for ever, and promtool finds nothing wrong with it.
#[tokio::test]
async fn every_alert_is_evaluated_and_asks_for_what_the_processes_tell() {
    let mut lab = Lab::start().await;
    let addresses =
        [lab.controller().address("health").to_owned(), lab.sidecar().address("health").to_owned()];
    let prometheus = Prometheus::start(&lab, &addresses.each_ref().map(String::as_str)).await;
    lab.revoke(Target::Subject("mallory".to_owned())).await;
    lab.check("x").await.unwrap();
    let alerts = alerts();
    wait_for("every rule is evaluated", PATIENCE, async || {
        let answer = prometheus.get("/api/v1/rules").await?;
        let rules = answer["data"]["groups"][0]["rules"].as_array().ok_or_else(|| answer.to_string())?;
        let sound = rules.iter().filter(|rule| rule["health"] == "ok").count();
        if sound == alerts.len() { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    let texts: String = alerts.iter().map(|alert| format!("{} ", alert["expr"].as_str().unwrap())).collect();
    let source = ["src/metrics.rs", "src/controller/metrics.rs", "src/sidecar/metrics.rs"].map(read).concat();
    for name in metrics(&texts) {
        if dashboard::EMPTY.iter().any(|(part, _)| *part == name) {
            let bare =
                name.trim_start_matches("rescind_").trim_end_matches("_total").trim_end_matches("_seconds");
            assert!(source.contains(&format!("\"{bare}\"")), "no process tells {name}");
            continue;
        }
        let what = format!("{name} is told");
        wait_for(&what, PATIENCE, async || match prometheus.series(name).await? {
            0 => Err(prometheus.log()),
            _ => Ok(()),
        })
        .await;
    }
}
