//! What all commands that change the revocations of a list have in common.

use clap::Args;

use super::backend::{BackendOptions, DryRun, ListReference};
use super::format::Format;

/// The options of every command that revokes or lifts.
#[derive(Args, Clone, Debug)]
pub(super) struct ChangeOptions {
    /// List, as NAMESPACE/NAME or NAME; may be left out if there is only one (in a cluster: in the namespace)
    #[arg(long, short, value_name = "LIST")]
    pub(super) list: Option<ListReference>,
    /// Change nothing: check everything at the server, or show what would be sent to a cluster (client)
    #[arg(
        long,
        value_name = "client|server",
        hide_possible_values = true,
        hide_default_value = true,
        num_args = 0..=1,
        require_equals = true,
        default_value = "none",
        default_missing_value = "server"
    )]
    pub(super) dry_run: DryRun,
    /// Format of the answer
    #[arg(long, short, value_name = "json|yaml|name|wide", hide_possible_values = true)]
    pub(super) output: Option<Format>,
    /// Where revocations are kept.
    #[command(flatten)]
    pub(super) backend: BackendOptions,
}

impl ChangeOptions {
    /// Returns `true` if nothing is to be changed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run != DryRun::None
    }
}
