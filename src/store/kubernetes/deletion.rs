//! Whether an object that is gone was lifted, or went away with something larger.
//!
//! Deleting the definition of the type, or a namespace, sends one ordinary DELETED for every object in it. So a
//! deletion is a lift only after a look at both that began after the event: they are the same as before, and stay.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::Api;

use crate::revocation::time::UnixSeconds;

use super::call::{CallError, timed};
use super::{Shared, object};

/// How many namespaces are looked at at a time.
const PARALLEL_LOOKS: usize = 16;
/// By how much the clocks of two API servers may differ, of which one has made a namespace and the other an object in it.
/// That a namespace is emptied and made anew takes longer.
const CLOCK_MARGIN_SECONDS: u64 = 5;
/// The definition of the watched type.
pub(super) const DEFINITION: &str = "revocations.rescind.dev";

/// A namespace that is there.
#[derive(Debug)]
pub(super) struct Living {
    pub(super) uid: String,
    /// The second of its creation.
    created: Option<UnixSeconds>,
}

/// What became of the namespaces of deleted objects.
#[derive(Debug, Default)]
pub(super) struct Explained {
    /// Alive, by name.
    pub(super) alive: HashMap<String, Living>,
}

impl Explained {
    /// Whether the namespace of an object is the one that it was. One that was never looked at before only has to live.
    ///
    /// The watch may be late, and the namespace have been looked at since, as it is now: so what is older than the
    /// namespace was in another one, whatever is known of it.
    pub(super) fn is_same(
        &self,
        namespace: &str,
        before: Option<&String>,
        object_created: Option<UnixSeconds>,
    ) -> bool {
        let Some(living) = self.alive.get(namespace) else { return false };
        let is_older = object_created
            .zip(living.created)
            .is_some_and(|(object, created)| object.saturating_add(CLOCK_MARGIN_SECONDS) < created);
        !is_older && before.is_none_or(|before| *before == living.uid)
    }

    /// Returns the UID of a namespace that is not [the same](Self::is_same); empty if only that of its namesake is known.
    pub(super) fn gone_uid(&self, namespace: &str, before: Option<&String>) -> String {
        let is_namesake = |uid: &&String| self.alive.get(namespace).is_some_and(|living| living.uid == **uid);
        before.filter(|uid| !is_namesake(uid)).cloned().unwrap_or_default()
    }
}

impl Shared {
    /// Returns the UID of the type's definition, and notes whether it is there: the status of lists says so.
    pub(super) async fn look_at_definition(&self, client: &Client) -> Result<Option<String>, CallError> {
        let definition = definition(client).await?;
        let is_gone = definition.is_none();
        if self.mirror().definition_is_gone != is_gone {
            self.observe(|mirror, _| mirror.definition_is_gone = is_gone);
        }
        Ok(definition)
    }
}

/// Returns the UID of the type's definition; none if it is not there, or about to go.
async fn definition(client: &Client) -> Result<Option<String>, CallError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = timed(api.get_metadata(DEFINITION)).await.map(|found| found.metadata);
    Ok(living(found)?.map(|definition| definition.uid))
}

/// Looks at namespaces, each as of now.
pub(super) async fn look(client: &Client, namespaces: HashSet<String>) -> Result<Explained, CallError> {
    let looks = namespaces.into_iter().map(|name| async move {
        let living = namespace(client, &name).await?;
        Ok::<_, CallError>(living.map(|living| (name, living)))
    });
    let looked: Vec<Option<(String, Living)>> =
        stream::iter(looks).buffer_unordered(PARALLEL_LOOKS).try_collect().await?;
    Ok(Explained { alive: looked.into_iter().flatten().collect() })
}

/// Returns a namespace; none if it is not there, or about to go.
async fn namespace(client: &Client, name: &str) -> Result<Option<Living>, CallError> {
    let api: Api<Namespace> = Api::all(client.clone());
    living(timed(api.get_metadata(name)).await.map(|found| found.metadata))
}

fn living(found: Result<ObjectMeta, CallError>) -> Result<Option<Living>, CallError> {
    match found {
        Ok(metadata) if metadata.deletion_timestamp.is_some() => Ok(None),
        Ok(metadata) => {
            let created = object::created(&metadata);
            Ok(metadata.uid.map(|uid| Living { uid, created }))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
