//! What a sidecar knows of a list, as one immutable value that checks read.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::revocation::expiry::floor_of;
use crate::revocation::freshness::{Bounds, Knowledge};
use crate::revocation::list::RevocationList;
use crate::revocation::names::ListName;
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Version;
use crate::token::list_config::ListConfig;

/// A list's state, its declaration and the age of its proof. They are published together: a state that was read
/// with another state's proof would vouch for what nobody has proven.
#[derive(Clone, Debug)]
pub struct ListView {
    /// The list.
    pub name: ListName,
    /// The declaration in force; none before the first.
    pub config: Option<Arc<ListConfig>>,
    /// The JSON document that the declaration was compiled from, for the disk.
    pub document: Option<Arc<[u8]>>,
    /// Which declaration it is.
    pub generation: u64,
    /// The list; none before the first snapshot.
    pub list: Option<Arc<RevocationList>>,
    /// What an earlier process has left on the disk, and what was held under another hash key: good for denials only.
    pub denials: Vec<Arc<RevocationList>>,
    /// The age of the proof.
    pub knowledge: Knowledge,
    /// The largest bound that this process accepts, in seconds, whatever the declaration says.
    pub ceiling_seconds: Option<u32>,
    /// Complete up to here, as of the proof.
    pub proven: Option<Version>,
    /// Up to when expiries have been carried out in the list.
    pub horizon: Option<UnixSeconds>,
}

impl ListView {
    /// Starts with nothing.
    #[must_use]
    pub const fn empty(name: ListName) -> Self {
        Self {
            name,
            config: None,
            document: None,
            generation: 0,
            list: None,
            denials: Vec::new(),
            knowledge: Knowledge::NeverProven,
            ceiling_seconds: None,
            proven: None,
            horizon: None,
        }
    }

    /// Returns the bounds that are in force here: those of the declaration, or narrower ones. Without a declaration they
    /// are the default ones.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let declared = self.config.as_ref().map_or_else(Bounds::default, |config| config.freshness);
        self.ceiling_seconds.map_or(declared, |ceiling| declared.narrowed(ceiling))
    }

    /// Returns the time that has surely passed.
    #[must_use]
    pub fn floor(&self) -> Option<UnixSeconds> {
        self.horizon.map(floor_of)
    }
}

/// The views of all followed lists. Clones share them.
///
/// **Cost**: a read is one atomic load and a counter.
#[derive(Clone, Debug)]
pub struct Views(Arc<[ArcSwap<ListView>]>);

impl Views {
    /// Starts with nothing known of each list.
    #[must_use]
    pub fn new(names: &[ListName]) -> Self {
        Self(names.iter().map(|name| ArcSwap::from_pointee(ListView::empty(name.clone()))).collect())
    }

    /// Returns all views, each as of now. The clock is to be read after this.
    #[must_use]
    pub fn load(&self) -> Vec<Arc<ListView>> {
        self.0.iter().map(ArcSwap::load_full).collect()
    }

    /// Publishes the view of one list.
    pub fn publish(&self, index: usize, view: ListView) {
        if let Some(slot) = self.0.get(index) {
            slot.store(Arc::new(view));
        }
    }
}
