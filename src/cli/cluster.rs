//! The cluster of a kubeconfig in the place of a controller's admin API: what is revoked are objects.
//!
//! Commands ask for the same things, in the same words of the admin protocol, and everything that the admin API
//! decides before it stores a revocation is decided here, by the same code. What a controller does with the
//! object afterwards is read from its status.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};

pub(super) use self::client::ClusterOptions;
pub(super) use self::error::{ClusterError, Wanted};
pub(super) use self::object::standing;
pub(super) use self::page::all as all_pages;
pub(super) use self::server::ApiServer;
pub(super) use self::status::{Replica, Width, is_trouble, replicas};
use super::backend::ListReference;
use crate::api::document::ListDocument;
use crate::api::revocation as api;
use crate::api::token_revocation_list::TokenRevocationList;
use crate::revocation::names::ListName;
use crate::token::list_config::ListConfig;

mod client;
mod declare;
mod error;
mod exposition;
mod judge;
mod lift;
mod list;
mod object;
mod page;
mod pods;
mod revoke;
mod server;
mod sidecar;
mod status;
mod watch;

/// What the objects are called in permissions.
pub(super) const REVOCATIONS: &str = "revocations.rescind.dev";
pub(super) const LISTS: &str = "tokenrevocationlists.rescind.dev";
/// What it takes to ask a pod through the API server.
const PROXY: &str = "pods/proxy";

/// A cluster that is connected to when it is first called.
pub(super) struct Cluster {
    client: kube::Client,
    url: String,
    namespace: String,
    is_namespace_given: bool,
    answer_within: Duration,
}

impl Cluster {
    /// Waits no longer than this for an answer.
    pub(super) fn answering_within(self, answer_within: Duration) -> Self {
        Self { answer_within, ..self }
    }

    /// Returns the client, for calls to be made by [`call`](Self::call).
    pub(super) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Returns the address of the API server.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the namespace that was chosen.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn revocations(&self, namespace: &str) -> Api<api::Revocation> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn call<T>(
        &self,
        wanted: Wanted,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.answer_within, call).await {
            Ok(answer) => answer.map_err(|error| ClusterError::new(&self.url, &wanted, &error)),
            Err(_) => Err(self.no_answer(self.answer_within)),
        }
    }

    pub(super) fn no_answer(&self, within: Duration) -> ClusterError {
        ClusterError::NoAnswer { url: self.url.clone(), within }
    }

    /// Returns the namespace in which a list and its revocations are.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if the list and the options name different ones.
    fn namespace_of<'a>(&'a self, list: Option<&'a ListReference>) -> Result<&'a str, ClusterError> {
        match list.and_then(ListReference::namespace) {
            Some(named) if self.is_namespace_given && named != self.namespace => Err(ClusterError::Refused(
                format!("--list names namespace {named}, and --namespace {}: give one", self.namespace),
            )),
            Some(named) => Ok(named),
            None => Ok(&self.namespace),
        }
    }

    /// Finds the list that a command means: the one that it names, or the only one of the namespace.
    async fn resolve(&self, list: Option<&ListReference>) -> Result<ListConfig, ClusterError> {
        let namespace = self.namespace_of(list)?;
        let lists: Api<TokenRevocationList> = Api::namespaced(self.client.clone(), namespace);
        let wanted = |verb| Wanted::new(verb, LISTS, Some(namespace));
        let Some(list) = list else {
            return only(namespace, &page::all(self, wanted("list"), &lists, None).await?);
        };
        match self.call(wanted("get"), lists.get(list.name())).await {
            Err(ClusterError::NotFound(_)) => {
                // Who may not list the others is told of this one alone.
                let others = page::all(self, wanted("list"), &lists, None).await.unwrap_or_default();
                Err(ClusterError::Refused(missing(namespace, list.name(), &others)))
            }
            found => config(&found?),
        }
    }
}

impl Cluster {
    /// Returns the names of all namespaces, as many as one answer holds.
    pub(super) async fn namespaces(&self) -> Result<Vec<String>, ClusterError> {
        let api: Api<Namespace> = Api::all(self.client());
        let wanted = Wanted::new("list", "namespaces", None);
        let found = self.call(wanted, api.list_metadata(&ListParams::default().limit(page::SIZE))).await?;
        Ok(found.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
    }

    /// Returns the names of the namespace's lists.
    pub(super) async fn list_names(&self) -> Result<Vec<String>, ClusterError> {
        let api: Api<TokenRevocationList> = Api::namespaced(self.client(), &self.namespace);
        let wanted = Wanted::new("list", LISTS, Some(&self.namespace));
        let found = self.call(wanted, api.list_metadata(&ListParams::default().limit(page::SIZE))).await?;
        Ok(found.items.into_iter().filter_map(|list| list.metadata.name).collect())
    }
}

fn missing(namespace: &str, name: &str, others: &[TokenRevocationList]) -> String {
    let others: Vec<&str> = others.iter().filter_map(|list| list.metadata.name.as_deref()).collect();
    match others.as_slice() {
        [] => format!("namespace {namespace} has no list {name}: choose another --namespace, or apply it"),
        others => format!(
            "namespace {namespace} has no list {name}, but {}: name one with --list, or choose another --namespace",
            others.join(", ")
        ),
    }
}

fn only(namespace: &str, lists: &[TokenRevocationList]) -> Result<ListConfig, ClusterError> {
    let problem = match lists {
        [only] => return config(only),
        [] => format!(
            "namespace {namespace} has no TokenRevocationList: choose another one with --namespace, or apply a list"
        ),
        _ => {
            let names: Vec<&str> = lists.iter().filter_map(|list| list.metadata.name.as_deref()).collect();
            format!("namespace {namespace} has several lists: name one with --list ({})", names.join(", "))
        }
    };
    Err(ClusterError::Refused(problem))
}

/// Compiles the declaration of an object, as controllers do.
fn config(list: &TokenRevocationList) -> Result<ListConfig, ClusterError> {
    let (namespace, name) = (list.metadata.namespace.as_deref(), list.metadata.name.as_deref());
    let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
    let bad =
        |problem: String| ClusterError::Refused(format!("list {namespace}/{name} can't be used: {problem}"));
    let name = ListName::new(namespace, name).map_err(|error| bad(error.to_string()))?;
    let mut document = ListDocument::new(&name, list.spec.clone());
    document.metadata.annotations = list.metadata.annotations.clone().unwrap_or_default();
    document.config().map_err(|error| bad(error.to_string()))
}
