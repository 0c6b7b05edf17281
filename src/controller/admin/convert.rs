//! Between the admin protocol and what is stored.

use tonic::Status;

use crate::api::invalid::{Invalid, label};
use crate::api::revocation as api;
use crate::api::target;
use crate::proto::v1;
use crate::proto::v1::claim_value::Value;
use crate::proto::v1::cutoff::Cutoff as WireCutoff;
use crate::proto::v1::target::Target as WireTarget;
use crate::revocation::expiry::forgotten_from;
use crate::revocation::names::RecordId;
use crate::revocation::record::{CompareWith, Cutoff, RevocationSpec};
use crate::revocation::row::admits_from;
use crate::revocation::selector::{BuiltIn, Selection, TypedValue};
use crate::revocation::time::{Moment, UnixSeconds};
use crate::revocation::version::{Epoch, Revisions, Version};
use crate::store::{NewRevocation, Revocation};
use crate::token::check;
use crate::token::jws::Jws;
use crate::token::list_config::ListConfig;
use crate::token::rejection::Rejection;
use crate::token::rules;

use super::invalid;

/// Reads what is to be revoked, by the same rules as a manifest.
pub(super) fn spec(
    request: &v1::RevokeRequest,
    list: &ListConfig,
    now: Moment,
) -> Result<RevocationSpec, Status> {
    let wire = request.target.as_ref().and_then(|target| target.target.as_ref());
    let wire = wire.ok_or_else(|| Status::invalid_argument("target: name what is to be revoked"))?;
    let issuer = issuer(request, wire, list)?;
    let compare_with = match v1::CompareWith::try_from(request.compare_with) {
        Ok(v1::CompareWith::Unspecified | v1::CompareWith::IssueTime) => api::CompareWith::IssueTime,
        Ok(v1::CompareWith::SessionStart) => api::CompareWith::SessionStart,
        Err(_) => {
            return Err(Status::invalid_argument("compare_with is not understood: update this controller"));
        }
    };
    let cutoff = match request.cutoff.map(|cutoff| cutoff.cutoff) {
        None => None,
        Some(Some(WireCutoff::Always(true))) => Some("Always".to_owned()),
        Some(Some(WireCutoff::UnixSeconds(seconds))) => Some(target::write_time(time("cutoff", seconds)?)),
        // The clock of the controller, for the caller's may be wrong.
        Some(Some(WireCutoff::Now(true))) => Some(target::write_time(now.wall().floor())),
        Some(Some(WireCutoff::Always(false) | WireCutoff::Now(false)) | None) => {
            return Err(Status::invalid_argument("cutoff: give a time, or now, or always, or leave it out"));
        }
    };
    let expires_at = match request.expires_at_unix_seconds {
        0 => None,
        seconds => Some(target::write_time(time("expires_at", seconds)?)),
    };
    let written = api::RevocationSpec {
        list_name: Some(list.name.name().to_owned()),
        issuer: Some(issuer),
        target: target_of(wire, list, now)?,
        cutoff,
        compare_with,
        expires_at,
        reason: None,
        message: None,
    };
    let spec = target::read(&written).map_err(|error| invalid(&error))?;
    if spec.cutoff == Some(Cutoff::Always) && spec.expires_at.is_some_and(|end| end <= now.wall().floor()) {
        return Err(Status::invalid_argument(
            "expires_at: the ban would end before it begins: give a later time",
        ));
    }
    Ok(spec)
}

/// Names the selector that a request means, whether it can be used or not.
pub(super) fn kind(request: &v1::RevokeRequest) -> &str {
    match request.target.as_ref().and_then(|target| target.target.as_ref()) {
        Some(WireTarget::Token(_) | WireTarget::PresentedToken(_)) => BuiltIn::Token.name(),
        Some(WireTarget::Session(_)) => BuiltIn::Session.name(),
        Some(WireTarget::Subject(_)) => BuiltIn::Subject.name(),
        Some(WireTarget::Client(_)) => BuiltIn::Client.name(),
        Some(WireTarget::Key(_)) => BuiltIn::Key.name(),
        Some(WireTarget::Everything(_)) => BuiltIn::Everything.name(),
        Some(WireTarget::OpaqueSha256(_)) => BuiltIn::Opaque.name(),
        // Its name is the caller's word, until the list has declared it.
        Some(WireTarget::Selector(_)) => "selector",
        None => "none",
    }
}

fn time(field: &str, seconds: u64) -> Result<UnixSeconds, Status> {
    UnixSeconds::new(seconds).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

/// The issuer that is named, or that of the presented token, or the only one.
fn issuer(request: &v1::RevokeRequest, wire: &WireTarget, list: &ListConfig) -> Result<String, Status> {
    let of_token = if let WireTarget::PresentedToken(token) = wire {
        let jws = Jws::parse(token).map_err(refused)?;
        Some(check::issuer_of(&jws.claims).map_err(refused)?.to_owned())
    } else {
        None
    };
    match (of_token, request.issuer.as_str(), list.issuers.as_slice()) {
        (Some(token), "", _) => Ok(token),
        (Some(token), named, _) if token == named => Ok(token),
        (Some(_), _, _) => Err(Status::invalid_argument("issuer: the token is of another issuer")),
        (None, "", [only]) => Ok(only.issuer.clone()),
        (None, "", _) => {
            Err(Status::invalid_argument(format!("list {} has several issuers: name one", list.name)))
        }
        (None, named, _) => Ok(named.to_owned()),
    }
}

fn refused(rejection: Rejection) -> Status {
    let next_step = if rejection == Rejection::Expired {
        // Whoever wants to end it need not.
        "nobody accepts it any more, so it needs no revocation"
    } else {
        rejection.advice()
    };
    Status::invalid_argument(format!("the token is refused: {}; {next_step}", rejection.code()))
}

fn target_of(wire: &WireTarget, list: &ListConfig, now: Moment) -> Result<api::Target, Status> {
    let mut target = api::Target::default();
    match wire {
        WireTarget::Token(value) => target.token = Some(value.clone()),
        WireTarget::Session(value) => target.session = Some(value.clone()),
        WireTarget::Subject(value) => target.subject = Some(value.clone()),
        WireTarget::Client(value) => target.client = Some(value.clone()),
        WireTarget::Key(value) => target.key = Some(value.clone()),
        WireTarget::Everything(value) => target.everything = Some(*value),
        WireTarget::OpaqueSha256(hash) => {
            target.opaque_token_sha256 = Some(hash.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        WireTarget::PresentedToken(token) => target.token = Some(jti(token, list, now)?),
        WireTarget::Selector(selector) => {
            let values = selector.values.iter().map(claim_value).collect::<Result<_, _>>()?;
            target.selector = Some(api::SelectorTarget { name: selector.name.clone(), values });
        }
    }
    Ok(target)
}

/// Takes the identifier of a token after its signature was verified: whoever presents a token may end it, and
/// nobody ends another's by making one up. An expired one needs no revocation.
fn jti(token: &str, list: &ListConfig, now: Moment) -> Result<String, Status> {
    let jws = Jws::parse(token).map_err(refused)?;
    let name = check::issuer_of(&jws.claims).map_err(refused)?;
    let issuer = list.issuer(name).ok_or_else(|| refused(Rejection::UnknownIssuer))?;
    check::verify(&jws, issuer).map_err(refused)?;
    rules::accept(&jws.claims, issuer, None, rules::Now { wall: now.wall(), floor: None })
        .map_err(refused)?;
    let found = jws.claims.find(&issuer.claim_names.token).unwrap_or_default();
    match found.as_slice() {
        [crate::revocation::claims::ClaimValue::String(jti)] => Ok(jti.clone()),
        _ => Err(Status::invalid_argument(
            "the token has no identifier to revoke it by: revoke its session or subject",
        )),
    }
}

fn claim_value(value: &v1::ClaimValue) -> Result<api::ClaimValue, Status> {
    let (text, type_) = match &value.value {
        Some(Value::String(text)) => (text.clone(), None),
        Some(Value::Number(number)) => (number.clone(), Some(api::ValueType::Number)),
        Some(Value::Boolean(truth)) => (truth.to_string(), Some(api::ValueType::Boolean)),
        None => return Err(Status::invalid_argument(format!("claim {}: the value is missing", value.claim))),
    };
    Ok(api::ClaimValue { claim: value.claim.clone(), value: text, type_ })
}

/// Reads the name of a revocation; empty lets the store choose one.
pub(super) fn name(name: String) -> Result<Option<String>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    label("name", &name).map_err(|error: Invalid| invalid(&error))?;
    Ok(Some(name))
}

/// Reads an id; empty is none.
pub(super) fn uid(uid: &str) -> Result<Option<RecordId>, Status> {
    if uid.is_empty() {
        return Ok(None);
    }
    uid.parse().map(Some).map_err(|error| Status::invalid_argument(format!("uid: {error}")))
}

/// Reads where the last page ended.
pub(super) fn page_token(token: &str) -> Result<u64, Status> {
    if token.is_empty() {
        return Ok(0);
    }
    token.parse().map_err(|_| Status::invalid_argument("page_token is none that was answered"))
}

/// Writes a revocation with what is in force under its list's declaration.
pub(super) fn revocation(revocation: &Revocation, list: &ListConfig) -> v1::Revocation {
    stored(revocation, Some(list))
}

/// Writes what would be stored.
pub(super) fn planned(new: &NewRevocation, list: &ListConfig, now: Moment) -> v1::Revocation {
    let planned = Revocation {
        id: RecordId(0),
        list: new.list.clone(),
        name: new.name.clone().unwrap_or_default(),
        spec: new.spec.clone(),
        created: now.wall().floor(),
        reason: new.reason.clone(),
        message: new.message.clone(),
        version: Version { epoch: Epoch { counter: 0, id: 0 }, revisions: Revisions::default() },
    };
    v1::Revocation { uid: String::new(), version: String::new(), ..stored(&planned, Some(list)) }
}

/// Writes a revocation; without its list's declaration the skew is not known, and none is counted.
pub(super) fn stored(revocation: &Revocation, list: Option<&ListConfig>) -> v1::Revocation {
    let spec = &revocation.spec;
    let issuer = list.and_then(|list| list.issuer(&spec.target.issuer));
    let effective = spec.effective_cutoff(revocation.created).ok();
    let (cutoff, admits) = match effective {
        Some(Cutoff::At(time)) => {
            let admits = issuer
                .map_or_else(|| admits_from(time, 0), |issuer| issuer.admits_from(time, spec.compare_with));
            (Some(WireCutoff::UnixSeconds(time.get())), admits.get())
        }
        Some(Cutoff::Always) => (Some(WireCutoff::Always(true)), 0),
        None => (None, 0),
    };
    let forgotten = issuer.and_then(|issuer| {
        let largest = issuer.largest_since(revocation.created);
        forgotten_from(spec, revocation.created, &largest)
    });
    v1::Revocation {
        forgotten_at_unix_seconds: forgotten.map_or(0, UnixSeconds::get),
        list: revocation.list.to_string(),
        name: revocation.name.clone(),
        uid: revocation.id.to_string(),
        issuer: spec.target.issuer.clone(),
        target: Some(v1::Target { target: Some(wire_target(&spec.target.selection)) }),
        cutoff: Some(v1::Cutoff { cutoff }),
        compare_with: match spec.compare_with {
            CompareWith::IssueTime => v1::CompareWith::IssueTime,
            CompareWith::SessionStart => v1::CompareWith::SessionStart,
        }
        .into(),
        expires_at_unix_seconds: spec.expires_at.map_or(0, UnixSeconds::get),
        reason: revocation.reason.clone().unwrap_or_default(),
        message: revocation.message.clone().unwrap_or_default(),
        created_unix_seconds: revocation.created.get(),
        version: revocation.version.to_string(),
        admits_from_unix_seconds: admits,
    }
}

fn wire_target(selection: &Selection) -> WireTarget {
    match selection {
        Selection::Token(value) => WireTarget::Token(value.clone()),
        Selection::Session(value) => WireTarget::Session(value.clone()),
        Selection::Subject(value) => WireTarget::Subject(value.clone()),
        Selection::Client(value) => WireTarget::Client(value.clone()),
        Selection::Key(value) => WireTarget::Key(value.clone()),
        Selection::Everything => WireTarget::Everything(true),
        Selection::Opaque(hash) => WireTarget::OpaqueSha256(hash.to_vec().into()),
        Selection::Declared { name, values } => {
            let value = |value: &TypedValue| match value {
                TypedValue::String(text) => Value::String(text.clone()),
                TypedValue::Number(number) => Value::Number(number.to_string()),
                TypedValue::Boolean(truth) => Value::Boolean(*truth),
            };
            let values = values.iter().map(|claim| v1::ClaimValue {
                claim: claim.claim.as_str().to_owned(),
                value: Some(value(&claim.value)),
            });
            WireTarget::Selector(v1::SelectorTarget { name: name.clone(), values: values.collect() })
        }
    }
}
