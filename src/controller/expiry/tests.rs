use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::*;
use crate::api::compile::tests::{config, document};
use crate::controller::audit::silent;
use crate::distribution::enforcement::{Predecessor, Sessions};
use crate::distribution::replica::Replica;
use crate::revocation::expiry::{MARGIN_SECONDS, MAX_LEEWAY_SECONDS};
use crate::revocation::time::Moment;
use crate::revocation::version::{Epoch, Revisions};
use crate::runtime::clock::ManualClock;
use crate::runtime::environment::Environment;
use crate::store::contract::{list, revoke, subject};
use crate::store::embedded::EmbeddedStore;
use crate::store::embedded::tests::open;
use crate::store::{Appended, Beat, Fetched, Follow, FollowError, SealKey};
use crate::token::list_config::Maxima;

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

fn revocation() -> Revocation {
    let epoch = Epoch { counter: 1, id: 1 };
    Revocation {
        id: RecordId(1),
        list: list(),
        name: "r".to_owned(),
        spec: subject("alice"),
        created: at(1_000_000),
        reason: None,
        message: None,
        version: Version { epoch, revisions: Revisions::default() },
    }
}

const LAST: u64 = 1_000_001 + 3600 + MAX_LEEWAY_SECONDS + MARGIN_SECONDS;

/// Invariant 7: expiry is never early.
#[test]
fn a_revocation_is_due_when_the_last_token_that_it_covers_has_expired() {
    let due_at = |now| due(&[revocation()], &[config()], at(now));
    assert_eq!(due_at(LAST), Due { now: vec![], next: Some(at(LAST + 1)) });
    assert_eq!(due_at(LAST + 1), Due { now: vec![RecordId(1)], next: None });
}

/// Invariant 7: the largest maximum in force since the commit counts.
#[test]
fn a_lowered_maximum_does_not_bring_an_expiry_forward() {
    let mut lowered = config();
    let before = lowered.issuers[0].maxima;
    lowered.issuers[0].maxima = Maxima { token_lifetime_seconds: 60, ..before };
    lowered.issuers[0].history.push((at(1_000_100), before));
    assert_eq!(due(&[revocation()], &[lowered.clone()], at(LAST)).now, []);
    // Maxima of before the commit do not count.
    lowered.issuers[0].history[0].0 = at(999_999);
    assert_eq!(due(&[revocation()], &[lowered], at(LAST)).now, [RecordId(1)]);
}

#[test]
fn what_names_an_undeclared_issuer_or_list_stays() {
    let mut other = revocation();
    other.spec.target.issuer = "https://else".to_owned();
    assert_eq!(due(&[other], &[config()], UnixSeconds::MAX), Due::default());
    assert_eq!(due(&[revocation()], &[], UnixSeconds::MAX), Due::default());
}

/// Failure 16: every entry expires or is a declared ban; what is held stays flat over days of churn.
#[test]
fn days_of_churn_leave_no_more_than_what_is_live() {
    const STEP_SECONDS: u64 = 600;
    const PER_STEP: u128 = 20;
    // A cutoff is kept for a token's lifetime, the largest leeway and the margin: 3,962 s, less than 7 steps.
    const MOST: usize = 8 * 20;
    let mut live: Vec<Revocation> = Vec::new();
    let mut forgotten = 0;
    for step in 0..(3 * 24 * 6) {
        let now = at(1_000_000 + step * STEP_SECONDS);
        for n in 0..PER_STEP {
            let id = RecordId(u128::from(step) * PER_STEP + n);
            live.push(Revocation { id, created: now, ..revocation() });
        }
        let due = due(&live, &[config()], now).now;
        forgotten += due.len();
        live.retain(|revocation| !due.contains(&revocation.id));
        assert!(live.len() <= MOST, "{} are live after {step} steps", live.len());
    }
    assert!(forgotten > 8000);
}

/// A store that counts how often everything is read, and how often at one time.
pub(in crate::controller) struct Counting {
    inner: EmbeddedStore,
    fetches: AtomicUsize,
    open: AtomicUsize,
    pub(in crate::controller) most_open: AtomicUsize,
}

impl Counting {
    pub(in crate::controller) fn new(inner: EmbeddedStore) -> Arc<Self> {
        let [fetches, open, most_open] = [const { AtomicUsize::new(0) }; 3];
        Arc::new(Self { inner, fetches, open, most_open })
    }
}

impl Store for Counting {
    fn append(&self, step: NewStep) -> BoxFuture<'_, Result<Appended, StoreError>> {
        self.inner.append(step)
    }

    fn follow(&self, from: Version) -> BoxFuture<'_, Result<Box<dyn Follow>, FollowError>> {
        self.inner.follow(from)
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, StoreError>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_open.fetch_max(open, Ordering::SeqCst);
            let fetched = self.inner.fetch().await;
            self.open.fetch_sub(1, Ordering::SeqCst);
            fetched
        })
    }

    fn lists(&self) -> BoxFuture<'_, Result<Vec<StoredList>, StoreError>> {
        self.inner.lists()
    }

    fn beat(&self, beat: Beat) -> BoxFuture<'_, Result<Version, StoreError>> {
        self.inner.beat(beat)
    }

    fn start_epoch(&self, above: Version) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.start_epoch(above)
    }

    fn seal_key(&self) -> SealKey {
        self.inner.seal_key()
    }
}

#[tokio::test]
async fn everything_is_read_only_when_something_may_be_due() {
    let folder = tempfile::tempdir().unwrap();
    let inner = open(folder.path()).await;
    let store = Counting::new(inner.clone());
    let hub = Hub::new("one", inner.seal_key(), Arc::new(Sessions::new(Predecessor::None)));
    let replica = Replica::new(Arc::clone(&hub), Arc::new(inner.clone()), Environment::of_machine());
    let start = Moment { boot_nanos: 0, wall_nanos: 1_700_000_000_000_000_000 };
    let clock = Arc::new(ManualClock::new(start));
    let mut expiry =
        Expiry::new(Arc::clone(&store) as _, Arc::from([Arc::clone(&hub)]), clock.clone(), silent());
    let mut check = async |expected: usize| {
        expiry.carry_out().await.unwrap();
        assert_eq!(store.fetches.load(Ordering::SeqCst), expected);
    };
    let told = async |version: Version| {
        let mut news = hub.news();
        news.wait_for(|news| news.complete >= Some(version)).await.unwrap();
    };
    let body = async {
        check(1).await;
        check(1).await;
        let alice = revoke(&inner, "alice").await;
        told(alice.version).await;
        check(2).await;
        let beaten = inner.beat(Beat { replica: 1, nonce: 1 }).await.unwrap();
        told(beaten).await;
        check(2).await;
        let mut changed = document();
        changed.spec.issuers[0].max_token_lifetime_seconds = 7200;
        inner.put_list(changed).await.unwrap();
        check(3).await;
        check(3).await;
        clock.set_wall((1_700_000_000 + 7200 + 600) * 1_000_000_000);
        check(4).await;
        assert_eq!(inner.fetch().await.unwrap().revocations, []);
        check(4).await;
    };
    tokio::select! {
        ended = replica.run(CancellationToken::new()) => panic!("the replica ended: {ended:?}"),
        () = body => {}
    }
}
