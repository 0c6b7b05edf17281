//! The API server dies alone, and etcd does, under a stream of revocations.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, NAMESPACE, PATIENCE};
use crate::objects::revocation;
use crate::observation::{Acknowledged, Observation};
use crate::support::control_plane::Server;
use crate::support::wait::wait_for;

/// The pause between two revocations.
const PAUSE: Duration = Duration::from_millis(50);

/// Which of them dies.
#[derive(Clone, Copy, Debug)]
enum Dies {
    ApiServer,
    Etcd,
}

impl Dies {
    fn server(self, lab: &Lab) -> &Server {
        match self {
            Self::ApiServer => lab.plane.api_server(),
            Self::Etcd => lab.plane.etcd(),
        }
    }
}

/// Revokes one subject after the other, until it is stopped.
async fn revoke_on(lab: &Lab, acknowledged: &Acknowledged, stop: &CancellationToken) {
    let path = format!("/apis/rescind.dev/v1alpha1/namespaces/{NAMESPACE}/revocations");
    for number in 0.. {
        if stop.is_cancelled() {
            return;
        }
        let name = format!("user-{number}");
        // What is not acknowledged may be there or not: nobody was promised anything.
        if lab.request("POST", &path, &revocation(&name, &json!({"subject": name}))).await.is_ok() {
            acknowledged.add(lab, &name);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until something is acknowledged after this; returns its name.
async fn next(lab: &Lab, acknowledged: &Acknowledged) -> String {
    let before = acknowledged.names().len();
    wait_for("something is acknowledged", PATIENCE, async || {
        acknowledged.names().get(before).cloned().ok_or_else(|| lab.logs())
    })
    .await
}

/// Invariant 2: what was acknowledged survives `kill -9` of either.
/// Invariants 1 and 12: meanwhile no revoked token passes later than the bound, and nobody passes for long.
/// Invariant 21: afterwards all are fresh again by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_server_is_killed_alone_loses_nothing_and_all_are_fresh_again_without_a_restart() {
    let lab = Lab::start(2, 2).await;
    let (alice, bob) = (lab.token("alice"), lab.token("bob"));
    lab.revoke("alice").await;
    lab.until("alice", "Enforced", "True").await;
    let ids = || lab.controllers.iter().chain(&lab.sidecars).map(|node| node.id()).collect::<Vec<_>>();
    let before = ids();
    let refused = Observation::of_all(&lab, &alice, &[401]);
    let others = Observation::of_all(&lab, &bob, &[200, 503]);
    let (acknowledged, stop) = (Acknowledged::observe(&lab), CancellationToken::new());
    let die = async {
        for dies in [Dies::ApiServer, Dies::Etcd] {
            next(&lab, &acknowledged).await;
            dies.server(&lab).kill();
            let since = Instant::now();
            tokio::join!(lab.until_doubted(0, &bob, since), lab.until_doubted(1, &bob, since));
            // Nobody waits until it is ready.
            dies.server(&lab).begin();
            lab.until_fresh().await;
            let name = next(&lab, &acknowledged).await;
            lab.until(&name, "Enforced", "True").await;
            lab.until_all(&lab.token(&name), 401).await;
        }
        stop.cancel();
    };
    tokio::join!(die, revoke_on(&lab, &acknowledged, &stop));
    let names = acknowledged.end(&lab).await;
    for name in &names {
        lab.until_all(&lab.token(name), 401).await;
    }
    let there = lab.all().await.unwrap();
    let is_there = |name: &&String| there.iter().any(|object| object["metadata"]["name"] == **name);
    let lost: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
    assert!(lost.is_empty(), "{lost:?} of {} are lost", names.len());
    refused.end(&lab).await;
    others.end(&lab).await;
    assert_eq!(ids(), before, "{}", lab.logs());
}
