//! A revocation is waited for until its status says that it is over.

use serde_json::json;

use super::{Place, Seen};

#[test]
fn a_revocation_is_created_and_waited_for_until_its_status_says_enforced() {
    let place = Place::new();
    let (child, name) = place.start("subject alice --reason LostDevice --message laptop --timeout 120s");
    assert!(name.starts_with("r-") && name.len() == 12, "{name}");
    let object = place.get(&name);
    assert_eq!(object["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "rescind"}));
    assert_eq!(
        object["spec"],
        json!({
            "listName": "shop", "issuer": "https://id.example.com", "target": {"subject": "alice"},
            "compareWith": "IssueTime", "reason": "LostDevice", "message": "laptop",
        })
    );
    let counts = |applied| json!({"subscribers": 3, "applied": applied, "away": 0, "elapsedMilliseconds": 7});
    place.say(&name, &[("Accepted", "True", "."), ("Enforced", "False", ".")], &counts(1));
    let told = json!({"status": {"admitsFrom": "2099-01-01T00:00:00Z"}});
    place.kubectl(&format!("patch rvk {name} --subresource=status --type=merge -p {told}"));
    place.say(&name, &[("Accepted", "True", "."), ("Enforced", "True", ".")], &counts(3));
    let seen = Seen::from(child.wait_with_output().unwrap());
    assert_eq!(seen.code, 0, "{seen:?}");
    let lines: Vec<&str> = seen.out.lines().collect();
    assert_eq!(lines[0], format!("{name} created"));
    assert_eq!(lines[1], "  target       subject alice");
    assert_eq!(lines[2], format!("  list         {}/shop", place.namespace));
    // Its cutoff is the second of its creation, and the skew of the list is one.
    let created = object["metadata"]["creationTimestamp"].as_str().unwrap();
    assert_eq!(lines[4], format!("  cutoff       {created} (issue time)"));
    assert!(lines[5].starts_with("  admits from  "), "{lines:?}");
    assert!(seen.out.contains("lock the account at the issuer first, then revoke"), "{seen:?}");
    let told = "\n  admits from  2099-01-01T00:00:00Z (as the controller says)\n";
    assert!(seen.out.contains(told), "{seen:?}");
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("enforced after ") && last.ends_with(": 3 of 3 sidecars have applied it"),
        "{last}"
    );
}

#[test]
fn what_is_not_enforced_in_time_is_2_and_stays() {
    let place = Place::new();
    let seen = place.run("subject alice --timeout 3s --name ticket-1");
    assert_eq!(seen.code, 2, "{seen:?}");
    assert!(seen.out.starts_with("ticket-1 created\n") && !seen.out.contains("enforced"), "{seen:?}");
    let lines: Vec<&str> = seen.err.lines().collect();
    let [first, .., last] = lines[..] else { panic!("{seen:?}") };
    assert!(
        first.starts_with("waiting for ") && first.ends_with(" s: no controller has looked at it"),
        "{first}"
    );
    assert_eq!(
        last,
        "warning: ticket-1 is created and stays in force, but it was not enforced within 3 s: \
         no controller has looked at it; `rescind status` shows who lags"
    );
    let counts = json!({"subscribers": 3, "applied": 1, "away": 0, "elapsedMilliseconds": 0});
    place.say("ticket-1", &[("Accepted", "True", "."), ("Enforced", "False", ".")], &counts);
    let seen = place.run("subject alice --timeout 3s --name ticket-1 -o json");
    assert_eq!(seen.code, 2, "{seen:?}");
    assert!(seen.err.contains("within 3 s: 1 of 3 sidecars have applied it;"), "{seen:?}");
    let answer: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(answer["revocation"]["status"]["enforcement"], counts);
    assert_eq!(answer["revocation"]["metadata"]["managedFields"], json!(null));
    assert_eq!(place.names(), ["ticket-1"]);
}

#[test]
fn what_the_controller_does_not_accept_is_1_with_its_words() {
    let place = Place::new();
    let (child, name) = place.start("subject alice --timeout 120s");
    place.say(&name, &[("Accepted", "False", "The store is full.")], &json!(null));
    let seen = Seen::from(child.wait_with_output().unwrap());
    assert_eq!(seen.code, 1, "{seen:?}");
    let expected =
        format!("error: {name} is not in force: the controller does not accept it: The store is full\n");
    assert!(seen.err.ends_with(&expected), "{seen:?}");
}

#[test]
fn what_is_deleted_meanwhile_or_replaced_by_a_namesake_is_1() {
    let place = Place::new();
    let (child, name) = place.start("subject alice --timeout 120s");
    place.kubectl(&format!("delete revocation {name}"));
    // It is enforced, and is another one.
    place.run(&format!("subject alice --wait=false --name {name}")).done();
    place.say(&name, &[("Accepted", "True", "."), ("Enforced", "True", ".")], &json!(null));
    let seen = Seen::from(child.wait_with_output().unwrap());
    assert_eq!(seen.code, 1, "{seen:?}");
    let expected = format!("error: {name} is not in force: it was deleted meanwhile, which lifts it\n");
    assert!(seen.err.ends_with(&expected), "{seen:?}");
}

#[test]
fn who_waits_for_what_is_enforced_already_does_not_wait_and_of_what_has_expired_hears_so() {
    let place = Place::new();
    place.run("subject alice --wait=false --name ticket-1").done();
    place.say("ticket-1", &[("Accepted", "True", "."), ("Enforced", "True", ".")], &json!(null));
    assert!(place.run("subject alice --name ticket-1").done().contains("\nenforced after "));
    let expired = [("Enforced", "True", "."), ("Expired", "True", "Its last token has expired.")];
    place.say("ticket-1", &expired, &json!(null));
    let seen = place.run("subject alice --name ticket-1");
    assert_eq!(seen.code, 1, "{seen:?}");
    let expected =
        "error: ticket-1 is not in force: it has expired and denies nothing: Its last token has expired\n";
    assert_eq!(seen.err, expected);
}

#[test]
fn who_may_create_but_not_look_gets_2() {
    let place = Place::new();
    let creator = place.plane.kubeconfig_as("creator", &[]);
    place.kubectl("create role creator --verb=create --resource=revocations.rescind.dev");
    place.kubectl("create role lists --verb=get,list --resource=tokenrevocationlists.rescind.dev");
    place.kubectl("create rolebinding creator --role=creator --user=creator");
    place.kubectl("create rolebinding lists --role=lists --user=creator");
    let seen = super::finish(place.command(&creator, "subject alice"), "");
    assert_eq!(seen.code, 2, "{seen:?}");
    assert!(seen.err.contains("but whether it is enforced can't be told: you may not do this: "), "{seen:?}");
    assert!(
        seen.err.contains("it takes the verb get on revocations.rescind.dev in namespace cli-"),
        "{seen:?}"
    );
}
