//! Manifests that are given the sidecar without a cluster.

use super::*;
use crate::api::manifest;

const DEPLOYMENT: &str = "\
# A comment.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata:
      annotations: {rescind.dev/lists: shop}
    spec:
      containers:
        - name: app
          image: app:1
          env:
            - {name: TEXT, value: \"yes\"}
            - {name: OCTAL, value: \"0644\"}
            - {name: NUMBER, value: \"1e3\"}
            - name: LINES
              value: |
                one
                  two
      volumes:
        - name: c
          configMap: {name: c, defaultMode: 0640}
";
const SERVICE: &str =
    "apiVersion: v1\nkind: Service   # kept\nmetadata: {name: web}\nspec: {on: [0x10, yes]}\n";

async fn inject(arguments: &str, input: &str) -> Seen {
    let arguments: Vec<&str> =
        ["inject", "-f", "-"].into_iter().chain(arguments.split_whitespace()).collect();
    run_alone(&arguments, input).await
}

#[tokio::test]
async fn what_has_pods_is_injected_and_all_else_comes_out_as_it_went_in() {
    let seen = inject("--image s:1", &format!("{SERVICE}---\n# nothing\n---\n{DEPLOYMENT}")).await;
    assert_eq!((seen.exit, seen.err.as_str()), (Exit::Done, "note: Deployment shop/web is injected\n"));
    let (service, deployment) = seen.out.split_once("---\n").unwrap();
    assert_eq!(service, SERVICE);
    let [mut after, before] = [deployment, DEPLOYMENT].map(|text| manifest::value("", text).unwrap());
    let pod = &mut after["spec"]["template"];
    assert_eq!(pod["spec"]["initContainers"][0]["image"], "s:1");
    assert_eq!(pod["spec"]["volumes"][0]["configMap"]["defaultMode"], 0o640);
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.remove("initContainers");
    spec["volumes"].as_array_mut().unwrap().truncate(1);
    spec["containers"][0].as_object_mut().unwrap().remove("volumeMounts");
    pod["metadata"]["annotations"].as_object_mut().unwrap().remove("rescind.dev/injected");
    assert_eq!(after, before, "something else was changed");
}

#[tokio::test]
async fn what_comes_out_may_go_in_again() {
    let once = inject("--image s:1", DEPLOYMENT).await.out;
    assert_eq!(inject("--image s:1", &once).await.out, once);
    let json = inject("--image s:1 -o json", DEPLOYMENT).await.out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value, manifest::value("", &once).unwrap());
    assert_eq!(inject("--image s:1", &json).await.out, json);
}

#[tokio::test]
async fn flags_stand_in_for_the_settings_and_go_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("injection.yaml");
    std::fs::write(&file, "image: s:1\ncontrollers: [https://a:1]\nlogLevel: warn\n").unwrap();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: app}]}}";
    let flags = format!("--injection {} --controller https://b:2 --list all -n other", file.display());
    let seen = inject(&flags, pod).await;
    assert_eq!(seen.exit, Exit::Done, "{}", seen.err);
    for part in ["s:1", "--controller=https://b:2", "--list=other/all", "warn"] {
        assert!(seen.out.contains(part), "{part} in {}", seen.out);
    }
    assert!(!seen.out.contains("https://a:1"));
    let seen = inject("--image s:1 --list all --controllers own", pod).await;
    assert!(seen.out.contains("--controller=https://rescind-controller.own.svc:7401"), "{}", seen.out);
    let seen = inject("--image s:1 --controllers default", pod).await;
    assert!(
        seen.out == format!("{pod}\n") && seen.err.contains("Pod default/a is left as it is: no pod"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_with_file_and_line_and_nothing_is_written() {
    let check = async |flags: &str, input: &str, expected: &str| {
        let seen = inject(flags, input).await;
        assert_eq!((seen.exit, seen.out.as_str()), (Exit::Failed, ""), "{}", seen.err);
        assert!(seen.err.starts_with(&format!("error: {expected}")), "{}", seen.err);
    };
    let wrong = DEPLOYMENT.replace("rescind.dev/lists: shop", "rescind.dev/list: shop");
    let said = "standard input:13: Deployment shop/web: annotation rescind.dev/list is not known: rescind.dev/lists, ";
    check("--image s:1", &format!("{SERVICE}---\n{wrong}"), said).await;
    check("--image s:1", "a: [", "standard input:1: ").await;
    check("--image s:1", "- a\n", "standard input:1: this is no object").await;
    check("--image s:1 --controller http://c", DEPLOYMENT, "the flags make no settings: controllers[0]: is")
        .await;
    check("--injection /does/not/exist", DEPLOYMENT, "can't read /does/not/exist").await;
    check("", DEPLOYMENT, "the following required arguments").await;
}
