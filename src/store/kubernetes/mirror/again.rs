//! Knows a lost revocation that was written again. Pure.

use crate::revocation::record::Cutoff;
use crate::store::Revocation;
use crate::store::written::generated_name;

/// Returns a lost revocation as it is written again: the default of a cutoff is the time of creation, which would be
/// another now.
pub(in super::super) fn with_its_cutoff(lost: &Revocation) -> Revocation {
    let mut again = lost.clone();
    if again.spec.cutoff.is_none()
        && let Ok(cutoff @ Cutoff::At(_)) = again.spec.effective_cutoff(again.created)
    {
        again.spec.cutoff = Some(cutoff);
    }
    again
}

/// Returns the names under which a lost revocation may be written again: its own may be another's by now.
pub(in super::super) fn names(lost: &Revocation) -> [String; 2] {
    [lost.name.clone(), generated_name(lost.id)]
}

/// Whether an object is a lost revocation, written again by some replica.
pub(super) fn is_again(lost: &Revocation, found: &Revocation) -> bool {
    // The cheap part first: many may be lost.
    lost.list == found.list
        && lost.spec.target == found.spec.target
        && with_its_cutoff(lost).spec == found.spec
        && names(lost).contains(&found.name)
}
