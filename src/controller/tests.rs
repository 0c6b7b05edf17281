//! Every part that holds revocations, joined in memory over a real store.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::api::compile::tests::document;
use crate::distribution::enforcement::{Predecessor, Sessions};
use crate::distribution::hub::Hub;
use crate::distribution::replica::Replica;
use crate::distribution::server::DistributionServer;
use crate::distribution::session::Session;
use crate::distribution::view::ListView;
use crate::proto::v1;
use crate::proto::v1::distribution_client::DistributionClient;
use crate::revocation::list::RevocationList;
use crate::revocation::time::Moment;
use crate::revocation::version::Version;
use crate::runtime::clock::ManualClock;
use crate::store::contract::{list, revoke};
use crate::store::embedded::tests::environment;

use super::*;

/// A sidecar's end of a stream that passes no socket.
struct Follower {
    session: Session,
    outbound: mpsc::Sender<v1::SubscriberMessage>,
    inbound: Streaming<v1::PublisherMessage>,
}

impl Follower {
    async fn of(server: DistributionServer) -> Self {
        let mut session = Session::new("shop-1#ab".to_owned(), vec![ListView::empty(list())]);
        let (outbound, messages) = mpsc::channel(256);
        for message in session.connect() {
            outbound.send(message).await.unwrap();
        }
        let answer = DistributionClient::new(server).follow(ReceiverStream::new(messages)).await.unwrap();
        Self { session, outbound, inbound: answer.into_inner() }
    }

    fn list(&self) -> Option<&RevocationList> {
        self.session.view(0).unwrap().list.as_deref()
    }

    /// Takes messages until the list has a version.
    async fn until_at(&mut self, version: Version) {
        let all = async {
            while self.list().is_none_or(|list| list.version() != version) {
                let message = self.inbound.message().await.unwrap().unwrap();
                for reply in self.session.receive(message).unwrap().replies {
                    self.outbound.send(reply).await.unwrap();
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), all).await.is_ok(), "{version} never came");
    }
}

/// Failure 16: three days of more than one revocation in every minute, on a clock that is pushed on by half an hour at a time.
#[tokio::test]
async fn days_of_churn_make_neither_the_store_nor_a_replica_nor_a_sidecar_grow() {
    const STEP: Duration = Duration::from_secs(1800);
    const STEPS_PER_DAY: usize = 48;
    const PER_STEP: usize = 40;
    // A cutoff is kept for a token's lifetime, the largest leeway and the margin: 3,962 s, less than 3 steps.
    const MOST: usize = 4 * PER_STEP;
    let folder = tempfile::tempdir().unwrap();
    let start = Moment { boot_nanos: 0, wall_nanos: 1_700_000_000_000_000_000 };
    let clock = Arc::new(ManualClock::new(start));
    let of_store = embedded::Environment { clock: clock.clone(), ..environment() };
    let store = EmbeddedStore::open(folder.path(), of_store).unwrap();
    store.put_list(document()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let hub = Hub::new("one", store.seal_key(), Arc::new(Sessions::new(Predecessor::None)));
    let server = DistributionServer::new(Arc::clone(&hub), clock.clone(), CancellationToken::new(), 1);
    let replica = Replica::new(Arc::clone(&hub), Arc::clone(&store), Environment::of_machine());
    let hubs: Arc<[Arc<Hub>]> = Arc::from([Arc::clone(&hub)]);
    let mut expiry = expiry::Expiry::new(Arc::clone(&store), hubs, clock.clone(), audit::silent());
    let churn = async {
        let mut sidecar = Follower::of(server).await;
        let (mut live, mut bytes) = (Vec::new(), Vec::new());
        for step in 0..3 * STEPS_PER_DAY {
            clock.advance(STEP);
            expiry.carry_out().await.unwrap();
            let subjects = (0..PER_STEP).map(|n| format!("user-{step}-{n}"));
            let revoked = subjects.map(|subject| {
                let store = &store;
                async move { revoke(&**store, &subject).await }
            });
            let revoked = futures::future::join_all(revoked).await;
            let versions = revoked.iter().map(|revocation| revocation.version);
            sidecar.until_at(versions.max_by_key(|version| version.revisions.revocations).unwrap()).await;
            let held = store.fetch().await.unwrap().revocations.len();
            assert!((PER_STEP..=MOST).contains(&held), "{held} are live after {step} steps");
            let in_use = sidecar.list().unwrap();
            assert_eq!(in_use.len(), held);
            bytes.push(in_use.approximate_bytes());
            hub.with(&list(), &mut |publisher| {
                assert_eq!((publisher.state().record_count(), publisher.state().key_count()), (held, held));
            });
            live.push(held);
        }
        let days: Vec<_> = bytes.chunks(STEPS_PER_DAY).map(|day| *day.iter().max().unwrap()).collect();
        assert!(days[2] <= days[0], "the sidecar's list grows: {days:?} bytes");
        assert!(live.iter().rev().take(STEPS_PER_DAY).all(|held| *held == live[10]), "{live:?}");
        let file = std::fs::metadata(folder.path().join("rescind.redb")).unwrap().len();
        assert!(file < 8 << 20, "the store's file has {file} bytes");
    };
    tokio::select! {
        ended = replica.run(CancellationToken::new()) => panic!("the replica ended: {ended:?}"),
        () = churn => {}
    }
}
