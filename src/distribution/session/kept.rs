//! What histories that are over have left: it denies until no token lives that it could cover.

use std::sync::Arc;

use crate::revocation::expiry::{Largest, left_of};
use crate::revocation::list::RevocationList;
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Version;
use crate::token::list_config::ListConfig;

/// Under how many hash keys denials are kept beside the list in use. More are not forgotten but refused.
pub(super) const MAX_HASH_KEYS: usize = 8;
/// How far the horizon has to move before it is looked again what can be given up.
const SWEEP_SECONDS: u64 = 60;

/// Denials beside the list in use.
#[derive(Debug)]
pub(super) struct Kept {
    /// What an earlier process has left on the disk; the first proof decides about it.
    undecided: Vec<Arc<RevocationList>>,
    /// Of histories that are over, one per hash key.
    over: Vec<Arc<RevocationList>>,
    /// The largest limits of all declarations that this process has seen: whose token a row denies can't be told.
    longest: Option<Largest>,
    swept: Option<UnixSeconds>,
}

impl Kept {
    pub(super) fn new(left: Vec<Arc<RevocationList>>, config: Option<&ListConfig>) -> Self {
        let longest = config.and_then(ListConfig::largest);
        Self { undecided: left, over: Vec::new(), longest, swept: None }
    }

    /// Returns everything that denies.
    pub(super) fn lists(&self) -> Vec<Arc<RevocationList>> {
        self.undecided.iter().chain(&self.over).cloned().collect()
    }

    /// Takes notice of a declaration in force.
    pub(super) fn declared(&mut self, config: &ListConfig) {
        let largest = config.largest();
        self.longest = self.longest.zip(largest).map(|(a, b)| a.max(b)).or(self.longest).or(largest);
    }

    /// Tells whether a list of this kind can't be kept without forgetting another one.
    pub(super) fn is_full_for(&self, list: &RevocationList) -> bool {
        let known = self.over.iter().any(|over| over.hash_key() == list.hash_key());
        !known && self.over.len() >= MAX_HASH_KEYS && denies_something(list)
    }

    /// Keeps a list whose history is over.
    pub(super) fn add(&mut self, list: &RevocationList) {
        match self.over.iter_mut().find(|over| over.hash_key() == list.hash_key()) {
            Some(over) => *over = Arc::new(over.keeping(list)),
            None if denies_something(list) => self.over.push(Arc::new(list.denials())),
            None => {}
        }
    }

    /// Takes notice of a proof; returns the list in use if it changes by that.
    ///
    /// What an earlier process has left is given up if its history has reached it. Else it stays: a store that went
    /// back has forgotten what was acknowledged, and when it comes to the same version again, that is by other steps.
    pub(super) fn proven(
        &mut self,
        list: &RevocationList,
        proven: Version,
        horizon: UnixSeconds,
    ) -> Option<RevocationList> {
        let mut changed = None;
        for old in std::mem::take(&mut self.undecided) {
            let same_key = old.hash_key() == list.hash_key();
            if same_key && old.version().epoch == proven.epoch && old.version() <= proven {
                continue;
            }
            if same_key {
                changed = Some(changed.as_ref().unwrap_or(list).keeping(&old));
            } else {
                self.add(&old);
            }
        }
        let swept = self.sweep(changed.as_ref().unwrap_or(list), horizon);
        swept.or(changed)
    }

    /// Gives up what can cover no living token.
    fn sweep(&mut self, list: &RevocationList, horizon: UnixSeconds) -> Option<RevocationList> {
        let longest = self.longest?;
        if self.swept.is_some_and(|swept| horizon < swept.saturating_add(SWEEP_SECONDS)) {
            return None;
        }
        self.swept = Some(horizon);
        let left = |rows| left_of(rows, horizon, &longest);
        for over in &mut self.over {
            if let Some(less) = over.forgetting(left) {
                *over = Arc::new(less);
            }
        }
        self.over.retain(|over| denies_something(over));
        list.forgetting(left)
    }
}

fn denies_something(list: &RevocationList) -> bool {
    !list.is_empty() || list.retained_len() > 0
}
