//! The kinds on a real API server: they are found, shown, described, waited for and changed as people expect.

use rescind::api::{definition, target};
use serde_json::{Value, json};

use crate::cluster::{ABSENT, cluster, done, in_project, list, namespace, refused, revocation, set};

fn create(object: &Value) -> String {
    let plane = cluster();
    done(&plane.kubectl_with(plane.kubeconfig(), &["create", "--filename=-"], &object.to_string()))
}

fn kubectl(namespace: &str, arguments: &[&str]) -> String {
    let namespace = format!("--namespace={namespace}");
    done(&cluster().kubectl(&[&[namespace.as_str()], arguments].concat()))
}

fn get(namespace: &str, name: &str) -> Value {
    serde_json::from_str(&kubectl(namespace, &["get", "revocation", name, "--output=json"])).unwrap()
}

fn patch_status(namespace: &str, kind: &str, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    kubectl(namespace, &["patch", kind, name, "--subresource=status", "--type=merge", "--patch", &patch]);
}

fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "AllApplied", "message": "12 of 12 sidecars have applied it.",
        "lastTransitionTime": "2026-11-21T10:00:01Z",
    })
}

#[test]
fn the_definitions_are_accepted_without_a_warning() {
    let output = cluster().kubectl(&["apply", "--server-side", "--filename", &in_project("crds")]);
    assert_eq!(done(&output).lines().count(), 2);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let crds = cluster().kubectl(&["get", "crd", "--output=json"]);
    let crds: Value = serde_json::from_str(&done(&crds)).unwrap();
    for definition in crds["items"].as_array().unwrap() {
        let conditions = definition["status"]["conditions"].as_array().unwrap();
        assert!(
            conditions.iter().all(|condition| condition["type"] != "NonStructuralSchema"),
            "{conditions:?}"
        );
    }
}

#[test]
fn every_field_is_described() {
    for definition in [definition::revocation(), definition::token_revocation_list()] {
        let definition = serde_json::to_value(definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        check_described(schema, definition["spec"]["names"]["kind"].as_str().unwrap());
    }
    for path in
        ["revocation", "revocation.spec.target", "rvk.status.enforcement", "trl.spec.issuers.verification"]
    {
        let explained = done(&cluster().kubectl(&["explain", path]));
        assert!(explained.contains("DESCRIPTION:") && explained.contains("FIELDS:"), "{explained}");
        assert!(!explained.contains("<no description>") && !explained.contains("<empty>"), "{explained}");
    }
}

fn check_described(schema: &Value, path: &str) {
    assert_ne!(schema["description"].as_str().unwrap_or_default(), "", "{path} is not described");
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let of_items = &member["items"];
        check_described(member, &format!("{path}.{name}"));
        if of_items["properties"].is_object() {
            check_described(of_items, &format!("{path}.{name}[]"));
        }
    }
}

#[test]
fn a_new_object_waits_for_its_controller() {
    let namespace = namespace();
    create(&revocation("waits", &namespace));
    create(&list("shop", &namespace));
    let conditions = |object: &Value| -> Vec<(String, String)> {
        let all = object["status"]["conditions"].as_array().unwrap().iter();
        all.map(|one| (one["type"].as_str().unwrap().into(), one["status"].as_str().unwrap().into()))
            .collect()
    };
    let unknown = |kinds: &[&str]| {
        kinds.iter().map(|kind| ((*kind).to_owned(), "Unknown".to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(conditions(&get(&namespace, "waits")), unknown(&["Accepted", "Enforced", "Ready"]));
    let declared = kubectl(&namespace, &["get", "trl", "shop", "--output=json"]);
    assert_eq!(conditions(&serde_json::from_str(&declared).unwrap()), unknown(&["Ready"]));

    let wait = ["wait", "--for=condition=Enforced", "revocation/waits"];
    let scope = format!("--namespace={namespace}");
    let early = cluster().kubectl(&[&[scope.as_str()][..], &wait, &["--timeout=1s"]].concat());
    assert!(refused(&early).contains("timed out"));
    patch_status(&namespace, "revocation", "waits", &json!({"conditions": [condition("Enforced", "True")]}));
    assert!(kubectl(&namespace, &[&wait[..], &["--timeout=60s"]].concat()).contains("condition met"));
    assert!(
        kubectl(&namespace, &["describe", "revocation", "waits"])
            .contains("12 of 12 sidecars have applied it.")
    );
}

fn words(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_columns_say_what_one_wants_to_know() {
    let namespace = namespace();
    let mut object = revocation("shown", &namespace);
    set(&mut object["spec"], "reason", &json!("LostDevice"));
    set(&mut object["spec"], "message", &json!("laptop stolen"));
    create(&object);
    let status = json!({
        "target": "subject alice", "cutoff": "2026-11-21T10:00:00Z", "expiresAt": "2026-11-21T12:00:00Z",
        "conditions": [condition("Enforced", "True")],
        "enforcement": {"subscribers": 12, "applied": 11, "away": 1, "elapsedMilliseconds": 240},
    });
    patch_status(&namespace, "revocation", "shown", &status);
    let table = kubectl(&namespace, &["get", "revocations"]);
    let lines: Vec<Vec<&str>> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "TARGET", "LIST", "CUTOFF", "ENFORCED", "AGE"]);
    assert_eq!(lines[1][..5], ["shown", "subject alice", "shop", "2026-11-21T10:00:00Z", "True"]);
    let table = kubectl(&namespace, &["get", "revocations", "--output=wide"]);
    let lines: Vec<Vec<&str>> = table.lines().map(words).collect();
    assert_eq!(lines[0][6..], ["APPLIED", "SUBSCRIBERS", "EXPIRES", "REASON", "MESSAGE"]);
    assert_eq!(lines[1][6..], ["11", "12", "2026-11-21T12:00:00Z", "LostDevice", "laptop stolen"]);

    create(&list("shop", &namespace));
    let status = json!({"entries": 3, "subscribers": 12, "version": "1/7", "conditions": [condition("Ready", "True")]});
    patch_status(&namespace, "trl", "shop", &status);
    let table = kubectl(&namespace, &["get", "tokenrevocationlists", "--output=wide"]);
    let lines: Vec<Vec<&str>> = table.lines().map(words).collect();
    assert_eq!(
        lines[0],
        ["NAME", "READY", "ENTRIES", "SUBSCRIBERS", "BOUND", "ENFORCEMENT", "VERSION", "AGE"]
    );
    assert_eq!(lines[1][..5], ["shop", "True", "3", "12", "15"]);
    assert_eq!(lines[1][5..7], ["Enforce", "1/7"]);
}

#[test]
fn objects_are_found_by_short_name_category_and_field() {
    let namespace = namespace();
    let mut other = revocation("other", &namespace);
    set(&mut other["spec"], "listName", &json!("till"));
    set(&mut other["spec"], "issuer", &json!("https://till.example.com"));
    set(&mut other["spec"], "reason", &json!("Leaver"));
    let mut internal = revocation("epoch", &namespace);
    set(&mut internal, "spec", &json!({"target": {"epoch": {}}}));
    for object in [&revocation("alice", &namespace), &other, &internal, &list("shop", &namespace)] {
        create(object);
    }
    let names = |arguments: &[&str]| {
        let text = kubectl(&namespace, &[&["get", "--output=name"], arguments].concat());
        text.lines().map(|line| line.split_once('/').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["rvk"]), ["alice", "epoch", "other"]);
    assert_eq!(names(&["trl"]), ["shop"]);
    assert_eq!(names(&["rescind"]).len(), 4);
    assert_eq!(names(&["rvk", "--field-selector=spec.listName=shop"]), ["alice"]);
    assert_eq!(names(&["rvk", "--field-selector=spec.listName!="]), ["alice", "other"]);
    assert_eq!(names(&["rvk", "--field-selector=spec.issuer=https://till.example.com"]), ["other"]);
    assert_eq!(names(&["rvk", "--field-selector=spec.reason=Leaver"]), ["other"]);
}

#[test]
fn what_is_applied_twice_is_unchanged_and_what_is_deleted_is_gone() {
    let namespace = namespace();
    for object in [revocation("alice", &namespace), list("shop", &namespace)] {
        let plane = cluster();
        let apply =
            || done(&plane.kubectl_with(plane.kubeconfig(), &["apply", "--filename=-"], &object.to_string()));
        assert!(apply().ends_with("created\n"));
        assert!(apply().ends_with("unchanged\n"));
    }
    kubectl(&namespace, &["delete", "revocation", "alice"]);
    assert_eq!(kubectl(&namespace, &["get", "rvk", "--output=name"]), "");
}

#[test]
fn an_end_may_grow_and_labels_may_change() {
    let namespace = namespace();
    let mut object = revocation("ban", &namespace);
    set(&mut object["spec"], "cutoff", &json!("Always"));
    set(&mut object["spec"], "expiresAt", &json!("2026-12-01T00:00:00Z"));
    create(&object);
    for end in ["2026-12-01T01:00:00+01:00", "2026-12-02T00:00:00.5Z", "9999-12-31T23:59:59Z"] {
        let patch = json!({"spec": {"expiresAt": end}}).to_string();
        kubectl(&namespace, &["patch", "rvk", "ban", "--type=merge", "--patch", &patch]);
        assert_eq!(get(&namespace, "ban")["spec"]["expiresAt"], end);
    }
    kubectl(&namespace, &["label", "rvk", "ban", "team=support"]);
}

/// A null is what a template leaves of a value that is missing.
#[test]
fn null_is_the_same_as_leaving_out_where_leaving_out_is_allowed() {
    let namespace = namespace();
    let mut object = revocation("nulls", &namespace);
    for member in ["cutoff", "expiresAt", "reason", "message", "compareWith"] {
        set(&mut object["spec"], member, &json!(null));
    }
    create(&object);
    let read = serde_json::from_value(get(&namespace, "nulls")["spec"].clone()).unwrap();
    assert_eq!(target::read(&read).unwrap().cutoff, None);
    // The object is not stuck: a client that leaves the nulls out changes nothing.
    patch_status(&namespace, "revocation", "nulls", &json!({"target": "subject alice"}));
    let plane = cluster();
    let replace = ["replace", "--filename=-"];
    let mut stored = get(&namespace, "nulls");
    for member in ["cutoff", "expiresAt", "reason", "message"] {
        set(&mut stored["spec"], member, &json!(ABSENT));
    }
    done(&plane.kubectl_with(plane.kubeconfig(), &replace, &stored.to_string()));
}

/// Else an object would be stored that no controller can read.
#[test]
fn the_controller_reads_every_time_that_the_schema_accepts() {
    let namespace = namespace();
    let accepted = [
        "1970-01-01T00:00:00Z",
        "2026-11-21T10:00:00.123456789Z",
        "2026-11-21T10:00:00+14:00",
        "2024-02-29T23:59:59-00:00",
        "9998-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59Z",
    ];
    let refused = [
        "1970-01-01T00:00:00+00:01",
        "2026-11-21T10:00:00.1234567890Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T23:59:60Z",
        "2025-02-29T00:00:00Z",
        "2026-11-21 10:00:00Z",
        "2026-11-21T10:00Z",
        "+2026-11-21T10:00:00Z",
        "2026-11-21T10:00:00Z ",
        "20261121T100000Z",
        "always",
    ];
    for (time, accepts) in
        accepted.map(|time| (time, true)).into_iter().chain(refused.map(|time| (time, false)))
    {
        let mut object = revocation("time", &namespace);
        set(&mut object["spec"], "cutoff", &json!(time));
        set(&mut object["spec"], "expiresAt", &json!(time));
        let arguments = ["create", "--dry-run=server", "--filename=-"];
        let output = cluster().kubectl_with(cluster().kubeconfig(), &arguments, &object.to_string());
        assert_eq!(output.status.success(), accepts, "{time}");
        let read = target::read(&serde_json::from_value(object["spec"].clone()).unwrap());
        assert!(read.is_ok() || !accepts, "{time}: {read:?}");
    }
}

#[test]
fn a_private_key_is_not_stored_even_where_unknown_fields_are_not_refused() {
    let namespace = namespace();
    let mut object = list("shop", &namespace);
    set(&mut object["spec"], "issuers.0.verification.keys.0.d", &json!("private"));
    let arguments = ["create", "--validate=ignore", "--filename=-"];
    done(&cluster().kubectl_with(cluster().kubeconfig(), &arguments, &object.to_string()));
    let stored = kubectl(&namespace, &["get", "trl", "shop", "--output=json"]);
    assert!(stored.contains("x_FEzRu9") && !stored.contains("private"));
}

/// A rule that comes later must not keep the controller from reporting about objects that came before it.
#[test]
fn an_object_from_before_a_rule_still_gets_its_status() {
    let mut today = serde_json::to_value(definition::revocation()).unwrap();
    // A kind of another group with the same schema, so that the other tests keep theirs.
    set(&mut today["metadata"], "name", &json!("formers.before.example.com"));
    set(&mut today["spec"], "group", &json!("before.example.com"));
    set(&mut today["spec"], "names", &json!({"kind": "Former", "plural": "formers", "singular": "former"}));
    let mut before = today.clone();
    remove_rules(&mut before);
    define(&before);

    let namespace = namespace();
    let mut object = revocation("old", &namespace);
    set(&mut object, "kind", &json!("Former"));
    set(&mut object, "apiVersion", &json!("before.example.com/v1alpha1"));
    set(&mut object["spec"], "target", &json!({"subject": "alice\n", "client": null}));
    set(&mut object["spec"], "cutoff", &json!("2026-11-21t10:00:00z"));
    set(&mut object["spec"], "expiresAt", &json!("soon"));
    set(&mut object["spec"], "reason", &json!("two words"));
    crate::cluster::wait_until("the kind is served", || {
        let arguments = ["create", "--filename=-"];
        cluster().kubectl_with(cluster().kubeconfig(), &arguments, &object.to_string()).status.success()
    });
    define(&today);
    // The rules are in force as soon as a new object is refused.
    set(&mut object["metadata"], "name", &json!("new"));
    crate::cluster::wait_until("the rules are in force", || {
        let arguments = ["create", "--dry-run=server", "--filename=-"];
        !cluster().kubectl_with(cluster().kubeconfig(), &arguments, &object.to_string()).status.success()
    });
    patch_status(&namespace, "formers.before.example.com", "old", &json!({"target": "subject alice"}));
    kubectl(&namespace, &["label", "formers.before.example.com", "old", "seen=yes"]);
}

fn define(definition: &Value) {
    let plane = cluster();
    let arguments = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
    done(&plane.kubectl_with(plane.kubeconfig(), &arguments, &definition.to_string()));
}

fn remove_rules(value: &mut Value) {
    if let Value::Object(members) = value {
        for rule in ["x-kubernetes-validations", "oneOf", "maxLength", "minLength", "pattern"] {
            members.remove(rule);
        }
        members.values_mut().for_each(remove_rules);
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(remove_rules);
    }
}

#[test]
fn the_examples_lists_are_accepted() {
    done(&cluster().kubectl(&["apply", "--filename", &in_project("examples/lists.yaml")]));
}
