//! `rescind subject`: one user, everywhere.

use clap::Args;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::revoke::{IssuerOption, RevokeOptions, parse_value};
use crate::proto::v1::target::Target;

/// Revoke the tokens that a subject has been issued so far
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # Log alice out everywhere; tokens issued from now on pass
  rescind subject alice --reason LostDevice

  # Refuse her later tokens, too, for a day
  rescind subject alice --ban --for 24h --reason Abuse

  # Reach tokens that are renewed within an old session, too
  rescind subject alice --compare-with session-start

  # In the namespace shop of another cluster than the kubeconfig's current one
  rescind subject alice --context production -n shop

  # Write the object, and let somebody else apply it
  rescind subject alice --dry-run=client > revocation.yaml")]
pub(super) struct Subject {
    /// The subject (sub)
    #[arg(value_name = "SUB", value_parser = parse_value)]
    subject: String,
    /// Whose tokens.
    #[command(flatten)]
    issuer: IssuerOption,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

impl Subject {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let target = Target::Subject(self.subject);
        self.options.revoke(self.issuer.issuer.as_deref(), target, context).await
    }
}
