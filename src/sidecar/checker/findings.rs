//! What speaks against letting a request pass, and what follows from it.

use crate::sidecar::outcome::{Decision, Verdict, Why};
use crate::token::route::{Mode, RoutePolicy, TokenPolicy};

use super::panel::Force;

/// What was found against a request: by lists that refuse, and by lists in shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    enforced: Against,
    shadow: Against,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Against {
    refusal: Option<Verdict>,
    doubt: Option<Why>,
}

impl Findings {
    /// Notes that the token is refused. A revocation is the last word; else the first finding stays.
    pub(super) fn refuse(&mut self, force: Force, verdict: Verdict) {
        let slot = &mut self.side(force).refusal;
        let outranked = slot.is_none_or(|held| {
            matches!(verdict, Verdict::Revoked(_)) && !matches!(held, Verdict::Revoked(_))
        });
        if outranked {
            *slot = Some(verdict);
        }
    }

    /// Notes that nobody can vouch; the first finding stays.
    pub(super) fn doubt(&mut self, force: Force, why: Why) {
        self.side(force).doubt.get_or_insert(why);
    }

    const fn side(&mut self, force: Force) -> &mut Against {
        match force {
            Force::Enforced => &mut self.enforced,
            Force::Shadow => &mut self.shadow,
        }
    }
}

impl Against {
    /// What is refused for certain goes before what nobody can vouch for.
    fn verdict(self) -> Option<Verdict> {
        self.refusal.or(self.doubt.map(Verdict::Unknown))
    }
}

/// Whether a refused token can be taken off the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is where the lists look for tokens.
    Possible,
    /// The proxy has read it elsewhere, or has passed its claims on already.
    Impossible,
}

/// What follows from the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    pub(super) verdict: Verdict,
    pub(super) decision: Decision,
    pub(super) reason: &'static str,
    pub(super) shadow: bool,
}

impl Conclusion {
    const fn new(verdict: Verdict, decision: Decision, shadow: bool) -> Self {
        Self { verdict, decision, reason: verdict.code(), shadow }
    }
}

/// Decides. `otherwise` is the verdict if nothing speaks against the request.
pub(super) fn conclude(
    findings: &Findings,
    otherwise: Verdict,
    policy: &RoutePolicy,
    removal: Removal,
) -> Conclusion {
    let enforced = findings.enforced.verdict();
    let Some(verdict) = enforced.or(findings.shadow.verdict()) else {
        return Conclusion { reason: "", ..Conclusion::new(otherwise, Decision::Allow, false) };
    };
    if enforced.is_none() || policy.mode == Mode::Report {
        return Conclusion::new(verdict, Decision::Allow, true);
    }
    match (policy.token, findings.enforced.refusal, findings.enforced.doubt) {
        // Taken off, it counts as absent: what remains needs every list to vouch, as without a token.
        (TokenPolicy::Lenient, Some(refused), None) if removal == Removal::Possible => {
            Conclusion { reason: refused.code(), ..Conclusion::new(Verdict::NoToken, Decision::Allow, false) }
        }
        (TokenPolicy::Lenient, Some(_), Some(doubt)) => {
            Conclusion::new(Verdict::Unknown(doubt), Decision::Deny, false)
        }
        _ => Conclusion::new(verdict, Decision::Deny, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::row::RowKind;
    use crate::revocation::verdict::Doubt;
    use crate::token::rejection::Rejection;

    const REVOKED: Verdict = Verdict::Revoked(RowKind::Issued);

    fn check(note: impl FnOnce(&mut Findings), token: TokenPolicy) {
        let mut findings = Findings::default();
        note(&mut findings);
        let policy = RoutePolicy { token, ..RoutePolicy::default() };
        let concluded = conclude(&findings, Verdict::Active, &policy, Removal::Possible);
        assert_eq!(concluded, Conclusion::new(REVOKED, Decision::Deny, false), "{findings:?} {token:?}");
    }

    /// Invariant 19: for each (state, policy, hit) the decision is the table's.
    #[test]
    fn a_hit_denies_whatever_else_was_found() {
        let hit = |findings: &mut Findings| findings.refuse(Force::Enforced, REVOKED);
        for token in [TokenPolicy::Required, TokenPolicy::Optional] {
            check(hit, token);
            for doubt in [Doubt::Stale, Doubt::Expired, Doubt::NeverFresh, Doubt::Corrupt] {
                for force in [Force::Enforced, Force::Shadow] {
                    let doubted = |findings: &mut Findings| findings.doubt(force, Why::List(doubt));
                    check(|findings| (doubted(findings), hit(findings)).0, token);
                    check(|findings| (hit(findings), doubted(findings)).0, token);
                }
            }
            let rejected = |findings: &mut Findings| {
                findings.refuse(Force::Enforced, Verdict::Rejected(Rejection::Expired));
            };
            check(|findings| (rejected(findings), hit(findings)).0, token);
            check(|findings| (hit(findings), rejected(findings)).0, token);
        }
    }
}
