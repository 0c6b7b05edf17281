//! Objects with pods in them.

use serde_json::{Value, json};

use super::{CONTAINER, settings};
use crate::injection::pod::Why;
use crate::injection::workload::{Destination, Seen, inject};

const DESTINATION: Destination<'_> = Destination { namespace: "default", controllers: "rescind-system" };

fn template() -> Value {
    json!({
        "metadata": {"annotations": {"rescind.dev/lists": "shop"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app"}]},
    })
}

fn object(api_version: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": spec})
}

fn seen(object: &str, left: Option<Why>) -> Seen {
    Seen { object: object.to_owned(), left }
}

#[test]
fn every_kind_with_pods_is_injected_where_its_pods_are_described() {
    let template = template();
    let within = json!({"template": template});
    let cases = [
        ("apps/v1", "Deployment", within.clone(), "/spec/template"),
        ("apps/v1", "StatefulSet", within.clone(), "/spec/template"),
        ("apps/v1", "DaemonSet", within.clone(), "/spec/template"),
        ("apps/v1", "ReplicaSet", within.clone(), "/spec/template"),
        ("batch/v1", "Job", within.clone(), "/spec/template"),
        ("batch/v1", "CronJob", json!({"jobTemplate": {"spec": within}}), "/spec/jobTemplate/spec/template"),
    ];
    for (api_version, kind, spec, path) in cases {
        let before = object(api_version, kind, spec);
        let mut after = before.clone();
        assert_eq!(
            inject(&mut after, DESTINATION, &settings()),
            Ok(vec![seen(&format!("{kind} shop/x"), None)])
        );
        let pod = after.pointer_mut(path).unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], CONTAINER);
        assert_eq!(pod["spec"]["initContainers"][0]["args"][1], "--list=shop/shop");
        // An init container that goes on lets a Job complete.
        assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], "Always");
        assert_eq!(pod["spec"]["restartPolicy"], "Never");
        *pod = template.clone();
        assert_eq!(after, before, "something else was changed");
    }
}

#[test]
fn what_has_no_pods_is_left_and_a_list_is_gone_through() {
    let service = object("v1", "Service", json!({"ports": []}));
    let foreign = object("example.com/v1", "Deployment", json!({"template": template()}));
    let mut disabled = template();
    disabled["metadata"]["labels"] = json!({"rescind.dev/inject": "disabled"});
    let disabled = object("apps/v1", "Deployment", json!({"template": disabled}));
    let job = object("batch/v1", "Job", json!({"template": template()}));
    let mut list = json!({"apiVersion": "v1", "kind": "List", "items": [service, foreign, disabled, job]});
    let before = list.clone();
    let expected = vec![seen("Deployment shop/x", Some(Why::Disabled)), seen("Job shop/x", None)];
    assert_eq!(inject(&mut list, DESTINATION, &settings()), Ok(expected));
    assert_eq!(list["items"].as_array().unwrap()[..3], before["items"].as_array().unwrap()[..3]);
    assert_ne!(list["items"][3], before["items"][3]);
}

#[test]
fn a_refusal_names_the_object_and_where_it_is() {
    let mut template = template();
    template["metadata"]["annotations"]["rescind.dev/bound"] = json!("soon");
    let job = object("batch/v1", "Job", json!({"template": template}));
    let mut list = json!({"apiVersion": "v1", "kind": "List", "items": [job]});
    let refused = inject(&mut list, DESTINATION, &settings()).unwrap_err();
    assert!(
        refused.to_string().starts_with("Job shop/x: annotation rescind.dev/bound is \"soon\": "),
        "{refused}"
    );
    let path = ["items", "0", "spec", "template", "metadata", "annotations", "rescind.dev/bound"];
    assert_eq!(refused.path, path);
}

#[test]
fn an_object_without_a_namespace_goes_where_it_is_applied_to() {
    let mut pod = template();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["generateName"] = json!("x-");
    assert_eq!(inject(&mut pod, DESTINATION, &settings()), Ok(vec![seen("Pod default/x-", None)]));
    assert_eq!(pod["spec"]["initContainers"][0]["args"][1], "--list=default/shop");
    let own = Destination { namespace: "rescind-system", ..DESTINATION };
    assert_eq!(inject(&mut pod, own, &settings()).unwrap()[0].left, Some(Why::Namespace));
}
