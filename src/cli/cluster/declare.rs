//! A list that a command declares for itself, and takes away again.

use kube::api::{Api, DeleteParams, PostParams};

use super::error::Wanted;
use super::{Cluster, ClusterError, LISTS};
use crate::api::document::ListDocument;
use crate::api::token_revocation_list::TokenRevocationList;
use crate::revocation::names::ListName;

impl Cluster {
    /// Declares a list, in the place of one of the name.
    pub(in super::super) async fn declare(
        &self,
        name: &ListName,
        document: ListDocument,
    ) -> Result<(), ClusterError> {
        self.withdraw(name).await?;
        let object = TokenRevocationList::new(name.name(), document.spec);
        let wanted = Wanted::new("create", LISTS, Some(name.namespace()));
        self.call(wanted, self.lists(name).create(&PostParams::default(), &object)).await.map(drop)
    }

    /// Takes a list away, if it is there.
    pub(in super::super) async fn withdraw(&self, name: &ListName) -> Result<(), ClusterError> {
        let wanted = Wanted::new("delete", LISTS, Some(name.namespace()));
        match self.call(wanted, self.lists(name).delete(name.name(), &DeleteParams::default())).await {
            Ok(_) | Err(ClusterError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn lists(&self, name: &ListName) -> Api<TokenRevocationList> {
        Api::namespaced(self.client.clone(), name.namespace())
    }
}
