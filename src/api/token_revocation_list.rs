//! `TokenRevocationList`: the unit of distribution, policy and permission.

#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    missing_docs,
    reason = "the derive macros write items of their own; what is written here is documented and reachable"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allowed_subscribers::AllowedSubscribers;
use super::condition::{ConditionReason, ConditionType};
use super::rule;

/// Declares a list: whose tokens it is about, where requests carry them, and how old knowledge may be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "rescind.dev",
    version = "v1alpha1",
    kind = "TokenRevocationList",
    plural = "tokenrevocationlists",
    singular = "tokenrevocationlist",
    shortname = "trl",
    category = "rescind",
    namespaced,
    status = "TokenRevocationListStatus",
    derive = "PartialEq",
    doc = "A revocation list: whose tokens it is about, where requests carry them, and how old the knowledge of a sidecar may be.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Entries", type_ = "integer", json_path = ".status.entries"),
    printcolumn(name = "Subscribers", type_ = "integer", json_path = ".status.subscribers"),
    printcolumn(
        name = "Bound",
        type_ = "integer",
        json_path = ".spec.freshness.boundSeconds",
        description = "Seconds."
    ),
    printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.enforcement", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.issuers.all(one, self.issuers.exists_one(other, other.issuer == one.issuer))").message("an issuer is declared twice: put what is said of it into one item").field_path(".issuers"),
    validation = Rule::new("!has(self.selectors) || self.selectors.all(one, self.selectors.exists_one(other, other.name == one.name))").message("a selector is declared twice: give each a name of its own").field_path(".selectors"),
    validation = Rule::new("!has(self.tokenSources) || self.tokenSources.all(one, self.tokenSources.exists_one(other, (has(other.cookie) ? other.cookie : '') == (has(one.cookie) ? one.cookie : '')))").message("a token source is declared twice: name the header and each cookie once").field_path(".tokenSources"),
    validation = Rule::new("!has(self.tokenSources) || self.tokenSources.all(source, !has(source.issuer) || self.issuers.exists(declared, declared.issuer == source.issuer))").message("the issuer of a token source is not declared: add it to spec.issuers").field_path(".tokenSources")
)]
pub struct TokenRevocationListSpec {
    /// Whose tokens the list is about. Tokens of other issuers are refused.
    #[schemars(length(min = 1, max = 16))]
    pub issuers: Vec<Issuer>,
    /// Selectors beside the built-in ones (token, session, subject, client, key, everything, opaque).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub selectors: Vec<Selector>,
    /// How old the knowledge of a sidecar may be.
    #[serde(default)]
    pub freshness: Freshness,
    /// Whether refusals have an effect. Shadow computes and counts everything and refuses nothing.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Where requests carry their token. Exhaustive; absent means the header Authorization with scheme Bearer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub token_sources: Vec<TokenSource>,
    /// Which sidecars may follow the list.
    #[serde(default)]
    pub allowed_subscribers: AllowedSubscribers,
}

/// One issuer and what its tokens must be like.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.audiences) != has(self.anyAudience)").message("name the audiences that tokens must be meant for, or say anyAudience: true")
)]
pub struct Issuer {
    /// The token's iss, compared as the exact string.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rule::line())]
    pub issuer: String,
    /// Audiences, one of which a token must be meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = rule::lines())]
    pub audiences: Option<Vec<String>>,
    /// Tokens for any audience are accepted. Only true is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("anyAudience can only be true: leave it out and name audiences"))]
    pub any_audience: Option<bool>,
    /// Accepted values of the token's typ header. Absent means at+jwt; Keycloak and many others send JWT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 64)))]
    #[x_kube(validation = rule::lines())]
    pub types: Vec<String>,
    /// The longest time from iat to exp. Tokens that live longer are refused; revocations are kept this long.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub max_token_lifetime_seconds: u32,
    /// The longest time from the start of a session to iat. Revocations of sessions are kept this long. Absent means 30 days.
    #[serde(default = "thirty_days")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub max_session_lifetime_seconds: u32,
    /// The claim that tells when the session started. Absent means auth_time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::claim())]
    pub session_start_claim: Option<String>,
    /// How far the issuer's clock may run ahead. Absent means 1.
    #[serde(default = "one_second")]
    #[schemars(range(max = 300))]
    pub clock_skew_seconds: u32,
    /// How long after exp and before nbf tokens are accepted. Absent means 0.
    #[serde(default)]
    #[schemars(range(max = 300))]
    pub leeway_seconds: u32,
    /// Claims without which a token is refused, because revocations by them would not reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = rule::claims())]
    pub required_claims: Vec<String>,
    /// Claims that built-in selectors read under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_names: Option<ClaimNames>,
    /// Who verifies the signature.
    pub verification: Verification,
}

const fn thirty_days() -> u32 {
    2_592_000
}

const fn one_second() -> u32 {
    1
}

/// Names of claims, or JSON Pointers.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimNames {
    /// Read by the selector token instead of jti.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::claim())]
    pub token: Option<String>,
    /// Read by the selector session instead of sid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::claim())]
    pub session: Option<String>,
    /// Read by the selector subject instead of sub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::claim())]
    pub subject: Option<String>,
    /// Read by the selector client instead of client_id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::claim())]
    pub client: Option<String>,
}

/// Who verifies signatures: exactly one member.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.keys) != has(self.trustUpstream)").message("name exactly one of keys and trustUpstream: who verifies the signature?")
)]
pub struct Verification {
    /// Public keys with which the sidecar verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.all(one, !has(one.kid) || self.exists_one(other, has(other.kid) && other.kid == one.kid))").message("a kid is given twice: leave out the key that the issuer no longer signs with"))]
    pub keys: Option<Vec<PublicKey>>,
    /// The proxy has verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_upstream: Option<TrustUpstream>,
}

/// A public key (RFC 7517). Private members are refused.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.kty != 'RSA' || has(self.n) && has(self.e) && has(self.alg) && self.alg in ['RS256','PS256']").message("an RSA key needs n and e, and alg RS256 or PS256"),
    validation = Rule::new("self.kty != 'EC' || has(self.crv) && has(self.x) && has(self.y) && (self.crv == 'P-256' && (!has(self.alg) || self.alg == 'ES256') || self.crv == 'P-384' && (!has(self.alg) || self.alg == 'ES384'))").message("an EC key needs crv, x and \"y\" (in YAML, write the y in quotes): P-256 with alg ES256, or P-384 with alg ES384"),
    validation = Rule::new("self.kty != 'OKP' || has(self.crv) && self.crv == 'Ed25519' && has(self.x) && (!has(self.alg) || self.alg == 'EdDSA')").message("an OKP key needs crv Ed25519, x, and alg EdDSA")
)]
pub struct PublicKey {
    /// The key's name, as tokens give it in their header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::line())]
    pub kid: Option<String>,
    /// Type of the key.
    pub kty: KeyType,
    /// The one algorithm that the key verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub alg: Option<String>,
    /// What the key is for; only sig is allowed.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self == 'sig'").message("a key that verifies has use sig: leave out keys for encryption"))]
    pub use_: Option<String>,
    /// The curve: P-256, P-384 or Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub crv: Option<String>,
    /// First coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = rule::base64url())]
    pub x: Option<String>,
    /// Second coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = rule::base64url())]
    pub y: Option<String>,
    /// RSA modulus, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    #[x_kube(validation = rule::base64url())]
    pub n: Option<String>,
    /// RSA exponent, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = rule::base64url())]
    pub e: Option<String>,
}

/// Types of keys. Symmetric ones are missing on purpose: every sidecar could sign with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyType {
    /// RSA.
    RSA,
    /// Elliptic curve.
    EC,
    /// Octet key pair.
    OKP,
}

/// A proxy in front has verified the signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustUpstream {
    /// Envoy's jwt_authn filter has.
    pub envoy_metadata: EnvoyMetadata,
}

/// Where Envoy's jwt_authn filter leaves the claims.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvoyMetadata {
    /// The filter's payload_in_metadata.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rule::line())]
    pub payload_key: String,
}

/// A selector: claims that must all match.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// The name that revocations use.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = rule::name(),
        validation = Rule::new("!(self in ['token', 'session', 'subject', 'client', 'key', 'everything', 'opaque'])").message("it is the name of a built-in selector: choose another one")
    )]
    pub name: String,
    /// Names of claims, or JSON Pointers like /realm_access/roles.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 256)))]
    #[x_kube(
        validation = rule::claims(),
        validation = Rule::new("self.all(one, self.exists_one(other, other == one))").message("a claim is named twice: name each one once")
    )]
    pub claims: Vec<String>,
}

/// Bounds on the age of what sidecars know.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.maximumSeconds >= self.boundSeconds").message("maximumSeconds is smaller than boundSeconds: raise it, or lower boundSeconds")
)]
pub struct Freshness {
    /// A decision counts as fresh up to this age.
    #[serde(default = "fifteen")]
    #[schemars(range(min = 2, max = 3600))]
    pub bound_seconds: u32,
    /// Beyond this age nothing is allowed under any policy.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 2, max = 86_400))]
    pub maximum_seconds: u32,
    /// What happens between the two. Strict answers 503; BestEffort decides, and marks and counts it.
    #[serde(default)]
    pub policy: FreshnessPolicy,
}

const fn fifteen() -> u32 {
    15
}

const fn five_minutes() -> u32 {
    300
}

impl Default for Freshness {
    fn default() -> Self {
        Self { bound_seconds: fifteen(), maximum_seconds: five_minutes(), policy: FreshnessPolicy::Strict }
    }
}

/// What a stale list does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FreshnessPolicy {
    /// Answers 503.
    #[default]
    Strict,
    /// Decides, up to the maximum age.
    BestEffort,
}

/// Whether refusals have an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// They have.
    #[default]
    Enforce,
    /// They are computed and counted.
    Shadow,
}

/// One place where a request may carry its token.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.header) != has(self.cookie)").message("name exactly one of header and cookie"),
    validation = Rule::new("has(self.header) || !has(self.scheme)").message("scheme goes with header only"),
    validation = Rule::new("has(self.cookie) || !has(self.clearWhenRefused)").message("clearWhenRefused goes with cookie only"),
    validation = Rule::new("(has(self.kind) && self.kind == 'Opaque') == has(self.issuer)").message("kind Opaque needs the issuer of the tokens, and goes with no other kind")
)]
pub struct TokenSource {
    /// Name of the header; only Authorization is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.lowerAscii() == 'authorization'").message("the only header that carries tokens is Authorization"))]
    pub header: Option<String>,
    /// Scheme in the header; only Bearer is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.lowerAscii() == 'bearer'").message("the only scheme of tokens is Bearer"))]
    pub scheme: Option<String>,
    /// Name of the cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(r"self.matches('^[!#$%&\\x27*+.^_`|~0-9A-Za-z-]+$')").message("it has a character that names of cookies can't have (RFC 6265)"))]
    pub cookie: Option<String>,
    /// A refused token's cookie is cleared in the browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_when_refused: Option<bool>,
    /// What the token is. Absent means Jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TokenKind>,
    /// The issuer of opaque tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rule::line())]
    pub issuer: Option<String>,
}

/// What the token is. Absent means Jwt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenKind {
    /// A signed JWT.
    Jwt,
    /// An opaque token or session id, looked up by its hash.
    Opaque,
}

/// What the controller has made of the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenRevocationListStatus {
    /// Ready summarises.
    #[serde(default = "unknown_conditions")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// Live entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<i64>,
    /// Size of the list on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Sidecars that follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribers: Option<i64>,
    /// The newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

fn unknown_conditions() -> Vec<Condition> {
    vec![Condition::unknown(ConditionType::Ready)]
}

/// One aspect of the state of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// One CamelCase word.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// A sentence for people.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the status last changed.
    #[schemars(length(max = 64))]
    pub last_transition_time: String,
    /// The generation that this condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody has looked yet.
    Unknown,
}

impl Condition {
    /// Returns the condition of an object that no controller has seen.
    #[must_use]
    pub fn unknown(type_: ConditionType) -> Self {
        Self {
            type_: type_.word().to_owned(),
            status: ConditionStatus::Unknown,
            reason: ConditionReason::Pending.word().to_owned(),
            message: "Waiting for the controller.".to_owned(),
            last_transition_time: "1970-01-01T00:00:00Z".to_owned(),
            observed_generation: None,
        }
    }
}
