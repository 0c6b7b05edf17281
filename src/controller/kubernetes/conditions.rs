//! What the status of a revocation says. Pure.

use crate::api::condition::{ConditionReason, ConditionType};
use crate::api::revocation::{EnforcementCounts, RevocationStatus};
use crate::api::target;
use crate::api::token_revocation_list::{Condition, ConditionStatus};
use crate::distribution::enforcement::Progress;
use crate::revocation::expiry::forgotten_from;
use crate::revocation::record::Cutoff;
use crate::revocation::time::UnixSeconds;
use crate::store::Revocation;
use crate::store::kubernetes::mirror::MirroredRevocation;
use crate::token::list_config::ListConfig;

/// Whether a revocation has an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// It has; with what may be worth a thought.
    Accepted { warnings: Vec<String> },
    /// It has none.
    Refused { reason: ConditionReason, message: String },
}

impl Acceptance {
    /// Tells whether another declaration would accept it.
    pub(super) fn is_refused_by_lists(&self) -> bool {
        matches!(
            self,
            Self::Refused { reason: ConditionReason::UnknownList | ConditionReason::Undeclared, .. }
        )
    }
}

/// Judges a revocation by the list that it names.
pub(super) fn judge(mirrored: &MirroredRevocation, list: Option<&ListConfig>) -> Acceptance {
    let refused = |reason, message: String| Acceptance::Refused { reason, message };
    let revocation = match &mirrored.read {
        Ok(revocation) => revocation,
        Err(why) => {
            return refused(
                ConditionReason::Unreadable,
                format!("It can't be read, and nothing is vouched for of its list: {why}."),
            );
        }
    };
    let Some(list) = list else {
        let message = format!("No list {} is declared: it has no effect until there is one.", mirrored.list);
        return refused(ConditionReason::UnknownList, message);
    };
    match target::check_declared(&revocation.spec, list) {
        Ok(warnings) => Acceptance::Accepted { warnings },
        Err(error) => refused(ConditionReason::Undeclared, format!("It has no effect: {error}.")),
    }
}

/// Returns the status that a revocation should have.
pub(super) fn status(
    mirrored: &MirroredRevocation,
    list: Option<&ListConfig>,
    enforced: Option<(Progress, u64)>,
    now: UnixSeconds,
) -> RevocationStatus {
    let acceptance = judge(mirrored, list);
    let writer =
        Writer { before: &mirrored.status.conditions, generation: mirrored.metadata.generation, now };
    let mut status = mirrored.status.clone();
    status.conditions = conditions(&writer, mirrored, &acceptance, enforced.map(|(progress, _)| progress));
    if let Ok(revocation) = &mirrored.read {
        status.target = Some(target::describe(&revocation.spec.target.selection));
        status.version = Some(revocation_version(mirrored, revocation));
        describe_times(&mut status, revocation, list);
    }
    if let Some((progress, elapsed_milliseconds)) = enforced {
        status.enforcement = Some(EnforcementCounts {
            subscribers: i64::from(progress.subscribers),
            applied: i64::from(progress.applied),
            away: i64::from(progress.away),
            elapsed_milliseconds: i64::try_from(elapsed_milliseconds).unwrap_or(i64::MAX),
        });
    }
    status
}

/// The version at which the object was first seen; a write of its status does not change what it says.
fn revocation_version(mirrored: &MirroredRevocation, revocation: &Revocation) -> String {
    if let Some(version) = &mirrored.status.version {
        return version.clone();
    }
    let mut version = revocation.version;
    version.revisions.revocations = mirrored.first_seen.0;
    version.to_string()
}

fn describe_times(status: &mut RevocationStatus, revocation: &Revocation, list: Option<&ListConfig>) {
    let spec = &revocation.spec;
    let Ok(cutoff) = spec.effective_cutoff(revocation.created) else { return };
    status.cutoff = Some(match cutoff {
        Cutoff::Always => "Always".to_owned(),
        Cutoff::At(time) => target::write_time(time),
    });
    let Some(issuer) = list.and_then(|list| list.issuer(&spec.target.issuer)) else { return };
    let largest = issuer.largest_since(revocation.created);
    let forgotten = forgotten_from(spec, revocation.created, &largest);
    status.expires_at = forgotten.map(target::write_time);
    status.admits_from = match cutoff {
        Cutoff::Always => None,
        Cutoff::At(time) => {
            Some(target::write_time(time.saturating_add(largest.clock_skew_seconds).saturating_add(1)))
        }
    };
}

/// Tells whether a condition of a status is true.
pub(super) fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    found.is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Writes conditions that keep the time of their last change.
pub(super) struct Writer<'a> {
    pub(super) before: &'a [Condition],
    pub(super) generation: Option<i64>,
    pub(super) now: UnixSeconds,
}

impl Writer<'_> {
    pub(super) fn write(
        &self,
        type_: ConditionType,
        status: ConditionStatus,
        reason: ConditionReason,
        message: String,
    ) -> Condition {
        self.put(type_, status, reason.word(), message)
    }

    /// Writes a condition that says what another one says.
    fn write_like(&self, type_: ConditionType, other: &Condition) -> Condition {
        self.put(type_, other.status, &other.reason, other.message.clone())
    }

    fn put(&self, type_: ConditionType, status: ConditionStatus, reason: &str, message: String) -> Condition {
        let before = self.before.iter().find(|condition| condition.type_ == type_);
        let unchanged = before.filter(|before| before.status == status);
        Condition {
            type_: type_.word().to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.chars().take(MAX_MESSAGE).collect(),
            last_transition_time: unchanged
                .map_or_else(|| target::write_time(self.now), |before| before.last_transition_time.clone()),
            observed_generation: self.generation,
        }
    }
}

/// As the schema has it.
const MAX_MESSAGE: usize = 1024;

fn conditions(
    writer: &Writer<'_>,
    mirrored: &MirroredRevocation,
    acceptance: &Acceptance,
    progress: Option<Progress>,
) -> Vec<Condition> {
    use ConditionReason::{Declared, MayNotReach, NotAccepted};
    use ConditionStatus::{False, True};
    use ConditionType::{Accepted, Enforced, Ready};
    if mirrored.expired {
        return expired(writer);
    }
    let (accepted, enforced) = match acceptance {
        Acceptance::Refused { reason, message } => {
            let accepted = writer.write(Accepted, False, *reason, message.clone());
            (accepted, writer.write(Enforced, False, NotAccepted, "It has no effect.".to_owned()))
        }
        Acceptance::Accepted { warnings } if warnings.is_empty() => {
            let accepted = writer.write(Accepted, True, Declared, "It has an effect.".to_owned());
            (accepted, enforcement(writer, progress))
        }
        Acceptance::Accepted { warnings } => {
            (writer.write(Accepted, True, MayNotReach, warnings.join(" ")), enforcement(writer, progress))
        }
    };
    let ready = writer.write_like(Ready, &enforced);
    vec![accepted, enforced, ready]
}

fn enforcement(writer: &Writer<'_>, progress: Option<Progress>) -> Condition {
    let before = writer.before.iter().find(|condition| condition.type_ == ConditionType::Enforced);
    if let Some(done) = before.filter(|before| before.status == ConditionStatus::True) {
        // What every sidecar knows, none forgets.
        return writer.write_like(ConditionType::Enforced, done);
    }
    let write = |status, reason, message| writer.write(ConditionType::Enforced, status, reason, message);
    let Some(progress) = progress else {
        let message = "It is being sent to the sidecars.".to_owned();
        return write(ConditionStatus::False, ConditionReason::Applying, message);
    };
    let Progress { subscribers, applied, away, .. } = progress;
    let mut message = format!("{applied} of {subscribers} sidecars have it in use");
    if away > 0 {
        message.push_str(&format!(", {away} are away and allow nothing"));
    }
    let all = applied + away == subscribers;
    match (progress.enforced, all) {
        (true, true) => write(ConditionStatus::True, ConditionReason::AllApplied, message + "."),
        (true, false) => {
            message.push_str("; whoever has not allows nothing any more");
            write(ConditionStatus::True, ConditionReason::BoundIsOver, message + ".")
        }
        (false, _) => write(ConditionStatus::False, ConditionReason::Applying, message + "."),
    }
}

/// What has expired is over, whatever it was before.
fn expired(writer: &Writer<'_>) -> Vec<Condition> {
    let over = [ConditionType::Ready, ConditionType::Expired];
    let is_over = |condition: &Condition| over.iter().any(|type_| condition.type_ == *type_);
    let before = writer.before.iter().filter(|condition| !is_over(condition));
    let message = "The last token that it could deny has expired.";
    let reason = ConditionReason::NothingLeftToDeny;
    let over = over.map(|type_| writer.write(type_, ConditionStatus::True, reason, message.to_owned()));
    before.cloned().chain(over).collect()
}

#[cfg(test)]
pub(super) mod tests;
