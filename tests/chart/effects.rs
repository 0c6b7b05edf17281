//! Every value has an effect: one that is documented and does nothing is worse than none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::helm::render;
use crate::values::documented;

/// Other values than the default, by the end of their keys.
fn other(key: &str, default: &Value) -> Value {
    let last = key.rsplit('.').next().unwrap();
    match default {
        Value::Bool(it) => return json!(!it),
        // The webhook is waited for at most 5 s.
        Value::Number(it) if last == "timeoutSeconds" => return json!(it.as_i64().unwrap() - 1),
        Value::Number(it) => return json!(it.as_i64().unwrap() + 1),
        Value::Object(_) if last == "resources" => return json!({"limits": {"memory": "3Gi"}}),
        Value::Object(_) if last == "affinity" => {
            return json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}});
        }
        Value::Object(_) => return json!({"example": "other"}),
        Value::Null | Value::Array(_) | Value::String(_) => (),
    }
    match key {
        "image.pullPolicy" => json!("Always"),
        "bindAddress" => json!("[::]"),
        "controller.logLevel" | "injection.logLevel" => json!("debug"),
        "controller.logFormat" => json!("text"),
        "tls.source" => json!("certManager"),
        "tls.caBundle" => json!("-----BEGIN CERTIFICATE-----other"),
        "tls.certManager.issuerRef.kind" => json!("ClusterIssuer"),
        "injection.failurePolicy" => json!("Fail"),
        _ => match last {
            "digest" => json!(format!("sha256:{}", "1".repeat(64))),
            "duration" | "renewBefore" | "interval" => json!("77h"),
            "extraArgs" => json!(["--threads=3"]),
            "extraEnv" => json!([{"name": "OTHER", "value": "other"}]),
            "tolerations" => json!([{"key": "other", "operator": "Exists"}]),
            "topologySpreadConstraints" => {
                json!([{"maxSkew": 1, "topologyKey": "other", "whenUnsatisfiable": "DoNotSchedule"}])
            }
            "streamsFrom" | "adminFrom" | "metricsFrom" => {
                json!([{"podSelector": {"matchLabels": {"a": "other"}}}])
            }
            "extraEgress" => json!([{"ports": [{"port": 4317}]}]),
            "pullSecrets" | "namespaces" | "excludedNamespaces" | "defaultLists" => json!(["other"]),
            _ => json!("other"),
        },
    }
}

/// A certificate of one's own.
const GIVEN: &[&str] = &[r#"tls.source="secret""#, r#"tls.secretName="given""#];
/// The same, and the controllers publish no authorities.
const GIVEN_ALONE: &[&str] =
    &[r#"tls.source="secret""#, r#"tls.secretName="given""#, "tls.publishAuthority=false"];
/// With what a value matters, by the beginning of its key. Helm puts `--set` above `--set-json`, so all are JSON.
const NEEDS: [(&str, &[&str]); 6] = [
    ("quota.revocations", &[r#"quota.namespaces=["shop"]"#]),
    ("tls.secretName", GIVEN),
    ("tls.caBundle", GIVEN_ALONE),
    ("tls.publishAuthority", GIVEN),
    ("tls.certManager.", &[r#"tls.source="certManager""#]),
    (
        "tls.certManager.issuerRef.",
        &[r#"tls.source="certManager""#, r#"tls.certManager.issuerRef.name="given""#],
    ),
];

/// Texts that are not in what is rendered as they are given, and why.
const HIDDEN: [(&str, &str); 2] =
    [("tls.source", "decides what is rendered"), ("tls.caBundle", "is encoded")];

fn needs(key: &str, switches: &BTreeSet<String>) -> Vec<String> {
    let longest =
        NEEDS.iter().filter(|(start, _)| key.starts_with(start)).max_by_key(|(start, _)| start.len());
    let mut needs: Vec<String> = longest
        .into_iter()
        .flat_map(|(_, values)| values.iter().map(|value| format!("--set-json={value}")))
        .collect();
    // Parts that are off by default are on.
    let switch = key.rsplit_once('.').map(|(parent, _)| format!("{parent}.enabled"));
    needs.extend(
        switch.filter(|it| it != key && switches.contains(it)).map(|it| format!("--set-json={it}=true")),
    );
    needs
}

/// The texts within a value.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|item| texts(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

#[test]
fn every_documented_value_has_an_effect() {
    let documented: Vec<(String, Value)> = documented()
        .into_iter()
        .map(|(key, default, _)| (key, serde_json::from_str(&default).unwrap()))
        .collect();
    let switches =
        documented.iter().filter(|(key, default)| key.ends_with(".enabled") && *default == json!(false));
    let switches: BTreeSet<String> = switches.map(|(key, _)| key.clone()).collect();
    let (mut before, mut without) = (BTreeMap::new(), Vec::new());
    for (key, default) in &documented {
        let needs = needs(key, &switches);
        let arguments: Vec<&str> = needs.iter().map(String::as_str).collect();
        let before = before.entry(needs.clone()).or_insert_with(|| render("rescind", &arguments));
        let value = other(key, default);
        let set = format!("--set-json={key}={value}");
        let after = render("rescind", &[&arguments[..], &[&set]].concat());
        let known: BTreeSet<&str> = before.lines().collect();
        let fresh: Vec<&str> = after.lines().filter(|line| !known.contains(line)).collect();
        let is_hidden = HIDDEN.iter().any(|(hidden, _)| hidden == key);
        let mut given = Vec::new();
        texts(&value, &mut given);
        let arrived = given.iter().all(|text| fresh.iter().any(|line| line.contains(text)));
        if *before == after || !(arrived || is_hidden) {
            without.push(format!("{key}={value}"));
        }
    }
    assert!(documented.len() > 80 && without.is_empty(), "without effect: {without:#?}");
    for (key, _) in HIDDEN {
        assert!(documented.iter().any(|(documented, _)| documented == key), "no value {key}");
    }
}
