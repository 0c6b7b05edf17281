//! What a revoking command says about its revocation.

use serde::Serialize;

use super::super::console::{Console, Tone, printable};
use super::super::format::{Format, Machine, OutputError};
use super::super::view::{View, without_managed_fields};
use super::super::wait::{self, Outcome, Standing, Waited};
use crate::api::condition::{AnswerReason, ConditionType};
use crate::api::revocation::{self as api, EnforcementCounts};
use crate::api::target::write_time;
use crate::api::token_revocation_list::{Condition, ConditionStatus};
use crate::proto::v1;
use crate::revocation::record::CompareWith;
use crate::revocation::selector::Selection;
use crate::revocation::time::UnixSeconds;

/// The one object of a machine's answer.
#[derive(Serialize)]
struct Answer<'a> {
    revocation: api::Revocation,
    warnings: &'a [String],
}

/// Writes for people what was accepted, before waiting: the name must be known whatever happens next.
pub(super) fn accepted(
    view: &View,
    participle: &str,
    is_dry_run: bool,
    format: Option<Format>,
    console: &mut Console,
) -> Result<(), OutputError> {
    let name = if view.name.is_empty() { "revocation" } else { &view.name };
    let mut lines = vec![match is_dry_run {
        true => format!("{name} would be {participle}; nothing is stored (dry run)"),
        false => format!("{name} {participle}"),
    }];
    let mut line = |label: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("  {label:<12} {}", printable(text)));
        }
    };
    line("target", &view.target());
    line("list", &view.list.to_string());
    line("issuer", &view.spec.target.issuer);
    line("cutoff", &cutoff(view));
    line("admits from", &admits_from(view));
    line("version", &view.version);
    if format == Some(Format::Wide) {
        line("expires", &view.expires().map_or_else(|| "never".to_owned(), write_time));
        line("uid", &view.uid);
        line("reason", view.reason.as_deref().unwrap_or_default());
        line("message", view.message.as_deref().unwrap_or_default());
    }
    if let Some(note) = session_note(view) {
        lines.push(format!("  {}", console.out_surface().paint(Tone::Faint, note)));
    }
    console.print(&(lines.join("\n") + "\n"))
}

fn cutoff(view: &View) -> String {
    match view.spec.compare_with {
        CompareWith::SessionStart => format!("{} (session start)", view.cutoff()),
        // There is no later one with its `jti`.
        CompareWith::IssueTime if matches!(view.spec.target.selection, Selection::Token(_)) => view.cutoff(),
        CompareWith::IssueTime if view.is_always() => "Always (tokens issued later, too)".to_owned(),
        CompareWith::IssueTime => format!("{} (issue time)", view.cutoff()),
    }
}

fn admits_from(view: &View) -> String {
    let passing = match view.spec.compare_with {
        CompareWith::IssueTime => "tokens issued then or later pass",
        CompareWith::SessionStart => "tokens of sessions begun then or later pass",
    };
    match (view.admits_from, view.spec.expires_at) {
        (Some(time), _) => format!("{} ({passing})", write_time(time)),
        (None, Some(end)) if view.is_always() => format!("never, until it ends at {}", write_time(end)),
        (None, _) if view.is_always() => "never, until it is undone or expires".to_owned(),
        (None, _) => String::new(),
    }
}

/// Says what a revocation does not do, and in which order things must be done at the issuer.
fn session_note(view: &View) -> Option<&'static str> {
    let renews = "The issuer's own session lives on and can get new tokens, which pass: \
                  lock the account at the issuer first, then revoke.";
    let refused = "The issuer's own session lives on; its new tokens are refused while this stands.";
    let reaches_renewed = view.is_always() || view.spec.compare_with == CompareWith::SessionStart;
    match &view.spec.target.selection {
        // Nobody signs with it any longer, or there is no session behind it.
        Selection::Key(_) | Selection::Opaque(_) => None,
        // A renewed token has a `jti` of its own.
        Selection::Token(_) => Some(renews),
        Selection::Session(_)
        | Selection::Subject(_)
        | Selection::Client(_)
        | Selection::Everything
        | Selection::Declared { .. } => Some(if reaches_renewed { refused } else { renews }),
    }
}

/// Writes what is left to say when waiting is over.
pub(super) fn conclude(
    view: &View,
    warnings: &[String],
    outcome: Option<&Outcome>,
    format: Option<Format>,
    console: &mut Console,
) -> Result<(), OutputError> {
    let waited = outcome.map(|outcome| &outcome.waited);
    let machine = match format {
        Some(Format::Json) => Machine::Json,
        Some(Format::Yaml) => Machine::Yaml,
        Some(Format::Name) => return console.print(&format!("revocation/{}\n", view.name)),
        Some(Format::Wide) | None => {
            told(view, outcome, console)?;
            let Some(Waited::Enforced(report)) = waited else { return Ok(()) };
            let text = console.out_surface().paint(Tone::Good, &wait::enforced(report));
            return console.print(&format!("{text}\n"));
        }
    };
    let seen = outcome.and_then(|outcome| outcome.object.as_deref());
    let revocation = match seen {
        Some(seen) => without_managed_fields(seen),
        None => object(view, waited),
    };
    machine.print(&Answer { revocation, warnings }, console)
}

/// Corrects what was computed here, where the controller of the cluster says otherwise: it knows the list's past.
fn told(view: &View, outcome: Option<&Outcome>, console: &mut Console) -> Result<(), OutputError> {
    let status = outcome.and_then(|outcome| outcome.object.as_ref()?.status.as_ref());
    let Some(time) = status.and_then(|status| status.admits_from.as_deref()) else { return Ok(()) };
    if view.admits_from.map(write_time).as_deref() == Some(time) {
        return Ok(());
    }
    console.print(&format!("  {:<12} {} (as the controller says)\n", "admits from", printable(time)))
}

/// Writes the object that was not sent, so that it can be given to `kubectl create -f -`.
pub(super) fn planned(
    object: &api::Revocation,
    format: Option<Format>,
    console: &mut Console,
) -> Result<(), OutputError> {
    match format {
        Some(Format::Json) => Machine::Json.print(object, console),
        Some(Format::Name) => {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            console.print(&format!("revocation/{name}\n"))
        }
        Some(Format::Yaml | Format::Wide) | None => Machine::Yaml.print(object, console),
    }
}

fn object(view: &View, waited: Option<&Waited>) -> api::Revocation {
    let mut object = view.object();
    // A cluster's has the status that its controller has written.
    if view.object.is_some() {
        return object;
    }
    let Some(status) = &mut object.status else { return object };
    // A dry run has no version: it was not accepted.
    if view.version.is_empty() {
        return object;
    }
    let condition = |type_: ConditionType, status, reason: AnswerReason, message: &str, at| Condition {
        type_: type_.word().to_owned(),
        status,
        reason: reason.word().to_owned(),
        message: message.to_owned(),
        last_transition_time: write_time(at),
        observed_generation: None,
    };
    let (enforced, reason, message, at) = enforcement(view, waited);
    status.conditions = vec![
        condition(
            ConditionType::Accepted,
            ConditionStatus::True,
            AnswerReason::Stored,
            "It is stored and takes effect.",
            view.created,
        ),
        condition(ConditionType::Enforced, enforced, reason, &message, at),
        condition(ConditionType::Ready, enforced, reason, &message, at),
    ];
    status.enforcement = match waited {
        Some(Waited::Enforced(report) | Waited::TimedOut(Some(Standing::Counted(report)))) => {
            Some(enforcement_counts(report))
        }
        Some(Waited::TimedOut(Some(Standing::Said(_)) | None) | Waited::Refused(_) | Waited::Over(_))
        | None => None,
    };
    object
}

fn enforcement(view: &View, waited: Option<&Waited>) -> (ConditionStatus, AnswerReason, String, UnixSeconds) {
    let created = view.created;
    match waited {
        Some(Waited::Enforced(report)) => {
            let at = created.saturating_add(report.elapsed_milliseconds.div_ceil(1_000));
            (ConditionStatus::True, AnswerReason::Applied, wait::counts(report), at)
        }
        Some(Waited::TimedOut(Some(standing))) => {
            (ConditionStatus::False, AnswerReason::Waiting, wait::describe(standing), created)
        }
        Some(Waited::TimedOut(None)) => {
            (ConditionStatus::Unknown, AnswerReason::Waiting, "no sidecar has reported".to_owned(), created)
        }
        Some(Waited::Refused(error)) => {
            (ConditionStatus::Unknown, AnswerReason::NotTold, error.clone(), created)
        }
        Some(Waited::Over(why)) => (ConditionStatus::False, AnswerReason::Over, why.clone(), created),
        None => {
            (ConditionStatus::Unknown, AnswerReason::NotAwaited, "Nobody has waited.".to_owned(), created)
        }
    }
}

fn enforcement_counts(report: &v1::EnforcementProgress) -> EnforcementCounts {
    EnforcementCounts {
        subscribers: report.subscribers.into(),
        applied: report.applied.into(),
        away: report.away.into(),
        elapsed_milliseconds: i64::try_from(report.elapsed_milliseconds).unwrap_or(i64::MAX),
    }
}
