//! What an object of the watched type says. Pure.
//!
//! The revocations of users and the controllers' own objects are of one type, so that one watch delivers them in
//! one order. Objects that claim to be the controllers' own count only in the controllers' namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::api::condition::ConditionType;
use crate::api::revocation::{self as api, EpochStatus, HeartbeatKind, ListReport, RevocationStatus};
use crate::api::target;
use crate::api::token_revocation_list::ConditionStatus;
use crate::revocation::names::{ListName, RecordId};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::{Epoch, Revisions, Version};
use crate::store::{Beat, Revocation, Unreadable};

use super::call::Object;

/// The object that names the history.
pub(super) const EPOCH: &str = "epoch";
/// The object that says up to when expiries have been carried out.
pub(super) const HORIZON: &str = "horizon";

/// What an object says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Says {
    /// Somebody revokes.
    Live(Box<Revocation>),
    /// Somebody has revoked, and it was found that no token is left to deny.
    Expired {
        id: RecordId,
        list: ListName,
    },
    /// It is a revocation, and this program does not know of what.
    Unreadable(Unreadable),
    /// A replica's pulse; none before the first.
    Pulse(Option<Beat>),
    /// What a replica's sidecars have in use.
    Report {
        replica: String,
        lists: Vec<ListReport>,
    },
    Epoch(Option<Epoch>),
    Horizon(Option<UnixSeconds>),
    /// It is about nothing: it names no list, or claims to be of the controllers and is not.
    Nothing,
}

/// Reads an object of an epoch. `own` is the namespace of the controllers.
pub(super) fn read(object: &Object, epoch: Epoch, own: &str) -> Says {
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let target = spec.get("target").and_then(Value::as_object);
    let internal = ["heartbeat", "epoch", "horizon"];
    if target.is_some_and(|target| internal.iter().any(|key| target.contains_key(*key))) {
        let ours = object.metadata.namespace.as_deref() == Some(own);
        return if ours { read_internal(object, spec) } else { Says::Nothing };
    }
    read_revocation(object, spec, epoch)
}

fn read_revocation(object: &Object, spec: &Value, epoch: Epoch) -> Says {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let list_name = spec.get("listName").and_then(Value::as_str).unwrap_or_default();
    let (Ok(list), Some(id)) = (ListName::new(namespace, list_name), id(object)) else {
        return Says::Nothing;
    };
    if is_expired(&status(object)) {
        return Says::Expired { id, list };
    }
    match parse(object, spec, epoch, &list, id) {
        Ok(revocation) => Says::Live(Box::new(revocation)),
        Err(why) => Says::Unreadable(Unreadable { id, list, why }),
    }
}

fn parse(
    object: &Object,
    spec: &Value,
    epoch: Epoch,
    list: &ListName,
    id: RecordId,
) -> Result<Revocation, String> {
    let written = api::RevocationSpec::deserialize(spec).map_err(|error| error.to_string())?;
    let read = target::read(&written).map_err(|error| error.to_string())?;
    let created = created(&object.metadata).ok_or("metadata.creationTimestamp is missing")?;
    read.row(created).map_err(|error| error.to_string())?;
    let revision = super::call::revision(&object.metadata).map_err(|error| error.to_string())?;
    Ok(Revocation {
        id,
        list: list.clone(),
        name: object.metadata.name.clone().unwrap_or_default(),
        spec: read,
        created,
        reason: written.reason,
        message: written.message,
        version: version(epoch, revision),
    })
}

fn read_internal(object: &Object, spec: &Value) -> Says {
    let Ok(target) = api::Target::deserialize(spec.get("target").unwrap_or(&Value::Null)) else {
        return Says::Nothing;
    };
    let (name, status) = (object.metadata.name.as_deref(), status(object));
    if target.epoch.is_some() && name == Some(EPOCH) {
        return Says::Epoch(status.epoch.as_ref().and_then(read_epoch));
    }
    if target.horizon.is_some() && name == Some(HORIZON) {
        let seconds = status.horizon.and_then(|horizon| u64::try_from(horizon.unix_seconds).ok());
        return Says::Horizon(seconds.and_then(|seconds| UnixSeconds::new(seconds).ok()));
    }
    let Some(heartbeat) = target.heartbeat else { return Says::Nothing };
    if name != Some(&heartbeat_name(heartbeat.kind, &heartbeat.replica)) {
        return Says::Nothing;
    }
    let content = status.heartbeat.unwrap_or_default();
    match heartbeat.kind {
        HeartbeatKind::Pulse => Says::Pulse(read_beat(&heartbeat.replica, content.nonce.as_deref())),
        HeartbeatKind::Report => Says::Report { replica: heartbeat.replica, lists: content.lists },
    }
}

fn read_beat(replica: &str, nonce: Option<&str>) -> Option<Beat> {
    let replica = u64::from_str_radix(replica, 16).ok()?;
    Some(Beat { replica, nonce: u128::from_str_radix(nonce?, 16).ok()? })
}

fn read_epoch(status: &EpochStatus) -> Option<Epoch> {
    let id = u128::from_str_radix(&status.id, 16).ok()?;
    Some(Epoch { counter: u64::try_from(status.counter).ok()?, id })
}

/// Names the heartbeat of a replica's process.
pub(super) fn heartbeat_name(kind: HeartbeatKind, replica: &str) -> String {
    match kind {
        HeartbeatKind::Pulse => format!("pulse-{replica}"),
        HeartbeatKind::Report => format!("report-{replica}"),
    }
}

/// Names a replica's process.
pub(super) fn replica_name(replica: u64) -> String {
    format!("{replica:016x}")
}

/// Returns the status; an unreadable one is as good as none, for controllers alone write it.
pub(super) fn status(object: &Object) -> RevocationStatus {
    let status = object.data.get("status").unwrap_or(&Value::Null);
    RevocationStatus::deserialize(status).unwrap_or_default()
}

fn is_expired(status: &RevocationStatus) -> bool {
    let expired = |condition: &crate::api::token_revocation_list::Condition| {
        condition.type_ == ConditionType::Expired && condition.status == ConditionStatus::True
    };
    status.conditions.iter().any(expired)
}

/// Returns the origin of the record that an object carries.
pub(super) fn id(object: &Object) -> Option<RecordId> {
    object.metadata.uid.as_deref()?.parse().ok()
}

/// Returns the second in which the API server took an object.
pub(super) fn created(metadata: &ObjectMeta) -> Option<UnixSeconds> {
    let time = metadata.creation_timestamp.as_ref()?;
    u64::try_from(time.0.as_second()).ok().and_then(|seconds| UnixSeconds::new(seconds).ok())
}

/// Names a revision of an epoch.
pub(super) const fn version(epoch: Epoch, revision: u64) -> Version {
    Version { epoch, revisions: Revisions { revocations: revision, segments: 0 } }
}

#[cfg(test)]
pub(super) mod tests;
