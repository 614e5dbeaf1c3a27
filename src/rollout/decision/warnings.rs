//! What a restart may not bring, and how it is said.

use crate::cluster::WorkloadObject;
use crate::cluster::workload_object::{Controller, TemplateImage};
use crate::rollout::Warning;

/// The sentence of [`Warning::RecordRemoved`].
pub(in crate::rollout) const RECORD_REMOVED: &str =
    "admission removed the annotation pushroll.dev/pushes; it is kept in a ConfigMap instead";

/// The beginning of the sentence of [`Warning::PodsNotSeen`].
pub(super) const PODS_NOT_SEEN: &str = "its pods could not be looked at";

pub(super) fn warnings(object: &WorkloadObject, followers: &[TemplateImage<'_>]) -> Vec<Warning> {
    let spec = &object.spec;
    let rolling_update = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let has_partition = rolling_update.and_then(|rolling_update| rolling_update.partition).unwrap_or(0) > 0;
    let may_not_pull = followers.iter().any(|image| image.pull_policy.is_some_and(|policy| policy != "Always"));
    [
        (spec.paused, Warning::Paused),
        (spec.replicas == Some(0), Warning::ZeroReplicas),
        (has_partition, Warning::Partition),
        (may_not_pull, Warning::PullPolicy),
        (object.metadata.controller.is_some(), Warning::Controlled),
    ]
    .into_iter()
    .filter_map(|(holds, warning)| holds.then_some(warning))
    .collect()
}

pub(super) fn restart_reason(why: &str, warnings: &[Warning], object: &WorkloadObject) -> String {
    let rolling_update = object.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling_update.and_then(|rolling_update| rolling_update.partition).unwrap_or(0);
    let mut reason = why.to_owned();
    for warning in warnings {
        reason.push_str("; ");
        match warning {
            Warning::OptedOut | Warning::OutOfScope => reason.push_str("restarted all the same, because it was named"),
            Warning::OnDelete => reason.push_str("its update strategy is OnDelete: delete its pods to replace them"),
            Warning::Paused => reason.push_str("paused: it rolls on resume"),
            Warning::ZeroReplicas => reason.push_str("has no replicas: its pods pull when it is scaled up"),
            Warning::Partition => {
                reason.push_str(&format!("its partition keeps the pods below ordinal {partition} as they are"));
            }
            Warning::PullPolicy => {
                reason.push_str("its imagePullPolicy is not Always: a node that holds the tag does not pull it again");
            }
            Warning::Controlled => {
                let Some(Controller { kind, name, .. }) = &object.metadata.controller else { continue };
                reason.push_str(&format!("its owner is {kind} {name}, whose controller may put the pod template back"));
            }
            Warning::RecordRemoved => reason.push_str(RECORD_REMOVED),
            Warning::PodsNotSeen => reason.push_str(PODS_NOT_SEEN),
            Warning::UnreadableCooldown => {
                reason.push_str("its annotation pushroll.dev/cooldown is no duration such as 10m: it has no cooldown");
            }
            Warning::UnreadableRecord => {
                reason.push_str("its annotation pushroll.dev/pushes could not be read and was written anew");
            }
        }
    }
    reason
}
