use super::*;
use crate::token::list_config::{ClaimNames, Verification};

pub(crate) fn issuer_config() -> IssuerConfig {
    let path = |text: &str| text.parse().unwrap();
    IssuerConfig {
        issuer: "https://id.example.com".to_owned(),
        audiences: Audiences::OneOf(vec!["shop".to_owned()]),
        types: vec!["at+jwt".to_owned()],
        maxima: Maxima {
            token_lifetime_seconds: 600,
            session_lifetime_seconds: 86400,
            clock_skew_seconds: 1,
        },
        history: Vec::new(),
        session_start_claim: path("auth_time"),
        leeway_seconds: 0,
        required_claims: Vec::new(),
        claim_names: ClaimNames {
            token: path("jti"),
            session: path("sid"),
            subject: path("sub"),
            client: path("client_id"),
        },
        verification: Verification::Keys(Vec::new()),
    }
}

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds).unwrap()
}

fn judge_with(issuer: &IssuerConfig, json: &str, now: u64) -> Result<TokenTimes, Rejection> {
    let now = Now { wall: NumericDate::from(at(now)), floor: None };
    accept(&Claims::parse(json.as_bytes()).unwrap(), issuer, None, now)
}

fn judge(members: &str, now: u64) -> Result<(), Rejection> {
    judge_with(&issuer_config(), &format!(r#"{{"aud":"shop",{members}}}"#), now).map(|_| ())
}

#[test]
fn exp_is_exclusive_and_fractions_are_kept() {
    assert_eq!(judge(r#""iat":1000,"exp":1600"#, 1599), Ok(()));
    assert_eq!(judge(r#""iat":1000,"exp":1600"#, 1600), Err(Rejection::Expired));
    assert_eq!(judge(r#""iat":1000,"exp":1599.5"#, 1599), Ok(()));
    assert_eq!(judge(r#""iat":1000,"exp":1600.000000001"#, 1600), Err(Rejection::LifetimeTooLong));
    assert_eq!(judge(r#""iat":1000.5,"exp":1600.5"#, 1600), Ok(()));
}

#[test]
fn iat_may_run_ahead_by_the_skew_and_no_more() {
    assert_eq!(judge(r#""iat":1001,"exp":1600"#, 1000), Ok(()));
    assert_eq!(judge(r#""iat":1001.000001,"exp":1600"#, 1000), Err(Rejection::IssuedInFuture));
    assert_eq!(judge(r#""iat":1000,"nbf":1001,"exp":1600"#, 1000), Err(Rejection::NotYetValid));
    assert_eq!(judge(r#""iat":1000,"nbf":1001,"exp":1600"#, 1001), Ok(()));
}

#[test]
fn leeway_is_zero_unless_declared() {
    let lenient = IssuerConfig { leeway_seconds: 5, ..issuer_config() };
    let json = r#"{"aud":"shop","iat":1000,"exp":1600}"#;
    assert!(judge_with(&lenient, json, 1604).is_ok());
    assert_eq!(judge_with(&lenient, json, 1605), Err(Rejection::Expired));
}

/// Invariant 7, failure 15: a token that lives longer than revocations are kept is refused.
#[test]
fn a_lifetime_above_the_maximum_is_refused() {
    assert_eq!(judge(r#""iat":1000,"exp":1600"#, 1000), Ok(()));
    assert_eq!(judge(r#""iat":1000,"exp":1601"#, 1000), Err(Rejection::LifetimeTooLong));
    assert_eq!(judge(r#""iat":1000,"exp":999"#, 1000), Err(Rejection::ExpiresBeforeIssue));
    assert_eq!(judge(r#""iat":100000,"exp":100010,"auth_time":13600"#, 100_000), Ok(()));
    assert_eq!(
        judge(r#""iat":100000,"exp":100010,"auth_time":13599"#, 100_000),
        Err(Rejection::SessionTooLong)
    );
}

/// Invariant 7: what was forgotten under a short maximum does not come back to life after a raise.
#[test]
fn the_smallest_maximum_since_issue_counts() {
    let short = Maxima { token_lifetime_seconds: 60, ..issuer_config().maxima };
    let raised = IssuerConfig { history: vec![(at(2000), short)], ..issuer_config() };
    let token = |iat: u64| format!(r#"{{"aud":"shop","iat":{iat},"exp":{}}}"#, iat + 600);
    assert_eq!(judge_with(&raised, &token(2001), 2001), Err(Rejection::LifetimeTooLong));
    assert!(judge_with(&raised, &token(2002), 2002).is_ok());
}

/// Invariant 4: a session that was revoked and forgotten under a short maximum is not renewed after a raise.
#[test]
fn the_smallest_session_maximum_since_the_session_began_counts() {
    let short = Maxima { session_lifetime_seconds: 3600, ..issuer_config().maxima };
    let raised = IssuerConfig { history: vec![(at(20_000), short)], ..issuer_config() };
    let renewed = |start: u64| format!(r#"{{"aud":"shop","iat":30000,"exp":30600,"auth_time":{start}}}"#);
    assert_eq!(judge_with(&raised, &renewed(20_001), 30_000).map(|_| ()), Err(Rejection::SessionTooLong));
    assert!(judge_with(&raised, &renewed(20_002), 30_000).is_ok());
    assert!(judge_with(&issuer_config(), &renewed(10_000), 30_000).is_ok());
}

/// Invariant 7: expired at the controllers is expired here, whatever the wall clock says.
#[test]
fn a_slow_clock_does_not_revive_a_token_whose_revocation_may_be_forgotten() {
    let claims = Claims::parse(br#"{"aud":"shop","iat":1000,"exp":1600}"#).unwrap();
    let judge = |floor| {
        let now = Now { wall: NumericDate::from(at(1100)), floor };
        accept(&claims, &issuer_config(), None, now).map(|_| ())
    };
    assert_eq!(judge(Some(at(1599))), Ok(()));
    assert_eq!(judge(Some(at(1600))), Err(Rejection::Expired));
}

#[test]
fn times_of_the_wrong_type_or_range_are_refused_never_taken_as_absent() {
    for (members, why) in [
        (r#""exp":1600"#, Rejection::MissingClaim),
        (r#""iat":1000"#, Rejection::MissingClaim),
        (r#""iat":1000,"exp":null"#, Rejection::MissingClaim),
        (r#""iat":1000,"exp":"1600""#, Rejection::MissingClaim),
        (r#""iat":[1000],"exp":1600"#, Rejection::MissingClaim),
        (r#""iat":1000,"exp":1600,"nbf":"0""#, Rejection::MissingClaim),
        (r#""iat":1000,"exp":1600,"auth_time":"0""#, Rejection::MissingClaim),
        (r#""iat":1000,"exp":1600,"sub":7"#, Rejection::MissingClaim),
        (r#""iat":1000,"exp":1600,"jti":["a"]"#, Rejection::MissingClaim),
        (r#""iat":-1,"exp":1600"#, Rejection::TimeOutOfRange),
        (r#""iat":1000,"exp":253402300800"#, Rejection::TimeOutOfRange),
        (r#""iat":1000,"exp":1e400000000"#, Rejection::TimeOutOfRange),
        (r#""iat":1000,"exp":1600,"nbf":-1"#, Rejection::TimeOutOfRange),
    ] {
        assert_eq!(judge(members, 1000), Err(why), "{members}");
    }
}

/// Invariant 4: what no revocation could match is not accepted.
#[test]
fn what_a_built_in_selector_reads_is_a_string_under_any_name() {
    let mut renamed = issuer_config();
    renamed.claim_names.subject = "/user/id".parse().unwrap();
    let judge = |extra: &str| {
        let json = format!(r#"{{"aud":"shop","iat":1000,"exp":1600{extra}}}"#);
        judge_with(&renamed, &json, 1000).map(|_| ())
    };
    assert_eq!(judge(r#","user":{"id":"7"}"#), Ok(()));
    assert_eq!(judge(r#","user":{"id":["7","8"]}"#), Ok(()));
    assert_eq!(judge(r#","user":{"id":7}"#), Err(Rejection::MissingClaim));
    assert_eq!(judge(r#","user":{"id":["7",8]}"#), Err(Rejection::MissingClaim));
    assert_eq!(judge(r#","client_id":true"#), Err(Rejection::MissingClaim));
}

#[test]
fn the_audience_must_be_accepted_by_the_list_and_by_the_route() {
    let now = Now { wall: NumericDate::from(at(1000)), floor: None };
    let check = |aud: &str, narrowed: Option<&str>| {
        let claims = Claims::parse(format!(r#"{{"iat":1000,"exp":1600{aud}}}"#).as_bytes()).unwrap();
        accept(&claims, &issuer_config(), narrowed, now).map(|_| ())
    };
    assert_eq!(check(r#","aud":["x","shop"]"#, None), Ok(()));
    assert_eq!(check(r#","aud":["x","shop"]"#, Some("x")), Ok(()));
    for (aud, narrowed) in [
        (r#","aud":"shop""#, Some("x")),
        (r#","aud":"x""#, Some("x")),
        ("", None),
        (r#","aud":7"#, None),
        (r#","aud":["shop",7]"#, None),
    ] {
        assert_eq!(check(aud, narrowed), Err(Rejection::WrongAudience), "{aud}");
    }
}

#[test]
fn a_token_without_a_required_claim_could_not_be_revoked_by_it() {
    let strict = IssuerConfig { required_claims: vec!["jti".parse().unwrap()], ..issuer_config() };
    let token = |extra: &str| format!(r#"{{"aud":"shop","iat":1000,"exp":1600{extra}}}"#);
    assert_eq!(judge_with(&strict, &token(""), 1000), Err(Rejection::Unrevocable));
    assert_eq!(judge_with(&strict, &token(r#","jti":null"#), 1000), Err(Rejection::Unrevocable));
    assert!(judge_with(&strict, &token(r#","jti":"a""#), 1000).is_ok());
}

/// Cutoffs are compared with what is handed over here: a renewed token bears the time of its session's start.
#[test]
fn the_issue_time_and_the_session_start_are_handed_over_as_the_token_has_them() {
    let mut renamed = issuer_config();
    renamed.session_start_claim = "/session/start".parse().unwrap();
    let check = |issuer: &IssuerConfig, extra: &str, session_started: Option<NumericDate>| {
        let json = format!(r#"{{"aud":"shop","iat":2000.5,"exp":2600{extra}}}"#);
        let times = TokenTimes { issued: NumericDate::new(at(2000), 500_000_000), session_started };
        assert_eq!(judge_with(issuer, &json, 2001), Ok(times), "{extra}");
    };
    check(&issuer_config(), "", None);
    check(&issuer_config(), r#","auth_time":null"#, None);
    check(&issuer_config(), r#","auth_time":1000"#, Some(NumericDate::from(at(1000))));
    check(&issuer_config(), r#","auth_time":1000.25"#, NumericDate::new(at(1000), 250_000_000));
    check(&renamed, r#","auth_time":1000,"session":{"start":900}"#, Some(NumericDate::from(at(900))));
    check(&renamed, r#","auth_time":1000"#, None);
}
