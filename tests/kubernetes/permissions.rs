//! Who may do what, with the roles and the policies of the examples as they are.
//!
//! They are put in place by the commands of the document, on a control plane of their own: elsewhere the tests play the
//! controller as the administrator, which the policies refuse.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{Refusals, done, in_project, refused, revocation, set, wait_until};
use crate::support::control_plane::ControlPlane;

const CONTROLLER: &str = "system:serviceaccount:rescind-system:rescind-controller";
const REVOKED_BY: &str = "rescind.dev/revoked-by";
const SUPPORT: &str = "alice-support";
const SECURITY: &str = "security";

struct Guarded {
    plane: ControlPlane,
    controller: PathBuf,
    support: PathBuf,
    security: PathBuf,
    editor: PathBuf,
}

impl Guarded {
    fn administrator(&self) -> &Path {
        self.plane.kubeconfig()
    }

    fn create(&self, user: &Path, object: &Value) -> Output {
        self.plane.kubectl_with(user, &["create", "--filename=-"], &object.to_string())
    }

    /// Asks whether an object would be created.
    fn try_create(&self, user: &Path, object: &Value) -> Output {
        self.plane.kubectl_with(user, &["create", "--dry-run=server", "--filename=-"], &object.to_string())
    }

    fn kubectl(&self, user: &Path, arguments: &[&str]) -> Output {
        self.plane.kubectl_with(user, arguments, "")
    }
}

/// The commands that the document shows for Kubernetes: to put things in place, and to revoke.
fn commands() -> [String; 2] {
    let text = std::fs::read_to_string(in_project("examples/README.md")).unwrap();
    let section = text.split("\n## Kubernetes\n").nth(1).unwrap();
    let mut blocks =
        section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let both = [blocks.next().unwrap(), blocks.next().unwrap()];
    assert_eq!(blocks.next(), None);
    both
}

fn shell(plane: &ControlPlane, script: &str) -> Output {
    plane.shell(Path::new(env!("CARGO_MANIFEST_DIR")), script)
}

fn guarded() -> &'static Guarded {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let plane = ControlPlane::start();
        done(&shell(&plane, &commands()[0]));
        let [controller, support, security, editor] =
            [CONTROLLER, SUPPORT, SECURITY, "platform"].map(|user| plane.kubeconfig_as(user, &[]));
        let guarded = Guarded { plane, controller, support, security, editor };
        wait_for_policies(&guarded);
        guarded
    })
}

/// A policy is in force a moment after it was written.
fn wait_for_policies(guarded: &Guarded) {
    let administrator = guarded.administrator();
    done(&guarded.create(administrator, &of_shop("probe", &json!({"subject": "probe"}))));
    let mut undeclared = of_shop("undeclared", &json!({"subject": "alice"}));
    set(&mut undeclared["spec"], "issuer", &json!("https://other.example.com"));
    let everything = of_shop("everything", &json!({"everything": true}));
    let status =
        ["patch", "rvk", "probe", "-nshop", "--dry-run=server", "--subresource=status", "--type=merge"];
    let status = [&status[..], &[r#"--patch={"status":{"target":"probe"}}"#]].concat();
    let definition = ["delete", "crd", "revocations.rescind.dev", "--dry-run=server"];
    let mut forged = of_shop("forged", &json!({"subject": "alice"}));
    set(&mut forged["metadata"], "annotations", &json!({REVOKED_BY: SECURITY}));
    wait_until("every policy is in force", || {
        let attempts = [
            guarded.try_create(&guarded.support, &everything),
            guarded.try_create(administrator, &internal("epoch", "shop", &json!({"epoch": {}}))),
            guarded.try_create(administrator, &undeclared),
            guarded.try_create(&guarded.support, &forged),
            guarded.kubectl(administrator, &status),
            guarded.kubectl(administrator, &definition),
        ];
        attempts
            .iter()
            .all(|attempt| String::from_utf8_lossy(&attempt.stderr).contains("ValidatingAdmissionPolicy"))
    });
}

fn of_shop(name: &str, target: &Value) -> Value {
    let mut object = revocation(name, "shop");
    set(&mut object["spec"], "target", target);
    if target.get("everything").is_some() {
        set(&mut object["spec"], "cutoff", &json!("2026-11-21T10:00:00Z"));
    }
    object
}

fn internal(name: &str, namespace: &str, target: &Value) -> Value {
    let mut object = revocation(name, namespace);
    set(&mut object, "spec", &json!({"target": target}));
    object
}

fn selector(name: &str, claims: &[&str]) -> Value {
    let values: Vec<Value> = claims.iter().map(|claim| json!({"claim": claim, "value": "7"})).collect();
    json!({"selector": {"name": name, "values": values}})
}

fn wide() -> [(&'static str, Value); 4] {
    [
        ("everything", json!({"everything": true})),
        ("key", json!({"key": "k1"})),
        ("client", json!({"client": "web"})),
        ("tenant", selector("tenant", &["/tenant/id"])),
    ]
}

#[test]
fn a_revoker_revokes_and_lifts_what_is_narrow() {
    let guarded = guarded();
    let narrow = [
        ("token", json!({"token": "t-1"})),
        ("session", json!({"session": "s-1"})),
        ("subject", json!({"subject": "alice"})),
        ("opaque", json!({"opaqueTokenSha256": "0".repeat(64)})),
        ("selector", selector("subject-on-client", &["client_id", "sub"])),
    ];
    for (name, target) in narrow {
        done(&guarded.create(&guarded.support, &of_shop(&format!("narrow-{name}"), &target)));
        done(&guarded.kubectl(&guarded.support, &["delete", "rvk", "-nshop", &format!("narrow-{name}")]));
    }
}

#[test]
fn wide_revocations_need_a_verb_of_their_own_as_does_lifting_them() {
    let guarded = guarded();
    let mut refusals = Refusals::default();
    for (name, target) in wide() {
        let mut object = of_shop(&format!("wide-{name}"), &target);
        set(&mut object["spec"], "expiresAt", &json!("2027-01-01T00:00:00Z"));
        let name = object["metadata"]["name"].as_str().unwrap();
        refusals.add(
            &format!("support revokes {name}"),
            &target.to_string(),
            &guarded.create(&guarded.support, &object),
        );
        done(&guarded.create(&guarded.security, &object));

        let later = r#"--patch={"spec":{"expiresAt":"2027-02-01T00:00:00Z"}}"#;
        let extend = ["patch", "rvk", name, "-nshop", "--type=merge", later];
        refusals.add(&format!("support extends {name}"), later, &guarded.kubectl(&guarded.support, &extend));
        done(&guarded.kubectl(&guarded.security, &extend));
        // What changes nothing is anybody's.
        done(&guarded.kubectl(&guarded.support, &["label", "rvk", "-nshop", name, "seen=yes"]));

        let lift = ["delete", "rvk", "-nshop", name];
        refusals.add(
            &format!("support lifts {name}"),
            &lift.join(" "),
            &guarded.kubectl(&guarded.support, &lift),
        );
        let all = ["delete", "rvk", "-nshop", "--all", "--dry-run=server"];
        assert!(refused(&guarded.kubectl(&guarded.support, &all)).contains(name));
        done(&guarded.kubectl(&guarded.security, &lift));
    }
    insta::assert_snapshot!("wide", refusals.text());
}

#[test]
fn only_the_controller_writes_heartbeats_epoch_horizon_and_status() {
    let guarded = guarded();
    let mut refusals = Refusals::default();
    let targets = [
        ("heartbeat", json!({"heartbeat": {"replica": "0a", "kind": "Pulse"}})),
        ("epoch", json!({"epoch": {}})),
        ("horizon", json!({"horizon": {}})),
    ];
    for (name, target) in targets {
        let attempt = target.to_string();
        for (who, user) in
            [("support", guarded.support.as_path()), ("the administrator", guarded.administrator())]
        {
            let output = guarded.create(user, &internal(name, "shop", &target));
            refusals.add(&format!("{who} writes {name}"), &attempt, &output);
        }
        let elsewhere = guarded.create(&guarded.controller, &internal(name, "shop", &target));
        refusals.add(&format!("the controller writes {name} elsewhere"), &attempt, &elsewhere);
        let here = internal(name, "rescind-system", &target);
        let output = guarded.create(guarded.administrator(), &here);
        refusals.add(
            &format!("the administrator writes {name} in the namespace of the controllers"),
            &attempt,
            &output,
        );
        done(&guarded.create(&guarded.controller, &here));

        let content = json!({"heartbeat": {"nonce": "1"}, "epoch": {"counter": 1, "id": "0".repeat(32)}, "horizon": {"unixSeconds": 1}});
        let patch = format!("--patch={}", json!({"status": {name: content[name]}}));
        let write =
            ["patch", "rvk", name, "-nrescind-system", "--subresource=status", "--type=merge", &patch];
        refusals.add(
            &format!("the administrator fills {name}"),
            &patch,
            &guarded.kubectl(guarded.administrator(), &write),
        );
        done(&guarded.kubectl(&guarded.controller, &write));
        let delete = ["delete", "rvk", "-nrescind-system", name];
        let output = guarded.kubectl(guarded.administrator(), &delete);
        refusals.add(&format!("the administrator deletes {name}"), &delete.join(" "), &output);
        done(&guarded.kubectl(&guarded.controller, &delete));
    }
    let statuses = [
        ("revocation", "probe", r#"--patch={"status":{"target":"nobody"}}"#),
        ("tokenrevocationlist", "shop", r#"--patch={"status":{"entries":1}}"#),
    ];
    for (kind, name, patch) in statuses {
        let write = ["patch", kind, name, "-nshop", "--subresource=status", "--type=merge", patch];
        for (who, user) in
            [("support", guarded.support.as_path()), ("the administrator", guarded.administrator())]
        {
            refusals.add(
                &format!("{who} writes the status of a {kind}"),
                patch,
                &guarded.kubectl(user, &write),
            );
        }
        done(&guarded.kubectl(&guarded.controller, &write));
    }
    insta::assert_snapshot!("internal", refusals.text());
}

#[test]
fn what_the_list_does_not_declare_is_refused() {
    let guarded = guarded();
    let mut refusals = Refusals::default();
    let cases = [
        ("an undeclared issuer", "issuer", json!("https://other.example.com")),
        ("an undeclared selector", "target", selector("device", &["sub", "device"])),
        ("a selector without one of its claims", "target", selector("subject-on-client", &["sub"])),
        (
            "a selector with a claim too many",
            "target",
            selector("subject-on-client", &["sub", "client_id", "jti"]),
        ),
        ("a selector with another claim", "target", selector("subject-on-client", &["sub", "azp"])),
        ("the start of a session that the issuer need not tell", "compareWith", json!("SessionStart")),
    ];
    for (title, member, value) in cases {
        let mut object = revocation("case", "shop");
        set(&mut object["spec"], member, &value);
        refusals.add(title, &format!("spec.{member}: {value}"), &guarded.create(&guarded.support, &object));
        // Another list declares other things, and one that is not there refuses nothing here: its status says so.
        set(&mut object["spec"], "listName", &json!("missing"));
        done(&guarded.try_create(&guarded.support, &object));
    }
    insta::assert_snapshot!("undeclared", refusals.text());
}

#[test]
fn an_object_says_the_truth_of_who_has_made_it_or_nothing() {
    let guarded = guarded();
    let mut refusals = Refusals::default();
    let mut object = of_shop("signed", &json!({"subject": "alice"}));
    set(&mut object["metadata"], "annotations", &json!({REVOKED_BY: SECURITY}));
    let output = guarded.create(&guarded.support, &object);
    refusals.add("support revokes as somebody else", SECURITY, &output);
    set(&mut object["metadata"], "annotations", &json!({REVOKED_BY: SUPPORT}));
    done(&guarded.create(&guarded.support, &object));
    let annotate = |user: &Path, annotation: &str| {
        guarded.kubectl(user, &["annotate", "rvk", "signed", "-nshop", "--overwrite", annotation])
    };
    for (title, user, name) in [
        ("security says that it was security", &guarded.security, SECURITY),
        ("support says that it was security", &guarded.support, SECURITY),
    ] {
        let annotation = format!("{REVOKED_BY}={name}");
        refusals.add(title, &annotation, &annotate(user, &annotation));
    }
    done(&annotate(&guarded.security, "example.com/ticket=4711"));
    done(&annotate(&guarded.support, &format!("{REVOKED_BY}-")));
    // Whoever could impersonate them may restore what others have made.
    let mut copy = of_shop("restored", &json!({"subject": "alice"}));
    set(&mut copy["metadata"], "annotations", &json!({REVOKED_BY: SUPPORT}));
    done(&guarded.try_create(guarded.administrator(), &copy));
    // Who has not said it at once says it never.
    let late = format!("{REVOKED_BY}={SUPPORT}");
    refusals.add("support says it afterwards", &late, &annotate(&guarded.support, &late));
    done(&guarded.kubectl(&guarded.support, &["delete", "rvk", "signed", "-nshop"]));
    insta::assert_snapshot!("revoked-by", refusals.text());
}

/// The namespace's controller does not run here: the test deletes what is in it, as that controller does.
#[test]
fn a_namespace_with_a_wide_revocation_can_be_deleted() {
    let guarded = guarded();
    let administrator = guarded.administrator();
    done(&guarded.kubectl(administrator, &["create", "namespace", "leaves"]));
    for (name, target) in wide() {
        let mut object = of_shop(name, &target);
        set(&mut object["metadata"], "namespace", &json!("leaves"));
        done(&guarded.create(administrator, &object));
    }
    let keeper = guarded.plane.kubeconfig_as("system:serviceaccount:kube-system:namespace-controller", &[]);
    let empty = ["delete", "rvk", "-nleaves", "--all"];
    assert!(refused(&guarded.kubectl(&keeper, &empty)).contains("revoke-issuer"));
    done(&guarded.kubectl(administrator, &["delete", "namespace", "leaves", "--wait=false"]));
    wait_until("the namespace is seen to go", || guarded.kubectl(&keeper, &empty).status.success());
    assert_eq!(done(&guarded.kubectl(administrator, &["get", "rvk", "-nleaves", "--output=name"])), "");
}

#[test]
fn a_definition_is_deleted_only_after_it_was_annotated() {
    let guarded = guarded();
    let administrator = guarded.administrator();
    let mut refusals = Refusals::default();
    for definition in ["revocations.rescind.dev", "tokenrevocationlists.rescind.dev"] {
        let delete = ["delete", "crd", definition, "--dry-run=server"];
        refusals.add("a definition is deleted", &delete.join(" "), &guarded.kubectl(administrator, &delete));
        let annotate =
            |annotation| done(&guarded.kubectl(administrator, &["annotate", "crd", definition, annotation]));
        annotate("rescind.dev/allow-deletion=true");
        wait_until("the annotation is seen", || guarded.kubectl(administrator, &delete).status.success());
        annotate("rescind.dev/allow-deletion-");
    }
    insta::assert_snapshot!("definitions", refusals.text());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table with a row for each case")]
fn roles_allow_what_they_are_for_and_no_more() {
    let guarded = guarded();
    let can = |user: &Path, verb: &str, what: &str, namespace: &str| {
        let namespace = format!("--namespace={namespace}");
        let (what, part) = what.strip_suffix("/status").map_or((what, ""), |what| (what, "status"));
        let part = format!("--subresource={part}");
        guarded.kubectl(user, &["auth", "can-i", "--quiet", verb, what, &namespace, &part]).status.success()
    };
    let (controller, support, security, editor) =
        (&guarded.controller, &guarded.support, &guarded.security, &guarded.editor);
    let system = "rescind-system";
    let cases: &[(&Path, &str, &str, &str, bool)] = &[
        (controller, "watch", "revocations.rescind.dev", "shop", true),
        (controller, "create", "revocations.rescind.dev", "shop", true),
        (controller, "delete", "revocations.rescind.dev", "shop", true),
        (controller, "patch", "revocations.rescind.dev/status", "shop", true),
        (controller, "watch", "tokenrevocationlists.rescind.dev", "shop", true),
        (controller, "patch", "tokenrevocationlists.rescind.dev/status", "shop", true),
        (controller, "revoke-issuer", "tokenrevocationlists.rescind.dev/shop", "shop", true),
        (controller, "create", "tokenrevocationlists.rescind.dev", "shop", false),
        (controller, "delete", "tokenrevocationlists.rescind.dev", "shop", false),
        (
            controller,
            "get",
            "customresourcedefinitions.apiextensions.k8s.io/revocations.rescind.dev",
            "",
            true,
        ),
        (controller, "get", "customresourcedefinitions.apiextensions.k8s.io/others.example.com", "", false),
        (controller, "get", "namespaces", "", true),
        (controller, "create", "events.events.k8s.io", "shop", true),
        (controller, "create", "secrets", system, true),
        (controller, "get", "secrets", system, true),
        (controller, "get", "secrets", "shop", false),
        (controller, "list", "secrets", system, false),
        (controller, "delete", "secrets", system, false),
        (controller, "update", "secrets/rescind-ca", system, true),
        (controller, "update", "secrets/rescind-seal-key", system, false),
        (controller, "list", "namespaces", "", true),
        (controller, "create", "configmaps", "shop", true),
        (controller, "patch", "configmaps/rescind-ca", "shop", true),
        (controller, "patch", "configmaps/other", "shop", false),
        (controller, "list", "configmaps", "shop", false),
        (controller, "delete", "configmaps/rescind-ca", "shop", false),
        (
            controller,
            "update",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io/rescind-injector",
            "",
            true,
        ),
        (controller, "update", "mutatingwebhookconfigurations.admissionregistration.k8s.io/other", "", false),
        (controller, "create", "leases.coordination.k8s.io", system, true),
        (controller, "update", "leases.coordination.k8s.io/rescind-controller", system, true),
        (controller, "update", "leases.coordination.k8s.io/other", system, false),
        (controller, "create", "leases.coordination.k8s.io", "shop", false),
        (controller, "get", "pods", system, false),
        (support, "create", "revocations.rescind.dev", "shop", true),
        (support, "create", "revocations.rescind.dev", "default", false),
        (support, "get", "tokenrevocationlists.rescind.dev/shop", "shop", true),
        (support, "update", "tokenrevocationlists.rescind.dev", "shop", false),
        (support, "patch", "revocations.rescind.dev/status", "shop", false),
        (support, "revoke-wide", "tokenrevocationlists.rescind.dev/shop", "shop", false),
        (security, "revoke-wide", "tokenrevocationlists.rescind.dev/shop", "shop", true),
        (security, "revoke-issuer", "tokenrevocationlists.rescind.dev/shop", "default", false),
        (security, "update", "tokenrevocationlists.rescind.dev", "shop", false),
        (editor, "update", "tokenrevocationlists.rescind.dev", "shop", true),
        (editor, "create", "revocations.rescind.dev", "shop", false),
    ];
    for (user, verb, what, namespace, allowed) in cases {
        assert_eq!(
            can(user, verb, what, namespace),
            *allowed,
            "{} {verb} {what} in {namespace}",
            user.display()
        );
    }
}

/// The API server refuses by what the quota's status says. No controller-manager runs here, so the test writes what is
/// used already.
#[test]
fn the_quota_is_accepted_for_our_kind_and_above_it_a_revocation_is_refused() {
    let guarded = guarded();
    let administrator = guarded.administrator();
    let quota = ["get", "resourcequota", "revocations", "-nshop", "--output=jsonpath={.spec.hard}"];
    let hard = done(&guarded.kubectl(administrator, &quota));
    assert_eq!(hard, r#"{"count/revocations.rescind.dev":"10k"}"#);
    // The same in a namespace of its own, of which all but one are used.
    let example = std::fs::read_to_string(in_project("examples/kubernetes/quota.yaml")).unwrap();
    let example = example.replace("namespace: shop", "namespace: full");
    done(&guarded.kubectl(administrator, &["create", "namespace", "full"]));
    done(&guarded.plane.kubectl_with(administrator, &["create", "--filename=-"], &example));
    let used = json!({"count/revocations.rescind.dev": "9999"});
    let hard: Value = serde_json::from_str(&hard).unwrap();
    let status = format!("--patch={}", json!({"status": {"hard": hard, "used": used}}));
    let patch = ["patch", "resourcequota", "revocations", "-nfull", "--subresource=status", "--type=merge"];
    done(&guarded.kubectl(administrator, &[&patch[..], &[&status]].concat()));
    // What admission has seen of the quota may be a moment old: then it counts from there.
    let more = |number: u32| guarded.create(administrator, &revocation(&format!("more-{number}"), "full"));
    let (accepted, said) =
        (0..20).map(more).enumerate().find(|(_, output)| !output.status.success()).unwrap();
    let said = refused(&said);
    assert!(accepted > 0 && said.contains("exceeded quota: revocations"), "{said}");
    // Nothing was dropped for it.
    for number in 0..accepted {
        done(&guarded.kubectl(administrator, &["get", "rvk", &format!("more-{number}"), "-nfull"]));
    }
}

/// The test plays the controller.
#[test]
fn the_commands_of_the_document_revoke_show_and_lift() {
    let guarded = guarded();
    let session = std::thread::spawn(|| shell(&guarded.plane, &commands()[1]));
    let patch = json!({"status": {"target": "subject alice", "conditions": [{
        "type": "Enforced", "status": "True", "reason": "AllApplied", "message": "1 of 1 sidecars has applied it.",
        "lastTransitionTime": "2026-11-21T10:00:01Z",
    }]}});
    let patch = format!("--patch={patch}");
    let write = ["patch", "rvk", "ticket-4711", "-nshop", "--subresource=status", "--type=merge", &patch];
    wait_until("the revocation is there", || guarded.kubectl(&guarded.controller, &write).status.success());
    let said = done(&session.join().unwrap());
    for part in ["ticket-4711 created", "condition met", "subject alice", "LostDevice", "deleted"] {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
    assert!(said.contains("tokenrevocationlist.rescind.dev/shop"), "the category shows lists, too:\n{said}");
}
