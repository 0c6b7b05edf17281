use serde_json::{Value, json};

use super::*;
use crate::cli::console::Surface;

/// A pod as injection and a kubelet make it.
fn pod() -> Value {
    json!({
        "metadata": {"name": "web-1", "namespace": "shop", "annotations": {"rescind.dev/injected": "0.1.0"}},
        "spec": {
            "initContainers": [{
                "name": "rescind-sidecar",
                "ports": [{"name": "rescind-probes", "containerPort": 7404}],
            }],
            "containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 80}]}],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.7",
            "initContainerStatuses": [status(&json!({"running": {}}))],
            "containerStatuses": [],
        },
    })
}

fn status(state: &Value) -> Value {
    json!({
        "name": "rescind-sidecar", "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
        "state": state,
    })
}

fn injected(at: &str, value: Value) -> Option<Injected> {
    let mut pod = pod();
    if !at.is_empty() {
        *pod.pointer_mut(at).unwrap() = value;
    }
    Injected::of(&serde_json::from_value(pod).unwrap())
}

fn ask(absent: Option<&str>) -> Injected {
    Injected {
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        port: 7404,
        absent: absent.map(ToOwned::to_owned),
    }
}

fn told() -> Told {
    let known = |is_fresh, age_milliseconds, version: Option<&str>| Known {
        is_fresh,
        age_milliseconds,
        version: version.map(ToOwned::to_owned),
    };
    let lists = [
        ("bank/bank", known(false, Some(61_000), Some("1/6"))),
        ("other/other", known(true, Some(7), Some("1/6"))),
        ("shop/new", known(false, None, None)),
        ("shop/shop", known(true, Some(432), Some("1/9"))),
    ];
    Told {
        program: "0.1.0".to_owned(),
        is_connected: true,
        lists: lists.map(|(list, known)| (list.to_owned(), known)).into(),
    }
}

fn judged(rows: Vec<Sidecar>) -> Vec<Sidecar> {
    let versions = [("bank/bank", "1/7"), ("shop/new", "1/7"), ("shop/shop", "1/7")];
    let versions = versions.map(|(list, version)| (list.to_owned(), version.to_owned())).into();
    let mut rows = rows;
    rows.iter_mut().for_each(|row| row.judge(&versions));
    rows
}

#[test]
fn pods_with_the_mark_or_the_container_are_asked_where_the_container_says() {
    assert_eq!(injected("", Value::Null), Some(ask(None)));
    assert_eq!(injected("/metadata/annotations", json!({})), Some(ask(None)));
    let other = injected("/spec/initContainers/0/ports/0/containerPort", json!(9404)).unwrap();
    assert_eq!(other.port, 9404);
    // Another port of it is not meant.
    let unnamed = json!([{"name": "other", "containerPort": 9404}]);
    let unnamed = injected("/spec/initContainers/0/ports", unnamed).unwrap();
    assert_eq!(unnamed.port, 7404);
    let mut plain = pod();
    plain["metadata"]["annotations"] = json!({});
    plain["spec"]["initContainers"] = json!([]);
    assert_eq!(Injected::of(&serde_json::from_value(plain).unwrap()), None);
    // What has ended has no sidecar any more.
    assert_eq!(injected("/status/phase", json!("Succeeded")), None);
}

#[test]
fn a_sidecar_that_does_not_run_is_not_asked_and_it_is_said_why() {
    let check = |at: &str, value: Value, expected: &str| {
        assert_eq!(injected(at, value).unwrap().absent.as_deref(), Some(expected), "{at}");
    };
    let state = "/status/initContainerStatuses/0/state";
    check("/status/podIP", Value::Null, "its pod is Running, and has no address");
    check("/status", json!({"phase": "Pending"}), "its pod is Pending");
    check(state, json!({}), "its pod is Running");
    check(
        state,
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        "its pod is Running, the container waits: CrashLoopBackOff",
    );
    let ended = json!({"terminated": {"exitCode": 1}});
    check(state, ended, "its pod is Running, the container has ended with code 1");
    check("/spec/initContainers", json!([]), "its pod is marked, and has no container rescind-sidecar");
}

#[test]
fn every_list_of_a_sidecar_has_a_row_and_whoever_tells_nothing_has_one_too() {
    let rows = ask(None).rows(Ok(told()));
    let unread = || Err(Unread::Failed("no answer\nwithin 3 s".to_owned()));
    let others = (2..9).flat_map(|n| Injected { name: format!("web-{n}"), ..ask(None) }.rows(unread()));
    let absent = ask(Some("its pod is Pending")).rows(unread());
    let forbidden = ask(None).rows(Err(Unread::Forbidden));
    let rows = judged(rows.into_iter().chain(others).chain(absent).chain(forbidden).collect());
    assert_eq!(
        sidecar_table(&rows),
        "SIDECAR      LIST          STATE        AGE      VERSION   LAG          CONNECTED   PROGRAM\n\
         shop/web-1   bank/bank     Stale        61s      1/6       behind       yes         0.1.0\n\
         shop/web-1   other/other   Fresh        7 ms     1/6       -            yes         0.1.0\n\
         shop/web-1   shop/new      Unproven     -        -         everything   yes         0.1.0\n\
         shop/web-1   shop/shop     Fresh        432 ms   1/9       none         yes         0.1.0\n"
            .to_owned()
            + &(2..9).map(|n| silent(n, "Unread")).collect::<String>()
            + &silent(1, "NotRunning")
            + &silent(1, "Forbidden")
    );
    let console = Console::new(
        (Surface::Plain, Box::new(std::io::sink())),
        (Surface::Plain, Box::new(std::io::sink())),
        Box::new(std::io::empty()),
    );
    assert_eq!(
        problems(&rows, &console),
        "Sidecars that tell nothing\n\
         shop/web-1: its pod is Pending\n\
         shop/web-2, shop/web-3, shop/web-4, shop/web-5, shop/web-6 and 2 more: no answer\\nwithin 3 s\n"
    );
    assert_eq!(problems(&rows[..4], &console), "");
    assert_eq!(sidecar_table(&[]), "No sidecars.\n");
    assert_eq!(
        (count(&rows[..4], "shop/shop"), count(&rows, "shop/shop"), followed(&rows).len()),
        (1, 10, 4)
    );
}

fn silent(number: u32, state: &str) -> String {
    format!("shop/web-{number}   -             {state:<10}   -        -         -            -           -\n")
}

#[test]
fn machines_read_rows_in_the_words_of_the_admin_api() {
    let rows = judged(ask(None).rows(Ok(told())));
    assert_eq!(
        serde_json::to_value(&rows[0]).unwrap(),
        json!({
            "identity": "shop/web-1", "list": "bank/bank", "state": "Stale", "ageMilliseconds": 61_000,
            "version": "1/6", "lag": "Behind", "connected": true, "program": "0.1.0", "problem": null,
        })
    );
    let long = ask(None).rows(Err(Unread::Failed("x".repeat(1_000))));
    assert_eq!(long[0].problem.as_ref().unwrap().chars().count(), MOST_SAID);
}
