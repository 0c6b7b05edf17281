use super::*;
use crate::token::list_config::{TokenKind, WhenRefused};

fn sources() -> Vec<TokenSource> {
    let source = |place| TokenSource { place, kind: TokenKind::Jwt, when_refused: WhenRefused::Keep };
    vec![source(Place::AuthorizationBearer), source(Place::Cookie("access_token".to_owned()))]
}

/// What is found, with the token alone.
fn check(authorization: &[&str], cookies: &[&str]) -> String {
    let sources = sources();
    let authorization: Vec<&[u8]> = authorization.iter().map(|line| line.as_bytes()).collect();
    let cookies: Vec<&[u8]> = cookies.iter().map(|line| line.as_bytes()).collect();
    match find(&authorization, &cookies, &sources) {
        Presented::One { token, .. } => token.to_owned(),
        other @ (Presented::Absent | Presented::Ambiguous | Presented::Malformed) => {
            format!("{other:?}").to_lowercase()
        }
    }
}

#[test]
fn one_token_in_one_place_is_found() {
    assert_eq!(check(&["Bearer tok"], &[]), "tok");
    assert_eq!(check(&["bEARER   tok "], &["theme=dark"]), "tok");
    assert_eq!(check(&[], &["theme=dark; access_token=tok"]), "tok");
    assert_eq!(check(&["Basic abc"], &["theme=dark", "access_token=tok"]), "tok");
    assert_eq!(check(&[], &["access_token=a=b="]), "a=b=");
}

#[test]
fn no_token_is_absent() {
    assert_eq!(check(&[], &[]), "absent");
    assert_eq!(check(&["Basic abc"], &["theme=dark", "my_access_token=x", "Access_Token=x"]), "absent");
    assert_eq!(check(&["BearerX tok"], &[]), "absent");
}

#[test]
fn two_tokens_are_ambiguous() {
    assert_eq!(check(&["Bearer a"], &["access_token=a"]), "ambiguous");
    assert_eq!(check(&["Bearer a", "Bearer b"], &[]), "ambiguous");
    assert_eq!(check(&["Basic a", "Bearer b"], &[]), "ambiguous");
    assert_eq!(check(&["Bearer a,Bearer b"], &[]), "ambiguous");
    assert_eq!(check(&["Basic a, Bearer b"], &[]), "ambiguous");
    assert_eq!(check(&["Bearer a b"], &[]), "ambiguous");
    assert_eq!(check(&[], &["access_token=a; access_token=a"]), "ambiguous");
    assert_eq!(check(&[], &["access_token=a", "x=y; access_token=b"]), "ambiguous");
    assert_eq!(check(&[], &["access_token; access_token=b"]), "ambiguous");
    assert_eq!(check(&["Bearer "], &["access_token=b"]), "ambiguous");
}

#[test]
fn what_is_there_and_is_no_token_is_malformed_never_absent() {
    for line in [
        "Bearer",
        "Bearer ",
        "bearer  ",
        "",
        " Bearer tok",
        "Bearer\ttok",
        "Bearer t\u{e9}k",
        "Bearer a\u{1}b",
    ] {
        assert_eq!(check(&[line], &[]), "malformed", "{line:?}");
    }
    assert_eq!(check(&[], &["access_token="]), "malformed");
    assert_eq!(check(&[], &["access_token"]), "malformed");
    assert_eq!(check(&[], &["access_token=a b"]), "malformed");
    let sources = sources();
    assert_eq!(find(&[b"Bearer \xff"], &[], &sources), Presented::Malformed);
    assert_eq!(find(&[], &[b"access_token=\xff"], &sources), Presented::Malformed);
}

/// Many servers strip more than ASCII white space from names; what can't be told in UTF-8 is shown as `!` by Envoy.
#[test]
fn a_name_that_some_server_may_take_for_the_source_is_ambiguous() {
    let bytes = |line: &'static [u8]| format!("{:?}", find(&[], &[line], &sources())).to_lowercase();
    for alone in
        [&b"\xa0access_token=a"[..], b"access_token\xa0=a", b"x=y; \x1faccess_token=a", b"\xa0access_token"]
    {
        assert_eq!(bytes(alone), "ambiguous");
        assert_eq!(
            without_tokens(&[alone, b"theme=dark"], &sources()),
            *if alone[0] == b'x' { &b"x=y; theme=dark"[..] } else { &b"theme=dark"[..] }
        );
    }
    assert_eq!(check(&[], &["access_token=good; \u{a0}access_token=bad"]), "ambiguous");
    assert_eq!(check(&[], &["!access_token=bad"]), "ambiguous");
    assert_eq!(check(&[], &["\u{3000}access_token\u{2003}=bad"]), "ambiguous");
    assert_eq!(check(&[], &["my\u{a0}access_token=x"]), "absent");
}

#[test]
fn token_cookies_are_taken_off_and_others_kept() {
    let cleaned = |lines: &[&[u8]]| String::from_utf8(without_tokens(lines, &sources())).unwrap();
    assert_eq!(cleaned(&[b"a=1; access_token=x;b=2", b"access_token=y"]), "a=1; b=2");
    assert_eq!(cleaned(&[b"access_token"]), "");
}
