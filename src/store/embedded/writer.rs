//! The one thread that writes: it commits what has gathered in one transaction, then answers.

use std::sync::Arc;

use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::document::ListDocument;
use crate::revocation::key::HashKey;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::{Epoch, Version};
use crate::runtime::random::bytes;
use crate::store::{Appended, Beat, NewRevocation, NewStep, Revocation, StoreError, StoredList, written};

use super::tables::{TableError, Writing};
use super::{Environment, PutListError, failed, version};

/// How many calls share one transaction.
const MAX_GROUP: usize = 256;

/// A call with the place for its answer.
pub(super) enum Request {
    Append { step: NewStep, reply: oneshot::Sender<Result<Appended, StoreError>> },
    Beat { beat: Beat, reply: oneshot::Sender<Result<Version, StoreError>> },
    StartEpoch { above: Version, reply: oneshot::Sender<Result<(), StoreError>> },
    PutList { document: Box<ListDocument>, reply: oneshot::Sender<Result<(), PutListError>> },
}

/// An answer that waits for the commit.
type Answer = Box<dyn FnOnce(Option<&TableError>) + Send>;

pub(super) struct Writer {
    database: Arc<Database>,
    environment: Environment,
    published: watch::Sender<Version>,
}

impl Writer {
    pub(super) const fn new(
        database: Arc<Database>,
        environment: Environment,
        published: watch::Sender<Version>,
    ) -> Self {
        Self { database, environment, published }
    }

    /// Serves calls until the last caller is gone, or the file fails: what it holds after a failed commit is
    /// not known, and only opening it again tells.
    pub(super) fn run(self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            let (answers, outcome) = self.commit(group);
            let error = outcome.as_ref().err();
            for answer in answers {
                answer(error);
            }
            if let Err(error) = outcome {
                tracing::error!(%error, "the store failed; its writer stops");
                return;
            }
        }
    }

    fn commit(&self, group: Vec<Request>) -> (Vec<Answer>, Result<(), TableError>) {
        let mut answers = Vec::new();
        let outcome = self.transact(group, &mut answers);
        (answers, outcome)
    }

    fn transact(&self, group: Vec<Request>, answers: &mut Vec<Answer>) -> Result<(), TableError> {
        let transaction = self.database.begin_write()?;
        let mut writing = Writing::open(&transaction)?;
        for request in group {
            self.serve(&mut writing, request, answers)?;
        }
        let reached = writing.version();
        writing.finish()?;
        transaction.commit()?;
        // Only what is on the disk is shown to followers.
        self.published.send_replace(reached);
        Ok(())
    }

    fn serve(
        &self,
        writing: &mut Writing<'_>,
        request: Request,
        answers: &mut Vec<Answer>,
    ) -> Result<(), TableError> {
        match request {
            Request::Append { step, reply } => {
                let outcome = self.append(writing, step)?;
                answers.push(after_commit(reply, outcome));
            }
            Request::Beat { beat, reply } => {
                writing.heartbeat(beat)?;
                answers.push(after_commit(reply, Ok(writing.version())));
            }
            Request::StartEpoch { above, reply } => {
                // Also if its sequence is above by now: an older copy goes on counting.
                if writing.version().epoch.counter <= above.epoch.counter {
                    let id: [u8; 16] = bytes(&*self.environment.random);
                    writing.start_epoch(above.epoch, u128::from_le_bytes(id));
                }
                answers.push(after_commit(reply, Ok(())));
            }
            Request::PutList { document, reply } => {
                let outcome = self.put_list(writing, &document)?;
                answers.push(after_commit(reply, outcome));
            }
        }
        Ok(())
    }

    /// A refusal is decided before anything is written, so that it leaves no trace in the transaction.
    fn append(
        &self,
        writing: &mut Writing<'_>,
        step: NewStep,
    ) -> Result<Result<Appended, StoreError>, TableError> {
        let mut expired = Vec::new();
        let revocation = match step {
            NewStep::Revoke(new) => match self.revoke(writing, *new)? {
                Ok(revocation) => Some(revocation),
                Err(refusal) => return Ok(Err(refusal)),
            },
            NewStep::Lift { list, name, id } => {
                let found = writing.named(&list, &name)?.filter(|found| found.list == list);
                let Some(found) = found.filter(|found| id.is_none_or(|id| id == found.id)) else {
                    return Ok(Err(StoreError::NotFound { list, name }));
                };
                writing.remove(&found)?;
                Some(found)
            }
            NewStep::Expire { judged, horizon } => {
                writing.raise_horizon(horizon)?;
                for judged in judged {
                    let found = writing.record(judged.id)?;
                    if let Some(found) = found.filter(|found| found.spec == judged.spec) {
                        writing.remove(&found)?;
                        expired.push(found.id);
                    }
                }
                None
            }
        };
        Ok(Ok(Appended { version: writing.version(), revocation, expired }))
    }

    fn revoke(
        &self,
        writing: &mut Writing<'_>,
        new: NewRevocation,
    ) -> Result<Result<Revocation, StoreError>, TableError> {
        if !writing.has_list(&new.list)? {
            return Ok(Err(StoreError::UnknownList { list: new.list }));
        }
        if let Some(name) = &new.name
            && let Some(found) = writing.named(&new.list, name)?
        {
            let same = found.list == new.list && found.spec == new.spec;
            let taken = StoreError::NameTaken { list: new.list, name: name.clone() };
            return Ok(if same { Ok(found) } else { Err(taken) });
        }
        let limit = self.environment.limit;
        if writing.count()? >= limit {
            return Ok(Err(StoreError::Full { limit }));
        }
        let now = self.environment.clock.now().wall().floor();
        if let Err(error) = new.spec.row(now) {
            return Ok(Err(error.into()));
        }
        let created = writing.created(now);
        let revocation = self.identify(new, created, writing.epoch());
        if !written::reads_back(&revocation) {
            return Ok(Err(StoreError::Unwritable));
        }
        writing.add(revocation).map(Ok)
    }

    fn identify(&self, new: NewRevocation, created: UnixSeconds, epoch: Epoch) -> Revocation {
        let id: [u8; 16] = bytes(&*self.environment.random);
        let id = RecordId(u128::from_le_bytes(id));
        let name = new.name.unwrap_or_else(|| written::generated_name(id));
        let NewRevocation { list, spec, reason, message, .. } = new;
        // It gets the version at which it is added.
        let version = version(epoch, 0);
        Revocation { id, list, name, spec, created, reason, message, version }
    }

    fn put_list(
        &self,
        writing: &mut Writing<'_>,
        document: &ListDocument,
    ) -> Result<Result<(), PutListError>, TableError> {
        let now = self.environment.clock.now().wall().floor();
        let prepared = prepare_list(writing.list_of(document)?, document, now, || {
            HashKey::new(bytes(&*self.environment.random))
        });
        match prepared {
            Ok(Some((name, stored))) => writing.put_list(&name, &stored).map(Ok),
            Ok(None) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl Writing<'_> {
    const fn version(&self) -> Version {
        version(self.epoch(), self.sequence())
    }

    fn list_of(&self, document: &ListDocument) -> Result<Option<StoredList>, TableError> {
        document.name().ok().map_or(Ok(None), |name| self.list(&name))
    }
}

/// Returns what is to be stored; none if nothing changes.
fn prepare_list(
    old: Option<StoredList>,
    document: &ListDocument,
    now: UnixSeconds,
    new_key: impl FnOnce() -> HashKey,
) -> Result<Option<(ListName, StoredList)>, PutListError> {
    let name = document.name()?;
    document.config()?;
    let stored = match old {
        None => Some(StoredList { document: document.clone(), hash_key: new_key() }),
        Some(old) => old
            .document
            .followed_by(document, now)?
            .map(|document| StoredList { document, hash_key: old.hash_key }),
    };
    Ok(stored.map(|stored| (name, stored)))
}

/// Holds an answer back until the commit, which may turn it into a failure.
fn after_commit<T, E>(reply: oneshot::Sender<Result<T, E>>, outcome: Result<T, E>) -> Answer
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(move |error| {
        let outcome = match error {
            Some(error) => Err(E::from(failed(error))),
            None => outcome,
        };
        // A caller that no longer waits has no use for the answer.
        drop(reply.send(outcome));
    })
}
