//! From the declaration of a list, as people write it, to the configuration that decides.

use crate::revocation::claims::ClaimPath;
use crate::revocation::freshness::{BOUND_SECONDS, Bounds, MAXIMUM_SECONDS, Policy};
use crate::revocation::names::ListName;
use crate::revocation::selector::BuiltIn;
use crate::revocation::time::UnixSeconds;
use crate::token::jws::media_type;
use crate::token::keys::{Jwk, VerifyingKey};
use crate::token::list_config::{
    Audiences, ClaimNames, DeclaredSelector, Enforcement, IssuerConfig, ListConfig, MAX_SELECTORS, Maxima,
    Place, TokenKind, TokenSource, Verification, WhenRefused,
};

use super::invalid::{Invalid, count, label, range, text};
use super::token_revocation_list as api;

/// The longest lifetime that a list can allow, of tokens and of sessions: a year.
pub(super) const LONGEST_LIFETIME_SECONDS: u32 = 31_536_000;

/// Compiles a declaration. Maxima of the past come from [`maxima`](super::maxima) and are put in by
/// [`document`](super::document).
///
/// # Errors
/// [`Invalid`], with the path from `spec` on.
pub fn compile(name: &ListName, spec: &api::TokenRevocationListSpec) -> Result<ListConfig, Invalid> {
    compile_spec(name, spec).map_err(|error| error.within("spec"))
}

fn compile_spec(name: &ListName, spec: &api::TokenRevocationListSpec) -> Result<ListConfig, Invalid> {
    count("issuers", spec.issuers.len(), 1..=16)?;
    count("selectors", spec.selectors.len(), 0..=MAX_SELECTORS)?;
    count("tokenSources", spec.token_sources.len(), 0..=8)?;
    spec.allowed_subscribers.check().map_err(|error| error.within("allowedSubscribers"))?;
    let issuers = each("issuers", &spec.issuers, issuer)?;
    let selectors = each("selectors", &spec.selectors, selector)?;
    let sources = sources(&spec.token_sources)?;
    unique("issuers", "issuer", issuers.iter().map(|issuer| issuer.issuer.as_str()))?;
    unique("selectors", "name", selectors.iter().map(|selector| selector.name.as_str()))?;
    for (index, source) in sources.iter().enumerate() {
        if let TokenKind::Opaque { issuer } = &source.kind
            && !issuers.iter().any(|declared| declared.issuer == *issuer)
        {
            let field = format!("tokenSources[{index}].issuer");
            return Err(Invalid::new(field, "is not declared: add it to spec.issuers"));
        }
    }
    Ok(ListConfig {
        name: name.clone(),
        issuers,
        selectors,
        freshness: freshness(&spec.freshness)?,
        enforcement: match spec.enforcement {
            api::Enforcement::Enforce => Enforcement::Enforce,
            api::Enforcement::Shadow => Enforcement::Shadow,
        },
        sources,
    })
}

fn each<A, C>(
    field: &str,
    items: &[A],
    compile: impl Fn(&A) -> Result<C, Invalid>,
) -> Result<Vec<C>, Invalid> {
    let numbered = items.iter().enumerate();
    numbered
        .map(|(index, item)| compile(item).map_err(|error| error.within(&format!("{field}[{index}]"))))
        .collect()
}

fn unique<'a>(field: &str, member: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = std::collections::HashSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            return Err(Invalid::new(member, "is declared twice").within(&format!("{field}[{index}]")));
        }
    }
    Ok(())
}

fn freshness(freshness: &api::Freshness) -> Result<Bounds, Invalid> {
    range("freshness.boundSeconds", freshness.bound_seconds, BOUND_SECONDS)?;
    range("freshness.maximumSeconds", freshness.maximum_seconds, MAXIMUM_SECONDS)?;
    if freshness.maximum_seconds < freshness.bound_seconds {
        return Err(Invalid::new("freshness.maximumSeconds", "is smaller than boundSeconds"));
    }
    Ok(Bounds {
        bound_seconds: freshness.bound_seconds,
        maximum_seconds: freshness.maximum_seconds,
        policy: match freshness.policy {
            api::FreshnessPolicy::Strict => Policy::Strict,
            api::FreshnessPolicy::BestEffort => Policy::BestEffort,
        },
    })
}

fn issuer(issuer: &api::Issuer) -> Result<IssuerConfig, Invalid> {
    text("issuer", &issuer.issuer, 512)?;
    count("requiredClaims", issuer.required_claims.len(), 0..=16)?;
    range("leewaySeconds", issuer.leeway_seconds, 0..=300)?;
    let required_claims = issuer
        .required_claims
        .iter()
        .enumerate()
        .map(|(index, claim)| path(&format!("requiredClaims[{index}]"), claim))
        .collect::<Result<_, _>>()?;
    let start = issuer.session_start_claim.as_deref().unwrap_or("auth_time");
    Ok(IssuerConfig {
        issuer: issuer.issuer.clone(),
        audiences: audiences(issuer)?,
        types: types(issuer)?,
        maxima: maxima(issuer)?,
        history: Vec::new(),
        session_start_claim: path("sessionStartClaim", start)?,
        leeway_seconds: u64::from(issuer.leeway_seconds),
        required_claims,
        claim_names: claim_names(issuer.claim_names.as_ref())?,
        verification: verification(&issuer.verification).map_err(|error| error.within("verification"))?,
    })
}

/// Reads the maxima of an issuer.
///
/// # Errors
/// [`Invalid`] for a number that is out of range.
pub fn maxima(issuer: &api::Issuer) -> Result<Maxima, Invalid> {
    range("maxTokenLifetimeSeconds", issuer.max_token_lifetime_seconds, 1..=LONGEST_LIFETIME_SECONDS)?;
    range("maxSessionLifetimeSeconds", issuer.max_session_lifetime_seconds, 1..=LONGEST_LIFETIME_SECONDS)?;
    range("clockSkewSeconds", issuer.clock_skew_seconds, 0..=300)?;
    Ok(Maxima {
        token_lifetime_seconds: u64::from(issuer.max_token_lifetime_seconds),
        session_lifetime_seconds: u64::from(issuer.max_session_lifetime_seconds),
        clock_skew_seconds: u64::from(issuer.clock_skew_seconds),
    })
}

fn audiences(issuer: &api::Issuer) -> Result<Audiences, Invalid> {
    match (&issuer.audiences, issuer.any_audience) {
        (Some(audiences), None) => {
            count("audiences", audiences.len(), 1..=16)?;
            for (index, audience) in audiences.iter().enumerate() {
                text(&format!("audiences[{index}]"), audience, 256)?;
            }
            Ok(Audiences::OneOf(audiences.clone()))
        }
        (None, Some(true)) => Ok(Audiences::Any),
        (_, Some(false)) => {
            Err(Invalid::new("anyAudience", "can only be true: leave it out and name audiences"))
        }
        _ => Err(Invalid::new(
            "audiences",
            "name the audiences that tokens must be meant for, or say anyAudience: true",
        )),
    }
}

fn types(issuer: &api::Issuer) -> Result<Vec<String>, Invalid> {
    count("types", issuer.types.len(), 0..=8)?;
    for (index, name) in issuer.types.iter().enumerate() {
        text(&format!("types[{index}]"), name, 64)?;
    }
    Ok(match issuer.types.as_slice() {
        [] => vec![media_type("at+jwt")],
        types => types.iter().map(|name| media_type(name)).collect(),
    })
}

fn claim_names(names: Option<&api::ClaimNames>) -> Result<ClaimNames, Invalid> {
    let none = api::ClaimNames::default();
    let names = names.unwrap_or(&none);
    let name = |field: &str, name: &Option<String>, selector: BuiltIn| {
        path(&format!("claimNames.{field}"), name.as_deref().or(selector.claim()).unwrap_or_default())
    };
    Ok(ClaimNames {
        token: name("token", &names.token, BuiltIn::Token)?,
        session: name("session", &names.session, BuiltIn::Session)?,
        subject: name("subject", &names.subject, BuiltIn::Subject)?,
        client: name("client", &names.client, BuiltIn::Client)?,
    })
}

fn path(field: &str, claim: &str) -> Result<ClaimPath, Invalid> {
    claim.parse().map_err(|error| Invalid::new(field, error))
}

fn verification(verification: &api::Verification) -> Result<Verification, Invalid> {
    match (&verification.keys, &verification.trust_upstream) {
        (Some(keys), None) => {
            count("keys", keys.len(), 1..=32)?;
            let keys = each("keys", keys, verifying_key)?;
            let names = keys.iter().filter_map(|key| key.key_id.as_deref());
            unique("keys", "kid", names)?;
            Ok(Verification::Keys(keys))
        }
        (None, Some(upstream)) => {
            let payload_key = &upstream.envoy_metadata.payload_key;
            text("trustUpstream.envoyMetadata.payloadKey", payload_key, 128)?;
            Ok(Verification::EnvoyMetadata { payload_key: payload_key.clone() })
        }
        _ => Err(Invalid::new("", "name exactly one of keys and trustUpstream")),
    }
}

fn verifying_key(key: &api::PublicKey) -> Result<VerifyingKey, Invalid> {
    if key.use_.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err(Invalid::new("use", "is not sig: a key for signatures has use sig"));
    }
    if let Some(kid) = &key.kid {
        text("kid", kid, 256)?;
    }
    let kty = match key.kty {
        api::KeyType::RSA => "RSA",
        api::KeyType::EC => "EC",
        api::KeyType::OKP => "OKP",
    };
    let jwk = Jwk {
        kid: key.kid.clone(),
        kty: kty.to_owned(),
        alg: key.alg.clone(),
        crv: key.crv.clone(),
        x: key.x.clone(),
        y: key.y.clone(),
        n: key.n.clone(),
        e: key.e.clone(),
    };
    VerifyingKey::from_jwk(&jwk).map_err(|error| Invalid::new("", error))
}

/// Writes a public key as a list declares it.
#[must_use]
pub fn public_key(jwk: &Jwk) -> Option<api::PublicKey> {
    let kty = match jwk.kty.as_str() {
        "RSA" => api::KeyType::RSA,
        "EC" => api::KeyType::EC,
        "OKP" => api::KeyType::OKP,
        _ => return None,
    };
    Some(api::PublicKey {
        kid: jwk.kid.clone(),
        kty,
        alg: jwk.alg.clone(),
        use_: None,
        crv: jwk.crv.clone(),
        x: jwk.x.clone(),
        y: jwk.y.clone(),
        n: jwk.n.clone(),
        e: jwk.e.clone(),
    })
}

fn selector(selector: &api::Selector) -> Result<DeclaredSelector, Invalid> {
    label("name", &selector.name)?;
    if BuiltIn::ALL.iter().any(|built_in| built_in.name() == selector.name) {
        return Err(Invalid::new("name", format!("{} is built in: choose another name", selector.name)));
    }
    count("claims", selector.claims.len(), 1..=8)?;
    let numbered = selector.claims.iter().enumerate();
    let claims: Vec<ClaimPath> =
        numbered.map(|(index, claim)| path(&format!("claims[{index}]"), claim)).collect::<Result<_, _>>()?;
    unique("claims", "", claims.iter().map(ClaimPath::as_str))?;
    Ok(DeclaredSelector { name: selector.name.clone(), claims })
}

fn sources(declared: &[api::TokenSource]) -> Result<Vec<TokenSource>, Invalid> {
    if declared.is_empty() {
        return Ok(vec![TokenSource {
            place: Place::AuthorizationBearer,
            kind: TokenKind::Jwt,
            when_refused: WhenRefused::Keep,
        }]);
    }
    let sources = each("tokenSources", declared, source)?;
    let places: Vec<&str> = sources
        .iter()
        .map(|source| match &source.place {
            Place::AuthorizationBearer => "",
            Place::Cookie(name) => name.as_str(),
        })
        .collect();
    unique("tokenSources", "", places.into_iter())?;
    Ok(sources)
}

fn source(source: &api::TokenSource) -> Result<TokenSource, Invalid> {
    let place = match (&source.header, &source.cookie) {
        (Some(header), None) => {
            if !header.eq_ignore_ascii_case("authorization") {
                return Err(Invalid::new("header", "the only header that carries tokens is Authorization"));
            }
            if source.scheme.as_deref().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("bearer")) {
                return Err(Invalid::new("scheme", "the only scheme of tokens is Bearer"));
            }
            if source.clear_when_refused.is_some() {
                return Err(Invalid::new("clearWhenRefused", "goes with cookie only"));
            }
            Place::AuthorizationBearer
        }
        (None, Some(cookie)) => {
            if source.scheme.is_some() {
                return Err(Invalid::new("scheme", "goes with header only"));
            }
            cookie_name(cookie)?;
            Place::Cookie(cookie.clone())
        }
        _ => return Err(Invalid::new("", "name exactly one of header and cookie")),
    };
    let opaque = source.kind == Some(api::TokenKind::Opaque);
    let kind = match (&source.issuer, opaque) {
        (Some(issuer), true) => TokenKind::Opaque { issuer: issuer.clone() },
        (None, false) => TokenKind::Jwt,
        _ => {
            return Err(Invalid::new(
                "issuer",
                "kind Opaque needs the issuer of the tokens, and it goes with no other kind",
            ));
        }
    };
    let when_refused =
        if source.clear_when_refused == Some(true) { WhenRefused::Clear } else { WhenRefused::Keep };
    Ok(TokenSource { place, kind, when_refused })
}

fn cookie_name(name: &str) -> Result<(), Invalid> {
    text("cookie", name, 128)?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&b);
    if name.bytes().all(token) {
        return Ok(());
    }
    Err(Invalid::new("cookie", "has a character that names of cookies can't have (RFC 6265)"))
}

/// Puts an issuer's past maxima into a configuration, in ascending order of their end.
pub(super) fn add_history(config: &mut ListConfig, issuer: &str, until: UnixSeconds, maxima: Maxima) {
    if let Some(declared) = config.issuers.iter_mut().find(|declared| declared.issuer == issuer) {
        declared.history.push((until, maxima));
        declared.history.sort_by_key(|(until, _)| *until);
    }
}

#[cfg(test)]
pub(crate) mod tests;
