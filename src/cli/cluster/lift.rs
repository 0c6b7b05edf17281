//! Deletes the object of a revocation, which lifts it.

use kube::api::{DeleteParams, Preconditions};

use crate::api::revocation as api;

use super::super::backend::{DryRun, Lifted, ListReference};
use super::error::Wanted;
use super::object::view;
use super::{Cluster, ClusterError, REVOCATIONS};

impl Cluster {
    /// Lifts a revocation by its name; with a UID, no other one of that name.
    pub(in super::super) async fn lift(
        &self,
        list: Option<&ListReference>,
        name: &str,
        uid: Option<&str>,
        dry_run: DryRun,
    ) -> Result<Lifted, ClusterError> {
        let namespace = self.namespace_of(list)?;
        let found = self.find(namespace, name).await?;
        let found = found.filter(|object| uid.is_none_or(|uid| object.metadata.uid.as_deref() == Some(uid)));
        let Some(object) = found else { return Err(missing(namespace, name)) };
        if object.spec.target.is_internal() {
            let text = format!("{name} is an object of the controllers' own, and revokes nothing: leave it");
            return Err(ClusterError::Refused(text));
        }
        let of = object.spec.list_name.as_deref();
        if let Some(list) = list.filter(|list| of != Some(list.name())) {
            let text = format!("{name} is of list {}, not of {}", of.unwrap_or_default(), list.name());
            return Err(ClusterError::Refused(text));
        }
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let lifted = view(object, None).map_err(|error| ClusterError::Answer(error.to_string()))?;
        if dry_run != DryRun::Client {
            self.delete(namespace, name, uid, dry_run).await?;
        }
        Ok(Lifted { view: lifted, version: String::new() })
    }

    /// Reads an object; none if there is none.
    pub(super) async fn find(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<api::Revocation>, ClusterError> {
        let wanted = Wanted::new("get", REVOCATIONS, Some(namespace));
        match self.call(wanted, self.revocations(namespace).get(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(ClusterError::NotFound(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn delete(
        &self,
        namespace: &str,
        name: &str,
        uid: String,
        dry_run: DryRun,
    ) -> Result<(), ClusterError> {
        let params = DeleteParams {
            dry_run: dry_run == DryRun::Server,
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        let wanted = Wanted::new("delete", REVOCATIONS, Some(namespace));
        let api = self.revocations(namespace);
        match self.call(wanted, api.delete(name, &params)).await {
            Ok(_) => Ok(()),
            Err(ClusterError::NotFound(_) | ClusterError::Conflict(_)) => Err(missing(namespace, name)),
            // Whether it had an effect can be seen.
            Err(error) if error.is_unsettled() && dry_run == DryRun::None => {
                match self.find(namespace, name).await {
                    Ok(left) if left.as_ref().is_none_or(|left| left.metadata.uid.as_ref() != Some(&uid)) => {
                        Ok(())
                    }
                    Ok(_) | Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn missing(namespace: &str, name: &str) -> ClusterError {
    let text = format!(
        "namespace {namespace} has no such revocation {name}: it was lifted, has expired, or never was; \
         `rescind list` shows what is in force"
    );
    ClusterError::NotFound(text)
}
