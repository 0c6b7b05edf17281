//! Revoking and lifting by way of the store: a create, and a delete.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::api::{Api, DeleteParams, PostParams, Preconditions, WatchParams};
use kube::core::WatchEvent;
use serde_json::json;

use crate::api::{MANAGED_BY, target};
use crate::revocation::names::{ListName, RecordId};
use crate::runtime::random::bytes;
use crate::store::written::{generated_name, reads_back};
use crate::store::{Appended, NewRevocation, Revocation, StoreError};

use super::Shared;
use super::call::{CALL_TIMEOUT, CallError, Object, newest_revision, resource, revision, timed};
use super::lists;
use super::object::{self, Says, version};

/// Creates a revocation.
pub(super) async fn revoke(shared: &Shared, new: NewRevocation) -> Result<Appended, StoreError> {
    is_declared(shared, &new.list).await?;
    new.spec.row(shared.wall())?;
    let epoch = shared.epoch().await?;
    let id = RecordId(u128::from_le_bytes(bytes(&*shared.environment.random)));
    let name = new.name.clone().unwrap_or_else(|| generated_name(id));
    let sketch = Revocation {
        id,
        list: new.list.clone(),
        name: name.clone(),
        spec: new.spec.clone(),
        created: shared.wall(),
        reason: new.reason.clone(),
        message: new.message.clone(),
        version: version(epoch, 0),
    };
    if !reads_back(&sketch) {
        return Err(StoreError::Unwritable);
    }
    let api = shared.api_in(new.list.namespace());
    let created = match create(&api, &sketch).await {
        Err(error) if error.is_conflict() => existing(shared, &api, &new, &name).await?,
        Err(error) if error.is_undecided() => settle(shared, &api, &new, &name, error).await?,
        created => revocation(shared, &created?, &new.list).await?,
    };
    Ok(Appended { version: created.version, revocation: Some(created), expired: Vec::new() })
}

/// Creates the object of a revocation.
pub(super) async fn create(api: &Api<Object>, revocation: &Revocation) -> Result<Object, CallError> {
    let (reason, message) = (revocation.reason.as_deref(), revocation.message.as_deref());
    let spec = target::write(revocation.list.name(), &revocation.spec, reason, message);
    let mut object = Object::new(&revocation.name, &resource());
    object.metadata.labels = Some(BTreeMap::from([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())]));
    object.data = json!({ "spec": spec });
    timed(api.create(&PostParams::default(), &object)).await
}

async fn is_declared(shared: &Shared, list: &ListName) -> Result<(), StoreError> {
    let api: Api<Object> = Api::namespaced_with(shared.client(), list.namespace(), &lists::resource());
    match timed(api.get(list.name())).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Err(StoreError::UnknownList { list: list.clone() }),
        Err(error) => Err(error.into()),
    }
}

/// A create without an answer is settled by reading the name back.
async fn settle(
    shared: &Shared,
    api: &Api<Object>,
    new: &NewRevocation,
    name: &str,
    error: CallError,
) -> Result<Revocation, StoreError> {
    match timed(api.get(name)).await {
        Ok(_) => existing(shared, api, new, name).await,
        Err(_) => Err(error.into()),
    }
}

/// What bears the name already is the answer if it says the same.
async fn existing(
    shared: &Shared,
    api: &Api<Object>,
    new: &NewRevocation,
    name: &str,
) -> Result<Revocation, StoreError> {
    let found = timed(api.get(name)).await?;
    match revocation(shared, &found, &new.list).await {
        Ok(found) if found.list == new.list && found.spec == new.spec => Ok(found),
        _ => Err(StoreError::NameTaken { list: new.list.clone(), name: name.to_owned() }),
    }
}

async fn revocation(shared: &Shared, object: &Object, list: &ListName) -> Result<Revocation, StoreError> {
    let epoch = shared.epoch().await?;
    if let Says::Live(revocation) = object::read(object, epoch, &shared.own) {
        return Ok(*revocation);
    }
    let name = object.metadata.name.clone().unwrap_or_default();
    Err(StoreError::NotFound { list: list.clone(), name })
}

/// Deletes a revocation, and waits for the revision at which it is gone.
pub(super) async fn lift(
    shared: &Shared,
    list: ListName,
    name: String,
    id: Option<RecordId>,
) -> Result<Appended, StoreError> {
    let api = shared.api_in(list.namespace());
    let not_found = || StoreError::NotFound { list: list.clone(), name: name.clone() };
    let found = match timed(api.get(&name)).await {
        Err(error) if error.is_not_found() => return Err(not_found()),
        found => found?,
    };
    let lifted = revocation(shared, &found, &list).await?;
    if lifted.list != list || id.is_some_and(|id| id != lifted.id) {
        return Err(not_found());
    }
    let at = delete(shared, &api, &found, &name).await.map_err(|error| {
        // Another of the name, or none: this one is gone.
        if error.is_not_found() || error.is_conflict() { not_found() } else { error.into() }
    })?;
    let version = version(shared.epoch().await?, at);
    Ok(Appended { version, revocation: Some(lifted), expired: Vec::new() })
}

/// The answer to a delete does not name its revision; the event does.
async fn delete(shared: &Shared, api: &Api<Object>, found: &Object, name: &str) -> Result<u64, CallError> {
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(10);
    let from = found.metadata.resource_version.clone().unwrap_or_default();
    let watch = timed(api.watch(&parameters, &from)).await?;
    let preconditions = Preconditions { uid: found.metadata.uid.clone(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    timed(api.delete(name, &parameters)).await?;
    let deleted = async {
        futures::pin_mut!(watch);
        while let Some(event) = watch.next().await {
            if let Ok(WatchEvent::Deleted(object)) = event
                && object.metadata.uid == found.metadata.uid
            {
                return revision(&object.metadata).ok();
            }
        }
        None
    };
    match tokio::time::timeout(CALL_TIMEOUT, deleted).await {
        Ok(Some(at)) => Ok(at),
        // It is gone: everything from now on is without it.
        Ok(None) | Err(_) => newest_revision(&shared.api()).await,
    }
}
