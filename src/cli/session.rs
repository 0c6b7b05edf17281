//! `rescind session`: one session.

use clap::Args;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::revoke::{IssuerOption, RevokeOptions, parse_value};
use crate::proto::v1::target::Target;

/// Revoke one session: all tokens that carry its sid
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # End one session of somebody, and leave the others
  rescind session 08a5019c-17e1-4977-8f42-65a12843ea02 --reason LostDevice

  # Only the tokens that it has been issued so far
  rescind session 08a5019c-17e1-4977-8f42-65a12843ea02 --cutoff now")]
pub(super) struct Session {
    /// The session (sid)
    #[arg(value_name = "SID", value_parser = parse_value)]
    session: String,
    /// Whose tokens.
    #[command(flatten)]
    issuer: IssuerOption,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

impl Session {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let target = Target::Session(self.session);
        self.options.revoke(self.issuer.issuer.as_deref(), target, context).await
    }
}
