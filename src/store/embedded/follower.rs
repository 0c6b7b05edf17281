//! Follows the log of the embedded file.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use redb::{Database, ReadableDatabase};
use tokio::sync::watch;

use crate::revocation::version::Version;
use crate::store::{Event, Follow, FollowError};

use super::tables::{self, TableError};

/// How many events are read in one go.
const BATCH: usize = 256;

pub(super) struct LogFollower {
    database: Arc<Database>,
    reached: watch::Receiver<Version>,
    after: Version,
    read: VecDeque<Event>,
}

impl LogFollower {
    pub(super) fn new(
        database: Arc<Database>,
        reached: watch::Receiver<Version>,
        after: Version,
    ) -> Result<Self, FollowError> {
        let mut follower = Self { database, reached, after, read: VecDeque::new() };
        follower.refill()?;
        Ok(follower)
    }

    fn refill(&mut self) -> Result<(), FollowError> {
        let failed = |error: TableError| FollowError::Failed { why: error.to_string() };
        let transaction = self.database.begin_read().map_err(|error| failed(error.into()))?;
        let steps = tables::steps(&transaction, self.after, BATCH).map_err(failed)?;
        let events = steps.ok_or(FollowError::Compacted { from: self.after })?;
        if let Some(last) = events.last() {
            self.after = last.version;
        }
        self.read.extend(events);
        Ok(())
    }
}

impl Follow for LogFollower {
    fn next(&mut self) -> BoxFuture<'_, Result<Event, FollowError>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.read.pop_front() {
                    return Ok(event);
                }
                let after = self.after;
                let newer = self.reached.wait_for(|reached| *reached > after).await;
                if newer.is_err() {
                    return Err(FollowError::Failed { why: "the store's writer has stopped".to_owned() });
                }
                drop(newer);
                self.refill()?;
            }
        })
    }
}
