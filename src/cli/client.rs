//! `rescind client`: one app or machine client.

use clap::Args;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::revoke::{IssuerOption, RevokeOptions, parse_value};
use crate::proto::v1::target::Target;

/// Revoke the tokens that a client has been issued so far
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # An app was breached, and has new credentials since ten
  rescind client web-shop --cutoff 2026-11-21T10:00:00Z --reason Breach

  # Refuse all its tokens until that is undone
  rescind client web-shop --ban")]
pub(super) struct Client {
    /// The client (client_id, or what the list says instead)
    #[arg(value_name = "CLIENT_ID", value_parser = parse_value)]
    client: String,
    /// Whose tokens.
    #[command(flatten)]
    issuer: IssuerOption,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

impl Client {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let target = Target::Client(self.client);
        self.options.revoke(self.issuer.issuer.as_deref(), target, context).await
    }
}
