//! GET of a workload, decoded to what tells how far its rollout is.

use k8s_openapi::api::apps::v1::DeploymentCondition;
use serde::Deserialize;

use super::error::ApiError;
use super::object_metadata::ObjectMetadata;
use super::request::Cluster;
use super::workload_object::UpdateStrategy;
use crate::workload::WorkloadRef;

/// A workload, decoded to what tells how far its rollout is.
#[derive(Debug, Deserialize)]
pub struct RolloutObject {
    /// `metadata`
    pub metadata: ObjectMetadata,
    /// `spec`
    pub spec: RolloutSpec,
    /// Written by its controller, for `metadata.generation` or an earlier one.
    #[serde(default)]
    pub status: RolloutStatus,
}

/// `spec`. Fields that the kind does not have are at their default.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// Deployment only.
    #[serde(default)]
    pub paused: bool,
    /// Absent on a DaemonSet.
    #[serde(default)]
    pub replicas: Option<i64>,
    /// StatefulSet and DaemonSet.
    #[serde(default)]
    pub update_strategy: Option<UpdateStrategy>,
}

/// `status`. Fields that the kind does not have are at their default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Which generation the controller has seen.
    pub observed_generation: i64,
    /// Pods, old and new.
    pub replicas: i64,
    /// New pods.
    pub updated_replicas: i64,
    /// Pods that are ready, old and new.
    pub ready_replicas: i64,
    /// Pods that are available, old and new.
    pub available_replicas: i64,
    /// Deployment only.
    pub conditions: Vec<DeploymentCondition>,
    /// StatefulSet: the revision of its old pods.
    pub current_revision: String,
    /// StatefulSet: the revision of its new pods.
    pub update_revision: String,
    /// DaemonSet: nodes that should have a pod.
    pub desired_number_scheduled: i64,
    /// DaemonSet: nodes that have a new one.
    pub updated_number_scheduled: i64,
    /// DaemonSet: nodes whose pod is available.
    pub number_available: i64,
}

impl Cluster {
    /// GET of one workload.
    pub async fn get_rollout(&self, workload: &WorkloadRef) -> Result<RolloutObject, ApiError> {
        self.get_workload_as(workload).await
    }
}
