//! A pod template that does not name the image any more. That is final when no pod runs the image: until then an undo would
//! keep the old pods.

use super::pods::Question;
use super::warnings::PODS_NOT_SEEN;
use super::{Decision, Known, Wait, is_on_delete};
use crate::cluster::WorkloadObject;
use crate::rollout::follow::{Ending, Progress, progress};
use crate::rollout::waiting::Why;
use crate::rollout::{Code, Leave, Push};
use crate::workload::{WorkloadKind, WorkloadRef};

/// Decides where `leave` says that the template does not name the image.
pub(super) fn rolled_away(
    workload: &WorkloadRef,
    object: &WorkloadObject,
    push: &Push,
    known: Known<'_>,
    leave: Leave,
) -> Decision {
    // A push leaves such a workload anyway, undone or not.
    if is_on_delete(object) {
        return Decision::Leave(leave);
    }
    let Some(missing) = unfinished(workload.kind, object) else { return Decision::Leave(leave) };
    let seen = match known.pods {
        None => return Decision::Look(Question::RunsImage),
        Some(Ok(pods)) if !pods.run_image() => return Decision::Leave(leave),
        Some(Ok(_)) => String::new(),
        Some(Err(error)) => format!("; {PODS_NOT_SEEN}: {error}"),
    };
    let reason = format!(
        "{}, but the rollout away from it is not complete ({missing}), and an undo would keep its old pods; it is looked \
         at again until then{seen}",
        leave.reason
    );
    let is_known = known.waiting.iter().any(|waits| waits.covers(push));
    Decision::Wait(Wait { code: Code::RollingAway, why: Why::RollingAway, reason, due: None, is_known })
}

/// What is missing until the rollout is complete, by the status of a fresh object; `None` where none is under way.
pub(super) fn unfinished(kind: WorkloadKind, object: &WorkloadObject) -> Option<String> {
    match progress(kind, object) {
        Progress::Ended(Ending::Complete, _) => None,
        Progress::Ended(_, missing) | Progress::UnderWay(missing) => Some(missing),
    }
}
