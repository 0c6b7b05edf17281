//! What went wrong with a call, from the point of view of the person who made it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tonic::{Code, ConnectError, Status};

use super::super::time;
use super::{Role, ServerAddress};

/// Says why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection: nothing was asked.
    #[error("can't reach {server}: {why}; {next_step}")]
    Unreachable {
        /// The address.
        server: ServerAddress,
        /// What the operating system said.
        why: String,
        /// What usually helps.
        next_step: String,
    },
    /// The connection was lost; whether the call had an effect is not known.
    #[error("the connection to {server} broke before the answer came: {why}")]
    Broken {
        /// The address.
        server: ServerAddress,
        /// What the library said.
        why: String,
    },
    /// No answer came in time; whether the call had an effect is not known.
    #[error("{server} did not answer within {}", time::duration(*within))]
    NoAnswer {
        /// The address.
        server: ServerAddress,
        /// How long that is.
        within: Duration,
    },
    /// The server is there, but can't serve now. The call had no effect.
    #[error("{server} can't serve now: {why}")]
    Unavailable {
        /// The address.
        server: ServerAddress,
        /// What it said.
        why: String,
    },
    /// The server refused.
    #[error("{0}")]
    Refused(String),
}

impl CallError {
    pub(super) fn new(server: &ServerAddress, role: Role, status: &Status) -> Self {
        if let Some(source) = status.source() {
            return Self::of_transport(server, role, source);
        }
        let why = if status.message().is_empty() { status.code().description() } else { status.message() };
        let refused = |text: String| Self::Refused(text);
        match status.code() {
            Code::Unavailable => Self::Unavailable { server: server.clone(), why: why.to_owned() },
            Code::Unimplemented => refused(format!(
                "{server} does not serve this: {}",
                match role {
                    Role::Controller =>
                        "--server must be the admin address of a controller (a sidecar's is for check and explain)",
                    Role::Sidecar =>
                        "--server must be the check address of a sidecar (a controller's is for everything else)",
                }
            )),
            Code::Unauthenticated => refused(format!(
                "{server} does not know who you are: {why}; give --bearer-file, or --cert and --key"
            )),
            Code::PermissionDenied => refused(format!("you may not do this: {why}")),
            Code::Internal | Code::Unknown | Code::DataLoss => refused(format!("{server} failed: {why}")),
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange => refused(why.to_owned()),
        }
    }

    fn of_transport(server: &ServerAddress, role: Role, source: &(dyn Error + 'static)) -> Self {
        let chain = || std::iter::successors(Some(source), |error| (**error).source());
        let why = chain().last().unwrap_or(source).to_string();
        let server = server.clone();
        if !chain().any(|error| error.is::<ConnectError>()) {
            return Self::Broken { server, why };
        }
        let system = chain().find_map(|error| error.downcast_ref::<io::Error>());
        let (why, next_step) = advice(&server, role, system.map(io::Error::kind), why);
        Self::Unreachable { server, why, next_step }
    }

    /// Returns what to do, where the sentence does not say it: it may be a part of another, which says more.
    pub(in super::super) const fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Broken { .. } | Self::NoAnswer { .. } => Some(
                "try again; if it stays so, look at the server's log, and whether --server is its address",
            ),
            Self::Unavailable { .. } => {
                Some("try again in a moment; if it stays so, look at the server's log")
            }
            Self::Unreachable { .. } | Self::Refused(_) => None,
        }
    }

    /// Returns `true` if the call may have had an effect although no answer came.
    pub(in super::super) const fn is_unsettled(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::NoAnswer { .. })
    }

    /// Returns `true` if the same call may well succeed a little later.
    pub(in super::super) const fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Returns what happened, and the next step.
fn advice(server: &ServerAddress, role: Role, kind: Option<ErrorKind>, why: String) -> (String, String) {
    let start = match role {
        Role::Controller => "start `rescind dev`, or give the address of a controller with --server",
        Role::Sidecar => {
            "give the address of a sidecar with --server: in a pod it listens at /run/rescind/check.sock, in the \
             containers that mount it; to try things out, start `rescind dev`"
        }
    };
    let start = start.to_owned();
    match (server, kind) {
        (ServerAddress::Unix(_), Some(ErrorKind::NotFound)) => ("there is no such socket".to_owned(), start),
        (ServerAddress::Unix(_), Some(ErrorKind::ConnectionRefused)) => {
            ("nothing listens on the socket any more".to_owned(), start)
        }
        (_, Some(ErrorKind::ConnectionRefused)) => ("nothing listens there".to_owned(), start),
        (_, Some(ErrorKind::PermissionDenied)) => {
            let step = "run this as the user that the server runs as, or who may use the socket";
            ("permission denied".to_owned(), step.to_owned())
        }
        (ServerAddress::Tls(_), _) => {
            (why, "check the address, and that --ca is the authority of the server".to_owned())
        }
        _ => (why, start),
    }
}
