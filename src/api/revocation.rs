//! `Revocation`: one act of revoking.

#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    missing_docs,
    reason = "the derive macros write items of their own; what is written here is documented and reachable"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::ConditionType;
use super::rule;
use super::token_revocation_list::Condition;

/// How many lists a report takes: no more are followed at one replica.
pub const MAX_REPORTED_LISTS: usize = 1024;

/// What is revoked. It can't be changed after creation, except that expiresAt may grow.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "rescind.dev",
    version = "v1alpha1",
    kind = "Revocation",
    plural = "revocations",
    singular = "revocation",
    shortname = "rvk",
    category = "rescind",
    namespaced,
    status = "RevocationStatus",
    derive = "PartialEq",
    doc = "One act of revoking. Delete it to lift it.",
    annotation("helm.sh/resource-policy", "keep"),
    selectable = ".spec.listName",
    selectable = ".spec.issuer",
    selectable = ".spec.reason",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.target",
        description = "What is revoked, as the controller understood it."
    ),
    printcolumn(name = "List", type_ = "string", json_path = ".spec.listName"),
    printcolumn(
        name = "Cutoff",
        type_ = "string",
        json_path = ".status.cutoff",
        description = "In force, also where the revocation names none."
    ),
    printcolumn(
        name = "Enforced",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Enforced")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Applied",
        type_ = "integer",
        json_path = ".status.enforcement.applied",
        priority = 1
    ),
    printcolumn(
        name = "Subscribers",
        type_ = "integer",
        json_path = ".status.enforcement.subscribers",
        priority = 1
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".spec.message", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = rule::fixed("target"),
    validation = rule::fixed("listName"),
    validation = rule::fixed("issuer"),
    validation = rule::fixed("cutoff"),
    validation = rule::fixed("compareWith"),
    validation = rule::fixed("reason"),
    validation = rule::fixed("message"),
    validation = Rule::new("has(self.expiresAt) == has(oldSelf.expiresAt) && (!has(self.expiresAt) || self.expiresAt == oldSelf.expiresAt) || has(self.expiresAt) && has(oldSelf.expiresAt) && timestamp(self.expiresAt) >= timestamp(oldSelf.expiresAt)").message("expiresAt may only move later, and it can't be added or removed: delete the revocation to lift it, or create another one").field_path(".expiresAt"),
    validation = Rule::new("has(self.listName) || has(self.target.heartbeat) || has(self.target.epoch) || has(self.target.horizon)").message("listName is missing: name the TokenRevocationList that the revocation is for"),
    validation = Rule::new("has(self.issuer) || has(self.target.heartbeat) || has(self.target.epoch) || has(self.target.horizon)").message("issuer is missing: give the iss of the tokens"),
    validation = Rule::new("!(has(self.target.heartbeat) || has(self.target.epoch) || has(self.target.horizon)) || !(has(self.listName) || has(self.issuer) || has(self.cutoff) || has(self.expiresAt))").message("heartbeat, epoch and horizon are the controllers' own and revoke nothing: they have no listName, issuer, cutoff and expiresAt"),
    validation = Rule::new("!has(self.target.everything) || has(self.cutoff)").message("a revocation of everything needs a cutoff: give a time, or Always to refuse later tokens too").field_path(".cutoff").reason(Reason::FieldValueRequired),
    validation = Rule::new("self.compareWith != 'SessionStart' || !has(self.cutoff) || self.cutoff != 'Always'").message("compareWith SessionStart needs a cutoff that is a time, not Always").field_path(".cutoff")
)]
pub struct RevocationSpec {
    /// Name of the TokenRevocationList in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::name())]
    pub list_name: Option<String>,
    /// The token's iss, compared as the exact string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rule::line())]
    pub issuer: Option<String>,
    /// What is revoked. Exactly one member.
    pub target: Target,
    /// Tokens up to this time are refused (inclusive), or Always to refuse later ones too. Absent: the selector's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rule::time_or_always())]
    pub cutoff: Option<String>,
    /// What the cutoff is compared with: the time of issue, or the start of the session.
    #[serde(default)]
    pub compare_with: CompareWith,
    /// When a revocation of later tokens ends. It may only grow. It never shortens how long a cutoff is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rule::time())]
    pub expires_at: Option<String>,
    /// Why, in one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rule::word())]
    pub reason: Option<String>,
    /// For people. Never write a token or a secret here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::line())]
    pub message: Option<String>,
}

/// What is revoked: exactly one member.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.token), has(self.session), has(self.subject), has(self.client), has(self.key), has(self.opaqueTokenSha256), has(self.everything), has(self.selector), has(self.heartbeat), has(self.epoch), has(self.horizon)].filter(x, x).size() == 1").message("name exactly one of token, session, subject, client, key, opaqueTokenSha256, everything and selector, and give it a value")
)]
pub struct Target {
    /// One token, by its jti.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rule::line())]
    pub token: Option<String>,
    /// One session, by its sid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rule::line())]
    pub session: Option<String>,
    /// All tokens of a sub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rule::line())]
    pub subject: Option<String>,
    /// All tokens of a client_id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rule::line())]
    pub client: Option<String>,
    /// All tokens verified by a key: its configured kid, or its RFC 7638 thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::line())]
    pub key: Option<String>,
    /// SHA-256 of an opaque token, 64 lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')").message("it is not 64 lower-case hexadecimal digits: give the SHA-256 of the token, not the token"))]
    pub opaque_token_sha256: Option<String>,
    /// Every token of the issuer. Only true is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("everything can only be true: leave it out and name a target"))]
    pub everything: Option<bool>,
    /// A selector that the list declares, with its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<SelectorTarget>,
    /// Internal: a sign of life of a controller replica. It revokes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatTarget>,
    /// Internal: names the history of the store. It revokes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Marker>,
    /// Internal: up to when expiries have been carried out. It revokes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Marker>,
}

impl Target {
    /// Tells whether the object revokes nothing: it is one of the controllers' own.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        self.heartbeat.is_some() || self.epoch.is_some() || self.horizon.is_some()
    }
}

/// Says which kind of internal object one is; there is nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Marker {}

/// Internal: whose sign of life an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeartbeatTarget {
    /// The replica's process, by a random number in hexadecimal digits.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[0-9a-f]+$"))]
    pub replica: String,
    /// What it tells.
    pub kind: HeartbeatKind,
}

/// Internal: what a heartbeat tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeartbeatKind {
    /// A nonce, which proves how far the replica's watch has come.
    Pulse,
    /// Which sidecars the replica serves, and what they have in use.
    Report,
}

/// A declared selector with a value for each of its claims.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectorTarget {
    /// Name of the selector.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::name())]
    pub name: String,
    /// One entry per claim of the selector.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.claim == one.claim))").message("a claim is given twice: give each claim of the selector one value"))]
    pub values: Vec<ClaimValue>,
}

/// A claim with the value that tokens must have there.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.type) || self.type != 'Number' || self.value.matches('^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]{1,9})?$')").message("value is not a JSON number like 7 or -1.5"),
    validation = Rule::new("!has(self.type) || self.type != 'Boolean' || self.value == 'true' || self.value == 'false'").message("value is neither \"true\" nor \"false\", in quotes")
)]
pub struct ClaimValue {
    /// Name of the claim, or a JSON Pointer.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rule::claim())]
    pub claim: String,
    /// The value, always written as a string ("7", "true").
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rule::line())]
    pub value: String,
    /// JSON type of the claim in the token. Absent means String.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ValueType>,
}

/// JSON type of the claim in the token. Absent means String.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueType {
    /// A string.
    String,
    /// A number, compared by value.
    Number,
    /// A truth value.
    Boolean,
}

/// What a cutoff is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompareWith {
    /// The token's iat.
    #[default]
    IssueTime,
    /// The start of the session, so that a renewed token can't slip past.
    SessionStart,
}

/// What the controller has made of the revocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationStatus {
    /// Accepted, Enforced, Expired; Ready summarises.
    #[serde(default = "unknown_conditions")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// What is revoked, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub target: Option<String>,
    /// The cutoff in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cutoff: Option<String>,
    /// When the revocation can be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expires_at: Option<String>,
    /// The first time of issue that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub admits_from: Option<String>,
    /// The version of the list that carries the revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// How many sidecars have applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementCounts>,
    /// Internal: the content of a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatStatus>,
    /// Internal: the history of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<EpochStatus>,
    /// Internal: up to when expiries have been carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<HorizonStatus>,
}

/// Internal: the content of a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatStatus {
    /// New for every attempt to write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub nonce: Option<String>,
    /// Of a report: the lists that sidecars follow at the replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_REPORTED_LISTS))]
    pub lists: Vec<ListReport>,
}

/// Internal: the sidecars that follow a list at one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListReport {
    /// The list's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The list's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Sidecars that follow it, those included that were lost so lately that they may still allow.
    pub subscribers: i64,
    /// Of them, those that are connected.
    pub connected: i64,
    /// What all of them have in use at least; none while one of them has nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub lowest: Option<String>,
    /// The declaration that all of them have in force at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Of which list of that name: a name of its hash key, 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub hash_key: Option<String>,
}

impl ListReport {
    /// Returns the name of a hash key as reports bear it.
    #[must_use]
    pub fn named(hash_key: u64) -> String {
        format!("{hash_key:016x}")
    }
}

/// Internal: one history of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EpochStatus {
    /// Grows with every history.
    pub counter: i64,
    /// Random; 32 hexadecimal digits.
    #[schemars(length(min = 32, max = 32))]
    pub id: String,
    /// Why it was begun, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
}

/// Internal: a point in time that has surely passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HorizonStatus {
    /// Seconds since 1970.
    pub unix_seconds: i64,
}

fn unknown_conditions() -> Vec<Condition> {
    use ConditionType::{Accepted, Enforced, Ready};
    [Accepted, Enforced, Ready].map(Condition::unknown).to_vec()
}

/// How many sidecars have applied a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementCounts {
    /// Sidecars that are known.
    pub subscribers: i64,
    /// Of them, those that have applied it.
    pub applied: i64,
    /// Of them, those that are away and too old to allow anything.
    pub away: i64,
    /// From the acknowledgement until it was enforced.
    pub elapsed_milliseconds: i64,
}
