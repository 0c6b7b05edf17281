//! What a replica keeps when it fetches everything anew.

use super::*;

/// One stream, from its subscription on.
struct Stream(Subscriber);

impl Stream {
    fn open(bench: &Bench) -> Self {
        let mut session = Session::new("shop-1#ab".to_owned(), vec![ListView::empty(list())]);
        let mut stream = Self(Subscriber::new(bench.hub.seal_key()));
        for message in session.connect() {
            stream.0.receive(message, 0).unwrap();
        }
        stream
    }

    /// Returns how many messages there are to be sent.
    fn messages(&mut self, bench: &Bench) -> usize {
        let lend = &mut |list: &ListName, use_it: &mut dyn FnMut(&mut ListPublisher)| {
            bench.hub.with(list, use_it);
        };
        self.0.next_frames(0, lend).len()
    }
}

impl Bench {
    /// Makes the replica fetch everything: nothing is delivered to it until it has.
    async fn fetch_anew(&self, meanwhile: impl Future<Output = ()>) {
        let before = self.fetches();
        self.store.set(Fault::FollowersDead);
        meanwhile.await;
        let serial = self.hub.ping();
        self.until_so(|| self.fetches() != before).await;
        self.store.set(Fault::None);
        self.until(|news| news.proven >= serial).await;
    }
}

/// Invariant 20: what an older copy has lost would seem to be lifted in it, before another history has begun.
#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_of_an_older_copy_before_another_history_has_begun() {
    let bench = bench().await;
    bench
        .run(async {
            bench.proof().await;
            let (before, history) = (bench.fetches(), bench.hub.news().borrow().complete.unwrap().epoch);
            bench.store.set(Fault::WentBackAndBusy);
            let serial = bench.hub.ping();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(bench.fetches(), before);
            bench.store.set(Fault::None);
            bench.until(|news| news.proven >= serial).await;
            assert!(bench.hub.news().borrow().complete.unwrap().epoch.counter > history.counter);
        })
        .await;
}

/// Invariant 20: of a list whose namespace is about to go, what is fetched may be a part.
#[tokio::test(start_paused = true)]
async fn a_list_that_goes_while_everything_is_fetched_is_not_published() {
    let bench = bench().await;
    bench.store.set(Fault::ListsGoWithFetch);
    bench
        .run(async {
            bench.until(|news| news.complete.is_some()).await;
            assert!(!bench.hub.with(&list(), &mut |_| {}));
        })
        .await;
}

/// Invariant 22: to fetch everything anew is no reason to send it anew.
#[tokio::test(start_paused = true)]
async fn after_everything_was_fetched_a_stream_of_a_list_that_has_not_changed_goes_on() {
    let bench = bench().await;
    revoke(&*bench.store, "alice").await;
    bench
        .run(async {
            bench.proof().await;
            let mut stream = Stream::open(&bench);
            assert!(stream.messages(&bench) > 2, "a declaration and a snapshot");
            bench.fetch_anew(async {}).await;
            assert_eq!(stream.messages(&bench), 0);
            revoke(&*bench.store, "bob").await;
            bench.proof().await;
            assert_eq!(stream.messages(&bench), 1, "a delta");
            bench.fetch_anew(async { drop(revoke(&*bench.store, "carol").await) }).await;
            assert!(stream.messages(&bench) > 1, "a snapshot");
            assert_eq!(bench.record_count(), 3);
        })
        .await;
}

/// Invariant 16: also if the second was revoked while nothing was delivered, and the rows were the same.
#[tokio::test(start_paused = true)]
async fn a_second_record_of_the_same_rows_is_not_lost_when_everything_is_fetched() {
    let bench = bench().await;
    let first = revoke(&*bench.store, "alice").await;
    bench
        .run(async {
            bench.proof().await;
            bench.fetch_anew(async { drop(revoke(&*bench.store, "alice").await) }).await;
            assert_eq!(bench.record_count(), 2);
            let lifted = bench.store.append(lift(&first)).await.unwrap();
            bench.until(|news| news.complete >= Some(lifted.version)).await;
            let mut keys = 0;
            bench.hub.with(&list(), &mut |publisher| keys = publisher.state().key_count());
            assert_eq!((bench.record_count(), keys), (1, 1));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_declaration_arrives_with_the_round_after_it() {
    let bench = bench().await;
    bench
        .run(async {
            bench.proof().await;
            assert_eq!(bench.generation(), 1);
            let mut changed = document();
            changed.spec.freshness.maximum_seconds = 600;
            bench.embedded.put_list(changed).await.unwrap();
            bench.proof().await;
            assert_eq!(bench.generation(), 2);
            assert_eq!(bench.fetches(), 1);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_list_is_picked_up_by_the_round_after_it() {
    let bench = bench().await;
    let mut another = document();
    another.metadata.name = "another".to_owned();
    let name = another.name().unwrap();
    bench
        .run(async {
            bench.proof().await;
            assert!(!bench.hub.with(&name, &mut |_| {}));
            bench.embedded.put_list(another).await.unwrap();
            bench.proof().await;
            bench.proof().await;
            assert!(bench.hub.with(&name, &mut |publisher| assert_eq!(publisher.state().record_count(), 0)));
            let mut names = Vec::new();
            bench.hub.for_each(|name, _| names.push(name.to_string()));
            assert_eq!(names, ["default/another", "default/shop"]);
        })
        .await;
}

/// Invariant 3: a list that is gone is lifted nowhere; it is only proven no more.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_gone_is_published_no_more_and_comes_back() {
    let bench = bench().await;
    revoke(&*bench.store, "alice").await;
    bench
        .run(async {
            bench.proof().await;
            bench.store.set(Fault::ListsGone);
            bench.proof().await;
            assert!(!bench.hub.with(&list(), &mut |_| {}));
            bench.store.set(Fault::None);
            bench.proof().await;
            bench.proof().await;
            assert_eq!(bench.record_count(), 1);
        })
        .await;
}

/// Invariant 20: what the store has lost with all that it held is published no more, also while nothing can be fetched.
#[tokio::test(start_paused = true)]
async fn while_the_store_is_gone_nothing_is_published() {
    let bench = bench().await;
    revoke(&*bench.store, "alice").await;
    bench
        .run(async {
            bench.proof().await;
            assert_eq!(bench.record_count(), 1);
            bench.store.set(Fault::StoreGone);
            let serial = bench.hub.ping();
            bench.until_so(|| !bench.hub.with(&list(), &mut |_| {})).await;
            bench.store.set(Fault::None);
            bench.until(|news| news.proven >= serial).await;
            assert_eq!(bench.record_count(), 1);
        })
        .await;
}

/// Invariant 3: a list that lacks one of its revocations is vouched for by nobody.
/// Invariant 23: and the other lists are.
#[tokio::test(start_paused = true)]
async fn a_list_with_a_revocation_that_has_no_row_is_not_published_until_it_is_gone() {
    let bench = bench().await;
    let mut another = document();
    another.metadata.name = "another".to_owned();
    let other = another.name().unwrap();
    bench.embedded.put_list(another).await.unwrap();
    bench
        .run(async {
            bench.proof().await;
            bench.store.set(Fault::Rowless);
            let alice = revoke(&*bench.store, "alice").await;
            bench.until(|news| news.complete >= Some(alice.version)).await;
            assert!(!bench.hub.with(&list(), &mut |_| {}));
            bench.proof().await;
            let fetches = bench.fetches();
            bench.proof().await;
            assert!(!bench.hub.with(&list(), &mut |_| {}), "a proof does not bring it back");
            assert!(bench.hub.with(&other, &mut |_| {}));
            assert_eq!(bench.fetches(), fetches, "nothing is fetched anew for it");
            let lifted = bench.store.append(lift(&alice)).await.unwrap();
            bench.until(|news| news.complete >= Some(lifted.version)).await;
            bench.proof().await;
            assert_eq!(bench.record_count(), 0);
        })
        .await;
}

/// Invariant 3: the same for what is there when everything is fetched.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_fetched_with_a_revocation_without_a_row_is_not_published() {
    let bench = bench().await;
    let alice = revoke(&*bench.store, "alice").await;
    bench.store.set(Fault::Rowless);
    bench
        .run(async {
            bench.proof().await;
            bench.proof().await;
            assert!(!bench.hub.with(&list(), &mut |_| {}));
            assert_eq!(bench.fetches(), 1);
            bench.store.append(lift(&alice)).await.unwrap();
            let whole = async {
                while !bench.hub.with(&list(), &mut |_| {}) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), whole).await.unwrap();
            assert_eq!(bench.record_count(), 0);
        })
        .await;
}

/// Invariant 21: a list that was deleted and declared anew between two rounds is not published under its old key.
#[tokio::test(start_paused = true)]
async fn a_list_with_another_hash_key_is_fetched_anew() {
    let bench = bench().await;
    bench
        .run(async {
            bench.proof().await;
            bench.store.set(Fault::DeclaredAnew);
            bench.proof().await;
            bench.proof().await;
            let mut hash_key = None;
            bench.hub.with(&list(), &mut |publisher| hash_key = Some(*publisher.state().hash_key()));
            assert_eq!(hash_key, Some(HashKey::new([0xaa; 16])));
            assert_eq!(bench.fetches(), 2);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_replica_with_its_words() {
    let bench = bench().await;
    bench.store.set(Fault::BeatsFail);
    bench.hub.ping();
    let ended = bench.replica().run(CancellationToken::new()).await;
    assert_eq!(ended.unwrap_err().to_string(), "the store failed: the disk is gone");
}

#[tokio::test(start_paused = true)]
async fn a_replica_stops_when_told_also_while_its_store_hangs() {
    let bench = bench().await;
    for fault in [Fault::None, Fault::FetchHangs] {
        bench.store.set(fault);
        let shutdown = CancellationToken::new();
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            shutdown.cancel();
        };
        let run = tokio::time::timeout(Duration::from_secs(5), bench.replica().run(shutdown.clone()));
        let (ended, ()) = tokio::join!(run, stop);
        assert!(ended.expect("in time").is_ok());
    }
}
