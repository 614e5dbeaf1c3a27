//! GET and PATCH of one workload.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};
use super::workload_object::WorkloadObject;
use crate::workload::WorkloadRef;

/// `{"template": T}`
#[derive(Debug, Deserialize)]
pub(super) struct Template<T> {
    pub(super) template: T,
}

/// `{"spec": T}`
#[derive(Debug, Deserialize)]
pub(super) struct Spec<T> {
    pub(super) spec: T,
}

impl Cluster {
    /// GET of one workload.
    pub async fn get_workload(&self, workload: &WorkloadRef) -> Result<WorkloadObject, ApiError> {
        self.get_workload_as(workload).await
    }

    /// GET of one workload, decoded to what the caller needs of it.
    pub(super) async fn get_workload_as<T: DeserializeOwned>(&self, workload: &WorkloadRef) -> Result<T, ApiError> {
        let resource = Resource::from(workload.kind);
        self.call_for(Call { verb: Verb::Get, resource, uri: path(workload), body: None }).await
    }

    /// Merge patch of one workload, as `field_manager`. Returns the object as the API server has stored it: admission may
    /// have changed it. The watched object is updated from it at once.
    pub async fn patch_workload(
        &self,
        workload: &WorkloadRef,
        field_manager: &'static str,
        patch: &serde_json::Value,
    ) -> Result<WorkloadObject, ApiError> {
        let uri = format!("{}?fieldManager={field_manager}", path(workload));
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        let stored: WorkloadObject =
            self.call_for(Call { verb: Verb::Patch, resource: workload.kind.into(), uri, body }).await?;
        if let Some(version) = patch["metadata"]["resourceVersion"].as_str() {
            self.watched().patched(workload, version, &stored);
        }
        Ok(stored)
    }
}

pub(super) fn path(workload: &WorkloadRef) -> String {
    format!("/apis/apps/v1/namespaces/{}/{}/{}", workload.namespace, workload.kind.plural(), workload.name)
}
