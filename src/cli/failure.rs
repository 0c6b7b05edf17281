//! How a command ends.

use std::process::ExitCode;

use super::cluster::ClusterError;
use super::format::OutputError;
use super::input::InputError;
use super::server::{CallError, OpenError};
use super::view::BadAnswer;

/// How a command ended, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; enforced; allowed.
    Done,
    /// 1: refused, failed, or used wrongly; denied.
    Failed,
    /// 2: accepted but not known to be enforced; nobody could vouch.
    Pending,
}

impl Exit {
    /// Returns the exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Pending => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Says why a command failed. It is written to standard error after `error: `, and the exit code is 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments can be parsed, but make no sense together.
    #[error("{0}")]
    Usage(String),
    /// There is no token to work with.
    #[error(transparent)]
    Input(#[from] InputError),
    /// There is no server to call.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The call failed.
    #[error("{}{}", .0, and(.0.next_step()))]
    Call(#[from] CallError),
    /// The cluster did not do it.
    #[error("{}{}", .0, and(.0.next_step()))]
    Cluster(#[from] ClusterError),
    /// A revocation was sent, and no answer came.
    #[error("{error}; whether the revocation was stored is not known: {next_step}")]
    Unsettled {
        /// What happened.
        error: CallError,
        /// What to do.
        next_step: &'static str,
    },
    /// The answer can't be read.
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    /// The output can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Anything else, with its causes.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

fn and(next_step: Option<&str>) -> String {
    next_step.map(|step| format!("; {step}")).unwrap_or_default()
}
