//! The same where the policies of the examples are in force: what controllers write again they may write, also what is
//! wide.

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::cluster::{in_project, wait_until};
use crate::lab::{LIST, Lab, NAMESPACE};
use crate::objects::revocation;
use crate::observation::Observation;
use crate::support::issue::{claims, now};

use super::definitions::{DEFINITION, begin_deleting_namespace, finish_deleting_namespace};

const LISTS: &str = "tokenrevocationlists.rescind.dev";
/// What is revoked: everything that an issuer issued until a while ago, a client, and a key.
const WIDE: [&str; 3] = ["everything", "client", "key"];

/// A token of a minute ago, with changes, by the first key or by the second.
fn token(lab: &Lab, changes: &Value, second: bool) -> String {
    let issued = now() - 60;
    let mut all = json!({"iat": issued, "auth_time": issued, "sub": "bob"});
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    if second { lab.keys.second.sign(&claims(&all)).unwrap() } else { lab.keys.token(&all) }
}

/// Applies the policies, and waits until they refuse somebody what is wide.
fn guard(lab: &Lab) {
    let policies = in_project("examples/kubernetes/policies.yaml");
    lab.kubectl(&["apply", "--filename", &policies]);
    let revoker =
        ["create", "clusterrolebinding", "support", "--clusterrole=rescind-revoker", "--user=support"];
    lab.kubectl(&revoker);
    let support = lab.plane.kubeconfig_as("support", &[]);
    let wide = revocation("refused", &json!({"client": "web"})).to_string();
    let definition = ["delete", "crd", DEFINITION, "--dry-run=server"];
    block_in_place(|| {
        wait_until("the policies are in force", || {
            let create = ["create", "--dry-run=server", "--filename=-"];
            let refused = [
                lab.plane.kubectl_with(&support, &create, &wide),
                lab.plane.kubectl_with(lab.plane.kubeconfig(), &definition, ""),
            ];
            refused
                .iter()
                .all(|refused| String::from_utf8_lossy(&refused.stderr).contains("ValidatingAdmissionPolicy"))
        });
    });
}

fn delete_definitions(lab: &Lab, names: &[&str]) {
    for name in names {
        lab.kubectl(&["annotate", "crd", name, "rescind.dev/allow-deletion=true"]);
    }
    lab.kubectl(&[&["delete", "crd"], names].concat());
}

/// What goes, and comes back.
#[derive(Clone, Copy, Debug)]
enum Holder {
    Definition,
    BothDefinitions,
    Namespace,
}

async fn delete(lab: &Lab, holder: Holder) {
    match holder {
        Holder::Definition => delete_definitions(lab, &[DEFINITION]),
        Holder::BothDefinitions => delete_definitions(lab, &[DEFINITION, LISTS]),
        Holder::Namespace => {
            begin_deleting_namespace(lab);
            finish_deleting_namespace(lab).await;
        }
    }
}

fn bring_back(lab: &Lab, holder: Holder) {
    match holder {
        Holder::Definition => lab.define(),
        Holder::BothDefinitions => {
            lab.define();
            lab.declare("shop");
        }
        Holder::Namespace => {
            lab.kubectl(&["create", "namespace", NAMESPACE]);
            lab.declare("shop");
        }
    }
}

/// Invariant 20: wide revocations that the store has lost come back, though writing them takes verbs of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wide_is_written_again_under_the_policies_whatever_it_went_with() {
    let mut lab = Lab::start(2, 2).await;
    guard(&lab);
    let cutoff = jiff::Timestamp::from_second(i64::try_from(now() - 900).unwrap()).unwrap().to_string();
    let mut everything = revocation("everything", &json!({"everything": true}));
    everything["spec"]["cutoff"] = json!(cutoff);
    let narrower = [("client", json!({"client": "kiosk"})), ("key", json!({"key": "k2"}))];
    let narrower = narrower.map(|(name, target)| revocation(name, &target));
    lab.create(std::iter::once(everything).chain(narrower).collect()).await;
    let old = lab.token("bob");
    let (kiosk, second) = (token(&lab, &json!({"client_id": "kiosk"}), false), token(&lab, &json!({}), true));
    let good = token(&lab, &json!({}), false);
    let mut refused = Vec::new();
    for (name, token) in WIDE.iter().zip([&old, &kiosk, &second]) {
        lab.until(name, "Enforced", "True").await;
        refused.push(Observation::of_all(&lab, token, &[401]));
    }
    for holder in [Holder::Definition, Holder::BothDefinitions, Holder::Namespace] {
        let before = lab.get("everything").await.unwrap();
        delete(&lab, holder).await;
        lab.until_all(&good, 503).await;
        bring_back(&lab, holder);
        for name in WIDE {
            lab.until(name, "Enforced", "True").await;
        }
        let after = lab.get("everything").await.unwrap();
        assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"], "{holder:?}");
        assert_eq!(after["spec"]["cutoff"], json!(cutoff), "{holder:?}");
        lab.until_all(&good, 200).await;
        // Who knows nothing of what was before learns it from the store.
        let new = lab.add_sidecar(&[0, 1], LIST).await;
        lab.until_answer(new, &good, 200).await;
        for token in [&old, &kiosk, &second] {
            assert_eq!(lab.ask(new, token).await, Ok(401), "{holder:?}");
        }
    }
    for refused in refused {
        refused.end(&lab).await;
    }
}
