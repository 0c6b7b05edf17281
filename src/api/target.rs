//! Between a `Revocation` as people write it and the revocation that the core knows, in both directions.

use std::fmt::Write;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::revocation::claims::{ClaimPath, Decimal};
use crate::revocation::record::{CompareWith, Cutoff, RevocationSpec};
use crate::revocation::selector::{ClaimMatch, Selection, Target, TypedValue};
use crate::revocation::time::UnixSeconds;
use crate::token::list_config::{IssuerConfig, ListConfig, TokenKind, Verification};

use super::invalid::{Invalid, count, label, text};
use super::revocation as api;

/// The longest issuer and claim values, in characters.
const MAX_ISSUER: usize = 512;
const MAX_VALUE: usize = 1024;
const START: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Reads a revocation.
///
/// # Errors
/// [`Invalid`], with the path from `spec` on.
pub fn read(spec: &api::RevocationSpec) -> Result<RevocationSpec, Invalid> {
    read_spec(spec).map_err(|error| error.within("spec"))
}

fn read_spec(spec: &api::RevocationSpec) -> Result<RevocationSpec, Invalid> {
    label("listName", required("listName", spec.list_name.as_deref())?)?;
    let issuer = required("issuer", spec.issuer.as_deref())?;
    text("issuer", issuer, MAX_ISSUER)?;
    notes(spec.reason.as_deref(), spec.message.as_deref())?;
    let selection = selection(&spec.target).map_err(|error| error.within("target"))?;
    let cutoff = match spec.cutoff.as_deref() {
        None => None,
        Some("Always") => Some(Cutoff::Always),
        Some(time) => Some(Cutoff::At(declared_time("cutoff", time, " nor the word Always")?)),
    };
    let read = RevocationSpec {
        target: Target { issuer: issuer.to_owned(), selection },
        cutoff,
        compare_with: match spec.compare_with {
            api::CompareWith::IssueTime => CompareWith::IssueTime,
            api::CompareWith::SessionStart => CompareWith::SessionStart,
        },
        expires_at: spec
            .expires_at
            .as_deref()
            .map(|time| declared_time("expiresAt", time, ""))
            .transpose()?,
    };
    read.effective_cutoff(UnixSeconds::MIN).map_err(|error| Invalid::new("cutoff", error))?;
    Ok(read)
}

fn required<'a>(field: &str, value: Option<&'a str>) -> Result<&'a str, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

/// Checks the reason and the message of a revocation.
///
/// # Errors
/// [`Invalid`].
pub fn notes(reason: Option<&str>, message: Option<&str>) -> Result<(), Invalid> {
    if let Some(reason) = reason {
        text("reason", reason, 64)?;
        let first = reason.starts_with(|c: char| c.is_ascii_uppercase());
        if !first || !reason.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Invalid::new("reason", "is not one CamelCase word like LostDevice"));
        }
    }
    message.map_or(Ok(()), |message| text("message", message, 256))
}

fn declared_time(field: &str, time: &str, or: &str) -> Result<UnixSeconds, Invalid> {
    read_time(time).ok_or_else(|| Invalid::new(field, format!("is not a time like 2026-11-21T10:00:00Z{or}")))
}

/// Reads a time as RFC 3339 has it. A fraction of a second is cut off: cutoffs are whole seconds.
///
/// Timestamps of the library end a day before the year 9999 does, so that every offset fits; civil times go to the end.
#[must_use]
pub fn read_time(time: &str) -> Option<UnixSeconds> {
    let civil =
        time.strip_suffix('Z').filter(|utc| utc.contains('T')).and_then(|utc| utc.parse::<DateTime>().ok());
    let since = match civil {
        Some(utc) => utc.duration_since(START),
        None => time.parse::<Timestamp>().ok()?.as_duration(),
    };
    UnixSeconds::new(u64::try_from(since.as_secs()).ok().filter(|_| !since.is_negative())?).ok()
}

/// Writes a time as RFC 3339 has it, in UTC.
#[must_use]
pub fn write_time(time: UnixSeconds) -> String {
    let since = i64::try_from(time.get()).map(SignedDuration::from_secs).unwrap_or_default();
    format!("{}Z", START.saturating_add(since))
}

fn selection(target: &api::Target) -> Result<Selection, Invalid> {
    let value = |field: &str, value: &str| text(field, value, MAX_VALUE).map(|()| value.to_owned());
    let everything = match target.everything {
        Some(false) => {
            return Err(Invalid::new("everything", "can only be true: leave it out and name a target"));
        }
        other => other,
    };
    if target.is_internal() {
        let problem = "heartbeat, epoch and horizon are the controller's own: name another target";
        return Err(Invalid::new("", problem));
    }
    let mut chosen = [
        target.token.as_deref().map(|v| value("token", v).map(Selection::Token)),
        target.session.as_deref().map(|v| value("session", v).map(Selection::Session)),
        target.subject.as_deref().map(|v| value("subject", v).map(Selection::Subject)),
        target.client.as_deref().map(|v| value("client", v).map(Selection::Client)),
        target.key.as_deref().map(|v| value("key", v).map(Selection::Key)),
        target.opaque_token_sha256.as_deref().map(|v| sha256(v).map(Selection::Opaque)),
        everything.map(|_| Ok(Selection::Everything)),
        target.selector.as_ref().map(declared),
    ]
    .into_iter()
    .flatten();
    match (chosen.next(), chosen.next()) {
        (Some(selection), None) => selection,
        _ => Err(Invalid::new(
            "",
            "name exactly one of token, session, subject, client, key, opaqueTokenSha256, everything and selector",
        )),
    }
}

fn sha256(hex: &str) -> Result<[u8; 32], Invalid> {
    let problem = || Invalid::new("opaqueTokenSha256", "is not 64 lower-case hexadecimal digits");
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hex.len() != 64 || !hex.bytes().all(digit) {
        return Err(problem());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| problem())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| problem())?;
    }
    Ok(bytes)
}

fn declared(target: &api::SelectorTarget) -> Result<Selection, Invalid> {
    label("selector.name", &target.name)?;
    count("selector.values", target.values.len(), 1..=8)?;
    let mut values: Vec<ClaimMatch> = Vec::new();
    for (index, value) in target.values.iter().enumerate() {
        let at = |error: Invalid| error.within(&format!("selector.values[{index}]"));
        let claim = value.claim.parse().map_err(|error| at(Invalid::new("claim", error)))?;
        if values.iter().any(|other| other.claim == claim) {
            return Err(at(Invalid::new("claim", "is given twice")));
        }
        let value = typed(value.type_, &value.value).map_err(at)?;
        values.push(ClaimMatch { claim, value });
    }
    Ok(Selection::Declared { name: target.name.clone(), values })
}

/// Reads a claim's value of a type from its text.
///
/// # Errors
/// [`Invalid`] if the text is no value of the type.
pub fn typed(type_: Option<api::ValueType>, value: &str) -> Result<TypedValue, Invalid> {
    text("value", value, MAX_VALUE)?;
    match type_.unwrap_or(api::ValueType::String) {
        api::ValueType::String => Ok(TypedValue::String(value.to_owned())),
        api::ValueType::Number => value
            .parse::<Decimal>()
            .map(TypedValue::Number)
            .map_err(|_| Invalid::new("value", "is not a JSON number")),
        api::ValueType::Boolean => value
            .parse()
            .map(TypedValue::Boolean)
            .map_err(|_| Invalid::new("value", "is neither \"true\" nor \"false\"")),
    }
}

/// Checks that a list declares what a revocation names; returns warnings for what may not reach every token.
///
/// # Errors
/// [`Invalid`], with the path from `spec` on.
pub fn check_declared(spec: &RevocationSpec, list: &ListConfig) -> Result<Vec<String>, Invalid> {
    let target = &spec.target;
    let Some(issuer) = list.issuer(&target.issuer) else {
        let known: Vec<&str> = list.issuers.iter().map(|issuer| issuer.issuer.as_str()).collect();
        let problem = format!("is not declared by list {}: it declares {}", list.name, known.join(", "));
        return Err(Invalid::new("spec.issuer", problem));
    };
    let mut needed: Vec<_> = target
        .selection
        .built_in()
        .and_then(|built_in| issuer.claim_names.of(built_in))
        .into_iter()
        .collect();
    if let Selection::Declared { name, values } = &target.selection {
        let Some(selector) = list.selector(name) else {
            let problem = format!("is not declared by list {}: add it to spec.selectors there", list.name);
            return Err(Invalid::new("spec.target.selector.name", problem));
        };
        let same = values.len() == selector.claims.len()
            && values.iter().all(|value| selector.claims.contains(&value.claim));
        if !same {
            let claims: Vec<&str> = selector.claims.iter().map(ClaimPath::as_str).collect();
            let problem = format!("must name each claim of the selector once: {}", claims.join(", "));
            return Err(Invalid::new("spec.target.selector.values", problem));
        }
        needed.extend(selector.claims.iter());
    }
    if spec.compare_with == CompareWith::SessionStart
        && !issuer.required_claims.contains(&issuer.session_start_claim)
    {
        let claim = issuer.session_start_claim.as_str();
        let problem = format!("SessionStart needs {claim} among the requiredClaims of the issuer");
        return Err(Invalid::new("spec.compareWith", problem));
    }
    let missing = needed.into_iter().filter(|claim| !issuer.required_claims.contains(claim));
    let missing = missing.map(|claim| {
        let claim = claim.as_str();
        format!("MayNotReach: tokens without the claim {claim} are not required to be refused; add it to requiredClaims")
    });
    Ok(missing.chain(unreachable(&target.selection, issuer, list)?).collect())
}

/// Warns of what no sidecar of the list looks up: a key that verifies nothing, a kind of token that no source carries.
fn unreachable(
    selection: &Selection,
    issuer: &IssuerConfig,
    list: &ListConfig,
) -> Result<Option<String>, Invalid> {
    let name = &list.name;
    if let Selection::Key(wanted) = selection {
        let Verification::Keys(keys) = &issuer.verification else {
            let problem = "can't be revoked for this issuer: Envoy verifies its tokens (trustUpstream), and tells no \
                           sidecar by which key; take the key out of Envoy's JWKS, or revoke everything of the issuer";
            return Err(Invalid::new("spec.target.key", problem));
        };
        let is_known =
            keys.iter().any(|key| key.key_id.as_ref() == Some(wanted) || key.thumbprint == *wanted);
        return Ok((!is_known).then(|| {
            format!("MayNotReach: no key of this issuer has this kid or thumbprint in list {name}, and tokens of other keys are refused there anyhow")
        }));
    }
    let carries = |kind: &TokenKind| matches!(kind, TokenKind::Opaque { issuer: of } if *of == issuer.issuer);
    let is_carried = list.sources.iter().any(|source| carries(&source.kind));
    Ok((matches!(selection, Selection::Opaque(_)) && !is_carried).then(|| {
        format!("MayNotReach: list {name} has no token source of kind Opaque for this issuer, so no sidecar looks for such a token; add one to tokenSources")
    }))
}

/// Writes a revocation as people would.
#[must_use]
pub fn write(
    list_name: &str,
    spec: &RevocationSpec,
    reason: Option<&str>,
    message: Option<&str>,
) -> api::RevocationSpec {
    api::RevocationSpec {
        list_name: Some(list_name.to_owned()),
        issuer: Some(spec.target.issuer.clone()),
        target: write_selection(&spec.target.selection),
        cutoff: spec.cutoff.map(|cutoff| match cutoff {
            Cutoff::Always => "Always".to_owned(),
            Cutoff::At(time) => write_time(time),
        }),
        compare_with: match spec.compare_with {
            CompareWith::IssueTime => api::CompareWith::IssueTime,
            CompareWith::SessionStart => api::CompareWith::SessionStart,
        },
        expires_at: spec.expires_at.map(write_time),
        reason: reason.map(ToOwned::to_owned),
        message: message.map(ToOwned::to_owned),
    }
}

fn write_selection(selection: &Selection) -> api::Target {
    let mut target = api::Target::default();
    match selection {
        Selection::Token(value) => target.token = Some(value.clone()),
        Selection::Session(value) => target.session = Some(value.clone()),
        Selection::Subject(value) => target.subject = Some(value.clone()),
        Selection::Client(value) => target.client = Some(value.clone()),
        Selection::Key(value) => target.key = Some(value.clone()),
        Selection::Everything => target.everything = Some(true),
        Selection::Opaque(hash) => target.opaque_token_sha256 = Some(hex(hash)),
        Selection::Declared { name, values } => {
            let values = values.iter().map(write_value).collect();
            target.selector = Some(api::SelectorTarget { name: name.clone(), values });
        }
    }
    target
}

fn write_value(value: &ClaimMatch) -> api::ClaimValue {
    let (text, type_) = match &value.value {
        TypedValue::String(text) => (text.clone(), None),
        TypedValue::Number(number) => (number.to_string(), Some(api::ValueType::Number)),
        TypedValue::Boolean(truth) => (truth.to_string(), Some(api::ValueType::Boolean)),
    };
    api::ClaimValue { claim: value.claim.as_str().to_owned(), value: text, type_ }
}

/// Describes a target for people, shortened to 256 characters.
#[must_use]
pub fn describe(selection: &Selection) -> String {
    let text = match selection {
        Selection::Token(v)
        | Selection::Session(v)
        | Selection::Subject(v)
        | Selection::Client(v)
        | Selection::Key(v) => {
            format!("{} {v}", selection.name())
        }
        Selection::Everything => "everything".to_owned(),
        Selection::Opaque(hash) => format!("opaque {}", hex(hash)),
        Selection::Declared { name, values } => {
            let pairs =
                values.iter().map(|value| format!("{}={}", value.claim.as_str(), write_value(value).value));
            format!("{name} {}", pairs.collect::<Vec<_>>().join(","))
        }
    };
    if text.chars().count() <= 256 {
        return text;
    }
    text.chars().take(255).chain(['…']).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
