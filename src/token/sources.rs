//! Where a request carries its token: exactly one place, or it is refused.

use super::list_config::{Place, TokenSource};

/// What a request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No source carries anything.
    Absent,
    /// Exactly one source carries a token.
    One {
        /// The token.
        token: &'a str,
        /// The source that carries it.
        source: &'a TokenSource,
    },
    /// More than one token: which one the application would use can't be told.
    Ambiguous,
    /// Something is there and is no token.
    Malformed,
}

/// Finds the token of a request in all lines of its `Authorization` and `Cookie` headers.
///
/// The sources are exhaustive. A scheme other than `Bearer` carries no token; a comma may hide a second
/// header line that a proxy has folded, so it is ambiguous under any scheme.
#[must_use]
pub fn find<'a>(
    authorization: &[&'a [u8]],
    cookies: &[&'a [u8]],
    sources: &'a [TokenSource],
) -> Presented<'a> {
    let mut presented = Presented::Absent;
    for source in sources {
        let found = match &source.place {
            Place::AuthorizationBearer => bearer(authorization, source),
            Place::Cookie(name) => cookie(cookies, name, source),
        };
        presented = match (presented, found) {
            (Presented::Absent, found) => found,
            (presented, Presented::Absent) => presented,
            _ => return Presented::Ambiguous,
        };
    }
    presented
}

fn bearer<'a>(lines: &[&'a [u8]], source: &'a TokenSource) -> Presented<'a> {
    let line = match lines {
        [] => return Presented::Absent,
        [line] => line,
        _ => return Presented::Ambiguous,
    };
    let Ok(line) = std::str::from_utf8(line) else { return Presented::Malformed };
    if line.contains(',') {
        return Presented::Ambiguous;
    }
    let (scheme, credentials) = line.split_once(' ').unwrap_or((line, ""));
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_graphic()) {
        return Presented::Malformed;
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Presented::Absent;
    }
    let token = credentials.trim_matches(' ');
    if token.contains([' ', '\t']) {
        return Presented::Ambiguous;
    }
    one(token, source)
}

fn cookie<'a>(lines: &[&'a [u8]], name: &str, source: &'a TokenSource) -> Presented<'a> {
    let mut found = lines.iter().flat_map(|line| pairs(line)).filter(|(found, _)| may_be(found, name));
    match (found.next(), found.next()) {
        (None, _) => Presented::Absent,
        (Some((found, value)), None) if found == name.as_bytes() => {
            std::str::from_utf8(value).map_or(Presented::Malformed, |v| one(v, source))
        }
        (Some(_), _) => Presented::Ambiguous,
    }
}

/// Whether some server may take a cookie's name for this one: many strip white space that is not ASCII, or control
/// characters. What can't be told in UTF-8, Envoy shows as `!`.
fn may_be(found: &[u8], name: &str) -> bool {
    bare(found) == bare(name.as_bytes())
}

fn bare(name: &[u8]) -> &[u8] {
    let stays = |byte: &u8| byte.is_ascii_graphic() && *byte != b'!';
    let first = name.iter().position(stays).unwrap_or(name.len());
    let after_last = name.iter().rposition(stays).map_or(first, |last| last + 1);
    name.get(first..after_last).unwrap_or_default()
}

fn one<'a>(token: &'a str, source: &'a TokenSource) -> Presented<'a> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Presented::Malformed;
    }
    Presented::One { token, source }
}

/// The pairs of a Cookie line; what has no `=` is a name without a value, for some servers read it so.
fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|b| *b == b';').map(|pair| {
        let pair = pair.trim_ascii();
        let mut parts = pair.splitn(2, |b| *b == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii_end();
        (name, parts.next().unwrap_or_default().trim_ascii_start())
    })
}

/// Returns the Cookie line without the cookies that are token sources; empty if none is left.
#[must_use]
pub fn without_tokens(cookies: &[&[u8]], sources: &[TokenSource]) -> Vec<u8> {
    let is_token = |name: &[u8]| {
        sources.iter().any(|source| matches!(&source.place, Place::Cookie(cookie) if may_be(name, cookie)))
    };
    let kept =
        cookies.iter().flat_map(|line| line.split(|b| *b == b';')).map(<[u8]>::trim_ascii).filter(|pair| {
            let name = pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii_end();
            !pair.is_empty() && !is_token(name)
        });
    kept.collect::<Vec<_>>().join(&b"; "[..])
}

#[cfg(test)]
mod tests;
