//! The story: a revocation is an object, `Enforced` is a fact, and a deletion lifts.

use serde_json::{Value, json};

use crate::cluster::in_project;
use crate::lab::{BOUND, Lab, NAMESPACE, PATIENCE, RELAXED_BOUND};
use crate::objects::{list, of, revocation};
use crate::rounds::rounds_until_enforced;
use crate::support::http1::{Ask, ask_unix};
use crate::support::issue::now;
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::upstream::Upstream;
use crate::support::wait::wait_for;

const WAIT: [&str; 4] = ["--for=condition=Enforced", "--timeout=60s", "--namespace", NAMESPACE];

/// Everything that the status says of one that all sidecars have.
fn check_applied(object: &Value, subject: &str, sidecars: u64) {
    let status = &object["status"];
    for condition in ["Accepted", "Enforced", "Ready"] {
        let condition = of(object, condition);
        assert_eq!(condition["status"], "True", "{object}");
        assert_eq!(condition["observedGeneration"], object["metadata"]["generation"], "{object}");
    }
    assert_eq!(of(object, "Enforced")["reason"], "AllApplied", "{object}");
    let counts = &status["enforcement"];
    assert_eq!(
        (counts["subscribers"].as_u64(), counts["applied"].as_u64()),
        (Some(sidecars), Some(sidecars))
    );
    assert_eq!(counts["away"], 0);
    assert!(counts["elapsedMilliseconds"].as_u64().is_some(), "{object}");
    assert_eq!(status["target"], format!("subject {subject}"));
    // Tokens of the second of creation are refused, and those of one second of skew.
    let created = time(&object["metadata"]["creationTimestamp"]);
    assert_eq!(time(&status["cutoff"]), created);
    assert_eq!(time(&status["admitsFrom"]), created + 2);
    assert!(time(&status["expiresAt"]) >= created + 3600);
    assert!(status["version"].as_str().unwrap().contains('/'));
}

fn time(text: &Value) -> i64 {
    text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

fn text(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_enforced_says_so_and_is_lifted_by_its_deletion() {
    let lab = Lab::start_with_bound(2, 2, RELAXED_BOUND).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.until_all(&alice, 200).await;
    lab.kubectl_with(&["create", "-f", "-"], &revocation("ticket-4711", &json!({"subject": "alice"})));
    lab.kubectl(&[&["wait", "revocation/ticket-4711"], &WAIT[..]].concat());
    assert_eq!(lab.ask_all(&alice).await, [401, 401]);
    lab.until_all(&bob, 200).await;
    check_applied(&lab.get("ticket-4711").await.unwrap(), "alice", 2);

    // What has no effect harms no other.
    for (name, manifest, reason) in without_effect() {
        lab.kubectl_with(&["create", "-f", "-"], &manifest);
        let object = lab.until(name, "Accepted", "False").await;
        assert_eq!(of(&object, "Accepted")["reason"], reason, "{object}");
        assert_eq!(of(&object, "Enforced")["status"], "False", "{object}");
        assert_eq!(of(&object, "Ready")["status"], "False", "{object}");
    }
    lab.revoke("carol").await;
    check_applied(&lab.until("carol", "Enforced", "True").await, "carol", 2);

    lab.kubectl(&["delete", "revocation", "ticket-4711", "--namespace", NAMESPACE]);
    lab.until_all(&alice, 200).await;
    assert_eq!(lab.ask_all(&lab.token("carol")).await, [401, 401]);
    let listed = lab.kubectl(&["get", "trl", "shop", "-ojson", "--namespace", NAMESPACE]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(of(&listed, "Ready")["status"], "True", "{listed}");
}

/// Nothing that leads to `Enforced` waits for a round, or for a clock that is slower: sidecars say at once what they have,
/// it is reported between the rounds, and who writes the status is woken by that. Rounds are a second apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_enforced_before_the_next_round_of_proof() {
    const TRIES: usize = 9;
    let lab = Lab::start_with_bound(1, 2, RELAXED_BOUND).await;
    let mut rounds = Vec::new();
    for number in 0..TRIES {
        rounds.push(rounds_until_enforced(&lab, &format!("user-{number}")).await);
    }
    // A machine that is busy with other things may take longer now and then, but not mostly.
    rounds.sort_unstable();
    assert_eq!(rounds[TRIES / 2], 0, "{rounds:?}\n{}", lab.logs());
}

/// Revocations that name what is not declared.
fn without_effect() -> [(&'static str, Value, &'static str); 3] {
    let subject = json!({"subject": "bob"});
    let mut list = revocation("no-list", &subject);
    list["spec"]["listName"] = json!("nowhere");
    let mut issuer = revocation("no-issuer", &subject);
    issuer["spec"]["issuer"] = json!("https://nobody.example.com");
    let values = json!([{"claim": "sub", "value": "bob"}, {"claim": "client_id", "value": "web"}]);
    let target = json!({"selector": {"name": "subject-on-client", "values": values}});
    [
        ("no-list", list, "UnknownList"),
        ("no-issuer", issuer, "Undeclared"),
        ("no-selector", revocation("no-selector", &target), "Undeclared"),
    ]
}

/// What is declared later counts from then on, and the status says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_declared_takes_effect_when_it_is() {
    let lab = Lab::start(1, 1).await;
    let bob = lab.token("bob");
    let [(no_list, first, _), _, (no_selector, second, _)] = without_effect();
    lab.create(vec![first, second]).await;
    for name in [no_list, no_selector] {
        lab.until(name, "Accepted", "False").await;
    }
    lab.until_answer(0, &bob, 200).await;
    lab.declare("nowhere");
    lab.until(no_list, "Accepted", "True").await;
    let mut list = list("shop", &lab.keys);
    list["spec"]["selectors"] = json!([{"name": "subject-on-client", "claims": ["sub", "client_id"]}]);
    lab.apply(&list);
    lab.until(no_selector, "Enforced", "True").await;
    lab.until_answer(0, &bob, 401).await;
    lab.until_answer(0, &lab.token("carol"), 200).await;
}

/// Whoever revokes waits for a word, and gives up at a refusal. The list is one that no sidecar follows, so that no round of
/// proof looks at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_with_its_list_is_never_refused_for_want_of_it() {
    let lab = Lab::start(1, 0).await;
    for number in 0..5 {
        let name = format!("new-{number}");
        let mut revocation = revocation(&name, &json!({"subject": "bob"}));
        revocation["spec"]["listName"] = json!(name);
        lab.apply(&list(&name, &lab.keys));
        lab.create(vec![revocation]).await;
        let word = wait_for("a first word", PATIENCE, async || {
            let accepted = of(&lab.get(&name).await?, "Accepted");
            if accepted["status"] == "Unknown" { Err(lab.logs()) } else { Ok(accepted) }
        });
        assert_eq!(word.await["status"], "True");
    }
}

/// With stock `kubectl` and the example as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_envoy_a_revocation_refuses_and_its_deletion_lets_pass() {
    let lab = Lab::start(1, 1).await;
    let _upstream = Upstream::start(&lab.path("upstream.sock"));
    let example = in_project("examples/envoy/envoy.yaml");
    let arguments = ["-c", &example, "--disable-hot-restart"];
    let envoy = Program::start("envoy", &tool("envoy"), arguments, &lab.path(""));
    let (socket, alice) = (lab.path("envoy.sock"), lab.token("alice"));
    let until = async |status: u16| {
        wait_for("Envoy answers", PATIENCE, async || {
            let reply = ask_unix(&socket, &Ask::get("/").bearer(&alice)).await;
            if reply.as_ref().is_ok_and(|reply| reply.status == status) {
                return Ok(());
            }
            Err(format!("{reply:?} instead of {status}\n{}\n{}", envoy.log(), lab.logs()))
        })
        .await;
    };
    until(200).await;
    lab.kubectl_with(&["create", "-f", "-"], &revocation("ticket-4711", &json!({"subject": "alice"})));
    lab.kubectl(&[&["wait", "revocation/ticket-4711"], &WAIT[..]].concat());
    let refused = ask_unix(&socket, &Ask::get("/").bearer(&alice)).await.unwrap();
    assert_eq!(refused.status, 401, "{refused:?}");
    lab.kubectl(&["delete", "revocation", "ticket-4711", "--namespace", NAMESPACE]);
    until(200).await;
}

/// A sidecar that hangs may be one that allows: it is waited for until it can't any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_sidecar_delays_enforced_until_the_bound() {
    let lab = Lab::start(1, 2).await;
    let alice = lab.token("alice");
    let proven = wait_for("the other vouches", PATIENCE, async || lab.proven(1, &alice).await).await;
    lab.sidecars[1].pause();
    lab.revoke("alice").await;
    let object = lab.until("alice", "Enforced", "True").await;
    assert!(proven.elapsed() > BOUND, "after {:?}: {object}", proven.elapsed());
    // On a machine that is slow enough it is taken for gone before.
    let counts = &object["status"]["enforcement"];
    let has_ended = counts["subscribers"] == 1;
    assert!(has_ended || counts["applied"].as_u64() < counts["subscribers"].as_u64(), "{object}");
    let expected = if has_ended { "AllApplied" } else { "BoundIsOver" };
    assert_eq!(of(&object, "Enforced")["reason"], expected, "{object}");
    lab.sidecars[1].resume();
    // What it knew is too old, and so nobody passes before it knows more.
    assert_ne!(lab.ask(1, &alice).await, Ok(200));
    lab.until_all(&alice, 401).await;
    lab.until_fresh().await;
}

/// An end that its author set lets tokens pass again; and the object says that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_ends_when_its_author_said_unless_the_end_has_grown() {
    let lab = Lab::start(1, 1).await;
    let (ends, long) = (now() + 10, text(now() + 900));
    let short = text(ends);
    let ban = |subject: &str| {
        let mut ban = revocation(subject, &json!({"subject": subject}));
        ban["spec"]["cutoff"] = json!("Always");
        ban["spec"]["expiresAt"] = json!(short);
        ban
    };
    lab.create(vec![ban("alice"), ban("bob")]).await;
    let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations/bob");
    lab.request("PATCH", &path, &json!({"spec": {"expiresAt": long}})).await.unwrap();
    let object = wait_for("it is enforced, or over", PATIENCE, async || {
        let object = lab.get("alice").await?;
        let is_so = ["Enforced", "Expired"].iter().any(|name| of(&object, name)["status"] == "True");
        if is_so { Ok(object) } else { Err(object.to_string()) }
    })
    .await;
    assert_eq!(object["status"]["expiresAt"], json!(short), "{object}");
    let answer = lab.ask(0, &lab.token("alice")).await;
    // Only as long as it lasts, and that may be over already where all is slow.
    assert!(now() >= ends || answer != Ok(200), "{answer:?}\n{}", lab.logs());
    lab.until_answer(0, &lab.token("bob"), 401).await;
    wait_for("the status is about the new end", PATIENCE, async || {
        let object = lab.get("bob").await?;
        let generations =
            ["Accepted", "Enforced", "Ready"].map(|name| of(&object, name)["observedGeneration"].clone());
        let is_news = object["metadata"]["generation"] == 2 && generations.iter().all(|of| *of == 2);
        if is_news && object["status"]["expiresAt"] == json!(long) { Ok(()) } else { Err(object.to_string()) }
    })
    .await;
    lab.until("alice", "Expired", "True").await;
    lab.until_answer(0, &lab.token("alice"), 200).await;
    assert_eq!(lab.ask(0, &lab.token("bob")).await, Ok(401));
    assert_eq!(of(&lab.get("bob").await.unwrap(), "Expired"), Value::Null);
    // Deleting what is over lifts nothing, and harms nothing.
    lab.kubectl(&["delete", "revocation", "alice", "--namespace", NAMESPACE]);
    lab.until_fresh().await;
}
