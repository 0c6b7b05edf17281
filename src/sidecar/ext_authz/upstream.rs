//! Claims that Envoy's `jwt_authn` has verified, from the filter's metadata; a request header can't get there.

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::proto::envoy::config::core::v3::Metadata;
use crate::revocation::claims::{ClaimValue, Claims, MAX_NESTING};
use crate::sidecar::request::UpstreamClaims;
use crate::token::rejection::Rejection;

/// Where the filter leaves its payloads.
const NAMESPACE: &str = "envoy.filters.http.jwt_authn";

/// From here on a float may stand for another whole number than the token's.
const INEXACT_FROM: f64 = 9_007_199_254_740_992.0;

/// Returns the claims under each key that the filter has used.
pub(super) fn upstream_claims(metadata: Option<&Metadata>) -> Vec<UpstreamClaims> {
    let fields = metadata.and_then(|metadata| metadata.filter_metadata.get(NAMESPACE));
    let payloads = fields.into_iter().flat_map(|fields| &fields.fields);
    payloads
        .map(|(key, value)| {
            let claims = match &value.kind {
                Some(Kind::StructValue(payload)) => object(payload, 0),
                _ => Err(Rejection::Malformed),
            };
            UpstreamClaims { payload_key: key.clone(), claims }
        })
        .collect()
}

fn object(fields: &Struct, depth: usize) -> Result<Claims, Rejection> {
    let members = fields.fields.iter().map(|(name, member)| Ok((name.clone(), value(member, depth + 1)?)));
    Claims::from_members(members.collect::<Result<_, _>>()?).ok_or(Rejection::Malformed)
}

fn value(value: &Value, depth: usize) -> Result<ClaimValue, Rejection> {
    if depth > MAX_NESTING {
        return Err(Rejection::Malformed);
    }
    Ok(match value.kind.as_ref().ok_or(Rejection::Malformed)? {
        Kind::NullValue(_) => ClaimValue::Null,
        Kind::BoolValue(truth) => ClaimValue::Boolean(*truth),
        Kind::StringValue(text) => ClaimValue::String(text.clone()),
        Kind::NumberValue(number) => number_value(*number)?,
        Kind::StructValue(fields) => ClaimValue::Object(object(fields, depth)?),
        Kind::ListValue(list) => {
            let elements = list.values.iter().map(|element| self::value(element, depth + 1));
            ClaimValue::Array(elements.collect::<Result<_, _>>()?)
        }
    })
}

fn number_value(number: f64) -> Result<ClaimValue, Rejection> {
    if !number.is_finite() || number.abs() >= INEXACT_FROM {
        return Err(Rejection::InexactNumber);
    }
    // The shortest text that reads back as this float: that of the token, if it was written with 15 digits at most.
    number.to_string().parse().map(ClaimValue::Number).map_err(|_| Rejection::InexactNumber)
}

#[cfg(test)]
mod tests;
