//! Many revocations.

use serde_json::json;

use crate::lab::{Lab, revocation};

const MANY: usize = 2000;

/// Invariant 2: all that was acknowledged is there after every controller was killed.
/// Invariant 3: a list of many pages loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_revocations_are_enforced_and_survive_the_death_of_all_controllers() {
    let mut lab = Lab::start(2, 2).await;
    let names: Vec<String> = (0..MANY).map(|number| format!("user-{number}")).collect();
    let manifests = names.iter().map(|name| revocation(name, &json!({"subject": name}))).collect();
    lab.create(manifests).await;
    lab.revoke("last").await;
    for name in ["user-0", "last"] {
        lab.until(name, "Enforced", "True").await;
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
    for name in names.iter().step_by(17) {
        assert_eq!(lab.ask_all(&lab.token(name)).await, [401, 401], "{name}");
    }
    assert_eq!(lab.all().await.unwrap().len(), MANY + 1);
}
