//! The write to a workload: one merge patch with the object's resourceVersion as precondition, so nothing has changed
//! since the decision.

use serde_json::{Value, json};

use super::RESTARTED_AT_ANNOTATION;
use super::decision::Restart;
use super::following_label::FollowingLabel;
use super::record::RECORD_ANNOTATION;
use crate::cluster::WorkloadObject;
use crate::cluster::workload_object::FOLLOWING_LABEL;

/// The restart, its record, and the label by which a restart for a push is followed.
pub(super) fn restart(object: &WorkloadObject, restart: &Restart, label: Option<&FollowingLabel>) -> Value {
    let mut annotations = json!({RESTARTED_AT_ANNOTATION: restart.restarted_at});
    if let Some(record) = &restart.record {
        annotations[RECORD_ANNOTATION] = record.encode().into();
    }
    let mut metadata = json!({"resourceVersion": object.metadata.resource_version});
    if let (Some(label), Some(_)) = (label, &restart.record) {
        metadata["labels"] = json!({FOLLOWING_LABEL: label.value(&restart.restarted_at)});
    }
    json!({
        "metadata": metadata,
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    })
}
