//! Why a push needs no restart: the workload was restarted for it, or after it.

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::rollout::field_owners::TemplateOwners;
use crate::rollout::record::{RECORD_ANNOTATION, Record, RecordedPush};
use crate::rollout::workload_result::ALREADY_RESTARTED;
use crate::rollout::{Code, Leave, Push, restarted_at};

/// Whether the record says that this push, a newer one, or the same digest has been rolled out. The digest says nothing
/// while another push waits: a pod that was replaced meanwhile has pulled what that push brought.
pub(super) fn done_before(
    recorded: &RecordedPush,
    push: &Push,
    owners: &TemplateOwners<'_>,
    one_waits: bool,
) -> Option<Leave> {
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

/// Whether we have restarted it for this push or a newer one, and another controller has put its pod template back since.
/// Then one more restart would be put back as well.
pub(super) fn template_put_back(kept: Option<&Record>, tag_key: &str, push: &Push) -> Option<Leave> {
    let done = kept?.get(tag_key)?.order()?;
    let order = push.order()?;
    let back = "and its pod template was changed back since";
    if order == done {
        let reason = format!("it was restarted for this push before, {back}");
        return Some(Leave::new(Code::AlreadyRestarted, reason));
    }
    (order < done).then(|| Leave::new(Code::NewerPushDone, format!("it was restarted for a newer push, {back}")))
}

/// Whether the record of a workload may be kept beside its pod template, where another replica may have written it.
pub(in crate::rollout) fn record_may_be_kept(object: &WorkloadObject) -> bool {
    let has_record = object.spec.template.metadata.annotations.contains_key(RECORD_ANNOTATION);
    object.metadata.controller.is_some() || (!has_record && TemplateOwners::of(object).restarted_by_us().is_some())
}

/// Whether we have restarted it since the push, for another one: its pods have pulled what this push brought, or will.
pub(super) fn restarted_since(
    object: &WorkloadObject,
    record: &Record,
    push: &Push,
    clocks: Clocks<'_>,
) -> Option<Leave> {
    let restarted_at = restarted_at::of_ours(object, record)?;
    let is_later = match (push.waiting_since, push.published) {
        // Both times are the API server's. The margin makes sure that the restart has left no digest in the record.
        (Some(since), _) => {
            let later_by = SignedDuration::try_from(clocks.margin).unwrap_or(SignedDuration::MAX);
            let earliest = since.saturating_add(later_by.saturating_add(restarted_at::RESOLUTION));
            let latest = clocks.server_now().saturating_add(restarted_at::RESOLUTION);
            restarted_at >= earliest.unwrap_or(Timestamp::MAX) && restarted_at <= latest.unwrap_or(Timestamp::MAX)
        }
        // Each of the two clocks may be off by the margin from ours.
        (None, Some(published)) => {
            let twice = published.checked_add(clocks.margin).unwrap_or(Timestamp::MAX);
            push.clock_agrees && clocks.show_after(restarted_at, twice)
        }
        (None, None) => false,
    };
    is_later.then(|| Leave::new(Code::RestartedSince, format!("it was restarted at {restarted_at}, after the push")))
}

/// Whether someone else has restarted it since the push. Two times must be later than the push: the one that they have
/// written (by the clock of a client), and the API server's (which is renewed by every change that they make).
pub(super) fn done_by_other(
    object: &WorkloadObject,
    push: &Push,
    owners: &TemplateOwners<'_>,
    clocks: Clocks<'_>,
) -> Option<Leave> {
    let (manager, time) = owners.restarted_by_other()?;
    let restarted_at: Timestamp = restarted_at::text(object)?.parse().ok()?;
    let earlier = restarted_at.min(time);
    let is_later = match push.waiting_since {
        Some(since) => earlier > since && restarted_at <= clocks.now,
        None => clocks.show_after(earlier, push.time()),
    };
    is_later.then(|| {
        let reason = format!("{manager} restarted it at {restarted_at}, after the push");
        Leave::new(Code::RestartedByOther, reason)
    })
}
