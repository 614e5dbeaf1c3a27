//! Whether a LIST of the pods is worth it before a restart.

use std::time::Duration;

use super::done::is_after_push;
use super::pods::{Question, is_same_tag};
use super::rolling_away::unfinished;
use crate::clock::Clocks;
use crate::cluster::WorkloadObject;
use crate::rollout::Push;
use crate::rollout::record::RecordedPush;
use crate::workload::WorkloadKind;

/// What a LIST of the pods may show. For a push that comes at once with a new digest it is worth nothing. The status of the
/// object counts if `is_fresh`.
pub(super) fn worth_asking(
    kind: WorkloadKind,
    object: &WorkloadObject,
    is_fresh: bool,
    push: &Push,
    recorded: Option<&RecordedPush>,
    clocks: Clocks<'_>,
) -> Option<Question> {
    let is_old = || Duration::try_from(clocks.now.duration_since(push.time())).is_ok_and(|age| age > clocks.margin);
    let is_recorded = || recorded.is_some_and(|recorded| recorded.digest == push.digest);
    let volumes =
        object.spec.template.spec.volumes.iter().filter_map(|volume| volume.image.as_ref()?.reference.as_ref());
    let is_in_volume = || volumes.into_iter().any(|image| is_same_tag(image, &push.image));
    if push.digest.is_some()
        && (is_recorded() || is_old())
        && !is_in_volume()
        && (!is_fresh || unfinished(kind, object).is_none())
    {
        return Some(Question::IsDone);
    }
    // A pod that is created now would be younger than the push; older pods may be, too.
    is_after_push(clocks.server_now(), push, clocks).then_some(Question::AreYounger)
}
