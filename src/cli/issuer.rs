//! `rescind issuer`: everything of one issuer.

use clap::Args;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::revoke::{RevokeOptions, parse_value};
use crate::proto::v1::target::Target;

/// Revoke every token of an issuer; needs --cutoff or --ban
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # Refuse all tokens that an issuer has issued so far
  rescind issuer https://id.example.com --cutoff now --reason Breach

  # Cut it off
  rescind issuer https://id.example.com --ban")]
pub(super) struct Issuer {
    /// The issuer (iss), exactly as its tokens name it
    #[arg(value_name = "ISS", value_parser = parse_value)]
    issuer: String,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

impl Issuer {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        if !self.options.has_cutoff() {
            let text = "everything of an issuer is much: say --cutoff now, --cutoff TIME, or --ban";
            return Err(Failure::Usage(text.to_owned()));
        }
        self.options.revoke(Some(&self.issuer), Target::Everything(true), context).await
    }
}
