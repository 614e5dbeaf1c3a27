//! The write to a workload: one merge patch with the object's resourceVersion as precondition, so nothing has changed
//! since the decision.

use serde_json::{Value, json};

use super::RESTARTED_AT_ANNOTATION;
use super::decision::Restart;
use super::record::RECORD_ANNOTATION;
use crate::cluster::WorkloadObject;

/// The restart and its record.
pub(super) fn restart(object: &WorkloadObject, restart: &Restart) -> Value {
    let mut annotations = json!({RESTARTED_AT_ANNOTATION: restart.restarted_at});
    if let Some(record) = &restart.record {
        annotations[RECORD_ANNOTATION] = record.encode().into();
    }
    json!({
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    })
}
