//! `status` of a workload, decoded to what says how far its rollout is. Pure.

use serde::{Deserialize, Deserializer, Serialize};

/// `status` of a workload. Fields that the kind does not have are at their default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
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
    /// Deployment: the message of the condition `Progressing` with the reason `ProgressDeadlineExceeded`.
    #[serde(rename = "conditions", deserialize_with = "progress_deadline_exceeded")]
    pub progress_deadline_exceeded: Option<Box<str>>,
    /// StatefulSet: the revision of its old pods.
    pub current_revision: Box<str>,
    /// StatefulSet: the revision of its new pods.
    pub update_revision: Box<str>,
    /// DaemonSet: nodes that should have a pod.
    pub desired_number_scheduled: i64,
    /// DaemonSet: nodes that have a new one.
    pub updated_number_scheduled: i64,
    /// DaemonSet: nodes whose pod is available.
    pub number_available: i64,
}

fn progress_deadline_exceeded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    #[derive(Deserialize)]
    struct Condition {
        #[serde(default)]
        reason: String,
        #[serde(default)]
        message: Box<str>,
    }
    if !deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    let conditions = Option::<Vec<Condition>>::deserialize(deserializer)?.unwrap_or_default();
    let exceeded = conditions.into_iter().find(|condition| condition.reason == "ProgressDeadlineExceeded");
    Ok(exceeded.map(|condition| condition.message))
}
