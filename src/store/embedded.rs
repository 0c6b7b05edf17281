//! The embedded store: one file, one process, every acknowledgement on the disk before it is given.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use redb::{Database, DatabaseError, ReadableDatabase, StorageError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::document::ListDocument;
use crate::api::invalid::Invalid;
use crate::revocation::version::{Epoch, Revisions, Version};
use crate::runtime::clock::Clock;
use crate::runtime::random::Random;

use super::{Appended, Beat, Fetched, Follow, FollowError, NewStep, SealKey, Store, StoreError, StoredList};
use follower::LogFollower;
use tables::TableError;
use writer::{Request, Writer};

mod follower;
mod tables;
mod writer;

/// The file within the data folder.
pub const FILE_NAME: &str = "rescind.redb";
/// How many calls may wait for the writer; beyond, callers are told to try again, and heartbeats wait for a place.
const MAX_WAITING: usize = 1024;
/// How many live revocations a store takes unless told otherwise.
pub const DEFAULT_LIMIT: usize = 1_000_000;

/// Says why a store could not be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file can't be used.
    #[error("can't use {path}: {source}; check that the folder exists, may be written, and has room")]
    Io {
        /// The path.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: stop that controller, or choose another data folder")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The content is damaged or is none of ours.
    #[error(
        "{path} is damaged or is not a store: {why}. Nothing was changed. Restore the file from a backup; without \
         one, move it away: sidecars that run keep what they know, everything else must be revoked again"
    )]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A newer program wrote it.
    #[error("{path} has format {found}, and this program knows {known}: use the program that wrote it")]
    Format {
        /// The path.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The format known.
        known: u64,
    },
}

/// What an embedded store needs from outside.
#[derive(Clone)]
pub struct Environment {
    /// Gives the second of a revocation's creation.
    pub clock: Arc<dyn Clock>,
    /// Gives identities and keys.
    pub random: Arc<dyn Random>,
    /// How many live revocations are taken.
    pub limit: usize,
}

/// A store in a file. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<Database>,
    requests: mpsc::Sender<Request>,
    /// The newest version on the disk.
    reached: watch::Receiver<Version>,
    seal_key: SealKey,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in a folder, or makes one where there is none.
    ///
    /// The whole file is verified: a damaged one is refused, and never taken for an empty one.
    ///
    /// # Errors
    /// [`OpenError`]: the process should say so and end.
    pub fn open(folder: &Path, environment: Environment) -> Result<Self, OpenError> {
        let path = folder.join(FILE_NAME);
        let io = |source| OpenError::Io { path: path.clone(), source };
        prepare(folder, &path).map_err(io)?;
        let database = Database::builder()
            .set_check_integrity_on_open(true)
            .create(&path)
            .map_err(|error| open_error(&path, error))?;
        Self::start(database, environment).map_err(|error| table_error(&path, &error))
    }

    fn start(database: Database, environment: Environment) -> Result<Self, TableError> {
        let start = tables::prepare(&database, &*environment.random, environment.clock.now())?;
        let database = Arc::new(database);
        let (requests, waiting) = mpsc::channel(MAX_WAITING);
        let (published, reached) = watch::channel(version(start.epoch, start.sequence));
        let writer = Writer::new(Arc::clone(&database), environment, published);
        // The thread ends when the last sender is dropped; what was answered by then is on the disk.
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(StorageError::Io)?;
        let seal_key = SealKey::new(&start.seal_key);
        Ok(Self { shared: Arc::new(Shared { database, requests, reached, seal_key }) })
    }

    fn version(&self) -> Version {
        *self.shared.reached.borrow()
    }

    /// Declares a list, or changes its declaration; an unchanged one is left as it is.
    ///
    /// # Errors
    /// [`PutListError`].
    pub async fn put_list(&self, document: ListDocument) -> Result<(), PutListError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::PutList { document: Box::new(document), reply })?;
        answer.await.map_err(|_| PutListError::Store(gone()))?
    }

    /// Waits for a place: what makes sidecars fresh must not lose it to whoever asks more often. There is never more
    /// than one such request per replica.
    async fn send_in_turn(&self, request: Request) -> Result<(), StoreError> {
        self.shared.requests.send(request).await.map_err(|_| gone())
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        self.shared.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => gone(),
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, TableError>,
    ) -> Result<T, StoreError> {
        let transaction = self.shared.database.begin_read().map_err(TableError::from);
        transaction.and_then(|transaction| read(&transaction)).map_err(|error| failed(&error))
    }
}

/// Says why a list was not declared.
#[derive(Debug, thiserror::Error)]
pub enum PutListError {
    /// It makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn gone() -> StoreError {
    StoreError::Failed {
        why: "its writer has stopped after an earlier failure: restart the controller".to_owned(),
    }
}

fn failed(error: &TableError) -> StoreError {
    let next_step = match error.io() {
        Some(_) => "; see that the disk has room and may be written, and start the controller again",
        None => "",
    };
    StoreError::Failed { why: format!("{error}{next_step}") }
}

const fn version(epoch: Epoch, sequence: u64) -> Version {
    Version { epoch, revisions: Revisions { revocations: sequence, segments: 0 } }
}

/// The folder and the file are for their owner only: the file holds the keys of the hashes.
fn prepare(folder: &Path, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let named_in = folders_with_new_names(folder);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    // A new name is only on the disk when its folder is: else what is acknowledged could go with it.
    named_in.iter().try_for_each(|folder| std::fs::File::open(folder)?.sync_all())
}

/// Returns the folders in which a name is new when a file was made in a folder that may not be there yet: the folder
/// itself, and those above it up to the first that is there.
fn folders_with_new_names(folder: &Path) -> Vec<PathBuf> {
    let above = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let mut named_in = vec![folder.to_owned()];
    let mut missing = folder.to_owned();
    while !missing.exists()
        && let Some(parent) = above(&missing)
    {
        named_in.push(parent.clone());
        missing = parent;
    }
    named_in
}

fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    let content = |source: &std::io::Error| {
        matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
    };
    if matches!(error, DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) {
        return OpenError::InUse { path };
    }
    if let DatabaseError::Storage(StorageError::Io(source)) = error {
        return if content(&source) {
            OpenError::Damaged { path, why: source.to_string() }
        } else {
            OpenError::Io { path, source }
        };
    }
    OpenError::Damaged { path, why: error.to_string() }
}

fn table_error(path: &Path, error: &TableError) -> OpenError {
    let path = path.to_owned();
    if let TableError::Format { found, known } = *error {
        return OpenError::Format { path, found, known };
    }
    if let Some(source) = error.io() {
        let source = std::io::Error::new(source.kind(), source.to_string());
        return open_error(&path, DatabaseError::Storage(StorageError::Io(source)));
    }
    OpenError::Damaged { path, why: error.to_string() }
}

impl Store for EmbeddedStore {
    fn append(&self, step: NewStep) -> BoxFuture<'_, Result<Appended, StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send(Request::Append { step, reply })?;
            answer.await.map_err(|_| gone())?
        })
    }

    fn follow(&self, from: Version) -> BoxFuture<'_, Result<Box<dyn Follow>, FollowError>> {
        Box::pin(async move {
            let reached = self.version();
            let within = from.epoch == reached.epoch && from <= reached;
            if !within {
                return Err(FollowError::NotOfThisHistory { from, reached });
            }
            let (database, reached) = (Arc::clone(&self.shared.database), self.shared.reached.clone());
            let follower = LogFollower::new(database, reached, from)?;
            Ok(Box::new(follower) as Box<dyn Follow>)
        })
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, StoreError>> {
        let store = self.clone();
        // It reads and parses everything: too long for a thread that serves streams.
        let reading = tokio::task::spawn_blocking(move || store.read(tables::fetch));
        Box::pin(async move {
            reading
                .await
                .map_err(|error| StoreError::Failed { why: format!("reading was given up: {error}") })?
        })
    }

    fn lists(&self) -> BoxFuture<'_, Result<Vec<StoredList>, StoreError>> {
        Box::pin(async move { self.read(tables::lists) })
    }

    fn beat(&self, beat: Beat) -> BoxFuture<'_, Result<Version, StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send_in_turn(Request::Beat { beat, reply }).await?;
            answer.await.map_err(|_| gone())?
        })
    }

    fn start_epoch(&self, above: Version) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send_in_turn(Request::StartEpoch { above, reply }).await?;
            answer.await.map_err(|_| gone())?
        })
    }

    fn seal_key(&self) -> SealKey {
        self.shared.seal_key.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests;
