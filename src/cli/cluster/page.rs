//! Reads everything of a kind, page by page.

use kube::api::{Api, ListParams};
use serde::de::DeserializeOwned;

use super::error::Wanted;
use super::{Cluster, ClusterError};

/// Objects in one answer.
pub(super) const SIZE: u32 = 500;
/// Reading page by page takes place at one revision, which the API server may forget meanwhile.
const ATTEMPTS: u32 = 3;

/// Reads all pages of what a field selector selects.
pub(in super::super) async fn all<K: Clone + DeserializeOwned + std::fmt::Debug>(
    cluster: &Cluster,
    wanted: Wanted,
    api: &Api<K>,
    fields: Option<&str>,
) -> Result<Vec<K>, ClusterError> {
    chosen(cluster, wanted, api, fields, Some).await
}

/// The same, and keeps of each object only what is chosen.
pub(super) async fn chosen<K: Clone + DeserializeOwned + std::fmt::Debug, T>(
    cluster: &Cluster,
    wanted: Wanted,
    api: &Api<K>,
    fields: Option<&str>,
    choose: impl Fn(K) -> Option<T>,
) -> Result<Vec<T>, ClusterError> {
    let mut attempt = 1;
    loop {
        match at_one_revision(cluster, &wanted, api, fields, &choose).await {
            Err(ClusterError::Gone(_)) if attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
}

async fn at_one_revision<K: Clone + DeserializeOwned + std::fmt::Debug, T>(
    cluster: &Cluster,
    wanted: &Wanted,
    api: &Api<K>,
    fields: Option<&str>,
    choose: &impl Fn(K) -> Option<T>,
) -> Result<Vec<T>, ClusterError> {
    let mut params = ListParams::default().limit(SIZE);
    if let Some(fields) = fields {
        params = params.fields(fields);
    }
    let mut items = Vec::new();
    loop {
        let page = cluster.call(wanted.clone(), api.list(&params)).await?;
        items.extend(page.items.into_iter().filter_map(choose));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(items),
            Some(same) if params.continue_token.as_ref() == Some(&same) => {
                return Err(ClusterError::Answer("a page follows itself".to_owned()));
            }
            next => params.continue_token = next,
        }
    }
}
