//! Calls to the API server: each with a time limit of our own, none sent again by the client.
//!
//! A write that the client repeats by itself may be done twice, and one without a limit hides a dead connection.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, Status, WatchEvent};
use kube::{Client, Config};
use serde_json::Value;

use crate::api::revocation::Revocation;
use crate::api::{MANAGED_BY, REVOKED_BY};
use crate::store::StoreError;

/// How long one call may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How many objects one page of a list has; all pages show one revision. An object may have more than a MiB, and a page
/// is in memory as a whole before it is stripped.
const PAGE: u32 = 200;
/// How often a list is tried whose pages were gone before all were read, or that the server is not ready for.
pub(super) const MAX_LIST_ATTEMPTS: u32 = 20;
/// "Storage is (re)initializing" lasts a fraction of a second; the next try must not wait much longer.
const REINITIALIZING_PAUSE: Duration = Duration::from_millis(100);

/// The longest name of a user that is kept, in bytes. Those of ServiceAccounts have 340 at most.
const MAX_USER_NAME: usize = 512;

/// An object of the watched type. What it says is judged apart from what it is, so that one that makes no sense
/// does not hide the others.
pub(super) type Object = DynamicObject;

/// Says why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No answer in time: whether the call was carried out is not known.
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
    /// The API server refused.
    #[error("the API server refused: {}", .0.message)]
    Refused(Box<Status>),
    /// The API server does not know the type.
    #[error("the CustomResourceDefinition {0} is not there: apply it")]
    Undefined(&'static str),
    /// The API server was not reached, or its answer was not understood.
    #[error("the API server can't be reached: {0}")]
    Unreachable(String),
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::Refused(status);
        }
        Self::Unreachable(sentence(&error))
    }
}

/// The innermost cause says what happened; the layers around it only that something did.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl CallError {
    fn code(&self) -> Option<u16> {
        if let Self::Refused(status) = self { Some(status.code) } else { None }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Another object of that name, or another resourceVersion than the caller named.
    pub(super) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The call as such is not allowed, and will not be next time.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 404 | 422))
    }

    /// The namespace is about to go.
    pub(super) fn is_terminating(&self) -> bool {
        let Self::Refused(status) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    pub(super) fn is_gone(&self) -> bool {
        self.code() == Some(410)
    }

    /// The API server has no time, or is about to make itself ready.
    pub(super) fn is_busy(&self) -> bool {
        self.code() == Some(429)
    }

    /// Whether the call may have been carried out all the same. What somebody on the way answers may bear no code.
    pub(super) fn is_undecided(&self) -> bool {
        self.code().is_none_or(|code| !(400..500).contains(&code))
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        if let CallError::Refused(status) = &error
            && matches!(status.code, 400 | 403 | 422)
        {
            return Self::Refused { why: status.message.clone() };
        }
        Self::Unavailable { why: error.to_string() }
    }
}

/// Waits for a call, but not for ever.
pub(super) async fn timed<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(CallError::from),
        Err(_) => Err(CallError::TimedOut),
    }
}

/// Makes a client with connections of its own.
pub(super) fn connect(config: &Config) -> Result<Client, CallError> {
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // A watch is silent for long; who reads it has a limit of its own.
    config.read_timeout = None;
    Client::try_from(config).map_err(CallError::from)
}

/// The type that is watched.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<Revocation>(&())
}

/// Lists everything, at one revision that is not older than the call. `strip` leaves out of each object what is not used.
pub(super) async fn list_all(
    api: &Api<Object>,
    strip: fn(Object) -> Object,
) -> Result<(u64, Vec<Object>), CallError> {
    let mut attempts = 0;
    loop {
        match list_pages(api, strip).await {
            Err(error) if (error.is_gone() || error.is_busy()) && attempts < MAX_LIST_ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(REINITIALIZING_PAUSE).await;
            }
            listed => return listed,
        }
    }
}

async fn list_pages(api: &Api<Object>, strip: fn(Object) -> Object) -> Result<(u64, Vec<Object>), CallError> {
    let mut objects = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = timed(api.list(&page)).await?;
        let revision = revision_of(listed.metadata.resource_version.as_deref())?;
        objects.extend(listed.items.into_iter().map(strip));
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok((revision, objects)),
        }
    }
}

/// Leaves out the metadata that nobody uses here, of the annotations all but those named: whoever may create objects
/// decides how much of it there is, and what is read is kept for as long as the object is there.
pub(super) fn stripped(mut object: Object, annotations: &[&str]) -> Object {
    let found = std::mem::take(&mut object.metadata);
    let kept = |map: BTreeMap<String, String>, keys: &[&str]| {
        let kept: BTreeMap<_, _> = map.into_iter().filter(|(key, _)| keys.contains(&key.as_str())).collect();
        (!kept.is_empty()).then_some(kept)
    };
    object.metadata = ObjectMeta {
        name: found.name,
        namespace: found.namespace,
        uid: found.uid,
        resource_version: found.resource_version,
        generation: found.generation,
        creation_timestamp: found.creation_timestamp,
        deletion_timestamp: found.deletion_timestamp,
        labels: found.labels.and_then(|labels| kept(labels, &[MANAGED_BY.0])),
        annotations: found.annotations.and_then(|found| kept(found, annotations)),
        managed_fields: found.managed_fields.and_then(first_writer),
        ..ObjectMeta::default()
    };
    object
}

/// Returns who has written the object as a whole first, without the fields: the audit log tells it.
fn first_writer(entries: Vec<ManagedFieldsEntry>) -> Option<Vec<ManagedFieldsEntry>> {
    let whole =
        entries.into_iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let first = whole.min_by_key(|entry| entry.time.clone())?;
    let entry =
        ManagedFieldsEntry { manager: first.manager, time: first.time, ..ManagedFieldsEntry::default() };
    Some(vec![entry])
}

/// Leaves out what nobody uses of a revocation.
pub(super) fn stripped_revocation(object: Object) -> Object {
    let mut object = stripped(object, &[REVOKED_BY]);
    let annotations = &mut object.metadata.annotations;
    annotations.take_if(|kept| kept.values().any(|name| name.len() > MAX_USER_NAME));
    object
}

/// Strips what a watch of revocations delivers.
pub(super) fn stripped_event(event: WatchEvent<Object>) -> WatchEvent<Object> {
    match event {
        WatchEvent::Added(object) => WatchEvent::Added(stripped_revocation(object)),
        WatchEvent::Modified(object) => WatchEvent::Modified(stripped_revocation(object)),
        WatchEvent::Deleted(object) => WatchEvent::Deleted(stripped_revocation(object)),
        other @ (WatchEvent::Bookmark(_) | WatchEvent::Error(_)) => other,
    }
}

/// Returns the newest revision of the type.
pub(super) async fn newest_revision(api: &Api<Object>) -> Result<u64, CallError> {
    let listed = timed(api.list(&ListParams::default().limit(1))).await?;
    revision_of(listed.metadata.resource_version.as_deref())
}

/// Reads a revision. Those of one type are numbers that grow.
pub(super) fn revision_of(text: Option<&str>) -> Result<u64, CallError> {
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| CallError::Unreachable(format!("resourceVersion {text:?} is no number")))
}

/// Returns the revision of an object.
pub(super) fn revision(metadata: &ObjectMeta) -> Result<u64, CallError> {
    revision_of(metadata.resource_version.as_deref())
}

/// Creates an object.
pub(super) async fn create(api: &Api<Object>, name: &str, spec: Value) -> Result<Object, CallError> {
    let mut object = Object::new(name, &resource());
    object.data = serde_json::json!({ "spec": spec });
    timed(api.create(&PostParams::default(), &object)).await
}

/// Writes a part of an object's status, if the object is still the one of that revision.
pub(super) async fn patch_status(
    api: &Api<Object>,
    metadata: &ObjectMeta,
    status: Value,
) -> Result<Object, CallError> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": metadata.resource_version, "uid": metadata.uid },
        "status": status,
    });
    timed(api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))).await
}

#[cfg(test)]
mod tests;
