//! The declared lists, as of a moment after the call began.
//!
//! A declaration is used only once the annotations say what was in force before it: others change it, and what they
//! changed has effects that outlast it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::ApiResource;
use serde::Deserialize;

use crate::api::document::{DocumentMeta, KIND, ListDocument};
use crate::api::token_revocation_list::{TokenRevocationList, TokenRevocationListSpec};
use crate::api::{API_VERSION, maxima, recorded, window};
use crate::revocation::names::ListName;
use crate::revocation::time::UnixSeconds;

use super::call::{CallError, Object, list_all, stripped, timed};

/// The annotations that are the controllers' own.
const OWN: [&str; 3] = [maxima::ANNOTATION, window::ANNOTATION, recorded::ANNOTATION];

const DEFINITION: &str = "tokenrevocationlists.rescind.dev";
const NOT_YET: &str = "it is not its turn yet: many lists were declared or changed at once";

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
/// How many declarations are recorded in one look: whoever declares many lists, or changes them all the time, must not
/// make the others wait. The rest has its turn in the next looks.
const MAX_RECORDED: usize = 64;
/// How many calls about lists are under way at a time.
pub(super) const PARALLEL_CALLS: usize = 8;
/// How long a document is kept whose list is not listed: another look, under way at the same time, may have seen it.
const KEPT_SECONDS: u64 = 60;

/// The documents that this process has seen, and who waits to be recorded, by the UID of their object.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    documents: HashMap<String, (ListDocument, UnixSeconds)>,
    /// The look in which they were first put off.
    waiting: HashMap<String, u64>,
    looks: u64,
}

impl Seen {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was seen of an object whose annotations are gone: `kubectl replace` drops them.
    fn restore(&self, uid: &str, document: &mut ListDocument) {
        if document.metadata.annotations.contains_key(recorded::ANNOTATION) {
            return;
        }
        if let Some((seen, _)) = self.known().documents.get(uid) {
            document.metadata.annotations = seen.metadata.annotations.clone();
        }
    }

    fn keep(&self, uid: &str, document: &ListDocument, now: UnixSeconds) {
        self.known().documents.insert(uid.to_owned(), (document.clone(), now));
    }

    /// Forgets the documents of objects that are gone: a UID never comes back.
    fn keep_only(&self, listed: &HashSet<&str>, now: UnixSeconds) {
        let is_fresh = |seen: UnixSeconds| now < seen.saturating_add(KEPT_SECONDS);
        let mut known = self.known();
        known.documents.retain(|uid, (_, seen)| listed.contains(uid.as_str()) || is_fresh(*seen));
    }

    /// Chooses whose turn it is of those that have to be recorded: first who has waited longest, then each namespace
    /// in turn.
    fn choose(&self, due: &[(&str, &str)]) -> HashSet<String> {
        let mut known = self.known();
        known.looks += 1;
        let look = known.looks;
        let uids: HashSet<&str> = due.iter().map(|(uid, _)| *uid).collect();
        known.waiting.retain(|uid, _| uids.contains(uid.as_str()));
        let mut of_namespace: HashMap<&str, usize> = HashMap::new();
        let mut ranked: Vec<(u64, usize, &str)> = Vec::new();
        for (uid, namespace) in due {
            let before = of_namespace.entry(namespace).or_default();
            ranked.push((known.waiting.get(*uid).copied().unwrap_or(look), *before, uid));
            *before += 1;
        }
        ranked.sort_unstable();
        let put_off = ranked.split_off(ranked.len().min(MAX_RECORDED));
        ranked.iter().for_each(|(_, _, uid)| _ = known.waiting.remove(*uid));
        put_off.iter().for_each(|(_, _, uid)| _ = known.waiting.entry((*uid).to_owned()).or_insert(look));
        ranked.into_iter().map(|(_, _, uid)| uid.to_owned()).collect()
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
    let api: Api<Object> = Api::all_with(client.clone(), &resource());
    let (_, objects) = list_all(&api, |object| stripped(object, &OWN)).await.map_err(|error| {
        // Nothing can be told of lists that can't be listed: not even that they are gone.
        if error.is_not_found() { CallError::Undefined(DEFINITION) } else { error }
    })?;
    let uids = objects.iter().filter_map(|object| object.metadata.uid.as_deref());
    seen.keep_only(&uids.collect(), now);
    let lists: Vec<Declared> = objects.iter().filter_map(read).collect();
    let due = lists.iter().filter(|list| matches!(brought_up_to_date(seen, list, now), Ok((_, true))));
    let due: Vec<_> = due.map(|list| (list.uid.as_str(), list.name.namespace())).collect();
    let chosen = seen.choose(&due);
    let settled = stream::iter(lists).map(|list| {
        let may_record = chosen.contains(&list.uid);
        settle(client, seen, list, now, may_record)
    });
    let settled: Vec<Option<Declared>> = settled.buffered(PARALLEL_CALLS).try_collect().await?;
    Ok(settled.into_iter().flatten().collect())
}

fn read(object: &Object) -> Option<Declared> {
    let metadata = &object.metadata;
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
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

/// Returns a declaration with the annotations that it should have, and whether they have to be written.
fn brought_up_to_date(
    seen: &Seen,
    list: &Declared,
    now: UnixSeconds,
) -> Result<(ListDocument, bool), String> {
    let mut document = list.document.clone()?;
    let found = document.metadata.annotations.clone();
    seen.restore(&list.uid, &mut document);
    let recorded = document.recorded(now).map_err(|error| error.to_string())?;
    let document = recorded.unwrap_or(document);
    let has_changed = document.metadata.annotations != found;
    Ok((document, has_changed))
}

/// Brings the annotations up to what is declared, before anybody uses it. What can't be recorded is this list's
/// problem, also if others change it all the time; what failed on the way is everybody's.
async fn settle(
    client: &Client,
    seen: &Seen,
    mut list: Declared,
    now: UnixSeconds,
    may_record: bool,
) -> Result<Option<Declared>, CallError> {
    let mut attempts = 0;
    list.document = loop {
        let document = match brought_up_to_date(seen, &list, now) {
            Ok((_, true)) if !may_record => break Err(NOT_YET.to_owned()),
            Ok((document, true)) => document,
            Ok((document, false)) => break Ok(document),
            Err(why) => break Err(why),
        };
        match annotate(client, &list, &document).await {
            Ok(()) => break Ok(document),
            // Another replica was recording the same, or somebody changes it: what it is now is read.
            Err(error) if error.is_conflict() && attempts < MAX_ATTEMPTS => {
                attempts += 1;
                match get(client, &list.name).await? {
                    Some(found) => list = found,
                    None => return Ok(None),
                }
            }
            Err(error) if error.is_conflict() => {
                break Err(format!(
                    "it changes all the time: its history can't be kept in its annotations: {error}"
                ));
            }
            Err(error) if error.is_refusal() => {
                break Err(format!("its history can't be kept in its annotations: {error}"));
            }
            Err(error) => return Err(error),
        }
    };
    if let Ok(document) = &list.document {
        seen.keep(&list.uid, document, now);
    }
    Ok(Some(list))
}

/// Reads one list anew; none if it is gone.
async fn get(client: &Client, name: &ListName) -> Result<Option<Declared>, CallError> {
    let api: Api<Object> = Api::namespaced_with(client.clone(), name.namespace(), &resource());
    match timed(api.get(name.name())).await {
        Ok(object) => Ok(read(&object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests;
