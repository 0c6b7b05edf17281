//! What went wrong with a cluster, from the point of view of the person who ran the command.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy;
use kube::client::AuthError;
use kube::core::Status;

use super::super::time;
use super::{LISTS, PROXY, REVOCATIONS};
use crate::api::API_VERSION;

/// Says why a cluster did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nothing says which cluster.
    #[error(
        "there is no kubeconfig: write ~/.kube/config, or name a file with --kubeconfig or in KUBECONFIG; \
         to speak to a controller without a cluster (as `rescind dev` is), give --server or RESCIND_SERVER"
    )]
    NoKubeconfig,
    /// It can't be read, or makes no sense.
    #[error("the kubeconfig can't be used: {0}; mend it, or name another with --kubeconfig or in KUBECONFIG")]
    Kubeconfig(String),
    /// It has no such context.
    #[error("{problem}; {}", choices(known))]
    NoContext {
        /// What is missing.
        problem: String,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// No connection: nothing was asked.
    #[error(
        "can't reach the cluster at {url}: {why}; check that it runs, and that the kubeconfig's context \
         (--context) is the right one; or give --server, for a controller without a cluster"
    )]
    Unreachable {
        /// The API server.
        url: String,
        /// What the operating system said.
        why: String,
    },
    /// No credentials: nothing was asked.
    #[error("can't log in to the cluster at {url}: {why}")]
    Login {
        /// The API server.
        url: String,
        /// What the library said.
        why: String,
    },
    /// The connection was lost; whether the call had an effect is not known.
    #[error("the connection to the cluster at {url} broke before the answer came: {why}")]
    Broken {
        /// The API server.
        url: String,
        /// What the library said.
        why: String,
    },
    /// No answer came in time; whether the call had an effect is not known.
    #[error("the cluster at {url} did not answer within {}", time::duration(*within))]
    NoAnswer {
        /// The API server.
        url: String,
        /// How long that is.
        within: Duration,
    },
    /// The API server failed; whether the call had an effect is not known.
    #[error("the cluster at {url} failed: {why}")]
    Failed {
        /// The API server.
        url: String,
        /// What it said.
        why: String,
    },
    /// A revocation was sent several times, and no answer came.
    #[error(
        "{error}; whether the revocation was stored is not known: repeat the command with --name {name}, \
         or see `rescind list`"
    )]
    Unsettled {
        /// What happened.
        error: Box<ClusterError>,
        /// The name that it has if it was stored.
        name: String,
    },
    /// The API server asks for patience. The call had no effect.
    #[error("the cluster at {url} can't serve now: {why}")]
    Busy {
        /// The API server.
        url: String,
        /// What it said.
        why: String,
    },
    /// It does not know who is asking.
    #[error(
        "the cluster at {url} does not know who you are: {why}; log in again, or choose another --context"
    )]
    Unauthenticated {
        /// The API server.
        url: String,
        /// What it said.
        why: String,
    },
    /// A permission is missing, or a policy or a quota stands in the way.
    #[error("you may not do this: {why}; it takes {wanted}{}", wanted.advice())]
    Forbidden {
        /// What the API server said.
        why: String,
        /// What it takes.
        wanted: Wanted,
    },
    /// A policy or a quota stands in the way: no role helps, but what is asked for, or where.
    #[error("the cluster does not allow this: {0}")]
    Denied(String),
    /// The CRDs are missing.
    #[error(
        "the cluster at {url} does not know the objects of {API_VERSION}: apply crds/ first \
         (kubectl apply --server-side -f crds/), or choose another --context"
    )]
    NoKinds {
        /// The API server.
        url: String,
    },
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// The API server has forgotten the revision that was asked for.
    #[error("{0}")]
    Gone(String),
    /// There is another object of this name, or the object is not what it was.
    #[error("{0}")]
    Conflict(String),
    /// The object makes no sense to the API server: one sentence per line.
    #[error("the cluster refuses it:\n  {}", .0.join("\n  "))]
    Invalid(Vec<String>),
    /// Refused, here or there.
    #[error("{0}")]
    Refused(String),
    /// What came back is not understood.
    #[error(
        "the cluster's answer is not understood: {0}; its objects may be of another version than this command"
    )]
    Answer(String),
}

fn choices(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

/// What a call wants to do: which permission it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The verb.
    pub verb: &'static str,
    /// What it is done to.
    pub resource: &'static str,
    /// Where; everywhere if there is none.
    pub namespace: Option<String>,
}

impl Wanted {
    pub(in super::super) fn new(verb: &'static str, resource: &'static str, namespace: Option<&str>) -> Self {
        Self { verb, resource, namespace: namespace.map(ToOwned::to_owned) }
    }

    /// Says which role gives it, and how.
    pub(super) fn advice(&self) -> String {
        let ours = match (self.resource, self.verb) {
            (REVOCATIONS, _) | (LISTS, "get" | "list" | "watch") => Some("rescind-revoker"),
            (PROXY, "get") => Some("rescind-sidecar-reader"),
            _ => None,
        };
        let role = ours.unwrap_or("ROLE");
        let command = match &self.namespace {
            Some(namespace) => {
                format!("kubectl create rolebinding NAME --clusterrole={role} --user=YOU -n {namespace}")
            }
            None => format!("kubectl create clusterrolebinding NAME --clusterrole={role} --user=YOU"),
        };
        match ours {
            Some(role) => {
                format!(", which the ClusterRole {role} gives; an administrator grants it: {command}")
            }
            None => format!(", which a role gives; an administrator grants it: {command}"),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, namespace } = self;
        write!(f, "the verb {verb} on {resource}")?;
        match namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in all namespaces"),
        }
    }
}

impl ClusterError {
    pub(super) fn new(url: &str, wanted: &Wanted, error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::of_status(url, wanted, status);
        }
        if let kube::Error::SerdeError(error) = error {
            return Self::Answer(error.to_string());
        }
        let chain =
            || std::iter::successors(Some(error as &(dyn Error + 'static)), |error| (**error).source());
        let url = url.to_owned();
        let why = chain().last().map(ToString::to_string).unwrap_or_default();
        if chain().any(|error| error.is::<AuthError>()) {
            return Self::Login { url, why };
        }
        let is_unconnected = |error: &(dyn Error + 'static)| {
            error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
        };
        if !chain().any(is_unconnected) {
            return Self::Broken { url, why };
        }
        let system = chain().filter_map(|error| error.downcast_ref::<io::Error>()).last();
        let why = match system.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => "nothing listens there".to_owned(),
            Some(io::ErrorKind::TimedOut) => "no connection in time".to_owned(),
            _ => why,
        };
        Self::Unreachable { url, why }
    }

    fn of_status(url: &str, wanted: &Wanted, status: &Status) -> Self {
        let url = url.to_owned();
        let why = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
        // A path that the API server does not have is answered without a word about any object.
        let names_an_object = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        match status.code {
            401 => Self::Unauthenticated { url, why },
            // Permissions are denied in these words; everything else is a matter of policies and quotas.
            403 if why.contains(" cannot ") => Self::Forbidden { why, wanted: wanted.clone() },
            403 => Self::Denied(why),
            404 if names_an_object => Self::NotFound(why),
            404 => Self::NoKinds { url },
            409 => Self::Conflict(why),
            410 => Self::Gone(why),
            422 => Self::Invalid(sentences(status)),
            429 => Self::Busy { url, why },
            500..=599 => Self::Failed { url, why },
            _ => Self::Refused(why),
        }
    }

    /// Returns what to do, where the sentence does not say it: it may be a part of another, which says more.
    pub(in super::super) const fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Login { .. } => Some(
                "log in again, as for kubectl (`kubectl auth whoami` tries it), or choose another --context",
            ),
            Self::Broken { .. } | Self::NoAnswer { .. } | Self::Failed { .. } => Some(
                "try again; if it stays so, see how the API server is: `kubectl get --raw /readyz?verbose`",
            ),
            Self::Busy { .. } => {
                Some("try again in a moment; if it stays so, see what else asks so much of the API server")
            }
            Self::NoKubeconfig
            | Self::Kubeconfig(_)
            | Self::NoContext { .. }
            | Self::Unreachable { .. }
            | Self::Unsettled { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::Denied(_)
            | Self::NoKinds { .. }
            | Self::NotFound(_)
            | Self::Gone(_)
            | Self::Conflict(_)
            | Self::Invalid(_)
            | Self::Refused(_)
            | Self::Answer(_) => None,
        }
    }

    /// Returns `true` if the call may have had an effect although no answer came.
    pub(in super::super) const fn is_unsettled(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::NoAnswer { .. } | Self::Failed { .. })
    }

    /// Returns `true` if the same call may well succeed a little later.
    pub(in super::super) const fn is_passing(&self) -> bool {
        self.is_unsettled() || matches!(self, Self::Busy { .. } | Self::Unreachable { .. })
    }
}

/// The causes that the API server gives, each with its field.
fn sentences(status: &Status) -> Vec<String> {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    if causes.is_empty() {
        return vec![status.message.clone()];
    }
    let sentence = |cause: &kube::core::response::StatusCause| {
        // What the schema's rules say is a sentence; the value in front of it is that of a whole object.
        let text = cause.message.strip_prefix("Invalid value: \"object\": ").unwrap_or(&cause.message);
        if cause.field.is_empty() { text.to_owned() } else { format!("{}: {text}", cause.field) }
    };
    let mut sentences: Vec<String> = causes.iter().map(sentence).collect();
    sentences.dedup();
    sentences
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    const URL: &str = "https://api.example.com";

    fn wanted() -> Wanted {
        Wanted::new("create", REVOCATIONS, Some("shop"))
    }

    fn check(code: u16, message: &str, details: Option<StatusDetails>, expected: &str) {
        let mut status = Status::failure(message, "Reason").with_code(code);
        status.details = details;
        let error = ClusterError::new(URL, &wanted(), &kube::Error::Api(Box::new(status)));
        assert_eq!(error.to_string(), expected);
    }

    fn named(name: &str, causes: &[(&str, &str)]) -> Option<StatusDetails> {
        let cause = |(field, message): &(&str, &str)| StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: (*message).to_owned(),
            field: (*field).to_owned(),
        };
        Some(StatusDetails {
            name: name.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: causes.iter().map(cause).collect(),
            retry_after_seconds: 0,
        })
    }

    #[test]
    fn a_refusal_says_what_is_missing_and_what_to_do() {
        check(
            403,
            "bob cannot create revocations",
            None,
            "you may not do this: bob cannot create revocations; it takes the verb create on \
             revocations.rescind.dev in namespace shop, which the ClusterRole rescind-revoker gives; \
             an administrator grants it: \
             kubectl create rolebinding NAME --clusterrole=rescind-revoker --user=YOU -n shop",
        );
        check(
            403,
            "revocations.rescind.dev \"r-1\" is forbidden: exceeded quota: revocations",
            None,
            "the cluster does not allow this: \
             revocations.rescind.dev \"r-1\" is forbidden: exceeded quota: revocations",
        );
        check(
            401,
            "Unauthorized",
            None,
            "the cluster at https://api.example.com does not know who you are: Unauthorized; \
             log in again, or choose another --context",
        );
        check(
            404,
            "404 page not found",
            None,
            "the cluster at https://api.example.com does not know the objects of rescind.dev/v1alpha1: \
             apply crds/ first (kubectl apply --server-side -f crds/), or choose another --context",
        );
        check(404, "revocations \"r-1\" not found", named("r-1", &[]), "revocations \"r-1\" not found");
        check(503, "etcd is away", None, "the cluster at https://api.example.com failed: etcd is away");
    }

    #[test]
    fn what_the_schema_refuses_is_told_line_by_line() {
        let causes = [
            ("spec", "Invalid value: \"object\": a revocation of everything needs a cutoff"),
            ("spec.reason", "Invalid value: \"x\": should match '^[A-Z]'"),
        ];
        check(
            422,
            "Revocation \"r-1\" is invalid: ...",
            named("r-1", &causes),
            "the cluster refuses it:\n  spec: a revocation of everything needs a cutoff\n  \
             spec.reason: Invalid value: \"x\": should match '^[A-Z]'",
        );
        check(422, "it is invalid", None, "the cluster refuses it:\n  it is invalid");
    }

    #[test]
    fn only_an_answer_settles_whether_a_call_had_an_effect() {
        let of = |code: u16| {
            let status = Status::failure("x", "X").with_code(code);
            ClusterError::new(URL, &wanted(), &kube::Error::Api(Box::new(status)))
        };
        let check = |code, unsettled, passing| {
            assert_eq!((of(code).is_unsettled(), of(code).is_passing()), (unsettled, passing), "{code}");
        };
        check(403, false, false);
        check(409, false, false);
        check(422, false, false);
        check(429, false, true);
        check(500, true, true);
        check(504, true, true);
    }
}
