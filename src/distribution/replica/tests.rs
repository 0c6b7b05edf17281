use super::*;
use crate::api::compile::tests::document;
use crate::distribution::enforcement::Sessions;
use crate::distribution::enforcement::{InUse, Predecessor};
use crate::distribution::hub::News;
use crate::distribution::session::Session;
use crate::distribution::subscriber::Subscriber;
use crate::distribution::view::ListView;
use crate::revocation::time::Moment;
use crate::runtime::clock::Clock;
use crate::runtime::clock::ManualClock;
use crate::runtime::random::SeededRandom;
use crate::store::SealKey;
use crate::store::contract::{lift, list, revoke};
use crate::store::embedded::EmbeddedStore;
use crate::store::embedded::tests::open;
use faulty::{Fault, Faulty, Write};

mod faulty;
mod fetching;

/// A real store, its faulty shell, and the folder that must live as long.
struct Bench {
    _folder: tempfile::TempDir,
    embedded: EmbeddedStore,
    store: Arc<Faulty>,
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    let store = Faulty::new(Arc::new(embedded.clone()));
    let hub = Hub::new("one", store.seal_key(), Arc::new(Sessions::new(Predecessor::None)));
    let clock = Arc::new(ManualClock::new(Moment { boot_nanos: 7, wall_nanos: 7 }));
    Bench { _folder: folder, embedded, store, hub, clock }
}

impl Bench {
    fn replica(&self) -> Replica {
        let random = Arc::new(SeededRandom::new(3));
        let environment = Environment {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            random,
            ..Environment::of_machine()
        };
        Replica::new(Arc::clone(&self.hub), Arc::clone(&self.store) as Arc<dyn Store>, environment)
    }

    /// Lets the replica run while `body` does.
    async fn run(&self, body: impl Future<Output = ()>) {
        tokio::select! {
            ended = self.replica().run(CancellationToken::new()) => panic!("the replica ended: {ended:?}"),
            () = body => {}
        }
    }

    /// Waits for news, in the paused time of the test.
    async fn until(&self, what: impl FnMut(&News) -> bool) {
        let mut news = self.hub.news();
        tokio::time::timeout(Duration::from_secs(120), news.wait_for(what)).await.expect("in time").unwrap();
    }

    /// Waits until something is so that no news tells of.
    async fn until_so(&self, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }

    async fn proof(&self) {
        let serial = self.hub.ping();
        self.until(|news| news.proven >= serial).await;
    }

    /// A ping gets no proof while something is wrong, and gets it afterwards, without a restart.
    async fn check_proves_nothing_during(&self, fault: Fault) {
        self.proof().await;
        self.store.set(fault);
        let serial = self.hub.ping();
        let long = Duration::from_secs(100);
        let waited = tokio::time::timeout(long, self.until(|news| news.proven >= serial)).await;
        assert!(waited.is_err(), "it proved something");
        self.store.set(Fault::None);
        self.until(|news| news.proven >= serial).await;
    }

    fn record_count(&self) -> usize {
        let mut count = 0;
        assert!(self.hub.with(&list(), &mut |publisher| count = publisher.state().record_count()));
        count
    }

    fn generation(&self) -> u64 {
        let mut generation = 0;
        assert!(self.hub.with(&list(), &mut |publisher| generation = publisher.config().generation));
        generation
    }

    fn beats(&self) -> u64 {
        self.store.beats.load(Ordering::SeqCst)
    }

    fn fetches(&self) -> u64 {
        self.store.fetches.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_gets_a_proof_from_one_heartbeat_however_many_pings_there_are() {
    let bench = bench().await;
    bench
        .run(async {
            (0..100).for_each(|_| _ = bench.hub.ping());
            bench.proof().await;
            assert_eq!((bench.hub.rounds(), bench.beats()), (1, 1));
            bench.proof().await;
            assert_eq!((bench.hub.rounds(), bench.beats()), (2, 2));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn without_pings_there_are_no_rounds() {
    let bench = bench().await;
    bench
        .run(async {
            let version = revoke(&*bench.store, "alice").await.version;
            bench.until(|news| news.complete >= Some(version)).await;
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert_eq!((bench.hub.rounds(), bench.beats()), (0, 0));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn rounds_come_closer_together_when_a_list_declares_a_small_bound() {
    let bench = bench().await;
    *bench.store.interval.lock().unwrap() = Duration::from_secs(1);
    let one_more = async || {
        bench.proof().await;
        let started = tokio::time::Instant::now();
        bench.proof().await;
        started.elapsed()
    };
    bench
        .run(async {
            assert_eq!(one_more().await, Duration::from_secs(1));
            let mut changed = document();
            changed.spec.freshness.bound_seconds = 3;
            bench.embedded.put_list(changed).await.unwrap();
            // The round that reads it has begun under the one before.
            bench.proof().await;
            assert_eq!(one_more().await, Duration::from_millis(375));
        })
        .await;
}

/// Invariant 1: what was acknowledged before the ping is in the state that the proof is about.
#[tokio::test(start_paused = true)]
async fn a_proof_covers_all_that_was_acknowledged_before_the_ping() {
    let bench = bench().await;
    bench
        .run(async {
            let alice = revoke(&*bench.store, "alice").await;
            bench.proof().await;
            assert_eq!(bench.record_count(), 1);
            let lifted = bench.store.append(lift(&alice)).await.unwrap();
            bench.proof().await;
            assert_eq!(bench.record_count(), 0);
            assert!(bench.hub.news().borrow().complete > Some(lifted.version));
            assert_eq!(bench.hub.news().borrow().observed, bench.clock.now());
        })
        .await;
}

/// Invariant 1: a heartbeat that had begun when a ping came is none for it.
#[tokio::test(start_paused = true)]
async fn a_ping_during_a_round_waits_for_the_next() {
    let bench = bench().await;
    bench.store.set(Fault::BeatsUnanswered);
    bench
        .run(async {
            let first = bench.hub.ping();
            bench.until_so(|| bench.beats() > 0).await;
            let second = bench.hub.ping();
            let mut news = bench.hub.news();
            bench.store.set(Fault::None);
            let proven = news.wait_for(|news| news.proven > 0).await.unwrap().proven;
            assert_eq!((proven, bench.hub.rounds()), (first, 1));
            bench.until(|news| news.proven >= second).await;
            assert_eq!((bench.hub.rounds(), bench.beats()), (2, 2));
        })
        .await;
}

/// Invariant 13: a replica whose log does not deliver vouches for nothing, though its writes succeed.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_delivered_nothing_proves_nothing() {
    let bench = bench().await;
    bench
        .run(async {
            bench.check_proves_nothing_during(Fault::EventsWithheld).await;
            assert!(bench.beats() > 1);
        })
        .await;
}

/// Invariants 13 and 21: a watch that is dead for good is given up after a few rounds.
#[tokio::test(start_paused = true)]
async fn a_replica_whose_watch_is_dead_fetches_everything_anew() {
    let bench = bench().await;
    bench
        .run(async {
            bench.check_proves_nothing_during(Fault::FollowersDead).await;
            assert!(bench.fetches() > 1);
        })
        .await;
}

/// Invariant 12: a failed write proves nothing.
#[tokio::test(start_paused = true)]
async fn a_refused_heartbeat_proves_nothing() {
    let bench = bench().await;
    bench
        .run(async {
            bench.check_proves_nothing_during(Fault::BeatsRefused).await;
            assert!(bench.fetches() > 1);
        })
        .await;
}

/// Invariant 12: nor does one that found no place; but a burst of calls is no reason to fetch everything.
#[tokio::test(start_paused = true)]
async fn while_a_store_is_busy_nothing_is_proven_and_nothing_fetched_unless_it_lasts() {
    let bench = bench().await;
    bench
        .run(async {
            bench.proof().await;
            bench.store.set(Fault::BeatsBusy);
            let serial = bench.hub.ping();
            let burst = Duration::from_secs(4);
            let waited = tokio::time::timeout(burst, bench.until(|news| news.proven >= serial)).await;
            assert!(waited.is_err(), "it proved something");
            assert!(bench.beats() > 10, "{} beats", bench.beats());
            bench.store.set(Fault::None);
            bench.until(|news| news.proven >= serial).await;
            assert_eq!(bench.fetches(), 1);
            bench.check_proves_nothing_during(Fault::BeatsBusy).await;
            assert!(bench.fetches() > 1);
        })
        .await;
}

/// Invariant 12: a write that timed out proves nothing, though its event was delivered.
#[tokio::test(start_paused = true)]
async fn an_unanswered_heartbeat_proves_nothing() {
    let bench = bench().await;
    bench.run(bench.check_proves_nothing_during(Fault::BeatsUnanswered)).await;
}

/// Invariant 13: a heartbeat below what was seen shows that the store went back.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_the_past_proves_nothing() {
    let bench = bench().await;
    bench.run(bench.check_proves_nothing_during(Fault::BeatsOfThePast)).await;
}

/// Invariant 1: whoever is told to be fresh is in a report that was in the log before.
#[tokio::test(start_paused = true)]
async fn a_report_of_whoever_has_pinged_is_written_before_the_heartbeat() {
    let bench = bench().await;
    bench.store.keep_reports();
    bench
        .run(async {
            bench.proof().await;
            assert_eq!(bench.store.written(), [Write::Report(vec![]), Write::Beat]);
            let sessions = bench.hub.sessions();
            let id = sessions.open("sidecar", 1, "one", bench.clock.now());
            sessions.follow(id, &list()).unwrap();
            bench.proof().await;
            let report = bench.hub.report(bench.clock.now());
            assert_eq!(report[0].subscribers, 1);
            assert_eq!(bench.store.written(), [Write::Report(report), Write::Beat]);
        })
        .await;
}

/// Invariants 1 and 12: without the report in the log, nobody is told to be fresh.
#[tokio::test(start_paused = true)]
async fn a_report_that_was_refused_proves_nothing() {
    let bench = bench().await;
    bench.store.keep_reports();
    bench.run(bench.check_proves_nothing_during(Fault::ReportsRefused)).await;
}

/// What waits to be enforced need not wait for the next round.
#[tokio::test(start_paused = true)]
async fn what_a_sidecar_has_acknowledged_is_reported_between_the_rounds() {
    let bench = bench().await;
    bench.store.keep_reports();
    bench
        .run(async {
            bench.proof().await;
            let sessions = bench.hub.sessions();
            let id = sessions.open("sidecar", 1, "one", bench.clock.now());
            sessions.follow(id, &list()).unwrap();
            bench.store.written();
            let version = bench.hub.news().borrow().complete.unwrap();
            sessions.acknowledge(id, &list(), InUse { version, declaration: None });
            let reported = async {
                loop {
                    let written = bench.store.written();
                    if !written.is_empty() {
                        return written;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let written = tokio::time::timeout(Duration::from_secs(60), reported).await.unwrap();
            assert_eq!(written, [Write::Report(bench.hub.report(bench.clock.now()))]);
        })
        .await;
}

/// Invariants 5 and 13: a list below the highest version seen is not taken, and what is held stays published.
#[tokio::test(start_paused = true)]
async fn a_replica_never_goes_back_to_an_earlier_state() {
    let bench = bench().await;
    let earlier = bench.embedded.fetch().await.unwrap();
    bench
        .run(async {
            let alice = revoke(&*bench.store, "alice").await;
            bench.until(|news| news.complete >= Some(alice.version)).await;
            bench.store.set(Fault::Stale(Box::new(earlier)));
            let serial = bench.hub.ping();
            let stale = bench.fetches();
            bench.until_so(|| bench.fetches() >= stale + 2).await;
            assert_eq!(bench.record_count(), 1);
            assert!(bench.hub.news().borrow().complete >= Some(alice.version));
            bench.store.set(Fault::None);
            bench.until(|news| news.proven >= serial).await;
            assert_eq!(bench.record_count(), 1);
        })
        .await;
}

/// Invariant 21: nothing that passes by itself needs a restart.
#[tokio::test(start_paused = true)]
async fn a_log_that_was_compacted_while_it_was_fetched_is_fetched_again() {
    let bench = bench().await;
    bench.store.set(Fault::Compacted);
    bench
        .run(async {
            let serial = bench.hub.ping();
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!((2..100).contains(&bench.fetches()), "{} fetches", bench.fetches());
            bench.store.set(Fault::None);
            bench.until(|news| news.proven >= serial).await;
        })
        .await;
}
