//! Snapshot, deltas, resume, and moves between replicas.

use rescind::proto::v1::revocation_check_client::RevocationCheckClient;
use rescind::proto::v1::target::Target;
use rescind::proto::v1::{self, cutoff::Cutoff};
use serde_json::json;

use crate::relay::{Mode, Relay};
use crate::support::PATIENCE;
use crate::support::issue::now;
use crate::support::lab::{Lab, parts, revoke_request};
use crate::support::metrics::metric;
use crate::support::wait::wait_for;

async fn until_verdict(lab: &Lab, token: &str, expected: v1::VerdictKind) {
    wait_for("the verdict", PATIENCE, async || match lab.check(token).await {
        Ok(answer) if answer.verdict() == expected => Ok(()),
        answer => Err(format!("{answer:?}\n{}", lab.logs())),
    })
    .await;
}

#[tokio::test]
async fn what_was_revoked_before_comes_as_a_snapshot_and_what_is_revoked_later_as_a_delta() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    lab.revoke(Target::Subject("alice".into())).await;
    let (alice, bob) = (lab.keys.token(&json!({"sub": "alice"})), lab.keys.token(&json!({"sub": "bob"})));
    lab.start_sidecar(&[]).await;
    lab.until_fresh().await;
    assert_eq!(lab.check(&alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    let revoked = lab.revoke(Target::Subject("bob".into())).await;
    lab.until_enforced(&revoked.version).await;
    assert_eq!(lab.check(&bob).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    let health = lab.sidecar().address("health").to_owned();
    assert_eq!(metric(&health, "rescind_snapshots_total").await, 1.0);
    assert_eq!(metric(&health, "rescind_deltas_total").await, 1.0);
}

/// Failure 25: a lift comes as a lift.
#[tokio::test]
async fn a_lifted_revocation_lets_the_token_pass_again() {
    let lab = Lab::start().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    let revoked = lab.ban(Target::Subject("alice".into())).await;
    until_verdict(&lab, &token, v1::VerdictKind::Revoked).await;
    lift(&lab, &revoked).await;
    assert_eq!(lab.check(&token).await.unwrap().verdict(), v1::VerdictKind::Active);
}

/// Invariant 16: revoking twice, and lifting one, leaves the other.
#[tokio::test]
async fn of_two_revocations_of_one_subject_either_is_enough() {
    let lab = Lab::start().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    let first = lab.ban(Target::Subject("alice".into())).await;
    lab.ban(Target::Subject("alice".into())).await;
    lift(&lab, &first).await;
    assert_eq!(lab.check(&token).await.unwrap().verdict(), v1::VerdictKind::Revoked);
}

/// Invariant 16: of two cutoffs the later one holds, whichever came first (failure 8); and so does the later end of two
/// bans. What the earlier one would let pass is refused for as long as the other lives.
#[tokio::test]
async fn of_two_revocations_of_one_subject_the_later_cutoff_and_the_later_end_hold() {
    let lab = Lab::start().await;
    let subject = |name: &str| revoke_request(Target::Subject(name.to_owned()));
    let up_to = |seconds| Some(v1::Cutoff { cutoff: Some(Cutoff::UnixSeconds(seconds)) });
    let issued = |name: &str, ago| lab.keys.token(&json!({"sub": name, "iat": now() - ago}));
    let verdict = async |token: &str| lab.check(token).await.unwrap().verdict();
    for (name, [first, second]) in [("early-late", [500, 100]), ("late-early", [100, 500])] {
        let [old, between, new] = [600, 300, 50].map(|ago| issued(name, ago));
        let mut last = v1::Revocation::default();
        let mut later = v1::Revocation::default();
        for ago in [first, second] {
            let request = v1::RevokeRequest { cutoff: up_to(now() - ago), ..subject(name) };
            last = lab.try_revoke(request).await.unwrap();
            if ago == 100 {
                later = last.clone();
            }
        }
        lab.until_enforced(&last.version).await;
        let all = async || [verdict(&old).await, verdict(&between).await, verdict(&new).await];
        let (revoked, active) = (v1::VerdictKind::Revoked, v1::VerdictKind::Active);
        assert_eq!(all().await, [revoked, revoked, active], "{name}");
        lift(&lab, &later).await;
        assert_eq!(all().await, [revoked, active, active], "{name}, the later one lifted");
    }

    let always = Some(v1::Cutoff { cutoff: Some(Cutoff::Always(true)) });
    let until = |seconds| v1::RevokeRequest {
        cutoff: always,
        expires_at_unix_seconds: now() + seconds,
        ..subject("banned")
    };
    let banned = lab.keys.token(&json!({"sub": "banned"}));
    let long = lab.try_revoke(until(600)).await.unwrap();
    let short = lab.try_revoke(until(2)).await.unwrap();
    until_forgotten(&lab, &short).await;
    assert_eq!(verdict(&banned).await, v1::VerdictKind::Revoked, "by the one that ends later");
    lift(&lab, &long).await;
    assert_eq!(verdict(&banned).await, v1::VerdictKind::Active, "no other covers it");
}

/// Lifts a revocation, and waits until the sidecar has done so.
async fn lift(lab: &Lab, revoked: &v1::Revocation) {
    let (list, name) = (revoked.list.clone(), revoked.name.clone());
    let lift = v1::LiftRequest { list, name, ..v1::LiftRequest::default() };
    let lifted = lab.admin().lift(lift).await.unwrap().into_inner();
    lab.until_enforced(&lifted.version).await;
}

/// Waits until a revocation has expired, and the sidecar knows.
async fn until_forgotten(lab: &Lab, revoked: &v1::Revocation) {
    wait_for("its end", PATIENCE, async || {
        let live = lab.live().await;
        if live.contains(&revoked.uid) { Err(format!("{live:?}")) } else { Ok(()) }
    })
    .await;
    let after = lab.ban(Target::Subject("somebody else".into())).await;
    lab.until_enforced(&after.version).await;
}

#[tokio::test]
async fn a_cut_stream_resumes_without_a_snapshot() {
    let mut lab = Lab::new();
    lab.start_controller(&[]).await;
    // An empty list is always sent again.
    lab.revoke(Target::Subject("carol".into())).await;
    let relay = Relay::start(lab.path("relay.sock"), lab.path("stream.sock"));
    let only_relay = lab.sidecar_arguments_to(&[relay.uri()]);
    lab.start_sidecar_with(&only_relay).await;
    lab.until_fresh().await;
    relay.set(Mode::Cut);
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    relay.set(Mode::Pass);
    lab.until_enforced(&revoked.version).await;
    let health = lab.sidecar().address("health").to_owned();
    assert_eq!(metric(&health, "rescind_snapshots_total").await, 1.0, "{}", lab.logs());
    assert!(metric(&health, "rescind_stream_connections_total").await >= 2.0);
}

/// Starts a controller with two replicas, and a sidecar that is fresh by the first and can reach both.
async fn start_with_two_replicas(lab: &mut Lab) -> [Relay; 2] {
    let other = lab.path("other.sock");
    lab.start_controller(&[&format!("--listen={}", other.display())]).await;
    // An empty list is always sent again.
    lab.revoke(Target::Subject("carol".into())).await;
    let relays = [
        Relay::start(lab.path("relay-a.sock"), lab.path("stream.sock")),
        Relay::start(lab.path("relay-b.sock"), other),
    ];
    relays[1].set(Mode::Cut);
    let arguments = lab.sidecar_arguments_to(&[relays[0].uri(), relays[1].uri()]);
    lab.start_sidecar_with(&arguments).await;
    lab.until_fresh().await;
    relays[1].set(Mode::Pass);
    relays
}

/// Two publishers with listeners of their own over one store.
#[tokio::test]
async fn a_sidecar_moves_to_another_replica_and_resumes_there() {
    let mut lab = Lab::new();
    let relays = start_with_two_replicas(&mut lab).await;
    relays[0].set(Mode::Cut);
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    lab.until_enforced(&revoked.version).await;
    lab.until_fresh().await;
    let status = lab.admin().status(v1::AdminStatusRequest {}).await.unwrap().into_inner();
    let replicas: Vec<&str> =
        status.subscribers.iter().filter(|s| s.connected).map(|s| s.replica.as_str()).collect();
    assert_eq!(replicas, ["replica-1"], "{}", lab.logs());
    let health = lab.sidecar().address("health").to_owned();
    assert_eq!(metric(&health, "rescind_snapshots_total").await, 1.0, "{}", lab.logs());
}

/// Failure 17: a controller that hangs, and has not failed, is left while what it has proven still counts.
#[tokio::test]
async fn a_controller_that_hangs_is_left_for_another_before_anything_is_stale() {
    // Longer than a controller is waited for, by more than a move takes; and shorter than the transport's keepalive.
    let mut lab = Lab::declaring(|spec| spec["freshness"]["boundSeconds"] = json!(8));
    let relays = start_with_two_replicas(&mut lab).await;
    relays[0].set(Mode::Hang);
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    let bob = lab.keys.token(&json!({"sub": "bob"}));
    // Only the other replica can prove what was revoked after the first one hung.
    wait_for("a proof from the other replica", PATIENCE, async || {
        let answer = lab.check(&bob).await.unwrap();
        assert_eq!(answer.verdict(), v1::VerdictKind::Active, "{answer:?}\n{}", lab.logs());
        if parts(&answer.version) >= parts(&revoked.version) { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let log = lab.sidecar().child.log();
    assert!(log.contains("the controller has proven nothing for 3200 ms"), "{log}");
}

#[tokio::test]
async fn several_lists_share_one_stream_and_a_hit_in_any_denies() {
    let mut lab = Lab::new();
    let manifest = std::fs::read_to_string(lab.path("lists.yaml")).unwrap();
    let second = manifest.replace("\"name\":\"shop\"", "\"name\":\"second\"");
    assert_ne!(manifest, second);
    std::fs::write(lab.path("lists.yaml"), format!("{manifest}\n---\n{second}\n")).unwrap();
    lab.start_controller(&[]).await;
    lab.start_sidecar(&["--list=default/second"]).await;
    lab.until_fresh().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    let request = v1::RevokeRequest {
        list: "default/second".to_owned(),
        ..revoke_request(Target::Subject("alice".into()))
    };
    lab.try_revoke(request).await.unwrap();
    until_verdict(&lab, &token, v1::VerdictKind::Revoked).await;
}

/// Asks about a token by somebody who needs a version.
async fn check_at(lab: &Lab, token: &str, min_version: &str) -> v1::CheckResponse {
    let options = v1::CheckOptions { min_version: min_version.to_owned(), ..v1::CheckOptions::default() };
    let request =
        v1::CheckRequest { token: token.to_owned(), options: Some(options), ..v1::CheckRequest::default() };
    let mut checks = RevocationCheckClient::new(lab.channel("check.sock"));
    checks.check(request).await.unwrap().into_inner()
}

/// A caller that has revoked asks for at least that version: it never sees its own revocation missing.
#[tokio::test]
async fn a_caller_can_ask_for_its_own_revocation() {
    let lab = Lab::start().await;
    for n in 0..20 {
        let subject = format!("user-{n}");
        let token = lab.keys.token(&json!({"sub": subject}));
        let revoked = lab.revoke(Target::Subject(subject)).await;
        let answer = check_at(&lab, &token, &revoked.version).await;
        let seen = (answer.verdict(), answer.reason.as_str());
        let behind = (v1::VerdictKind::Unknown, "BEHIND_MIN_VERSION");
        assert!(seen == (v1::VerdictKind::Revoked, "REVOKED") || seen == behind, "{answer:?}");
    }
}

/// A sidecar that is told nothing does not vouch for what the caller knows to be there, though it is fresh.
#[tokio::test]
async fn a_sidecar_that_has_not_heard_of_a_revocation_says_so_to_whoever_asks_for_it() {
    let mut lab = Lab::declaring(|spec| spec["freshness"]["boundSeconds"] = json!(30));
    lab.start_controller(&[]).await;
    let relay = Relay::start(lab.path("relay.sock"), lab.path("stream.sock"));
    let only_relay = lab.sidecar_arguments_to(&[relay.uri()]);
    lab.start_sidecar_with(&only_relay).await;
    lab.until_fresh().await;
    let token = lab.keys.token(&json!({"sub": "alice"}));
    relay.set(Mode::Cut);
    let revoked = lab.revoke(Target::Subject("alice".into())).await;
    let blind = check_at(&lab, &token, "").await;
    assert_eq!(blind.verdict(), v1::VerdictKind::Active, "within the bound it can't know: {blind:?}");
    let behind = check_at(&lab, &token, &revoked.version).await;
    assert_eq!((behind.decision(), behind.verdict()), (v1::Decision::Deny, v1::VerdictKind::Unknown));
    assert_eq!(behind.reason, "BEHIND_MIN_VERSION");
    relay.set(Mode::Pass);
    lab.until_enforced(&revoked.version).await;
    assert_eq!(check_at(&lab, &token, &revoked.version).await.verdict(), v1::VerdictKind::Revoked);
}
