//! Many revocations.

use serde_json::json;

use crate::lab::{Lab, RELAXED_BOUND};
use crate::objects::{of, revocation};
use crate::support::control_plane::ControlPlane;

/// As many as the examples allow in a namespace.
const MANY: usize = 10_000;
/// Of so many, one is looked at.
const STEP: usize = 97;

/// Invariant 2: all that was acknowledged is there after every controller was killed, while the statuses of all were
/// still to be written.
/// Invariant 3: a list of many pages loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_revocations_deny_and_survive_the_death_of_all_controllers_and_sidecars() {
    let mut lab = Lab::on(tokio::task::block_in_place(ControlPlane::start_unsynced)).await;
    lab.declare_with_bound("shop", RELAXED_BOUND);
    let names: Vec<String> = (0..MANY).map(|number| format!("user-{number}")).collect();
    let manifests = names.iter().map(|name| revocation(name, &json!({"subject": name}))).collect();
    // Nobody runs yet: it is found in a fetch, and the statuses of all are due at once.
    lab.create(manifests).await;
    lab.add(2, 2).await;
    lab.until_fresh().await;
    let looked_at = || names.iter().step_by(STEP).chain(names.last());
    for name in looked_at() {
        assert_eq!(lab.ask_all(&lab.token(name)).await, [401, 401], "{name}");
    }
    for controller in &mut lab.controllers {
        controller.kill().await;
    }
    for sidecar in &mut lab.sidecars {
        // It keeps nothing on a disk: a controller has to give it all.
        sidecar.kill().await;
    }
    for node in lab.controllers.iter_mut().chain(&mut lab.sidecars) {
        node.start().await;
    }
    lab.until_fresh().await;
    for name in looked_at() {
        assert_eq!(lab.ask_all(&lab.token(name)).await, [401, 401], "{name}");
    }
    lab.revoke("last").await;
    lab.until_all(&lab.token("last"), 401).await;
    let all = lab.all().await.unwrap();
    assert_eq!(all.len(), MANY + 1);
    let refused = all.iter().find(|object| of(object, "Accepted")["status"] == "False");
    assert_eq!(refused, None);
}
