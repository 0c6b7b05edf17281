//! The decision: from what a request presents, and what is known of the lists, to an outcome.
//!
//! The order is fixed. Which token is it; is its issuer declared; does its signature verify; does it keep the rules
//! of *each* list that declares the issuer; does one of them hold a row that denies it; and does *every* list that is
//! asked vouch for being complete. A hit denies whatever else is the case, and an allow needs everything.
//!
//! A list in shadow takes part in all of it and refuses nothing. But what no list could verify is refused by all: as
//! long as one list is enforced, nobody passes by naming an issuer or a cookie that only a list in shadow declares.
//!
//! Nothing is kept between checks, neither verdicts nor verified signatures.

use std::sync::Arc;

use tracing::field;

use crate::distribution::view::{ListView, Views};
use crate::revocation::freshness::ClockJump;
use crate::revocation::time::Moment;
use crate::revocation::verdict::Assurance;
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::TRACES_ONLY;
use crate::token::jws::Jws;
use crate::token::list_config::{Place, TokenKind};
use crate::token::rejection::Rejection;
use crate::token::route::{Mode, Preflight, RoutePolicy, TokenPolicy};
use crate::token::rules::Now;

use self::complaints::Complaints;
use self::evidence::{Evidence, Origin};
use self::findings::{Findings, Removal, conclude};
use self::panel::{Conflict, Force, Panel, token_time};
use self::presented::{Found, Lines, declared_upstream, same_claims};
pub use self::steps::Step;
use self::steps::Steps;
use super::outcome::{
    Contradiction, Decision, Effort, Observer, Outcome, Strip, Subject, Transport, Verdict, Why,
};
use super::request::{Credential, Method, Request};

mod complaints;
mod evidence;
mod findings;
mod lookup;
mod panel;
mod presented;
mod steps;

/// Decides about one request.
///
/// `now` must have been read after `views` were loaded.
#[must_use]
pub fn check(views: &[Arc<ListView>], request: &Request<'_>, now: Moment) -> Outcome {
    run(views, request, now, &mut Steps::off())
}

/// Decides as [`check`] does, and says step by step why; never with a token, or the value of a claim.
#[must_use]
pub fn explain(views: &[Arc<ListView>], request: &Request<'_>, now: Moment) -> (Outcome, Vec<Step>) {
    let mut steps = Steps::on();
    let outcome = run(views, request, now, &mut steps);
    steps.note("decision", outcome.decision == Decision::Allow, || {
        let decision = match outcome.decision {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
        };
        match outcome.reason {
            "" => format!("{decision}: nothing speaks against it"),
            reason if outcome.shadow => {
                format!("{decision}: {reason} would deny it, and has no effect in shadow")
            }
            reason => format!("{decision}: {reason}"),
        }
    });
    (outcome, steps.into_vec())
}

fn run(views: &[Arc<ListView>], request: &Request<'_>, now: Moment, steps: &mut Steps) -> Outcome {
    let Some(panel) = Panel::new(views, request, now) else {
        steps.note("policy", false, || "it names a list that is not followed".to_owned());
        return Outcome::bad_policy();
    };
    match (request.policy.preflight, request.method) {
        (Preflight::Check, _) | (Preflight::Allow, Method::Other) => {}
        (Preflight::Allow, Method::Preflight) => return preflight(&panel),
        (Preflight::Allow, Method::Untold) => {
            steps.note("policy", false, || "preflight=allow needs a method that can be trusted".to_owned());
            return Outcome::bad_policy();
        }
    }
    let time = token_time(views, now);
    let (findings, effort) = (Findings::default(), Effort::default());
    Check { panel, request, time, findings, effort, contradiction: None, clock_jump: None, steps }.run()
}

/// A preflight carries no credentials; what carries some all the same loses them.
fn preflight(panel: &Panel<'_>) -> Outcome {
    Outcome {
        age_nanos: panel.age_nanos(),
        version: panel.version(),
        strip: Strip::Tokens { cookie: Vec::new() },
        ..Outcome::unasked(Verdict::NoToken, Decision::Allow)
    }
}

/// One check under way.
struct Check<'c> {
    panel: Panel<'c>,
    request: &'c Request<'c>,
    time: Now,
    findings: Findings,
    effort: Effort,
    contradiction: Option<Box<Contradiction>>,
    clock_jump: Option<ClockJump>,
    steps: &'c mut Steps,
}

impl Check<'_> {
    fn run(mut self) -> Outcome {
        let request = self.request;
        let (otherwise, strip, clear_cookies) = match &request.credential {
            Credential::Unread => (self.unread(), Strip::Nothing, Vec::new()),
            Credential::Lines { authorization, cookies } => self.lines(Lines { authorization, cookies }),
            Credential::Token { token, source } => {
                (self.bare_token(token, source), Strip::Nothing, Vec::new())
            }
            Credential::Claims { claims, key_id } => {
                let verdict = match claims {
                    Ok(claims) => {
                        self.evidence(&Evidence { claims, origin: Origin::Caller { key_id: *key_id } })
                    }
                    Err(rejection) => self.refuse(Verdict::Rejected(*rejection)),
                };
                (verdict, Strip::Nothing, Vec::new())
            }
        };
        let best_effort = self.standings();
        let removal = match declared_upstream(&self.panel, request.upstream).as_slice() {
            [] => Removal::Possible,
            [..] => Removal::Impossible,
        };
        let conclusion = conclude(&self.findings, otherwise, &request.policy, removal);
        let refused =
            conclusion.decision == Decision::Deny && !matches!(conclusion.verdict, Verdict::Unknown(_));
        // With nothing in force, nothing is to be touched.
        let has_effect = self.panel.force() == Force::Enforced && request.policy.mode == Mode::Enforce;
        let anonymous =
            conclusion.decision == Decision::Allow && conclusion.verdict == Verdict::NoToken && has_effect;
        Outcome {
            verdict: conclusion.verdict,
            decision: conclusion.decision,
            reason: conclusion.reason,
            age_nanos: self.panel.age_nanos(),
            version: self.panel.version(),
            shadow: conclusion.shadow,
            best_effort,
            strip: if anonymous { strip } else { Strip::Nothing },
            clear_cookies: if refused { clear_cookies } else { Vec::new() },
            contradiction: self.contradiction,
            clock_jump: self.clock_jump,
            effort: self.effort,
        }
    }

    /// Notes that nobody has the time to look. The lists are in doubt, as if they were too old: so a route that only
    /// reports, and lists in shadow, refuse nothing.
    fn unread(&mut self) -> Verdict {
        self.steps.note("admission", false, || "more is asked at one time than is taken on".to_owned());
        self.findings.doubt(self.panel.force(), Why::Overloaded);
        Verdict::Unknown(Why::Overloaded)
    }

    /// Asks every list whether it vouches; tells whether one does so though it is stale.
    fn standings(&mut self) -> bool {
        let mut best_effort = false;
        for asked in &self.panel.lists {
            match asked.standing {
                Ok(assurance) => best_effort |= assurance == Assurance::BestEffort,
                Err(why) => self.findings.doubt(asked.force, why),
            }
            self.clock_jump = self.clock_jump.or(asked.clock_jump);
            self.steps.note_of("freshness", &asked.view.name, asked.standing.is_ok(), || {
                let age = asked.freshness.age_nanos().map(|nanos| nanos.div_ceil(1_000_000));
                let age = age.map_or_else(String::new, |age| format!(", proven complete as of {age} ms ago"));
                let jump = asked.clock_jump;
                let jump =
                    jump.map_or_else(String::new, |jump| format!("; {jump}, so a new proof is needed"));
                let end = match asked.standing {
                    Ok(Assurance::Fresh) => String::new(),
                    Ok(Assurance::BestEffort) => "; decided all the same, as its policy allows".to_owned(),
                    Err(why) => format!("; it can't vouch ({})", why.code()),
                };
                format!("{}{age}{jump}{end}", asked.freshness.name())
            });
        }
        best_effort
    }

    /// Checks the token in the lines of a request; also returns what is to be stripped and cleared, if it comes to
    /// that.
    fn lines(&mut self, lines: Lines<'_>) -> (Verdict, Strip, Vec<String>) {
        let sources = self.panel.sources();
        self.contradicted(Subject::Source, sources.conflict);
        let (found, in_shadow) = lines.find(&sources);
        if let Some(verdict) = in_shadow {
            self.findings.refuse(Force::Shadow, verdict);
        }
        self.steps.note("source", !matches!(found, Found::Refused(_)), || match found {
            Found::Absent => "no source carries a token".to_owned(),
            Found::Token { kind: TokenKind::Jwt, .. } => "one source carries a JWT".to_owned(),
            Found::Token { kind: TokenKind::Opaque { .. }, .. } => {
                "one source carries an opaque token".to_owned()
            }
            Found::Refused(verdict) => verdict.code().to_owned(),
        });
        let enforced = sources.all.get(..sources.enforced).unwrap_or_default();
        // Nobody verifies an opaque token: where only a list in shadow looks for one, the others find nothing.
        let is_opaque = matches!(found, Found::Token { kind: TokenKind::Opaque { .. }, .. });
        if is_opaque && self.panel.force() == Force::Enforced && lines.carry_nothing(enforced) {
            self.no_token();
        }
        let otherwise = self.found(found);
        let strip = match self.request.policy.token {
            TokenPolicy::Required => Strip::Nothing,
            TokenPolicy::Optional | TokenPolicy::Lenient => lines.strip(&sources.all),
        };
        (otherwise, strip, lines.refused_cookies(enforced))
    }

    fn found(&mut self, found: Found<'_>) -> Verdict {
        let upstream = declared_upstream(&self.panel, self.request.upstream);
        match (found, upstream.as_slice()) {
            (Found::Refused(verdict), _) => self.refuse(verdict),
            (Found::Absent, []) => self.no_token(),
            (Found::Absent, [one]) => match &one.claims {
                Ok(claims) => {
                    let origin = Origin::Upstream { payload_key: &one.payload_key };
                    self.evidence(&Evidence { claims, origin })
                }
                Err(rejection) => self.refuse(Verdict::Rejected(*rejection)),
            },
            (Found::Token { token, kind: TokenKind::Jwt }, []) => self.jwt(token, None),
            (Found::Token { token, kind: TokenKind::Jwt }, [one]) => self.jwt(token, Some(one)),
            (Found::Token { token, kind: TokenKind::Opaque { issuer } }, []) => self.opaque(issuer, token),
            // What the proxy has verified is another token than the one that is found.
            (Found::Token { .. }, [_]) | (_, [_, _, ..]) => self.refuse(Verdict::Ambiguous),
        }
    }

    fn bare_token(&mut self, token: &str, source: &str) -> Verdict {
        if token.is_empty() {
            return self.no_token();
        }
        let sources = self.panel.sources();
        let named = sources.all.iter().find(|declared| match &declared.place {
            Place::Cookie(name) => name == source,
            Place::AuthorizationBearer => source.eq_ignore_ascii_case("authorization"),
        });
        self.contradicted(Subject::Source, sources.conflict);
        match named.map(|source| &source.kind) {
            Some(TokenKind::Opaque { issuer }) => self.opaque(issuer, token),
            Some(TokenKind::Jwt) => self.jwt(token, None),
            None if source.is_empty() => self.jwt(token, None),
            None => {
                let why = self.panel.undeclared().unwrap_or(Why::BadPolicy);
                self.findings.doubt(self.panel.force(), why);
                Verdict::Unknown(why)
            }
        }
    }

    /// Notes that two lists contradict each other, if they do.
    fn contradicted(&mut self, about: Subject, conflict: Option<Conflict<'_>>) {
        let Some(Conflict { force, lists: [one, other] }) = conflict else { return };
        let (why, step) = match about {
            Subject::Issuer => (Why::IssuerConflict, "issuer"),
            Subject::Source => (Why::SourceConflict, "source"),
        };
        self.findings.doubt(force, why);
        let contradiction = Contradiction::new(about, one, other);
        self.steps.note(step, false, || contradiction.to_string());
        self.contradiction.get_or_insert(Box::new(contradiction));
    }

    /// Notes a refusal by all lists together.
    fn refuse(&mut self, verdict: Verdict) -> Verdict {
        self.findings.refuse(self.panel.force(), verdict);
        verdict
    }

    /// Notes that nothing is presented, unless a list may declare a place that nobody has looked at.
    fn no_token(&mut self) -> Verdict {
        if let Some(why) = self.panel.undeclared() {
            self.findings.doubt(self.panel.force(), why);
        } else if self.request.policy.token == TokenPolicy::Required {
            self.refuse(Verdict::NoToken);
        }
        Verdict::NoToken
    }

    fn jwt(&mut self, token: &str, upstream: Option<&super::request::UpstreamClaims>) -> Verdict {
        let jws = Jws::parse(token);
        self.steps.note("shape", jws.is_ok(), || match &jws {
            Ok(_) => "a compact JWS".to_owned(),
            Err(rejection) => rejection.code().to_owned(),
        });
        let jws = match jws {
            Ok(jws) => jws,
            Err(rejection) => return self.refuse(Verdict::Rejected(rejection)),
        };
        let payload_key = match upstream.map(|upstream| (&upstream.claims, upstream.payload_key.as_str())) {
            None => None,
            Some((Err(rejection), _)) => return self.refuse(Verdict::Rejected(*rejection)),
            Some((Ok(claims), _)) if !same_claims(claims, &jws.claims) => {
                return self.refuse(Verdict::Ambiguous);
            }
            Some((Ok(_), key)) => Some(key),
        };
        let origin = Origin::Signed { jws: &jws, payload_key };
        self.evidence(&Evidence { claims: &jws.claims, origin })
    }

    fn opaque(&mut self, issuer: &str, token: &str) -> Verdict {
        // Inside quotes, a backslash escapes in ways that differ between applications.
        let readable = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if !token.bytes().all(readable) {
            return self.refuse(Verdict::Rejected(Rejection::Malformed));
        }
        // Nobody can tell whom an opaque token is meant for.
        if self.request.policy.audience.is_some() {
            return self.refuse(Verdict::Rejected(Rejection::WrongAudience));
        }
        if !self.look_up_opaque(issuer, token) {
            return self.refuse(Verdict::Rejected(Rejection::UnknownIssuer));
        }
        Verdict::NotListed
    }
}

/// Checks against what is known at this moment.
#[derive(Clone)]
pub struct Checker {
    views: Views,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    complaints: Arc<Complaints>,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker").field("views", &self.views).finish_non_exhaustive()
    }
}

impl Checker {
    /// Checks against these views; `observer` sees every outcome.
    #[must_use]
    pub fn new(views: Views, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Self {
        Self { views, clock, observer, complaints: Arc::default() }
    }

    /// Returns the views and the time, in this order.
    pub(super) fn look(&self) -> (Vec<Arc<ListView>>, Moment) {
        // The order matters: a proof that is loaded after the clock was read would seem younger than it is.
        let views = self.views.load();
        let now = self.clock.now();
        (views, now)
    }

    /// Decides about one request.
    #[must_use]
    pub fn check(&self, transport: Transport, request: &Request<'_>) -> Outcome {
        let (views, now) = self.look();
        self.observe(transport, &request.policy, || check(&views, request, now))
    }

    /// Decides about one request of several that are to be answered from one view.
    pub(super) fn check_with(
        &self,
        transport: Transport,
        request: &Request<'_>,
        views: &[Arc<ListView>],
    ) -> Outcome {
        // Read for each: the age is that at the decision, however long the others took.
        let now = self.clock.now();
        self.observe(transport, &request.policy, || check(views, request, now))
    }

    /// Decides about a request, and says why.
    pub(super) fn explain(&self, transport: Transport, request: &Request<'_>) -> (Outcome, Vec<Step>) {
        let (views, now) = self.look();
        let mut steps = Vec::new();
        let outcome = self.observe(transport, &request.policy, || {
            let (outcome, noted) = explain(&views, request, now);
            steps = noted;
            outcome
        });
        (outcome, steps)
    }

    /// Answers a request whose policy is not understood.
    pub(super) fn bad_policy(&self, transport: Transport, error: &dyn std::fmt::Display) -> Outcome {
        self.complaints.warn(transport, &error.to_string());
        self.observe(transport, &RoutePolicy::default(), Outcome::bad_policy)
    }

    fn observe(
        &self,
        transport: Transport,
        policy: &RoutePolicy,
        check: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let span = tracing::info_span!(
            target: TRACES_ONLY,
            "check",
            transport = transport.name(),
            verdict = field::Empty,
            reason = field::Empty,
            shadow = field::Empty,
        );
        let outcome = span.in_scope(check);
        span.record("verdict", outcome.verdict.word());
        span.record("reason", outcome.reason);
        span.record("shadow", outcome.shadow);
        if outcome.verdict == Verdict::Unknown(Why::BadPolicy) && *policy != RoutePolicy::default() {
            let why = "it names a list that is not followed here, or preflight=allow where no method can be trusted";
            self.complaints.warn(transport, &format!("{why}: {policy:?}"));
        }
        if let Some(contradiction) = &outcome.contradiction {
            self.complaints.contradiction(contradiction);
        }
        if let Some(jump) = &outcome.clock_jump {
            self.complaints.clock_jump(jump);
        }
        self.observer.checked(transport, &outcome);
        outcome
    }
}

#[cfg(test)]
pub(crate) mod tests;
