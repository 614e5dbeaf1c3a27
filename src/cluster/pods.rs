//! Pods: LIST of labelled ones, and a PATCH of their annotations.

use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::metrics::{Resource, Verb};
use super::object_metadata::ObjectMetadata;
use super::request::{Call, Cluster};

/// A pod, without the fields that pushroll does not read.
#[derive(Debug, Deserialize)]
pub struct PodObject {
    /// `metadata`
    pub metadata: ObjectMetadata,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

impl PodObject {
    /// Whether it has finished or is being deleted.
    pub fn is_ending(&self) -> bool {
        self.metadata.is_deleted() || ["Succeeded", "Failed"].contains(&self.status.phase.as_str())
    }
}

impl Cluster {
    /// The pods of a namespace that have the label `(key, value)`.
    pub async fn list_pods(&self, namespace: &str, label: (&str, &str)) -> Result<Vec<PodObject>, ApiError> {
        self.list(Resource::Pods, &format!("/api/v1/namespaces/{namespace}/pods"), label).await
    }

    /// Sets an annotation of a pod.
    pub async fn annotate_pod(
        &self,
        namespace: &str,
        name: &str,
        field_manager: &str,
        (key, value): (&str, &str),
    ) -> Result<(), ApiError> {
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{name}?fieldManager={field_manager}");
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let body = Some(("application/merge-patch+json", patch.to_string().into_bytes()));
        self.call(Call { verb: Verb::Patch, resource: Resource::Pods, uri, body }).await.map(drop)
    }
}
