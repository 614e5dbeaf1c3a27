//! The decision on a restart that a person asks for. It does not depend on pushes, and writes no record.

use super::warnings::{restart_reason, warnings};
use super::{Decision, Restart, followers, is_on_delete};
use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::image::ImageRef;
use crate::rollout::policy::Policy;
use crate::rollout::{Code, Leave, Warning, restarted_at};
use crate::workload::WorkloadRef;

/// What a person names on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHand {
    /// An image: the workloads are restarted that a push of it would concern.
    Image(ImageRef),
    /// The workload itself: it is restarted even where a push would leave it.
    Workload,
}

/// Decides for one workload, from the object as it is now.
pub fn decide_by_hand(
    workload: &WorkloadRef,
    object: &WorkloadObject,
    asked: &ByHand,
    policy: &Policy,
    clocks: Clocks<'_>,
) -> Decision {
    match asked {
        ByHand::Workload => named(workload, object, policy, clocks),
        ByHand::Image(image) => match followers(object, image, policy) {
            Err(leave) => Decision::Leave(leave),
            Ok(followers) => restart(Code::RunsImage, "runs the image", warnings(object, &followers), object, clocks),
        },
    }
}

fn named(workload: &WorkloadRef, object: &WorkloadObject, policy: &Policy, clocks: Clocks<'_>) -> Decision {
    if object.metadata.deletion_timestamp.is_some() {
        return Decision::Leave(Leave::new(Code::NotFound, "it is being deleted"));
    }
    // No image is named, so nothing is said about whether a new one would be pulled.
    let mut warnings = warnings(object, &[]);
    if is_on_delete(object) {
        warnings.push(Warning::OnDelete);
    }
    match policy.refuses_namespace(workload).or_else(|| policy.refuses(object)) {
        None => restart(Code::Named, "named", warnings, object, clocks),
        Some(leave) => {
            warnings.push(if leave.code == Code::OptedOut { Warning::OptedOut } else { Warning::OutOfScope });
            restart(Code::Named, &leave.reason, warnings, object, clocks)
        }
    }
}

fn restart(code: Code, why: &str, warnings: Vec<Warning>, object: &WorkloadObject, clocks: Clocks<'_>) -> Decision {
    Decision::Restart(Restart {
        code,
        reason: restart_reason(why, &warnings, object),
        warnings,
        restarted_at: restarted_at::next(object, clocks),
        record: None,
        follows_another: false,
    })
}
