//! The LIST of a workload's pods that a decision asks for.

use super::context::RestartContext;
use super::decision::pods::{PodLook, PodsNotSeen, PodsSeen};
use crate::cluster::{self, ApiError};

/// Pods of one page. Most looks end with the first pods.
const PAGE: usize = 100;

/// Looks at the pods, within half of the time that is left.
///
/// # Errors
/// Why they could not be looked at. A restart is right then: it costs a rollout at most, and a push that waited for a LIST
/// which always fails would never be done. If the API server is away, the PATCH fails as well, and the push comes again.
pub(super) async fn look_at_pods(context: &RestartContext, look: PodLook<'_>) -> Result<PodsSeen, PodsNotSeen> {
    let selector = &look.object.spec.selector;
    if selector.is_empty() {
        let reason = "its selector is empty, which would find the pods of others";
        return Err(PodsNotSeen::NotPermitted(reason.to_owned()));
    }
    let (clocks, mut seen) = (context.clocks(), look.nothing_seen());
    let namespace = &look.workload.namespace;
    let list = context.cluster.list_pods(namespace, selector, PAGE, |pod| look.see(&pod, &mut seen, clocks));
    match cluster::within_half_of_the_time(list).await {
        Ok(Ok(())) => Ok(seen),
        Ok(Err(error @ ApiError::Forbidden(_))) => Err(PodsNotSeen::NotPermitted(error.to_string())),
        Ok(Err(error)) => Err(PodsNotSeen::Failed(error.to_string())),
        Err(out_of_time) => Err(PodsNotSeen::Failed(out_of_time.to_string())),
    }
}
