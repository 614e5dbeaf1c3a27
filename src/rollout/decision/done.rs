//! Why a push needs no restart: the workload was restarted for it, or after it.

use jiff::Timestamp;

use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::rollout::field_owners::TemplateOwners;
use crate::rollout::record::{RECORD_ANNOTATION, Record, RecordedPush};
use crate::rollout::workload_result::ALREADY_RESTARTED;
use crate::rollout::{Code, Leave, Push, restarted_at};

/// Whether the record says that this push or a newer one has been rolled out.
pub(super) fn done_before(recorded: &RecordedPush, push: &Push) -> Option<Leave> {
    let (order, done, published) = (push.order()?, recorded.order()?, recorded.published?);
    if order == done {
        return Some(Leave::new(Code::AlreadyRestarted, ALREADY_RESTARTED));
    }
    let reason = || format!("it was restarted for a newer push, published {published:.3}");
    (order < done).then(|| Leave::new(Code::NewerPushDone, reason()))
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
    is_after_push(restarted_at, push, clocks)
        .then(|| Leave::new(Code::RestartedSince, format!("it was restarted at {restarted_at}, after the push")))
}

/// Whether `server_time`, by the API server's clock, is certainly later than the push. What was created then has pulled what
/// the push brought, or will.
pub(super) fn is_after_push(server_time: Timestamp, push: &Push, clocks: Clocks<'_>) -> bool {
    match (push.waiting_since, push.published) {
        // Both times are the API server's.
        (Some(since), _) => {
            let earliest = since.saturating_add(restarted_at::RESOLUTION).unwrap_or(Timestamp::MAX);
            let latest = clocks.server_now().saturating_add(restarted_at::RESOLUTION).unwrap_or(Timestamp::MAX);
            server_time >= earliest && server_time <= latest
        }
        // Each of the two clocks may be off by the margin from ours.
        (None, Some(published)) => {
            let twice = published.checked_add(clocks.margin).unwrap_or(Timestamp::MAX);
            push.clock_agrees && clocks.show_after(server_time, twice)
        }
        (None, None) => false,
    }
}

/// A restart by someone else since the push. Two times are later than the push: the one that they have written (by the
/// clock of a client), and the API server's (which is renewed by every change that they make).
#[derive(Debug)]
pub(super) struct RestartByOther<'a> {
    manager: &'a str,
    restarted_at: Timestamp,
}

impl<'a> RestartByOther<'a> {
    pub(super) fn of(object: &'a WorkloadObject, push: &Push, clocks: Clocks<'_>) -> Option<Self> {
        let (manager, time) = TemplateOwners::of(object).restarted_by_other()?;
        let restarted_at: Timestamp = restarted_at::text(object)?.parse().ok()?;
        let is_later = Self::is_later(restarted_at.min(time), push, clocks)
            && (push.waiting_since.is_none() || restarted_at <= clocks.now);
        is_later.then_some(Self { manager, restarted_at })
    }

    /// Whether the API server's clock shows a time after the push.
    pub(super) fn is_later(time: Timestamp, push: &Push, clocks: Clocks<'_>) -> bool {
        push.waiting_since.map_or_else(|| clocks.show_after(time, push.time()), |since| time > since)
    }

    /// Whether the oldest of the pods was created after the push, too: no pod is left from before the restart.
    pub(super) fn is_confirmed_by(&self, oldest: Timestamp, push: &Push, clocks: Clocks<'_>) -> bool {
        Self::is_later(oldest, push, clocks)
    }

    pub(super) fn leave(&self) -> Leave {
        let Self { manager, restarted_at } = self;
        Leave::new(Code::RestartedByOther, format!("{manager} restarted it at {restarted_at}, after the push"))
    }
}
