use super::*;
use crate::revocation::list::tests::version;
use crate::revocation::row::RowKind;
use crate::revocation::verdict::Doubt;
use crate::sidecar::outcome::Why;
use crate::token::rejection::Rejection;

fn outcome(verdict: Verdict) -> Outcome {
    Outcome { reason: verdict.code(), ..Outcome::unasked(verdict, Decision::Deny) }
}

/// The status with the challenge.
fn check(style: &Style, verdict: Verdict, workload: Workload) -> (u16, Option<String>) {
    let refusal = style.refusal(&outcome(verdict), workload).unwrap();
    let value = |name| refusal.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    assert_eq!(value("cache-control").as_deref(), Some("no-store"));
    assert_eq!(value(STATUS), Some(refusal.status.code().to_string()));
    assert_eq!(value("retry-after").is_some(), refusal.status == RefusalStatus::Unavailable);
    (refusal.status.code(), value("www-authenticate"))
}

const INVALID: &str =
    r#"Bearer realm="rescind", error="invalid_token", error_description="the access token is not accepted""#;

/// **Source**: RFC 6750, section 3.1.
#[test]
fn without_a_token_there_is_no_error_code() {
    let plain = Some(r#"Bearer realm="rescind""#.to_owned());
    assert_eq!(check(&Style::default(), Verdict::NoToken, Workload::Http), (401, plain));
}

#[test]
fn revoked_looks_like_otherwise_invalid() {
    for verdict in Rejection::ALL.map(Verdict::Rejected) {
        assert_eq!(check(&Style::default(), verdict, Workload::Http), (401, Some(INVALID.to_owned())));
    }
    let revoked = Verdict::Revoked(RowKind::Always);
    assert_eq!(check(&Style::default(), revoked, Workload::Http), (401, Some(INVALID.to_owned())));
}

#[test]
fn the_reason_is_told_only_if_the_operator_allows_it() {
    let style = Style::new("shop", Reveal::Reason, 3);
    let challenge = r#"Bearer realm="shop", error="invalid_token", error_description="REVOKED""#.to_owned();
    assert_eq!(check(&style, Verdict::Revoked(RowKind::Issued), Workload::Http), (401, Some(challenge)));
}

#[test]
fn a_doubt_is_no_reason_to_throw_a_token_away() {
    let doubts = [
        Why::List(Doubt::Stale),
        Why::List(Doubt::Expired),
        Why::List(Doubt::NeverFresh),
        Why::List(Doubt::Corrupt),
        Why::Overloaded,
        Why::BehindMinVersion,
        Why::SourceConflict,
        Why::IssuerConflict,
        Why::BadPolicy,
    ];
    for why in doubts {
        assert_eq!(check(&Style::default(), Verdict::Unknown(why), Workload::Http), (503, None));
    }
}

#[test]
fn ambiguous_is_400_and_401_where_400_would_become_internal() {
    assert_eq!(check(&Style::default(), Verdict::Ambiguous, Workload::Http).0, 400);
    let (status, challenge) = check(&Style::default(), Verdict::Ambiguous, Workload::Grpc);
    assert_eq!(status, 401);
    assert!(challenge.unwrap().contains("error=\"invalid_request\""));
}

#[test]
fn a_grpc_workload_is_told_by_its_content_type() {
    for text in ["application/grpc", "application/grpc+proto", "Application/gRPC", " application/grpc; a=b"] {
        assert_eq!(Workload::of(Some(text.as_bytes())), Workload::Grpc, "{text}");
    }
    for text in ["application/grpc-web", "application/json", "", "application/gr"] {
        assert_eq!(Workload::of(Some(text.as_bytes())), Workload::Http, "{text}");
    }
    assert_eq!(Workload::of(None), Workload::Http);
}

#[test]
fn every_allow_sets_every_header() {
    let bare = Outcome { decision: Decision::Allow, ..outcome(Verdict::NoToken) };
    let expected = [(VERDICT, "none".to_owned()), (AGE, String::new()), (VERSION, String::new())];
    assert_eq!(allowed(&bare), expected);
    let full = Outcome {
        age_nanos: Some(1_000_001),
        version: Some(version(9)),
        ..Outcome { decision: Decision::Allow, ..outcome(Verdict::Active) }
    };
    let expected = [(VERDICT, "active".to_owned()), (AGE, "2".to_owned()), (VERSION, "1/9".to_owned())];
    assert_eq!(allowed(&full), expected);
    assert_eq!(Style::default().refusal(&full, Workload::Http), None);
}

#[test]
fn cookies_are_cleared_one_by_one() {
    let clear_cookies = vec!["access_token".to_owned(), "__Host-at".to_owned()];
    let outcome = Outcome { clear_cookies, ..outcome(Verdict::Revoked(RowKind::Always)) };
    let refusal = Style::default().refusal(&outcome, Workload::Http).unwrap();
    let cookies: Vec<_> = refusal.headers.iter().filter(|(name, _)| *name == "set-cookie").collect();
    let gone = "Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly";
    assert_eq!(cookies[0].1, format!("access_token=; {gone}"));
    assert_eq!(cookies[1].1, format!("__Host-at=; {gone}; Secure"));
}

#[test]
fn a_realm_can_not_break_out_of_its_quotes() {
    let style = Style::new("a\"b\\c\r\nd\u{e9}", Reveal::Nothing, 1);
    let challenge = check(&style, Verdict::NoToken, Workload::Http).1;
    assert_eq!(challenge.as_deref(), Some("Bearer realm=\"abcd\""));
}
