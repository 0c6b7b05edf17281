use serde_json::json;

use super::*;
use crate::revocation::claims::Claims;
use crate::revocation::key::HashKey;
use crate::revocation::list::tests::version;
use crate::revocation::row::RowKind;
use crate::revocation::selector::Selection;
use crate::revocation::time::UnixSeconds;
use crate::revocation::verdict::Doubt;
use crate::revocation::version::{Epoch, Revisions, ToldVersion, Version};
use crate::sidecar::request::UpstreamClaims;
use crate::sidecar::test_support::*;
use crate::token::keys::{Jwk, VerifyingKey};
use crate::token::list_config::{
    Audiences, IssuerConfig, ListConfig, Maxima, TokenSource, Verification, WhenRefused,
};
use crate::token::selection::SelectionError;

fn arcs(views: &[ListView]) -> Vec<Arc<ListView>> {
    views.iter().cloned().map(Arc::new).collect()
}

fn of_token(views: &[ListView], token: &str) -> Outcome {
    check(&arcs(views), &Request::new(Credential::Token { token, source: "" }), NOW)
}

fn of_lines(
    views: &[ListView],
    authorization: &[&str],
    cookies: &[&str],
    policy: &[(&str, &str)],
) -> Outcome {
    let credential = Credential::Lines {
        authorization: authorization.iter().map(|line| line.as_bytes()).collect(),
        cookies: cookies.iter().map(|line| line.as_bytes()).collect(),
    };
    let policy = RoutePolicy::parse(policy.iter().copied()).unwrap();
    check(&arcs(views), &Request { policy, ..Request::new(credential) }, NOW)
}

fn fresh(config: ListConfig) -> ListView {
    view(config, State::Fresh, &[])
}

fn with_issuer(name: &str, change: impl FnOnce(&mut IssuerConfig)) -> ListConfig {
    let mut issuer = issuer();
    change(&mut issuer);
    ListConfig { issuers: vec![issuer], ..config(name) }
}

/// A verdict that is enforced.
fn denied(verdict: Verdict) -> (Verdict, Decision, bool) {
    (verdict, Decision::Deny, false)
}

fn in_shadow(verdict: Verdict) -> (Verdict, Decision, bool) {
    (verdict, Decision::Allow, true)
}

const ACTIVE: (Verdict, Decision, bool) = (Verdict::Active, Decision::Allow, false);

fn short(outcome: &Outcome) -> (Verdict, Decision, bool) {
    (outcome.verdict, outcome.decision, outcome.shadow)
}

#[test]
fn age_and_version_are_the_worst_of_all_lists() {
    let mut older = view(best_effort("bb"), State::Stale, &[]);
    older.proven = Some(Version { revisions: Revisions { revocations: 8, segments: 3 }, ..version(0) });
    let outcome = of_token(&[fresh(config("a")), older.clone()], &token());
    assert_eq!(short(&outcome), ACTIVE);
    assert_eq!((outcome.age_nanos, outcome.best_effort), (Some(100 * SECOND), true));
    assert_eq!(outcome.version.unwrap().to_string(), "1/8");
    let foreign = Version { epoch: Epoch { counter: 1, id: 8 }, ..version(9) };
    let incomparable = ListView { proven: Some(foreign), ..fresh(config("bb")) };
    assert_eq!(of_token(&[fresh(config("a")), incomparable], &token()).version, None);
    let unproven = view(config("bb"), State::NeverFresh, &[]);
    let outcome = of_token(&[fresh(config("a")), unproven], &token());
    assert_eq!((outcome.age_nanos, outcome.version), (None, None));
}

#[test]
fn a_sidecar_that_accepts_a_smaller_bound_doubts_sooner_and_one_that_accepts_a_larger_doubts_as_ever() {
    // The proof is two seconds old, and a clock may run a thousandth too slow.
    let within = |ceiling, config| ListView { ceiling_seconds: Some(ceiling), ..fresh(config) };
    let stale = denied(Verdict::Unknown(Why::List(Doubt::Stale)));
    assert_eq!(short(&of_token(&[within(2, config("a"))], &token())), stale);
    assert_eq!(short(&of_token(&[within(3, config("a"))], &token())), ACTIVE);
    let old = ListView { ceiling_seconds: Some(3600), ..view(config("a"), State::Stale, &[]) };
    assert_eq!(short(&of_token(&[old], &token())), stale);
    // The policy stays the list's.
    let lenient = of_token(&[within(2, best_effort("a"))], &token());
    assert_eq!((short(&lenient), lenient.best_effort), (ACTIVE, true));
}

/// A sidecar that does not hold a caller's own revocation yet must not vouch.
#[test]
fn every_list_must_be_complete_up_to_the_version_asked_for() {
    let token = token();
    let ask = |views: &[ListView], min: &str| {
        let min_version = Some(min.parse::<ToldVersion>().unwrap());
        let request =
            Request { min_version, ..Request::new(Credential::Token { token: &token, source: "" }) };
        short(&check(&arcs(views), &request, NOW))
    };
    let behind = denied(Verdict::Unknown(Why::BehindMinVersion));
    let both = [fresh(config("a")), ListView { proven: Some(version(5)), ..fresh(config("bb")) }];
    // The last change of each list is 7: with it, all before it are there.
    assert_eq!(ask(&both, "1/7"), ACTIVE);
    assert_eq!(ask(&both, "1/8"), behind);
    assert_eq!(ask(&both[..1], "1/9"), ACTIVE);
    assert_eq!(ask(&both[..1], "1/9+1"), behind);
    assert_eq!(ask(&both[..1], "2/1"), behind);
}

#[test]
fn a_token_must_keep_the_rules_of_each_list_that_declares_its_issuer() {
    let strict = with_issuer("bb", |issuer| issuer.required_claims = vec!["tenant".parse().unwrap()]);
    let outcome = of_token(&[fresh(config("a")), fresh(strict)], &token());
    assert_eq!(short(&outcome), denied(Verdict::Rejected(Rejection::Unrevocable)));
    let other_audience =
        with_issuer("bb", |issuer| issuer.audiences = Audiences::OneOf(vec!["else".to_owned()]));
    let outcome = of_token(&[fresh(config("a")), fresh(other_audience)], &token());
    assert_eq!(short(&outcome), denied(Verdict::Rejected(Rejection::WrongAudience)));
    let other_type = with_issuer("bb", |issuer| issuer.types = vec!["jwt".to_owned()]);
    let outcome = of_token(&[fresh(config("a")), fresh(other_type)], &token());
    assert_eq!(short(&outcome), denied(Verdict::Rejected(Rejection::WrongType)));
    let elsewhere = with_issuer("bb", |issuer| issuer.issuer = "https://else".to_owned());
    assert_eq!(short(&of_token(&[fresh(config("a")), fresh(elsewhere)], &token())), ACTIVE);
}

#[test]
fn lists_that_differ_about_who_verifies_an_issuer_can_not_vouch() {
    let conflict = Verdict::Unknown(Why::IssuerConflict);
    let foreign = VerifyingKey::from_jwk(&FORGER.jwk()).unwrap();
    let other_key =
        |name| with_issuer(name, |issuer| issuer.verification = Verification::Keys(vec![foreign.clone()]));
    let other_kind = with_issuer("bb", |issuer| {
        issuer.verification = Verification::EnvoyMetadata { payload_key: "jwt".to_owned() };
    });
    for other in [other_key("bb"), other_kind] {
        let outcome = of_token(&[fresh(config("a")), fresh(other)], &token());
        assert_eq!(short(&outcome), denied(conflict));
    }
    // A hit denies whatever else is the case.
    let listed = view(config("a"), State::Fresh, &[(alice(), always())]);
    let outcome = of_token(&[listed, fresh(other_key("bb"))], &token());
    assert_eq!(short(&outcome), denied(Verdict::Revoked(RowKind::Always)));
    // A list in shadow refuses nothing.
    let shadowed = ListConfig { enforcement: shadow("bb").enforcement, ..other_key("bb") };
    let outcome = of_token(&[fresh(config("a")), fresh(shadowed)], &token());
    assert_eq!(short(&outcome), in_shadow(conflict));
    // The order of keys is no difference.
    let keys = |name, reverse: bool| {
        with_issuer(name, |issuer| {
            let renamed = Jwk { kid: Some("k2".to_owned()), ..FORGER.jwk() };
            let [mine, other] = [IDP.jwk(), renamed].map(|jwk| VerifyingKey::from_jwk(&jwk).unwrap());
            issuer.verification =
                Verification::Keys(if reverse { vec![other, mine] } else { vec![mine, other] });
        })
    };
    assert_eq!(short(&of_token(&[fresh(keys("a", false)), fresh(keys("bb", true))], &token())), ACTIVE);
}

#[test]
fn one_source_with_two_kinds_of_token_is_a_conflict() {
    let other = ListConfig { sources: vec![source(cookie("access_token"), opaque())], ..config("bb") };
    let views = [fresh(config("a")), fresh(other.clone())];
    let bearer = format!("Bearer {}", token());
    let conflict = Verdict::Unknown(Why::SourceConflict);
    assert_eq!(short(&of_lines(&views, &[&bearer], &[], &[])), denied(conflict));
    assert_eq!(short(&of_lines(&views, &[&bearer], &[], &[("lists", "a")])), ACTIVE);
    let shadowed = ListConfig { enforcement: shadow("bb").enforcement, ..other };
    let views = [fresh(config("a")), fresh(shadowed)];
    assert_eq!(short(&of_lines(&views, &[&bearer], &[], &[])), in_shadow(conflict));
}

#[test]
fn the_sources_of_all_lists_are_looked_at() {
    let sources = vec![source(cookie("other"), TokenKind::Jwt)];
    let views = [fresh(config("a")), fresh(ListConfig { sources, ..config("bb") })];
    let (bearer, other) = (format!("Bearer {}", token()), format!("other={}", token()));
    assert_eq!(short(&of_lines(&views, &[], &[&other], &[])), ACTIVE);
    assert_eq!(short(&of_lines(&views, &[&bearer], &[&other], &[])), denied(Verdict::Ambiguous));
}

/// A token that only a list in shadow verifies was not looked up where it would be denied.
#[test]
fn the_keys_of_a_list_in_shadow_open_nothing_that_an_enforced_list_refuses() {
    let foreign = VerifyingKey::from_jwk(&FORGER.jwk()).unwrap();
    let other_key = with_issuer("bb", |issuer| issuer.verification = Verification::Keys(vec![foreign]));
    let shadowed = ListConfig { enforcement: shadow("bb").enforcement, ..other_key };
    let views = [view(config("a"), State::Fresh, &[(alice(), always())]), fresh(shadowed)];
    let outcome = of_token(&views, &FORGER.sign(&claims()).unwrap());
    assert_eq!(short(&outcome), denied(Verdict::Rejected(Rejection::BadSignature)));
}

/// What only a list in shadow declares never makes a request refused, and never lets one pass.
#[test]
fn a_source_in_shadow_neither_refuses_nor_admits() {
    let sources = vec![source(cookie("trial"), TokenKind::Jwt)];
    let views = [fresh(config("a")), fresh(ListConfig { sources, ..shadow("bb") })];
    let bearer = format!("Bearer {}", token());
    assert_eq!(short(&of_lines(&views, &[&bearer], &["trial=x"], &[])), in_shadow(Verdict::Ambiguous));
    let malformed = denied(Verdict::Rejected(Rejection::Malformed));
    assert_eq!(short(&of_lines(&views, &[], &["trial=x"], &[])), malformed);
    assert_eq!(short(&of_lines(&views, &[], &["trial="], &[])), denied(Verdict::NoToken));
    let trial = format!("trial={}", token());
    assert_eq!(short(&of_lines(&views, &[], &[&trial], &[])), ACTIVE);
    // Taken off with all else where it was refused.
    let outcome = of_lines(&views, &[], &["a=1; trial=x"], &[("token", "lenient")]);
    assert_eq!(outcome.strip, Strip::Tokens { cookie: b"a=1".to_vec() });
}

#[test]
fn nobody_passes_by_making_up_an_opaque_token_that_only_a_list_in_shadow_looks_for() {
    let sources = vec![source(cookie("trial"), opaque())];
    let views = [fresh(config("a")), fresh(ListConfig { sources, ..shadow("bb") })];
    assert_eq!(short(&of_lines(&views, &[], &["trial=x"], &[])), denied(Verdict::NoToken));
    let listed = (Verdict::NotListed, Decision::Allow, false);
    assert_eq!(short(&of_lines(&views, &[], &["trial=x"], &[("token", "optional")])), listed);
    assert_eq!(short(&of_lines(&views[1..], &[], &["trial=x"], &[])), listed);
    assert_eq!(short(&of_lines(&views, &[], &["session=x"], &[])), listed);
}

#[test]
fn nobody_passes_by_naming_an_issuer_that_only_a_list_in_shadow_declares() {
    let elsewhere = with_issuer("bb", |issuer| issuer.issuer = "https://else".to_owned());
    let shadowed = ListConfig { enforcement: shadow("bb").enforcement, ..elsewhere };
    let views = [fresh(config("a")), fresh(shadowed.clone())];
    let claims = claims_with(json!({"iss": "https://else"}));
    let forged = FORGER.sign(&claims).unwrap();
    assert_eq!(short(&of_token(&views, &forged)), denied(Verdict::Rejected(Rejection::BadSignature)));
    assert_eq!(short(&of_token(&views[1..], &forged)), in_shadow(Verdict::Rejected(Rejection::BadSignature)));
    // A verified one is that list's business.
    assert_eq!(short(&of_token(&views, &IDP.sign(&claims).unwrap())), ACTIVE);
    let expired = IDP.sign(&claims_with(json!({"iss": "https://else", "exp": 999_950}))).unwrap();
    assert_eq!(short(&of_token(&views, &expired)), in_shadow(Verdict::Rejected(Rejection::Expired)));
}

/// The application may read what the proxy has passed on of a token that the sidecar can't take off.
#[test]
fn a_refused_token_that_can_not_be_taken_off_is_not_absent() {
    let config = with_issuer("shop", |issuer| {
        issuer.verification = Verification::EnvoyMetadata { payload_key: "jwt".to_owned() };
    });
    let views = arcs(&[view(config, State::Fresh, &[(alice(), always())])]);
    let upstream = [UpstreamClaims {
        payload_key: "jwt".to_owned(),
        claims: Ok(Claims::parse(claims().to_string().as_bytes()).unwrap()),
    }];
    let policy = RoutePolicy::parse([("token", "lenient")]).unwrap();
    let credential = Credential::Lines { authorization: vec![], cookies: vec![] };
    let request = Request { policy, upstream: &upstream, ..Request::new(credential) };
    assert_eq!(short(&check(&views, &request, NOW)), denied(Verdict::Revoked(RowKind::Always)));
}

#[test]
fn nothing_is_touched_where_nothing_is_in_force() {
    let bearer = format!("Bearer {}", token());
    let listed = [(alice(), always())];
    let lenient =
        of_lines(&[view(shadow("a"), State::Fresh, &listed)], &[&bearer], &[], &[("token", "lenient")]);
    assert_eq!(short(&lenient), in_shadow(Verdict::Revoked(RowKind::Always)));
    assert_eq!(lenient.strip, Strip::Nothing);
    let absent = of_lines(&[fresh(shadow("a"))], &["Basic abc"], &[], &[("token", "optional")]);
    assert_eq!(absent.strip, Strip::Nothing);
    let report =
        of_lines(&[shop(&listed)], &["Basic abc"], &[], &[("token", "optional"), ("mode", "report")]);
    assert_eq!(report.strip, Strip::Nothing);
}

#[test]
fn only_refused_cookies_are_cleared_and_only_where_the_source_asks() {
    let stale = [view(config("shop"), State::Stale, &[])];
    let cookie = format!("access_token={}", token());
    let none: Vec<String> = Vec::new();
    let clear = |views: &[ListView], authorization: &[&str], cookies: &[&str], policy: &[(&str, &str)]| {
        of_lines(views, authorization, cookies, policy).clear_cookies
    };
    let listed = [shop(&[(alice(), always())])];
    let this = ["access_token".to_owned()];
    assert_eq!(clear(&listed, &[], &[&cookie], &[]), this);
    assert_eq!(clear(&listed, &[], &["access_token="], &[]), this);
    assert_eq!(clear(&stale, &[], &[&cookie], &[]), none);
    assert_eq!(clear(&listed, &[&format!("Bearer {}", token())], &["theme=dark"], &[]), none);
    // A page that lets a user log in sets the cookie itself.
    assert_eq!(clear(&listed, &[], &[&cookie], &[("token", "lenient")]), none);
    let keep = TokenSource { when_refused: WhenRefused::Keep, ..config("a").sources[1].clone() };
    let kept = view(ListConfig { sources: vec![keep], ..config("a") }, State::Fresh, &[(alice(), always())]);
    assert_eq!(clear(&[kept], &[], &[&cookie], &[]), none);
}

/// What was left on the disk is under the hash key of its time.
#[test]
fn denials_are_looked_up_under_their_own_hash_key() {
    let old = list_under(HashKey::new([77; 16]), &[(alice(), always())]);
    let restarted = ListView { denials: vec![Arc::new(old)], ..view(config("shop"), State::NeverFresh, &[]) };
    let revoked = denied(Verdict::Revoked(RowKind::Always));
    assert_eq!(short(&of_token(std::slice::from_ref(&restarted), &token())), revoked);
    let both = ListView { knowledge: State::Fresh.knowledge(), ..restarted };
    assert_eq!(short(&of_token(std::slice::from_ref(&both), &token())), revoked);
    assert_eq!(short(&of_token(&[both], &token_with(json!({"sub": "bob"})))), ACTIVE);
}

/// A list may have been enforced since the disk was written.
#[test]
fn what_the_disk_says_of_shadow_lets_nothing_pass() {
    let loaded = ListView { generation: 0, ..view(shadow("shop"), State::NeverFresh, &[]) };
    let never_fresh = denied(Verdict::Unknown(Why::List(Doubt::NeverFresh)));
    assert_eq!(short(&of_token(&[loaded], &token())), never_fresh);
}

/// Invariant 17: cutoffs are exact at the boundary.
#[test]
fn a_cutoff_reaches_to_its_end_with_the_skew() {
    let listed = |cutoff| [shop(&[(alice(), issued_until(cutoff))])];
    // Issued at 999,900, and the skew is one second.
    let revoked = denied(Verdict::Revoked(RowKind::Issued));
    assert_eq!(short(&of_token(&listed(999_899), &token())), revoked);
    assert_eq!(short(&of_token(&listed(999_898), &token())), ACTIVE);
}

/// Invariant 4: a denied token does not come back to life because the skew was lowered.
#[test]
fn the_largest_skew_since_the_tokens_issue_counts() {
    let lowered = |until: u64| {
        let config = with_issuer("shop", |issuer| {
            let before = Maxima { clock_skew_seconds: 10, ..issuer.maxima };
            issuer.history = vec![(UnixSeconds::new(until).unwrap(), before)];
        });
        [view(config, State::Fresh, &[(alice(), issued_until(999_890))])]
    };
    let revoked = denied(Verdict::Revoked(RowKind::Issued));
    assert_eq!(short(&of_token(&lowered(999_950), &token())), revoked);
    assert_eq!(short(&of_token(&lowered(999_890), &token())), revoked);
    assert_eq!(short(&of_token(&lowered(999_889), &token())), ACTIVE);
}

/// Invariant 7: expired at the controllers is expired here, whatever the wall clock says; by any list's horizon.
#[test]
fn the_floor_is_that_of_all_lists() {
    let horizon = UnixSeconds::new(1_000_200 + 60).ok();
    let views = [fresh(config("a")), ListView { horizon, ..fresh(config("bb")) }];
    assert_eq!(short(&of_token(&views, &token())), denied(Verdict::Rejected(Rejection::Expired)));
}

#[test]
fn more_values_than_can_be_checked_are_a_doubt_with_a_reason_of_its_own() {
    let selectors = vec![crate::token::list_config::DeclaredSelector {
        name: "group".to_owned(),
        claims: vec!["groups".parse().unwrap()],
    }];
    let required = with_issuer("shop", |issuer| issuer.required_claims = vec!["groups".parse().unwrap()]);
    let groups = |count: usize| token_with(json!({"groups": vec![7; count]}));
    for config in [config("shop"), required] {
        let views = [fresh(ListConfig { selectors: selectors.clone(), ..config })];
        assert_eq!(short(&of_token(&views, &groups(256))), ACTIVE);
        let outcome = of_token(&views, &groups(257));
        assert_eq!(short(&outcome), denied(Verdict::Unknown(Why::TooMuch(SelectionError::TooManyElements))));
    }
}

#[test]
fn claims_of_a_caller_need_the_name_of_the_key_once_a_key_is_revoked() {
    let claims = Claims::parse(claims().to_string().as_bytes()).unwrap();
    let ask = |views: &[ListView], key_id| {
        let credential = Credential::Claims { claims: Ok(&claims), key_id };
        short(&check(&arcs(views), &Request::new(credential), NOW))
    };
    let of_key = |name: &str| [shop(&[(target(Selection::Key(name.to_owned())), always())])];
    let revoked = denied(Verdict::Revoked(RowKind::Always));
    assert_eq!(ask(&[shop(&[])], None), ACTIVE);
    assert_eq!(ask(&of_key("k1"), Some("k1")), revoked);
    assert_eq!(ask(&of_key("k9"), Some("k9")), revoked);
    assert_eq!(ask(&of_key("k9"), Some("k1")), ACTIVE);
    assert_eq!(ask(&of_key("k1"), None), denied(Verdict::Unknown(Why::KeyNotTold)));
    assert_eq!(ask(&of_key("k9"), None), ACTIVE);
}

#[test]
fn a_token_by_itself_is_of_the_kind_of_its_source() {
    let ask = |source| {
        let request = Request::new(Credential::Token { token: "abc", source });
        short(&check(&arcs(&[shop(&[])]), &request, NOW))
    };
    assert_eq!(ask("session"), (Verdict::NotListed, Decision::Allow, false));
    assert_eq!(ask("Authorization"), denied(Verdict::Rejected(Rejection::Malformed)));
    assert_eq!(ask(""), denied(Verdict::Rejected(Rejection::Malformed)));
    assert_eq!(ask("elsewhere"), denied(Verdict::Unknown(Why::BadPolicy)));
}

#[test]
fn effort_is_counted() {
    let outcome = of_token(&[shop(&[])], &token_with(json!({"iat": 1_000_001})));
    assert_eq!((outcome.effort.keys, outcome.effort.issued_ahead_nanos), (7, SECOND));
}

#[test]
fn an_explanation_names_steps_and_selectors_and_never_a_value() {
    let views = [view(config("a"), State::Stale, &[(alice(), always())]), fresh(shadow("bb"))];
    let token = token();
    let request = Request::new(Credential::Token { token: &token, source: "" });
    let (outcome, steps) = explain(&arcs(&views), &request, NOW);
    assert_eq!(outcome, check(&arcs(&views), &request, NOW));
    let said: Vec<_> = steps.iter().map(|step| (step.step.as_str(), step.passed)).collect();
    let expected = [
        ("shape", true),
        ("issuer", true),
        ("signature default/a", true),
        ("rules default/a", true),
        ("lookup default/a", false),
        ("signature default/bb", true),
        ("rules default/bb", true),
        ("lookup default/bb", true),
        ("freshness default/a", false),
        ("freshness default/bb", true),
        ("decision", false),
    ];
    assert_eq!(said, expected);
    assert!(steps[4].outcome.contains("selector subject"), "{:?}", steps[4]);
    let all: String = steps.iter().map(|step| step.outcome.as_str()).collect();
    for secret in ["alice", "t1", "id.example.com", token.as_str()] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn lists_that_contradict_each_other_are_named_and_nothing_else_is() {
    let foreign = VerifyingKey::from_jwk(&FORGER.jwk()).unwrap();
    let other_key = with_issuer("bb", |issuer| issuer.verification = Verification::Keys(vec![foreign]));
    let other_kind = ListConfig { sources: vec![source(cookie("access_token"), opaque())], ..config("bb") };
    let token = token();
    let bearer = format!("Bearer {token}");
    for (other, about, expected) in [
        (
            other_key,
            Subject::Issuer,
            "lists default/a and default/bb differ about who verifies the tokens of an issuer that both declare, or with which keys",
        ),
        (
            other_kind,
            Subject::Source,
            "lists default/a and default/bb differ about what kind of token a source that both declare carries",
        ),
    ] {
        // The one in between agrees with the first.
        let views = [fresh(config("a")), fresh(ListConfig { sources: vec![], ..config("ab") }), fresh(other)];
        let credential = Credential::Lines { authorization: vec![bearer.as_bytes()], cookies: Vec::new() };
        let (outcome, steps) = explain(&arcs(&views), &Request::new(credential), NOW);
        let [a, bb] = ["a", "bb"].map(|name| config(name).name);
        assert_eq!(outcome.contradiction, Some(Box::new(Contradiction::new(about, &bb, &a))));
        assert!(steps.iter().any(|step| !step.passed && step.outcome == expected), "{steps:?}");
    }
    assert_eq!(of_token(&[fresh(config("a")), fresh(config("bb"))], &token).contradiction, None);
}

/// Any proof that is loaded was sent before the clock was read: else it would seem younger than it is.
#[test]
fn views_are_loaded_before_the_clock_is_read() {
    struct Publishing(Views);
    impl Clock for Publishing {
        fn now(&self) -> Moment {
            // What is published now comes too late for this check.
            self.0.publish(0, view(config("shop"), State::Fresh, &[]));
            NOW
        }
    }
    let views = Views::new(&["shop".parse().unwrap()]);
    views.publish(0, view(config("shop"), State::Expired, &[]));
    let checker = Checker::new(views.clone(), Arc::new(Publishing(views)), Arc::new(()));
    let token = token();
    let request = Request::new(Credential::Token { token: &token, source: "" });
    let ask = || short(&checker.check(Transport::Check, &request));
    assert_eq!(ask(), denied(Verdict::Unknown(Why::List(Doubt::Expired))));
    assert_eq!(ask(), ACTIVE);
}
