//! Expiry: a write of the status, and so a step of the log like any other.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::api::condition::{ConditionReason, ConditionType};
use crate::api::token_revocation_list::{Condition, ConditionStatus};
use crate::revocation::names::RecordId;
use crate::revocation::time::UnixSeconds;
use crate::store::{Appended, StoreError};

use super::Shared;
use super::call::{CallError, create, list_all, patch_status, revision, timed};
use super::object::{self, HORIZON, Says, version};

/// How far this clock may be from that of the API server; beyond, nothing expires: who is right is not known.
const MAX_CLOCK_DIFFERENCE_SECONDS: u64 = 30;

/// Carries out expiries: the horizon first, so that nobody sees a revocation gone before the time has come.
pub(super) async fn expire(
    shared: &Shared,
    ids: Vec<RecordId>,
    horizon: UnixSeconds,
) -> Result<Appended, StoreError> {
    agree_on_the_time(shared).await?;
    let epoch = shared.epoch().await?;
    let mut newest = raise_horizon(shared, horizon).await?;
    let known: Vec<_> = {
        let mirror = shared.mirror();
        let found = ids.iter().filter_map(|id| Some((*id, mirror.revocations.get(id)?.metadata.clone())));
        found.collect()
    };
    let known = if known.len() == ids.len() { known } else { locate(shared, &ids).await? };
    for (id, metadata) in known {
        match mark(shared, id, &metadata).await {
            Ok(Some(at)) => newest = newest.max(at),
            // It changed meanwhile: what it is now is judged next time.
            Ok(None) => {}
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Appended { version: version(epoch, newest), revocation: None })
}

/// Compares the clocks by the header Date of an answer.
async fn agree_on_the_time(shared: &Shared) -> Result<(), StoreError> {
    let request = http::Request::get("/version").body(kube::client::Body::empty());
    let request = request.map_err(|error| StoreError::Unavailable { why: error.to_string() })?;
    let answer = timed(shared.client().send(request)).await?;
    let theirs = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let theirs = theirs.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
    let ours = i64::try_from(shared.wall().get()).unwrap_or(i64::MAX);
    let difference = theirs.map(|theirs: Timestamp| theirs.as_second().abs_diff(ours));
    if difference.is_some_and(|seconds| seconds <= MAX_CLOCK_DIFFERENCE_SECONDS) {
        return Ok(());
    }
    let why = match difference {
        Some(seconds) => format!(
            "this clock and that of the API server differ by {seconds} s: nothing expires until they agree again"
        ),
        None => "the API server does not say what time it is (header Date): nothing expires until it does"
            .to_owned(),
    };
    Err(StoreError::Unavailable { why })
}

/// The horizon never goes back.
async fn raise_horizon(shared: &Shared, horizon: UnixSeconds) -> Result<u64, StoreError> {
    let api = shared.own_api();
    let found = match timed(api.get(HORIZON)).await {
        Err(error) if error.is_not_found() => {
            let spec = json!({ "target": { "horizon": {} } });
            match create(&api, HORIZON, spec).await {
                Err(error) if error.is_conflict() => timed(api.get(HORIZON)).await?,
                created => created?,
            }
        }
        found => found?,
    };
    let is = object::status(&found).horizon.map(|horizon| horizon.unix_seconds);
    let seconds = i64::try_from(horizon.get()).unwrap_or(i64::MAX);
    if is.is_some_and(|is| is >= seconds) {
        return Ok(revision(&found.metadata)?);
    }
    let status = json!({ "horizon": { "unixSeconds": seconds } });
    Ok(revision(&patch_status(&api, &found.metadata, status).await?.metadata)?)
}

async fn locate(shared: &Shared, ids: &[RecordId]) -> Result<Vec<(RecordId, ObjectMeta)>, CallError> {
    let (_, objects) = list_all(&shared.api()).await?;
    let found = objects.into_iter().filter_map(|object| Some((object::id(&object)?, object.metadata)));
    Ok(found.filter(|(id, _)| ids.contains(id)).collect())
}

async fn mark(shared: &Shared, id: RecordId, metadata: &ObjectMeta) -> Result<Option<u64>, CallError> {
    let api = shared.api_in(metadata.namespace.as_deref().unwrap_or_default());
    let found = timed(api.get(metadata.name.as_deref().unwrap_or_default())).await?;
    let epoch = shared.epoch().await?;
    let same = object::id(&found) == Some(id);
    if !same || !matches!(object::read(&found, epoch, &shared.own), Says::Live(_)) {
        return Ok(None);
    }
    let mut conditions = object::status(&found).conditions;
    conditions.retain(|condition| condition.type_ != ConditionType::Expired);
    conditions.push(Condition {
        type_: ConditionType::Expired.word().to_owned(),
        status: ConditionStatus::True,
        reason: ConditionReason::NothingLeftToDeny.word().to_owned(),
        message: "The last token that it could deny has expired.".to_owned(),
        last_transition_time: crate::api::target::write_time(shared.wall()),
        observed_generation: found.metadata.generation,
    });
    let written = patch_status(&api, &found.metadata, json!({ "conditions": conditions })).await?;
    revision(&written.metadata).map(Some)
}
