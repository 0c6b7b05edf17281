//! What was read for the checks. Checks are functions of this and nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::super::cluster::{ApiServer, ClusterError, Replica};
use crate::api::token_revocation_list::TokenRevocationList;
use crate::revocation::time::NumericDate;

/// What was read of one thing.
pub(super) type Read<T> = Result<T, ClusterError>;

/// One thing, looked at twice, a few seconds apart.
#[derive(Clone, Debug)]
pub(super) struct Twice<T> {
    pub(super) first: T,
    pub(super) second: T,
}

/// How the API server answered.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) server: ApiServer,
    /// Our clock, before it was asked and when it had answered.
    pub(super) asked: NumericDate,
    pub(super) answered: NumericDate,
    /// As whom it knows us; none if it does not say.
    pub(super) user: Option<String>,
}

/// A permission that was asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) name: String,
    /// Everywhere if it is empty.
    pub(super) namespace: String,
}

/// Whether it is given.
pub(super) type Given = Read<Vec<(Right, bool)>>;

/// What concerns injection in one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Injected {
    /// The certificates in its ConfigMap `rescind-ca`; none if there is no such map.
    pub(super) authority: Option<String>,
    /// Its pods, as many as were looked at.
    pub(super) pods: Vec<Pod>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Facts {
    /// The controllers' namespace.
    pub(super) controllers: String,
    /// The time, by the clock of the API server where it tells.
    pub(super) now: i64,
    /// Of `revocations` and `tokenrevocationlists`.
    pub(super) definitions: Vec<(&'static str, Read<Option<CustomResourceDefinition>>)>,
    pub(super) own_rights: Given,
    pub(super) controller_rights: Given,
    pub(super) policies: Read<Vec<ValidatingAdmissionPolicy>>,
    pub(super) bindings: Read<Vec<ValidatingAdmissionPolicyBinding>>,
    pub(super) webhook: Read<Option<MutatingWebhookConfiguration>>,
    /// The controllers' Service for the webhook, and what is behind it.
    pub(super) webhook_service: Read<Option<Service>>,
    pub(super) webhook_endpoints: Read<Vec<EndpointSlice>>,
    /// Whether the Secret `rescind-ca` is there. What is in it was not read.
    pub(super) authority_secret: Read<bool>,
    /// The certificates in the controllers' own ConfigMap `rescind-ca`.
    pub(super) authority: Read<Option<String>>,
    pub(super) deployment: Read<Option<Deployment>>,
    pub(super) replicas: Read<Twice<Vec<Replica>>>,
    pub(super) lease: Read<Twice<Option<Lease>>>,
    pub(super) lists: Read<Vec<TokenRevocationList>>,
    pub(super) quotas: Read<Vec<ResourceQuota>>,
    /// Those that want sidecars in their pods.
    pub(super) namespaces: Read<Vec<Namespace>>,
    /// By namespace.
    pub(super) injected: Read<BTreeMap<String, Injected>>,
}
