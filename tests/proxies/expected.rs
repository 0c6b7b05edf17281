//! What must follow: the table "Verdict, decision, HTTP" of the contract, for every route of the examples.

use rescind::token::list_config::Enforcement;

use crate::fronts::{Proxy, got, is_of_application};
use crate::presented::{Meaning, Presented};
use crate::support::http1::Reply;
use crate::support::lab::BOUND;

/// A route of the examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Required,
    Optional,
    Lenient,
    Report,
    Narrow,
    /// Preflights pass; all else is as where a token is required.
    Cors,
    Bad,
    Unasked,
}

impl Route {
    pub(crate) const ALL: [Self; 8] = [
        Self::Required,
        Self::Optional,
        Self::Lenient,
        Self::Report,
        Self::Narrow,
        Self::Cors,
        Self::Bad,
        Self::Unasked,
    ];

    /// Returns the routes in a proxy's example.
    pub(crate) const fn of(proxy: Proxy) -> &'static [Self] {
        match proxy {
            Proxy::Envoy | Proxy::Nginx | Proxy::Caddy => &Self::ALL,
            Proxy::EnvoyJwtAuthn => &[Self::Required, Self::Optional, Self::Unasked],
        }
    }

    /// Returns a path of the route.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Required => "/shop/cart?item=1",
            Self::Optional => "/optional/page",
            Self::Lenient => "/lenient/login",
            Self::Report => "/report/page",
            Self::Narrow => "/narrow/page",
            Self::Cors => "/cors/page",
            Self::Bad => "/bad/page",
            Self::Unasked => "/healthz",
        }
    }
}

/// What the sidecar knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// It can vouch.
    Fresh,
    /// What it knows is older than the bound, and the list says to decide all the same.
    BestEffort,
    /// What it knows is too old: good for refusals only.
    Stale,
    /// It knows nothing, not even where tokens are.
    None,
    /// It can vouch, and looks at nothing: it is asked more at one time than it takes on.
    Overloaded,
}

/// What must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The application answers; it got this verdict, and the client's credentials as they came or without tokens.
    Passes { verdict: &'static str, tokens: Tokens },
    /// As it came, for nobody was asked.
    Unasked,
    /// 401 without an error code (RFC 6750, section 3.1).
    NoToken,
    /// 400.
    Ambiguous,
    /// 401 with `invalid_token`: the same for revoked and otherwise invalid.
    Invalid,
    /// 503 with `Retry-After`: the token may be good.
    Unavailable,
    /// By the proxy itself.
    ByProxy(u16),
}

impl Expected {
    /// Returns what `WWW-Authenticate` says of it.
    pub(crate) const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some("Bearer realm=\"rescind\""),
            Self::Ambiguous => Some(
                "Bearer realm=\"rescind\", error=\"invalid_request\", error_description=\"the request must carry \
                 exactly one token, in one place\"",
            ),
            Self::Invalid => Some(
                "Bearer realm=\"rescind\", error=\"invalid_token\", error_description=\"the access token is not \
                 accepted\"",
            ),
            Self::Passes { .. } | Self::Unasked | Self::Unavailable | Self::ByProxy(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    Kept,
    Stripped,
}

/// States what must follow.
pub(crate) fn expect(
    knowledge: Knowledge,
    enforcement: Enforcement,
    route: Route,
    presented: &Presented,
    proxy: Proxy,
) -> Expected {
    if let Some(status) = presented.refused_by(proxy) {
        return Expected::ByProxy(status);
    }
    let meaning = match (route, presented.meaning_behind(proxy)) {
        (Route::Narrow, Meaning::Active | Meaning::NotListed | Meaning::Revoked) if !presented.for_narrow => {
            Meaning::Rejected
        }
        (_, meaning) => meaning,
    };
    let needs_no_token = matches!(route, Route::Optional | Route::Lenient) && meaning == Meaning::Absent;
    // In shadow, every route that asks only reports.
    let route = match (enforcement, route) {
        (Enforcement::Enforce, route) | (_, route @ (Route::Bad | Route::Unasked)) => route,
        (Enforcement::Shadow, _) => Route::Report,
    };
    let kept = |verdict| Expected::Passes { verdict, tokens: Tokens::Kept };
    let anonymous = Expected::Passes { verdict: "none", tokens: Tokens::Stripped };
    let refused = match meaning {
        Meaning::Active | Meaning::NotListed => Expected::Unavailable,
        Meaning::Absent => Expected::NoToken,
        Meaning::Ambiguous => Expected::Ambiguous,
        Meaning::Rejected | Meaning::Revoked => Expected::Invalid,
    };
    match (route, knowledge, meaning) {
        (Route::Unasked, ..) => Expected::Unasked,
        (Route::Bad, ..) => Expected::Unavailable,
        (Route::Report, Knowledge::None | Knowledge::Overloaded, _)
        | (Route::Report, Knowledge::Stale, Meaning::Active | Meaning::NotListed) => kept("unknown"),
        // What was not refused for want of a token would be, because nobody can vouch.
        (Route::Report, Knowledge::Stale, Meaning::Absent) if needs_no_token => kept("unknown"),
        (Route::Report, _, meaning) => kept(meaning.word()),
        (_, Knowledge::None | Knowledge::Overloaded, _) => Expected::Unavailable,
        (_, Knowledge::Fresh | Knowledge::BestEffort, Meaning::Active | Meaning::NotListed) => {
            kept(meaning.word())
        }
        (Route::Optional, Knowledge::Fresh | Knowledge::BestEffort, Meaning::Absent) => anonymous,
        (Route::Lenient, Knowledge::Fresh | Knowledge::BestEffort, _) => anonymous,
        // Without the token it would pass, if somebody could vouch.
        (Route::Lenient, Knowledge::Stale, _) | (Route::Optional, Knowledge::Stale, Meaning::Absent) => {
            Expected::Unavailable
        }
        (Route::Required | Route::Optional | Route::Narrow | Route::Cors, ..) => refused,
    }
}

/// Says what is wrong with an answer; nothing if all is well.
pub(crate) fn judge(
    expected: Expected,
    knowledge: Knowledge,
    presented: &Presented,
    proxy: Proxy,
    reply: &Reply,
) -> Vec<String> {
    let mut wrong = Wrong(Vec::new());
    match expected {
        Expected::Passes { verdict, tokens } => {
            wrong.unless_equal("status", reply.status, 200);
            wrong.unless_equal("the application was asked", is_of_application(reply), true);
            wrong.unless_equal(
                "x-rescind-verdict",
                got(reply, "x-rescind-verdict"),
                vec![verdict.to_owned()],
            );
            for name in ["x-rescind-age-ms", "x-rescind-version"] {
                let said = got(reply, name).concat();
                let is_said = verdict == "unknown" || said.starts_with(|c: char| c.is_ascii_digit());
                wrong.unless_equal(name, (is_said, said.contains("forged")), (true, false));
            }
            wrong.age(knowledge, reply);
            wrong.credentials(tokens, presented, reply);
            wrong.unless_equal("set-cookie", reply.all("set-cookie"), vec![]);
        }
        Expected::Unasked => {
            wrong.unless_equal("status", reply.status, 200);
            for name in ["x-rescind-verdict", "x-rescind-age-ms", "x-rescind-version"] {
                wrong.unless_equal(name, got(reply, name), vec![]);
            }
        }
        Expected::NoToken | Expected::Invalid => wrong.refusal(reply, 401, expected.challenge()),
        Expected::Ambiguous => wrong.refusal(reply, 400, expected.challenge()),
        Expected::Unavailable => wrong.refusal(reply, 503, None),
        Expected::ByProxy(status) => {
            wrong.unless_equal("status", reply.status, status);
            wrong.unless_equal("the application was asked", is_of_application(reply), false);
        }
    }
    if matches!(expected, Expected::NoToken | Expected::Ambiguous | Expected::Invalid) {
        let clears = presented
            .has_cookie()
            .then_some("access_token=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly");
        wrong.unless_equal("set-cookie", reply.all("set-cookie"), clears.into_iter().collect());
    }
    if proxy != Proxy::Nginx && matches!(expected, Expected::Unavailable) {
        wrong.unless_equal("body", reply.body.as_str(), "");
    }
    wrong.0
}

struct Wrong(Vec<String>);

/// Writes a value without the length of its tokens.
fn short(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let words =
        text.split(' ').map(|word| match (word.get(..40), word.get(word.len().saturating_sub(10)..)) {
            (Some(start), Some(end)) if word.len() > 100 => format!("{start}...{end}"),
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

impl Wrong {
    fn unless_equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, seen: T, expected: T) {
        if seen != expected {
            self.0.push(format!("{what}: {} instead of {}", short(&seen), short(&expected)));
        }
    }

    /// What is decided though it is stale is marked so by its age.
    fn age(&mut self, knowledge: Knowledge, reply: &Reply) {
        let said = got(reply, "x-rescind-age-ms").concat();
        let is_beyond = said.parse::<u128>().ok().map(|age| age > BOUND.as_millis());
        let expected = match knowledge {
            // A sidecar that is overloaded knows its age all the same.
            Knowledge::Fresh | Knowledge::Overloaded => Some(false),
            Knowledge::BestEffort => Some(true),
            // At the bound itself, what is allowed for the clocks decides.
            Knowledge::Stale => is_beyond,
            Knowledge::None => None,
        };
        self.unless_equal(&format!("an age of {said} ms is beyond the bound"), is_beyond, expected);
    }

    fn refusal(&mut self, reply: &Reply, status: u16, challenge: Option<&str>) {
        self.unless_equal("status", reply.status, status);
        self.unless_equal("the application was asked", is_of_application(reply), false);
        self.unless_equal("www-authenticate", reply.all("www-authenticate"), challenge.into_iter().collect());
        self.unless_equal("cache-control", reply.all("cache-control"), vec!["no-store"]);
        let retry = if status == 503 { vec!["1"] } else { vec![] };
        self.unless_equal("retry-after", reply.all("retry-after"), retry);
    }

    fn credentials(&mut self, tokens: Tokens, presented: &Presented, reply: &Reply) {
        let (authorization, cookie) = (got(reply, "authorization"), got(reply, "cookie"));
        match tokens {
            Tokens::Kept => {
                // Lines may be joined: by a comma, and as RFC 6265 wants cookies to be.
                let folded = |lines: Vec<String>| lines.join(",").replace(", ", ",");
                self.unless_equal("authorization", folded(authorization), folded(presented.authorization()));
                self.unless_equal("cookie", cookie.join("; "), presented.cookies().join("; "));
            }
            Tokens::Stripped => {
                self.unless_equal("authorization", authorization, vec![]);
                self.unless_equal("cookie", cookie, presented.without_tokens());
            }
        }
    }
}
