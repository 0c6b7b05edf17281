use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::*;
use crate::api::compile::tests::document;
use crate::revocation::time::{Moment, UnixSeconds};
use crate::runtime::clock::ManualClock;
use crate::runtime::random::SeededRandom;
use crate::store::contract::{lift, list, new, revoke, store_contract, subject};

pub(crate) fn environment() -> Environment {
    let start = Moment { boot_nanos: 0, wall_nanos: 1_700_000_000_000_000_000 };
    Environment {
        clock: Arc::new(ManualClock::new(start)),
        random: Arc::new(SeededRandom::new(1)),
        limit: 1000,
    }
}

pub(crate) async fn open(folder: &Path) -> EmbeddedStore {
    let store = EmbeddedStore::open(folder, environment()).unwrap();
    store.put_list(document()).await.unwrap();
    store
}

/// A new store in a folder that lives as long as the guard.
pub(crate) async fn temporary() -> (tempfile::TempDir, Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    (folder, Arc::new(store))
}

mod earlier;

mod contract {
    use super::*;
    store_contract!(temporary());
}

/// Opens again once the writer of the old handle has closed the file.
async fn reopen(folder: &Path) -> EmbeddedStore {
    for _ in 0..500 {
        match EmbeddedStore::open(folder, environment()) {
            Err(OpenError::InUse { .. }) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            other => return other.unwrap(),
        }
    }
    panic!("still in use");
}

/// Invariant 2: an acknowledged revocation survives a restart.
#[tokio::test]
async fn everything_is_there_after_a_restart_and_versions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let alice = revoke(&store, "alice").await;
    let beaten = store.beat(Beat { replica: 1, nonce: 1 }).await.unwrap();
    let (lists, seal) = (store.lists().await.unwrap(), store.seal_key().seal(&beaten));
    drop(store);
    let store = reopen(folder.path()).await;
    assert_eq!(store.fetch().await.unwrap().revocations, [alice]);
    assert_eq!(store.fetch().await.unwrap().version, beaten);
    assert_eq!(store.lists().await.unwrap(), lists);
    assert_eq!(store.seal_key().seal(&beaten), seal);
    assert!(revoke(&store, "bob").await.version > beaten);
}

#[tokio::test]
async fn a_new_store_in_place_of_a_lost_one_is_of_a_later_history() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut later = environment();
    later.clock = Arc::new(ManualClock::new(Moment { boot_nanos: 0, wall_nanos: 1_800_000_000_000_000_000 }));
    let old = EmbeddedStore::open(one.path(), environment()).unwrap();
    let new = EmbeddedStore::open(two.path(), later).unwrap();
    assert!(new.version() > old.version());
}

/// Failure 7: at the limit the write is refused, and nothing live is lost.
#[tokio::test]
async fn at_the_limit_the_new_revocation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment { limit: 2, ..environment() };
    let store = EmbeddedStore::open(folder.path(), environment).unwrap();
    store.put_list(document()).await.unwrap();
    let (alice, bob) = (revoke(&store, "alice").await, revoke(&store, "bob").await);
    let refused = store.append(NewStep::Revoke(Box::new(new(subject("carol"))))).await;
    assert_eq!(refused, Err(StoreError::Full { limit: 2 }));
    assert_eq!(store.fetch().await.unwrap().revocations, [alice.clone(), bob]);
    store.append(lift(&alice)).await.unwrap();
    revoke(&store, "carol").await;
}

#[tokio::test]
async fn a_follower_that_is_too_far_behind_has_to_fetch() {
    let (_folder, store) = temporary().await;
    let start = store.fetch().await.unwrap().version;
    while store.fetch().await.unwrap().version.revisions.revocations <= tables::MAX_LOG {
        let beats = (0..500u128).map(|nonce| store.beat(Beat { replica: 1, nonce }));
        futures::future::try_join_all(beats).await.unwrap();
    }
    assert!(matches!(store.follow(start).await, Err(FollowError::Compacted { .. })));
}

#[tokio::test]
async fn the_second_of_a_creation_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Moment { boot_nanos: 0, wall_nanos: 1_700_000_000_000_000_000 }));
    let store =
        EmbeddedStore::open(folder.path(), Environment { clock: clock.clone(), ..environment() }).unwrap();
    store.put_list(document()).await.unwrap();
    let first = revoke(&store, "alice").await;
    clock.set_wall(1_600_000_000_000_000_000);
    assert_eq!(revoke(&store, "alice").await.created, first.created);
}

#[tokio::test]
async fn a_changed_declaration_keeps_the_hash_key_and_remembers_its_maxima() {
    let (_folder, store) = {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        (folder, store)
    };
    let before = store.lists().await.unwrap();
    let mut changed = document();
    changed.spec.issuers[0].max_token_lifetime_seconds = 7200;
    store.put_list(changed).await.unwrap();
    let after = store.lists().await.unwrap();
    assert_eq!(after[0].hash_key, before[0].hash_key);
    assert_eq!(after[0].document.metadata.generation, 2);
    assert_eq!(after[0].document.config().unwrap().issuers[0].history.len(), 1);
    let mut bad = document();
    bad.spec.issuers.clear();
    assert!(matches!(store.put_list(bad).await, Err(PutListError::Invalid(_))));
}

#[tokio::test]
async fn a_store_in_use_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path()).await;
    let error = EmbeddedStore::open(folder.path(), environment()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_not_taken_for_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for n in 0..50 {
        revoke(&store, &format!("user-{n}")).await;
    }
    drop(store);
    drop(reopen(folder.path()).await);
    let path = folder.path().join(FILE_NAME);
    let good = std::fs::read(&path).unwrap();
    let damage = |bytes: &[u8]| {
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join(FILE_NAME), bytes).unwrap();
        let store = EmbeddedStore::open(other.path(), environment());
        store.map(|store| store.read(tables::fetch).map(|fetched| fetched.revocations.len()))
    };
    assert!(matches!(damage(b"no store at all"), Err(OpenError::Damaged { .. })));
    assert!(matches!(damage(&good[..good.len() / 2]), Err(OpenError::Damaged { .. })));
    // Wherever a bit flips: refused, or (in unused space) without an effect. Never fewer revocations.
    for at in (0..good.len()).step_by(good.len() / 97) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        match damage(&bad) {
            Ok(count) => assert_eq!(count, Ok(50), "byte {at}"),
            Err(error) => assert!(!matches!(error, OpenError::InUse { .. }), "byte {at}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_later_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).await);
    drop(reopen(folder.path()).await);
    let closed = async {
        loop {
            match Database::create(folder.path().join(FILE_NAME)) {
                Err(DatabaseError::DatabaseAlreadyOpen) => tokio::task::yield_now().await,
                other => return other.unwrap(),
            }
        }
    };
    let database = tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(table).unwrap().insert("format", 9u64.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = EmbeddedStore::open(folder.path(), environment()).unwrap_err();
    assert!(matches!(error, OpenError::Format { found: 9, known: 1, .. }), "{error}");
}

/// A disk that can be filled, and be slow: a file of the real kind can't be made to on demand.
#[derive(Clone, Debug)]
struct Disk {
    inner: Arc<redb::backends::InMemoryBackend>,
    full: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

impl Disk {
    fn new() -> Self {
        Self { inner: Arc::default(), full: Arc::default(), hangs: Arc::default() }
    }

    async fn store(&self) -> EmbeddedStore {
        let database = Database::builder().create_with_backend(self.clone()).unwrap();
        let store = EmbeddedStore::start(database, environment()).unwrap();
        store.put_list(document()).await.unwrap();
        store
    }

    fn check(&self) -> std::io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        while self.hangs.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.check()?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

/// Invariant 12: a write that failed acknowledges and proves nothing.
#[tokio::test]
async fn on_a_full_disk_nothing_is_acknowledged_and_nothing_is_shown_to_followers() {
    let disk = Disk::new();
    let store = disk.store().await;
    let alice = revoke(&store, "alice").await;
    let mut follow = store.follow(alice.version).await.unwrap();
    disk.full.store(true, Ordering::SeqCst);
    let refused = store.append(NewStep::Revoke(Box::new(new(subject("bob"))))).await;
    assert!(matches!(refused, Err(StoreError::Failed { .. })), "{refused:?}");
    assert!(matches!(store.beat(Beat { replica: 1, nonce: 1 }).await, Err(StoreError::Failed { .. })));
    assert!(matches!(follow.next().await, Err(FollowError::Failed { .. })));
    assert_eq!(alice.list, list());
}

/// A burst of callers is told to try again; what makes sidecars fresh is not.
#[tokio::test]
async fn a_heartbeat_waits_for_a_place_where_other_calls_are_told_to_try_again() {
    let disk = Disk::new();
    let store = disk.store().await;
    disk.hangs.store(true, Ordering::SeqCst);
    let mut taken = FuturesUnordered::new();
    // The writer takes some before it hangs in its commit.
    let busy = async {
        loop {
            let mut call = store.append(NewStep::Expire { judged: Vec::new(), horizon: UnixSeconds::MIN });
            match futures::poll!(&mut call) {
                Poll::Ready(refused) => return refused,
                Poll::Pending => taken.push(call),
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(busy.await, Err(StoreError::Busy));
    let mut beat = store.beat(Beat { replica: 1, nonce: 1 });
    let mut epoch = store.start_epoch(store.version());
    assert_eq!((futures::poll!(&mut beat), futures::poll!(&mut epoch)), (Poll::Pending, Poll::Pending));
    disk.hangs.store(false, Ordering::SeqCst);
    beat.await.unwrap();
    epoch.await.unwrap();
    while let Some(appended) = taken.next().await {
        appended.unwrap();
    }
}

/// Invariant 2: a folder that was made just now is lost in a crash if nobody has synced the one above it.
#[test]
fn every_folder_that_gets_a_new_name_is_synced() {
    let root = tempfile::tempdir().unwrap();
    let (deep, above) = (root.path().join("a/b"), root.path().join("a"));
    let expected = vec![deep.clone(), above, root.path().to_owned()];
    assert_eq!(folders_with_new_names(&deep), expected);
    assert_eq!(folders_with_new_names(root.path()), [root.path()]);
    assert_eq!(folders_with_new_names(Path::new("not-there")), [Path::new("not-there"), Path::new(".")]);
    prepare(&deep, &deep.join(FILE_NAME)).unwrap();
    assert_eq!(folders_with_new_names(&deep), [deep.as_path()]);
}
