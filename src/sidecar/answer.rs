//! An outcome in HTTP: status and headers. What every proxy gets is made here, and nowhere else.

use super::outcome::{Decision, Outcome, Verdict};

/// The header with the verdict, in lower case.
pub const VERDICT: &str = "x-rescind-verdict";
/// The header with the age of the oldest proof, in milliseconds.
pub const AGE: &str = "x-rescind-age-ms";
/// The header with the lowest proven version.
pub const VERSION: &str = "x-rescind-version";
/// The header with the status of a refusal, for proxies that turn it into another.
pub const STATUS: &str = "x-rescind-status";
/// What the names of all our headers start with.
pub const PREFIX: &str = "x-rescind-";

/// How refusals look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    realm: String,
    reveal: Reveal,
    retry_after_seconds: u32,
}

/// What a refusal tells the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reveal {
    /// Revoked looks like otherwise invalid.
    #[default]
    Nothing,
    /// The reason code.
    Reason,
}

impl Default for Style {
    fn default() -> Self {
        Self::new("rescind", Reveal::Nothing, 1)
    }
}

/// What kind of application the request is meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workload {
    /// It speaks HTTP.
    #[default]
    Http,
    /// It speaks gRPC: a proxy makes INTERNAL out of a 400.
    Grpc,
}

impl Workload {
    /// Tells by the request's content type.
    #[must_use]
    pub fn of(content_type: Option<&[u8]>) -> Self {
        let rest = content_type.and_then(|value| {
            let value = value.trim_ascii();
            let (prefix, rest) = value.split_at_checked(b"application/grpc".len())?;
            prefix.eq_ignore_ascii_case(b"application/grpc").then_some(rest)
        });
        match rest {
            Some([] | [b'+' | b';' | b' ', ..]) => Self::Grpc,
            _ => Self::Http,
        }
    }
}

/// A header's name with its value.
pub type Header = (&'static str, String);

/// A refusal in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 401 or 503; never 403, which would say that another token is no use.
    pub status: RefusalStatus,
    /// All headers; `set-cookie` may occur several times.
    pub headers: Vec<Header>,
}

/// The statuses of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 400: what is presented is ambiguous.
    BadRequest,
    /// 401: another token is needed.
    Unauthorized,
    /// 503: nobody can vouch; the token may be good.
    Unavailable,
}

impl RefusalStatus {
    /// Returns the number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Unavailable => 503,
        }
    }
}

/// Returns the headers that an allowed request takes on, whatever the client has sent under these names: each is
/// always there, empty if there is nothing to say.
#[must_use]
pub fn allowed(outcome: &Outcome) -> [Header; 3] {
    [
        (VERDICT, outcome.verdict.word().to_owned()),
        (AGE, outcome.age_milliseconds().map(|age| age.to_string()).unwrap_or_default()),
        (VERSION, outcome.version.map(|version| version.to_string()).unwrap_or_default()),
    ]
}

impl Style {
    /// Makes a style. What can't stand in a quoted string is left out of the realm.
    #[must_use]
    pub fn new(realm: &str, reveal: Reveal, retry_after_seconds: u32) -> Self {
        let quotable = |c: &char| (c.is_ascii_graphic() || *c == ' ') && !matches!(c, '"' | '\\');
        Self { realm: realm.chars().filter(quotable).collect(), reveal, retry_after_seconds }
    }

    /// Says why a request is refused; none if it is not.
    #[must_use]
    pub fn refusal(&self, outcome: &Outcome, workload: Workload) -> Option<Refusal> {
        if outcome.decision == Decision::Allow {
            return None;
        }
        let (status, challenge) = self.status(outcome, workload);
        let mut headers = vec![("cache-control", "no-store".to_owned()), (STATUS, status.code().to_string())];
        headers.extend(challenge.map(|challenge| ("www-authenticate", challenge)));
        if status == RefusalStatus::Unavailable {
            headers.push(("retry-after", self.retry_after_seconds.to_string()));
        }
        headers.extend(outcome.clear_cookies.iter().map(|name| ("set-cookie", clear(name))));
        Some(Refusal { status, headers })
    }

    fn status(&self, outcome: &Outcome, workload: Workload) -> (RefusalStatus, Option<String>) {
        let realm = &self.realm;
        // RFC 6750, section 3.1: without authentication information no error code.
        let plain = || Some(format!("Bearer realm=\"{realm}\""));
        let because = |error: &str, description: &str| {
            let description = match self.reveal {
                Reveal::Nothing => description,
                Reveal::Reason => outcome.reason,
            };
            Some(format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{description}\""))
        };
        let ambiguous = "the request must carry exactly one token, in one place";
        match (outcome.verdict, workload) {
            (Verdict::Unknown(_), _) => (RefusalStatus::Unavailable, None),
            (Verdict::NoToken, _) => (RefusalStatus::Unauthorized, plain()),
            (Verdict::Ambiguous, Workload::Http) => {
                (RefusalStatus::BadRequest, because("invalid_request", ambiguous))
            }
            (Verdict::Ambiguous, Workload::Grpc) => {
                (RefusalStatus::Unauthorized, because("invalid_request", ambiguous))
            }
            // An accepted token is not denied; if it were, this would not say why.
            (Verdict::Revoked(_) | Verdict::Rejected(_) | Verdict::Active | Verdict::NotListed, _) => {
                (RefusalStatus::Unauthorized, because("invalid_token", "the access token is not accepted"))
            }
        }
    }
}

/// Asks a browser to drop a cookie. One that was set for a domain or another path stays: nobody told us which.
fn clear(name: &str) -> String {
    let prefixed =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    // Under these prefixes browsers take nothing without it; elsewhere it would keep plain HTTP from working.
    let secure = if prefixed("__Host-") || prefixed("__Secure-") { "; Secure" } else { "" };
    format!("{name}=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly{secure}")
}

#[cfg(test)]
mod tests;
