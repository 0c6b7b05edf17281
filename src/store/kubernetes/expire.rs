//! Expiry: a write of the status, and so a step of the log like any other.

use jiff::Timestamp;
use serde_json::json;

use crate::api::condition::{ConditionReason, ConditionType};
use crate::api::token_revocation_list::{Condition, ConditionStatus};
use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Epoch;
use crate::store::{Appended, Revocation, StoreError};

use super::Shared;
use super::call::{CallError, create, patch_status, revision, timed};
use super::object::{self, HORIZON, Says, version};

/// How far this clock may be from that of the API server; beyond, nothing expires: who is right is not known.
const MAX_CLOCK_DIFFERENCE_SECONDS: u64 = 30;

/// Carries out expiries: the horizon first, so that nobody sees a revocation gone before the time has come.
pub(super) async fn expire(
    shared: &Shared,
    judged: Vec<Revocation>,
    horizon: UnixSeconds,
) -> Result<Appended, StoreError> {
    agree_on_the_time(shared).await?;
    let epoch = shared.epoch().await?;
    let mut newest = raise_horizon(shared, horizon).await?;
    let mut expired = Vec::new();
    for judged in judged {
        match mark(shared, epoch, &judged).await {
            Ok(Some(at)) => {
                newest = newest.max(at);
                expired.push(judged.id);
            }
            // It changed meanwhile: what it is now is judged next time.
            Ok(None) => {}
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Appended { version: version(epoch, newest), revocation: None, expired })
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

/// Marks an object that is still what was judged. The watch may be behind: what it has not shown yet, such as a later
/// end, was acknowledged all the same.
async fn mark(shared: &Shared, epoch: Epoch, judged: &Revocation) -> Result<Option<u64>, CallError> {
    let api = shared.api_in(judged.list.namespace());
    let found = timed(api.get(&judged.name)).await?;
    let Says::Live(says) = object::read(&found, epoch, &shared.own) else { return Ok(None) };
    if says.id != judged.id || says.list != judged.list || says.spec != judged.spec {
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
