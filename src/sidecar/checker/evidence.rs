//! Claims and their origin: which lists declare the issuer, and which of them believe it.

use std::collections::HashSet;

use crate::revocation::claims::{ClaimValue, Claims};
use crate::revocation::names::ListName;
use crate::sidecar::outcome::{Subject, Verdict};
use crate::token::check::{issuer_of, verify};
use crate::token::jws::Jws;
use crate::token::keys::VerifyingKey;
use crate::token::list_config::{IssuerConfig, ListConfig, Verification};
use crate::token::rejection::Rejection;
use crate::token::rules::accept;

use super::Check;
use super::panel::{Asked, Conflict, Force};

/// What a token says, and who says that it is true.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) claims: &'a Claims,
    pub(super) origin: Origin<'a>,
}

/// Who vouches for claims.
#[derive(Debug)]
pub(super) enum Origin<'a> {
    /// A signature; or the proxy, which left the same claims under this key.
    Signed { jws: &'a Jws<'a>, payload_key: Option<&'a str> },
    /// The proxy, which has taken the token off.
    Upstream { payload_key: &'a str },
    /// The caller.
    Caller { key_id: Option<&'a str> },
}

/// Which key verified a token, for revocations of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyUse<'a> {
    /// A pinned one.
    Pinned(&'a VerifyingKey),
    /// One that only the caller knows.
    Named(&'a str),
    /// Nobody told us: revocations by key are not supported.
    Unsupported,
    /// One of these, and the caller did not say which.
    OneOf(&'a [VerifyingKey]),
}

/// A list that declares the issuer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declaring<'a> {
    pub(super) asked: Asked<'a>,
    pub(super) config: &'a ListConfig,
    pub(super) issuer: &'a IssuerConfig,
}

impl<'c> Check<'c> {
    /// Checks claims with all lists that declare their issuer.
    pub(super) fn evidence(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let issuer = match issuer_of(evidence.claims) {
            Ok(issuer) => issuer,
            Err(rejection) => return self.refuse(Verdict::Rejected(rejection)),
        };
        let declaring = self.declaring(issuer);
        self.steps.note("issuer", !declaring.is_empty(), || {
            let names: Vec<String> = declaring.iter().map(|list| list.asked.view.name.to_string()).collect();
            if names.is_empty() {
                "no list declares it".to_owned()
            } else {
                format!("declared by {}", names.join(", "))
            }
        });
        if declaring.is_empty() {
            // A list that never had a declaration may be the one that knows it.
            match self.panel.undeclared() {
                Some(why) => self.findings.doubt(self.panel.force(), why),
                None => return self.refuse(Verdict::Rejected(Rejection::UnknownIssuer)),
            }
            return Verdict::Active;
        }
        let conflict = conflict(&declaring);
        self.contradicted(Subject::Issuer, conflict);
        let believed = verify_for_each(evidence, &declaring);
        let by_nobody = believed.iter().all(Result::is_err);
        for (list, believed) in declaring.iter().zip(believed) {
            self.steps.note_of("signature", &list.asked.view.name, believed.is_ok(), || match believed {
                Ok(_) => "verified".to_owned(),
                Err(rejection) => rejection.code().to_owned(),
            });
            match believed {
                Ok(key) => self.judge(list, evidence.claims, key),
                // Which list is right about the keys can't be told: that is a doubt, and noted already. But what a
                // list in shadow declares never takes the word from one that is enforced.
                Err(_) if conflict.is_some_and(|conflict| conflict.force >= list.asked.force) => {}
                // What nobody could verify is nobody's token, whatever issuer it names.
                Err(rejection) if by_nobody => {
                    self.findings.refuse(self.panel.force(), Verdict::Rejected(rejection))
                }
                Err(rejection) => self.findings.refuse(list.asked.force, Verdict::Rejected(rejection)),
            }
        }
        Verdict::Active
    }

    /// Returns the lists that declare an issuer.
    pub(super) fn declaring(&self, issuer: &str) -> Vec<Declaring<'c>> {
        let declaring = |(asked, config): (&Asked<'c>, &'c ListConfig)| {
            Some(Declaring { asked: *asked, config, issuer: config.issuer(issuer)? })
        };
        self.panel.configs().filter_map(declaring).collect()
    }

    /// Judges verified claims by the rules of one list, and looks them up there.
    fn judge(&mut self, list: &Declaring<'_>, claims: &Claims, key: KeyUse<'_>) {
        let name = &list.asked.view.name;
        let ahead = issued_ahead_nanos(claims, self.time.wall.as_nanos());
        self.effort.issued_ahead_nanos = self.effort.issued_ahead_nanos.max(ahead);
        let times = accept(claims, list.issuer, self.request.policy.audience.as_deref(), self.time);
        self.steps.note_of("rules", name, times.is_ok(), || match times {
            Ok(_) => "kept".to_owned(),
            Err(rejection) => rejection.code().to_owned(),
        });
        match times {
            Ok(times) => self.look_up(list, claims, key, times),
            Err(rejection) => self.findings.refuse(list.asked.force, Verdict::Rejected(rejection)),
        }
    }
}

/// Verifies for each list. The work is done once where lists agree.
fn verify_for_each<'a>(
    evidence: &Evidence<'a>,
    declaring: &[Declaring<'a>],
) -> Vec<Result<KeyUse<'a>, Rejection>> {
    let mut done: Vec<(&IssuerConfig, Result<KeyUse<'a>, Rejection>)> = Vec::new();
    for list in declaring {
        let same = |known: &IssuerConfig| {
            known.verification == list.issuer.verification && known.types == list.issuer.types
        };
        let known = done.iter().find(|(known, _)| same(known)).map(|(_, result)| *result);
        done.push((list.issuer, known.unwrap_or_else(|| believe(evidence, list.issuer))));
    }
    done.into_iter().map(|(_, result)| result).collect()
}

fn believe<'a>(evidence: &Evidence<'a>, issuer: &'a IssuerConfig) -> Result<KeyUse<'a>, Rejection> {
    match (&evidence.origin, &issuer.verification) {
        (Origin::Signed { jws, .. }, Verification::Keys(_)) => verify(jws, issuer).map(KeyUse::Pinned),
        (Origin::Signed { payload_key: None, .. }, Verification::EnvoyMetadata { .. }) => {
            Err(Rejection::NoUpstreamClaims)
        }
        (
            Origin::Signed { payload_key: Some(found), .. } | Origin::Upstream { payload_key: found },
            Verification::EnvoyMetadata { payload_key },
        ) => (found == payload_key).then_some(KeyUse::Unsupported).ok_or(Rejection::NoUpstreamClaims),
        // The list wants to verify a signature, and there is none to see.
        (Origin::Upstream { .. }, Verification::Keys(_)) => Err(Rejection::BadSignature),
        (Origin::Caller { key_id: None }, Verification::Keys(keys)) => Ok(KeyUse::OneOf(keys)),
        (Origin::Caller { key_id: None }, Verification::EnvoyMetadata { .. }) => Ok(KeyUse::Unsupported),
        (Origin::Caller { key_id: Some(name) }, Verification::Keys(keys)) => {
            let named = |key: &&VerifyingKey| key.key_id.as_deref() == Some(name) || key.thumbprint == *name;
            Ok(keys.iter().find(named).map_or(KeyUse::Named(name), KeyUse::Pinned))
        }
        (Origin::Caller { key_id: Some(name) }, Verification::EnvoyMetadata { .. }) => {
            Ok(KeyUse::Named(name))
        }
    }
}

/// Returns two lists that differ about who verifies the issuer's tokens, and whether that refuses.
fn conflict<'a>(declaring: &[Declaring<'a>]) -> Option<Conflict<'a>> {
    let of = |force, lists| Conflict { force, lists };
    let enforced = declaring.iter().filter(|list| list.asked.force == Force::Enforced);
    let refusing = first_that_differ(enforced).map(|lists| of(Force::Enforced, lists));
    refusing.or_else(|| first_that_differ(declaring.iter()).map(|lists| of(Force::Shadow, lists)))
}

fn first_that_differ<'l, 'a: 'l>(
    mut lists: impl Iterator<Item = &'l Declaring<'a>>,
) -> Option<[&'a ListName; 2]> {
    let first = lists.next()?;
    let differs = |other: &&Declaring<'_>| match (&first.issuer.verification, &other.issuer.verification) {
        // The order of keys says nothing.
        (Verification::Keys(first), Verification::Keys(other)) => names_of(first) != names_of(other),
        (first, other) => first != other,
    };
    let other = lists.find(differs)?;
    Some([&first.asked.view.name, &other.asked.view.name])
}

fn names_of(keys: &[VerifyingKey]) -> HashSet<(Option<&str>, &str, &str)> {
    keys.iter().map(|key| (key.key_id.as_deref(), key.thumbprint.as_str(), key.algorithm.name())).collect()
}

fn issued_ahead_nanos(claims: &Claims, now_nanos: u128) -> u64 {
    let issued = match claims.get("iat") {
        Some(ClaimValue::Number(number)) => number.as_nanos().unwrap_or(0),
        _ => 0,
    };
    u64::try_from(issued.saturating_sub(now_nanos)).unwrap_or(u64::MAX)
}
