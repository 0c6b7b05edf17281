use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Claims, ClaimsError> {
    Claims::parse(text.as_bytes())
}

fn path(text: &str) -> ClaimPath {
    text.parse().unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn numbers_compare_by_value_and_never_through_a_float() {
    for (a, b) in [("1", "1.0"), ("1", "10e-1"), ("100", "1E2"), ("0", "-0.0e5"), ("0.50", "5e-1")] {
        assert_eq!(decimal(a), decimal(b), "{a} {b}");
    }
    for (a, b) in [("9007199254740993", "9007199254740992"), ("1", "-1"), ("1e999999999", "1e999999998")] {
        assert_ne!(decimal(a), decimal(b), "{a} {b}");
    }
    for text in ["", "-", "01", "1.", ".5", "1e", "1e9999999999", "+1", "0x1", "NaN", "1 "] {
        assert_eq!(text.parse::<Decimal>(), Err(DecimalError), "{text}");
    }
}

#[test]
fn seconds_with_a_fraction_become_nanoseconds() {
    assert_eq!(decimal("1.5").as_nanos(), Some(1_500_000_000));
    assert_eq!(decimal("1.0000000009").as_nanos(), Some(1_000_000_000));
    assert_eq!(decimal("1e-30").as_nanos(), Some(0));
    assert_eq!(decimal("0").as_nanos(), Some(0));
    assert_eq!(decimal("253402300799").as_nanos(), Some(253_402_300_799_000_000_000));
    assert_eq!(decimal("1e999999999").as_nanos(), None);
    assert_eq!(decimal("-1").as_nanos(), None);
}

#[test]
fn duplicate_members_are_refused_after_unescaping_and_at_any_depth() {
    assert_eq!(parse(r#"{"sub":"a","sub":"b"}"#), Err(ClaimsError::DuplicateMember));
    assert_eq!(parse(r#"{"sub":"a","s\u0075b":"b"}"#), Err(ClaimsError::DuplicateMember));
    assert_eq!(parse(r#"{"a":[{"x":1,"x":1}]}"#), Err(ClaimsError::DuplicateMember));
}

#[test]
fn only_one_object_is_claims() {
    for text in [
        "",
        "[]",
        "1",
        "null",
        "{",
        "{}{}",
        "{'a':1}",
        r#"{"a":01}"#,
        "{\"a\":\"\u{1}\"}",
        r#"{"a":"\ud800"}"#,
    ] {
        assert_eq!(parse(text), Err(ClaimsError::NotAnObject), "{text}");
    }
    assert_eq!(Claims::parse(b"{\"a\":\"\xff\"}"), Err(ClaimsError::NotAnObject));
    assert_eq!(parse("\u{feff}{}"), Err(ClaimsError::NotAnObject));
}

#[test]
fn a_member_that_looks_like_a_parsers_own_stays_an_object() {
    let claims = parse(r#"{"sub":{"$serde_json::private::Number":"7","x":1}}"#).unwrap();
    assert!(matches!(claims.get("sub"), Some(ClaimValue::Object(_))));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(31)).is_ok());
    assert_eq!(parse(&nested(32)), Err(ClaimsError::TooDeep));
    assert_eq!(parse(&nested(100_000)), Err(ClaimsError::TooDeep));
}

#[test]
fn a_path_descends_objects_and_every_element_of_arrays() {
    let claims =
        parse(r#"{"realm":{"roles":["a",7,null,{"x":1},["b"]]},"n":[{"id":1},{"id":2}],"sub":"s"}"#).unwrap();
    let find = |text: &str| claims.find(&path(text)).unwrap().into_iter().cloned().collect::<Vec<_>>();
    let string = |text: &str| ClaimValue::String(text.to_owned());
    assert_eq!(find("/realm/roles"), [string("a"), ClaimValue::Number(decimal("7")), string("b")]);
    assert_eq!(find("/n/id"), [ClaimValue::Number(decimal("1")), ClaimValue::Number(decimal("2"))]);
    assert_eq!(find("sub"), find("/sub"));
    assert!(find("realm").is_empty());
    assert!(find("/sub/x").is_empty());
}

#[test]
fn an_array_of_more_than_256_elements_is_never_partly_checked() {
    let array = |n: usize| format!("{{\"a\":[{}]}}", vec!["1"; n].join(","));
    assert_eq!(parse(&array(256)).unwrap().find(&path("a")).unwrap().len(), 256);
    assert_eq!(parse(&array(257)).unwrap().find(&path("a")), Err(TooManyElements { elements: 257 }));
    let nested = format!("{{\"a\":[{}]}}", vec!["[1,1,1,1]"; 100].join(","));
    assert!(parse(&nested).unwrap().find(&path("a")).is_err());
}

#[test]
fn a_path_says_what_is_wrong_with_it() {
    let error = |text: &str| text.parse::<ClaimPath>().unwrap_err();
    assert_eq!(error(""), ClaimPathError::Empty);
    assert_eq!(error("/"), ClaimPathError::Empty);
    assert_eq!(error("/a//b"), ClaimPathError::Empty);
    assert_eq!(error("/a~2"), ClaimPathError::BadEscape);
    assert_eq!(error("/a/0"), ClaimPathError::Index { segment: "0".to_owned() });
    assert_eq!(path("/a~1b/c~0").as_str(), "/a~1b/c~0");
    assert_eq!(path("https://x.example/claim").as_str(), "https://x.example/claim");
    assert_eq!(path("/https:~1~1x"), path("/https:~1~1x"));
}

proptest! {
    /// Invariant 18: any input: no panic.
    #[test]
    fn any_bytes_give_claims_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Claims::parse(&bytes).is_ok() || Claims::parse(&bytes).is_err());
    }

    #[test]
    fn a_decimal_reads_back_from_its_canonical_text(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,8})?") {
        let value = decimal(&text);
        prop_assert_eq!(value.to_string().parse::<Decimal>(), Ok(value));
    }
}
