//! The shape of the API: the kinds that people write, as manifests now and as custom resources on Kubernetes.
//!
//! One set of types serves the CRDs, the manifests of `rescind dev`, and the configuration in the stream, so
//! that a field can't mean two things.

pub mod allowed_subscribers;
pub mod compile;
pub mod condition;
pub mod definition;
pub mod document;
pub mod duration;
pub mod invalid;
pub mod manifest;
pub mod maxima;
pub mod recorded;
pub mod revocation;
mod rule;
pub mod target;
pub mod token_revocation_list;
pub mod window;

/// The API group.
pub const GROUP: &str = "rescind.dev";
/// The API version of all kinds.
pub const API_VERSION: &str = "rescind.dev/v1alpha1";
/// The label, with its value, of objects that this program has made: those it may remove.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "rescind");
/// The annotation of a revocation that says who has made it. The policy `rescind-revoked-by` holds it to the truth.
pub const REVOKED_BY: &str = "rescind.dev/revoked-by";
