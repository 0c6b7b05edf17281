//! The tables of the embedded file, and what each step does to them within a transaction.

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, StorageError, Table, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::api::document::ListDocument;
use crate::api::invalid::Invalid;
use crate::revocation::key::HashKey;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::{Epoch, Version};
use crate::runtime::random::{Random, bytes};
use crate::store::{Beat, Event, Fetched, Revocation, StoredList, What, written};

use super::version;

/// The format of the file; changes when an older program could misread it.
const FORMAT: u64 = 1;
/// How many steps of the log are kept for followers; older ones fetch everything.
pub(super) const MAX_LOG: u64 = 8192;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LISTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("lists");
const RECORDS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("records");
/// From namespace and name to the id.
const NAMES: TableDefinition<'_, (&str, &str), u128> = TableDefinition::new("names");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Says why the tables could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Table(#[from] redb::TableError),
    #[error(transparent)]
    Transaction(#[from] redb::TransactionError),
    #[error(transparent)]
    Commit(#[from] redb::CommitError),
    #[error("what is stored can't be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a stored revocation can't be read: {0}")]
    Revocation(#[from] written::ReadError),
    #[error("a stored list can't be read: {0}")]
    List(#[from] Invalid),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("format {found}")]
    Format { found: u64, known: u64 },
}

impl TableError {
    /// Returns what the operating system said, if it is the one that refused.
    pub(super) fn io(&self) -> Option<&std::io::Error> {
        if let Self::Storage(StorageError::Io(error))
        | Self::Table(redb::TableError::Storage(StorageError::Io(error)))
        | Self::Transaction(redb::TransactionError::Storage(StorageError::Io(error)))
        | Self::Commit(redb::CommitError::Storage(StorageError::Io(error))) = self
        {
            Some(error)
        } else {
            None
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    format: u64,
    epoch_counter: u64,
    epoch_id: u128,
    seal_key: [u8; 32],
    sequence: u64,
    horizon: UnixSeconds,
    last_created: UnixSeconds,
}

impl Meta {
    const fn epoch(&self) -> Epoch {
        Epoch { counter: self.epoch_counter, id: self.epoch_id }
    }
}

/// Where a store starts.
pub(super) struct Start {
    pub(super) epoch: Epoch,
    pub(super) seal_key: [u8; 32],
    pub(super) sequence: u64,
}

/// Makes the tables of a new store, or reads where an old one left off.
pub(super) fn prepare(
    database: &redb::Database,
    random: &dyn Random,
    now: Moment,
) -> Result<Start, TableError> {
    let transaction = database.begin_write()?;
    let meta = {
        let mut table = transaction.open_table(META)?;
        let known = table.get("meta")?.map(|value| serde_json::from_slice(value.value())).transpose();
        // A later format may hold more than this program's: its number is looked at first.
        let format =
            table.get("format")?.and_then(|v| <[u8; 8]>::try_from(v.value()).ok()).map(u64::from_le_bytes);
        match format {
            Some(found) if found != FORMAT => return Err(TableError::Format { found, known: FORMAT }),
            Some(_) => known?.ok_or(TableError::Missing("meta"))?,
            None => {
                table.insert("format", FORMAT.to_le_bytes().as_slice())?;
                new_meta(random, now)
            }
        }
    };
    write_meta(&transaction, &meta)?;
    transaction.open_table(LISTS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(NAMES)?;
    transaction.open_table(LOG)?;
    transaction.commit()?;
    Ok(Start { epoch: meta.epoch(), seal_key: meta.seal_key, sequence: meta.sequence })
}

/// A new store's epoch counts the milliseconds of the clock, so that it is above that of a store which was there before and
/// is gone: sidecars then keep what they know of the old one.
fn new_meta(random: &dyn Random, now: Moment) -> Meta {
    Meta {
        format: FORMAT,
        epoch_counter: now.wall_nanos / 1_000_000,
        epoch_id: u128::from_le_bytes(bytes(random)),
        seal_key: bytes(random),
        sequence: 0,
        horizon: UnixSeconds::MIN,
        last_created: UnixSeconds::MIN,
    }
}

fn write_meta(transaction: &WriteTransaction, meta: &Meta) -> Result<(), TableError> {
    transaction.open_table(META)?.insert("meta", serde_json::to_vec(meta)?.as_slice())?;
    Ok(())
}

fn read_meta(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Meta, TableError> {
    let value = table.get("meta")?.ok_or(TableError::Missing("meta"))?;
    Ok(serde_json::from_slice(value.value())?)
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    Added(serde_json::Value),
    Removed { id: RecordId, list: ListName },
    Horizon(UnixSeconds),
    Heartbeat(Beat),
}

/// The tables of one write transaction, with the meta row in memory until [`Self::finish`].
pub(super) struct Writing<'t> {
    transaction: &'t WriteTransaction,
    lists: Table<'t, &'static str, &'static [u8]>,
    records: Table<'t, u128, &'static [u8]>,
    names: Table<'t, (&'static str, &'static str), u128>,
    log: Table<'t, u64, &'static [u8]>,
    meta: Meta,
}

impl<'t> Writing<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        let meta = read_meta(&transaction.open_table(META)?)?;
        Ok(Self {
            transaction,
            lists: transaction.open_table(LISTS)?,
            records: transaction.open_table(RECORDS)?,
            names: transaction.open_table(NAMES)?,
            log: transaction.open_table(LOG)?,
            meta,
        })
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.meta.epoch()
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.meta.sequence
    }

    /// Returns the second of a creation; it never goes back, even if the clock does.
    pub(super) fn created(&mut self, now: UnixSeconds) -> UnixSeconds {
        self.meta.last_created = self.meta.last_created.max(now);
        self.meta.last_created
    }

    pub(super) fn count(&self) -> Result<usize, TableError> {
        Ok(usize::try_from(self.records.len()?).unwrap_or(usize::MAX))
    }

    pub(super) fn has_list(&self, list: &ListName) -> Result<bool, TableError> {
        Ok(self.lists.get(list.to_string().as_str())?.is_some())
    }

    pub(super) fn named(&self, list: &ListName, name: &str) -> Result<Option<Revocation>, TableError> {
        let id = self.names.get((list.namespace(), name))?.map(|id| id.value());
        id.map_or(Ok(None), |id| self.record(RecordId(id)))
    }

    pub(super) fn record(&self, id: RecordId) -> Result<Option<Revocation>, TableError> {
        let Some(value) = self.records.get(id.0)? else { return Ok(None) };
        Ok(Some(written::read(value.value(), self.epoch())?))
    }

    /// Adds a revocation at the next version, which it gets.
    pub(super) fn add(&mut self, mut revocation: Revocation) -> Result<Revocation, TableError> {
        revocation.version = version(self.epoch(), self.meta.sequence.saturating_add(1));
        let json = written::write(&revocation)?;
        self.log(&Step::Added(serde_json::from_slice(&json)?))?;
        self.names.insert((revocation.list.namespace(), revocation.name.as_str()), revocation.id.0)?;
        self.records.insert(revocation.id.0, json.as_slice())?;
        Ok(revocation)
    }

    pub(super) fn remove(&mut self, revocation: &Revocation) -> Result<(), TableError> {
        self.log(&Step::Removed { id: revocation.id, list: revocation.list.clone() })?;
        self.names.remove((revocation.list.namespace(), revocation.name.as_str()))?;
        self.records.remove(revocation.id.0)?;
        Ok(())
    }

    /// Moves the horizon on; it never goes back.
    pub(super) fn raise_horizon(&mut self, horizon: UnixSeconds) -> Result<(), TableError> {
        if horizon <= self.meta.horizon {
            return Ok(());
        }
        self.meta.horizon = horizon;
        self.log(&Step::Horizon(horizon))
    }

    /// Starts another history above an epoch. The sequence goes on: what is live bears its old number.
    pub(super) fn start_epoch(&mut self, above: Epoch, id: u128) {
        self.meta.epoch_counter = self.meta.epoch_counter.max(above.counter).saturating_add(1);
        self.meta.epoch_id = id;
        self.meta.sequence = self.meta.sequence.saturating_add(1);
    }

    pub(super) fn heartbeat(&mut self, beat: Beat) -> Result<(), TableError> {
        self.log(&Step::Heartbeat(beat))
    }

    fn log(&mut self, step: &Step) -> Result<(), TableError> {
        self.meta.sequence = self.meta.sequence.saturating_add(1);
        self.log.insert(self.meta.sequence, serde_json::to_vec(step)?.as_slice())?;
        if let Some(oldest) = self.meta.sequence.checked_sub(MAX_LOG) {
            self.log.remove(oldest)?;
        }
        Ok(())
    }

    pub(super) fn list(&self, list: &ListName) -> Result<Option<StoredList>, TableError> {
        self.lists.get(list.to_string().as_str())?.map(|value| read_list(value.value())).transpose()
    }

    pub(super) fn put_list(&mut self, list: &ListName, stored: &StoredList) -> Result<(), TableError> {
        let document = serde_json::to_value(&stored.document)?;
        let json = serde_json::to_vec(&WrittenList { document, hash_key: *stored.hash_key.as_bytes() })?;
        self.lists.insert(list.to_string().as_str(), json.as_slice())?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), TableError> {
        let Self { transaction, meta, .. } = self;
        write_meta(transaction, &meta)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenList {
    document: serde_json::Value,
    hash_key: [u8; 16],
}

fn read_list(bytes: &[u8]) -> Result<StoredList, TableError> {
    let written: WrittenList = serde_json::from_slice(bytes)?;
    let document = ListDocument::parse(&serde_json::to_vec(&written.document)?)?;
    Ok(StoredList { document, hash_key: HashKey::new(written.hash_key) })
}

/// Reads every live revocation.
pub(super) fn fetch(transaction: &ReadTransaction) -> Result<Fetched, TableError> {
    let meta = read_meta(&transaction.open_table(META)?)?;
    let epoch = meta.epoch();
    let mut revocations = Vec::new();
    for row in transaction.open_table(RECORDS)?.iter()? {
        revocations.push(written::read(row?.1.value(), epoch)?);
    }
    revocations.sort_by_key(|revocation: &Revocation| revocation.version.revisions.revocations);
    let version = version(epoch, meta.sequence);
    Ok(Fetched { version, revocations, unreadable: Vec::new(), horizon: meta.horizon })
}

/// Reads every list.
pub(super) fn lists(transaction: &ReadTransaction) -> Result<Vec<StoredList>, TableError> {
    transaction.open_table(LISTS)?.iter()?.map(|row| read_list(row?.1.value())).collect()
}

/// Reads at most `limit` steps after a version; none if the log does not reach back so far, or is of another
/// history.
pub(super) fn steps(
    transaction: &ReadTransaction,
    after: Version,
    limit: usize,
) -> Result<Option<Vec<Event>>, TableError> {
    let log = transaction.open_table(LOG)?;
    let meta = read_meta(&transaction.open_table(META)?)?;
    let (epoch, newest) = (meta.epoch(), meta.sequence);
    if after.epoch != epoch {
        return Ok(None);
    }
    let after = after.revisions.revocations;
    if after < newest && log.get(after.saturating_add(1))?.is_none() {
        return Ok(None);
    }
    let mut events = Vec::new();
    for row in log.range(after.saturating_add(1)..)?.take(limit) {
        let (sequence, step) = row?;
        let what = match serde_json::from_slice(step.value())? {
            Step::Added(json) => What::Added(Box::new(written::read(&serde_json::to_vec(&json)?, epoch)?)),
            Step::Removed { id, list } => What::Removed { id, list },
            Step::Horizon(time) => What::Horizon(time),
            Step::Heartbeat(beat) => What::Heartbeat(beat),
        };
        events.push(Event { version: version(epoch, sequence.value()), what });
    }
    Ok(Some(events))
}
