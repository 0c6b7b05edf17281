//! The values: a mistake is refused by name, and values, schema and documentation know the same keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use rescind::controller::domain::Domain;
use rescind::injection::extra::{OWN_FLAGS, OWN_VARIABLES, TELLING_FLAGS};
use rescind::injection::quantity::Quantity;
use rescind::injection::settings::Settings;
use serde_json::{Value, json};

use crate::helm::{helm, in_project, objects, one, read_chart, refused, render, yaml};

#[test]
fn a_mistake_in_the_values_is_refused_with_its_name() {
    let mistakes = [
        "replicas=3",
        "controller.replica=3",
        "controller.replicas=0",
        "controller.resources.limit.cpu=1",
        "controller.logFormat=xml",
        "controller.terminationGracePeriodSeconds=5",
        "controller.tolerations[0].efect=NoSchedule",
        "controller.affinity.podAntiafinity.x=y",
        "controller.topologySpreadConstraints[0].maxSkew=1",
        "controller.extraEnv[0].nam=A",
        "image.controller.digest=sha256:abc",
        "image.controller.tag=1",
        "image.pullPolicy=Sometimes",
        "injection.timeoutSeconds=6",
        "injection.failurePolicy=Warn",
        "injection.logLevel=verbose",
        "injection.resources.requests.gpu=1",
        "injection.resources.requests.memory=256MB",
        "injection.resources.requests.memory=512Mi",
        "injection.tokenExpirationSeconds=60",
        "injection.defaultLists[0]=a/b/c",
        "injection.extraArgs[0]=--reveal",
        "injection.extraArgs[0]=--tls-ca=/ca.crt",
        "injection.extraArgs[0]=4096",
        "injection.extraEnv[0].name=A",
        "injection.extraEnv[0].name=RUST_LOG,injection.extraEnv[0].value=debug",
        "injection.extraEnv[0].name=A=B,injection.extraEnv[0].value=c",
        "injection.excludedNamespaces[0]=Legacy",
        "labels.app\\.kubernetes\\.io/name=x",
        "tls.source=vault",
        "tls.source=secret",
        "tls.source=secret,tls.secretName=given,tls.caBundle=-----BEGIN CERTIFICATE-----",
        "tls.serviceDomain=Rescind.example",
        "clusterDomain=cluster.local.",
        "tls.certManager.issuerRef.nam=x",
        "crds.keep=maybe",
        "bindAddress=127.0.0.1",
        "policies.statuses=false",
        "quota.namespaces[0]=rescind-system",
        "networkPolicy.adminFrom[0].podSelektor.x=y",
        "networkPolicy.extraEgress[0].port=4317",
        "serviceMonitor.interval=often",
        "dashboard.labels.a=b/c",
        "test.timeout=1",
    ];
    let mut text = String::new();
    for mistake in mistakes {
        let set = format!("--set={mistake}");
        let output =
            helm(None, &["template", "rescind", "charts/rescind", "--namespace=rescind-system", &set]);
        let said = refused(&output);
        let (mut causes, head): (Vec<&str>, Vec<&str>) =
            said.lines().partition(|line| line.trim().starts_with("- "));
        // Several come in any order.
        causes.sort_unstable();
        writeln!(text, "## {mistake}\n{}\n", [head, causes].concat().join("\n")).unwrap();
    }
    insta::assert_snapshot!("refusals", text);
}

/// The controllers would refuse it, too, when they start; that is late.
#[test]
fn what_injection_sets_itself_is_refused_where_it_is_added() {
    let flags = OWN_FLAGS.iter().chain(&TELLING_FLAGS);
    let variables = OWN_VARIABLES.iter().map(|(name, _)| ("extraEnv", *name));
    for (member, name) in flags.map(|flag| ("extraArgs", *flag)).chain(variables) {
        let value = if member == "extraArgs" { json!(name) } else { json!({"name": name, "value": "x"}) };
        let set = format!("--set-json=injection.{member}=[{value}]");
        let said = refused(&helm(None, &["template", "rescind", "charts/rescind", &set]));
        assert!(said.contains(&format!("injection.{member}[0]: is {name}, which ")), "{said}");
    }
}

/// Renders the chart with a value, which is JSON; returns what was said if that is refused.
fn tried(key: &str, value: &Value) -> Result<(), String> {
    let set = format!("--set-json={key}={value}");
    let output = helm(None, &["template", "rescind", "charts/rescind", "--namespace=rescind-system", &set]);
    if output.status.success() { Ok(()) } else { Err(refused(&output)) }
}

/// The controllers would end when they read it.
#[test]
fn a_quantity_is_taken_if_injection_reads_it() {
    let good = ["1m", "2", "100m", "0.5", "1.125", "64Mi", "1.5Gi", "010k", "999999999999999Ti"];
    let bad =
        ["", "0", "0m", "0.00", "1.5m", "1.2345", "1.", ".5", "256MB", "1gi", "1e3", "-1", "1 Gi", "Mi"];
    for text in [&good[..], &bad, &["1000000000000000"]].concat() {
        // By default more is asked for than the least of them.
        let amounts = json!({"requests": {"cpu": null}, "limits": {"cpu": text}});
        let said = tried("injection.resources", &amounts);
        assert_eq!(said.is_ok(), text.parse::<Quantity>().is_ok(), "{text:?}: {said:?}");
    }
}

#[test]
fn a_domain_is_taken_if_the_controllers_read_it() {
    let [longest, longer] = [63, 64].map(|length| "a".repeat(length));
    let most = format!("{}bb", "a.".repeat(99));
    let more = format!("{most}b");
    let good = ["cluster.local", "a", "1-b.c", longest.as_str(), most.as_str()];
    let bad = ["A.b", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", longer.as_str(), more.as_str()];
    for text in [&good[..], &bad].concat() {
        let is_read = Domain::new(text, text, "rescind-system").is_ok();
        for key in ["clusterDomain", "tls.serviceDomain"] {
            let said = tried(key, &json!(text));
            assert_eq!(said.is_ok(), is_read, "{key} {text:?}: {said:?}");
        }
    }
}

/// Helm itself would write large ones with an exponent, which injection does not read.
#[test]
fn quantities_may_be_numbers() {
    let requests = json!({"cpu": 0.25, "memory": 268_435_456});
    let amounts = json!({"requests": requests, "limits": {"cpu": 2, "memory": "1Gi"}});
    let rendered = objects(&render("rescind", &[&format!("--set-json=injection.resources={amounts}")]));
    let settings =
        one(&rendered, "ConfigMap", "rescind-injection")["data"]["injection.yaml"].as_str().unwrap();
    let settings = Settings::parse("injection.yaml", settings).unwrap();
    let requests = json!({"cpu": "0.25", "memory": "268435456"});
    let expected = json!({"requests": requests, "limits": {"cpu": "2", "memory": "1Gi"}});
    assert_eq!(json!(settings.resources), expected);
}

#[test]
fn no_more_is_asked_for_than_the_limit() {
    let pairs =
        [("999m", "1"), ("0.29", "291m"), ("64M", "64Mi"), ("1023Mi", "1Gi"), ("1Ti", "2T"), ("1k", "1Ki")];
    for (less, more) in pairs {
        for (request, limit) in [(less, more), (more, less), (more, more)] {
            let amounts = json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
            let said = tried("injection.resources", &amounts);
            if (request, limit) == (more, less) {
                let said = said.unwrap_err();
                let keys = format!(
                    "injection.resources.requests.cpu: is {more}, and injection.resources.limits.cpu is {less}: "
                );
                assert!(said.contains(&keys), "{said}");
            } else {
                assert_eq!(said, Ok(()), "{request} of {limit}");
            }
        }
    }
}

#[test]
fn a_variable_of_sidecars_is_named_once() {
    let variables = |names: &[&str]| {
        let variables = names.iter().map(|name| json!({"name": name, "value": "x"}));
        tried("injection.extraEnv", &variables.collect())
    };
    assert_eq!(variables(&["A", "B"]), Ok(()));
    let said = variables(&["A", "B", "A"]).unwrap_err();
    assert!(said.contains("injection.extraEnv[2]: is A, which is there before: name each once"), "{said}");
}

/// A key of the schema and where it leads.
fn schema_keys(schema: &Value, root: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &root["$defs"][name.trim_start_matches("#/$defs/")],
        None => schema,
    };
    match schema["properties"].as_object() {
        // Below these are fields of Kubernetes.
        Some(properties) if !["resources", "affinity"].iter().any(|end| path.ends_with(end)) => {
            for (name, inner) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                schema_keys(inner, root, &path, keys);
            }
        }
        _ => drop(keys.insert(path.to_owned())),
    }
}

fn schema() -> Value {
    serde_json::from_str(&read_chart("values.schema.json")).unwrap()
}

/// The values that have a comment, in their order: path, default, and what the comment says.
pub(crate) fn documented() -> Vec<(String, String, String)> {
    let text = read_chart("values.yaml");
    let values = yaml(&text);
    let (mut parents, mut said, mut found) = (BTreeMap::new(), None, Vec::new());
    for line in text.lines() {
        let (bare, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if let Some(comment) = bare.strip_prefix("# -- ") {
            said = Some(comment.to_owned());
        } else if let Some((key, _)) = bare.split_once(':').filter(|_| !bare.starts_with(['#', '-'])) {
            parents.retain(|other, _| *other < indent);
            parents.insert(indent, key.to_owned());
            if let Some(comment) = said.take() {
                let names: Vec<&str> = parents.values().map(String::as_str).collect();
                let default = names.iter().fold(&values, |value, name| &value[*name]);
                found.push((names.join("."), default.to_string(), comment));
            }
        }
    }
    found
}

#[test]
fn schema_and_comments_know_the_same_keys() {
    let mut keys = BTreeSet::new();
    let schema = schema();
    schema_keys(&schema, &schema, "", &mut keys);
    keys.remove("global");
    let documented: BTreeSet<String> = documented().into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, documented, "left: values.schema.json; right: comments of values.yaml");
}

/// An object without `additionalProperties` would swallow a mistake.
fn open_objects(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind == "object")
                && !members.contains_key("additionalProperties")
            {
                found.push(path.to_owned());
            }
            members.iter().for_each(|(name, inner)| open_objects(inner, &format!("{path}/{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|inner| open_objects(inner, path, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

#[test]
fn no_object_of_the_schema_takes_any_key() {
    let mut open = Vec::new();
    open_objects(&schema(), "", &mut open);
    // What is in an affinity, the API server checks. Helm itself passes `global` down.
    let affinity = "/$defs/affinity/properties/";
    open.retain(|path| !path.starts_with(affinity) && path != "/properties/global");
    assert_eq!(open, Vec::<String>::new());
}

const BEGIN: &str = "<!-- values: made of values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";

#[test]
fn the_readme_of_the_chart_has_every_value() {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for (key, default, meaning) in documented() {
        writeln!(table, "| `{key}` | `{default}` | {meaning} |").unwrap();
    }
    let kept = read_chart("README.md");
    let (before, rest) = kept.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    if std::env::var_os("UPDATE_CHART").is_some() {
        std::fs::write(in_project("charts/rescind/README.md"), &fresh).unwrap();
    } else {
        assert!(
            kept == fresh,
            "charts/rescind/README.md differs: run `UPDATE_CHART=1 cargo test --test chart`"
        );
    }
}
