//! Reads the server's descriptions of revocations into the types of the core, and writes them as the objects
//! that `kubectl` would show.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;

use super::console::printable;
use crate::api::revocation as api;
use crate::api::target::{describe, typed, write, write_time};
use crate::proto::v1;
use crate::proto::v1::claim_value::Value;
use crate::proto::v1::cutoff::Cutoff as WireCutoff;
use crate::proto::v1::target::Target as WireTarget;
use crate::revocation::names::ListName;
use crate::revocation::record::{CompareWith, Cutoff, RevocationSpec};
use crate::revocation::selector::{ClaimMatch, Selection, Target};
use crate::revocation::time::UnixSeconds;

/// Says what in an answer makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server's answer is not understood: {what}; its version may be another one than that of this command"
)]
pub struct BadAnswer {
    /// The part.
    pub what: &'static str,
}

/// A revocation as a server or a cluster described it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) list: ListName,
    pub(super) name: String,
    pub(super) uid: String,
    /// The cutoff is the one in force, also where its author chose none.
    pub(super) spec: RevocationSpec,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) created: UnixSeconds,
    pub(super) version: String,
    /// The first issue time that passes; none where none does.
    pub(super) admits_from: Option<UnixSeconds>,
    /// When it is forgotten by itself; none where it stays, or where the server does not say.
    pub(super) forgotten_at: Option<UnixSeconds>,
    /// The object itself, if it is one of a cluster.
    pub(super) object: Option<Box<api::Revocation>>,
}

impl TryFrom<Option<v1::Revocation>> for View {
    type Error = BadAnswer;

    fn try_from(wire: Option<v1::Revocation>) -> Result<Self, BadAnswer> {
        let wire = wire.ok_or(BadAnswer { what: "it names no revocation" })?;
        let compare_with = match wire.compare_with() {
            v1::CompareWith::Unspecified | v1::CompareWith::IssueTime => CompareWith::IssueTime,
            v1::CompareWith::SessionStart => CompareWith::SessionStart,
        };
        let selection = selection(wire.target)?;
        Ok(Self {
            list: wire.list.parse().map_err(|_| BadAnswer { what: "the name of the list" })?,
            name: wire.name,
            uid: wire.uid,
            spec: RevocationSpec {
                target: Target { issuer: wire.issuer, selection },
                cutoff: wire.cutoff.map(cutoff).transpose()?,
                compare_with,
                expires_at: time(wire.expires_at_unix_seconds)?,
            },
            reason: Some(wire.reason).filter(|text| !text.is_empty()),
            message: Some(wire.message).filter(|text| !text.is_empty()),
            created: UnixSeconds::new(wire.created_unix_seconds).map_err(|_| OUT_OF_RANGE)?,
            version: wire.version,
            admits_from: time(wire.admits_from_unix_seconds)?,
            forgotten_at: time(wire.forgotten_at_unix_seconds)?,
            object: None,
        })
    }
}

const OUT_OF_RANGE: BadAnswer = BadAnswer { what: "a time after the year 9999" };

/// Zero is how the protocol writes that there is none.
fn time(seconds: u64) -> Result<Option<UnixSeconds>, BadAnswer> {
    (seconds > 0).then(|| UnixSeconds::new(seconds).map_err(|_| OUT_OF_RANGE)).transpose()
}

fn cutoff(wire: v1::Cutoff) -> Result<Cutoff, BadAnswer> {
    match wire.cutoff {
        Some(WireCutoff::Always(true)) => Ok(Cutoff::Always),
        Some(WireCutoff::UnixSeconds(seconds)) => {
            UnixSeconds::new(seconds).map(Cutoff::At).map_err(|_| OUT_OF_RANGE)
        }
        Some(WireCutoff::Always(false) | WireCutoff::Now(_)) | None => Err(BadAnswer { what: "the cutoff" }),
    }
}

fn selection(wire: Option<v1::Target>) -> Result<Selection, BadAnswer> {
    const BAD: BadAnswer = BadAnswer { what: "the target" };
    match wire.and_then(|wire| wire.target).ok_or(BAD)? {
        WireTarget::Token(value) => Ok(Selection::Token(value)),
        WireTarget::Session(value) => Ok(Selection::Session(value)),
        WireTarget::Subject(value) => Ok(Selection::Subject(value)),
        WireTarget::Client(value) => Ok(Selection::Client(value)),
        WireTarget::Key(value) => Ok(Selection::Key(value)),
        WireTarget::Everything(true) => Ok(Selection::Everything),
        WireTarget::OpaqueSha256(hash) => hash.as_ref().try_into().map(Selection::Opaque).map_err(|_| BAD),
        WireTarget::Selector(selector) => {
            let values = selector.values.into_iter().map(claim_match).collect::<Option<_>>();
            values.map(|values| Selection::Declared { name: selector.name, values }).ok_or(BAD)
        }
        // A server that handed a token back must not make us print it.
        WireTarget::Everything(false) | WireTarget::PresentedToken(_) => Err(BAD),
    }
}

fn claim_match(wire: v1::ClaimValue) -> Option<ClaimMatch> {
    let (type_, text) = match wire.value? {
        Value::String(text) => (api::ValueType::String, text),
        Value::Number(text) => (api::ValueType::Number, text),
        Value::Boolean(truth) => (api::ValueType::Boolean, truth.to_string()),
    };
    Some(ClaimMatch { claim: wire.claim.parse().ok()?, value: typed(Some(type_), &text).ok()? })
}

impl View {
    /// Describes the target for people.
    pub(super) fn target(&self) -> String {
        printable(&describe(&self.spec.target.selection))
    }

    /// Writes the cutoff in force.
    pub(super) fn cutoff(&self) -> String {
        match self.spec.cutoff {
            Some(Cutoff::Always) => "Always".to_owned(),
            Some(Cutoff::At(time)) => write_time(time),
            None => String::new(),
        }
    }

    /// Returns `true` if tokens issued later are refused too.
    pub(super) fn is_always(&self) -> bool {
        self.spec.cutoff == Some(Cutoff::Always)
    }

    /// Returns when it stops to deny: its author's end, or else when no token is left that it could deny.
    pub(super) fn expires(&self) -> Option<UnixSeconds> {
        self.forgotten_at.or_else(|| self.spec.expires_at.filter(|_| self.is_always()))
    }

    /// Writes the object. Unless it is one of a cluster, its conditions and counts are for those who have waited to
    /// fill in.
    pub(super) fn object(&self) -> api::Revocation {
        if let Some(object) = &self.object {
            return without_managed_fields(object);
        }
        let (reason, message) = (self.reason.as_deref(), self.message.as_deref());
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let created = i64::try_from(self.created.get()).ok().filter(|seconds| *seconds > 0);
        api::Revocation {
            metadata: ObjectMeta {
                name: text(&self.name),
                namespace: text(self.list.namespace()),
                uid: text(&self.uid),
                creation_timestamp: created.and_then(|at| Timestamp::from_second(at).ok()).map(Time),
                ..ObjectMeta::default()
            },
            spec: write(self.list.name(), &self.spec, reason, message),
            status: Some(api::RevocationStatus {
                target: Some(describe(&self.spec.target.selection)),
                cutoff: text(&self.cutoff()),
                expires_at: self.expires().map(write_time),
                admits_from: self.admits_from.map(write_time),
                version: text(&self.version),
                ..api::RevocationStatus::default()
            }),
        }
    }
}

/// Leaves out who wrote which field: as `kubectl` does, for it is longer than all else.
pub(super) fn without_managed_fields(object: &api::Revocation) -> api::Revocation {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(target: WireTarget) -> v1::Revocation {
        v1::Revocation {
            list: "shop/shop".to_owned(),
            target: Some(v1::Target { target: Some(target) }),
            cutoff: Some(v1::Cutoff { cutoff: Some(WireCutoff::Always(true)) }),
            ..v1::Revocation::default()
        }
    }

    fn bob() -> v1::Revocation {
        wire(WireTarget::Subject("bob".to_owned()))
    }

    fn check(wire: Option<v1::Revocation>, expected: Result<(), &str>) {
        let read = View::try_from(wire).map(|_| ()).map_err(|error| error.what);
        assert_eq!(read, expected);
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_refused_by_part() {
        check(Some(bob()), Ok(()));
        check(None, Err("it names no revocation"));
        check(Some(v1::Revocation { list: "no list".to_owned(), ..bob() }), Err("the name of the list"));
        check(Some(v1::Revocation { target: None, ..bob() }), Err("the target"));
        check(Some(wire(WireTarget::Everything(false))), Err("the target"));
        check(Some(wire(WireTarget::OpaqueSha256(vec![1, 2].into()))), Err("the target"));
        let at = |cutoff| Some(v1::Cutoff { cutoff: Some(cutoff) });
        check(Some(v1::Revocation { cutoff: at(WireCutoff::Now(true)), ..bob() }), Err("the cutoff"));
        let late = "a time after the year 9999";
        check(Some(v1::Revocation { cutoff: at(WireCutoff::UnixSeconds(u64::MAX)), ..bob() }), Err(late));
        check(Some(v1::Revocation { created_unix_seconds: u64::MAX, ..bob() }), Err(late));
        check(Some(v1::Revocation { admits_from_unix_seconds: u64::MAX, ..bob() }), Err(late));
    }

    #[test]
    fn a_token_that_is_handed_back_is_not_shown() {
        check(Some(wire(WireTarget::PresentedToken("a.b.c".to_owned()))), Err("the target"));
    }

    #[test]
    fn the_end_of_a_cutoff_is_not_taken_for_its_expiry() {
        let view = |wire| View::try_from(Some(wire)).unwrap();
        let time = |seconds| UnixSeconds::new(seconds).unwrap();
        let ban = v1::Revocation { expires_at_unix_seconds: 7, ..bob() };
        assert_eq!(view(ban.clone()).expires(), Some(time(7)));
        let cutoff = Some(v1::Cutoff { cutoff: Some(WireCutoff::UnixSeconds(3)) });
        let dated = v1::Revocation { cutoff, ..ban };
        assert_eq!(view(dated.clone()).expires(), None);
        assert_eq!(view(v1::Revocation { forgotten_at_unix_seconds: 9, ..dated }).expires(), Some(time(9)));
    }
}
