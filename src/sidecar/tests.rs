//! One table of cases, run through every check path.
//!
//! Rows 4 and 5 of the regression list: no path receives data and fails to consult it, and no path checks what
//! another does not.

use serde_json::json;

use super::outcome::Decision;
use super::test_support::*;
use crate::distribution::view::ListView;
use crate::revocation::row::Rows;
use crate::revocation::selector::{ClaimMatch, Selection, Target, TypedValue};
use crate::runtime::gate::Admission;
use crate::token::hash::sha256;
use crate::token::list_config::{DeclaredSelector, ListConfig};

mod clock;
mod doubts;
mod paths;

/// What is presented.
#[derive(Clone, Debug)]
enum Presents {
    Nothing,
    Bearer(String),
    Cookie(&'static str, String),
    /// Lines that no gRPC caller could send.
    Lines(Vec<Vec<u8>>, Vec<Vec<u8>>),
}

impl Presents {
    fn lines(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        match self {
            Self::Nothing => (Vec::new(), Vec::new()),
            Self::Bearer(token) => (vec![format!("Bearer {token}").into_bytes()], Vec::new()),
            Self::Cookie(name, value) => {
                (Vec::new(), vec![format!("theme=dark; {name}={value}").into_bytes()])
            }
            Self::Lines(authorization, cookies) => (authorization.clone(), cookies.clone()),
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    views: Vec<ListView>,
    presents: Presents,
    policy: Vec<(&'static str, &'static str)>,
    /// Which version the caller needs; only a caller of our own services can say so.
    min_version: &'static str,
    admission: Admission,
    expected: Expected,
}

/// What every path has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    word: &'static str,
    decision: Decision,
    reason: &'static str,
    status: u16,
}

const fn allow(word: &'static str) -> Expected {
    Expected { word, decision: Decision::Allow, reason: "", status: 200 }
}

const fn deny(word: &'static str, reason: &'static str, status: u16) -> Expected {
    Expected { word, decision: Decision::Deny, reason, status }
}

const fn in_spite_of(word: &'static str, reason: &'static str) -> Expected {
    Expected { word, decision: Decision::Allow, reason, status: 200 }
}

fn case(
    name: impl Into<String>,
    views: &[ListView],
    presents: Presents,
    policy: &[(&'static str, &'static str)],
    expected: Expected,
) -> Case {
    let (views, policy) = (views.to_vec(), policy.to_vec());
    Case {
        name: name.into(),
        views,
        presents,
        policy,
        min_version: "",
        admission: Admission::Granted,
        expected,
    }
}

fn bearer() -> Presents {
    Presents::Bearer(token())
}

const REVOKED: Expected = deny("revoked", "REVOKED", 401);
const AMBIGUOUS: Expected = deny("ambiguous", "AMBIGUOUS_TOKEN", 400);
const MALFORMED: Expected = deny("rejected", "MALFORMED", 401);

fn unknown(reason: &'static str) -> Expected {
    deny("unknown", reason, 503)
}

fn rejected(reason: &'static str) -> Expected {
    deny("rejected", reason, 401)
}

/// Selectors that read an array, a claim within an object, and a number.
fn declared() -> Vec<DeclaredSelector> {
    let shapes: [(&str, &[&str]); 3] =
        [("group", &["groups"]), ("tenant", &["/realm/tenants/id"]), ("level-of", &["level", "sub"])];
    let selector = |(name, claims): (&str, &[&str])| DeclaredSelector {
        name: name.to_owned(),
        claims: claims.iter().map(|claim| claim.parse().unwrap()).collect(),
    };
    shapes.map(selector).into()
}

/// One target by a selector of [`declared`].
fn by(name: &str, values: &[(&str, TypedValue)]) -> Selection {
    let value = |(claim, value): &(&str, TypedValue)| ClaimMatch {
        claim: claim.parse().unwrap(),
        value: value.clone(),
    };
    Selection::Declared { name: name.to_owned(), values: values.iter().map(value).collect() }
}

fn text(value: &str) -> TypedValue {
    TypedValue::String(value.to_owned())
}

fn number(value: &str) -> TypedValue {
    TypedValue::Number(value.parse().unwrap())
}

fn session_started_until(seconds: u64) -> Rows {
    Rows { session_started: issued_until(seconds).issued, ..Rows::default() }
}

/// A token with something for every selector to read. It was renewed: its session is older than it is.
fn rich() -> Presents {
    Presents::Bearer(token_with(json!({
        "auth_time": 990_000, "groups": ["staff", "admins"], "level": 7,
        "realm": {"tenants": [{"id": "a"}, {"id": "b"}]},
    })))
}

fn hits() -> Vec<(&'static str, Target, Rows)> {
    let hit = |name, selection, rows| (name, target(selection), rows);
    let key = crate::token::keys::VerifyingKey::from_jwk(&IDP.jwk()).unwrap();
    vec![
        hit("token", Selection::Token("t1".into()), always()),
        hit("session", Selection::Session("s1".into()), always()),
        hit("subject", Selection::Subject("alice".into()), issued_until(999_899)),
        hit("subject's sessions", Selection::Subject("alice".into()), session_started_until(989_999)),
        hit("client", Selection::Client("web".into()), issued_until(2_000_000)),
        hit("kid", Selection::Key("k1".into()), always()),
        hit("thumbprint", Selection::Key(key.thumbprint), always()),
        hit("everything", Selection::Everything, issued_until(999_900)),
        hit("an element of an array", by("group", &[("groups", text("admins"))]), always()),
        hit("a nested claim", by("tenant", &[("/realm/tenants/id", text("b"))]), always()),
        hit(
            "a number and a subject",
            by("level-of", &[("level", number("7.0")), ("sub", text("alice"))]),
            always(),
        ),
    ]
}

/// Neighbours of the hits: each differs from one in a single respect, and denies nothing.
fn misses() -> Vec<(Target, Rows)> {
    let miss = |selection, rows| (target(selection), rows);
    vec![
        miss(Selection::Subject("alice".into()), session_started_until(989_998)),
        miss(Selection::Everything, issued_until(999_898)),
        miss(by("group", &[("groups", text("root"))]), always()),
        miss(by("tenant", &[("/realm/tenants/id", text("c"))]), always()),
        miss(by("level-of", &[("level", text("7")), ("sub", text("alice"))]), always()),
        miss(by("level-of", &[("level", number("7")), ("sub", text("bob"))]), always()),
    ]
}

/// Invariant 19: for each (state, policy, hit) the decision is the table's.
fn table_of_states() -> Vec<Case> {
    let mut cases = Vec::new();
    for state in State::ALL {
        for config in [config("shop"), best_effort("shop")] {
            let config = ListConfig { selectors: declared(), ..config };
            let name = format!("{state:?} {:?}", config.freshness.policy);
            let without = match (state, config.freshness.policy) {
                (State::Fresh, _) | (State::Stale, crate::revocation::freshness::Policy::BestEffort) => {
                    allow("active")
                }
                (State::Stale, _) => unknown("STALE"),
                (State::Expired, _) => unknown("EXPIRED_LIST"),
                (State::NeverFresh, _) => unknown("NEVER_FRESH"),
                (State::Corrupt, _) => unknown("CORRUPT"),
            };
            let clean = view(config.clone(), state, &[]);
            cases.push(case(
                format!("{name}, no hit"),
                std::slice::from_ref(&clean),
                bearer(),
                &[],
                without.clone(),
            ));
            let opaque = Presents::Cookie("session", "abc".into());
            let opaque_expected = Expected {
                word: if without.word == "active" { "not-listed" } else { without.word },
                ..without
            };
            cases.push(case(format!("{name}, opaque"), &[clean], opaque, &[], opaque_expected));
            for (hit, target, rows) in hits() {
                let listed = view(config.clone(), state, &[(target, rows)]);
                cases.push(case(format!("{name}, hit by {hit}"), &[listed], rich(), &[], REVOKED));
            }
            let beside = view(config.clone(), state, &misses());
            let name_beside = format!("{name}, beside every hit");
            cases.push(case(name_beside, &[beside], rich(), &[], without.clone()));
            let hit = (target(Selection::Opaque(sha256(b"abc"))), always());
            let listed = view(config, state, &[hit]);
            let opaque = Presents::Cookie("session", "abc".into());
            cases.push(case(format!("{name}, opaque hit"), &[listed], opaque, &[], REVOKED));
        }
    }
    cases
}

fn table_of_tokens() -> Vec<Case> {
    let shop = [shop(&[])];
    let bad = |name: &str, presents: Presents, expected: Expected| case(name, &shop, presents, &[], expected);
    let changed = |changes| Presents::Bearer(token_with(changes));
    let with_header = |header: &str| {
        Presents::Bearer(IDP.sign_parts(header.as_bytes(), claims().to_string().as_bytes()).unwrap())
    };
    vec![
        bad("active in a cookie", Presents::Cookie("access_token", token()), allow("active")),
        bad("no token", Presents::Nothing, deny("none", "NO_TOKEN", 401)),
        bad("not a JWS", Presents::Bearer("abc".into()), MALFORMED),
        bad("padded", Presents::Bearer(format!("{}=", token())), MALFORMED),
        bad("a mebibyte", Presents::Bearer("a".repeat(17_000)), rejected("TOO_LARGE")),
        bad("forged", Presents::Bearer(FORGER.sign(&claims()).unwrap()), rejected("BAD_SIGNATURE")),
        bad("alg none", with_header(r#"{"alg":"none","typ":"at+jwt"}"#), rejected("WRONG_ALGORITHM")),
        bad(
            "foreign kid",
            with_header(r#"{"alg":"ES256","kid":"k9","typ":"at+jwt"}"#),
            rejected("UNKNOWN_KEY"),
        ),
        bad("crit", with_header(r#"{"alg":"ES256","kid":"k1","crit":[]}"#), rejected("FORBIDDEN_HEADER")),
        bad("typ", with_header(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#), rejected("WRONG_TYPE")),
        bad("issuer", changed(json!({"iss": "https://else"})), rejected("UNKNOWN_ISSUER")),
        bad("no issuer", changed(json!({"iss": null})), rejected("UNKNOWN_ISSUER")),
        bad("issuer's type", changed(json!({"iss": 7})), rejected("MISSING_CLAIM")),
        bad("audience", changed(json!({"aud": "else"})), rejected("WRONG_AUDIENCE")),
        bad("no iat", changed(json!({"iat": null})), rejected("MISSING_CLAIM")),
        bad("exp is text", changed(json!({"exp": "1000200"})), rejected("MISSING_CLAIM")),
        bad("expired", changed(json!({"exp": 1_000_000})), rejected("EXPIRED")),
        bad("not yet", changed(json!({"nbf": 1_000_001})), rejected("NOT_YET_VALID")),
        bad("future", changed(json!({"iat": 1_000_002})), rejected("ISSUED_IN_FUTURE")),
        bad("backwards", changed(json!({"exp": 999_899})), rejected("EXPIRES_BEFORE_ISSUE")),
        bad("too long", changed(json!({"exp": 1_000_501})), rejected("LIFETIME_TOO_LONG")),
        bad("old session", changed(json!({"auth_time": 1})), rejected("SESSION_TOO_LONG")),
        bad("beyond time", changed(json!({"exp": 1e300})), rejected("TIME_OUT_OF_RANGE")),
    ]
}

fn table_of_places() -> Vec<Case> {
    let shop = [shop(&[])];
    let line = |text: &str| text.as_bytes().to_vec();
    let bearer_line = format!("Bearer {}", token());
    let cookie_line = format!("access_token={}", token());
    let at = |name: &str, authorization: &[Vec<u8>], cookies: &[Vec<u8>], expected: Expected| {
        let presents = Presents::Lines(authorization.to_vec(), cookies.to_vec());
        case(name, &shop, presents, &[], expected)
    };
    let folded = line(&format!("theme=dark,{cookie_line}"));
    vec![
        at("header and cookie", &[line(&bearer_line)], &[line(&cookie_line)], AMBIGUOUS),
        at("two lines", &[line(&bearer_line), line(&bearer_line)], &[], AMBIGUOUS),
        at("two lines, folded", &[line(&format!("{bearer_line}, {bearer_line}"))], &[], AMBIGUOUS),
        at("basic and bearer, folded", &[line(&format!("Basic abc, {bearer_line}"))], &[], AMBIGUOUS),
        at("inner space", &[line("Bearer a b")], &[], AMBIGUOUS),
        at("two cookies", &[], &[line(&cookie_line), line(&cookie_line)], AMBIGUOUS),
        at("JWT and opaque cookie", &[], &[line(&format!("{cookie_line}; session=abc"))], AMBIGUOUS),
        at("cookies, folded", &[], &[folded], AMBIGUOUS),
        at("a comma elsewhere", &[line(&bearer_line)], &[line("theme=a,b")], allow("active")),
        at("another scheme", &[line("Basic abc")], &[], deny("none", "NO_TOKEN", 401)),
        at("another scheme and a cookie", &[line("Basic abc")], &[line(&cookie_line)], allow("active")),
        at("no credentials", &[line("Bearer ")], &[], MALFORMED),
        at("no scheme", &[line("")], &[], MALFORMED),
        at("no UTF-8", &[b"Bearer \xff\xfe".to_vec()], &[], MALFORMED),
        at("an empty cookie", &[], &[line("access_token=")], MALFORMED),
    ]
}

fn table_of_policies() -> Vec<Case> {
    let clean = [shop(&[])];
    let listed = [shop(&[(alice(), always())])];
    let stale = [view(config("shop"), State::Stale, &[])];
    let on = |name: &str, views: &[ListView], presents, policy: &[(&'static str, &'static str)], expected| {
        case(name, views, presents, policy, expected)
    };
    let two = Presents::Lines(vec![b"Bearer a".to_vec(), b"Bearer b".to_vec()], vec![]);
    let bad = unknown("BAD_POLICY");
    vec![
        on("optional, none", &clean, Presents::Nothing, &[("token", "optional")], allow("none")),
        on("optional, good", &clean, bearer(), &[("token", "optional")], allow("active")),
        on("optional, revoked", &listed, bearer(), &[("token", "optional")], REVOKED),
        on("optional, none, stale", &stale, Presents::Nothing, &[("token", "optional")], unknown("STALE")),
        on("required, none, stale", &stale, Presents::Nothing, &[], deny("none", "NO_TOKEN", 401)),
        on("lenient, none", &clean, Presents::Nothing, &[("token", "lenient")], allow("none")),
        on("lenient, good", &clean, bearer(), &[("token", "lenient")], allow("active")),
        on("lenient, revoked", &listed, bearer(), &[("token", "lenient")], in_spite_of("none", "REVOKED")),
        on(
            "lenient, two",
            &clean,
            two.clone(),
            &[("token", "lenient")],
            in_spite_of("none", "AMBIGUOUS_TOKEN"),
        ),
        on("lenient, stale", &stale, bearer(), &[("token", "lenient")], unknown("STALE")),
        on("report, revoked", &listed, bearer(), &[("mode", "report")], in_spite_of("revoked", "REVOKED")),
        on("report, stale", &stale, bearer(), &[("mode", "report")], in_spite_of("unknown", "STALE")),
        on("report, two", &clean, two, &[("mode", "report")], in_spite_of("ambiguous", "AMBIGUOUS_TOKEN")),
        on("report, none", &clean, Presents::Nothing, &[("mode", "report")], in_spite_of("none", "NO_TOKEN")),
        on("audience", &clean, bearer(), &[("audience", "shop")], allow("active")),
        on("other audience", &clean, bearer(), &[("audience", "else")], rejected("WRONG_AUDIENCE")),
        on(
            "audience of an opaque token",
            &clean,
            Presents::Cookie("session", "abc".into()),
            &[("audience", "shop")],
            rejected("WRONG_AUDIENCE"),
        ),
        on("max_age", &clean, bearer(), &[("max_age", "3s")], allow("active")),
        on("smaller max_age", &clean, bearer(), &[("max_age", "1500ms")], unknown("STALE")),
        on("list by name", &clean, bearer(), &[("lists", "default/shop")], allow("active")),
        on("unfollowed list", &clean, bearer(), &[("lists", "default/shop,other")], bad.clone()),
        on("misspelt key", &clean, bearer(), &[("tokn", "optional")], bad.clone()),
        on("misspelt value", &clean, bearer(), &[("token", "Optional")], bad),
    ]
}

fn table_of_lists() -> Vec<Case> {
    let hit = [(alice(), always())];
    let fresh = |config, rows: &[(Target, Rows)]| view(config, State::Fresh, rows);
    let stale = |config| view(config, State::Stale, &[]);
    let bare = |name: &str| ListView::empty(name.parse().unwrap());
    let token_cases = |name: &str, views: &[ListView], expected| case(name, views, bearer(), &[], expected);
    let a = fresh(config("a"), &[]);
    let mut forged = bare("left");
    forged.config = Some(config("left").into());
    forged.denials = fresh(config("left"), &hit).list.into_iter().collect();
    vec![
        token_cases("two that vouch", &[a.clone(), fresh(config("bb"), &[])], allow("active")),
        token_cases("a hit in the second", &[a.clone(), fresh(config("bb"), &hit)], REVOKED),
        token_cases("a hit beside a stale one", &[stale(config("a")), fresh(config("bb"), &hit)], REVOKED),
        token_cases("one is stale", &[a.clone(), stale(config("bb"))], unknown("STALE")),
        token_cases("one has no declaration", &[a.clone(), bare("bb")], unknown("NEVER_FRESH")),
        token_cases("a hit beside no declaration", &[fresh(config("a"), &hit), bare("bb")], REVOKED),
        token_cases("no declaration", &[bare("a")], unknown("NEVER_FRESH")),
        token_cases("no list", &[], unknown("NEVER_FRESH")),
        token_cases("a hit on the disk", &[forged], REVOKED),
        token_cases("a hit in shadow", &[fresh(shadow("a"), &hit)], in_spite_of("revoked", "REVOKED")),
        token_cases("stale in shadow", &[stale(shadow("a"))], in_spite_of("unknown", "STALE")),
        token_cases(
            "a hit in shadow beside an enforced one",
            &[a.clone(), fresh(shadow("bb"), &hit)],
            in_spite_of("revoked", "REVOKED"),
        ),
        token_cases("a hit beside shadow", &[fresh(config("a"), &hit), fresh(shadow("bb"), &[])], REVOKED),
        case("only the other", &[a, fresh(config("bb"), &hit)], bearer(), &[("lists", "a")], allow("active")),
        case(
            "unknown issuer, one has no declaration",
            &[fresh(config("a"), &[]), bare("bb")],
            Presents::Bearer(token_with(json!({"iss": "https://else"}))),
            &[],
            unknown("NEVER_FRESH"),
        ),
        case(
            "unknown issuer, one is stale",
            &[fresh(config("a"), &[]), stale(config("bb"))],
            Presents::Bearer(token_with(json!({"iss": "https://else"}))),
            &[],
            rejected("UNKNOWN_ISSUER"),
        ),
        case(
            "no token, one has no declaration",
            &[fresh(config("a"), &[]), bare("bb")],
            Presents::Nothing,
            &[],
            unknown("NEVER_FRESH"),
        ),
        case(
            "forged, in shadow beside an enforced one",
            &[fresh(config("a"), &[]), fresh(shadow("bb"), &[])],
            Presents::Bearer(FORGER.sign(&claims()).unwrap()),
            &[],
            rejected("BAD_SIGNATURE"),
        ),
    ]
}

/// Invariant 19: what is one too many is not looked at, whatever it presents. It is in doubt.
fn table_of_overload() -> Vec<Case> {
    let refused = |name: &str, views: &[ListView], presents, policy: &[_], expected| {
        let case = case(format!("overloaded: {name}"), views, presents, policy, expected);
        Case { admission: Admission::Refused, ..case }
    };
    let fresh = |config, rows: &[(Target, Rows)]| view(config, State::Fresh, rows);
    let clean = [shop(&[])];
    let overloaded = || unknown("OVERLOADED");
    let reported = || in_spite_of("unknown", "OVERLOADED");
    let forged = || Presents::Bearer(FORGER.sign(&claims()).unwrap());
    let both = Presents::Lines(vec![b"Bearer a".to_vec(), b"Bearer b".to_vec()], Vec::new());
    vec![
        refused("a good token", &clean, bearer(), &[], overloaded()),
        refused("a hit", &[shop(&[(alice(), always())])], bearer(), &[], overloaded()),
        refused("forged", &clean, forged(), &[], overloaded()),
        refused("opaque", &clean, Presents::Cookie("session", "abc".into()), &[], overloaded()),
        refused("no token", &clean, Presents::Nothing, &[], overloaded()),
        refused("ambiguous", &clean, both, &[], overloaded()),
        refused("optional", &clean, Presents::Nothing, &[("token", "optional")], overloaded()),
        refused("lenient", &clean, forged(), &[("token", "lenient")], overloaded()),
        refused("report", &clean, bearer(), &[("mode", "report")], reported()),
        refused("misspelt key", &clean, bearer(), &[("tokn", "optional")], unknown("BAD_POLICY")),
        refused("unfollowed list", &clean, bearer(), &[("lists", "other")], unknown("BAD_POLICY")),
        refused("stale", &[view(config("shop"), State::Stale, &[])], bearer(), &[], overloaded()),
        refused("no list", &[], bearer(), &[], overloaded()),
        refused("shadow", &[fresh(shadow("a"), &[])], bearer(), &[], reported()),
        refused(
            "shadow beside an enforced one",
            &[fresh(config("a"), &[]), fresh(shadow("bb"), &[])],
            bearer(),
            &[],
            overloaded(),
        ),
    ]
}

fn cases() -> Vec<Case> {
    let tables = [table_of_states(), table_of_tokens(), table_of_places(), table_of_policies()];
    [tables.concat(), table_of_lists(), doubts::table_of_doubts(), table_of_overload()].concat()
}
