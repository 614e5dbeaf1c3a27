//! The decision on the pushes that wait on a workload, by the rules of a push that comes.

use super::{Restart, followers, record_of, restart_reason, warnings, with_pushes};
use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::image::ImageRef;
use crate::rollout::cooldown::Cooldown;
use crate::rollout::deferred::{DeferredPush, DeferredPushes, Waiting};
use crate::rollout::field_owners::TemplateOwners;
use crate::rollout::policy::Policy;
use crate::rollout::record::Record;
use crate::rollout::{Code, Leave, Push, Warning};
use crate::workload::WorkloadRef;

/// What to do with a workload on which pushes wait.
#[derive(Debug)]
pub enum Due {
    /// Nothing now: no push waits, or the cooldown is not over, or the workload is out of our scope.
    Nothing,
    /// Restart it, for these pushes.
    Restart(Restart, Vec<Push>),
    /// Remove the pushes: none of them needs a restart any more.
    End(String),
}

/// Decides for one workload, from the object as it is now.
pub fn decide_deferred(workload: &WorkloadRef, object: &WorkloadObject, policy: &Policy, clocks: Clocks<'_>) -> Due {
    let deferred = match DeferredPushes::of(object) {
        Waiting::Nothing => return Due::Nothing,
        Waiting::Pushes(deferred) => deferred,
        Waiting::Unreadable => {
            return Due::End("its annotation pushroll.dev/deferred cannot be read, or is not there".to_owned());
        }
    };
    if policy.refuses_namespace(workload).is_some() {
        return Due::Nothing;
    }
    let (record, record_is_readable) = record_of(object, clocks.now);
    let (mut wanted, mut ended) = (Vec::new(), Vec::new());
    let mut all_warnings: Vec<Warning> = Vec::new();
    for (tag_key, waits) in deferred.iter() {
        let Ok(image) = waits.image.parse::<ImageRef>() else { continue };
        match still_wanted(object, &image, tag_key, waits, &record, policy) {
            Ok(warnings) => {
                let known = all_warnings.clone();
                all_warnings.extend(warnings.into_iter().filter(|warning| !known.contains(warning)));
                wanted.extend(waits.push(clocks.now, clocks.margin));
            }
            // It may be in the scope of another pushroll.
            Err(Leave { code: Code::OutOfScope, .. }) => return Due::Nothing,
            Err(Leave { reason, .. }) => ended.push(format!("{image}: {reason}")),
        }
    }
    if wanted.is_empty() {
        return Due::End(ended.join("; "));
    }
    if let Ok(Some(cooldown)) = Cooldown::of(object)
        && cooldown.due > clocks.server_now()
    {
        return Due::Nothing;
    }
    if !record_is_readable {
        all_warnings.push(Warning::UnreadableRecord);
    }
    let record = if TemplateOwners::of(object).untouched_since_ours() { record } else { record.without_digests() };
    let record = Some(with_pushes(record, wanted.iter(), object, clocks));
    let reason = restart_reason("a push of its image has waited for the end of its cooldown", &all_warnings, object);
    let restart = Restart { code: Code::RunsImage, reason, warnings: all_warnings, record, ends_deferral: true };
    Due::Restart(restart, wanted)
}

/// # Errors
/// Why the push needs no restart any more.
fn still_wanted(
    object: &WorkloadObject,
    image: &ImageRef,
    tag_key: &str,
    waits: &DeferredPush,
    record: &Record,
    policy: &Policy,
) -> Result<Vec<Warning>, Leave> {
    let followers = followers(object, image, policy)?;
    let done = record.get(tag_key).and_then(|recorded| recorded.order());
    if waits.order().is_some() && done >= waits.order() {
        return Err(Leave::new(Code::NewerPushDone, "it was restarted for this push, or a newer one"));
    }
    if waits.is_restarted_since(object) {
        return Err(Leave::new(Code::RestartedByOther, "someone else has restarted it since the push"));
    }
    Ok(warnings(object, &followers))
}
