//! Objects are created, listed and deleted.

use serde_json::{Value, json};

use super::{Place, Seen, finish};

#[test]
fn a_named_revocation_is_repeated_safely_and_never_overwritten() {
    let place = Place::new();
    let run = |arguments: &str| place.run(&format!("{arguments} --wait=false --name ticket-1"));
    assert_eq!(run("subject alice -o name").done(), "revocation/ticket-1\n");
    let uid = place.get("ticket-1")["metadata"]["uid"].clone();
    assert_eq!(run("subject alice -o name --cutoff now").done(), "revocation/ticket-1\n");
    assert_eq!(place.get("ticket-1")["metadata"]["uid"], uid);
    run("subject bob").refused(&format!(
        "error: namespace {} has another revocation named ticket-1: choose another name\n",
        place.namespace
    ));
}

#[test]
fn a_dry_run_stores_nothing_and_its_object_can_be_given_to_kubectl() {
    let place = Place::new();
    let text = place.run("subject alice --dry-run").done();
    assert!(text.starts_with("revocation would be created; nothing is stored (dry run)\n"), "{text}");
    let yaml = place.run("subject alice --dry-run=client --cutoff 2026-11-21T10:00:00Z").done();
    assert_eq!(place.names(), Vec::<String>::new());
    let kubeconfig = place.plane.kubeconfig();
    Seen::from(place.plane.kubectl_with(kubeconfig, &["apply", "-f", "-"], &yaml)).done();
    let names = place.names();
    let [name] = names.as_slice() else { panic!("{names:?}") };
    let object = place.get(name);
    assert_eq!(object["spec"]["target"], json!({"subject": "alice"}));
    assert_eq!(object["spec"]["cutoff"], "2026-11-21T10:00:00Z");
    let json: Value = serde_json::from_str(&place.run("client web --dry-run=client -o json").done()).unwrap();
    assert_eq!(json["kind"], "Revocation");
    assert_eq!(json["spec"]["target"], json!({"client": "web"}));
}

/// Who presents a token may end it, and nobody ends another's by making one up.
#[test]
fn a_presented_token_is_verified_before_its_identifier_is_taken() {
    let place = Place::new();
    let token = place.keys.token(&json!({"jti": "t1"}));
    let name = place.run_with("token --wait=false -o name", &token).done();
    let object = place.get(name.trim().trim_start_matches("revocation/"));
    assert_eq!(object["spec"]["target"], json!({"token": "t1"}));
    assert!(!object.to_string().contains(&token), "{object}");
    let forged = place.keys.stranger.sign(&crate::support::issue::claims(&json!({"jti": "t2"}))).unwrap();
    place.run_with("token --wait=false", &forged).refused(
        "error: the token is refused: BAD_SIGNATURE; compare the token's kid and alg with \
         spec.issuers[].verification.keys of the list: the issuer may have changed its keys\n",
    );
    assert_eq!(place.names().len(), 1);
}

#[test]
fn of_an_opaque_token_the_object_holds_the_hash_only() {
    let place = Place::new();
    let name = place.run_with("token --opaque --wait=false -o name", "session-id-4711\n").done();
    let object = place.get(name.trim().trim_start_matches("revocation/"));
    let hash = "ff75740e2ea4440707f279805567cdd940302c30015043db400996d561d3213c";
    assert_eq!(object["spec"]["target"], json!({"opaqueTokenSha256": hash}));
    assert!(!object.to_string().contains("session-id"), "{object}");
}

#[test]
fn a_revocation_is_lifted_by_name_or_by_uid_and_only_once() {
    let place = Place::new();
    for (name, subject) in [("one", "alice"), ("two", "bob")] {
        place.run(&format!("subject {subject} --wait=false --name {name}")).done();
    }
    for flag in ["--dry-run=server", "--dry-run=client"] {
        let text = place.run(&format!("undo one {flag}")).done();
        let expected = format!(
            "one (subject alice, list {}/shop) would be lifted; nothing is changed (dry run)\n",
            place.namespace
        );
        assert_eq!(text, expected);
    }
    place.run("undo one --list other").refused("error: one is of list shop, not of other\n");
    assert_eq!(place.names(), ["one", "two"]);
    let text = place.run("undo one").done();
    assert!(text.starts_with("one (subject alice, list "), "{text}");
    assert!(text.contains("/shop) lifted\nWhat it denied passes again"), "{text}");
    let uid = place.get("two")["metadata"]["uid"].as_str().unwrap().to_owned();
    assert_eq!(place.run(&format!("undo {uid} -o name")).done(), "revocation/two\n");
    assert_eq!(place.names(), Vec::<String>::new());
    place.run("undo two").refused(&format!(
        "error: namespace {} has no such revocation two: it was lifted, has expired, or never was; \
         `rescind list` shows what is in force\n",
        place.namespace
    ));
}

/// What the controllers write beside revocations, and what is over, is nobody's business.
#[test]
fn only_live_revocations_are_listed_and_the_controllers_own_objects_are_left_alone() {
    let place = Place::new();
    let beat = |kind: &str| {
        json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
            "metadata": {"name": kind.to_lowercase(), "namespace": place.namespace},
            "spec": {"target": {"heartbeat": {"replica": "a0", "kind": kind}}},
        })
    };
    place.apply(&beat("Pulse"));
    assert_eq!(place.run("list").err, "no revocations\n");
    place
        .run("undo pulse")
        .refused("error: pulse is an object of the controllers' own, and revokes nothing: leave it\n");
    for (name, subject) in [("one", "alice"), ("two", "bob"), ("three", "carol")] {
        place.run(&format!("subject {subject} --wait=false --name {name} --reason LostDevice")).done();
    }
    place.say("two", &[("Accepted", "False", "No.")], &json!(null));
    place.say("three", &[("Expired", "True", ".")], &json!(null));
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .map(|line| {
                line.split("   ").map(|cell| cell.trim().to_owned()).filter(|c| !c.is_empty()).collect()
            })
            .collect()
    };
    let table = rows(&place.run("list").done());
    assert_eq!(table[0], ["NAME", "TARGET", "LIST", "CUTOFF", "ENFORCED", "AGE", "REASON"]);
    let list = format!("{}/shop", place.namespace);
    assert_eq!(table[1][..3], ["one", "subject alice", &list]);
    assert_eq!((table[1][4].as_str(), table[2][4].as_str()), ("Unknown", "Refused"));
    assert_eq!(table.len(), 3);
    assert!(place.run("list --list other").err.contains("no revocations"));
    let json: Value = serde_json::from_str(&place.run("list --list shop -o json").done()).unwrap();
    let names: Vec<&str> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn pages_lead_through_all_revocations_of_all_namespaces() {
    let place = Place::new();
    let object = |number: usize| {
        json!({
            "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
            "metadata": {"name": format!("n-{number:03}"), "namespace": place.namespace},
            "spec": {"listName": "shop", "issuer": "https://id.example.com", "target": {"token": format!("t{number}")}},
        })
    };
    let items: Vec<Value> = (0..501).map(object).collect();
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
    assert_eq!(place.run("list -o name").done().lines().count(), 501);
    let mut everywhere = super::rescind(place.home.path());
    everywhere.env("KUBECONFIG", place.plane.kubeconfig()).args(["list", "-A", "-o", "name"]);
    assert!(finish(everywhere, "").done().lines().count() >= 501);
}

#[test]
fn status_tells_of_lists_and_of_what_replicas_report() {
    let place = Place::new();
    let list = json!({"status": {"entries": 3, "subscribers": 2, "version": "1/7", "conditions": [{
        "type": "Ready", "status": "True", "reason": "Served", "message": ".",
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    }]}});
    place.kubectl(&format!("patch trl shop --subresource=status --type=merge -p {}", list));
    place.apply(&json!({
        "apiVersion": "rescind.dev/v1alpha1", "kind": "Revocation",
        "metadata": {"name": "report-a0", "namespace": place.namespace},
        "spec": {"target": {"heartbeat": {"replica": "a0", "kind": "Report"}}},
    }));
    let report = json!({"status": {"heartbeat": {"lists": [
        {"namespace": place.namespace, "name": "shop", "subscribers": 2, "connected": 1, "lowest": "1/5"},
    ]}}});
    place.kubectl(&format!("patch rvk report-a0 --subresource=status --type=merge -p {}", report));
    let text = place.run(&format!("status --controllers {}", place.namespace)).done();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let list = format!("{}/shop", place.namespace);
    assert_eq!(lines[1][..5], [list.as_str(), "True", "3", "2", "1/7"], "{text}");
    assert_eq!(lines[4][0], "a0", "{text}");
    assert_eq!((lines[4][1], &lines[4][4..]), ("Proving", &[list.as_str(), "2", "1", "1/5"][..]), "{text}");
    let json: Value =
        serde_json::from_str(&place.run(&format!("status -o json --controllers {}", place.namespace)).done())
            .unwrap();
    assert_eq!(json["replicas"][0]["replica"], "a0");
    assert_eq!(json["lists"][0]["entries"], 3);
    // Who may see the lists need not see the controllers.
    place.kubectl("create role lists --verb=get,list --resource=tokenrevocationlists.rescind.dev");
    place.kubectl("create rolebinding lists --role=lists --user=viewer");
    let seen = finish(place.command(&place.plane.kubeconfig_as("viewer", &[]), "status"), "");
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.out.contains(&list) && !seen.out.contains("No sidecars"), "{seen:?}");
    let warnings = ["the replicas can't be shown: ", "the sidecars can't be shown: "];
    assert!(seen.err.lines().zip(warnings).all(|(line, text)| line.contains(text)), "{seen:?}");
    assert_eq!(seen.err.lines().count(), 2, "{seen:?}");
}
