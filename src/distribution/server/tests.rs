//! The bounds of a replica's streams, over the bytes of gRPC without a socket, so that the time can be paused.

use std::sync::Mutex;

use tokio::time::Instant;

use super::*;
use crate::api::allowed_subscribers::AllowedSubscribers;
use crate::distribution::enforcement::{MAX_REPORTED_OF_NAMESPACE, Predecessor, Sessions};
use crate::distribution::pump::{name, publisher, put};
use crate::proto::v1::distribution_client::DistributionClient;
use crate::proto::v1::subscriber_message::Message;
use crate::revocation::list::tests::version;
use crate::revocation::state::State;
use crate::revocation::state::tests::HASH_KEY;
use crate::runtime::clock::SystemClock;
use crate::store::SealKey;

type Outbound = mpsc::Sender<v1::SubscriberMessage>;

/// A replica that has fetched nothing, with room for so many streams.
fn server(max_streams: usize) -> DistributionServer {
    let sessions = Arc::new(Sessions::new(Predecessor::None));
    let hub = Hub::new("one", SealKey::new(&[4; 32]), sessions);
    DistributionServer::new(hub, Arc::new(SystemClock), CancellationToken::new(), max_streams)
}

async fn follow(server: &DistributionServer) -> Result<(Outbound, Streaming<v1::PublisherMessage>), Status> {
    let (outbound, messages) = mpsc::channel(8);
    let answer = DistributionClient::new(server.clone()).follow(ReceiverStream::new(messages)).await?;
    Ok((outbound, answer.into_inner()))
}

async fn say(outbound: &Outbound, message: Message) {
    outbound.send(v1::SubscriberMessage { message: Some(message) }).await.unwrap();
}

fn hello() -> Message {
    Message::Hello(v1::Hello { identity: "shop-1#ab".to_owned(), ..v1::Hello::default() })
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_the_limit_is_refused_and_taken_when_another_has_ended() {
    let server = server(1);
    let (outbound, mut inbound) = follow(&server).await.unwrap();
    let refused = follow(&server).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.message().contains("go to another"), "{refused}");
    drop(outbound);
    assert!(inbound.message().await.unwrap().is_none());
    server.shared.streams.close();
    server.shared.streams.wait().await;
    assert!(follow(&server).await.is_ok());
}

/// Whoever says something now and then is not silent.
#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_is_said_for_a_minute_is_ended() {
    let server = server(1);
    let (outbound, mut inbound) = follow(&server).await.unwrap();
    let started = Instant::now();
    say(&outbound, hello()).await;
    let ping = || Message::Ping(v1::Ping { nonce: vec![1; 16].into(), acknowledged: Vec::new() });
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_secs(40), inbound.message()).await.is_err());
        say(&outbound, ping()).await;
    }
    let ended = tokio::time::timeout(Duration::from_secs(3600), inbound.message()).await;
    let ended = ended.expect("in time").unwrap_err();
    assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended}");
    assert_eq!(started.elapsed().as_secs(), 3 * 40 + 60);
    assert_eq!(server.shared.hub.sessions().connected(), 0);
}

/// A mode that this version does not serve is refused in words, so that a sidecar can tell it from a fault.
#[tokio::test(start_paused = true)]
async fn a_compact_subscription_is_answered_with_unimplemented() {
    let server = server(1);
    let (outbound, mut inbound) = follow(&server).await.unwrap();
    say(&outbound, hello()).await;
    let (namespace, name) = ("default".to_owned(), "shop".to_owned());
    let mode = v1::Mode::Compact.into();
    say(
        &outbound,
        Message::Subscribe(v1::Subscribe { r#ref: 1, namespace, name, mode, ..v1::Subscribe::default() }),
    )
    .await;
    let refused = inbound.message().await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented, "{refused}");
}

/// A sidecar whose token is good for a minute.
struct ForAMinute {
    renewable: bool,
}

impl Guest for ForAMinute {
    fn judge(&self, _: &ListName, _: Option<&AllowedSubscribers>) -> Admission {
        Admission::Admitted
    }
    fn look_up(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
    fn good_for(&self) -> Duration {
        Duration::from_secs(60)
    }
    fn can_be_renewed(&self) -> bool {
        self.renewable
    }
}

impl Authenticator for ForAMinute {
    fn authenticate(&self, token: Option<String>) -> BoxFuture<'_, Result<Box<dyn Guest>, Status>> {
        let guest = ForAMinute { renewable: self.renewable };
        Box::pin(async move {
            token.ok_or_else(|| Status::unauthenticated("who are you?"))?;
            Ok(Box::new(guest) as Box<dyn Guest>)
        })
    }
}

async fn follow_as(
    server: &DistributionServer,
    shown: &[&str],
) -> Result<(Outbound, Streaming<v1::PublisherMessage>), Status> {
    let (outbound, messages) = mpsc::channel(8);
    let mut request = Request::new(ReceiverStream::new(messages));
    for shown in shown {
        request.metadata_mut().append("authorization", shown.parse().unwrap());
    }
    let answer = DistributionClient::new(server.clone()).follow(request).await?;
    Ok((outbound, answer.into_inner()))
}

/// Returns whether the sidecar was asked to come again, and how the stream ended within ten minutes in which it did not.
async fn outlives_its_token(renewable: bool) -> (bool, Option<tonic::Code>) {
    let server = server(1).guarded_by(Arc::new(ForAMinute { renewable }));
    let (outbound, mut inbound) = follow_as(&server, &["Bearer token"]).await.unwrap();
    say(&outbound, hello()).await;
    let (mut asked, ends) = (false, Instant::now() + Duration::from_secs(600));
    while Instant::now() < ends {
        let ping = Message::Ping(v1::Ping { nonce: vec![1; 16].into(), acknowledged: Vec::new() });
        if outbound.send(v1::SubscriberMessage { message: Some(ping) }).await.is_err() {
            let ended = inbound.message().await.map(drop).unwrap_err();
            return (asked, Some(ended.code()));
        }
        match tokio::time::timeout(Duration::from_secs(5), inbound.message()).await {
            Ok(Ok(Some(message))) => {
                asked |= matches!(message.message, Some(v1::publisher_message::Message::Draining(_)));
            }
            Ok(Ok(None)) => return (asked, None),
            Ok(Err(status)) => return (asked, Some(status.code())),
            Err(_) => {}
        }
    }
    (asked, None)
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_exactly_one_token_is_refused() {
    let server = server(1).guarded_by(Arc::new(ForAMinute { renewable: true }));
    for shown in [&[][..], &["token"], &["Basic token"], &["Bearer a", "Bearer b"]] {
        let refused = follow_as(&server, shown).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{shown:?}");
    }
    assert!(follow_as(&server, &["Bearer token"]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_whose_token_has_ended_is_asked_to_come_again_and_cut_if_it_does_not() {
    assert_eq!(outlives_its_token(true).await, (true, Some(tonic::Code::Unauthenticated)));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_cut_while_no_new_token_could_be_looked_at() {
    assert_eq!(outlives_its_token(false).await, (true, None));
}

/// Invariant 1: whoever can't be reported is given nothing of the list, and told why, until there is a place.
#[tokio::test(start_paused = true)]
async fn a_list_without_a_place_in_the_report_is_not_given_until_there_is_one() {
    let server = server(1);
    let hub = Arc::clone(&server.shared.hub);
    hub.sessions().are_reported();
    let now = server.shared.clock.now();
    let crowd = hub.sessions().open("crowd", 1, "one", now);
    let list = |n: usize| format!("default/list-{n}").parse::<ListName>().unwrap();
    (0..MAX_REPORTED_OF_NAMESPACE).for_each(|n| hub.sessions().follow(crowd, &list(n)).unwrap());
    let (outbound, mut inbound) = follow(&server).await.unwrap();
    say(&outbound, hello()).await;
    for (r#ref, name) in [(1, "shop"), (2, "list-0")] {
        let (namespace, name, mode) = ("default".to_owned(), name.to_owned(), v1::Mode::Exact.into());
        let subscribe = v1::Subscribe { r#ref, namespace, name, mode, ..v1::Subscribe::default() };
        say(&outbound, Message::Subscribe(subscribe)).await;
    }
    let told = inbound.message().await.unwrap().unwrap().message.unwrap();
    let v1::publisher_message::Message::NotAdmitted(told) = told else { panic!("{told:?}") };
    assert_eq!((told.r#ref, told.reason), (1, v1::NotAdmittedReason::Unavailable.into()));
    assert!(told.detail.contains("as it can report"), "{}", told.detail);
    hub.sessions().bye(crowd, &list(1));
    let shop: ListName = "default/shop".parse().unwrap();
    let counts = |list: &ListName| hub.sessions().summary(now).get(list).map(|summary| summary.subscribers);
    assert_eq!((counts(&shop), counts(&list(0))), (None, Some(2)));
    hub.tell(|_| {});
    let counted = async {
        while counts(&shop).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), counted).await.expect("it was never counted");
    assert_eq!(counts(&shop), Some(1));
}

async fn subscribe(outbound: &Outbound, list: &ListName) {
    let (namespace, name) = (list.namespace().to_owned(), list.name().to_owned());
    let mode = v1::Mode::Exact.into();
    let subscribe = v1::Subscribe { r#ref: 1, namespace, name, mode, ..v1::Subscribe::default() };
    say(outbound, Message::Subscribe(subscribe)).await;
}

/// Reads until the stream has reached a revision; returns how many deltas that took.
async fn read_up_to(inbound: &mut Streaming<v1::PublisherMessage>, revision: u64) -> usize {
    use v1::publisher_message::Message;
    let mut deltas = 0;
    loop {
        let message = inbound.message().await.unwrap().unwrap().message.unwrap();
        let reached = if let Message::SnapshotEnd(end) = message {
            end.version
        } else if let Message::Delta(delta) = message {
            deltas += 1;
            delta.to
        } else {
            None
        };
        if reached.is_some_and(|reached| reached.revocations >= revision) {
            return deltas;
        }
    }
}

/// Invariant 18: what a sidecar does not read does not pile up, and nobody waits for it. It gets the rest at once.
#[tokio::test(start_paused = true)]
async fn a_sidecar_that_does_not_read_skips_over_what_it_missed_and_others_get_every_change() {
    let server = server(2);
    let hub = Arc::clone(&server.shared.hub);
    let publisher = publisher(State::new(HASH_KEY), 1);
    hub.lists.write().unwrap().insert(name(), Arc::new(Mutex::new(publisher)));
    let (slow, mut unread) = follow(&server).await.unwrap();
    let (fast, mut read) = follow(&server).await.unwrap();
    for outbound in [&slow, &fast] {
        say(outbound, hello()).await;
        subscribe(outbound, &name()).await;
    }
    assert_eq!(read_up_to(&mut read, 1).await, 0);
    for n in 2..=u8::MAX {
        hub.with(&name(), &mut |publisher| assert!(publisher.apply(put(n), version(n.into()))));
        hub.tell(|_| {});
        assert_eq!(read_up_to(&mut read, n.into()).await, 1, "change {n}");
    }
    // A few frames were on their way, and one was to follow them.
    let deltas = read_up_to(&mut unread, u8::MAX.into()).await;
    assert!(deltas <= 8, "{deltas} deltas were kept for it");
}
