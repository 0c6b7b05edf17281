//! The epoch: an object of the watched type that names the history of the store.
//!
//! It goes where the store goes: into backups and back, and away with a deleted CRD. The next one is begun by
//! compare-and-swap, so all replicas agree on it.

use kube::api::Api;

use crate::revocation::time::UnixSeconds;
use crate::revocation::version::Epoch;
use crate::runtime::environment::Environment;
use crate::runtime::random::bytes;

use super::call::{CallError, Object, create, patch_status, timed};
use super::object::{self, EPOCH, Says};

/// How often a swap that another replica was faster with is looked at again.
const MAX_ATTEMPTS: u32 = 10;

/// Returns the history of the store; none if it has none yet.
pub(super) async fn current(api: &Api<Object>, own: &str) -> Result<Option<Epoch>, CallError> {
    Ok(get(api).await?.as_ref().and_then(|object| read(object, own)))
}

async fn get(api: &Api<Object>) -> Result<Option<Object>, CallError> {
    match timed(api.get(EPOCH)).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the object that names the history.
pub(super) fn read(object: &Object, own: &str) -> Option<Epoch> {
    // What it says depends on no epoch.
    let none = Epoch { counter: 0, id: 0 };
    if let Says::Epoch(epoch) = object::read(object, none, own) { epoch } else { None }
}

/// Returns a history with a counter above `above`, and begins one if there is none.
pub(super) async fn ensure_above(
    api: &Api<Object>,
    own: &str,
    above: Option<u64>,
    reason: Reason,
    environment: &Environment,
) -> Result<Epoch, CallError> {
    for _ in 0..MAX_ATTEMPTS {
        let object = match get(api).await? {
            Some(object) => object,
            None => {
                let spec = serde_json::json!({ "target": { "epoch": {} } });
                match create(api, EPOCH, spec).await {
                    Err(error) if error.is_conflict() => continue,
                    created => created?,
                }
            }
        };
        let current = read(&object, own);
        if let Some(epoch) = current.filter(|epoch| above.is_none_or(|above| epoch.counter > above)) {
            return Ok(epoch);
        }
        let floor = current.map(|epoch| epoch.counter).max(above);
        let next = next(floor, environment);
        let counter = i64::try_from(next.counter).unwrap_or(i64::MAX);
        let status = serde_json::json!({
            "epoch": { "counter": counter, "id": format!("{:032x}", next.id), "reason": reason.word() }
        });
        match patch_status(api, &object.metadata, status).await {
            // Another replica was faster, or this one by a call whose answer was lost: what is there counts.
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(next),
        }
    }
    Err(CallError::Unreachable(format!("the object {own}/{EPOCH} changes all the time")))
}

/// Why a history was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The store had none.
    First,
    /// The store was found to be an older copy of itself.
    WentBack,
}

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Self::First => "First",
            Self::WentBack => "WentBack",
        }
    }
}

/// Tells whether an object names a history that was begun because the store went back.
pub(super) fn began_after_a_way_back(object: &Object) -> bool {
    let reason = object::status(object).epoch.and_then(|epoch| epoch.reason);
    reason.as_deref() == Some(Reason::WentBack.word())
}

/// Returns when a history was begun, by the clock of who did.
pub(super) fn begun(epoch: Epoch) -> Option<UnixSeconds> {
    UnixSeconds::new(epoch.counter / 1000).ok()
}

/// Milliseconds, so that a store which is made anew, and knows of no epoch, begins above those of its predecessor.
fn next(floor: Option<u64>, environment: &Environment) -> Epoch {
    let milliseconds = environment.clock.now().wall_nanos / 1_000_000;
    let above = floor.map_or(0, |floor| floor.saturating_add(1));
    let id = u128::from_le_bytes(bytes(&*environment.random));
    Epoch { counter: milliseconds.max(above), id }
}
