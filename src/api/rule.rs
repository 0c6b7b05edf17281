//! Rules of the schemas that several fields share, in CEL, each with the sentence that refuses.
//!
//! The API server puts the path of the field in front of the sentence. Limits of length and number are the schema's
//! own, and keep the cost of the rules bounded.

use kube::core::Rule;

/// A text that tokens or people carry: something, in one line.
pub(super) fn line() -> Rule {
    Rule::new(r"self != '' && !self.matches('\\p{Cc}')").message(
        "it is empty or has a control character, like a line break: give the exact value in one line, or leave the field out",
    )
}

/// Several texts.
pub(super) fn lines() -> Rule {
    Rule::new(r"self.all(text, text != '' && !text.matches('\\p{Cc}'))").message(
        "one of them is empty or has a control character, like a line break: give the exact values, each in one line",
    )
}

/// The name of an object, as Kubernetes labels have it (RFC 1123).
pub(super) fn name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("it is not a name: use at most 63 lower-case letters, digits and '-'")
}

/// Names of ServiceAccounts.
pub(super) fn accounts() -> Rule {
    Rule::new(
        "self.all(one, one.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'))",
    )
    .message("one of them names no ServiceAccount: write NAME, or NAMESPACE/NAME")
}

/// One CamelCase word.
pub(super) fn word() -> Rule {
    Rule::new("self.matches('^[A-Z][A-Za-z0-9]*$')").message("it is not one CamelCase word like LostDevice")
}

/// What is a claim's name, or a JSON Pointer (RFC 6901) that reads no item of a list.
const CLAIM: &str = r"bytes(CLAIM).size() <= 256 && !CLAIM.matches('\\p{Cc}') && (!CLAIM.startsWith('/') || CLAIM.matches('^(/([^/~]|~[01])+)+$') && !CLAIM.matches('^/[^/]+(/[^/]+)*/([0-9]+|-)(/|$)'))";
const CLAIM_MESSAGE: &str = "give the name of a claim in at most 256 bytes, like sub, or a JSON Pointer to one, like /tenant/id: every part of it has a name, ~ is written ~0 and / is written ~1, and items of lists can't be named";

/// The name of a claim.
pub(super) fn claim() -> Rule {
    Rule::new(CLAIM.replace("CLAIM", "self")).message(CLAIM_MESSAGE)
}

/// Several names of claims.
pub(super) fn claims() -> Rule {
    Rule::new(format!("self.all(claim, {})", CLAIM.replace("CLAIM", "claim"))).message(CLAIM_MESSAGE)
}

/// A time from 1970 on (RFC 3339). It is one that CEL's `timestamp` reads, and the controller too: a time that only
/// one of them reads could never be changed again, or would revoke nothing.
const TIME: &str = r"(self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && format.datetime().validate(self).orValue([]).size() == 0 && (self.endsWith('Z') || !self.startsWith('9999')) && timestamp(self) >= timestamp('1970-01-01T00:00:00Z'))";

/// A time.
pub(super) fn time() -> Rule {
    Rule::new(TIME).message("it is not a time from 1970 on, like 2026-12-01T00:00:00Z")
}

/// A time, or the word `Always`.
pub(super) fn time_or_always() -> Rule {
    Rule::new(format!("self == 'Always' || {TIME}"))
        .message("it is neither a time from 1970 on, like 2026-11-21T10:00:00Z, nor the word Always")
}

/// A part of a public key (RFC 7518).
pub(super) fn base64url() -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9_-]+$')")
        .message("it is not base64url: copy it from the issuer's JWKS")
}

/// A member of a specification that no update changes.
pub(super) fn fixed(field: &str) -> Rule {
    // Not by optional values: their size is unknown to the estimate of the cost.
    let rule = format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    );
    let message = format!(
        "the {field} of a revocation can't be changed: create another revocation, and delete this one if it was wrong"
    );
    Rule::new(rule).message(message.as_str()).field_path(format!(".{field}"))
}
