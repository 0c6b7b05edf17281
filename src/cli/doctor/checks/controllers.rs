//! The controllers: are they there, of this program's version, alive, and does one of them lead?

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;

use super::super::super::cluster::Replica;
use super::super::facts::{Facts, Read, Twice};
use super::super::finding::{Finding, count, some};

const DEPLOYMENT: &str = "controllers";
const VERSION: &str = "controller-version";
const PULSES: &str = "pulses";
const LEASE: &str = "lease";
const CLOCK: &str = "controller-clock";
/// Controllers carry out no expiry while their clock and that of the API server are further apart.
const MOST_SECONDS: i64 = 30;
/// A renewal takes its time on the way, and one clock is told in whole seconds.
const AGREES_WITHIN_SECONDS: i64 = 5;

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = deployment(facts);
    findings.push(pulses(&facts.replicas));
    findings.extend(lease(facts));
    findings
}

fn logs(facts: &Facts) -> String {
    format!("kubectl logs -n {} deployment/rescind-controller --all-pods", facts.controllers)
}

fn deployment(facts: &Facts) -> Vec<Finding> {
    let namespace = &facts.controllers;
    let deployment = match &facts.deployment {
        Ok(Some(deployment)) => deployment,
        Ok(None) => {
            return vec![Finding::warning(
                DEPLOYMENT,
                format!(
                    "namespace {namespace} has no Deployment rescind-controller: controllers run elsewhere, or not at all"
                ),
                "install the chart, or name the controllers' namespace with --controllers",
            )];
        }
        Err(error) => return vec![Finding::unread(DEPLOYMENT, error)],
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let what = format!("{ready} of {wanted} replicas of {namespace}/rescind-controller are ready");
    let found = match ready {
        _ if wanted == 0 => Finding::failure(
            DEPLOYMENT,
            format!("{namespace}/rescind-controller is scaled to nothing"),
            "kubectl scale it up",
        ),
        0 => Finding::failure(DEPLOYMENT, what, logs(facts)),
        ready if ready < wanted => Finding::warning(DEPLOYMENT, what, logs(facts)),
        _ => Finding::ok(DEPLOYMENT, what),
    };
    vec![found, version(deployment)]
}

/// Compares the tag of the image with this program.
fn version(deployment: &Deployment) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let images: Vec<&str> = pod
        .iter()
        .flat_map(|pod| &pod.containers)
        .filter_map(|container| container.image.as_deref())
        .collect();
    let is_ours = |image: &&&str| image.contains("rescind-controller");
    let Some(image) = images.iter().find(is_ours).or(images.first()) else {
        return Finding::skipped(VERSION, "the Deployment names no image");
    };
    let tag = image.split('@').next().and_then(|name| name.rsplit_once(':')).map(|(_, tag)| tag);
    // A port of a registry is no tag.
    match tag.filter(|tag| !tag.contains('/')) {
        Some(tag) if tag.trim_start_matches('v') == own => {
            Finding::ok(VERSION, format!("controllers are of version {own}, as this program is"))
        }
        Some(tag) => Finding::warning(
            VERSION,
            format!("controllers are of version {tag}, and this program is {own}"),
            "get the rescind that goes with the controllers",
        ),
        None => Finding::skipped(VERSION, format!("the image {image} does not tell its version")),
    }
}

/// Compares two looks at the heartbeats.
fn pulses(replicas: &Read<Twice<Vec<Replica>>>) -> Finding {
    let Twice { first, second } = match replicas {
        Ok(looks) => looks,
        Err(error) => return Finding::unread(PULSES, error),
    };
    let (mut moving, mut still) = (Vec::new(), Vec::new());
    for replica in second.iter().filter(|replica| replica.connected() > 0) {
        let before = first.iter().find(|before| before.replica == replica.replica);
        let is_moving = before.is_none_or(|before| before.nonce != replica.nonce);
        if is_moving { &mut moving } else { &mut still }.push(replica.replica.clone());
    }
    match (moving.is_empty(), still.is_empty()) {
        (true, true) if second.is_empty() => Finding::ok(PULSES, "no sidecar has asked for a proof yet"),
        (true, true) => Finding::ok(PULSES, "no sidecar is connected, so there is nothing to prove"),
        (false, true) => {
            let who = count(moving.len(), "replica proves", "replicas prove");
            Finding::ok(PULSES, format!("{who} to its sidecars how fresh they are"))
        }
        (false, false) => Finding::warning(
            PULSES,
            format!("a pulse stands still while sidecars are connected: {}", some(&still)),
            "if the replica has just ended, its sidecars move to another; else look at its log",
        ),
        (true, false) => Finding::failure(
            PULSES,
            format!("no pulse moves, so sidecars go stale: {}", some(&still)),
            "look at the logs of the controllers, and whether they can write to the API server",
        ),
    }
}

fn lease(facts: &Facts) -> Vec<Finding> {
    let Twice { first, second } = match &facts.lease {
        Ok(looks) => looks,
        Err(error) => return vec![Finding::unread(LEASE, error)],
    };
    let namespace = &facts.controllers;
    let Some(lease) = second else {
        let seen =
            format!("namespace {namespace} has no Lease rescind-controller: no controller has run there");
        return vec![Finding::failure(LEASE, seen, "start one, or name its namespace with --controllers")];
    };
    let holder =
        |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let held_by = holder(lease);
    if held_by.is_empty() {
        let seen = "nobody holds the lease: statuses are not written, and nothing becomes Enforced";
        return vec![Finding::failure(LEASE, seen, logs(facts))];
    }
    let revision = |lease: &Lease| lease.metadata.resource_version.clone();
    if first.as_ref().map(revision) == Some(revision(lease)) {
        let seen = format!("{held_by} holds the lease, and does not renew it: nothing becomes Enforced");
        return vec![Finding::failure(LEASE, seen, logs(facts))];
    }
    let mut findings = vec![Finding::ok(LEASE, format!("{held_by} holds the lease, and renews it"))];
    findings.extend(clock(lease));
    findings
}

/// A holder renews by its own clock, and the API server notes when that was by its own.
fn clock(lease: &Lease) -> Option<Finding> {
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?.0.as_second();
    let noted = lease.metadata.managed_fields.iter().flatten().filter_map(|fields| fields.time.as_ref());
    let noted = noted.map(|time| time.0.as_second()).max()?;
    let ahead = renewed - noted;
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    Some(if ahead.abs() <= AGREES_WITHIN_SECONDS {
        Finding::ok(CLOCK, "the clock of the controller that leads and that of the API server agree")
    } else {
        let seen = format!(
            "the clock of the controller that leads is {} s {side} that of the API server",
            ahead.abs()
        );
        if ahead.abs() > MOST_SECONDS {
            Finding::failure(CLOCK, format!("{seen}: nothing expires"), "synchronise the clocks of the nodes")
        } else {
            Finding::warning(CLOCK, seen, "synchronise the clocks of the nodes")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::finding::Level;
    use super::super::tests::facts;
    use super::*;
    use crate::api::revocation::ListReport;

    fn replica(name: &str, nonce: &str, connected: i64) -> Replica {
        let (namespace, list) = ("shop".to_owned(), "shop".to_owned());
        let report = ListReport {
            namespace,
            name: list,
            subscribers: connected,
            connected,
            lowest: None,
            generation: None,
            hash_key: None,
        };
        Replica {
            replica: name.to_owned(),
            nonce: Some(nonce.to_owned()),
            lists: vec![report],
            ..Replica::default()
        }
    }

    #[test]
    fn a_pulse_must_move_while_sidecars_are_connected() {
        let check = |first: Vec<Replica>, second: Vec<Replica>, level, expected: &str| {
            let found = pulses(&Ok(Twice { first, second }));
            assert_eq!((found.level, found.seen.as_str()), (level, expected));
        };
        check(vec![], vec![], Level::Ok, "no sidecar has asked for a proof yet");
        let (a1, a2, b1, b2) =
            (replica("a", "1", 2), replica("a", "2", 2), replica("b", "1", 1), replica("b", "2", 1));
        let proves = "1 replica proves to its sidecars how fresh they are";
        check(vec![a1.clone()], vec![a2.clone()], Level::Ok, proves);
        check(vec![], vec![a2.clone()], Level::Ok, proves);
        let still = "a pulse stands still while sidecars are connected: b";
        check(vec![a1.clone(), b1.clone()], vec![a2.clone(), b1.clone()], Level::Warning, still);
        let dead = "no pulse moves, so sidecars go stale: a, b";
        check(vec![a1.clone(), b2.clone()], vec![a1, b2], Level::Failure, dead);
        let idle = replica("a", "1", 0);
        let nothing = "no sidecar is connected, so there is nothing to prove";
        check(vec![idle.clone()], vec![idle], Level::Ok, nothing);
    }

    fn of(replicas: i32, ready: i32, image: &str) -> Deployment {
        serde_json::from_value(json!({
            "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
            "status": {"readyReplicas": ready},
        }))
        .unwrap()
    }

    #[test]
    fn replicas_must_be_ready_and_of_the_version_of_this_program() {
        let own = concat!("registry:5000/rescind-controller:", env!("CARGO_PKG_VERSION"));
        let levels = |deployed: Deployment| -> Vec<Level> {
            let found = deployment(&Facts { deployment: Ok(Some(deployed)), ..facts() });
            found.into_iter().map(|found| found.level).collect()
        };
        assert_eq!(levels(of(3, 3, own)), [Level::Ok, Level::Ok]);
        assert_eq!(levels(of(3, 1, own)), [Level::Warning, Level::Ok]);
        assert_eq!(levels(of(3, 0, own)), [Level::Failure, Level::Ok]);
        assert_eq!(levels(of(0, 0, own)), [Level::Failure, Level::Ok]);
        assert_eq!(levels(of(1, 1, "rescind-controller:9.9.9")), [Level::Ok, Level::Warning]);
        assert_eq!(levels(of(1, 1, "registry:5000/rescind-controller")), [Level::Ok, Level::Skipped]);
        assert_eq!(deployment(&facts())[0].level, Level::Warning);
    }

    fn lease_of(holder: &str, revision: &str, renewed: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {
                "resourceVersion": revision,
                "managedFields": [{"manager": "rescind", "time": "2026-11-21T10:00:00Z"}],
            },
            "spec": {"holderIdentity": holder, "renewTime": renewed},
        }))
        .unwrap()
    }

    #[test]
    fn the_lease_must_be_held_and_renewed() {
        let check = |first, second, expected: &[Level]| {
            let found = lease(&Facts { lease: Ok(Twice { first, second }), ..facts() });
            assert_eq!(found.iter().map(|found| found.level).collect::<Vec<_>>(), expected, "{found:?}");
        };
        let now = "2026-11-21T10:00:01.000000Z";
        let renewed = || Some(lease_of("a", "2", now));
        check(None, None, &[Level::Failure]);
        check(None, Some(lease_of("", "2", now)), &[Level::Failure]);
        check(renewed(), renewed(), &[Level::Failure]);
        check(Some(lease_of("a", "1", now)), renewed(), &[Level::Ok, Level::Ok]);
        check(None, Some(lease_of("a", "2", "2026-11-21T10:00:20.000000Z")), &[Level::Ok, Level::Warning]);
        check(None, Some(lease_of("a", "2", "2026-11-21T09:59:00.000000Z")), &[Level::Ok, Level::Failure]);
    }
}
