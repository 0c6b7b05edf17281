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

use super::Shared;
use super::call::{CallError, timed};

/// How many namespaces are looked at at a time.
const PARALLEL_LOOKS: usize = 16;
/// The definition of the watched type.
pub(super) const DEFINITION: &str = "revocations.rescind.dev";

/// What became of the namespaces of deleted objects.
#[derive(Debug, Default)]
pub(super) struct Explained {
    /// Alive, by name, with their UIDs.
    pub(super) alive: HashMap<String, String>,
}

impl Explained {
    /// Whether a namespace is the one that it was. One that was never looked at before only has to live.
    pub(super) fn is_same(&self, namespace: &str, before: Option<&String>) -> bool {
        let Some(uid) = self.alive.get(namespace) else { return false };
        before.is_none_or(|before| before == uid)
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
    living(timed(api.get_metadata(DEFINITION)).await.map(|found| found.metadata))
}

/// Looks at namespaces, each as of now.
pub(super) async fn look(client: &Client, namespaces: HashSet<String>) -> Result<Explained, CallError> {
    let looks = namespaces.into_iter().map(|name| async move {
        let uid = namespace(client, &name).await?;
        Ok::<_, CallError>(uid.map(|uid| (name, uid)))
    });
    let looked: Vec<Option<(String, String)>> =
        stream::iter(looks).buffer_unordered(PARALLEL_LOOKS).try_collect().await?;
    Ok(Explained { alive: looked.into_iter().flatten().collect() })
}

/// Returns the UID of a namespace; none if it is not there, or about to go.
pub(super) async fn namespace(client: &Client, name: &str) -> Result<Option<String>, CallError> {
    let api: Api<Namespace> = Api::all(client.clone());
    living(timed(api.get_metadata(name)).await.map(|found| found.metadata))
}

fn living(found: Result<ObjectMeta, CallError>) -> Result<Option<String>, CallError> {
    match found {
        Ok(metadata) if metadata.deletion_timestamp.is_some() => Ok(None),
        Ok(metadata) => Ok(metadata.uid),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
