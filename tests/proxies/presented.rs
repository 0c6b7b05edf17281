//! What clients present: every row of the table "Verdict, decision, HTTP", and what token and proxy history adds.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rescind::token::issuer::Issuer;
use rescind::token::keys::Algorithm;
use serde_json::{Value, json};

use crate::fronts::Proxy;
use crate::support::http1::Ask;
use crate::support::issue::{AUDIENCE, ISSUER, Keys, LIFETIME_SECONDS, claims, now};

/// What a request's credentials amount to, while the sidecar is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Active,
    NotListed,
    Absent,
    Ambiguous,
    Rejected,
    Revoked,
}

impl Meaning {
    /// The word in the verdict header.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NotListed => "not-listed",
            Self::Absent => "none",
            Self::Ambiguous => "ambiguous",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) name: String,
    pub(crate) meaning: Meaning,
    /// Also meant for the audience of the narrow route.
    pub(crate) for_narrow: bool,
    lines: Vec<(&'static str, Vec<u8>)>,
    by_nginx: Option<u16>,
    behind_jwt_authn: Option<Meaning>,
}

impl Presented {
    fn new(name: &str, meaning: Meaning, lines: Vec<(&'static str, Vec<u8>)>) -> Self {
        Self {
            name: name.to_owned(),
            meaning,
            for_narrow: false,
            lines,
            by_nginx: None,
            behind_jwt_authn: None,
        }
    }

    /// Presents a token in the header, as most clients do.
    pub(crate) fn bearer(name: &str, meaning: Meaning, token: &str) -> Self {
        Self::new(name, meaning, vec![("authorization", format!("Bearer {token}").into())])
    }

    /// Presents lines as they are.
    pub(crate) fn lines(name: &str, meaning: Meaning, lines: &[(&'static str, &str)]) -> Self {
        Self::new(
            name,
            meaning,
            lines.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect(),
        )
    }

    fn cookie(name: &str, meaning: Meaning, line: &str) -> Self {
        Self::new(name, meaning, vec![("cookie", line.into())])
    }

    /// What `examples/README.md` says that nginx refuses before it asks anybody.
    fn refused_by_nginx(self, status: u16) -> Self {
        Self { by_nginx: Some(status), ..self }
    }

    /// Returns the status with which a proxy refuses it by itself.
    pub(crate) fn refused_by(&self, proxy: Proxy) -> Option<u16> {
        self.by_nginx.filter(|_| proxy == Proxy::Nginx)
    }

    /// What it amounts to where Envoy verifies tokens, as `examples/README.md` says.
    pub(crate) fn behind_jwt_authn(self, meaning: Meaning) -> Self {
        Self { behind_jwt_authn: Some(meaning), ..self }
    }

    /// Returns what it amounts to behind a proxy.
    pub(crate) fn meaning_behind(&self, proxy: Proxy) -> Meaning {
        self.behind_jwt_authn.filter(|_| proxy == Proxy::EnvoyJwtAuthn).unwrap_or(self.meaning)
    }

    /// Returns a request that presents it.
    pub(crate) fn ask(&self, path: &str) -> Ask {
        self.lines.iter().fold(Ask::get(path), |ask, (name, value)| ask.line(name, value))
    }

    pub(crate) fn authorization(&self) -> Vec<String> {
        self.named("authorization")
    }

    pub(crate) fn cookies(&self) -> Vec<String> {
        self.named("cookie")
    }

    fn named(&self, name: &str) -> Vec<String> {
        let lines = self.lines.iter().filter(|(found, _)| *found == name);
        // Space at the end of a line is not part of its value (RFC 9110, section 5.5).
        lines.map(|(_, value)| String::from_utf8_lossy(value).trim_end().to_owned()).collect()
    }

    fn pairs(&self) -> Vec<String> {
        let lines = self.cookies();
        let pairs = lines.iter().flat_map(|line| line.split(';'));
        pairs.map(|pair| pair.trim().to_owned()).collect()
    }

    /// Tells whether the cookie that is a token source is there.
    pub(crate) fn has_cookie(&self) -> bool {
        self.pairs().iter().any(|pair| is_token(pair))
    }

    /// Returns the `Cookie` line that is left when the tokens are taken off: none if nothing is.
    pub(crate) fn without_tokens(&self) -> Vec<String> {
        let left: Vec<String> = self.pairs().into_iter().filter(|pair| !is_token(pair)).collect();
        let left = left.join("; ");
        if left.is_empty() { Vec::new() } else { vec![left] }
    }
}

fn is_token(pair: &str) -> bool {
    pair.split('=').next() == Some("access_token")
}

/// Returns the whole table but for what was revoked.
pub(crate) fn all(keys: &Keys) -> Vec<Presented> {
    [active(keys), absent(), ambiguous(keys), malformed(keys), unverified(keys), against_the_rules(keys)]
        .concat()
}

fn active(keys: &Keys) -> Vec<Presented> {
    use Meaning::Active;
    let token = keys.token(&json!({}));
    let both = keys.token(&json!({"aud": [AUDIENCE, "narrow"]}));
    let spelled = |scheme: &str| vec![("authorization", format!("{scheme} {token}").into())];
    let session = keys.token(&json!({"auth_time": now() - 1000, "nbf": now() - 1, "scope": "a b"}));
    vec![
        Presented::bearer("active", Active, &token),
        Presented::new("active, scheme in lower case", Active, spelled("bearer"))
            .behind_jwt_authn(Meaning::Rejected),
        Presented::new("active, scheme in upper case", Active, spelled("BEARER"))
            .behind_jwt_authn(Meaning::Rejected),
        Presented { for_narrow: true, ..Presented::bearer("active, for two audiences", Active, &both) },
        Presented::bearer("active, with a start of its session", Active, &session),
        Presented::bearer(
            "active, by the other key",
            Active,
            &keys.second.sign(&claims(&json!({}))).unwrap(),
        ),
        Presented::cookie("active, in the cookie", Active, &format!("access_token={token}")),
        Presented::cookie(
            "active, among cookies",
            Active,
            &format!("theme=dark; access_token={token}; lang=en"),
        ),
    ]
}

fn absent() -> Vec<Presented> {
    use Meaning::Absent;
    vec![
        Presented::new("nothing", Absent, vec![]),
        Presented::new("another scheme", Absent, vec![("authorization", b"Basic YTpi".to_vec())]),
        Presented::cookie("other cookies", Absent, "theme=dark; lang=en"),
        Presented::cookie("cookies of similar names", Absent, "theme=dark; xaccess_token=a; Access_Token=b"),
    ]
}

/// Two tokens, or what may be two: the one that is checked must be the one that the application uses.
fn ambiguous(keys: &Keys) -> Vec<Presented> {
    use Meaning::Ambiguous;
    let (one, other) = (keys.token(&json!({})), keys.token(&json!({"sub": "bob"})));
    let bearer = |token: &str| ("authorization", format!("Bearer {token}").into_bytes());
    let cookie = |line: &str| ("cookie", line.as_bytes().to_vec());
    let in_cookie = format!("theme=dark; access_token={one}");
    vec![
        Presented::new("header and cookie", Ambiguous, vec![bearer(&other), cookie(&in_cookie)]),
        Presented::new("header and cookie alike", Ambiguous, vec![bearer(&one), cookie(&in_cookie)]),
        Presented::new("two Authorization lines", Ambiguous, vec![bearer(&one), bearer(&other)])
            .refused_by_nginx(400),
        Presented::new("the same Authorization line twice", Ambiguous, vec![bearer(&one), bearer(&one)])
            .refused_by_nginx(400),
        Presented::new(
            "two Authorization lines of two schemes",
            Ambiguous,
            vec![("authorization", b"Basic YTpi".to_vec()), bearer(&one)],
        )
        .refused_by_nginx(400),
        Presented::bearer("two Authorization lines, folded", Ambiguous, &format!("{one}, Bearer {other}")),
        Presented::bearer("two tokens in one line", Ambiguous, &format!("{one} {other}")),
        Presented::cookie(
            "two cookies of the name",
            Ambiguous,
            &format!("access_token={one}; theme=dark; access_token={other}"),
        ),
        Presented::new(
            "two Cookie lines",
            Ambiguous,
            vec![cookie(&in_cookie), cookie(&format!("access_token={other}"))],
        ),
    ]
}

/// Present but no token: never taken as absent, never repaired.
fn malformed(keys: &Keys) -> Vec<Presented> {
    use Meaning::Rejected;
    let token = keys.token(&json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let twice = format!("{{\"sub\":\"bob\",{}", &claims(&json!({})).to_string()[1..]);
    let head = br#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#;
    let json = json!({"payload": payload, "protected": header, "signature": signature}).to_string();
    let long = keys.token(&json!({"filler": "x".repeat(16 * 1024)}));
    vec![
        Presented::bearer("garbage", Rejected, "garbage"),
        Presented::bearer("empty", Rejected, ""),
        Presented::new("only the scheme", Rejected, vec![("authorization", b"Bearer".to_vec())]),
        Presented::bearer("two parts", Rejected, &format!("{header}.{payload}")),
        Presented::bearer(
            "five parts, as of a JWE",
            Rejected,
            &format!("{header}.a.{payload}.b.{signature}"),
        ),
        Presented::bearer("padded", Rejected, &format!("{token}=")),
        Presented::bearer("JSON serialization", Rejected, &URL_SAFE_NO_PAD.encode(json)),
        Presented::bearer(
            "a member twice",
            Rejected,
            &keys.first.sign_parts(head, twice.as_bytes()).unwrap(),
        ),
        Presented::bearer("16 KiB and more", Rejected, &long).refused_by_nginx(400),
        // CVE-2023-27488: what is no UTF-8 must not become another request to the check.
        Presented::new(
            "bytes that are no UTF-8",
            Rejected,
            vec![("authorization", [b"Bearer ", token.as_bytes(), b"\xff"].concat())],
        ),
        Presented::cookie("an empty cookie", Rejected, "theme=dark; access_token="),
        Presented::cookie("garbage in the cookie", Rejected, "access_token=garbage; theme=dark"),
    ]
}

/// Signed by nobody, by somebody else, or in a way that the token itself chooses.
fn unverified(keys: &Keys) -> Vec<Presented> {
    use Meaning::Rejected;
    let token = keys.token(&json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(claims(&json!({"sub": "root"})).to_string());
    let under = |header: Value| {
        keys.first
            .sign_parts(header.to_string().as_bytes(), claims(&json!({})).to_string().as_bytes())
            .unwrap()
    };
    let stranger = keys.stranger.jwk();
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": stranger.x, "y": stranger.y});
    let embedded = json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt", "jwk": jwk});
    let embedded = keys
        .stranger
        .sign_parts(embedded.to_string().as_bytes(), claims(&json!({})).to_string().as_bytes())
        .unwrap();
    let with = |name: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"});
        header[name] = value;
        under(header)
    };
    vec![
        Presented::bearer("changed claims", Rejected, &format!("{header}.{other}.{signature}")),
        Presented::bearer("a stranger's key", Rejected, &keys.stranger.sign(&claims(&json!({}))).unwrap()),
        Presented::bearer("r = s = 0", Rejected, &format!("{signed}.{}", "A".repeat(86))),
        Presented::bearer("no signature", Rejected, &format!("{signed}.")),
        Presented::bearer("alg none", Rejected, &keys.unsigned(&json!({}))),
        Presented::bearer("HS256 with the public key", Rejected, &keys.confused(&json!({}))),
        Presented::bearer("another algorithm's name", Rejected, &with("alg", json!("ES384"))),
        Presented::bearer("an unknown kid", Rejected, &with("kid", json!("k9"))),
        Presented::bearer("an embedded key", Rejected, &embedded),
        Presented::bearer("jku", Rejected, &with("jku", json!("https://evil.example/jwks"))),
        Presented::bearer("x5u", Rejected, &with("x5u", json!("https://evil.example/x5u"))),
        Presented::bearer("crit", Rejected, &with("crit", json!(["b64"]))),
        Presented::bearer("wrong type", Rejected, &with("typ", json!("JWT")))
            .behind_jwt_authn(Meaning::Active),
        Presented::bearer("no type", Rejected, &under(json!({"alg": "ES256", "kid": "k1"})))
            .behind_jwt_authn(Meaning::Active),
    ]
}

/// Well signed, and against a rule.
fn against_the_rules(keys: &Keys) -> Vec<Presented> {
    let now = now();
    let other = Issuer::generate("https://other.example.com", "k1", Algorithm::Es256).unwrap();
    let unknown = other.sign(&claims(&json!({"iss": "https://other.example.com"}))).unwrap();
    let rows = [
        ("expired", json!({"iat": now - 700, "exp": now - 1})),
        ("not yet valid", json!({"nbf": now + 300})),
        ("issued in the future", json!({"iat": now + 300, "exp": now + 600})),
        ("wrong audience", json!({"aud": "other-api"})),
        ("only for the narrow audience", json!({"aud": "narrow"})),
        ("no audience", json!({"aud": null})),
        ("no issuer", json!({"iss": null})),
        ("an issuer spelled otherwise", json!({"iss": format!("{ISSUER}/")})),
        ("no jti", json!({"jti": null})),
        ("no sub", json!({"sub": null})),
        ("no sid", json!({"sid": null})),
        ("no auth_time", json!({"auth_time": null})),
        ("no iat", json!({"iat": null})),
        ("no exp", json!({"exp": null})),
        // CVE-2026-25537: a claim of the wrong JSON type is not an absent one.
        ("exp as a string", json!({"exp": (now + 600).to_string()})),
        ("nbf as a string", json!({"nbf": "0"})),
        ("sub as a number", json!({"sub": 7})),
        ("lifetime too long", json!({"iat": now, "exp": now + LIFETIME_SECONDS + 1})),
        ("session too long", json!({"auth_time": now - 86_401})),
        ("ends before it begins", json!({"iat": now, "exp": now - 1})),
    ];
    let rows =
        rows.iter().map(|(name, change)| (*name, keys.token(change))).chain([("unknown issuer", unknown)]);
    rows.map(|(name, token)| Presented::bearer(name, Meaning::Rejected, &token)).collect()
}

/// Presents a token in the cookie, between others.
pub(crate) fn in_cookie(name: &str, meaning: Meaning, token: &str) -> Presented {
    Presented::cookie(name, meaning, &format!("theme=dark; access_token={token}; lang=en"))
}
