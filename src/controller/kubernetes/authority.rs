//! The controllers' own certificate authority: what is due, given what there is and the time.
//!
//! There is one that signs. Its successor is published everywhere long before it signs, so that nobody meets a certificate
//! of an authority that it does not know; and one that was replaced stays published until whatever it has signed has ended.
//! Everything here is a function of the state and the time; [`keeper`] does what is due.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) mod issue;
pub(super) mod keeper;
mod secret;

/// How long an authority is valid. It signs for a part of that; the rest is for a cluster that was down for months.
pub(super) const AUTHORITY_LIFETIME: Duration = days(365);
/// How long a certificate of a replica is valid: a day bounds what a stolen one is good for, and how long an authority
/// that was replaced must stay published.
pub(super) const SERVING_LIFETIME: Duration = days(1);
/// When a replica gets another one: with two thirds of the time left, the API server may be away for hours.
const SERVING_RENEWED: Duration = Duration::from_secs(8 * 3600);
/// When the successor of an authority is made: a quarter of its lifetime.
const SUCCEEDED: Duration = days(90);
/// How long a successor is published everywhere before it signs. The kubelet brings a ConfigMap to a pod within two minutes, and a
/// sidecar reads it within seconds; a day is for nodes and API servers that are away overnight.
const PUBLISHED_AHEAD: Duration = days(1);
/// How long an authority stays published after it was replaced: whatever it has signed has ended after a day, and the
/// second day is for replicas that had not noticed, and for clocks that differ.
const KEPT: Duration = days(2);
/// By how much the clocks of machines may differ: certificates are valid from that much earlier.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// How many that were replaced are kept at most; only rotations by hand come near.
const MAX_RETIRED: usize = 8;

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// A private key, PEM. It shows itself to nobody but the Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct PrivateKey(pub(super) String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// An authority that can sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Authority {
    /// Its subject's common name.
    pub(super) name: String,
    pub(super) created: Timestamp,
    /// PEM.
    pub(super) certificate: String,
    pub(super) key: PrivateKey,
}

/// An authority that was replaced. Its key is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Retired {
    name: String,
    since: Timestamp,
    /// PEM.
    certificate: String,
}

/// All authorities there are.
///
/// A field that is not known is refused: a replica of an older version must not write back what it has not understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Authorities {
    pub(super) signing: Authority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Authority>,
    /// Since when the successor is published everywhere. Until that is noted, it does not sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_published: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) retired: Vec<Retired>,
}

/// What decides what is due, beside the state and the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told<'a> {
    /// An operator wants a successor now.
    pub(super) asked: bool,
    /// The successor that this replica has published everywhere.
    pub(super) published: Option<&'a str>,
}

/// What is to be done with the authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A successor is made and published.
    Successor,
    /// The successor is published everywhere, and that is noted.
    Note,
    /// The successor signs from now on.
    Promotion,
    /// A new one signs at once: the one before has ended, and with it all trust.
    Replacement,
    /// Those whose certificates have all ended are published no more.
    Removal,
}

impl Authorities {
    /// The first of all signs at once: nobody trusts another yet.
    pub(super) const fn first(signing: Authority) -> Self {
        Self { signing, next: None, next_published: None, retired: Vec::new() }
    }

    /// Returns what is due first, if anything.
    ///
    /// A successor that is not published everywhere signs only when the one before it can't any more: then those that
    /// don't know it are few, and otherwise it would be all.
    pub(super) fn due(&self, now: Timestamp, told: Told<'_>) -> Option<Due> {
        // What it signs must not outlive it.
        let can_sign =
            |authority: &Authority| age(authority.created, now) + SERVING_LIFETIME < AUTHORITY_LIFETIME;
        if !can_sign(&self.signing) {
            let is_better = self.next.as_ref().is_some_and(can_sign);
            return Some(if is_better { Due::Promotion } else { Due::Replacement });
        }
        match (&self.next, self.next_published) {
            (Some(_), Some(since)) if age(since, now) >= PUBLISHED_AHEAD => return Some(Due::Promotion),
            (Some(next), None) if told.published == Some(next.name.as_str()) => return Some(Due::Note),
            (None, _) if told.asked || age(self.signing.created, now) >= SUCCEEDED => {
                return Some(Due::Successor);
            }
            (Some(_) | None, _) => {}
        }
        self.retired.iter().any(|retired| has_ended(retired, now)).then_some(Due::Removal)
    }

    /// Returns what there is after that. `make` makes another authority, if it takes one.
    pub(super) fn after<E>(
        mut self,
        due: Due,
        now: Timestamp,
        make: impl FnOnce() -> Result<Authority, E>,
    ) -> Result<Self, E> {
        match due {
            Due::Successor => {
                self.next = Some(make()?);
                self.next_published = None;
            }
            Due::Note => self.next_published = Some(now),
            Due::Promotion => {
                let next = match self.next.take() {
                    Some(next) => next,
                    None => make()?,
                };
                self.retire(next, now);
            }
            Due::Replacement => {
                self.next = None;
                self.retire(make()?, now);
            }
            Due::Removal => self.retired.retain(|retired| !has_ended(retired, now)),
        }
        Ok(self)
    }

    fn retire(&mut self, successor: Authority, now: Timestamp) {
        let Authority { name, certificate, .. } = std::mem::replace(&mut self.signing, successor);
        self.next_published = None;
        self.retired.push(Retired { name, since: now, certificate });
        let beyond = self.retired.len().saturating_sub(MAX_RETIRED);
        self.retired.drain(..beyond);
    }

    /// Returns until when the authority that signs can do so, if its successor should sign by now and is not published
    /// everywhere yet.
    pub(super) fn held_up(&self, now: Timestamp) -> Option<Timestamp> {
        let next = self.next.as_ref().filter(|_| self.next_published.is_none())?;
        let is_late = age(next.created, now) >= PUBLISHED_AHEAD;
        is_late.then(|| self.signing.created + (AUTHORITY_LIFETIME - SERVING_LIFETIME))
    }

    /// Returns what is published: the certificates of all, PEM. Its order does not depend on who signs, so that nothing
    /// is written when only that changes.
    pub(super) fn bundle(&self) -> String {
        let retired = self.retired.iter().map(|retired| retired.certificate.as_str());
        let living = std::iter::once(&self.signing).chain(&self.next).map(|one| one.certificate.as_str());
        retired.chain(living).collect()
    }
}

fn has_ended(retired: &Retired, now: Timestamp) -> bool {
    age(retired.since, now) >= KEPT
}

/// How long ago that was; nothing if it is yet to come: another replica's clock may be ahead.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// A certificate that a replica has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issued {
    by: String,
    at: Timestamp,
}

impl Issued {
    pub(super) fn new(by: &Authority, at: Timestamp) -> Self {
        Self { by: by.name.clone(), at }
    }
}

/// Returns whether a replica needs another certificate.
pub(super) fn is_renewal_due(issued: Option<&Issued>, signing: &Authority, now: Timestamp) -> bool {
    issued.is_none_or(|issued| {
        // One that is of the future was made by a clock that has been put right since, and nobody takes it yet.
        let is_early = age(now, issued.at) > CLOCK_SKEW;
        issued.by != signing.name || age(issued.at, now) >= SERVING_RENEWED || is_early
    })
}

#[cfg(test)]
mod tests;
