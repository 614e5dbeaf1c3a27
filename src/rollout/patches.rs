//! The writes to a workload. Each is one merge patch with the object's resourceVersion as precondition, so nothing has
//! changed since the decision.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::RESTARTED_AT_ANNOTATION;
use super::decision::Restart;
use super::deferred::{DEFERRED, DeferredPushes};
use super::record::RECORD_ANNOTATION;
use crate::cluster::WorkloadObject;

/// The restart and its record; removes the pushes that have waited for it.
pub(super) fn restart(object: &WorkloadObject, restart: &Restart, now: Timestamp) -> Value {
    let last = object.spec.template.metadata.annotations.get(RESTARTED_AT_ANNOTATION);
    let mut annotations = json!({RESTARTED_AT_ANNOTATION: restarted_at(now, last.map(String::as_str))});
    if let Some(record) = &restart.record {
        annotations[RECORD_ANNOTATION] = record.encode().into();
    }
    let mut patch = if restart.ends_deferral { end_deferral(object) } else { of_metadata(object, json!({})) };
    patch["spec"] = json!({"template": {"metadata": {"annotations": annotations}}});
    patch
}

/// The pushes that wait from now on.
pub(super) fn defer(object: &WorkloadObject, pushes: &DeferredPushes) -> Value {
    of_metadata(object, json!({"annotations": {DEFERRED: pushes.encode()}, "labels": {DEFERRED: "true"}}))
}

/// No push waits any more.
pub(super) fn end_deferral(object: &WorkloadObject) -> Value {
    of_metadata(object, json!({"annotations": {DEFERRED: null}, "labels": {DEFERRED: null}}))
}

fn of_metadata(object: &WorkloadObject, mut metadata: Value) -> Value {
    metadata["resourceVersion"] = object.metadata.resource_version.as_str().into();
    json!({ "metadata": metadata })
}

/// `now` as kubectl writes it: RFC 3339 to the second (in its local zone; a pod's is UTC). Never the value that is there
/// already: a second restart within a second would change nothing and roll nothing, and the annotation would stay with
/// its first writer.
fn restarted_at(now: Timestamp, last: Option<&str>) -> String {
    let in_seconds = |seconds| Timestamp::from_second(now.as_second() + seconds).unwrap_or_default().to_string();
    let this_second = in_seconds(0);
    if last == Some(&this_second) { in_seconds(1) } else { this_second }
}
