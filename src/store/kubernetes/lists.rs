//! The declared lists, as of a moment after the call began.
//!
//! A declaration is used only once the annotations say what was in force before it: others change it, and what they
//! changed has effects that outlast it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::ApiResource;
use serde::Deserialize;

use crate::api::document::{DocumentMeta, KIND, ListDocument};
use crate::api::token_revocation_list::{TokenRevocationList, TokenRevocationListSpec};
use crate::api::{API_VERSION, maxima, recorded, window};
use crate::revocation::names::ListName;
use crate::revocation::time::UnixSeconds;

use super::call::{CallError, Object, list_all, timed};

/// The annotations that are the controllers' own.
const OWN: [&str; 3] = [maxima::ANNOTATION, window::ANNOTATION, recorded::ANNOTATION];

/// A list's object, as far as a declaration could be read from it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The list.
    pub name: ListName,
    /// The object's UID.
    pub uid: String,
    /// The object's revision.
    pub resource_version: String,
    /// Grows with every change of the declaration.
    pub generation: i64,
    /// The status that the object bears.
    pub status: serde_json::Value,
    /// The declaration, or why it can't be used.
    pub document: Result<ListDocument, String>,
}

/// How often a declaration that changes meanwhile is looked at again.
const MAX_ATTEMPTS: u32 = 5;

/// The documents that this process has seen, by the UID of their object.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, ListDocument>>);

impl Seen {
    /// Returns what was seen of an object whose annotations are gone: `kubectl replace` drops them.
    fn restore(&self, uid: &str, document: &mut ListDocument) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if document.metadata.annotations.contains_key(recorded::ANNOTATION) {
            return;
        }
        if let Some(seen) = seen.get(uid) {
            document.metadata.annotations = seen.metadata.annotations.clone();
        }
    }

    fn keep(&self, uid: &str, document: &ListDocument) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), document.clone());
    }
}

/// The type of the lists.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<TokenRevocationList>(&())
}

/// Returns all declared lists. Those that are about to be deleted are declared no more.
pub(super) async fn fetch(
    client: &Client,
    seen: &Seen,
    now: UnixSeconds,
) -> Result<Vec<Declared>, CallError> {
    let mut attempts = 0;
    loop {
        match fetch_once(client, seen, now).await {
            // Another replica was recording the same: what it wrote is read.
            Err(error) if error.is_conflict() && attempts < MAX_ATTEMPTS => attempts += 1,
            fetched => return fetched,
        }
    }
}

async fn fetch_once(client: &Client, seen: &Seen, now: UnixSeconds) -> Result<Vec<Declared>, CallError> {
    let api: Api<Object> = Api::all_with(client.clone(), &resource());
    let (_, objects) = list_all(&api).await?;
    let mut lists = Vec::new();
    for object in objects.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
        let Some(mut list) = read(object) else { continue };
        if let Ok(document) = &list.document {
            list.document = record(client, seen, &list, document.clone(), now).await?;
        }
        lists.push(list);
    }
    Ok(lists)
}

fn read(object: &Object) -> Option<Declared> {
    let metadata = &object.metadata;
    let name = ListName::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?).ok()?;
    let spec = object.data.get("spec").unwrap_or(&serde_json::Value::Null);
    let generation = metadata.generation.unwrap_or_default();
    let annotations = metadata.annotations.clone().unwrap_or_default().into_iter();
    let document =
        TokenRevocationListSpec::deserialize(spec).map_err(|error| error.to_string()).map(|spec| {
            ListDocument {
                api_version: API_VERSION.to_owned(),
                kind: KIND.to_owned(),
                metadata: DocumentMeta {
                    name: name.name().to_owned(),
                    namespace: name.namespace().to_owned(),
                    generation: u64::try_from(generation).unwrap_or_default(),
                    annotations: annotations.filter(|(key, _)| OWN.contains(&key.as_str())).collect(),
                },
                spec,
            }
        });
    Some(Declared {
        name,
        uid: metadata.uid.clone()?,
        resource_version: metadata.resource_version.clone()?,
        generation,
        status: object.data.get("status").cloned().unwrap_or_default(),
        document,
    })
}

/// Brings the annotations up to what is declared, before anybody uses it. What can't be recorded is this list's
/// problem; what failed on the way is everybody's.
async fn record(
    client: &Client,
    seen: &Seen,
    list: &Declared,
    mut document: ListDocument,
    now: UnixSeconds,
) -> Result<Result<ListDocument, String>, CallError> {
    let found = document.metadata.annotations.clone();
    seen.restore(&list.uid, &mut document);
    let document = match document.recorded(now) {
        Ok(recorded) => recorded.unwrap_or(document),
        Err(error) => return Ok(Err(error.to_string())),
    };
    if document.metadata.annotations != found {
        match annotate(client, list, &document).await {
            Err(error) if error.is_refusal() => {
                return Ok(Err(format!("its history can't be kept in its annotations: {error}")));
            }
            annotated => annotated?,
        }
    }
    seen.keep(&list.uid, &document);
    Ok(Ok(document))
}

/// Under the revision that was read: another replica may be writing the same.
async fn annotate(client: &Client, list: &Declared, document: &ListDocument) -> Result<(), CallError> {
    let api: Api<Object> = Api::namespaced_with(client.clone(), list.name.namespace(), &resource());
    let annotations: HashMap<&str, Option<&String>> =
        OWN.iter().map(|key| (*key, document.metadata.annotations.get(*key))).collect();
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": list.resource_version, "uid": list.uid, "annotations": annotations },
    });
    timed(api.patch(list.name.name(), &PatchParams::default(), &Patch::Merge(patch))).await.map(drop)
}
