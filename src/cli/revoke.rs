//! What all revoking commands have in common: the options, the call, and waiting.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::backend::Revoked;
use super::change::ChangeOptions;
use super::console::{Console, Tone};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Format;
use super::time::{self, CutoffArgument, parse_cutoff, parse_duration, parse_time};
use super::wait::{Waited, describe, until_enforced};
use crate::api::target::{notes, typed};
use crate::proto::v1;
use crate::proto::v1::cutoff::Cutoff;
use crate::proto::v1::target::Target;
use crate::revocation::time::UnixSeconds;

mod report;

/// The options of every revoking command but the issuer, which one of them takes as its argument.
#[derive(Args, Clone, Debug)]
pub(super) struct RevokeOptions {
    /// Why, in one CamelCase word, e.g. LostDevice
    #[arg(long, value_name = "WORD", value_parser = parse_reason)]
    reason: Option<String>,
    /// Why, for people; never a token or a secret
    #[arg(long, value_name = "TEXT", value_parser = parse_message)]
    message: Option<String>,
    /// Refuse tokens issued up to this time (inclusive), or Always for later ones too
    #[arg(long, value_name = "TIME|now|Always", value_parser = parse_cutoff, conflicts_with = "ban")]
    cutoff: Option<CutoffArgument>,
    /// Refuse tokens issued later, too: the same as --cutoff Always
    #[arg(long)]
    ban: bool,
    /// How long a ban lasts, e.g. 30m, 12h or 7d; without it, until it is undone
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, requires = "ban")]
    ban_for: Option<Duration>,
    /// When a ban ends
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "ban", conflicts_with = "ban_for")]
    until: Option<UnixSeconds>,
    /// What the cutoff is compared with; session-start catches renewed tokens too
    #[arg(
        long,
        value_name = "issue-time|session-start",
        hide_possible_values = true,
        conflicts_with = "ban"
    )]
    compare_with: Option<CompareWithArgument>,
    /// Name of the revocation; the same command can then be repeated safely (with --until, not --for)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Wait until every sidecar has applied it
    #[arg(
        long,
        value_name = "true|false",
        hide_possible_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    timeout: Duration,
    /// What every change has.
    #[command(flatten)]
    change: ChangeOptions,
}

/// The issuer of the tokens.
#[derive(Args, Clone, Debug)]
pub(super) struct IssuerOption {
    /// Issuer (iss) of the tokens, exactly as they name it; may be left out if the list has only one
    #[arg(long, short, value_name = "ISS")]
    pub(super) issuer: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompareWithArgument {
    /// When the token was issued
    IssueTime,
    /// When its session began
    SessionStart,
}

fn parse_reason(text: &str) -> Result<String, String> {
    notes(Some(text), None).map(|()| text.to_owned()).map_err(|error| error.problem)
}

fn parse_message(text: &str) -> Result<String, String> {
    notes(None, Some(text)).map(|()| text.to_owned()).map_err(|error| error.problem)
}

impl RevokeOptions {
    /// Returns `true` if the user chose which tokens are reached.
    pub(super) const fn has_cutoff(&self) -> bool {
        self.cutoff.is_some() || self.ban
    }

    fn cutoff(&self) -> Option<v1::Cutoff> {
        let cutoff = match self.cutoff {
            _ if self.ban => Cutoff::Always(true),
            Some(CutoffArgument::Always) => Cutoff::Always(true),
            Some(CutoffArgument::Now) => Cutoff::Now(true),
            Some(CutoffArgument::At(time)) => Cutoff::UnixSeconds(time.get()),
            None => return None,
        };
        Some(v1::Cutoff { cutoff: Some(cutoff) })
    }

    /// Returns the end of a ban, as seconds since 1970; zero is none.
    fn end(&self, now: UnixSeconds) -> Result<u64, Failure> {
        match (self.until, self.ban_for) {
            (Some(time), _) if time <= now => {
                Err(Failure::Usage("--until lies in the past: the ban would be over at once".to_owned()))
            }
            (Some(time), _) => Ok(time.get()),
            (None, Some(duration)) if duration.as_secs() == 0 => {
                Err(Failure::Usage("--for must be a second or more".to_owned()))
            }
            (None, Some(duration)) => Ok(now.saturating_add(duration.as_secs()).get()),
            (None, None) => Ok(0),
        }
    }

    fn request(
        &self,
        issuer: Option<&str>,
        target: Target,
        now: UnixSeconds,
    ) -> Result<v1::RevokeRequest, Failure> {
        let compare_with = match self.compare_with {
            None => v1::CompareWith::Unspecified,
            Some(CompareWithArgument::IssueTime) => v1::CompareWith::IssueTime,
            Some(CompareWithArgument::SessionStart) => v1::CompareWith::SessionStart,
        };
        Ok(v1::RevokeRequest {
            issuer: issuer.unwrap_or_default().to_owned(),
            target: Some(v1::Target { target: Some(target) }),
            cutoff: self.cutoff(),
            compare_with: compare_with.into(),
            expires_at_unix_seconds: self.end(now)?,
            reason: self.reason.clone().unwrap_or_default(),
            message: self.message.clone().unwrap_or_default(),
            name: self.name.clone().unwrap_or_default(),
            ..v1::RevokeRequest::default()
        })
    }

    /// Revokes a target.
    ///
    /// # Errors
    /// [`Failure`] unless it was acknowledged. What comes after the acknowledgement is no error, but told by the
    /// exit.
    pub(super) async fn revoke(
        &self,
        issuer: Option<&str>,
        target: Target,
        context: &mut Context<'_>,
    ) -> Result<Exit, Failure> {
        let request = self.request(issuer, target, context.now())?;
        let now = context.clock.now();
        let console = &mut *context.console;
        let change = &self.change;
        let backend = change.backend.open().await?;
        let revoked = backend.revoke(change.list.as_ref(), request, change.dry_run, now).await;
        let (view, warnings) = match revoked.map_err(|error| self.unsettled(error))? {
            Revoked::Stored { view, warnings } => (view, warnings),
            Revoked::Planned { object, warnings } => {
                warn(&warnings, console);
                report::planned(&object, change.output, console)?;
                return Ok(Exit::Done);
            }
        };
        warn(&warnings, console);
        let participle = backend.participle();
        if change.output.is_none_or(|format| format == Format::Wide) {
            report::accepted(&view, participle, change.is_dry_run(), change.output, console)?;
        }
        let outcome = match self.wait && !change.is_dry_run() {
            true => Some(until_enforced(backend.reports(&view), self.timeout, console).await),
            false => None,
        };
        report::conclude(&view, &warnings, outcome.as_ref(), change.output, console)?;
        Ok(self.exit(&view.name, participle, outcome.map(|outcome| outcome.waited), console))
    }

    fn unsettled(&self, failure: Failure) -> Failure {
        if let Failure::Call(error) = &failure
            && error.is_unsettled()
            && !self.change.is_dry_run()
        {
            let next_step = match self.name {
                Some(_) => "repeat the command with the same --name",
                None => "see `rescind list`, or repeat the command: to revoke twice does no harm",
            };
            return Failure::Unsettled { error: error.clone(), next_step };
        }
        failure
    }

    fn exit(&self, name: &str, participle: &str, waited: Option<Waited>, console: &mut Console) -> Exit {
        let text = match waited {
            None | Some(Waited::Enforced(_)) => return Exit::Done,
            Some(Waited::Over(why)) => {
                console.error(&format!("{name} is not in force: {why}"));
                return Exit::Failed;
            }
            Some(Waited::Refused(error)) => format!("whether it is enforced can't be told: {error}"),
            Some(Waited::TimedOut(last)) => {
                let known = last.map_or("no sidecar has reported".to_owned(), |last| describe(&last));
                let limit = time::duration(self.timeout);
                format!("it was not enforced within {limit}: {known}; `rescind status` shows who lags")
            }
        };
        let text = format!("{name} is {participle} and stays in force, but {text}");
        console.remark(Tone::Doubtful, "warning", &text);
        Exit::Pending
    }
}

fn warn(warnings: &[String], console: &mut Console) {
    for warning in warnings {
        console.remark(Tone::Doubtful, "warning", warning);
    }
}

/// Checks a value that tokens are compared with, so that a slip of the shell is found here.
pub(super) fn parse_value(text: &str) -> Result<String, String> {
    typed(None, text).map(|_| text.to_owned()).map_err(|error| error.problem)
}
