//! The audit log: one line per act of revoking, lifting or forgetting, with who, what, when, why and the outcome.
//!
//! What was revoked is told by its key, the hash under the list's own secret: whoever knows a value and the secret
//! finds its lines, and nobody else learns a value. Neither a refusal's words are told, which may quote the caller's,
//! nor the message of a revocation, which is for people.

use std::sync::Arc;

use http::Extensions;
use serde::Serialize;
use tonic::{Code, Status};

use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::revocation::selector::Target;
use crate::runtime::clock::Clock;
use crate::runtime::line_log::LineLog;
use crate::runtime::listen::Peer;
use crate::store::Revocation;

use super::access::Caller;

/// What all lines bear, as those of other logs do.
pub const TARGET: &str = "rescind::audit";

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// Somebody has revoked.
    Revoke,
    /// Somebody has lifted.
    Lift,
    /// No token was left to deny.
    Expire,
}

/// How it came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// By the admin API.
    AdminApi,
    /// By an object of the cluster, as the watch has shown it.
    Object,
    /// By the controller itself.
    Expiry,
}

/// Takes acts, and makes lines of them. Clones share the log.
#[derive(Clone)]
pub struct Audit {
    lines: LineLog,
    clock: Arc<dyn Clock>,
}

/// What is told of one act. A field without a value is left out.
#[derive(Debug, Serialize)]
pub struct Told {
    timestamp: String,
    level: &'static str,
    target: &'static str,
    message: &'static str,
    act: Deed,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The program that has written the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<String>,
    via: Via,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When the store took the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

impl Told {
    /// Names the list.
    pub fn list(&mut self, list: &ListName) {
        self.list = Some(list.to_string());
    }

    /// Names the selector; it may be known where nothing else is.
    pub fn kind(&mut self, kind: &str) {
        self.kind = Some(kind.to_owned());
    }

    /// Tells what is revoked, without its value.
    pub fn about(&mut self, target: &Target, hash_key: Option<&HashKey>) {
        self.issuer = Some(target.issuer.clone());
        self.kind(target.selection.name());
        self.key = hash_key.map(|hash_key| {
            let key = hash_key.target_key(target).to_bytes();
            key.iter().map(|byte| format!("{byte:02x}")).collect()
        });
    }

    /// Tells of a revocation that the store holds, or held.
    pub fn revocation(&mut self, revocation: &Revocation, hash_key: Option<&HashKey>) {
        self.list(&revocation.list);
        self.about(&revocation.spec.target, hash_key);
        self.named(&revocation.id.to_string(), &revocation.name);
        self.reason(revocation.reason.as_deref());
        self.created = Some(crate::api::target::write_time(revocation.created));
    }

    /// Names the revocation.
    pub fn named(&mut self, id: &str, name: &str) {
        self.id = Some(id.to_owned());
        self.name = Some(name.to_owned());
    }

    /// Says why, in the one word that the revocation has for it.
    pub fn reason(&mut self, reason: Option<&str>) {
        self.reason = reason.map(ToOwned::to_owned);
    }

    /// Names the program that has written the object.
    pub fn manager(&mut self, manager: Option<String>) {
        self.manager = manager;
    }

    /// Names the version of the step.
    pub fn version(&mut self, version: &str) {
        self.version = Some(version.to_owned());
    }

    /// Says that the store holds it and it has no effect.
    pub fn refused(&mut self, cause: &'static str) {
        (self.outcome, self.cause) = ("refused", Some(cause));
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Audit {
    /// Makes an audit log over a log of lines.
    #[must_use]
    pub fn new(lines: LineLog, clock: Arc<dyn Clock>) -> Self {
        Self { lines, clock }
    }

    /// Begins to tell of something that is done.
    #[must_use]
    pub fn told(&self, act: Deed, via: Via, who: String) -> Told {
        Told {
            timestamp: self.now(),
            level: "INFO",
            target: TARGET,
            message: match act {
                Deed::Revoke => "revoked",
                Deed::Lift => "lifted",
                Deed::Expire => "expired",
            },
            act,
            outcome: "accepted",
            cause: None,
            who,
            from: None,
            manager: None,
            via,
            list: None,
            issuer: None,
            kind: None,
            key: None,
            id: None,
            name: None,
            reason: None,
            created: None,
            version: None,
        }
    }

    /// Begins to tell of a request to the admin API.
    pub fn request(&self, act: Deed, extensions: &Extensions) -> Request {
        let peer = extensions.get::<Peer>();
        let (who, from) = match (extensions.get::<Caller>(), peer) {
            (Some(caller), peer) => (caller.name.clone(), peer.map(ToString::to_string)),
            (None, Some(peer)) => (peer.to_string(), None),
            (None, None) => ("unknown".to_owned(), None),
        };
        let told = Told { from, ..self.told(act, Via::AdminApi, who) };
        Request { lines: self.lines.clone(), told: Some(told) }
    }

    /// Takes what was told of many acts, and waits a while for room.
    pub async fn write_all(&self, told: Vec<Told>) {
        self.lines.write_all(told.iter().map(Told::line)).await;
    }

    fn now(&self) -> String {
        time(&*self.clock)
    }
}

fn time(clock: &dyn Clock) -> String {
    let nanos = i128::from(clock.now().wall_nanos);
    jiff::Timestamp::from_nanosecond(nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Returns what writes the line that says how many are missing.
pub(super) fn lost(clock: Arc<dyn Clock>) -> impl Fn(u64) -> String + Send {
    move |lost| {
        let line = serde_json::json!({
            "timestamp": time(&*clock), "level": "ERROR", "target": TARGET, "message": "lines were lost", "lost": lost,
        });
        line.to_string()
    }
}

/// A request whose outcome is not known yet. If it is given up, its line says so.
#[must_use]
pub struct Request {
    lines: LineLog,
    told: Option<Told>,
}

impl Request {
    /// Adds to what is told.
    pub fn tell(&mut self, tell: impl FnOnce(&mut Told)) {
        if let Some(told) = &mut self.told {
            tell(told);
        }
    }

    /// Tells nothing: it was to change nothing.
    pub fn was_a_try(mut self) {
        self.told = None;
    }

    /// Writes the line.
    pub fn ended<T>(mut self, answer: &Result<T, Status>) {
        self.write(answer.as_ref().map(|_| ()).map_err(Status::code));
    }

    fn write(&mut self, answer: Result<(), Code>) {
        let Some(mut told) = self.told.take() else { return };
        if let Err(code) = answer {
            // Whether the step is in the log is not known after these.
            let undecided = [Code::Unavailable, Code::Internal, Code::Unknown, Code::DeadlineExceeded];
            let undecided = undecided.contains(&code) || code == Code::Cancelled;
            told.outcome = if undecided { "unknown" } else { "refused" };
            told.message = match told.act {
                Deed::Revoke => "revoking did not succeed",
                Deed::Lift | Deed::Expire => "lifting did not succeed",
            };
            told.cause = Some(name_of(code));
        }
        self.lines.write(told.line());
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // The caller has gone before there was an answer.
        self.write(Err(Code::Cancelled));
    }
}

/// As the specification of gRPC writes them.
const fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Names who is at the other end of what the controller does by itself.
pub const ITSELF: &str = "rescind-controller";
/// Who has written an object is not known here.
pub const UNKNOWN: &str = "unknown: see the API server's audit log";

/// An audit log whose lines a test reads.
#[cfg(test)]
pub(crate) fn silent() -> Audit {
    let place = crate::runtime::line_log::Place::StandardError;
    // Nobody writes them.
    let (lines, _) = crate::runtime::line_log::open(place).unwrap();
    Audit::new(lines, Arc::new(crate::runtime::clock::SystemClock))
}
