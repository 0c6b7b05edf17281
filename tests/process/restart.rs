//! Restarts: kill -9 at any point loses nothing that was acknowledged, and orderly ends are orderly.

use std::time::Duration;

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use rescind::runtime::dial;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::relay::{Mode, Relay};
use crate::support::PATIENCE;
use crate::support::lab::{BOUND, LIST, Lab, WINDOW, parts};
use crate::support::wait::wait_for;

/// Invariant 2: what was acknowledged survives kill -9 right after the acknowledgement.
/// Failure 1: the list is not empty after a restart.
#[tokio::test]
async fn a_controller_that_is_killed_right_after_an_acknowledgement_has_it() {
    let mut lab = Lab::new();
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        lab.start_controller(&[]).await;
        acknowledged.push(lab.revoke(Target::Subject(format!("user-{round}"))).await.uid);
        lab.controller().child.kill().await.unwrap();
    }
    lab.start_controller(&[]).await;
    assert_eq!(lab.live().await, acknowledged);
}

/// Waits until a revoked token is refused as such; asked later than the bound after the acknowledgement, it never passes.
async fn until_revoked(lab: &Lab, token: &str, acknowledged: Instant) {
    wait_for("it is revoked", PATIENCE, async || {
        let asked = Instant::now();
        let answer = lab.check(token).await.map_err(|error| error.to_string())?;
        let late = asked >= acknowledged + WINDOW;
        assert!(!late || answer.decision() == v1::Decision::Deny, "{answer:?}\n{}", lab.logs());
        if answer.verdict() == v1::VerdictKind::Revoked { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

/// Invariants 1 and 2: killed between the acknowledgement and everything else. Behind the relay, the sidecar that runs
/// has certainly not heard of it.
#[tokio::test]
async fn what_was_acknowledged_right_before_kill_9_is_refused_by_the_sidecar_that_runs_all_the_while() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let relay = Relay::start(lab.path("relay.sock"), lab.path("stream.sock"));
    lab.start_sidecar_with(&lab.sidecar_arguments_to(&[relay.uri()])).await;
    for (round, mode) in [Mode::Hang, Mode::Pass, Mode::Hang].into_iter().enumerate() {
        lab.until_fresh().await;
        let user = format!("user-{round}");
        let token = lab.keys.token(&json!({"sub": user}));
        assert_eq!(lab.check(&token).await.unwrap().verdict(), v1::VerdictKind::Active);
        relay.set(mode);
        lab.ban(Target::Subject(user)).await;
        let acknowledged = Instant::now();
        lab.controller().child.kill().await.unwrap();
        relay.set(Mode::Cut);
        lab.start_controller(&[]).await;
        relay.set(Mode::Pass);
        until_revoked(&lab, &token, acknowledged).await;
    }
}

/// Invariants 1 and 2: the same where the sidecar is killed with it, and starts first.
#[tokio::test]
async fn what_was_acknowledged_right_before_kill_9_of_both_is_vouched_for_by_no_sidecar_that_starts() {
    let mut lab = Lab::start().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    assert_eq!(lab.check(&token).await.unwrap().verdict(), v1::VerdictKind::Active);
    lab.ban(Target::Subject("alice".into())).await;
    lab.controller().child.signal(Signal::KILL).unwrap();
    lab.sidecar().child.kill().await.unwrap();
    lab.controller().child.kill().await.unwrap();
    lab.start_sidecar(&[]).await;
    let answer = lab.check(&token).await.unwrap();
    assert_eq!(answer.decision(), v1::Decision::Deny, "{answer:?}");
    lab.start_controller(&[]).await;
    wait_for("alice is revoked", PATIENCE, async || {
        let answer = lab.check(&token).await.unwrap();
        assert_eq!(answer.decision(), v1::Decision::Deny, "{answer:?}\n{}", lab.logs());
        if answer.verdict() == v1::VerdictKind::Revoked { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    lab.until_fresh().await;
    assert_eq!(lab.check(&token).await.unwrap().verdict(), v1::VerdictKind::Revoked);
}

/// Invariant 2: the same under a stream of calls, killed at a moment of nobody's choice.
#[tokio::test]
async fn a_controller_that_is_killed_under_load_has_everything_that_it_acknowledged() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let admin = lab.admin();
    let calls = (0..200).map(|n| {
        let mut admin = admin.clone();
        async move {
            let request = crate::support::lab::revoke_request(Target::Subject(format!("user-{n}")));
            admin.revoke(request).await.ok().and_then(|answer| answer.into_inner().revocation)
        }
    });
    let calls = futures::future::join_all(calls);
    let controller = lab.controller.take().unwrap();
    let kill = async {
        let mut controller = controller;
        let bystander = lab.admin().list(v1::ListRequest::default()).await;
        controller.child.kill().await.unwrap();
        bystander.is_ok()
    };
    let (answers, _) = futures::future::join(calls, kill).await;
    let acknowledged: Vec<String> = answers.into_iter().flatten().map(|revocation| revocation.uid).collect();
    lab.start_controller(&[]).await;
    let kept = lab.live().await;
    let lost: Vec<&String> = acknowledged.iter().filter(|uid| !kept.contains(uid)).collect();
    assert!(lost.is_empty(), "{lost:?} of {} were lost", acknowledged.len());
}

/// Invariant 4, failure 20: once denied, never allowed again, whatever is restarted in whatever order.
#[tokio::test]
async fn what_was_denied_stays_denied_through_restarts_of_each_part() {
    let mut lab = Lab::start().await;
    let (alice, bob) = (lab.keys.token(&json!({"sub": "alice"})), lab.keys.token(&json!({"sub": "bob"})));
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    let denied = async |lab: &Lab| {
        let answer = lab.check(&alice).await.unwrap();
        assert_eq!(answer.decision(), v1::Decision::Deny, "{answer:?}");
    };
    lab.sidecar().child.kill().await.unwrap();
    lab.start_sidecar(&[]).await;
    denied(&lab).await;
    lab.until_fresh().await;
    denied(&lab).await;
    lab.controller().child.kill().await.unwrap();
    denied(&lab).await;
    lab.start_controller(&[]).await;
    lab.until_fresh().await;
    denied(&lab).await;
    assert_eq!(lab.check(&bob).await.unwrap().verdict(), v1::VerdictKind::Active);
}

/// The snapshot on the disk is good for denials only.
#[tokio::test]
async fn a_sidecar_alone_denies_what_it_knew_and_vouches_for_nobody() {
    let mut lab = Lab::start().await;
    let (alice, bob) = (lab.keys.token(&json!({"sub": "alice"})), lab.keys.token(&json!({"sub": "bob"})));
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    let file = lab.path("sidecar").join("default_shop.snapshot");
    let size = async || std::fs::metadata(&file).map(|file| file.len()).map_err(|error| error.to_string());
    let before = wait_for("the snapshot is written", PATIENCE, size).await;
    assert!(before > 0);
    // An orderly end writes the last state.
    lab.end_sidecar().await;
    lab.controller().child.kill().await.unwrap();
    lab.start_sidecar(&[]).await;
    assert_eq!(lab.check(&alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    let answer = lab.check(&bob).await.unwrap();
    assert_eq!((answer.decision(), answer.reason.as_str()), (v1::Decision::Deny, "NEVER_FRESH"));
}

#[tokio::test]
async fn a_sidecar_that_ends_in_order_says_goodbye_and_is_counted_no_more() {
    let mut lab = Lab::start().await;
    lab.end_sidecar().await;
    wait_for("nobody is counted", PATIENCE, async || {
        let status = lab.admin().status(v1::AdminStatusRequest {}).await.unwrap().into_inner();
        if status.subscribers.is_empty() { Ok(()) } else { Err(format!("{:?}", status.subscribers)) }
    })
    .await;
}

#[tokio::test]
async fn a_controller_that_is_told_to_stop_drains_and_ends_well_and_its_sidecar_finds_the_next_one() {
    let mut lab = Lab::start().await;
    lab.controller().child.signal(Signal::TERM).unwrap();
    let ended = lab.controller().child.ended(PATIENCE).await.unwrap();
    assert!(ended.success(), "{}", lab.logs());
    lab.start_controller(&[]).await;
    lab.until_fresh().await;
}

/// A call that does not end holds the drain up; who asks twice means it.
#[tokio::test]
async fn a_second_request_to_stop_ends_the_process_at_once_and_says_who_was_still_at_work() {
    let mut lab = Lab::start().await;
    let uri = format!("unix:{}", lab.path("check.sock").display());
    let mut health = HealthClient::new(dial::channel(&uri, None, |endpoint| endpoint).unwrap());
    let watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let sidecar = lab.sidecar();
    let said = async |text: &str| {
        wait_for(text, PATIENCE, async || {
            let log = sidecar.child.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .await;
    };
    sidecar.child.signal(Signal::TERM).unwrap();
    said("draining").await;
    let second = Instant::now();
    sidecar.child.signal(Signal::TERM).unwrap();
    said("error: stopped by a second signal; still at work: checks-").await;
    let ended = lab.sidecar().child.ended(PATIENCE).await.unwrap();
    assert_eq!(ended.code(), Some(1), "{}", lab.logs());
    // The drain may take 15 s.
    assert!(second.elapsed() < Duration::from_secs(10), "{:?}", second.elapsed());
    drop(watched);
}

/// Somebody waits for what never comes, and somebody else watches the health of both sockets.
#[tokio::test]
async fn a_controller_that_is_told_to_stop_does_not_wait_for_streams_without_an_end() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    let (epoch, _) = parts(&revoked.version);
    let request = v1::WaitEnforcedRequest { list: LIST.to_owned(), version: format!("{epoch}/{}", u64::MAX) };
    let mut admin = lab.admin();
    let mut waiting = admin.wait_enforced(request).await.unwrap().into_inner();
    let mut watched = Vec::new();
    for socket in ["admin.sock", "stream.sock"] {
        let mut health = HealthClient::new(lab.channel(socket));
        let mut stream = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        watched.push(stream);
    }
    let asked = Instant::now();
    lab.controller().child.signal(Signal::TERM).unwrap();
    let told = waiting.message().await.unwrap_err();
    assert_eq!(
        (told.code(), told.message()),
        (Code::Unavailable, "this controller is about to end: ask again")
    );
    let ended = lab.controller().child.ended(PATIENCE).await.unwrap();
    assert!(ended.success(), "{}", lab.logs());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}\n{}", asked.elapsed(), lab.logs());
}

/// Enforced is a fact: a controller that has just started does not know who was told what before.
#[tokio::test]
async fn after_a_restart_nothing_counts_as_enforced_before_the_sidecars_of_old_have_aged() {
    let mut lab = Lab::start().await;
    lab.controller().child.kill().await.unwrap();
    lab.start_controller(&[]).await;
    is_enforced_once_the_bound_is_over(&lab).await;
}

/// Revokes somebody right after a start: what counts as enforced has waited for sidecars that are not known.
async fn is_enforced_once_the_bound_is_over(lab: &Lab) {
    let revoked = lab.revoke(Target::Subject("carol".into())).await;
    let request = v1::WaitEnforcedRequest { list: LIST.to_owned(), version: revoked.version };
    let mut progress = lab.admin().wait_enforced(request).await.unwrap().into_inner();
    let first = progress.message().await.unwrap().unwrap();
    assert!(!first.enforced, "{first:?}");
    let mut last = first;
    while let Some(next) = progress.message().await.unwrap() {
        last = next;
    }
    assert!(last.enforced && last.elapsed_milliseconds + 1000 > BOUND.as_millis() as u64 - 1000, "{last:?}");
}

/// A sidecar that is killed is counted until it can allow nothing any more.
#[tokio::test]
async fn a_killed_sidecar_holds_enforcement_up_for_no_longer_than_its_window() {
    let mut lab = Lab::start().await;
    lab.sidecar().child.kill().await.unwrap();
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    let request = v1::WaitEnforcedRequest { list: LIST.to_owned(), version: revoked.version };
    let mut progress = lab.admin().wait_enforced(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    let all = async {
        while let Some(next) = progress.message().await.unwrap() {
            seen.push(next);
        }
    };
    tokio::time::timeout(BOUND + Duration::from_secs(10), all).await.unwrap();
    assert!(!seen.first().unwrap().enforced && seen.last().unwrap().enforced, "{seen:?}");
}

/// Invariant 20: a store that is restored from an older copy starts another history, and what running sidecars know
/// stays in force.
#[tokio::test]
async fn after_an_older_copy_of_the_store_was_restored_what_was_denied_stays_denied() {
    let mut lab = Lab::start().await;
    let (alice, bob) = (lab.keys.token(&json!({"sub": "alice"})), lab.keys.token(&json!({"sub": "bob"})));
    lab.controller().child.kill().await.unwrap();
    let store = lab.path("store").join("rescind.redb");
    let copy = std::fs::read(&store).unwrap();
    lab.start_controller(&[]).await;
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    lab.controller().child.kill().await.unwrap();
    std::fs::write(&store, copy).unwrap();
    lab.start_controller(&[]).await;
    stays_denied(&lab, &alice, &bob, &revoked.version).await;
    assert!(lab.controller().child.log().contains("it went back in time"), "{}", lab.logs());
}

/// Invariant 20: a store that was lost and made anew.
#[tokio::test]
async fn after_the_store_was_lost_what_was_denied_stays_denied() {
    let mut lab = Lab::start().await;
    let (alice, bob) = (lab.keys.token(&json!({"sub": "alice"})), lab.keys.token(&json!({"sub": "bob"})));
    let revoked = lab.ban(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    lab.controller().child.kill().await.unwrap();
    std::fs::remove_dir_all(lab.path("store")).unwrap();
    lab.start_controller(&[]).await;
    // No sidecar of the lost history is known to the new one, and those that are away may still be fresh.
    is_enforced_once_the_bound_is_over(&lab).await;
    stays_denied(&lab, &alice, &bob, &revoked.version).await;
}

/// Waits until the sidecar is fresh in a history after that of `version`; alice is denied all the while, and
/// afterwards.
async fn stays_denied(lab: &Lab, alice: &str, bob: &str, version: &str) {
    let history = |version: &str| version.split('/').next().and_then(|counter| counter.parse::<u64>().ok());
    wait_for("bob passes in another history", PATIENCE, async || {
        let answer = lab.check(alice).await.unwrap();
        assert_eq!(answer.decision(), v1::Decision::Deny, "{answer:?}\n{}", lab.logs());
        match lab.check(bob).await {
            Ok(answer)
                if answer.verdict() == v1::VerdictKind::Active
                    && history(&answer.version) > history(version) =>
            {
                Ok(())
            }
            answer => Err(format!("{answer:?}\n{}", lab.logs())),
        }
    })
    .await;
    assert_eq!(lab.check(alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
}
