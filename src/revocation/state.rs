//! The state of a list as a publisher keeps it: records by origin, rows derived from them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::delta::{Difference, digest_after};
use super::digest::Digest;
use super::filter::Prefilter;
use super::key::{HashKey, Key};
use super::names::RecordId;
use super::record::Record;
use super::row::Rows;
use super::snapshot::Snapshot;
use super::version::Version;

/// One step of the log, as far as it concerns one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record is there now; a later one of the same origin replaces it.
    Put(Record),
    /// A record is gone: lifted by somebody, or expired.
    Remove(RecordId),
}

/// The live records of one list, and the rows that follow from them.
///
/// It is a pure function of the set of live records: whatever the order of steps that led to a set, the rows
/// and the digest are the same. Like rows of several records under one key are combined when they are read,
/// so that lifting one leaves exactly what the others cover.
#[derive(Clone, Debug)]
pub struct State {
    hash_key: HashKey,
    records: HashMap<RecordId, Record>,
    origins: HashMap<Key, Vec<RecordId>>,
    digest: Digest,
}

impl State {
    /// Makes the state of a list without records.
    #[must_use]
    pub fn new(hash_key: HashKey) -> Self {
        Self { hash_key, records: HashMap::new(), origins: HashMap::new(), digest: Digest::default() }
    }

    /// Makes the state of a set of live records.
    #[must_use]
    pub fn of(hash_key: HashKey, records: impl IntoIterator<Item = Record>) -> Self {
        let mut state = Self::new(hash_key);
        for record in records {
            state.apply(Step::Put(record));
        }
        state
    }

    /// Applies one step and returns what changed under which keys; a step that is known changes nothing.
    pub fn apply(&mut self, step: Step) -> Difference {
        let (id, new) = match step {
            Step::Put(record) => (record.id, Some(record)),
            Step::Remove(id) => (id, None),
        };
        let old = self.records.get(&id).copied();
        if old == new {
            return Difference::default();
        }
        let touched: Vec<Key> = [old, new].into_iter().flatten().map(|record| record.key).collect();
        let before: Vec<(Key, Option<Rows>)> = touched.iter().map(|key| (*key, self.rows(*key))).collect();
        if let Some(record) = old {
            self.unlink(&record);
        }
        if let Some(record) = new {
            self.origins.entry(record.key).or_default().push(id);
            self.records.insert(id, record);
        }
        self.settle(&before)
    }

    fn unlink(&mut self, record: &Record) {
        self.records.remove(&record.id);
        if let Entry::Occupied(mut origins) = self.origins.entry(record.key) {
            origins.get_mut().retain(|id| *id != record.id);
            if origins.get().is_empty() {
                origins.remove();
            }
        }
    }

    fn settle(&mut self, before: &[(Key, Option<Rows>)]) -> Difference {
        let mut difference = Difference::default();
        for (key, old) in before {
            let new = self.rows(*key);
            if new != *old {
                difference.put(*key, new.unwrap_or_default());
            }
        }
        let old_rows = |key| before.iter().find(|(k, _)| *k == key).and_then(|(_, rows)| *rows);
        self.digest = digest_after(self.digest, &self.hash_key, &difference, old_rows);
        difference
    }

    /// Returns the rows under a key, combined over all records there.
    #[must_use]
    pub fn rows(&self, key: Key) -> Option<Rows> {
        let origins = self.origins.get(&key)?;
        let rows = origins.iter().filter_map(|id| self.records.get(id)).map(|record| record.rows);
        rows.reduce(Rows::combine)
    }

    /// Returns the record of an origin.
    #[must_use]
    pub fn record(&self, id: RecordId) -> Option<&Record> {
        self.records.get(&id)
    }

    /// Returns the number of live records.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of keys with rows.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.origins.len()
    }

    /// Returns the digest of the live rows.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the hash key.
    #[must_use]
    pub const fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    /// Returns the whole of the list, for a subscriber that holds nothing of use.
    #[must_use]
    pub fn snapshot(&self, version: Version) -> Snapshot {
        let mut entries: Vec<(Key, Rows)> =
            self.origins.keys().filter_map(|key| Some((*key, self.rows(*key)?))).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let filter = Prefilter::build(&self.hash_key, entries.iter().map(|(key, _)| *key));
        Snapshot { version, digest: self.digest, entries, filter: filter.to_bytes() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
