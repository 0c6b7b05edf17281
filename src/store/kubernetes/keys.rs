//! The keys that all replicas share: one for each list's hashes, and one for the seals of versions. Each is a Secret
//! in the namespace of the controllers, made by whoever needs it first, and never changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::runtime::random::{Random, bytes};

use super::call::{CallError, timed};
use super::lists::Declared;

const SEAL_KEY: &str = "rescind-seal-key";
const FIELD: &str = "key";

/// The hash keys that were read, by the UID of their list.
#[derive(Debug, Default)]
pub(super) struct HashKeys(Mutex<HashMap<String, HashKey>>);

impl HashKeys {
    /// Returns the key of a list's hashes.
    ///
    /// It belongs to the list's UID: a list that was deleted and declared anew has lost its history, and under another
    /// key no sidecar takes the new list for the old one.
    pub(super) async fn of(
        &self,
        client: &Client,
        own: &str,
        list: &ListName,
        uid: &str,
        random: &dyn Random,
    ) -> Result<HashKey, CallError> {
        if let Some(known) = self.known(uid) {
            return Ok(known);
        }
        let owner = BTreeMap::from([("rescind.dev/list".to_owned(), list.to_string())]);
        let key = get_or_create(client, own, &format!("rescind-hash-key-{uid}"), owner, random).await?;
        let key = HashKey::new(key);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), key);
        Ok(key)
    }

    /// Returns the key of a list, if it was asked for before.
    pub(super) fn known(&self, uid: &str) -> Option<HashKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied()
    }

    /// Forgets the keys of lists that are gone; their Secrets stay.
    pub(super) fn keep_only(&self, declared: &[Declared]) {
        let uids: HashSet<&str> = declared.iter().map(|list| list.uid.as_str()).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|uid, _| uids.contains(uid.as_str()));
    }
}

/// Returns the key of the seals.
pub(super) async fn seal_key(client: &Client, own: &str, random: &dyn Random) -> Result<[u8; 32], CallError> {
    get_or_create(client, own, SEAL_KEY, BTreeMap::new(), random).await
}

async fn get_or_create<const N: usize>(
    client: &Client,
    own: &str,
    name: &str,
    annotations: BTreeMap<String, String>,
    random: &dyn Random,
) -> Result<[u8; N], CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), own);
    match timed(api.get(name)).await {
        Ok(secret) => return read(own, &secret),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some(BTreeMap::from([(FIELD.to_owned(), ByteString(bytes::<N>(random).to_vec()))])),
        ..Secret::default()
    };
    match timed(api.create(&PostParams::default(), &secret)).await {
        Ok(created) => read(own, &created),
        // Another replica was faster: its key is the one.
        Err(error) if error.is_conflict() => read(own, &timed(api.get(name)).await?),
        Err(error) => Err(error),
    }
}

fn read<const N: usize>(own: &str, secret: &Secret) -> Result<[u8; N], CallError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(FIELD));
    bytes.and_then(|bytes| bytes.0.as_slice().try_into().ok()).ok_or_else(|| {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        CallError::Unreachable(format!("Secret {own}/{name} has no field {FIELD:?} of {N} bytes"))
    })
}
