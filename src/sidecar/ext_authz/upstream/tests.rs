use prost_types::ListValue;

use super::*;

fn value_of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn payload(members: &[(&str, Kind)]) -> Struct {
    Struct {
        fields: members.iter().map(|(name, kind)| ((*name).to_owned(), value_of(kind.clone()))).collect(),
    }
}

fn read(kind: Kind) -> Result<Claims, Rejection> {
    let fields = payload(&[("jwt", kind)]);
    let filter_metadata = [(NAMESPACE.to_owned(), fields)].into();
    let metadata = Metadata { filter_metadata, ..Metadata::default() };
    let [read] = upstream_claims(Some(&metadata)).try_into().unwrap();
    assert_eq!(read.payload_key, "jwt");
    read.claims
}

fn check(member: Kind, expected: Result<&str, Rejection>) {
    let expected = expected.map(|json| Claims::parse(json.as_bytes()).unwrap());
    assert_eq!(read(Kind::StructValue(payload(&[("x", member)]))), expected);
}

#[test]
fn every_type_of_value_is_read() {
    check(Kind::NullValue(0), Ok(r#"{"x":null}"#));
    check(Kind::BoolValue(true), Ok(r#"{"x":true}"#));
    check(Kind::StringValue("7".into()), Ok(r#"{"x":"7"}"#));
    check(Kind::NumberValue(1_000_200.0), Ok(r#"{"x":1000200}"#));
    check(Kind::NumberValue(-0.5), Ok(r#"{"x":-0.5}"#));
    check(Kind::StructValue(payload(&[("y", Kind::BoolValue(false))])), Ok(r#"{"x":{"y":false}}"#));
    let list = ListValue { values: vec![value_of(Kind::NumberValue(1.0)), value_of(Kind::NullValue(0))] };
    check(Kind::ListValue(list), Ok(r#"{"x":[1,null]}"#));
}

#[test]
fn a_number_that_may_stand_for_another_is_inexact() {
    check(Kind::NumberValue(9_007_199_254_740_991.0), Ok(r#"{"x":9007199254740991}"#));
    for number in [9_007_199_254_740_992.0, -1e16, f64::NAN, f64::INFINITY, 1e300] {
        check(Kind::NumberValue(number), Err(Rejection::InexactNumber));
    }
}

#[test]
fn what_is_no_payload_is_malformed() {
    assert_eq!(read(Kind::StringValue("x".into())), Err(Rejection::Malformed));
    let mut deep = Kind::NullValue(0);
    for _ in 0..40 {
        deep = Kind::StructValue(payload(&[("x", deep)]));
    }
    assert_eq!(read(deep), Err(Rejection::Malformed));
    assert_eq!(upstream_claims(None), Vec::new());
}
