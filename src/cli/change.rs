//! What all commands that change the revocations of a list have in common.

use clap::{Args, ValueEnum};

use super::format::Format;
use super::server::ServerOptions;
use crate::revocation::names::ListName;

/// The options of every command that revokes or lifts.
#[derive(Args, Clone, Debug)]
pub(super) struct ChangeOptions {
    /// List, as NAMESPACE/NAME or NAME; may be left out if there is only one
    #[arg(long, short, value_name = "LIST")]
    pub(super) list: Option<ListName>,
    /// Check everything at the server, and change nothing
    #[arg(
        long,
        value_name = "server",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "server"
    )]
    dry_run: Option<DryRun>,
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml|name|wide", hide_possible_values = true)]
    pub(super) output: Option<Format>,
    /// Where the server is.
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

/// Where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// It is no dry run
    None,
    /// At the server
    Server,
}

impl ChangeOptions {
    /// Returns `true` if nothing is to be changed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run == Some(DryRun::Server)
    }
}
