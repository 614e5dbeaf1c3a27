//! GET and PATCH of one workload.

use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::request::{Call, Cluster};
use super::workload_object::WorkloadObject;
use crate::workload::WorkloadRef;

impl Cluster {
    /// GET of one workload.
    pub async fn get_workload(&self, workload: &WorkloadRef) -> Result<WorkloadObject, ApiError> {
        self.get_workload_as(workload).await
    }

    /// GET of one workload, decoded to what the caller needs of it.
    pub(super) async fn get_workload_as<T: DeserializeOwned>(&self, workload: &WorkloadRef) -> Result<T, ApiError> {
        let resource = Resource::from(workload.kind);
        let body = self.call(Call { verb: Verb::Get, resource, uri: path(workload), body: None }).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Unreadable(error.to_string()))
    }

    /// Merge patch of one workload, as `field_manager`. The watched object is updated from the answer at once.
    pub async fn patch_workload(
        &self,
        workload: &WorkloadRef,
        field_manager: &'static str,
        patch: &serde_json::Value,
    ) -> Result<(), ApiError> {
        let uri = format!("{}?fieldManager={field_manager}", path(workload));
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        let patched = self.call(Call { verb: Verb::Patch, resource: workload.kind.into(), uri, body }).await?;
        if let Some(version) = patch["metadata"]["resourceVersion"].as_str() {
            self.watched().patched(workload, version, || serde_json::from_slice(&patched).ok());
        }
        Ok(())
    }
}

pub(super) fn path(workload: &WorkloadRef) -> String {
    format!("/apis/apps/v1/namespaces/{}/{}/{}", workload.namespace, workload.kind.plural(), workload.name)
}
