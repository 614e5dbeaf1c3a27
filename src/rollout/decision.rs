//! The decision: what to do with a workload for a push, from a fresh look at it.
//!
//! Pure: a function from the object, the push, the policy and the clocks to what to do, and why.

pub mod by_hand;
pub mod deferred;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::cooldown::{COOLDOWN_ANNOTATION, Cooldown};
use super::deferred::{DeferredPushes, Waiting};
use super::field_owners::TemplateOwners;
use super::policy::Policy;
use super::record::{RECORD_ANNOTATION, Record, RecordedPush};
use super::workload_result::ALREADY_RESTARTED;
use super::{Code, Leave, Push, RESTARTED_AT_ANNOTATION, Warning, WorkloadResult};
use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::cluster::workload_object::{PodSpec, TemplateImage};
use crate::image::ImageRef;
use crate::workload::WorkloadRef;

/// What to do with a workload.
#[derive(Debug)]
pub enum Decision {
    /// Restart it.
    Restart(Restart),
    /// Restart it later.
    Defer(Defer),
    /// Leave it.
    Leave(Leave),
}

/// A restart that should be made.
#[derive(Debug)]
pub struct Restart {
    /// Why, for programs.
    pub code: Code,
    /// The sentence of the answer.
    pub reason: String,
    /// What else a person should know.
    pub warnings: Vec<Warning>,
    /// The record to write in the same PATCH. A restart by hand writes none and leaves an old one as it is.
    pub record: Option<Record>,
    /// Whether to remove the pushes that wait on the workload, which are done with this restart.
    pub ends_deferral: bool,
}

/// A push that should wait for the end of a cooldown.
#[derive(Debug)]
pub struct Defer {
    /// The sentence of the answer.
    pub reason: String,
    /// The pushes that wait from now on; `None` where this push, or one that covers it, waits already.
    pub pushes: Option<DeferredPushes>,
}

impl Restart {
    pub(super) fn result(self, workload: &WorkloadRef) -> WorkloadResult {
        let result = WorkloadResult::new(workload, self.code, self.reason);
        WorkloadResult { warnings: self.warnings, ..result }
    }
}

/// Decides for one workload, from the object as it is now.
pub fn decide(object: &WorkloadObject, push: &Push, policy: &Policy, clocks: Clocks<'_>) -> Decision {
    let followers = match followers(object, &push.image, policy) {
        Ok(followers) => followers,
        Err(leave) => return Decision::Leave(leave),
    };
    let annotations = &object.spec.template.metadata.annotations;
    let (record, record_is_readable) = record_of(object, clocks.now);
    let deferred = match DeferredPushes::of(object) {
        Waiting::Pushes(deferred) => deferred,
        Waiting::Nothing | Waiting::Unreadable => DeferredPushes::default(),
    };
    let tag_key = push.image.tag_key().unwrap_or_default();
    let owners = TemplateOwners::of(object);
    if let Some(recorded) = record.get(tag_key)
        && let Some(leave) = done_before(recorded, push, &owners, deferred.get(tag_key).is_some())
    {
        return Decision::Leave(leave);
    }
    if let Some(leave) = done_by_other(annotations.get(RESTARTED_AT_ANNOTATION), push, &owners, clocks) {
        return Decision::Leave(leave);
    }

    let cooldown = Cooldown::of(object);
    if let Ok(Some(cooldown)) = cooldown
        && cooldown.due > clocks.server_now()
    {
        return Decision::Defer(defer(object, push, deferred, cooldown));
    }

    let mut warnings = warnings(object, &followers);
    if !record_is_readable {
        warnings.push(Warning::UnreadableRecord);
    }
    if cooldown.is_err() {
        warnings.push(Warning::UnreadableCooldown);
    }
    // What the pods have pulled of the other images is certain only while only we have touched the template.
    let record = if owners.untouched_since_ours() { record } else { record.without_digests() };
    // All pushes that wait, of any image, are done with this restart.
    let waiting: Vec<Push> = deferred.iter().filter_map(|(_, waits)| waits.push(clocks.now, clocks.margin)).collect();
    let is_newest = deferred.get(tag_key).is_none_or(|waits| push.order().is_none() || push.order() > waits.order());
    let record = with_pushes(record, waiting.iter().chain(is_newest.then_some(push)), object, clocks);
    Decision::Restart(Restart {
        code: Code::RunsImage,
        reason: restart_reason("runs the image", &warnings, object),
        record: Some(record),
        warnings,
        ends_deferral: DeferredPushes::is_marked(object),
    })
}

fn defer(object: &WorkloadObject, push: &Push, deferred: DeferredPushes, cooldown: Cooldown) -> Defer {
    let Cooldown { length, last, due } = cooldown;
    let waits = push.image.tag_key().and_then(|tag_key| deferred.get(tag_key)).filter(|waits| waits.covers(push));
    let mut reason = format!("it was restarted at {last}, and its {COOLDOWN_ANNOTATION} is {length:?}: due at {due}");
    let pushes = match waits {
        None => Some(deferred.with(push, due, object, |tag_key| runs(object, tag_key))),
        Some(waits) => {
            if let (true, Some(published)) = (waits.order() > push.order() && push.order().is_some(), waits.published) {
                reason.push_str(&format!(", with a newer push, published {published:.3}, which waits already"));
            }
            None
        }
    };
    Defer { reason, pushes }
}

/// The record without what cannot be true now, and whether it could be read.
fn record_of(object: &WorkloadObject, now: Timestamp) -> (Record, bool) {
    let annotation = object.spec.template.metadata.annotations.get(RECORD_ANNOTATION);
    match Record::decode(annotation.map(String::as_str)) {
        Ok(record) => (record.believed(now), true),
        Err(_) => (Record::default(), false),
    }
}

/// The record after a restart for these pushes.
fn with_pushes<'a>(
    record: Record,
    pushes: impl Iterator<Item = &'a Push>,
    object: &WorkloadObject,
    clocks: Clocks<'_>,
) -> Record {
    pushes.fold(record, |record, push| {
        record.with(push.image.tag_key().unwrap_or_default(), push, clocks.margin, |key| runs(object, key))
    })
}

fn runs(object: &WorkloadObject, tag_key: &str) -> bool {
    let mut images = object.spec.template.spec.images();
    images.any(|image| parse(image.image).is_some_and(|image| image.tag_key() == Some(tag_key)))
}

/// The images by which a workload follows a tag.
///
/// # Errors
/// Why the workload is left, for a push as well as for a person who names the image.
fn followers<'a>(
    object: &'a WorkloadObject,
    image: &ImageRef,
    policy: &Policy,
) -> Result<Vec<TemplateImage<'a>>, Leave> {
    if object.metadata.deletion_timestamp.is_some() {
        return Err(Leave::new(Code::Gone, "it is being deleted"));
    }
    if let Some(leave) = policy.refuses(object) {
        return Err(leave);
    }
    let pod = &object.spec.template.spec;
    let followers: Vec<TemplateImage<'_>> = pod.images().filter(|candidate| follows(candidate, image)).collect();
    if followers.is_empty() {
        return Err(runs_it_no_more(pod, image));
    }
    if followers.iter().all(|image| image.pull_policy == Some("Never")) {
        return Err(Leave::new(Code::NeverPulls, "its imagePullPolicy is Never: a restart pulls nothing"));
    }
    if is_on_delete(object) {
        let reason = "its update strategy is OnDelete: a restart replaces no pod; delete its pods to update them";
        return Err(Leave::new(Code::OnDelete, reason));
    }
    Ok(followers)
}

fn is_on_delete(object: &WorkloadObject) -> bool {
    object.spec.update_strategy.as_ref().is_some_and(|strategy| strategy.kind == "OnDelete")
}

fn parse(image: &str) -> Option<ImageRef> {
    image.parse().ok()
}

fn follows(candidate: &TemplateImage<'_>, image: &ImageRef) -> bool {
    parse(candidate.image).is_some_and(|parsed| parsed.tag_key().is_some() && parsed.tag_key() == image.tag_key())
}

fn runs_it_no_more(pod: &PodSpec, image: &ImageRef) -> Leave {
    let is_pin = |parsed: &ImageRef| parsed.digest().is_some() && parsed.same_repository(image);
    let pin = pod.images().find_map(|candidate| parse(candidate.image).filter(is_pin));
    match pin {
        Some(pin) => Leave::new(Code::PinnedByDigest, format!("it runs {pin}: a digest does not move with a tag")),
        None => Leave::new(Code::ImageChanged, format!("it does not run {image} any more")),
    }
}

/// Whether the record says that this push, a newer one, or the same digest has been rolled out. The digest says nothing
/// while another push waits: a pod that was replaced meanwhile has pulled what that push brought.
fn done_before(recorded: &RecordedPush, push: &Push, owners: &TemplateOwners<'_>, one_waits: bool) -> Option<Leave> {
    if let (Some(order), Some(done), Some(published)) = (push.order(), recorded.order(), recorded.published) {
        if order == done {
            return Some(Leave::new(Code::AlreadyRestarted, ALREADY_RESTARTED));
        }
        if order < done {
            let reason = format!("it was restarted for a newer push, published {published:.3}");
            return Some(Leave::new(Code::NewerPushDone, reason));
        }
    }
    let same_digest = push.digest.is_some() && push.digest == recorded.digest;
    (same_digest && !one_waits && owners.untouched_since_ours())
        .then(|| Leave::new(Code::SameDigest, "it was restarted for the same digest before, and not touched since"))
}

/// Whether someone else has restarted it since the push. Two times must be later than the push: the one that they have
/// written (by the clock of a client), and the API server's (which is renewed by every change that they make).
fn done_by_other(
    restarted_at: Option<&String>,
    push: &Push,
    owners: &TemplateOwners<'_>,
    clocks: Clocks<'_>,
) -> Option<Leave> {
    let (manager, time) = owners.restarted_by_other()?;
    let restarted_at: Timestamp = restarted_at?.parse().ok()?;
    clocks.show_after(restarted_at.min(time), push.time()).then(|| {
        let reason = format!("{manager} restarted it at {restarted_at}, after the push");
        Leave::new(Code::RestartedByOther, reason)
    })
}

fn warnings(object: &WorkloadObject, followers: &[TemplateImage<'_>]) -> Vec<Warning> {
    let spec = &object.spec;
    let rolling_update = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let has_partition = rolling_update.and_then(|rolling_update| rolling_update.partition).unwrap_or(0) > 0;
    let may_not_pull = followers.iter().any(|image| image.pull_policy.is_some_and(|policy| policy != "Always"));
    [
        (spec.paused, Warning::Paused),
        (spec.replicas == Some(0), Warning::ZeroReplicas),
        (has_partition, Warning::Partition),
        (may_not_pull, Warning::PullPolicy),
    ]
    .into_iter()
    .filter_map(|(holds, warning)| holds.then_some(warning))
    .collect()
}

fn restart_reason(why: &str, warnings: &[Warning], object: &WorkloadObject) -> String {
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
