//! Bounded staleness: a sidecar that can't know vouches for nobody, and says so in time.

use std::time::Duration;

use rescind::proto::v1;
use rescind::proto::v1::target::Target;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::relay::{Mode, Relay};
use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_unix};
use crate::support::lab::{BOUND, Lab, WINDOW};
use crate::support::wait::wait_for;

/// What asking and scheduling may add to a bound on a busy machine. It is never added where something is *allowed*.
const SLACK: Duration = Duration::from_secs(5);

/// Asks until nobody is vouched for any more; returns the last moment *before* which an allow was asked for.
async fn until_stale(lab: &Lab, token: &str) -> Instant {
    let mut last_allowed = Instant::now();
    wait_for("the sidecar is stale", PATIENCE, async || {
        let asked = Instant::now();
        match lab.check(token).await {
            Ok(answer) if answer.reason == "STALE" => Ok(()),
            Ok(answer) if answer.decision() == v1::Decision::Allow => {
                last_allowed = asked;
                Err(format!("{answer:?}"))
            }
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
    last_allowed
}

/// Invariant 1: allowed as FRESH reflects every revocation that was acknowledged more than D ago.
/// Invariant 12: a ping that nobody answers proves nothing.
/// Failure 17: a stream that hangs, and has not failed, becomes stale.
#[tokio::test]
async fn behind_a_hung_connection_no_token_passes_later_than_the_bound() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    let relay = Relay::start(lab.path("relay.sock"), lab.path("stream.sock"));
    let arguments = lab.sidecar_arguments_to(&[relay.uri()]);
    lab.start_sidecar_with(&arguments).await;
    lab.until_fresh().await;
    let alice = lab.keys.token(&json!({"sub": "alice"}));
    relay.set(Mode::Hang);
    let before = Instant::now();
    lab.revoke(Target::Subject("alice".into())).await;
    let acknowledged = Instant::now();
    let last_allowed = until_stale(&lab, &alice).await;
    assert!(
        last_allowed < acknowledged + WINDOW,
        "allowed {:?} after the acknowledgement",
        last_allowed - before
    );
    relay.set(Mode::Pass);
    wait_for("the revocation arrives", PATIENCE, async || match lab.check(&alice).await {
        Ok(answer) if answer.verdict() == v1::VerdictKind::Revoked => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
}

/// Failure 17: a controller that is frozen counts as gone. A hit denies in every state.
#[tokio::test]
async fn with_a_frozen_controller_good_tokens_get_a_doubt_within_the_bound_and_revoked_ones_a_denial() {
    let mut lab = Lab::start().await;
    let (alice, bob) = (lab.keys.token(&json!({"sub": "alice"})), lab.keys.token(&json!({"sub": "bob"})));
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    lab.controller().child.signal(Signal::STOP).unwrap();
    let frozen = Instant::now();
    until_stale(&lab, &bob).await;
    assert!(frozen.elapsed() < BOUND + SLACK, "{:?}", frozen.elapsed());
    assert_eq!(lab.check(&alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    lab.controller().child.signal(Signal::CONT).unwrap();
    lab.until_fresh().await;
}

/// A sidecar that accepts less than its list offers is stale when its own bound is over.
#[tokio::test]
async fn a_sidecar_with_a_bound_of_its_own_stops_vouching_long_before_its_list_would() {
    let mut lab = Lab::declaring(|spec| spec["freshness"]["boundSeconds"] = 15.into());
    let bound = Duration::from_secs(2);
    lab.start_controller(&[]).await;
    lab.start_sidecar(&["--bound=2"]).await;
    lab.until_fresh().await;
    let alice = lab.keys.token(&json!({"sub": "alice"}));
    lab.controller().child.signal(Signal::STOP).unwrap();
    let frozen = Instant::now();
    let last_allowed = until_stale(&lab, &alice).await;
    // The clock of the test may not run faster than that of the sidecar by more than its allowance.
    assert!(last_allowed < frozen + bound + bound / 1000, "allowed {:?} later", last_allowed - frozen);
    assert!(frozen.elapsed() < bound + SLACK, "{:?}", frozen.elapsed());
    let ask = Ask::get("/auth").bearer(&alice);
    assert_eq!(ask_unix(&lab.path("auth.sock"), &ask).await.unwrap().status, 503);
    lab.controller().child.signal(Signal::CONT).unwrap();
    lab.until_fresh().await;
}

/// A paused sidecar computes its age when it decides: what it answers after the pause is not older than the bound.
#[tokio::test]
async fn a_sidecar_that_was_frozen_vouches_for_nobody_until_it_has_a_new_proof() {
    let mut lab = Lab::start().await;
    let alice = lab.keys.token(&json!({"sub": "alice"}));
    lab.sidecar().child.signal(Signal::STOP).unwrap();
    lab.controller().child.signal(Signal::STOP).unwrap();
    let frozen = Instant::now();
    // The pause itself is what is tested here.
    tokio::time::sleep_until(frozen + BOUND + Duration::from_millis(100)).await;
    lab.sidecar().child.signal(Signal::CONT).unwrap();
    let answer = lab.check(&alice).await.unwrap();
    assert_eq!(answer.reason, "STALE", "{answer:?}");
    lab.controller().child.signal(Signal::CONT).unwrap();
    lab.until_fresh().await;
}

/// Failure 18: a sidecar that has never had a proof refuses; its log says what it can't reach, and why.
#[tokio::test]
async fn without_a_controller_a_sidecar_vouches_for_nobody() {
    let mut lab = Lab::new();
    lab.start_sidecar(&[]).await;
    let answer = lab.check(&lab.keys.token(&json!({}))).await.unwrap();
    assert_eq!((answer.decision(), answer.reason.as_str()), (v1::Decision::Deny, "NEVER_FRESH"));
    wait_for("the log says why", PATIENCE, async || {
        let log = lab.logs();
        let told = log.lines().find(|line| line.contains("the stream was lost; trying another controller"));
        match told {
            Some(line) if line.contains("WARN") && line.contains("No such file or directory") => Ok(()),
            _ => Err(log),
        }
    })
    .await;
}

/// Invariant 21: after a fault ends, the sidecar is fresh again within seconds, without a restart.
#[tokio::test]
async fn after_a_controller_was_away_the_sidecar_is_fresh_again_by_itself() {
    let mut lab = Lab::start().await;
    let bob = lab.keys.token(&json!({"sub": "bob"}));
    lab.controller().child.kill().await.unwrap();
    until_stale(&lab, &bob).await;
    lab.start_controller(&[]).await;
    let back = Instant::now();
    lab.until_fresh().await;
    // The longest pause between attempts is 3 s, and a proof takes a fraction of one.
    assert!(back.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_best_effort_list_goes_on_when_it_is_stale_and_says_so() {
    let mut lab = Lab::declaring(|spec| spec["freshness"]["policy"] = "BestEffort".into());
    lab.start_controller(&[]).await;
    lab.start_sidecar(&[]).await;
    lab.until_fresh().await;
    let bob = lab.keys.token(&json!({"sub": "bob"}));
    lab.controller().child.signal(Signal::STOP).unwrap();
    wait_for("best effort", PATIENCE, async || match lab.check(&bob).await {
        Ok(answer) if answer.best_effort && answer.decision() == v1::Decision::Allow => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
    lab.controller().child.signal(Signal::CONT).unwrap();
}
