//! `rescind key`: one signing key.

use clap::Args;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::revoke::{IssuerOption, RevokeOptions, parse_value};
use crate::proto::v1::target::Target;

/// Revoke the tokens that a key has signed
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # A signing key has leaked
  rescind key k1 --reason KeyLeaked

  # Only what it signed up to a moment
  rescind key k1 --cutoff 2026-11-21T10:00:00Z")]
pub(super) struct Key {
    /// The key: its configured kid, or its RFC 7638 thumbprint
    #[arg(value_name = "KID", value_parser = parse_value)]
    key: String,
    /// Whose tokens.
    #[command(flatten)]
    issuer: IssuerOption,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

impl Key {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let target = Target::Key(self.key);
        self.options.revoke(self.issuer.issuer.as_deref(), target, context).await
    }
}
