//! `rescind token`: one token.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use clap::Args;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::input::TokenSource;
use super::revoke::{IssuerOption, RevokeOptions, parse_value};
use crate::proto::v1::target::Target;
use crate::revocation::claims::ClaimValue;
use crate::token::jws::Jws;

/// Revoke one token, read from standard input or a file
#[derive(Args, Clone, Debug)]
#[command(after_help = "The token is never given on the command line, where others can see it.

Examples:
  # A signed token; its signature is verified before it is revoked
  rescind token --reason Stolen < token.txt

  # By its jti, as it stands in a log
  rescind token --jti 6f0c1f9e --issuer https://id.example.com

  # An opaque token or session id; only its SHA-256 leaves this machine
  rescind token --opaque --issuer https://id.example.com --file session.txt")]
pub(super) struct Token {
    /// Where the token is.
    #[command(flatten)]
    source: TokenSource,
    /// The token's jti, instead of the token
    #[arg(long, value_name = "JTI", value_parser = parse_value, conflicts_with_all = ["file", "opaque"])]
    jti: Option<String>,
    /// What is read is an opaque token or session id, not a signed token
    #[arg(long)]
    opaque: bool,
    /// Whose tokens.
    #[command(flatten)]
    issuer: IssuerOption,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

impl Token {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let (issuer, target) = match self.jti {
            Some(jti) => {
                self.source.refuse_arguments()?;
                (None, Target::Token(jti))
            }
            None if self.opaque => {
                let secret = self.source.read(context.console)?;
                let hash = digest(&SHA256, secret.expose().as_bytes());
                (None, Target::OpaqueSha256(Bytes::copy_from_slice(hash.as_ref())))
            }
            None => {
                let secret = self.source.read(context.console)?;
                (Some(issuer(secret.expose())?), Target::PresentedToken(secret.expose().to_owned()))
            }
        };
        let issuer = self.issuer.issuer.or(issuer);
        self.options.revoke(issuer.as_deref(), target, context).await
    }
}

/// Returns the issuer that the token claims; the server verifies with that issuer's keys.
fn issuer(token: &str) -> Result<String, Failure> {
    let problem = || {
        let text = "what was read is no signed token (a compact JWS with an iss): \
                    for an opaque token or a session id, say --opaque";
        Failure::Usage(text.to_owned())
    };
    let token = Jws::parse(token).map_err(|_| problem())?;
    match token.claims.get("iss") {
        Some(ClaimValue::String(issuer)) => Ok(issuer.clone()),
        _ => Err(problem()),
    }
}
