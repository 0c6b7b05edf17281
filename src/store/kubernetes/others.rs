//! Objects of other types that are written or read beside the log: events, and quotas.

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::events::v1 as events;
use kube::api::{Api, ListParams, PostParams};
use serde_json::Value;

use super::KubernetesStore;
use super::call::timed;

/// More quotas than a namespace has.
const MAX_QUOTAS: u32 = 100;

impl KubernetesStore {
    /// Writes an event. That there is one of its name already is as good.
    ///
    /// # Errors
    /// A sentence about why it is not there.
    pub async fn create_event(&self, namespace: &str, event: &Value) -> Result<(), String> {
        let api: Api<events::Event> = Api::namespaced(self.client(), namespace);
        let event = serde_json::from_value(event.clone()).map_err(|error| error.to_string())?;
        match timed(api.create(&PostParams::default(), &event)).await {
            Err(error) if !error.is_conflict() => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Returns the quotas of a namespace: one page of them.
    ///
    /// # Errors
    /// A sentence about why they can't be read.
    pub async fn quotas(&self, namespace: &str) -> Result<Vec<ResourceQuota>, String> {
        let api: Api<ResourceQuota> = Api::namespaced(self.client(), namespace);
        let quotas = timed(api.list(&ListParams::default().limit(MAX_QUOTAS))).await;
        quotas.map(|quotas| quotas.items).map_err(|error| error.to_string())
    }
}
