//! A place in the log: a watch of our own on all revocations, unfiltered.
//!
//! What a real API server does to a watch, and what is done about it here: it ends it at any time, also when the
//! schema changes: it is opened again where it ended. It says in the middle of a good answer that it can't go on (an
//! event ERROR of code 410): everything is fetched anew. It answers 429 while it makes itself ready: asked again. It
//! takes a revision that it has not reached, and is then silent about all before it: so a watch is opened only after
//! a look at what it has reached. A connection that died says nothing: a watch that is silent for longer than its
//! bookmarks are apart is opened again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use kube::api::{Api, WatchParams};
use kube::core::WatchEvent;

use crate::revocation::names::RecordId;
use crate::revocation::version::{Epoch, Version};
use crate::store::{Event, Follow, FollowError, What};

use super::Shared;
use super::call::{CallError, Object, newest_revision, revision, revision_of, stripped_event, timed};
use super::deletion::{self, Explained};
use super::epoch;
use super::object::{self, Says, version};

/// A watch has a bookmark a minute.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// The API server ends a watch after this, in seconds.
const WATCH_SECONDS: u32 = 290;
/// The pause before a watch is opened again grows up to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How many events are looked into together.
const MAX_WAITING: usize = 1000;

/// A place in the log.
pub(super) struct Follower {
    // The stream keeps the step that is under way, so a caller may stop waiting at any time.
    events: BoxStream<'static, Result<Event, FollowError>>,
}

impl Follower {
    /// Starts after a version that the store has reached.
    pub(super) async fn start(shared: Arc<Shared>, from: Version) -> Result<Self, FollowError> {
        let mut place = Place {
            api: shared.api(),
            shared,
            epoch: from.epoch,
            reached: from.revisions.revocations,
            known: HashMap::new(),
            watch: None,
            ready: VecDeque::new(),
            waiting: Vec::new(),
            pause: FIRST_PAUSE,
        };
        place.open().await.map_err(Broken::into_error)?;
        let events = stream::unfold(Some(place), |place| async move {
            let mut place = place?;
            match place.next().await {
                Ok(event) => Some((Ok(event), Some(place))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Self { events: events.boxed() })
    }
}

impl Follow for Follower {
    fn next(&mut self) -> BoxFuture<'_, Result<Event, FollowError>> {
        let ended = FollowError::Unavailable { why: "the watch has ended".to_owned() };
        self.events.next().map(|event| event.unwrap_or(Err(ended))).boxed()
    }
}

type Watch = Pin<Box<dyn Stream<Item = Result<WatchEvent<Object>, kube::Error>> + Send>>;

struct Place {
    shared: Arc<Shared>,
    api: Api<Object>,
    epoch: Epoch,
    /// Everything up to here was delivered.
    reached: u64,
    /// What was delivered of each revocation: a write of its status is no news.
    known: HashMap<RecordId, Known>,
    watch: Option<Watch>,
    ready: VecDeque<Event>,
    /// A deletion of which it is not known yet whether it is a lift, and whatever came after it.
    waiting: Vec<WatchEvent<Object>>,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Live { generation: Option<i64> },
    Gone,
}

/// Why a step failed.
enum Broken {
    /// The watch can be opened again where it ended.
    Reopen(String),
    /// Following is over.
    Over(FollowError),
}

impl Broken {
    fn into_error(self) -> FollowError {
        match self {
            Self::Reopen(why) => FollowError::Unavailable { why },
            Self::Over(error) => error,
        }
    }
}

impl From<CallError> for Broken {
    fn from(error: CallError) -> Self {
        Self::Reopen(error.to_string())
    }
}

impl Place {
    async fn next(&mut self) -> Result<Event, FollowError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match self.step().await {
                Ok(()) => {}
                Err(Broken::Over(error)) => return Err(error),
                Err(Broken::Reopen(why)) => {
                    tracing::debug!(why, "the watch is opened again");
                    // What waits is delivered again: it is above what was reached.
                    (self.watch, self.waiting) = (None, Vec::new());
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<(), Broken> {
        if self.watch.is_none() {
            return self.open().await;
        }
        let Some(event) = self.read().await? else {
            return Err(Broken::Reopen("the API server has ended it".to_owned()));
        };
        self.pause = FIRST_PAUSE;
        if !matches!(event, WatchEvent::Deleted(_)) {
            return self.take(event, &Explained::default());
        }
        self.waiting.push(event);
        // What has come already is looked into together.
        while self.waiting.len() < MAX_WAITING
            && let Some(Some(Ok(event))) = self.watch.as_mut().and_then(|watch| watch.next().now_or_never())
        {
            self.waiting.push(event);
        }
        let explained = Self::explain(&self.shared, self.namespaces_to_look_at()).await?;
        for event in std::mem::take(&mut self.waiting) {
            self.take(event, &explained)?;
        }
        Ok(())
    }

    /// Looks at what the deleted objects were in, as it is after their events.
    async fn explain(shared: &Shared, namespaces: HashSet<String>) -> Result<Explained, Broken> {
        let client = shared.client();
        let before = shared.mirror().definition.clone();
        if shared.look_at_definition(&client).await?.as_ref() != Some(&before) {
            return Err(definition_is_gone());
        }
        Ok(deletion::look(&client, namespaces).await?)
    }

    /// Returns the namespaces of what was deleted. One that went away never comes back: another of its name has
    /// another UID.
    fn namespaces_to_look_at(&self) -> HashSet<String> {
        let mirror = self.shared.mirror();
        let deleted = self.waiting.iter().filter_map(|event| {
            if let WatchEvent::Deleted(object) = event { object.metadata.namespace.clone() } else { None }
        });
        deleted.filter(|name| !mirror.gone.contains_key(name)).collect()
    }

    async fn read(&mut self) -> Result<Option<WatchEvent<Object>>, Broken> {
        let Some(watch) = &mut self.watch else { return Ok(None) };
        let read = tokio::time::timeout(IDLE_LIMIT, watch.next()).await;
        let read = read.map_err(|_| Broken::Reopen("it was silent for too long".to_owned()))?;
        read.transpose().map_err(|error| Broken::Reopen(error.to_string()))
    }

    /// A watch from a revision that the store has not reached, or of another history, would be silent about what came
    /// before.
    async fn open(&mut self) -> Result<(), Broken> {
        let epoch = epoch::current(&self.shared.own_api(), &self.shared.own).await?;
        let newest = match newest_revision(&self.api).await {
            // A type of which nothing can be listed is not served.
            Err(error) if error.is_not_found() => return Err(definition_is_gone()),
            newest => newest?,
        };
        let from = version(self.epoch, self.reached);
        if epoch == Some(self.epoch) && newest < self.reached {
            return Err(Broken::Over(FollowError::WentBack));
        }
        if epoch != Some(self.epoch) {
            let reached = version(epoch.unwrap_or(self.epoch), newest);
            return Err(Broken::Over(FollowError::NotOfThisHistory { from, reached }));
        }
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let watch = timed(self.api.watch(&parameters, &self.reached.to_string())).await;
        match watch {
            Ok(watch) => self.watch = Some(Box::pin(watch.map(|event| event.map(stripped_event)))),
            Err(error) if error.is_gone() => return Err(Broken::Over(FollowError::Compacted { from })),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take(&mut self, event: WatchEvent<Object>, explained: &Explained) -> Result<(), Broken> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => self.changed(&object),
            WatchEvent::Deleted(object) => self.deleted(&object, explained),
            WatchEvent::Bookmark(bookmark) => {
                let at = revision_of(Some(&bookmark.metadata.resource_version))?;
                self.reached = self.reached.max(at);
                Ok(())
            }
            WatchEvent::Error(status) if status.code == 410 => {
                let from = version(self.epoch, self.reached);
                Err(Broken::Over(FollowError::Compacted { from }))
            }
            WatchEvent::Error(status) => Err(Broken::Reopen(status.message.clone())),
        }
    }

    fn changed(&mut self, object: &Object) -> Result<(), Broken> {
        let says = object::read(object, self.epoch, &self.shared.own);
        let at = self.advance(object)?;
        // In one history an object is deleted before another of its name is made.
        if matches!(says, Says::Pulse(_) | Says::Report { .. }) && self.shared.mirror().has_namesake(object) {
            return Err(Broken::Over(FollowError::WentBack));
        }
        self.shared.observe(|mirror, now| mirror.watched(object, &says, now));
        let live = Known::Live { generation: object.metadata.generation };
        match says {
            Says::Live(revocation) => {
                if self.known.insert(revocation.id, live) != Some(live) {
                    self.deliver(at, What::Added(revocation));
                }
            }
            Says::Unreadable(unreadable) => {
                if self.known.insert(unreadable.id, live) != Some(live) {
                    self.deliver(at, What::Unreadable(unreadable));
                }
            }
            Says::Expired { id, list } => {
                if self.known.insert(id, Known::Gone) != Some(Known::Gone) {
                    self.deliver(at, What::Removed { id, list });
                }
            }
            Says::Pulse(Some(beat)) => self.deliver(at, What::Heartbeat(beat)),
            Says::Horizon(Some(horizon)) => self.deliver(at, What::Horizon(horizon)),
            Says::Epoch(epoch) if epoch != Some(self.epoch) => return Err(self.another_history(epoch)),
            Says::Pulse(None)
            | Says::Horizon(None)
            | Says::Epoch(_)
            | Says::Report { .. }
            | Says::Nothing => {}
        }
        Ok(())
    }

    fn deleted(&mut self, object: &Object, explained: &Explained) -> Result<(), Broken> {
        let says = object::read(object, self.epoch, &self.shared.own);
        let at = self.advance(object)?;
        let (id, list) = match says {
            Says::Live(revocation) => (revocation.id, revocation.list),
            Says::Unreadable(unreadable) => (unreadable.id, unreadable.list),
            Says::Expired { id, list } => {
                self.shared.observe(|mirror, now| mirror.remove(object, now));
                if self.known.remove(&id) != Some(Known::Gone) {
                    self.deliver(at, What::Removed { id, list });
                }
                return Ok(());
            }
            Says::Epoch(_) => return Err(self.another_history(None)),
            Says::Pulse(_) | Says::Report { .. } | Says::Horizon(_) | Says::Nothing => {
                self.shared.observe(|mirror, now| mirror.remove(object, now));
                return Ok(());
            }
        };
        let namespace = list.namespace();
        let before = self.shared.mirror().namespaces.get(namespace).cloned();
        self.known.remove(&id);
        if explained.is_same(namespace, before.as_ref(), object::created(&object.metadata)) {
            self.shared.observe(|mirror, now| mirror.remove(object, now));
            self.deliver(at, What::Removed { id, list });
        } else {
            tracing::error!(%list, "a revocation went away with its namespace: that lifts nothing");
            let uid = explained.gone_uid(namespace, before.as_ref());
            self.shared.observe(|mirror, _| mirror.lose(id, Some(uid)));
        }
        Ok(())
    }

    fn another_history(&self, epoch: Option<Epoch>) -> Broken {
        let from = version(self.epoch, self.reached);
        let reached = version(epoch.unwrap_or(Epoch { counter: 0, id: 0 }), self.reached);
        Broken::Over(FollowError::NotOfThisHistory { from, reached })
    }

    fn deliver(&mut self, at: u64, what: What) {
        self.ready.push_back(Event { version: version(self.epoch, at), what });
    }

    fn advance(&mut self, object: &Object) -> Result<u64, Broken> {
        let at = revision(&object.metadata)?;
        if at <= self.reached {
            let (from, reached) = (version(self.epoch, self.reached), version(self.epoch, at));
            return Err(Broken::Over(FollowError::NotOfThisHistory { from, reached }));
        }
        self.reached = at;
        self.shared.observe(|mirror, _| mirror.revision = mirror.revision.max(at));
        Ok(at)
    }
}

fn definition_is_gone() -> Broken {
    let why = "the definition of the type is gone, and with it every object: nothing was lifted".to_owned();
    Broken::Over(FollowError::Unavailable { why })
}
