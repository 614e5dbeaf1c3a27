//! The decision on a restart that a person asks for. It does not depend on pushes, and writes no record.

use super::{Decision, Restart, followers, is_on_delete, restart_reason, warnings};
use crate::cluster::WorkloadObject;
use crate::image::ImageRef;
use crate::rollout::policy::Policy;
use crate::rollout::{Code, Leave, Warning};
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
pub fn decide_by_hand(workload: &WorkloadRef, object: &WorkloadObject, asked: &ByHand, policy: &Policy) -> Decision {
    match asked {
        ByHand::Workload => named(workload, object, policy),
        ByHand::Image(image) => match followers(object, image, policy) {
            Err(leave) => Decision::Leave(leave),
            Ok(followers) => restart(Code::RunsImage, "runs the image", warnings(object, &followers), object),
        },
    }
}

fn named(workload: &WorkloadRef, object: &WorkloadObject, policy: &Policy) -> Decision {
    if object.metadata.deletion_timestamp.is_some() {
        return Decision::Leave(Leave::new(Code::NotFound, "it is being deleted"));
    }
    // No image is named, so nothing is said about whether a new one would be pulled.
    let mut warnings = warnings(object, &[]);
    if is_on_delete(object) {
        warnings.push(Warning::OnDelete);
    }
    match policy.refuses_namespace(workload).or_else(|| policy.refuses(object)) {
        None => restart(Code::Named, "named", warnings, object),
        Some(leave) => {
            warnings.push(if leave.code == Code::OptedOut { Warning::OptedOut } else { Warning::OutOfScope });
            restart(Code::Named, &leave.reason, warnings, object)
        }
    }
}

fn restart(code: Code, why: &str, warnings: Vec<Warning>, object: &WorkloadObject) -> Decision {
    Decision::Restart(Restart {
        code,
        reason: restart_reason(why, &warnings, object),
        warnings,
        record: None,
        ends_deferral: false,
    })
}
