//! Reads the revocations of a cluster.

use kube::api::Api;
use kube::core::DeserializeGuard;

use crate::api::condition::ConditionType;
use crate::api::revocation as api;
use crate::api::token_revocation_list::ConditionStatus;

use super::super::backend::{ListReference, Listed};
use super::error::Wanted;
use super::object::{holds, view};
use super::{Cluster, ClusterError, REVOCATIONS, page};

impl Cluster {
    /// Lists live revocations: not those that have expired, and never the controllers' own objects.
    pub(in super::super) async fn list(
        &self,
        list: Option<&ListReference>,
        is_everywhere: bool,
    ) -> Result<Listed, ClusterError> {
        let namespace = if is_everywhere { None } else { Some(self.namespace_of(list)?) };
        let fields = match list {
            Some(list) => format!("spec.listName={}", list.name()),
            // The controllers' own objects belong to no list.
            None => "spec.listName!=".to_owned(),
        };
        let client = self.client.clone();
        // One object that this program can't read must not hide the others.
        let api: Api<DeserializeGuard<api::Revocation>> = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let wanted = Wanted::new("list", REVOCATIONS, namespace);
        let found = page::all(self, wanted, &api, Some(&fields)).await?;
        let mut listed = Listed::default();
        for DeserializeGuard(found) in found {
            let read = match found {
                Ok(object) if is_hidden(&object) => continue,
                Ok(object) => {
                    let name = object.metadata.name.clone();
                    view(object, None).map_err(|error| (name, error.to_string()))
                }
                Err(unread) => Err((unread.metadata.name, unread.error)),
            };
            match read {
                Ok(view) => listed.views.push(view),
                Err((name, problem)) => {
                    let name = name.unwrap_or_default();
                    listed.warnings.push(format!("{name} is left out, for it is not understood: {problem}"));
                }
            }
        }
        Ok(listed)
    }
}

fn is_hidden(object: &api::Revocation) -> bool {
    object.spec.target.is_internal() || holds(object, ConditionType::Expired) == ConditionStatus::True
}
