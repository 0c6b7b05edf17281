//! What `check` and `explain` ask a sidecar.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::console::{Console, printable};
use super::failure::Failure;
use super::input::TokenSource;
use super::server::{Role, Server, ServerOptions};
use super::time::{elapsed, parse_duration};
use super::view::BadAnswer;
use crate::proto::v1;
use crate::revocation::names::ListName;

/// The question.
#[derive(Args, Clone, Debug)]
pub(super) struct Question {
    /// Where the token is.
    #[command(flatten)]
    token: TokenSource,
    /// The token must also be meant for this audience
    #[arg(long, value_name = "AUD")]
    audience: Option<String>,
    /// Allow only on knowledge that is no older, e.g. 5s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Allow only on knowledge that includes this version, as revoking printed it
    #[arg(long, value_name = "VERSION")]
    min_version: Option<String>,
    /// Ask only these lists, separated by commas
    #[arg(long, value_name = "LIST,...", value_delimiter = ',')]
    lists: Vec<ListName>,
    /// Treat the token as if it came from this source: a cookie's name, or Authorization
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Where the sidecar is.
    #[command(flatten)]
    server: ServerOptions,
}

impl Question {
    /// Finds the sidecar, before anybody is asked to paste a token.
    pub(super) fn open(&self) -> Result<Server, Failure> {
        self.token.refuse_arguments()?;
        Ok(Server::open(&self.server, Role::Sidecar)?)
    }

    pub(super) fn read(&self, console: &mut Console) -> Result<v1::CheckRequest, Failure> {
        // The protocol writes "no bound" as zero, so zero can't be asked for.
        let max_age_milliseconds = match self.max_age.map(|age| u64::try_from(age.as_millis())) {
            None => 0,
            Some(Ok(0)) => return Err(Failure::Usage("--max-age must be a millisecond or more".to_owned())),
            Some(milliseconds) => milliseconds.unwrap_or(u64::MAX),
        };
        let token = self.token.read(console)?;
        Ok(v1::CheckRequest {
            token: token.expose().to_owned(),
            options: Some(v1::CheckOptions {
                audience: self.audience.clone().unwrap_or_default(),
                max_age_milliseconds,
                min_version: self.min_version.clone().unwrap_or_default(),
                lists: self.lists.iter().map(ToString::to_string).collect(),
            }),
            source: self.source.clone().unwrap_or_default(),
        })
    }
}

/// What the sidecar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Decision {
    Allow,
    Deny,
}

/// Why it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Verdict {
    Active,
    NotListed,
    Revoked,
    Unknown,
    Rejected,
}

/// A sidecar's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) decision: Decision,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    pub(super) age_milliseconds: Option<u64>,
    pub(super) version: String,
    pub(super) shadow: bool,
    pub(super) best_effort: bool,
}

impl TryFrom<v1::CheckResponse> for Answer {
    type Error = BadAnswer;

    fn try_from(wire: v1::CheckResponse) -> Result<Self, BadAnswer> {
        let decision = match wire.decision() {
            v1::Decision::Allow => Decision::Allow,
            v1::Decision::Deny => Decision::Deny,
            v1::Decision::Unspecified => return Err(BadAnswer { what: "the decision" }),
        };
        let verdict = match wire.verdict() {
            v1::VerdictKind::Active => Verdict::Active,
            v1::VerdictKind::NotListed => Verdict::NotListed,
            v1::VerdictKind::Revoked => Verdict::Revoked,
            v1::VerdictKind::Unknown => Verdict::Unknown,
            v1::VerdictKind::Rejected => Verdict::Rejected,
            v1::VerdictKind::Unspecified => return Err(BadAnswer { what: "the verdict" }),
        };
        Ok(Self {
            decision,
            verdict,
            reason: wire.reason,
            age_milliseconds: wire.age_milliseconds,
            version: wire.version,
            shadow: wire.shadow,
            best_effort: wire.best_effort,
        })
    }
}

impl Answer {
    /// Says in one line what the sidecar knows.
    pub(super) fn knowledge(&self) -> String {
        let age = match self.age_milliseconds {
            Some(age) => format!("as of {} ago", elapsed(age)),
            None => "without any proof".to_owned(),
        };
        let version = if self.version.is_empty() { "none" } else { &self.version };
        let mut text = format!("{age}, version {}", printable(version));
        for (holds, what) in [
            (self.best_effort, ", stale, but the list allows best effort"),
            (self.shadow, ", shadow mode: nothing is refused"),
        ] {
            text.push_str(if holds { what } else { "" });
        }
        text
    }

    /// Says the decision and why.
    pub(super) fn headline(&self) -> String {
        let decision = match self.decision {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
        };
        let why = match self.verdict {
            Verdict::Active => "active",
            Verdict::NotListed => "not listed",
            Verdict::Revoked => "revoked",
            Verdict::Unknown => "the sidecar can't vouch",
            Verdict::Rejected => "the token itself fails",
        };
        let reason =
            if self.reason.is_empty() { String::new() } else { format!(" {}", printable(&self.reason)) };
        format!("{decision}{reason}: {why}")
    }
}
