//! The rules of time, lifetime, audience and required claims that a verified token must keep.

use crate::revocation::claims::{ClaimValue, Claims};
use crate::revocation::row::TokenTimes;
use crate::revocation::selector::BuiltIn;
use crate::revocation::time::{NumericDate, UnixSeconds};

use super::list_config::{Audiences, IssuerConfig, Maxima};
use super::rejection::Rejection;

/// The time at which a token is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: NumericDate,
    /// A time that has surely passed at the controllers: revocations that ended before it may be forgotten, so
    /// a token that ended before it is expired whatever the wall clock says.
    pub floor: Option<UnixSeconds>,
}

impl Now {
    fn for_expiry(self) -> NumericDate {
        self.floor.map_or(self.wall, |floor| self.wall.max(NumericDate::from(floor)))
    }
}

/// Judges claims whose origin has been verified, and returns the times that cutoffs are compared with.
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn accept(
    claims: &Claims,
    issuer: &IssuerConfig,
    audience: Option<&str>,
    now: Now,
) -> Result<TokenTimes, Rejection> {
    for name in ["iss", "sub", "jti", "sid"] {
        string(claims, name)?;
    }
    named_by_strings(claims, issuer)?;
    let times = judge_times(claims, issuer, now)?;
    judge_audience(claims, &issuer.audiences, audience)?;
    for path in &issuer.required_claims {
        // Too many values are not none: the lookup says so, if it needs them.
        if claims.find(path).is_ok_and(|found| found.is_empty()) {
            return Err(Rejection::Unrevocable);
        }
    }
    Ok(times)
}

/// The built-in selectors know strings alone: a revocation would not match a number, and nobody would notice.
fn named_by_strings(claims: &Claims, issuer: &IssuerConfig) -> Result<(), Rejection> {
    for path in BuiltIn::ALL.into_iter().filter_map(|selector| issuer.claim_names.of(selector)) {
        let found = claims.find(path).unwrap_or_default();
        if !found.iter().all(|value| matches!(value, ClaimValue::String(_))) {
            return Err(Rejection::MissingClaim);
        }
    }
    Ok(())
}

fn judge_times(claims: &Claims, issuer: &IssuerConfig, now: Now) -> Result<TokenTimes, Rejection> {
    let issued = date(claims.get("iat"))?.ok_or(Rejection::MissingClaim)?;
    let expires = date(claims.get("exp"))?.ok_or(Rejection::MissingClaim)?;
    let not_before = date(claims.get("nbf"))?;
    let start_claim = claims.find(&issuer.session_start_claim).map_err(|_| Rejection::MissingClaim)?;
    let session_started = match start_claim.as_slice() {
        [] => None,
        [one] => date(Some(*one))?,
        _ => return Err(Rejection::MissingClaim),
    };
    if expires < issued {
        return Err(Rejection::ExpiresBeforeIssue);
    }
    if issued.as_nanos() > now.wall.as_nanos() + nanos(issuer.maxima.clock_skew_seconds) {
        return Err(Rejection::IssuedInFuture);
    }
    let leeway = nanos(issuer.leeway_seconds);
    if not_before.is_some_and(|nbf| nbf.as_nanos() > now.wall.as_nanos() + leeway) {
        return Err(Rejection::NotYetValid);
    }
    if now.for_expiry().as_nanos() >= expires.as_nanos() + leeway {
        return Err(Rejection::Expired);
    }
    let longest = smallest_since(issuer, issued, |maxima| maxima.token_lifetime_seconds);
    if expires.as_nanos() - issued.as_nanos() > nanos(longest) {
        return Err(Rejection::LifetimeTooLong);
    }
    let start = session_started.map_or(issued, |start| start.min(issued));
    let longest = smallest_since(issuer, start, |maxima| maxima.session_lifetime_seconds);
    if issued.as_nanos() - start.as_nanos() > nanos(longest) {
        return Err(Rejection::SessionTooLong);
    }
    Ok(TokenTimes { issued: Some(issued), session_started })
}

/// The smallest maximum in force at any time since the token's issue, or since its session began: a revocation of
/// it may have been forgotten under a short maximum, and must not come to nothing after the maximum was raised.
fn smallest_since(issuer: &IssuerConfig, since: NumericDate, maximum: impl Fn(&Maxima) -> u64) -> u64 {
    let in_force = issuer.history.iter().filter(|(until, maxima)| {
        until.get().saturating_add(maxima.clock_skew_seconds) >= since.floor().get()
    });
    in_force.map(|(_, maxima)| maximum(maxima)).fold(maximum(&issuer.maxima), u64::min)
}

fn judge_audience(claims: &Claims, accepted: &Audiences, narrowed: Option<&str>) -> Result<(), Rejection> {
    let named: Vec<&str> = match claims.get("aud") {
        None | Some(ClaimValue::Null) => Vec::new(),
        Some(ClaimValue::String(one)) => vec![one],
        Some(ClaimValue::Array(several)) => several
            .iter()
            .map(|value| {
                if let ClaimValue::String(text) = value {
                    Ok(text.as_str())
                } else {
                    Err(Rejection::WrongAudience)
                }
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(Rejection::WrongAudience),
    };
    let declared = match accepted {
        Audiences::Any => true,
        Audiences::OneOf(accepted) => accepted.iter().any(|audience| named.contains(&audience.as_str())),
    };
    let asked = narrowed.is_none_or(|audience| named.contains(&audience));
    (declared && asked).then_some(()).ok_or(Rejection::WrongAudience)
}

/// Reads a claim that must be a string if it is there; null counts as absent.
///
/// # Errors
/// [`Rejection::MissingClaim`] for another JSON type: a wrong type is never taken as absent.
pub fn string<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, Rejection> {
    match claims.get(name) {
        None | Some(ClaimValue::Null) => Ok(None),
        Some(ClaimValue::String(text)) => Ok(Some(text)),
        Some(_) => Err(Rejection::MissingClaim),
    }
}

/// Reads when a token ends, rounded down.
///
/// # Errors
/// [`Rejection::MissingClaim`] for what is no number, [`Rejection::TimeOutOfRange`].
pub fn end(claims: &Claims) -> Result<Option<UnixSeconds>, Rejection> {
    Ok(date(claims.get("exp"))?.map(NumericDate::floor))
}

fn date(value: Option<&ClaimValue>) -> Result<Option<NumericDate>, Rejection> {
    let number = match value {
        None | Some(ClaimValue::Null) => return Ok(None),
        Some(ClaimValue::Number(number)) => number,
        Some(_) => return Err(Rejection::MissingClaim),
    };
    let nanos = number.as_nanos().ok_or(Rejection::TimeOutOfRange)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok().and_then(|s| UnixSeconds::new(s).ok());
    let fraction = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    // The last second of the year 9999 has no fraction: its end is out of range.
    let date = seconds.filter(|s| *s < UnixSeconds::MAX || fraction == 0);
    date.and_then(|seconds| NumericDate::new(seconds, fraction)).map(Some).ok_or(Rejection::TimeOutOfRange)
}

fn nanos(seconds: u64) -> u128 {
    u128::from(seconds) * 1_000_000_000
}

#[cfg(test)]
pub(crate) mod tests;
