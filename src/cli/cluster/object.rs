//! A revocation object as commands show it.

use crate::api::condition::ConditionType;
use crate::api::invalid::Invalid;
use crate::api::revocation as api;
use crate::api::target::{read, read_time};
use crate::api::token_revocation_list::{Condition, ConditionStatus};
use crate::revocation::expiry::forgotten_from;
use crate::revocation::names::ListName;
use crate::revocation::record::Cutoff;
use crate::revocation::row::admits_from;
use crate::revocation::time::UnixSeconds;
use crate::token::list_config::ListConfig;

use super::super::view::View;

/// Describes an object. What its status does not tell yet is computed from the list's declaration, where that is
/// known.
///
/// # Errors
/// [`Invalid`] if the object makes no sense.
pub(super) fn view(object: api::Revocation, list: Option<&ListConfig>) -> Result<View, Invalid> {
    let metadata = &object.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut spec = read(&object.spec)?;
    let name = ListName::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        object.spec.list_name.as_deref().unwrap_or_default(),
    )
    .map_err(|error| Invalid::new("spec.listName", error))?;
    let created = created(&object);
    let status = object.status.clone().unwrap_or_default();
    let time = |text: &Option<String>| text.as_deref().and_then(read_time);
    let issuer = list.and_then(|list| list.issuer(&spec.target.issuer));
    let forgotten_at = time(&status.expires_at)
        .or_else(|| issuer.and_then(|issuer| forgotten_from(&spec, created, &issuer.largest_since(created))));
    spec.cutoff = spec.effective_cutoff(created).ok();
    let computed = match (spec.cutoff, issuer) {
        (Some(Cutoff::At(time)), Some(issuer)) => Some(admits_from(time, issuer.maxima.clock_skew_seconds)),
        (Some(Cutoff::At(_) | Cutoff::Always) | None, _) => None,
    };
    Ok(View {
        list: name,
        name: text(&metadata.name),
        uid: text(&metadata.uid),
        spec,
        reason: object.spec.reason.clone(),
        message: object.spec.message.clone(),
        created,
        version: text(&status.version),
        admits_from: time(&status.admits_from).or(computed),
        forgotten_at,
        object: Some(Box::new(object)),
    })
}

fn created(object: &api::Revocation) -> UnixSeconds {
    let stamp = object.metadata.creation_timestamp.as_ref();
    let seconds = stamp.and_then(|time| u64::try_from(time.0.as_second()).ok());
    seconds.and_then(|seconds| UnixSeconds::new(seconds).ok()).unwrap_or(UnixSeconds::MIN)
}

/// Returns a condition, unless it is about an earlier generation of the object.
pub(super) fn condition(object: &api::Revocation, type_: ConditionType) -> Option<&Condition> {
    let current = object.metadata.generation.unwrap_or(0);
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    found.filter(|condition| condition.observed_generation.is_none_or(|observed| observed >= current))
}

/// Returns whether a condition holds; nobody has looked where there is none.
pub(super) fn holds(object: &api::Revocation, type_: ConditionType) -> ConditionStatus {
    condition(object, type_).map_or(ConditionStatus::Unknown, |condition| condition.status)
}

/// Says in one word how far an object has come.
pub(in super::super) fn standing(object: &api::Revocation) -> &'static str {
    match (holds(object, ConditionType::Accepted), holds(object, ConditionType::Enforced)) {
        (ConditionStatus::False, _) => "Refused",
        (_, ConditionStatus::True) => "True",
        (_, ConditionStatus::False) => "False",
        (_, ConditionStatus::Unknown) => "Unknown",
    }
}
