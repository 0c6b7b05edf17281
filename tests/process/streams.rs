//! Faults of the stream between two processes: a revoked token is never vouched for beyond the bound, and everything
//! comes right by itself.

use rescind::proto::v1;
use rescind::proto::v1::distribution_client::DistributionClient;
use rescind::proto::v1::subscriber_message::Message;
use rescind::proto::v1::target::Target;
use rescind::runtime::dial;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::damage::{DELTA, Fault, PONG};
use crate::relay::Relay;
use crate::support::PATIENCE;
use crate::support::http1::{Ask, ask_unix};
use crate::support::lab::{LIST, Lab, WINDOW, parts};
use crate::support::wait::wait_for;

/// A lab whose sidecar connects by a relay; alice is revoked before it starts.
struct Bench {
    lab: Lab,
    relay: Relay,
    alice: String,
}

impl Bench {
    async fn new() -> Self {
        let mut lab = Lab::new();
        lab.start_controller(&[]).await;
        lab.ban(Target::Subject("alice".into())).await;
        let relay = Relay::start(lab.path("relay.sock"), lab.path("stream.sock"));
        let alice = lab.keys.token(&json!({"sub": "alice"}));
        Self { lab, relay, alice }
    }

    /// Starts the sidecar anew, with nothing on the disk.
    async fn start_sidecar(&mut self) {
        let mut arguments = self.lab.sidecar_arguments_to(&[self.relay.uri()]);
        arguments.retain(|argument| !argument.starts_with("--data="));
        self.lab.start_sidecar_with(&arguments).await;
    }

    async fn until_fresh(&self) {
        let nobody = self.lab.keys.token(&json!({"sub": "nobody"}));
        wait_for("the sidecar is fresh", PATIENCE, async || {
            self.alice_is_denied().await;
            match self.lab.check(&nobody).await {
                Ok(answer) if answer.verdict() == v1::VerdictKind::Active => Ok(()),
                answer => Err(format!("{answer:?}\n{}", self.lab.logs())),
            }
        })
        .await;
    }

    async fn alice_is_denied(&self) {
        let answer = self.lab.check(&self.alice).await.unwrap();
        assert_eq!(answer.decision(), v1::Decision::Deny, "{answer:?}\n{}", self.lab.logs());
    }

    /// Revokes somebody under a fault: no allow is asked for later than the bound after the acknowledgement.
    async fn revoke_during(&self, name: &str, fault: Fault) {
        let token = self.lab.keys.token(&json!({"sub": name}));
        self.relay.damage(fault);
        self.lab.ban(Target::Subject(name.into())).await;
        let acknowledged = Instant::now();
        wait_for(&format!("{name} is denied after {fault:?}"), PATIENCE, async || {
            self.alice_is_denied().await;
            let asked = Instant::now();
            let answer = self.lab.check(&token).await.unwrap();
            let late = asked >= acknowledged + WINDOW;
            assert!(!late || answer.decision() == v1::Decision::Deny, "{fault:?}: {answer:?}");
            if answer.verdict() == v1::VerdictKind::Revoked { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        // What is cut after the delta is cut at the next proof, and a pong comes later than the delta.
        wait_for("it was damaged", PATIENCE, async || match self.relay.damaged() {
            1 => Ok(()),
            count => Err(format!("{fault:?}: {count}")),
        })
        .await;
        self.until_fresh().await;
    }
}

/// Invariants 1 and 6: a list that came only in part is no list.
#[tokio::test]
async fn a_stream_that_is_cut_after_any_message_vouches_for_nobody_who_is_revoked_and_is_mended() {
    let mut bench = Bench::new().await;
    // Declaration, the four parts of a snapshot, and the first proofs.
    for count in 0..8 {
        // What the one before is sent does not count.
        if let Some(mut before) = bench.lab.sidecar.take() {
            before.child.kill().await.unwrap();
        }
        bench.relay.damage(Fault::CutAfter(count));
        bench.start_sidecar().await;
        bench.until_fresh().await;
        wait_for("it was cut", PATIENCE, async || {
            bench.alice_is_denied().await;
            if bench.lab.sidecar.as_ref().unwrap().child.log().contains("the stream was lost") {
                Ok(())
            } else {
                Err(bench.lab.logs())
            }
        })
        .await;
        bench.until_fresh().await;
        assert_eq!(bench.relay.mend(), 1, "after {count} messages");
        assert_eq!(bench.lab.check(&bench.alice).await.unwrap().verdict(), v1::VerdictKind::Revoked);
    }
}

/// Invariants 1, 6 and 14: a delta that is lost or damaged on its way to a running sidecar.
#[tokio::test]
async fn a_delta_that_is_lost_or_has_a_flipped_bit_is_got_again_and_nobody_passes_meanwhile() {
    let mut bench = Bench::new().await;
    bench.start_sidecar().await;
    bench.until_fresh().await;
    let flips = [0, 5, 15, 30, 45, 55, 65, 75, 85, 95].map(|percent| Fault::Flip(DELTA, percent));
    let faults = [Fault::Lose(DELTA), Fault::CutAfter(0), Fault::CutAfter(1)].into_iter().chain(flips);
    for (n, fault) in faults.enumerate() {
        bench.revoke_during(&format!("user-{n}"), fault).await;
        assert_eq!(bench.relay.mend(), 1, "{fault:?}");
        bench.until_fresh().await;
    }
}

/// Invariants 11 and 14: a proof that was damaged proves nothing.
#[tokio::test]
async fn a_proof_that_is_lost_or_has_a_flipped_bit_vouches_for_nothing() {
    let mut bench = Bench::new().await;
    bench.start_sidecar().await;
    bench.until_fresh().await;
    let flips = [0, 10, 25, 40, 55, 70, 85, 99].map(|percent| Fault::Flip(PONG, percent));
    for (n, fault) in [Fault::Lose(PONG)].into_iter().chain(flips).enumerate() {
        bench.revoke_during(&format!("user-{n}"), fault).await;
        assert_eq!(bench.relay.mend(), 1, "{fault:?}");
    }
}

/// A sidecar that gets nothing whole answers 503 when its bound is over, and 401 or 403 for whoever is revoked.
#[tokio::test]
async fn behind_a_line_that_damages_every_message_a_sidecar_refuses_and_comes_back_by_itself() {
    let mut bench = Bench::new().await;
    bench.start_sidecar().await;
    bench.until_fresh().await;
    let bob = bench.lab.keys.token(&json!({"sub": "bob"}));
    bench.relay.damage(Fault::FlipEach);
    let status = async |token: &str| {
        ask_unix(&bench.lab.path("auth.sock"), &Ask::get("/auth").bearer(token)).await.unwrap().status
    };
    wait_for("bob gets a 503", PATIENCE, async || {
        assert_ne!(status(&bench.alice).await, 200);
        match status(&bob).await {
            503 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    bench.lab.ban(Target::Subject("bob".into())).await;
    assert!(bench.relay.mend() > 1);
    wait_for("bob is revoked", PATIENCE, async || match status(&bob).await {
        200 => panic!("bob was allowed\n{}", bench.lab.logs()),
        503 => Err("503".to_owned()),
        _ => Ok(()),
    })
    .await;
    bench.until_fresh().await;
}

/// A stream that is open and not read: a window of a kilobyte, and whoever says nothing back.
async fn unread(lab: &Lab) -> (mpsc::Sender<v1::SubscriberMessage>, Streaming<v1::PublisherMessage>) {
    let uri = format!("unix:{}", lab.path("stream.sock").display());
    let small = |endpoint: tonic::transport::Endpoint| endpoint.initial_stream_window_size(1024);
    let (outbound, messages) = mpsc::channel(8);
    let (namespace, name) = LIST.split_once('/').unwrap();
    let hello = v1::Hello { identity: "slow#1".to_owned(), ..v1::Hello::default() };
    let subscribe = v1::Subscribe {
        r#ref: 1,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        mode: v1::Mode::Exact.into(),
        ..v1::Subscribe::default()
    };
    for message in [Message::Hello(hello), Message::Subscribe(subscribe)] {
        outbound.send(v1::SubscriberMessage { message: Some(message) }).await.unwrap();
    }
    let channel = dial::channel(&uri, None, small).unwrap();
    let answer = DistributionClient::new(channel).follow(ReceiverStream::new(messages)).await.unwrap();
    (outbound, answer.into_inner())
}

/// Invariant 18: what is not read does not pile up, and keeps nobody else from being fresh.
#[tokio::test]
async fn a_stream_that_is_open_and_not_read_gets_the_rest_at_once_and_others_stay_fresh() {
    const CHANGES: usize = 400;
    let lab = Lab::start().await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(unread(&lab).await);
    }
    let bob = lab.keys.token(&json!({"sub": "bob"}));
    let mut last = String::new();
    for n in 0..CHANGES {
        last = lab.ban(Target::Subject(format!("user-{n}"))).await.version;
        if n % 20 == 0 {
            assert_eq!(lab.check(&bob).await.unwrap().verdict(), v1::VerdictKind::Active, "{}", lab.logs());
        }
    }
    lab.until_proven(&last).await;
    for (_outbound, mut inbound) in slow {
        let mut messages = 0;
        let all = async {
            loop {
                messages += 1;
                let message = inbound.message().await.unwrap().unwrap().message.unwrap();
                if let v1::publisher_message::Message::Delta(delta) = message
                    && delta.to.is_some_and(|to| to.revocations >= parts(&last).1)
                {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap();
        // The declaration, a snapshot, what fits into the window, the frames on their way, and the rest.
        assert!(messages < 60, "{messages} messages for {CHANGES} changes");
    }
}
