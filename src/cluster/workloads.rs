//! GET and PATCH of one workload.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

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
    /// have changed it. The watched object is updated from it at once. An admission webhook may take its time; where the
    /// caller does not wait that long, the PATCH goes on without it.
    pub async fn patch_workload(
        &self,
        workload: &WorkloadRef,
        field_manager: &'static str,
        patch: &serde_json::Value,
    ) -> Result<WorkloadObject, ApiError> {
        let uri = format!("{}?fieldManager={field_manager}", path(workload));
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        let call = Call { verb: Verb::Patch, resource: workload.kind.into(), uri, body };
        let (watched, workload) = (self.watched(), workload.clone());
        let version = patch["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let then = move |patched: &Bytes| {
            if let Some(version) = &version {
                watched.patched(&workload, version, || serde_json::from_slice(patched).ok());
            }
        };
        let stored = self.slow_write(call, then).await?;
        serde_json::from_slice(&stored).map_err(|error| ApiError::Unreadable(error.to_string()))
    }
}

impl Cluster {
    /// Removes a label of one workload where it has this value, as `field_manager`. Returns whether it had it.
    pub async fn remove_label(
        &self,
        workload: &WorkloadRef,
        field_manager: &str,
        (key, value): (&str, &str),
    ) -> Result<bool, ApiError> {
        let uri = format!("{}?fieldManager={field_manager}", path(workload));
        let label = format!("/metadata/labels/{}", key.replace('~', "~0").replace('/', "~1"));
        let patch = json!([{"op": "test", "path": label, "value": value}, {"op": "remove", "path": label}]);
        let body = Some(("application/json-patch+json", patch.to_string().into_bytes()));
        match self.call(Call { verb: Verb::Patch, resource: workload.kind.into(), uri, body }).await {
            Ok(_) => Ok(true),
            Err(ApiError::NotFound(_)) => Ok(false),
            // A JSON patch whose test fails (Kubernetes: `apiserver/pkg/endpoints/handlers/patch.go`).
            Err(ApiError::Denied(message)) if message.contains("due to an error in our request") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn path(workload: &WorkloadRef) -> String {
    format!("/apis/apps/v1/namespaces/{}/{}/{}", workload.namespace, workload.kind.plural(), workload.name)
}
