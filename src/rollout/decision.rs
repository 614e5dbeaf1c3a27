//! The decision: what to do with a workload for a push, from a fresh look at it.
//!
//! Pure: a function from the object, the push, what is known of the workload besides, the policy and the clocks to what
//! to do, and why.

pub mod by_hand;
mod done;
pub mod pods;
mod question;
mod rolling_away;
#[cfg(test)]
mod tests;
mod warnings;

pub(super) use done::record_may_be_kept;
pub use pods::{PodsNotSeen, PodsSeen, Question};
pub(super) use warnings::RECORD_REMOVED;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cooldown::{COOLDOWN_ANNOTATION, Cooldown};
use super::policy::Policy;
use super::record::{RECORD_ANNOTATION, Record};
use super::waiting::{KeptRecord, OfWorkload, WaitingPush, Why};
use super::{Code, Leave, Push, Warning, WorkloadResult, restarted_at};
use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::cluster::workload_object::{PodSpec, TemplateImage};
use crate::image::ImageRef;
use crate::workload::WorkloadRef;
use done::{RestartByOther, done_before, restarted_since, template_put_back};
use question::worth_asking;
use rolling_away::{OldPods, old_pods};
use warnings::{PODS_NOT_SEEN, restart_reason, warnings};

/// What to do with a workload.
#[derive(Debug)]
pub enum Decision {
    /// Restart it.
    Restart(Restart),
    /// The push waits: for the end of a cooldown, or of a rollout away from the image.
    Wait(Wait),
    /// Look at the pods, and decide again.
    Look(Question),
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
    /// What to write as `restartedAt`.
    pub restarted_at: String,
    /// The record to write in the same PATCH. A restart by hand writes none and leaves an old one as it is.
    pub record: Option<Record>,
    /// Whether our last restart was only a moment ago, so that more pushes may be about to come.
    pub follows_another: bool,
}

/// A push that should wait.
#[derive(Debug)]
pub struct Wait {
    /// What the answer says.
    pub code: Code,
    /// What it waits for.
    pub why: Why,
    /// The sentence of the answer.
    pub reason: String,
    /// When the cooldown is over, by the API server's clock.
    pub due: Option<Timestamp>,
    /// Whether this push, or one that covers it, waits already.
    pub is_known: bool,
}

/// What is known of a workload beside the object.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Other pushes that have come meanwhile: a restart is for them, too.
    pub others: &'a [Arc<Push>],
    /// The pushes that wait for it.
    pub waiting: &'a [WaitingPush],
    /// Its record, where the pod template does not keep it.
    pub kept: Option<&'a KeptRecord>,
    /// Whether the object is as it is now. Only then its status counts.
    pub is_fresh: bool,
    /// What its pods show, or why they could not be looked at; `None` before a look.
    pub pods: Option<Result<&'a PodsSeen, &'a PodsNotSeen>>,
}

/// Pushes come in bursts. A restart so soon after another waits a little for more of them.
const BURST: SignedDuration = SignedDuration::from_secs(5);

impl Restart {
    pub(super) fn result(self, workload: &WorkloadRef) -> WorkloadResult {
        let result = WorkloadResult::new(workload, self.code, self.reason);
        WorkloadResult { warnings: self.warnings, ..result }
    }
}

impl<'a> Known<'a> {
    /// What stands in the ConfigMap of what waits.
    pub fn of(others: &'a [Arc<Push>], stored: Option<&'a OfWorkload>) -> Self {
        let (waiting, kept) = stored.map_or((&[][..], None), |stored| (&stored.pushes[..], stored.kept.as_ref()));
        Self { others, waiting, kept, is_fresh: false, pods: None }
    }
}

/// Decides for one workload, from the object as it is now.
pub fn decide(
    workload: &WorkloadRef,
    object: &WorkloadObject,
    push: &Push,
    known: Known<'_>,
    policy: &Policy,
    clocks: Clocks<'_>,
) -> Decision {
    let followers = match followers(object, &push.image, policy) {
        Ok(followers) => followers,
        Err(leave) if matches!(leave.code, Code::ImageChanged | Code::PinnedByDigest) => {
            // `OnDelete` leaves the old pods to their owner, undone or not.
            let old_pods = match is_on_delete(object) {
                true => OldPods::Gone,
                false => old_pods(workload.kind, object, known.pods),
            };
            return match old_pods {
                OldPods::Gone => Decision::Leave(leave),
                OldPods::NotSeen => Decision::Look(Question::RunsImage),
                OldPods::MayComeBack(why) => {
                    let (code, reason) = (Code::RollingAway, format!("{}, {why}", leave.reason));
                    let is_known = known.waiting.iter().any(|waits| waits.covers(push));
                    Decision::Wait(Wait { code, why: Why::RollingAway, reason, due: None, is_known })
                }
            };
        }
        Err(leave) => return Decision::Leave(leave),
    };
    let (record, record_is_readable) = record_of(object, known.kept, clocks.now);
    let kept = known.kept.map(|kept| kept.record.clone().believed(clocks.now));
    let tag_key = push.image.tag_key().unwrap_or_default();
    let recorded = record.get(tag_key);
    let done = recorded.and_then(|recorded| done_before(recorded, push));
    let done = done.or_else(|| template_put_back(kept.as_ref(), tag_key, push));
    if let Some(leave) = done.or_else(|| restarted_since(object, &record, push, clocks)) {
        return Decision::Leave(leave);
    }

    let cooldown = Cooldown::of(object);
    let cooling = cooldown.as_ref().ok().copied().flatten().filter(|cooldown| cooldown.due > clocks.server_now());
    let by_other = RestartByOther::of(object, push, clocks);
    let left = match known.pods {
        // What waits for the end of its cooldown is looked at when that is over.
        None if cooling.is_some() && push.waiting_since.is_some() => None,
        None => match worth_asking(workload.kind, object, known.is_fresh, push, recorded, clocks) {
            Some(question) => return Decision::Look(question),
            None if by_other.is_some() => return Decision::Look(Question::AreYounger),
            None => None,
        },
        Some(Ok(pods)) => pods.is_done(push, by_other.as_ref(), clocks),
        // Where they can never be listed, the restart by somebody else is believed.
        Some(Err(PodsNotSeen::NotPermitted(_))) => by_other.as_ref().map(RestartByOther::leave),
        Some(Err(PodsNotSeen::Failed(_))) => None,
    };
    if let Some(leave) = left {
        return Decision::Leave(leave);
    }
    if let Some(cooldown) = cooling {
        return Decision::Wait(wait(push, known.waiting, cooldown));
    }

    let mut warnings = warnings(object, &followers);
    if !record_is_readable {
        warnings.push(Warning::UnreadableRecord);
    }
    if cooldown.is_err() {
        warnings.push(Warning::UnreadableCooldown);
    }
    let last = restarted_at::of_ours(object, &record);
    let follows_another = last.is_some_and(|last| clocks.server_now().duration_since(last).abs() < BURST);
    let restarted_at = restarted_at::next(object, clocks);
    // A template that was put back must not take the record back with it.
    let record = kept.iter().fold(record, Record::not_older_than);
    // Each push that waits or has come meanwhile is done with this restart, whatever its image.
    let waiting: Vec<Push> = known.waiting.iter().map(WaitingPush::to_push).collect();
    let all = waiting.iter().chain(known.others.iter().map(|other| &**other)).chain([push]);
    let all = all.filter(|push| push.image.tag_key().is_some_and(|tag_key| runs(object, tag_key)));
    let record = all.fold(record, |record, push| record.with(push, &restarted_at, |tag_key| runs(object, tag_key)));
    let why = if push.waiting_since.is_some() { "a push of its image has waited" } else { "runs the image" };
    let mut reason = restart_reason(why, &warnings, object);
    if let Some(Err(error)) = known.pods {
        warnings.push(Warning::PodsNotSeen);
        reason.push_str(&format!("; {PODS_NOT_SEEN}: {error}"));
    }
    Decision::Restart(Restart {
        code: Code::RunsImage,
        reason,
        record: Some(record),
        restarted_at,
        warnings,
        follows_another,
    })
}

fn wait(push: &Push, waiting: &[WaitingPush], cooldown: Cooldown) -> Wait {
    let Cooldown { length, last, due } = cooldown;
    let covering = waiting.iter().find(|waits| waits.covers(push));
    let mut reason = format!("it was restarted at {last}, and its {COOLDOWN_ANNOTATION} is {length:?}: due at {due}");
    if let Some(waits) = covering
        && let (true, Some(published)) = (push.order().is_some() && waits.order() > push.order(), waits.push.published)
    {
        reason.push_str(&format!(", with a newer push, published {published:.3}, which waits already"));
    }
    Wait { code: Code::Cooldown, why: Why::Cooldown, reason, due: Some(due), is_known: covering.is_some() }
}

/// The record without what cannot be true now, and whether it could be read.
pub(super) fn record_of(object: &WorkloadObject, kept: Option<&KeptRecord>, now: Timestamp) -> (Record, bool) {
    let restarted_at = restarted_at::text(object).unwrap_or_default();
    let annotation = object.spec.template.metadata.annotations.get(RECORD_ANNOTATION);
    let on_template = Record::decode(annotation.map(String::as_str)).map(|record| record.believed(now));
    // Admission may have put an older record back in place of ours.
    let is_ours = on_template.as_ref().is_ok_and(|record| record.is_of(restarted_at));
    match (kept.filter(|kept| !is_ours && kept.restarted_at == restarted_at), on_template) {
        (Some(kept), _) => (kept.record.clone().believed(now), true),
        (None, Ok(record)) => (record, true),
        (None, Err(_)) => (Record::default(), false),
    }
}

fn runs(object: &WorkloadObject, tag_key: &str) -> bool {
    object.spec.template.spec.follows(tag_key)
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
    let followers: Vec<TemplateImage<'_>> = pod.images().filter(|candidate| candidate.follows(image)).collect();
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

fn runs_it_no_more(pod: &PodSpec, image: &ImageRef) -> Leave {
    let is_pin = |parsed: &ImageRef| parsed.digest().is_some() && parsed.same_repository(image);
    let pin = pod.images().find_map(|candidate| parse(candidate.image).filter(is_pin));
    match pin {
        Some(pin) => Leave::new(Code::PinnedByDigest, format!("it runs {pin}: a digest does not move with a tag")),
        None => Leave::new(Code::ImageChanged, format!("it does not run {image} any more")),
    }
}
