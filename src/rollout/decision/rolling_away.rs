//! A pod template that does not name the image any more. That is final when no pod runs the image: until then an undo would
//! keep the old pods.

use super::pods::{PodsNotSeen, PodsSeen};
use super::warnings::PODS_NOT_SEEN;
use crate::cluster::WorkloadObject;
use crate::ending::Ending;
use crate::rollout::progress::{Progress, progress};
use crate::workload::WorkloadKind;

/// The pods from before the template has changed.
pub(super) enum OldPods {
    /// None runs the image, or none can come back.
    Gone,
    /// A look at the pods says it.
    NotSeen,
    /// An undo would keep them; the sentence for people.
    MayComeBack(String),
}

/// What is known of the old pods of a workload.
pub(super) fn old_pods(
    kind: WorkloadKind,
    object: &WorkloadObject,
    pods: Option<Result<&PodsSeen, &PodsNotSeen>>,
) -> OldPods {
    let Some(missing) = unfinished(kind, object).or_else(|| kept_by_partition(kind, object)) else {
        return OldPods::Gone;
    };
    let seen = match pods {
        None => return OldPods::NotSeen,
        Some(Ok(pods)) if !pods.run_image() => return OldPods::Gone,
        Some(Ok(_)) => String::new(),
        Some(Err(error)) => format!("; {PODS_NOT_SEEN}: {error}"),
    };
    OldPods::MayComeBack(format!(
        "but old pods may still run it ({missing}), and `kubectl rollout undo` would keep them: the push waits until no pod \
         runs the image{seen}"
    ))
}

/// A partition keeps old pods, though the rollout counts as complete.
fn kept_by_partition(kind: WorkloadKind, object: &WorkloadObject) -> Option<String> {
    let status = &object.status;
    let is_kept = kind == WorkloadKind::StatefulSet && status.update_revision != status.current_revision;
    is_kept.then(|| "its partition keeps old pods".to_owned())
}

/// What is missing until the rollout is complete, by the status of a fresh object; `None` where none is under way.
pub(super) fn unfinished(kind: WorkloadKind, object: &WorkloadObject) -> Option<String> {
    match progress(kind, object) {
        Progress::Ended(Ending::Complete, _) => None,
        Progress::Paused => Some("it is paused".to_owned()),
        Progress::Ended(_, missing) | Progress::UnderWay(missing) => Some(missing),
    }
}
