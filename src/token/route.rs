//! Route policy: what a route wants, from the proxy's configuration only.

use crate::revocation::names::ListName;

/// What a route wants of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutePolicy {
    /// Whether a token is needed.
    pub token: TokenPolicy,
    /// Whether a denial has an effect.
    pub mode: Mode,
    /// Only these of the followed lists; empty means all.
    pub lists: Vec<ListName>,
    /// An audience that the token must be meant for, beside the list's own.
    pub audience: Option<String>,
    /// A smaller bound on the age, in milliseconds.
    pub max_age_milliseconds: Option<u64>,
    /// What happens to a CORS preflight.
    pub preflight: Preflight,
}

/// Whether a route needs a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenPolicy {
    /// Without one the request is refused.
    #[default]
    Required,
    /// Without one the request passes; a refused one refuses.
    Optional,
    /// Without one the request passes; a refused one is taken off and counts as absent.
    Lenient,
}

/// Whether a route's denials have an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are computed, marked and counted, and nothing is refused.
    Report,
}

/// What happens to a CORS preflight, which carries no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preflight {
    /// It is a request like any other.
    #[default]
    Check,
    /// It passes.
    Allow,
}

/// Says what is wrong with a route's policy. The answer is 503, for nobody can tell what was meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A key that is not known.
    #[error("unknown key {key:?}: use token, mode, lists, audience, max_age or preflight")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A value that the key does not have.
    #[error("{key}={value:?} is not understood: {allowed}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be.
        allowed: &'static str,
    },
    /// A key that is given twice.
    #[error("{key} is given twice")]
    Twice {
        /// The key.
        key: String,
    },
}

impl RoutePolicy {
    /// Reads a policy from keys with values.
    ///
    /// # Errors
    /// [`RouteError`] for anything that is not understood, for a misspelt policy must not be a laxer one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RouteError> {
        let mut policy = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in pairs {
            if seen.contains(&key) {
                return Err(RouteError::Twice { key: shorten(key) });
            }
            seen.push(key);
            policy.set(key, value)?;
        }
        Ok(policy)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), RouteError> {
        let bad = |key, allowed| RouteError::BadValue { key, value: shorten(value), allowed };
        match (key, value) {
            ("token", "required") => self.token = TokenPolicy::Required,
            ("token", "optional") => self.token = TokenPolicy::Optional,
            ("token", "lenient") => self.token = TokenPolicy::Lenient,
            ("token", _) => return Err(bad("token", "use required, optional or lenient")),
            ("mode", "enforce") => self.mode = Mode::Enforce,
            ("mode", "report") => self.mode = Mode::Report,
            ("mode", _) => return Err(bad("mode", "use enforce or report")),
            ("preflight", "allow") => self.preflight = Preflight::Allow,
            ("preflight", _) => return Err(bad("preflight", "use allow, or leave it out")),
            ("audience", "") => return Err(bad("audience", "name an audience")),
            ("audience", audience) => self.audience = Some(audience.to_owned()),
            ("lists", names) => {
                let names = names.split(',').map(str::parse).collect::<Result<_, _>>();
                self.lists = names.map_err(|_| bad("lists", "name lists as namespace/name, with commas"))?;
            }
            ("max_age", text) => {
                let age = milliseconds(text).ok_or_else(|| bad("max_age", "give a time like 500ms or 3s"))?;
                self.max_age_milliseconds = Some(age);
            }
            _ => return Err(RouteError::UnknownKey { key: shorten(key) }),
        }
        Ok(())
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let value = plain.then(|| digits.parse::<u64>().ok()).flatten()?;
    value.checked_mul(factor).filter(|age| *age > 0)
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_policy_is_the_strictest() {
        let policy = RoutePolicy::parse([]).unwrap();
        assert_eq!((policy.token, policy.mode), (TokenPolicy::Required, Mode::Enforce));
    }

    #[test]
    fn every_key_is_understood() {
        let policy = RoutePolicy::parse([
            ("token", "lenient"),
            ("mode", "report"),
            ("lists", "a/b,c"),
            ("audience", "shop"),
            ("max_age", "1500ms"),
            ("preflight", "allow"),
        ]);
        let expected = RoutePolicy {
            token: TokenPolicy::Lenient,
            mode: Mode::Report,
            lists: vec!["a/b".parse().unwrap(), "default/c".parse().unwrap()],
            audience: Some("shop".to_owned()),
            max_age_milliseconds: Some(1500),
            preflight: Preflight::Allow,
        };
        assert_eq!(policy, Ok(expected));
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_names_it() {
        let error = |key, value| RoutePolicy::parse([(key, value)]).unwrap_err().to_string();
        assert!(error("tokn", "optional").contains("\"tokn\""));
        for (key, value) in [
            ("token", "Optional"),
            ("mode", ""),
            ("preflight", "yes"),
            ("lists", ""),
            ("lists", "a//b"),
            ("audience", ""),
            ("max_age", "0"),
            ("max_age", "-1s"),
            ("max_age", "99999999999999999999"),
        ] {
            assert!(error(key, value).starts_with(&format!("{key}=")), "{key} {value}");
        }
        let twice = RoutePolicy::parse([("token", "required"), ("token", "lenient")]);
        assert_eq!(twice, Err(RouteError::Twice { key: "token".to_owned() }));
    }
}
