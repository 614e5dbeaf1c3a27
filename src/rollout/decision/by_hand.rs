//! The decision on a restart that a person asks for: now, whatever was pushed, and without a record.

use super::{Decision, Restart, followers, is_on_delete, restart_reason, warnings};
use crate::cluster::WorkloadObject;
use crate::image::ImageRef;
use crate::rollout::policy::{Policy, Refusal};
use crate::rollout::{Action, Code, Warning};
use crate::workload::WorkloadRef;

/// What a person has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHand {
    /// An image: those that a push of it would concern.
    Image(ImageRef),
    /// The workload itself: whatever a push would do with it.
    Workload,
}

/// Decides for one workload, from the object as it is now.
pub fn decide_by_hand(workload: &WorkloadRef, object: &WorkloadObject, asked: &ByHand, policy: &Policy) -> Decision {
    match asked {
        ByHand::Workload => named(workload, object, policy),
        ByHand::Image(image) => match followers(object, image, policy) {
            Err(leave) => leave,
            Ok(followers) => restart("runs the image", warnings(object, &followers), object),
        },
    }
}

fn named(workload: &WorkloadRef, object: &WorkloadObject, policy: &Policy) -> Decision {
    if object.metadata.deletion_timestamp.is_some() {
        let reason = "it is being deleted".to_owned();
        return Decision::Leave { action: Action::Failed, code: Code::Gone, reason };
    }
    // Of no image in particular: whether a new one would be pulled is not asked.
    let mut warnings = warnings(object, &[]);
    if is_on_delete(object) {
        warnings.push(Warning::OnDelete);
    }
    match policy.refuses_namespace(workload).or_else(|| policy.refuses(object)) {
        None => restart("named", warnings, object),
        Some(Refusal::OptedOut(why)) => {
            warnings.push(Warning::OptedOut);
            restart(&why, warnings, object)
        }
        Some(Refusal::OutOfScope(why)) => {
            warnings.push(Warning::OutOfScope);
            restart(&why, warnings, object)
        }
    }
}

fn restart(why: &str, warnings: Vec<Warning>, object: &WorkloadObject) -> Decision {
    Decision::Restart(Restart {
        reason: restart_reason(why, &warnings, object),
        warnings,
        record: None,
        ends_deferral: false,
    })
}
